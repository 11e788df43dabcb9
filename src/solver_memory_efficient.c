/*
 * memory_efficient - a baseline: first each row's normaliser, then the accumulation of
 * O, two launches with O(S) memory between them that read K (and Q) twice.
 *
 * Both launches are the schedule that would answer in one (fwd_lanes on CPU devices,
 * fwd_tile elsewhere) with a part left out, so that a comparison shows what the second
 * reading costs and nothing else.
 */
#include <string.h>

#include "size.h"
#include "solvers.h"

extern const struct solver solver_fwd_lanes, solver_fwd_tile;

/* A complete row tells by its parameters whose they are. */
static const struct solver *schedule_of(const row *r) {
    return row_find(r, "LANES") ? &solver_fwd_lanes : &solver_fwd_tile;
}

static const struct solver *schedule_for(const device *d) {
    return d->type == DEVICE_CPU ? &solver_fwd_lanes : &solver_fwd_tile;
}

static const char *refuses(const problem *p, const device *d) {
    return schedule_for(d)->refuses(p, d);
}

static bool complete(const problem *p, const device *d, row *r, text *why) {
    return schedule_for(d)->complete(p, d, r, why);
}

static const struct program_recipe *recipe(const row *r, size_t kernel) {
#define RECIPE(schedule, constants_of_all, pass, compiler_options)                             \
    {                                                                                          \
        .kernel = schedule,                                                                    \
        .parts = {"params.h", "base.cl", "span.cl", "score.cl", "state.cl", schedule ".cl"},   \
        .constants = constants_of_all "#define PASS " #pass "\n", .options = compiler_options, \
    }
    static const struct program_recipe lanes[2] = {RECIPE("fwd_lanes", "", 1, NULL),
                                                   RECIPE("fwd_lanes", "", 2, NULL)};
    static const struct program_recipe tile[2] = {
        RECIPE("fwd_tile", "#define LANES 1\n", 1, SOLVERS_TILE_OPTIONS),
        RECIPE("fwd_tile", "#define LANES 1\n", 2, SOLVERS_TILE_OPTIONS)};
#undef RECIPE
    return schedule_of(r) == &solver_fwd_lanes ? &lanes[kernel] : &tile[kernel];
}

/* One float a row. */
static bool workspace(const problem *p, const row *r, cl_ulong *bytes) {
    (void)r;
    cl_ulong rows;
    return size_mul((cl_ulong)p->batch * p->heads_q, p->seq_q, &rows) && size_mul(rows, 4, bytes);
}

static struct ndrange ndrange(const row *r, const struct params *params, size_t kernel) {
    (void)kernel;
    return schedule_of(r)->ndrange(r, params, 0);
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
