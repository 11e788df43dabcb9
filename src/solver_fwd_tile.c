/*
 * fwd_tile - for GPUs: tiles in local memory (cl/fwd_tile.cl).
 *
 * The candidates go from large to small; the first that fits the device's local
 * memory, its work-group limit and a budget of registers wins.  The last one needs
 * a work-group of 1 and 612 bytes.
 */
#include <string.h>

#include "size.h"
#include "solvers.h"

enum {
    BLOCK_M,
    BLOCK_N,
    BLOCK_D,
    THREADS_M,
    THREADS_N,
    THREADS_D,
    Q_RESIDENT,
    PREFETCH,
    STEP_UNROLL,
    WIDE_READS,
};

static const struct solver_parameter parameters[] = {
    SOLVERS_NUMBER_OF(BLOCK_M, 1, 512, "8 16 32 64 96 128 192 256"),
    SOLVERS_NUMBER_OF(BLOCK_N, 8, 128, "8 16 32 64 96 128"),
    SOLVERS_NUMBER_OF(BLOCK_D, 4, 512, "16 32 64 96 128 256"),
    SOLVERS_NUMBER_OF(THREADS_M, 1, 256, "1 2 4 8 16 32"),
    SOLVERS_NUMBER_OF(THREADS_N, 1, 256, "1 2 4 8 16 32"),
    SOLVERS_NUMBER(THREADS_D, 1, 2),
    SOLVERS_NUMBER(Q_RESIDENT, 0, 1),
    SOLVERS_NUMBER(PREFETCH, 0, 1),
    SOLVERS_NUMBER_OF(STEP_UNROLL, 1, 16, "1 2 4 8"),
    SOLVERS_NUMBER(WIDE_READS, 0, 1),
    {0},
};

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    const char *tiles = solvers_refuse_tiles(d);
    const char *cannot = tiles ? tiles : solvers_refuse_loops(p, d, 1);
    const char *could = d->type == DEVICE_CPU
                            ? "a CPU device gains nothing from local memory and pays for barriers"
                            : NULL;
    return solvers_fitness(cannot, could, why);
}

/* As the kernel declares it. */
static long long local_bytes(const struct problem *p, const long long *v) {
    const long long slices = (long long)size_div_up(p->head_dim, (cl_ulong)v[BLOCK_D]);
    const long long tile_row = v[BLOCK_D] + 4;
    const long long p_row = v[BLOCK_N] + (v[THREADS_N] == 8 ? 8 : 4);
    const long long floats = (v[Q_RESIDENT] ? slices : 1) * v[BLOCK_M] * tile_row +
                             v[BLOCK_N] * tile_row + v[BLOCK_M] * p_row +
                             v[BLOCK_M] * v[THREADS_N] + v[BLOCK_M] + 1;
    return floats * 4;
}

static size_t work_items(const long long *v) {
    return (size_t)(v[THREADS_M] * v[THREADS_N] * v[THREADS_D]);
}

static cl_int legal(const struct problem *p, const struct device *d, const long long *v,
                    struct status *status) {
    const cl_int invalid = CLATTN_INVALID_VARIANT;
    if (v[BLOCK_M] % (v[THREADS_M] * v[THREADS_D]) != 0) {
        return status_set(status, invalid,
                          "BLOCK_M=%lld is not a multiple of THREADS_M * THREADS_D=%lld",
                          v[BLOCK_M], v[THREADS_M] * v[THREADS_D]);
    }
    if (v[THREADS_D] == 2 && v[BLOCK_N] % (4 * v[THREADS_N]) != 0) {
        return status_set(status, invalid, "BLOCK_N=%lld is not a multiple of 4 * THREADS_N=%lld",
                          v[BLOCK_N], 4 * v[THREADS_N]);
    }
    if (v[BLOCK_N] % 4 != 0 || v[BLOCK_N] % v[THREADS_N] != 0) {
        return status_set(status, invalid,
                          "BLOCK_N=%lld is not a multiple of 4 and of THREADS_N=%lld", v[BLOCK_N],
                          v[THREADS_N]);
    }
    if (v[BLOCK_D] % (4 * v[THREADS_N] * v[THREADS_D]) != 0) {
        return status_set(status, invalid,
                          "BLOCK_D=%lld is not a multiple of 4 * THREADS_N * THREADS_D=%lld",
                          v[BLOCK_D], 4 * v[THREADS_N] * v[THREADS_D]);
    }
    return solvers_check_group(d, (long long)work_items(v), local_bytes(p, v), status);
}

/* Accumulators, scores and prefetched elements that one work-item keeps. */
static long long registers(const struct problem *p, const long long *v) {
    const long long rows = v[BLOCK_M] / v[THREADS_M];
    const long long slices_v = (long long)size_div_up(p->head_dim_v, (cl_ulong)v[BLOCK_D]);
    const long long o = rows * slices_v * v[BLOCK_D] / (v[THREADS_N] * v[THREADS_D]);
    const long long s = rows * (v[BLOCK_N] / v[THREADS_N]);
    const long long next = v[PREFETCH] * v[BLOCK_N] * v[BLOCK_D] / (long long)work_items(v);
    return o + s + next;
}

