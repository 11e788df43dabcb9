/*
 * bench_tensors - the inputs and outputs of a problem on the device: several sets of
 * them, of random numbers, so that one pass does not find in the cache what the last
 * one left there; or one set, so that it does.  ALiBi has the slopes of its
 * paper, a bias random numbers for each head's pairs, a mask documents of unlike lengths, sinks
 * random scores.
 */
#ifndef BENCH_TENSORS_H
#define BENCH_TENSORS_H

#include "bench_machine.h"
#include "bench_variants.h"
#include "verify.h"

enum {
    BENCH_Q,
    BENCH_K,
    BENCH_V,
    BENCH_O,
    BENCH_LSE,
    BENCH_FORWARD, /* so many has a forward pass */
    BENCH_D_O = BENCH_FORWARD,
    BENCH_D_Q,
    BENCH_D_K,
    BENCH_D_V,
    BENCH_TENSORS
};

enum { BENCH_ALIBI, BENCH_BIAS, BENCH_MASK, BENCH_SINK, BENCH_EXTRAS };

struct bench_tensors {
    clattn_desc desc; /* heads_kv and head_dim_v filled in */
    size_t sets;
    size_t bytes[BENCH_TENSORS];       /* of one set */
    size_t step[BENCH_TENSORS];        /* bytes from one set to the next */
    clattn_tensor view[BENCH_TENSORS]; /* of set 0; all sets of a tensor share a buffer */
    clattn_tensor extra[BENCH_EXTRAS]; /* where desc has the feature: one for all sets */
    void *extra_data[BENCH_EXTRAS];    /* the same */
    cl_kernel fill;
    void *host[BENCH_TENSORS]; /* set 0, as last read */
};

/* What answers a problem: by clattn_pass, in this order, a plan and its workspace.  NULL: that pass
 * is not asked for, or needs no workspace. */
struct bench_plans {
    clattn_plan plan[BENCH_BOTH];
    cl_mem workspace[BENCH_BOTH];
};

/* The bytes of all tensors of the pass in one set: what it must read and write at least once. */
double bench_tensors_bytes(const clattn_desc *desc, clattn_pass pass);

/* sets: 0: as many as outgrow the caches.  For a backward pass o and lse are clattn's of q, k and
 * v. Needs bench_tensors_destroy in any case; m->why says what failed. */
cl_int bench_tensors_create(struct bench_tensors *t, struct bench_machine *m,
                            const clattn_desc *desc, bool bshd, unsigned sets);
void bench_tensors_destroy(struct bench_tensors *t);

/* One pass of each plan over set number `pass`, modulo their count. */
cl_int bench_tensors_enqueue(const struct bench_tensors *t, struct bench_machine *m,
                             const struct bench_plans *plans, size_t pass, cl_event *event);

/* One pass over set 0, whose outputs were NaN before, and its check by definition. */
cl_int bench_tensors_verify(struct bench_tensors *t, struct bench_machine *m,
                            const struct bench_plans *plans, struct verify_result *result);

#endif
