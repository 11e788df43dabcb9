/*
 * fwd_tile - for GPUs: tiles in local memory (cl/fwd_tile.cl).
 *
 * The candidates go from large to small; the first that fits the device's local
 * memory, its work-group limit and a budget of registers wins.  The last one needs
 * a work-group of 1 and 616 bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "size.h"
#include "solvers.h"

enum { COUNT = 10 };

static const struct solver_parameter parameters[COUNT] = {
    {"BLOCK_M", 1, 512},    {"BLOCK_N", 8, 128},  {"BLOCK_D", 4, 512},  {"THREADS_M", 1, 256},
    {"THREADS_N", 1, 256},  {"THREADS_D", 1, 2},  {"Q_RESIDENT", 0, 1}, {"PREFETCH", 0, 1},
    {"STEP_UNROLL", 1, 16}, {"WIDE_READS", 0, 1},
};

/* Wrong results, seldom the same ones twice, in 0 to 4 of 90 kernels a run with PoCL 5.0 (Ubuntu
 * 24.04); 6.0 and 7.1 were seen to miscompile barriers in loops, too; 3.1 never. */
static bool miscompiled(const struct device *d) {
    return strcmp(d->platform, "Portable Computing Language") == 0 &&
           strtol(d->driver, NULL, 10) >= 4;
}

static const char *refuses(const struct problem *p, const struct device *d) {
    return d->local_memory < 1024 ? "the device has less than 1 KiB of local memory"
           : miscompiled(d)       ? "PoCL after 3.1 miscompiles barriers in loops"
                                  : solvers_refuse_loops(p, d, 1);
}

static const char *unsuited(const struct problem *p, const struct device *d) {
    (void)p;
    return d->type == DEVICE_CPU
               ? "a CPU device gains nothing from local memory and pays for barriers"
               : NULL;
}

struct shape {
    long long block_m, block_n, block_d, threads_m, threads_n, threads_d, q_resident;
    long long slices, slices_v; /* of BLOCK_D, in a row of q and k, of v and o */
};

static struct shape shape_of(const struct problem *p, const struct variant *v) {
    struct shape s = {
        variant_number(v, "BLOCK_M", 0),
        variant_number(v, "BLOCK_N", 0),
        variant_number(v, "BLOCK_D", 0),
        variant_number(v, "THREADS_M", 0),
        variant_number(v, "THREADS_N", 0),
        variant_number(v, "THREADS_D", 0),
        variant_number(v, "Q_RESIDENT", 0),
        0,
        0,
    };
    s.slices = (long long)size_div_up(p->head_dim, (cl_ulong)s.block_d);
    s.slices_v = (long long)size_div_up(p->head_dim_v, (cl_ulong)s.block_d);
    return s;
}

/* As the kernel declares it. */
static long long local_bytes(const struct shape *s) {
    const long long tile_row = s->block_d + 4;
    const long long p_row = s->block_n + (s->threads_n == 8 ? 8 : 4);
    const long long floats = (s->q_resident ? s->slices : 1) * s->block_m * tile_row +
                             s->block_n * tile_row + s->block_m * p_row +
                             s->block_m * s->threads_n + s->block_m + 1;
    return floats * 4;
}

static bool legal(const struct problem *p, const struct device *d, const struct variant *v,
                  struct text *why) {
    const struct shape s = shape_of(p, v);
    const long long threads = s.threads_m * s.threads_n * s.threads_d;
    const long long most =
        (long long)(d->work_items < d->work_group ? d->work_items : d->work_group);
    if (s.block_m % (s.threads_m * s.threads_d) != 0) {
        text_printf(why, "BLOCK_M=%lld is not a multiple of THREADS_M * THREADS_D=%lld", s.block_m,
                    s.threads_m * s.threads_d);
    } else if (s.threads_d == 2 && s.block_n % (4 * s.threads_n) != 0) {
        text_printf(why, "BLOCK_N=%lld is not a multiple of 4 * THREADS_N=%lld", s.block_n,
                    4 * s.threads_n);
    } else if (s.block_n % 4 != 0 || s.block_n % s.threads_n != 0) {
        text_printf(why, "BLOCK_N=%lld is not a multiple of 4 and of THREADS_N=%lld", s.block_n,
                    s.threads_n);
    } else if (s.block_d % (4 * s.threads_n * s.threads_d) != 0) {
        text_printf(why, "BLOCK_D=%lld is not a multiple of 4 * THREADS_N * THREADS_D=%lld",
                    s.block_d, 4 * s.threads_n * s.threads_d);
    } else if (threads > most) {
        text_printf(why, "%lld work-items are over the device's %lld", threads, most);
    } else if (local_bytes(&s) > (long long)d->local_memory) {
        text_printf(why, "%lld bytes of local memory are over the device's %llu", local_bytes(&s),
                    (unsigned long long)d->local_memory);
    } else {
        return true;
    }
    return false;
}

/* The smallest slice that 4 * columns (work-items along those of O) divides and that covers the
 * wider head, but at most `most`. */
static long long slice_for(const struct problem *p, long long columns, long long most) {
    const cl_uint wider = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    const long long step = 4 * columns;
    const long long slice = (long long)size_div_up(wider, (cl_ulong)step) * step;
    const long long cap = most / step * step;
    return slice < cap ? slice : cap > step ? cap : step;
}

