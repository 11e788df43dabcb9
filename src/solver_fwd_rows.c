/*
 * fwd_rows - one work-item per query row (cl/fwd_rows.cl): the portable reference
 * kernel, last in the table, at home everywhere.
 */
#include "size.h"
#include "solvers.h"

static const struct solver_parameter parameters[] = {{"WORK_GROUP", 1, 1024}};

static const char *refuses(const struct problem *p, const struct device *d) {
    return solvers_refuse_loops(p, d, 1);
}

static bool legal(const struct problem *p, const struct device *d, const struct variant *v,
                  struct text *why) {
    (void)p;
    long long most = (long long)(d->work_items < d->work_group ? d->work_items : d->work_group);
    if (variant_number(v, "WORK_GROUP", 0) > most) {
        text_printf(why, "WORK_GROUP=%lld is over the device's %lld work-items",
                    variant_number(v, "WORK_GROUP", 0), most);
        return false;
    }
    return true;
}

static bool complete(const struct problem *p, const struct device *d, struct variant *v,
                     struct text *why) {
    static const long long candidates[] = {64, 32, 16, 8, 4, 2, 1};
    return solvers_complete(p, d, v, parameters, 1, candidates,
                            sizeof candidates / sizeof candidates[0], legal, why);
}

static struct ndrange ndrange(const struct variant *v, const struct params *params, size_t kernel) {
    (void)kernel;
    const size_t group = (size_t)variant_number(v, "WORK_GROUP", 1);
    const cl_ulong rows = (cl_ulong)params->batch * (cl_ulong)params->heads_q *
                          (cl_ulong)params->seq_q; /* 2^30 * 2^30 at most */
    return (struct ndrange){{size_div_up(rows, group) * group, 1}, {group, 1}};
}

static const struct program_recipe *recipe(const struct variant *v, size_t kernel) {
    static const struct program_recipe only = {
        .kernel = "fwd_rows",
        .reads = "q k v",
        .writes = "o lse",
        .parts = {"params.h", "base.cl", "slice.cl", "span.cl", "score.cl", "state.cl",
                  "fwd_rows.cl"},
        .constants = "#define LANES 1\n",
    };
    (void)v;
    (void)kernel;
    return &only;
}

extern const struct solver solver_fwd_rows;
const struct solver solver_fwd_rows = {
    .name = "fwd_rows",
    .refuses = refuses,
    .complete = complete,
    .kernels = 1,
    .recipe = recipe,
    .ndrange = ndrange,
};
