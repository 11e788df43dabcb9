/*
 * fwd_wgmma - Hopper's own forward main loop (cl/fwd_wgmma.cl): 16-bit elements, matrix
 * unit, tensor copy engine.
 *
 * Two launches: one work-group writes tensor maps to the workspace, then at most GROUPS of
 * them share all blocks of query rows.  Strides that a tensor map cannot express come
 * only at enqueue: accepts() says so, and another solver's kernel runs.
 */
#include <assert.h>
#include <string.h>

#include "size.h"
#include "solvers.h"

enum {
    COUNT = 5,
    MOST_HEAD_DIM = 256,
    WORKSPACE_BYTES = 512, /* three maps of 128 bytes, a counter */
    ROWS = 64,             /* of a warpgroup */
    WARPGROUP = 128,       /* work-items */
    TASK_BYTES = 96,       /* struct task, of the most warpgroups */
    APART_BYTES = 64,      /* struct rows_apart, of each warpgroup */
};

static const struct solver_parameter parameters[COUNT] = {
    {"BLOCK_M", 64, 192}, {"BLOCK_N", 16, 256}, {"STAGES", 2, 8},
    {"TURNS", 0, 1},      {"GROUPS", 1, 65536},
};

static const char *refuses(const struct problem *p, const struct device *d) {
    return strcmp(d->architecture, "nvidia/9.0") != 0
               ? "its instructions are those of NVIDIA's compute capability 9.0 alone"
           : p->type == CLATTN_F32 ? "the matrix unit takes 16-bit elements; f32 is for others"
           : p->head_dim > MOST_HEAD_DIM || p->head_dim_v > MOST_HEAD_DIM
               ? "head dimensions over 256 need more registers than there are"
           : p->head_dim % 8 != 0 || p->head_dim_v % 8 != 0
               ? "the tensor copy engine steps by 16 bytes: head dimensions are to be multiples of "
                 "8"
               : NULL;
}

/* Bytes of a row in local memory: whole slabs of 64 elements. */
static long long row_bytes(cl_uint head_dim) {
    return (long long)size_div_up(head_dim, 64) * 128;
}

/* As the kernel declares it, and what alignment may cost. */
static long long local_bytes(const struct problem *p, const struct variant *v) {
    const long long m = variant_number(v, "BLOCK_M", 0), n = variant_number(v, "BLOCK_N", 0);
    const long long stages = variant_number(v, "STAGES", 0);
    const long long row_k = row_bytes(p->head_dim), row_v = row_bytes(p->head_dim_v);
    return m * row_k + stages * n * (row_k + row_v) + 8 * (2 + 5 * stages) + 2 * TASK_BYTES +
           m / ROWS * APART_BYTES + 64;
}

/* Scores, weights in pairs and sums that a work-item of a consumer holds. */
static long long registers(const struct problem *p, const struct variant *v) {
    return variant_number(v, "BLOCK_N", 0) * 3 / 4 + row_bytes(p->head_dim_v) / 4;
}

static bool legal(const struct problem *p, const struct device *d, const struct variant *v,
                  struct text *why) {
    const long long m = variant_number(v, "BLOCK_M", 0), n = variant_number(v, "BLOCK_N", 0);
    const long long threads = (m / ROWS + 1) * WARPGROUP;
    const long long most = m > 2 * ROWS ? 128 : 200; /* what setmaxnreg leaves for them */
    const long long group =
        (long long)(d->work_items < d->work_group ? d->work_items : d->work_group);
    if (m % ROWS != 0) {
        text_printf(why, "BLOCK_M=%lld is not a multiple of %d", m, (int)ROWS);
    } else if (n % 16 != 0) {
        text_printf(why, "BLOCK_N=%lld is not a multiple of 16", n);
    } else if (threads > group) {
        text_printf(why, "%lld work-items are over the device's %lld", threads, group);
    } else if (registers(p, v) > most) {
        text_printf(why, "%lld registers for scores and sums are over %lld", registers(p, v), most);
    } else if (local_bytes(p, v) > (long long)d->local_memory) {
        text_printf(why, "%lld bytes of local memory are over the device's %llu", local_bytes(p, v),
                    (unsigned long long)d->local_memory);
    } else {
        return true;
    }
    return false;
}

