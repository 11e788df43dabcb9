/*
 * feature - what a problem may have beside its sizes, mask and types, in one table: the bits of
 * desc.features with their words in problem texts.
 *
 * The checks of a desc, problem texts, tuning lines, the refusals of solvers and the parameters of
 * programs follow the table.
 * The tensors that come with a feature are in the table of operands (operand.h).
 */
#ifndef FEATURE_H
#define FEATURE_H

#include "clattn.h"

struct feature {
    cl_ulong bit;     /* CLATTN_FEATURE_*; 0: behind the last feature */
    const char *word; /* of problem texts; in capitals the parameter of kernels: 1 or 0 */
};

/* The features that change a score by where it stands: the kernels' parameter SCORED, and what the
 * word "scores" of a recipe reads (program.h). */
#define FEATURES_SCORED CLATTN_FEATURE_ALIBI

extern const struct feature features_table[];

#endif
