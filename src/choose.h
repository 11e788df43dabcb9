/*
 * choose - which variant answers a problem on a device that need not be there.  In this order: the
 * caller's variant; lines of the user's tuning table; lines of ours, tuning.txt, most specific
 * first; each solver's own formula, in the order of their table.  The first that is legal and
 * builds wins.
 */
#ifndef CHOOSE_H
#define CHOOSE_H

#include "device.h"
#include "problem.h"
#include "solvers.h"
#include "tuning.h"

/* What a compiler made of a kernel that does not fit the device. */
struct choose_excess {
    size_t work_group;     /* the kernel runs in work-groups of this size, not of its own; else 0 */
    cl_ulong local_memory; /* bytes that it takes beyond those of the device; else 0 */
};

/* Builds a variant's kernels.  Where that fails because a kernel does not fit, *excess, zeroed
 * before, says by how much. */
struct choose_builder {
    cl_int (*build)(void *data, const struct solver *solver, const struct variant *v,
                    struct choose_excess *excess, struct status *status);
    void *data;
};

struct choose_question {
    const struct problem *problem;
    const struct device *device;
    const char *asked;                    /* the caller's variant; NULL: none */
    const struct tuning_table *user;      /* NULL: none */
    const struct solver *without;         /* must not be chosen; NULL: any may */
    const struct choose_builder *builder; /* asked for one variant after another; NULL: all build */
};

struct choice {
    const struct solver *solver;
    struct variant variant;  /* complete */
    struct text description; /* a line for each solver: chosen, and from where; refused, and why */
    struct text remarks;     /* a line for each line of a table that was passed over */
};

/* Fills a zeroed choice.  The texts are there on failure, too. */
cl_int choose_variant(const struct choose_question *q, struct choice *c, struct status *status);

void choose_destroy(struct choice *c);

#endif
