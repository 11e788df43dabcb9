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
    cl_uint operands[SOLVER_KERNELS]; /* sets: what each kernel has as arguments */
    cl_ulong workspace;               /* bytes */
};

/* The second step runs where the first one's solver does not accept what an enqueue asks. */
enum { PLAN_STEPS = 2 };

struct clattn_plan_s {
    clattn_context context; /* one reference; NULL while nobody holds the plan */
    struct problem problem;
    struct plan_step steps[PLAN_STEPS];
    struct text variant_text; /* of the first step */
    struct text description;
    cl_ulong workspace; /* bytes, for any step */
    struct lock lock;   /* of the kernels' arguments */
    bool locked;
    bool on_paper; /* nothing is compiled, and nobody hears a remark: clattn_supports */

    /* Of clattn_plan_find, under the context's lock: plans.h. */
    struct text key; /* empty: the plan is clattn_plan_create's, its caller's alone */
    int references;
    clattn_plan next;
};

/* Makes a plan that nobody else knows. */
cl_int plan_make(clattn_context context, const clattn_desc *desc, clattn_plan *result,
                 struct status *status);

/* Destroys a plan that nobody else holds. */
void plan_unmake(clattn_plan plan);

#endif
