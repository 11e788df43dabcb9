/*
 * bwd_tile - backward for GPUs: tiles in local memory (cl/bwd_tile_kv.cl, cl/bwd_tile_q.cl).
 *
 * Two kernels, each with parameters of its own: those of bwd_tile_kv begin with DKV_, those of
 * bwd_tile_q with DQ_.  The candidates go from large to small, both kernels at once; the first of
 * which both fit the device's local memory and its work-group limit wins.  The last one needs a
 * work-group of 1 and 864 bytes.
 */
#include <string.h>

#include "size.h"
#include "solvers.h"

/* A kernel's parameters; `at` is the place of its BLOCK_M. */
enum { M, N, D, THREADS_M, THREADS_N, OWN_RESIDENT, SUMS_RESIDENT, STEP_UNROLL, KERNEL };

#define PLACES(prefix, at)                                                                    \
    prefix##BLOCK_M = (at) + M, prefix##BLOCK_N = (at) + N, prefix##BLOCK_D = (at) + D,       \
    prefix##THREADS_M = (at) + THREADS_M, prefix##THREADS_N = (at) + THREADS_N,               \
    prefix##OWN_RESIDENT = (at) + OWN_RESIDENT, prefix##SUMS_RESIDENT = (at) + SUMS_RESIDENT, \
    prefix##STEP_UNROLL = (at) + STEP_UNROLL

enum {
    WORK_GROUP,
    DKV,
    DQ = DKV + KERNEL,
    WIDE_READS = DQ + KERNEL,
    PLACES(DKV_, DKV),
    PLACES(DQ_, DQ),
};

