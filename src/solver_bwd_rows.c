/*
 * bwd_rows - one work-item per query row for d_q, one per key for d_k and d_v (cl/bwd_rows_q.cl,
 * cl/bwd_rows_kv.cl): the portable reference of backward.
 */
#include "feature.h"
#include "size.h"
#include "solvers.h"

/* A work-item of bwd_rows_kv meets the queries of the whole group. */
static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    struct problem keys = *p;
    keys.seq_kv = p->seq_q;
    const char *rows = solvers_refuse_loops(p, d, 2);
    return solvers_fitness(
        rows ? rows : solvers_refuse_loops(&keys, d, 2 * (p->heads_q / p->heads_kv)), NULL, why);
}

/* Both products are 2^30 * 2^30 at most. */
static struct grid grid_rows(const long long *values, const struct params *params) {
    const cl_ulong rows =
        (cl_ulong)params->batch * (cl_ulong)params->heads_q * (cl_ulong)params->seq_q;
    return (struct grid){size_div_up(rows, (cl_ulong)values[SOLVERS_ROWS_WORK_GROUP]), 1};
}

static struct grid grid_keys(const long long *values, const struct params *params) {
    const cl_ulong heads_kv = (cl_ulong)params->heads_q / (cl_ulong)params->group;
    const cl_ulong keys = (cl_ulong)params->batch * heads_kv * (cl_ulong)params->seq_kv;
    return (struct grid){size_div_up(keys, (cl_ulong)values[SOLVERS_ROWS_WORK_GROUP]), 1};
}

/* Of delta. */
static bool workspace(const struct problem *p, const long long *values, cl_ulong *bytes) {
    (void)values;
    *bytes = (cl_ulong)p->batch * p->heads_q * p->seq_q * sizeof(cl_float); /* below 2^62 */
    return true;
}

#define PARTS "params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl", "grad.cl"
#define STAGE(name, read, write, its_grid, ...)                  \
    {                                                            \
        .recipe = {.kernel = name,                               \
                   .reads = read,                                \
                   .writes = write,                              \
                   .parts = {PARTS, __VA_ARGS__},                \
                   .constants = "#define LANES 1\n"},            \
        .work_items = solvers_rows_work_items, .grid = its_grid, \
    }

static size_t stages(const struct variant *v, struct stage *to) {
    static const struct stage all[] = {
        STAGE("bwd_delta", "o d_o d_lse", "workspace", grid_rows, "bwd_delta.cl"),
        STAGE("bwd_rows_q", "q k v lse d_o scores workspace", "d_q", grid_rows, "rows.cl",
              "bwd_rows_q.cl"),
        STAGE("bwd_rows_kv", "q k v lse d_o scores workspace", "d_k d_v", grid_keys, "rows.cl",
              "bwd_rows_kv.cl"),
    };
    enum { COUNT = sizeof all / sizeof *all };
    (void)v;
    for (size_t i = 0; i < COUNT; i++) {
        to[i] = all[i];
    }
    return COUNT;
}

extern const struct solver solver_bwd_rows;
const struct solver solver_bwd_rows = {
    .name = "bwd_rows",
    .pass = CLATTN_BACKWARD,
    .mixed = true,
    .features = FEATURES_SCORED,
    .fits = fits,
    .parameters = solvers_rows_parameters,
    .candidate = solvers_rows_candidate,
    .legal = solvers_rows_legal,
    .stages = stages,
    .workspace = workspace,
};