/* Accumulators, scores and prefetched elements that one work-item keeps; 255 registers is the most
 * that any GPU of today offers without halving its occupancy again. */
static bool fits_registers(const struct problem *p, const long long *candidate) {
    const long long rows = candidate[0] / candidate[3];
    const long long slices_v = (long long)size_div_up(p->head_dim_v, (cl_ulong)candidate[2]);
    const long long o = rows * slices_v * candidate[2] / (candidate[4] * candidate[5]);
    const long long s = rows * (candidate[1] / candidate[4]);
    const long long next =
        candidate[7] * candidate[1] * candidate[2] / (candidate[3] * candidate[4] * candidate[5]);
    return o + s + next <= 160;
}

static bool complete(const struct problem *p, const struct device *d, struct variant *v,
                     struct text *why) {
    /* BLOCK_M, BLOCK_N, largest BLOCK_D, THREADS_M, THREADS_N, THREADS_D, Q_RESIDENT, PREFETCH,
     * STEP_UNROLL */
    static const long long shapes[][COUNT - 1] = {
        {128, 64, 128, 16, 8, 2, 1, 1, 4}, {128, 64, 128, 16, 16, 1, 1, 1, 1},
        {128, 64, 64, 16, 16, 1, 1, 1, 1}, {64, 64, 64, 16, 16, 1, 1, 1, 1},
        {64, 64, 64, 16, 16, 1, 0, 1, 1},  {64, 32, 64, 16, 8, 1, 1, 0, 1},
        {32, 32, 64, 8, 8, 1, 1, 0, 1},    {32, 32, 64, 8, 16, 1, 1, 0, 1},
        {32, 32, 32, 8, 8, 1, 0, 0, 1},    {16, 32, 64, 8, 16, 1, 0, 0, 1},
        {16, 16, 32, 8, 8, 1, 0, 0, 1},    {16, 16, 16, 4, 4, 1, 0, 0, 1},
        {8, 8, 8, 2, 2, 1, 0, 0, 1},       {4, 8, 4, 1, 1, 1, 0, 0, 1},
    };
    /* To a CPU device wide reads mean nothing, and PoCL 5.0's compiler aborts on the branch
     * that they need between barriers (tried 2026-11-21). */
    const bool wide =
        d->type != DEVICE_CPU && strcmp(d->platform, "Portable Computing Language") != 0;
    enum { SHAPES = sizeof shapes / sizeof shapes[0] };
    long long candidates[SHAPES][COUNT];
    size_t count = 0;
    for (size_t i = 0; i < SHAPES; i++) {
        long long *c = candidates[count];
        for (size_t j = 0; j < COUNT - 1; j++) {
            c[j] = shapes[i][j];
        }
        c[COUNT - 1] = wide;
        c[COUNT - 2] =
            d->type == DEVICE_CPU ? 1 : c[COUNT - 2]; /* there it only takes long to build */
        /* The caller's THREADS_N and THREADS_D decide which slices there are. */
        const long long along_n = variant_number(v, "THREADS_N", c[4]);
        const long long along_d = variant_number(v, "THREADS_D", c[5]);
        c[2] = slice_for(p, (along_n > 0 ? along_n : c[4]) * (along_d > 0 ? along_d : c[5]), c[2]);
        /* Few query rows: no block twice as high as they need. */
        const bool too_high = c[0] >= 2 * (long long)p->seq_q && i + 1 < SHAPES && c[0] > 16;
        /* Sums over a short head are not worth sharing (H200, 2026-11-21, f32 D 64 full: 30.7
         * TFLOP/s shared, 33.7 not). */
        const bool too_narrow = c[5] == 2 && c[2] <= 64;
        if ((fits_registers(p, c) && !too_high && !too_narrow) || i + 1 == SHAPES) {
            count++;
        }
    }
    return solvers_complete(p, d, v, parameters, COUNT, candidates[0], count, legal, why);
}

static struct ndrange ndrange(const struct variant *v, const struct params *params, size_t kernel) {
    (void)kernel;
    const cl_ulong block = (cl_ulong)variant_number(v, "BLOCK_M", 1);
    const size_t threads =
        (size_t)(variant_number(v, "THREADS_M", 1) * variant_number(v, "THREADS_N", 1) *
                 variant_number(v, "THREADS_D", 1));
    return (struct ndrange){{size_mul_capped(solvers_blocks(params, block), threads), 1},
                            {threads, 1}};
}

static const struct program_recipe *recipe(const struct variant *v, size_t kernel) {
    static const struct program_recipe only = {
        .kernel = "fwd_tile",
        .reads = "q k v",
        .writes = "o lse workspace",
        .parts = {"params.h", "base.cl", "slice.cl", "span.cl", "finite.cl", "score.cl", "state.cl",
                  "tile_copy.cl", "tile_sums.cl", "fwd_tile.cl"},
        .constants = "#define LANES 1\n#define PASS 0\n",
        .options = SOLVERS_TILE_OPTIONS,
    };
    (void)v;
    (void)kernel;
    return &only;
}

extern const struct solver solver_fwd_tile;
const struct solver solver_fwd_tile = {
    .name = "fwd_tile",
    .refuses = refuses,
    .unsuited = unsuited,
    .complete = complete,
    .kernels = 1,
    .recipe = recipe,
    .ndrange = ndrange,
};