#define NUMBERS(prefix)                                                                          \
    SOLVERS_NUMBER_OF(prefix##BLOCK_M, 1, 512, "16 32 64 128"),                                  \
        SOLVERS_NUMBER_OF(prefix##BLOCK_N, 1, 512, "16 32 64 128"),                              \
        SOLVERS_NUMBER_OF(prefix##BLOCK_D, 4, 512, "16 32 64 128"),                              \
        SOLVERS_NUMBER_OF(prefix##THREADS_M, 1, 256, "4 8 16 32"),                               \
        SOLVERS_NUMBER_OF(prefix##THREADS_N, 1, 256, "4 8 16 32"),                               \
        SOLVERS_NUMBER(prefix##OWN_RESIDENT, 0, 1), SOLVERS_NUMBER(prefix##SUMS_RESIDENT, 0, 1), \
        SOLVERS_NUMBER_OF(prefix##STEP_UNROLL, 1, 16, "1 2 4")

static const struct solver_parameter parameters[] = {
    SOLVERS_NUMBER_OF(WORK_GROUP, 1, 1024, "32 64 128 256"),
    NUMBERS(DKV_),
    NUMBERS(DQ_),
    SOLVERS_NUMBER(WIDE_READS, 0, 1),
    {0},
};

/* The two kernels: who owns what. */
static const struct half {
    const char *prefix;
    size_t at;
    int own, met, threads_own, threads_met; /* places behind `at` */
    const char *own_name, *met_name;
} halves[] = {
    {"DKV", DKV, N, M, THREADS_N, THREADS_M, "N", "M"},
    {"DQ", DQ, M, N, THREADS_M, THREADS_N, "M", "N"},
};
enum { HALVES = sizeof halves / sizeof *halves };

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    const char *tiles = solvers_refuse_tiles(d);
    const char *could = d->type == DEVICE_CPU
                            ? "a CPU device gains nothing from local memory and pays for barriers"
                            : NULL;
    return solvers_fitness(tiles ? tiles : solvers_refuse_backward_loops(p, d), could, why);
}

static long long strips(cl_uint dim, const long long *v) {
    return (long long)size_div_up(dim, (cl_ulong)v[D]);
}

/* As the kernel declares it.  v: the kernel's parameters. */
static long long local_bytes(const struct problem *p, const struct half *h, const long long *v) {
    const long long own = v[h->own], met = v[h->met], tile_row = v[D] + 4;
    const long long tiles = v[OWN_RESIDENT] ? strips(p->head_dim, v) + strips(p->head_dim_v, v) : 1;
    const long long tile_p = own * (met + (v[h->threads_met] == 8 ? 8 : 4));
    const long long slopes = h->at != DKV ? 0 : p->softcap != 0 ? tile_p : 1;
    return 4 * ((tiles * own + met) * tile_row + tile_p + slopes + 2 * v[M]);
}

static size_t work_items_kv(const long long *values) {
    return (size_t)(values[DKV_THREADS_M] * values[DKV_THREADS_N]);
}

static size_t work_items_q(const long long *values) {
    return (size_t)(values[DQ_THREADS_M] * values[DQ_THREADS_N]);
}

static cl_int check_half(const struct problem *p, const struct device *d, const struct half *h,
                         const long long *v, struct status *status) {
    const cl_int invalid = CLATTN_INVALID_VARIANT;
    if (v[h->own] % v[h->threads_own] != 0) {
        return status_set(status, invalid,
                          "%s_BLOCK_%s=%lld is not a multiple of %s_THREADS_%s=%lld", h->prefix,
                          h->own_name, v[h->own], h->prefix, h->own_name, v[h->threads_own]);
    }
    if (v[h->met] % 4 != 0 || v[h->met] % v[h->threads_met] != 0) {
        return status_set(
            status, invalid, "%s_BLOCK_%s=%lld is not a multiple of 4 and of %s_THREADS_%s=%lld",
            h->prefix, h->met_name, v[h->met], h->prefix, h->met_name, v[h->threads_met]);
    }
    if (v[D] % (4 * v[h->threads_met]) != 0) {
        return status_set(status, invalid,
                          "%s_BLOCK_D=%lld is not a multiple of 4 * %s_THREADS_%s=%lld", h->prefix,
                          v[D], h->prefix, h->met_name, 4 * v[h->threads_met]);
    }
    return solvers_check_group(d, v[THREADS_M] * v[THREADS_N], local_bytes(p, h, v), status);
}

static cl_int legal(const struct problem *p, const struct device *d, const long long *values,
                    struct status *status) {
    cl_int code = solvers_check_group(d, values[WORK_GROUP], 0, status);
    for (size_t i = 0; i < HALVES && code == CL_SUCCESS; i++) {
        code = check_half(p, d, &halves[i], values + halves[i].at, status);
    }
    return code;
}

/* Sums, scores and the elements of a step that one work-item keeps. */
static long long registers(const struct problem *p, const struct half *h, const long long *v) {
    const long long rows = v[h->own] / v[h->threads_own];
    const long long columns = v[D] / v[h->threads_met], keys = v[h->met] / v[h->threads_met];
    const long long all = strips(p->head_dim, v) + (h->at == DKV ? strips(p->head_dim_v, v) : 0);
    return rows * (columns > keys ? columns : keys) + 4 * keys + all * rows * columns;
}

static void needs(const struct problem *p, const struct device *d, const long long *values,
                  size_t stage, struct solver_needs *to) {
    const struct half *h = &halves[stage == 2 ? 0 : 1]; /* as stages() has them */
    const long long *v = values + h->at;
    const double rows = (double)v[h->own] / (double)v[h->threads_own];
    const double met = (double)v[h->met] / (double)v[h->threads_met];
    (void)d;
    if (stage > 0) {
        to->rows = (cl_ulong)v[h->own];
        to->met = (cl_ulong)v[h->met];
        to->local_memory = (cl_ulong)local_bytes(p, h, v);
        to->registers = v[SUMS_RESIDENT] ? (cl_ulong)registers(p, h, v) : 0;
        to->reads = (1 / rows + 1 / met) / (values[WIDE_READS] ? 4 : 1);
    }
}

/* Rows that are owned, that are met, BLOCK_D at most, work-items along both. */
static const struct shape {
    long long own, met, strip, threads_own, threads_met;
} shapes[] = {
    {128, 64, 64, 16, 8}, {128, 64, 64, 16, 16}, {64, 64, 64, 16, 16}, {64, 32, 64, 16, 8},
    {32, 32, 64, 8, 8},   {32, 32, 32, 8, 8},    {16, 16, 32, 8, 8},   {16, 16, 16, 4, 4},
    {8, 8, 8, 2, 2},      {4, 8, 4, 1, 1},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0], FOR_INTEL = 2, FOR_CPUS = 6 };

/* The kernel's values of a shape, with those strips of heads that the given work-items allow. */
static void fill(const struct problem *p, const struct device *d, const long long *given,
                 const struct half *h, const struct shape *shape, long long *v) {
    v[h->own] = shape->own;
    v[h->met] = shape->met;
    v[h->threads_own] = shape->threads_own;
    v[h->threads_met] = shape->threads_met;
    v[D] = solvers_tile_strip(p, solvers_given(given[h->threads_met], shape->threads_met),
                              shape->strip);
    /* 255 registers is the most that any GPU of today offers without halving its occupancy again;
     * addresses take some. */
    v[SUMS_RESIDENT] = registers(p, h, v) <= 200;
    v[STEP_UNROLL] = 1;
    /* Two work-groups are worth more than what a reload costs. */
    v[OWN_RESIDENT] = 1;
    v[OWN_RESIDENT] = (cl_ulong)local_bytes(p, h, v) <= d->local_memory / 2;
}

static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *values) {
    /* To a CPU device the larger ones only take long to build.  On Intel's GPUs a thread has 128
     * registers, and larger ones spill (offline, ocloc, gpu_max_1550, f32 D 64, bwd_tile_kv: 11,392
     * bytes with the second one, 4,352 with the third). */
    i += d->type == DEVICE_CPU                       ? FOR_CPUS
         : strncmp(d->architecture, "intel", 5) == 0 ? FOR_INTEL
                                                     : 0;
    if (i >= SHAPES) {
        return false;
    }
    values[WORK_GROUP] = shapes[i].threads_own * shapes[i].threads_met;
    values[WORK_GROUP] = values[WORK_GROUP] < 64 ? values[WORK_GROUP] : 64;
    values[WIDE_READS] = /* see solver_fwd_tile.c */
        d->type != DEVICE_CPU && strcmp(d->platform, "Portable Computing Language") != 0;
    for (size_t n = 0; n < HALVES; n++) {
        const struct half *h = &halves[n];
        const long long rows = h->at == DKV ? p->seq_kv : p->seq_q;
        size_t at = i;
        /* Few rows: no block twice as high as they need. */
        while (shapes[at].own >= 2 * rows && shapes[at].own > 16) {
            at++;
        }
        fill(p, d, given + h->at, h, &shapes[at], values + h->at);
        /* A work-group of 128 does not hide the time of memory: only where there are two. */
        if (at == 0 && (cl_ulong)local_bytes(p, h, values + h->at) > d->local_memory / 2) {
            fill(p, d, given + h->at, h, &shapes[1], values + h->at);
        }
    }
    return true;
}

static struct grid grid_of_keys(const long long *values, const struct params *params) {
    return (struct grid){solvers_blocks_of_keys(params, (cl_ulong)values[DKV_BLOCK_N]), 1};
}

static struct grid grid_of_queries(const long long *values, const struct params *params) {
    return (struct grid){solvers_blocks(params, (cl_ulong)values[DQ_BLOCK_M]), 1};
}

#define STAGE(name, write, words, keys, more, items, its_grid)                                  \
    {                                                                                           \
        .recipe = {.kernel = name,                                                              \
                   .reads = "q k v lse d_o scores workspace",                                   \
                   .writes = write,                                                             \
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl",        \
                             "score.cl", "state.cl", "grad.cl", "tile_copy.cl", "tile_sums.cl", \
                             "tile_grads.cl", name ".cl"},                                      \
                   .takes = words " WIDE_READS",                                                \
                   .constants = more "#define THREADS_D 1\n",                                   \
                   .options = SOLVERS_TILE_OPTIONS,                                             \
                   .owns_keys = keys},                                                          \
        .work_items = items, .grid = its_grid,                                                  \
    }

static const struct stage of_kv = STAGE("bwd_tile_kv", "d_k d_v", "DKV_", true,
                                        SOLVERS_TILE_OF_KEYS, work_items_kv, grid_of_keys);
static const struct stage of_q = STAGE("bwd_tile_q", "d_q", "DQ_", false, SOLVERS_TILE_OF_QUERIES,
                                       work_items_q, grid_of_queries);

static size_t stages(const struct variant *v, struct stage *to) {
    (void)v;
    to[0] = solvers_delta;
    to[1] = of_q;
    to[2] = of_kv;
    return 3;
}

extern const struct solver solver_bwd_tile;
const struct solver solver_bwd_tile = {
    .name = "bwd_tile",
    .pass = CLATTN_BACKWARD,
    .mixed = true,
    .scored = true,
    .features = SOLVERS_HIDING | CLATTN_FEATURE_SINK,
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .workspace = solvers_delta_workspace,
    .needs = needs,
};
