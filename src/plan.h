/*
 * plan - a problem with the compiled kernels of the variant that runs it.
 *
 * A plan does not change, but for the arguments of its kernels, which an enqueue sets under the
 * plan's lock.
 */
#ifndef PLAN_H
#define PLAN_H

#include "context.h"
#include "problem.h"
#include "solvers.h"

/* A variant of a solver, compiled, for all calls or for those of few queries. */
struct plan_answer {
    struct problem problem; /* the plan's; for few queries with those as its seq_q */
    bool few;               /* only for calls that have at most problem.seq_q queries */
    const struct solver *solver;
    struct variant variant;
    long long values[VARIANT_PARAMETERS]; /* the variant's */
    size_t count;                         /* of stages */
    struct stage stages[STAGES];
    cl_kernel kernels[STAGES];
    cl_uint operands[STAGES]; /* for each stage the set of its operands */
    cl_uint writes[STAGES];   /* ... and of those that it writes */
    cl_ulong workspace;       /* bytes */
};

enum { PLAN_ANSWERS = 4 }; /* at most: for all calls, for other strides, twice for few queries */

struct clattn_plan_s {
    clattn_context context; /* one reference; NULL while nobody holds the plan */
    struct problem problem;
    size_t count;                             /* of answers */
    struct plan_answer answers[PLAN_ANSWERS]; /* for few queries last, the fewest at the end */
    struct text variant_text;                 /* of the first answer */
    struct text description;
    cl_ulong workspace; /* bytes, enough for each answer */
    struct lock lock;   /* for the kernels' arguments */
    bool locked;        /* lock has been initialised */
    bool on_paper;      /* for clattn_supports: nothing is compiled, notify gets no remarks */

    /* Of clattn_plan_find, under the context's lock: plans.h. */
    struct text key; /* empty: the plan is clattn_plan_create's, its caller's alone */
    int references;
    clattn_plan next;
};

/* Makes a plan, which is the caller's alone. */
cl_int plan_make(clattn_context context, const clattn_desc *desc, clattn_plan *result,
                 struct status *status);

/* Destroys a plan that nobody else holds. */
void plan_unmake(clattn_plan plan);

#endif
