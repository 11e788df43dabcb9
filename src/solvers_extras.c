/*
 * solvers: the stages that features add to backward, behind those of a solver: d_bias and d_sink.
 */
#include <assert.h>

#include "size.h"
#include "solvers.h"

/* The strides of the operand of that name. */
static const struct strides *strides_of(const struct params *params, const char *name) {
    size_t i = 0;
    while (operand_set(name) != OPERAND_BIT(i)) {
        i++;
    }
    return &params->strides[i];
}

/* Work-groups for the elements of a tensor that has one number of a dimension of stride 0. */
static struct grid grid_of(const long long *values, const struct params *params, const char *name,
                           cl_ulong rows, cl_ulong width) {
    const struct strides *t = strides_of(params, name);
    cl_ulong elements = size_mul_capped(t->row ? rows : 1, width);
    elements = size_mul_capped(elements, t->head ? (cl_ulong)params->heads_q : 1);
    elements = size_mul_capped(elements, t->batch ? (cl_ulong)params->batch : 1);
    return (struct grid){size_div_up(elements, (cl_ulong)values[SOLVERS_ROWS_WORK_GROUP]), 1};
}

static struct grid grid_of_bias(const long long *values, const struct params *params) {
    return grid_of(values, params, "d_bias", (cl_ulong)params->seq_q, (cl_ulong)params->seq_kv);
}

static struct grid grid_of_sink(const long long *values, const struct params *params) {
    return grid_of(values, params, "d_sink", 1, 1);
}

#define STAGE(name, read, write, its_grid, ...)                                          \
    {                                                                                    \
        .recipe = {.kernel = name,                                                       \
                   .reads = read,                                                        \
                   .writes = write,                                                      \
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", \
                             "score.cl", "grad.cl", __VA_ARGS__},                        \
                   .takes = "WORK_GROUP",                                                \
                   .constants = "#define LANES 1\n"},                                    \
        .work_items = solvers_rows_work_items, .grid = its_grid,                         \
    }

static const struct {
    cl_ulong feature;
    struct stage stage;
} extras[] = {
    {CLATTN_FEATURE_BIAS, STAGE("bwd_bias", "q k v lse d_o workspace scores", "d_bias",
                                grid_of_bias, "rows.cl", "bwd_bias.cl")},
    {CLATTN_FEATURE_SINK,
     STAGE("bwd_sink", "lse workspace sink", "d_sink", grid_of_sink, "bwd_sink.cl")},
};

size_t solvers_stages(const struct solver *solver, const struct problem *p, const struct variant *v,
                      struct stage stages[STAGES]) {
    size_t count = solver->stages(v, stages);
    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
        if (solver->pass == CLATTN_BACKWARD && p->features & extras[i].feature) {
            assert(count < STAGES && !solver->enqueue); /* launch_chain runs them */
            stages[count++] = extras[i].stage;
        }
    }
    return count;
}
