/*
 * fwd_rows - one work-item per query row (cl/fwd_rows.cl): the portable reference
 * kernel, last in the table, at home everywhere.
 */
#include "solvers.h"

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    return solvers_fitness(solvers_refuse_loops(p, d, 1), NULL, why);
}

static const struct stage only = {
    .recipe = {.kernel = "fwd_rows",
               .reads = "q k v scores sink lengths_kv",
               .writes = "o lse",
               .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl",
                         "state.cl", "rows.cl", "fwd_rows.cl"},
               .constants = "#define LANES 1\n"},
    .work_items = solvers_rows_work_items,
    .grid = solvers_rows_grid,
};

static size_t stages(const struct variant *v, struct stage *to) {
    (void)v;
    to[0] = only;
    return 1;
}

extern const struct solver solver_fwd_rows;
const struct solver solver_fwd_rows = {
    .name = "fwd_rows",
    .mixed = true,
    .blocked = true,
    .scored = true,
    .features = SOLVERS_HIDING | CLATTN_FEATURE_SINK | CLATTN_FEATURE_LENGTHS,
    .fits = fits,
    .parameters = solvers_rows_parameters,
    .candidate = solvers_rows_candidate,
    .legal = solvers_rows_legal,
    .stages = stages,
};
