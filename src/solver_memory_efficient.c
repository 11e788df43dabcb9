/*
 * memory_efficient - a baseline: first maximum and sum of each row, then the accumulation of
 * O, two launches with O(S) memory between them that read K (and Q) twice.
 *
 * Both launches are the schedule that would answer in one (fwd_lanes on CPU devices,
 * fwd_tile elsewhere and wherever a variant says THREADS_M) with a part left out, so that a
 * comparison shows what the second reading costs and nothing else.
 */
#include <assert.h>

#include "size.h"
#include "solvers.h"

/* A complete variant tells by its parameters whose they are. */
static const struct solver *like(const struct device *d, const struct variant *v) {
    const bool tile = variant_find(v, "THREADS_M") != NULL;
    const bool lanes = !tile && (variant_find(v, "LANES") || d->type == DEVICE_CPU);
    return solvers_find(lanes ? "fwd_lanes" : "fwd_tile");
}

/* The schedule's stage, once for each pass. */
static size_t stages(const struct variant *v, struct stage *to) {
    const size_t count = like(NULL, v)->stages(v, to);
    assert(count == 1);
    to[1] = to[0];
    to[0].recipe.pass = "1";
    to[1].recipe.pass = "2";
    return count + 1;
}

/* Two floats a row: its m and l. */
static bool workspace(const struct problem *p, const long long *values, cl_ulong *bytes) {
    (void)values;
    cl_ulong rows;
    return size_mul((cl_ulong)p->batch * p->heads_q, p->seq_q, &rows) && size_mul(rows, 8, bytes);
}

extern const struct solver solver_memory_efficient;
const struct solver solver_memory_efficient = {
    .name = "memory_efficient",
    .baseline = true,
    .mixed = true,
    .blocked = true,
    .scored = true,
    .like = like,
    .stages = stages,
    .workspace = workspace,
};
