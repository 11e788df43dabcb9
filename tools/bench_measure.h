/*
 * bench_measure - the variants that shall answer one problem, timed side by side.  Of a problem
 * with both passes a "pass" below is one of each, timed as one.
 *
 * A sample of device time is a small kernel and, enqueued behind it at once, `passes`
 * passes: from the end of the one to the end of the others, by the device's clock,
 * divided by their number, which is such that a sample lasts 20 ms.  A sample of wall
 * time is one pass alone, from its enqueue until clFinish returns.  The variants take
 * turns: one sample of each, then again.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "bench_limits.h"
#include "bench_machine.h"
#include "bench_problems.h"
#include "bench_variants.h"

struct bench_times {
    double median, low, high; /* seconds; low and high: 10th and 90th percentile */
};

struct bench_result {
    clattn_desc desc;
    bool both;                       /* passes, of which desc is the second */
    char problem[128], variant[512]; /* variant: the one that ran, complete; both: "A + B" */
    char asked[512];                 /* the variant that was asked for, or "auto" */
    struct bench_times device, wall;
    bool by_device; /* otherwise device is by the host's clock as well */
    unsigned samples, passes;
    size_t sets;                   /* of tensors, which took turns */
    double rate;                   /* operations a second */
    double model_bytes;            /* the pass's tensors once, the workspace twice */
    size_t workspace;              /* both: the sum */
    double max_error, error_bound; /* of o; backward: of the gradient nearest to its bound; both:
                                      of o or that gradient, whichever is nearer to its bound */
    double lse_error, lse_bound;
    uint64_t ill_rows; /* of those checked: ill-conditioned (verify.h) */
    bool passed;
    double peak_fraction;                     /* of the peak while this problem was measured */
    double bandwidth_fraction, read_fraction; /* model bytes a second, of copying and reading */
};

struct bench_plan {
    const struct bench_variant *variants;
    size_t variant_count;
    bool bshd;
    unsigned sets;   /* of tensors that take turns; 0: as many as outgrow the caches */
    unsigned repeat; /* samples of each variant, at most */
    double seconds;  /* for each variant; at least 3 samples are taken in any case */
    double deadline; /* by bench_machine_now: from here on one sample is enough */

    /* A sentence about what is skipped; the variant may be NULL.  And how much is done: 0 when the
     * variants are ready and the first sample begins. */
    void (*skip)(void *user, const char *problem, const char *variant, const char *why);
    void (*progress)(void *user, double fraction);
    void *user;
};

/* results has room for variant_count; *count becomes how many there are.  Returns the
 * first failure, though it may concern one variant only.  limits may be NULL: then results have no
 * shares of them. */
cl_int bench_measure(struct bench_machine *m, const struct bench_limits *limits,
                     const struct bench_plan *plan, const struct bench_problem *problem,
                     struct bench_result *results, size_t *count);

#endif