/* 255 registers is the most that any GPU of today offers without halving its occupancy again. */
static bool fits_registers(const struct problem *p, const long long *v) {
    return registers(p, v) <= 160;
}

static void needs(const struct problem *p, const struct device *d, const long long *v, size_t stage,
                  struct solver_needs *to) {
    const long long rows = v[BLOCK_M] / v[THREADS_M], keys = v[BLOCK_N] / v[THREADS_N];
    (void)d;
    (void)stage;
    to->rows = (cl_ulong)v[BLOCK_M];
    to->met = (cl_ulong)v[BLOCK_N];
    to->local_memory = (cl_ulong)local_bytes(p, v);
    to->registers = (cl_ulong)registers(p, v);
    to->reads = (1 / (double)rows + 1 / (double)(keys ? keys : 1)) / (v[WIDE_READS] ? 4 : 1);
}

static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    /* In the order of the parameters, without WIDE_READS; BLOCK_D is the largest.  The first shape
     * has no registers for PREFETCH (H100, 2026-11-27, f32 D 128, S 4096: 38.3 TFLOP/s without,
     * 37.8 with PREFETCH; causal 36.3 and 36.0). */
    static const long long shapes[][WIDE_READS] = {
        {128, 64, 128, 16, 8, 2, 1, 0, 4}, {128, 64, 128, 16, 16, 1, 1, 1, 1},
        {128, 64, 64, 16, 16, 1, 1, 1, 1}, {64, 64, 64, 16, 16, 1, 1, 1, 1},
        {64, 64, 64, 16, 16, 1, 0, 1, 1},  {64, 32, 64, 16, 8, 1, 1, 0, 1},
        {32, 32, 64, 8, 8, 1, 1, 0, 1},    {32, 32, 64, 8, 16, 1, 1, 0, 1},
        {32, 32, 32, 8, 8, 1, 0, 0, 1},    {16, 32, 64, 8, 16, 1, 0, 0, 1},
        {16, 16, 32, 8, 8, 1, 0, 0, 1},    {16, 16, 16, 4, 4, 1, 0, 0, 1},
        {8, 8, 8, 2, 2, 1, 0, 0, 1},       {4, 8, 4, 1, 1, 1, 0, 0, 1},
    };
    enum { SHAPES = sizeof shapes / sizeof shapes[0] };
    /* To a CPU device wide reads mean nothing, and PoCL 5.0's compiler aborts on the branch
     * that they need between barriers (tried 2026-11-21). */
    const bool wide =
        d->type != DEVICE_CPU && strcmp(d->platform, "Portable Computing Language") != 0;
    for (size_t shape = 0; shape < SHAPES; shape++) {
        memcpy(v, shapes[shape], sizeof shapes[shape]);
        v[WIDE_READS] = wide;
        if (d->type == DEVICE_CPU) {
            v[STEP_UNROLL] = 1; /* there it only takes long to build */
        }
        /* The caller's THREADS_N and THREADS_D decide which slices there are. */
        v[BLOCK_D] = solvers_tile_strip(p,
                                        solvers_given(given[THREADS_N], v[THREADS_N]) *
                                            solvers_given(given[THREADS_D], v[THREADS_D]),
                                        v[BLOCK_D]);
        /* Few query rows: no block twice as high as they need. */
        const bool too_high = v[BLOCK_M] >= 2 * (long long)p->seq_q && v[BLOCK_M] > 16;
        /* Sums over a short head are not worth sharing (H200, 2026-11-21, f32 D 64 full: 30.7
         * TFLOP/s shared, 33.7 not). */
        const bool too_narrow = v[THREADS_D] == 2 && v[BLOCK_D] <= 64;
        const bool taken =
            (fits_registers(p, v) && !too_high && !too_narrow) || shape + 1 == SHAPES;
        if (taken && i-- == 0) {
            return true;
        }
    }
    return false;
}

static struct grid grid(const long long *v, const struct params *params) {
    return (struct grid){solvers_blocks(params, (cl_ulong)v[BLOCK_M]), 1};
}

static const struct stage only = {
    .recipe = {.kernel = "fwd_tile",
               .reads = "q k v scores sink lengths_kv",
               .writes = "o lse workspace",
               .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl",
                         "finite.cl", "state.cl", "tile_copy.cl", "tile_sums.cl", "tile_state.cl",
                         "fwd_tile.cl"},
               .constants = SOLVERS_TILE_OF_QUERIES,
               .pass = "0",
               .options = SOLVERS_TILE_OPTIONS},
    .work_items = work_items,
    .grid = grid,
};

static size_t stages(const struct variant *v, struct stage *to) {
    (void)v;
    to[0] = only;
    return 1;
}

extern const struct solver solver_fwd_tile;
const struct solver solver_fwd_tile = {
    .name = "fwd_tile",
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
