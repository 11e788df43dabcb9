/*
 * fwd_lanes - for CPU devices: SIMD lanes over query rows (cl/fwd_lanes.cl).
 *
 * The choice follows from measurements on two cores with AVX-512 (PoCL 3.1, float16,
 * 2026-11-21): four vectors of rows by four keys or columns in registers, 64 keys a block;
 * two by eight and 32 keys where a band leaves a row fewer than 1024 of them, so that rows
 * and the diagonal waste less; one vector for a few rows.
 */
#include "size.h"
#include "solvers.h"

enum { COUNT = 5 };

static const struct solver_parameter parameters[COUNT] = {
    {"LANES", 4, 16},      {"ROW_VECTORS", 1, 8}, {"KEY_UNROLL", 1, 16},
    {"COL_UNROLL", 1, 16}, {"BLOCK_N", 8, 128}, /* longer sums drift, and too many short ones */
};

static const char *refuses(const struct problem *p, const struct device *d) {
    return d->type == DEVICE_CPU ? solvers_refuse_loops(p, d, 4) : "it is for CPU devices";
}

static bool legal(const struct problem *p, const struct device *d, const struct variant *v,
                  struct text *why) {
    (void)p;
    (void)d;
    const long long lanes = variant_number(v, "LANES", 0);
    if (lanes != 4 && lanes != 8 && lanes != 16) {
        text_printf(why, "LANES=%lld is none of 4, 8, 16", lanes);
        return false;
    }
    if (variant_number(v, "BLOCK_N", 0) % variant_number(v, "KEY_UNROLL", 1) != 0) {
        text_printf(why, "BLOCK_N=%lld is not a multiple of KEY_UNROLL=%lld",
                    variant_number(v, "BLOCK_N", 0), variant_number(v, "KEY_UNROLL", 1));
        return false;
    }
    return true;
}

/* Keys that a row sees, at most. */
static long long reach(const struct problem *p) {
    const bool bounded = p->band_left != CLATTN_UNBOUNDED && p->band_right != CLATTN_UNBOUNDED;
    const long long band = bounded ? (long long)p->band_left + p->band_right + 1 : p->seq_kv;
    return band < p->seq_kv ? band : p->seq_kv;
}

static bool complete(const struct problem *p, const struct device *d, struct variant *v,
                     struct text *why) {
    const long long lanes = d->float_width >= 16 ? 16 : d->float_width >= 8 ? 8 : 4;
    const bool few = p->seq_q <= 2 * (cl_uint)lanes;
    const bool cut = problem_masked(p) && reach(p) < 1024;
    /* 32 vector registers hold 16 sums; 16 of them (LANES 8 and 4) hold 8. */
    const long long vectors = few ? 1 : lanes < 16 || cut ? 2 : 4;
    const long long unroll = lanes < 16 ? 4 : vectors == 4 ? 4 : 8;
    const long long block = cut || few ? 32 : 64;
    const long long candidates[][COUNT] = {
        {lanes, vectors, unroll, unroll, block},
        {lanes, vectors, 1, 4, block},
    };
    return solvers_complete(p, d, v, parameters, COUNT, candidates[0], 2, legal, why);
}

static struct ndrange ndrange(const struct variant *v, const struct params *params, size_t kernel) {
    (void)kernel;
    const cl_ulong block =
        (cl_ulong)(variant_number(v, "LANES", 1) * variant_number(v, "ROW_VECTORS", 1));
    return (struct ndrange){{size_div_up((cl_ulong)params->seq_q, block),
                             (cl_ulong)params->batch * (cl_ulong)params->heads_q},
                            {1, 1}};
}

static const struct program_recipe *recipe(const struct variant *v, size_t kernel) {
    static const struct program_recipe only = {
        .kernel = "fwd_lanes",
        .reads = "q k v",
        .writes = "o lse workspace",
        .parts = {"params.h", "base.cl", "slice.cl", "span.cl", "score.cl", "state.cl", "ahead.cl",
                  "fwd_lanes.cl"},
        .constants = "#define PASS 0\n",
    };
    (void)v;
    (void)kernel;
    return &only;
}

extern const struct solver solver_fwd_lanes;
const struct solver solver_fwd_lanes = {
    .name = "fwd_lanes",
    .refuses = refuses,
    .complete = complete,
    .kernels = 1,
    .recipe = recipe,
    .ndrange = ndrange,
};
