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

#include <stdbool.h>

#include "clattn.h"

struct feature {
    cl_ulong bit;     /* CLATTN_FEATURE_*; 0: behind the last feature */
    const char *word; /* of problem texts; in capitals the parameter of kernels: 1 or 0 */
    bool scored;      /* changes a score by where it stands: cl/score.cl has it */
    bool hides;       /* one that can hide keys, one by one: solvers offer it by their `features` */
    bool diagonal;    /* depends on which key stands opposite a query: on desc.align */
};

extern const struct feature features_table[];

/* All bits of the table, those of the features with `scored`, with `hides`, and with `diagonal`.
 * Of the scored ones follow the kernels' parameter SCORED and what the word "scores" of a recipe
 * reads (program.h), of those that hide the parameter HIDES. */
cl_ulong feature_all(void);
cl_ulong feature_scored(void);
cl_ulong feature_hides(void);
cl_ulong feature_diagonal(void);

#endif
