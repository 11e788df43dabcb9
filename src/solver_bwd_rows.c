/*
 * bwd_rows - one work-item per query row for d_q, one per key for d_k, one per key for d_v
 * (cl/bwd_rows_q.cl, bwd_rows_k.cl, bwd_rows_v.cl): the portable reference of backward.
 *
 * d_k and d_v are launches of their own: each gradient costs nothing where nobody wants it, and
 * no kernel has more arguments than it reads.
 */
#include "size.h"
#include "solvers.h"

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    return solvers_fitness(solvers_refuse_backward_loops(p, d), NULL, why);
}

static struct grid grid_keys(const long long *values, const struct params *params) {
    const cl_ulong keys = solvers_blocks_of_keys(params, 1);
    return (struct grid){size_div_up(keys, (cl_ulong)values[SOLVERS_ROWS_WORK_GROUP]), 1};
}

#define STAGE(name, read, write, its_grid)                                               \
    {                                                                                    \
        .recipe = {.kernel = name,                                                       \
                   .reads = read " scores",                                              \
                   .writes = write,                                                      \
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", \
                             "score.cl", "grad.cl", "rows.cl", name ".cl"},              \
                   .constants = "#define LANES 1\n"},                                    \
        .work_items = solvers_rows_work_items, .grid = its_grid,                         \
    }

static const struct stage of_q =
    STAGE("bwd_rows_q", "q k v lse d_o workspace", "d_q", solvers_rows_grid);
static const struct stage of_k = STAGE("bwd_rows_k", "q k v lse d_o workspace", "d_k", grid_keys);
static const struct stage of_v = STAGE("bwd_rows_v", "q k lse d_o", "d_v", grid_keys);

static size_t stages(const struct variant *v, struct stage *to) {
    (void)v;
    to[0] = solvers_delta;
    to[1] = of_q;
    to[2] = of_k;
    to[3] = of_v;
    return 4;
}

extern const struct solver solver_bwd_rows;
const struct solver solver_bwd_rows = {
    .name = "bwd_rows",
    .pass = CLATTN_BACKWARD,
    .mixed = true,
    .scored = true,
    .features = SOLVERS_HIDING | CLATTN_FEATURE_SINK,
    .fits = fits,
    .parameters = solvers_rows_parameters,
    .candidate = solvers_rows_candidate,
    .legal = solvers_rows_legal,
    .stages = stages,
    .workspace = solvers_delta_workspace,
};