static bool complete(const struct problem *p, const struct device *d, struct variant *v,
                     struct text *why) {
    static const struct {
        cl_uint most; /* of head_dim and head_dim_v */
        long long block_m, block_n, turns;
    } shapes[] = {
        {64, 192, 128, 1}, {64, 128, 128, 1},  {64, 64, 128, 0},  {128, 128, 128, 1},
        {128, 64, 128, 0}, {192, 128, 112, 1}, {192, 64, 112, 0}, {256, 128, 80, 1},
        {256, 64, 64, 0},  {256, 64, 16, 0},
    };
    enum { SHAPES = sizeof shapes / sizeof shapes[0] };
    const cl_uint wider = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    long long candidates[SHAPES][COUNT];
    size_t count = 0;
    for (size_t i = 0; i < SHAPES; i++) {
        /* Few query rows: no block with a warpgroup that has none. */
        const bool too_high = shapes[i].block_m - ROWS >= (long long)p->seq_q;
        /* Short and masked: 192 rows are no faster (H200, D 64, S 1024, causal, 16,384 tokens,
         * 32 heads: 305 TFLOP/s, 128 rows 308, 2026-11-22), and 128 make more tasks to share. */
        const bool too_wide = shapes[i].block_m > 2 * ROWS && problem_masked(p) && p->seq_q <= 1024;
        if (shapes[i].most >= wider && !too_wide && (!too_high || shapes[i].block_m == ROWS)) {
            long long *c = candidates[count++];
            c[0] = shapes[i].block_m;
            c[1] = shapes[i].block_n;
            c[2] = 2; /* stages: more were slower at D 64, and do not fit above */
            c[3] = shapes[i].turns;
            c[4] = (long long)d->compute_units;
        }
    }
    return solvers_complete(p, d, v, parameters, COUNT, candidates[0], count, legal, why);
}

static cl_ulong tasks(const struct variant *v, const struct params *params) {
    return solvers_blocks(params, (cl_ulong)variant_number(v, "BLOCK_M", 1));
}

static struct ndrange ndrange(const struct variant *v, const struct params *params, size_t kernel) {
    assert(kernel < 2);
    if (kernel == 0) {
        return (struct ndrange){{32, 1}, {32, 1}};
    }
    const size_t threads = (size_t)((variant_number(v, "BLOCK_M", 0) / ROWS + 1) * WARPGROUP);
    const cl_ulong most = (cl_ulong)variant_number(v, "GROUPS", 1), all = tasks(v, params);
    return (struct ndrange){{(all < most ? all : most) * threads, 1}, {threads, 1}};
}

/* A tensor map's strides: multiples of 16 bytes below 2^40.  PTX does not say what the copy engine
 * makes of a stride of 0, and no Hopper was asked yet: those that are used are left to others. */
static bool expressible(const struct strides *s, cl_int rows, cl_int heads, cl_int batch) {
    const cl_long most = (cl_long)1 << 39; /* elements */
    return s->row < most && s->head < most && s->batch < most && (s->row > 0 || rows <= 1) &&
           (s->head > 0 || heads <= 1) && (s->batch > 0 || batch <= 1);
}

static bool accepts(const struct variant *v, const struct params *p) {
    const cl_int heads_kv = p->heads_q / p->group;
    const cl_int moved = (cl_int)(OPERAND_BIT(OPERAND_Q) | OPERAND_BIT(OPERAND_K) |
                                  OPERAND_BIT(OPERAND_V) | OPERAND_BIT(OPERAND_O));
    const struct strides *s = p->strides;
    return (p->aligned & moved) == moved &&
           expressible(&s[OPERAND_Q], p->seq_q, p->heads_q, p->batch) &&
           expressible(&s[OPERAND_K], p->seq_kv, heads_kv, p->batch) &&
           expressible(&s[OPERAND_V], p->seq_kv, heads_kv, p->batch) &&
           tasks(v, p) < (cl_ulong)1 << 31;
}

static bool workspace(const struct problem *p, const struct variant *v, cl_ulong *bytes) {
    (void)p;
    (void)v;
    *bytes = WORKSPACE_BYTES;
    return true;
}

static const struct program_recipe *recipe(const struct variant *v, size_t kernel) {
    static const struct program_recipe recipes[] = {
        {
            .kernel = "fwd_wgmma_maps",
            .reads = "q k v",
            .writes = "workspace",
            .parts = {"params.h", "base.cl", "slice.cl", "fwd_wgmma_maps.cl"},
            .constants = "#define LANES 1\n",
            .sm_90a = true,
        },
        {
            .kernel = "fwd_wgmma",
            .reads = "q k v",
            .writes = "o lse workspace",
            .parts = {"params.h", "base.cl", "slice.cl", "span.cl", "score.cl", "state.cl",
                      "wgmma.cl", "wgmma_tasks.cl", "wgmma_rows.cl", "fwd_wgmma.cl"},
            .constants = "#define LANES 1\n",
            .segment_from = SOLVERS_ENGINE_KEYS,
            .sm_90a = true,
        },
    };
    (void)v;
    return &recipes[kernel];
}

extern const struct solver solver_fwd_wgmma;
const struct solver solver_fwd_wgmma = {
    .name = "fwd_wgmma",
    .refuses = refuses,
    .complete = complete,
    .kernels = 2,
    .recipe = recipe,
    .workspace = workspace,
    .ndrange = ndrange,
    .accepts = accepts,
    .misses = "strides beyond a tensor map",
};
