/*
 * memory_efficient - a baseline: first maximum and sum of each row, then the accumulation of
 * O, two launches with O(S) memory between them that read K (and Q) twice.
 *
 * Both launches are the schedule that would answer in one (fwd_lanes on CPU devices,
 * fwd_tile elsewhere and wherever a variant says THREADS_M) with a part left out, so that a
 * comparison shows what the second reading costs and nothing else.
 */
#include <string.h>

#include "size.h"
#include "solvers.h"

extern const struct solver solver_fwd_lanes, solver_fwd_tile;

/* A complete variant tells by its parameters whose they are. */
static const struct solver *schedule_of(const struct variant *v) {
    return variant_find(v, "LANES") ? &solver_fwd_lanes : &solver_fwd_tile;
}

static const struct solver *schedule_for(const struct device *d) {
    return d->type == DEVICE_CPU ? &solver_fwd_lanes : &solver_fwd_tile;
}

static const char *refuses(const struct problem *p, const struct device *d) {
    return schedule_for(d)->refuses(p, d);
}

static bool complete(const struct problem *p, const struct device *d, struct variant *v,
                     struct text *why) {
    const bool tile = variant_find(v, "THREADS_M") != NULL;
    if (tile && solver_fwd_tile.refuses(p, d)) {
        text_printf(why, "%s", solver_fwd_tile.refuses(p, d));
        return false;
    }
    return (tile ? &solver_fwd_tile : schedule_for(d))->complete(p, d, v, why);
}

static const struct program_recipe *recipe(const struct variant *v, size_t kernel) {
#define LANES_RECIPE(pass)                                                    \
    {                                                                         \
        .kernel = "fwd_lanes", .reads = "q k v", .writes = "o lse workspace", \
        .parts = {"params.h", "base.cl",  "slice.cl", "span.cl",              \
                  "score.cl", "state.cl", "ahead.cl", "fwd_lanes.cl"},        \
        .constants = "#define PASS " #pass "\n",                              \
    }
#define TILE_RECIPE(pass)                                                                          \
    {                                                                                              \
        .kernel = "fwd_tile", .reads = "q k v", .writes = "o lse workspace",                       \
        .parts = {"params.h", "base.cl",  "slice.cl",     "span.cl",      "finite.cl",             \
                  "score.cl", "state.cl", "tile_copy.cl", "tile_sums.cl", "fwd_tile.cl"},          \
        .constants = "#define LANES 1\n#define PASS " #pass "\n", .options = SOLVERS_TILE_OPTIONS, \
    }
    static const struct program_recipe lanes[2] = {LANES_RECIPE(1), LANES_RECIPE(2)};
    static const struct program_recipe tile[2] = {TILE_RECIPE(1), TILE_RECIPE(2)};
#undef LANES_RECIPE
#undef TILE_RECIPE
    return schedule_of(v) == &solver_fwd_lanes ? &lanes[kernel] : &tile[kernel];
}

/* Two floats a row: its m and l. */
static bool workspace(const struct problem *p, const struct variant *v, cl_ulong *bytes) {
    (void)v;
    cl_ulong rows;
    return size_mul((cl_ulong)p->batch * p->heads_q, p->seq_q, &rows) && size_mul(rows, 8, bytes);
}

static struct ndrange ndrange(const struct variant *v, const struct params *params, size_t kernel) {
    (void)kernel;
    return schedule_of(v)->ndrange(v, params, 0);
}

extern const struct solver solver_memory_efficient;
const struct solver solver_memory_efficient = {
    .name = "memory_efficient",
    .baseline = true,
    .refuses = refuses,
    .complete = complete,
    .kernels = 2,
    .recipe = recipe,
    .workspace = workspace,
    .ndrange = ndrange,
};
