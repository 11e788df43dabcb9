/*
 * choose - chooses the variant that runs a problem on a device, from the device's facts alone: the
 * device need not be there.
 *
 * If the caller asks for a variant, it is the only candidate.  Else the candidates are, in this
 * order: the lines of the user's tuning tables that match the problem and the device; such lines of
 * clattn's own table, tuning.txt (of each table the line with the most specific device first; of a
 * table no more than CHOOSE_LINES that cannot run); and for each solver of solvers_table the
 * variant that the solver computes itself.  The first candidate that is legal and builds is chosen.
 */
#ifndef CHOOSE_H
#define CHOOSE_H

#include "device.h"
#include "problem.h"
#include "solvers.h"
#include "tuning.h"

/* By how much a compiled kernel exceeds the device. */
struct choose_excess {
    size_t work_group;     /* the largest work-group that the device can run the kernel with, where
                              the kernel needs a larger one; else 0 */
    cl_ulong local_memory; /* bytes that the kernel needs beyond those of the device; else 0 */
};

/* Builds a variant's kernels.  Where a kernel does not fit the device, the build fails and fills
 * *excess, which the caller has zeroed. */
struct choose_builder {
    cl_int (*build)(void *data, const struct solver *solver, const struct variant *v,
                    struct choose_excess *excess, struct status *status);
    void *data;
};

/* A table may be anybody's file: so many of its lines may be passed over for one problem, and no
 * further line of it is tried. */
enum { CHOOSE_LINES = 32 };

struct choose_question {
    const struct problem *problem;
    const struct device *device;
    const char *asked;                 /* the variant that the caller asks for; NULL: none */
    const struct tuning_table *tables; /* the user's; a line goes before those of later ones */
    size_t table_count;
    bool by_formula;                      /* no table is asked, clattn's own neither */
    const struct solver *without;         /* a solver that must not be chosen; NULL: none */
    const struct choose_builder *builder; /* builds each candidate; NULL: every candidate builds */
};

struct choice {
    const struct solver *solver;
    struct variant variant;  /* with all its parameters */
    struct text description; /* a line for each solver: chosen, and the source of its variant, or
                                not chosen, and the reason */
    struct text remarks;     /* a line for each line of a table that was passed over, and for a
                                variant whose added parameters may be far from the best */
};

/* Fills a zeroed choice.  On failure it fills description and remarks, too. */
cl_int choose_variant(const struct choose_question *q, struct choice *c, struct status *status);

void choose_destroy(struct choice *c);

#endif
