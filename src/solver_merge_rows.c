/*
 * merge_rows - the merge pass: a work-item for each query row (cl/merge_rows.cl).
 */
#include "solvers.h"

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    struct problem row = *p;
    row.seq_kv = 1;
    return solvers_fitness(solvers_refuse_loops(&row, d, 1), NULL, why);
}

static const struct stage only = {
    .recipe = {.kernel = "merge_rows",
               .reads = "o_1 lse_1 o_2 lse_2",
               .writes = "o lse",
               .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl",
                         "state.cl", "merge_rows.cl"},
               .in_place = true,
               .constants = "#define LANES 1\n"},
    .work_items = solvers_rows_work_items,
    .grid = solvers_rows_grid,
};

static size_t stages(const struct variant *v, struct stage *to) {
    (void)v;
    to[0] = only;
    return 1;
}

extern const struct solver solver_merge_rows;
const struct solver solver_merge_rows = {
    .name = "merge_rows",
    .pass = CLATTN_MERGE,
    .mixed = true,
    .fits = fits,
    .parameters = solvers_rows_parameters,
    .candidate = solvers_rows_candidate,
    .legal = solvers_rows_legal,
    .stages = stages,
};
