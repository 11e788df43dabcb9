/*
 * plan - a problem with the variant that answers it, compiled; immutable but for the
 * kernel's arguments, which an enqueue sets under the plan's lock.
 */
#ifndef PLAN_H
#define PLAN_H

#include "context.h"
#include "problem.h"
#include "solvers.h"

/* A solver's answer, compiled. */
struct plan_step {
    const struct solver *solver; /* NULL: there is none */
    struct variant variant;
    cl_kernel kernels[SOLVER_KERNELS];
    cl_ulong workspace; /* bytes */
};

/* The second step runs where the first one's solver does not accept what an enqueue asks. */
enum { PLAN_STEPS = 2 };

struct clattn_plan_s {
    clattn_context context; /* one reference */
    struct problem problem;
    struct plan_step steps[PLAN_STEPS];
    struct text variant_text; /* of the first step */
    struct text description;
    cl_ulong workspace; /* bytes, for any step */
    struct lock lock;   /* of the kernels' arguments */
    bool locked;
};

/* What a plan would do on a device that need not be there: fills solver and variant, and
 * appends to description a line for each solver, to remarks one for each line of a table
 * that was passed over.  `build` (may be NULL: everything
 * builds) is asked for each variant in turn until one builds; asked is the caller's variant or
 * NULL, user the user's tuning table or NULL, without a solver that must not be chosen or
 * NULL.  A build that fails because the
 * kernel runs only in smaller work-groups says how small in *work_group. */
typedef cl_int (*plan_build)(void *data, const struct solver *solver, const struct variant *v,
                             size_t *work_group, struct status *status);

cl_int plan_choose(const struct problem *p, const struct device *d, const char *asked,
                   const struct tuning_table *user, const struct solver *without, plan_build build,
                   void *data, const struct solver **solver, struct variant *v,
                   struct text *description, struct text *remarks, struct status *status);

#endif
