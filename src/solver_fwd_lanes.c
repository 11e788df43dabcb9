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

enum { LANES, ROW_VECTORS, KEY_UNROLL, COL_UNROLL, BLOCK_N };

static const struct solver_parameter parameters[] = {
    SOLVERS_NUMBER(LANES, 4, 16),
    SOLVERS_NUMBER_OF(ROW_VECTORS, 1, 8, "1 2 3 4 6 8"),
    SOLVERS_NUMBER(KEY_UNROLL, 1, 16),
    SOLVERS_NUMBER(COL_UNROLL, 1, 16),
    SOLVERS_NUMBER(BLOCK_N, 8, 128), /* longer sums drift, and too many short ones */
    {0},
};

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    return solvers_fitness(
        d->type == DEVICE_CPU ? solvers_refuse_loops(p, d, 4) : "it is for CPU devices", NULL, why);
}

static cl_int legal(const struct problem *p, const struct device *d, const long long *v,
                    struct status *status) {
    (void)p;
    (void)d;
    if (v[LANES] != 4 && v[LANES] != 8 && v[LANES] != 16) {
        return status_set(status, CLATTN_INVALID_VARIANT, "LANES=%lld is none of 4, 8, 16",
                          v[LANES]);
    }
    return v[BLOCK_N] % v[KEY_UNROLL] == 0
               ? CL_SUCCESS
               : status_set(status, CLATTN_INVALID_VARIANT,
                            "BLOCK_N=%lld is not a multiple of KEY_UNROLL=%lld", v[BLOCK_N],
                            v[KEY_UNROLL]);
}

static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    const long long lanes = d->float_width >= 16 ? 16 : d->float_width >= 8 ? 8 : 4;
    const bool few = p->seq_q <= 2 * (cl_uint)lanes;
    const bool cut = problem_masked(p) && problem_keys(p) < 1024;
    /* 32 vector registers hold 16 sums; 16 of them (LANES 8 and 4) hold 8. */
    const long long vectors = few ? 1 : lanes < 16 || cut ? 2 : 4;
    const long long unroll = lanes < 16 ? 4 : vectors == 4 ? 4 : 8;
    (void)given;
    v[LANES] = lanes;
    v[ROW_VECTORS] = vectors;
    v[KEY_UNROLL] = i == 0 ? unroll : 1;
    v[COL_UNROLL] = i == 0 ? unroll : 4;
    v[BLOCK_N] = cut || few ? 32 : 64;
    return i < 2;
}

static size_t work_items(const long long *v) {
    (void)v;
    return 1;
}

static struct grid grid(const long long *v, const struct params *params) {
    return (struct grid){
        size_div_up((cl_ulong)params->seq_q, (cl_ulong)(v[LANES] * v[ROW_VECTORS])),
        (cl_ulong)params->batch * (cl_ulong)params->heads_q};
}

/* The loops over keys and columns follow one another: each has its tile of sums in registers, in
 * vectors of the device. */
static void needs(const struct problem *p, const struct device *d, const long long *v, size_t stage,
                  struct solver_needs *to) {
    const cl_ulong width = d->float_width, lanes = (cl_ulong)v[LANES];
    const cl_ulong vectors = (cl_ulong)v[ROW_VECTORS] * size_div_up(lanes, width);
    const long long larger = v[KEY_UNROLL] > v[COL_UNROLL] ? v[KEY_UNROLL] : v[COL_UNROLL];
    const double reads =
        1 / (double)vectors + 0.5 / (double)v[KEY_UNROLL] + 0.5 / (double)v[COL_UNROLL];
    (void)p;
    (void)stage;
    to->rows = lanes * (cl_ulong)v[ROW_VECTORS];
    to->met = (cl_ulong)v[BLOCK_N];
    to->registers = vectors * (cl_ulong)(larger + 1);
    to->reads = (1 + reads) * (width > lanes ? (double)width / (double)lanes : 1) - 1;
}

static const struct stage only = {
    .recipe = {.kernel = "fwd_lanes",
               .reads = "q k v scores sink lengths_kv",
               .writes = "o lse workspace",
               .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl",
                         "state.cl", "lanes.cl", "ahead.cl", "fwd_lanes.cl"},
               .constants = "",
               .pass = "0"},
    .work_items = work_items,
    .grid = grid,
};

static size_t stages(const struct variant *v, struct stage *to) {
    (void)v;
    to[0] = only;
    return 1;
}

extern const struct solver solver_fwd_lanes;
const struct solver solver_fwd_lanes = {
    .name = "fwd_lanes",
    .mixed = true,
    .blocked = true,
    .scored = true,
    .features = SOLVERS_HIDING | CLATTN_FEATURE_SINK | CLATTN_FEATURE_LENGTHS,
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .needs = needs,
};
