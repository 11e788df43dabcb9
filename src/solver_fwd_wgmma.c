/*
 * fwd_wgmma - Hopper's own forward main loop (cl/fwd_wgmma.cl): 16-bit elements, matrix
 * unit, tensor copy engine.
 *
 * Two launches: one work-group writes tensor maps to the workspace, then at most GROUPS of
 * them share all blocks of query rows.  Strides that a tensor map cannot express come
 * only at enqueue: accepts() says so, and another solver's kernel runs.
 */
#include <string.h>

#include "size.h"
#include "solvers.h"

enum {
    MOST_HEAD_DIM = 256,
    WORKSPACE_BYTES = 512, /* three maps of 128 bytes, a counter */
    ROWS = 64,             /* of a warpgroup */
    WARPGROUP = 128,       /* work-items */
    TASK_BYTES = 96,       /* struct task, of the most warpgroups */
    APART_BYTES = 64,      /* struct rows_apart, of each warpgroup */
    MOST_TASKS = INT_MAX,  /* they and GROUPS are counted in 32 bits */
};

enum { BLOCK_M, BLOCK_N, SLOTS, TURNS, GROUPS };

static const struct solver_parameter parameters[] = {
    SOLVERS_NUMBER_OF(BLOCK_M, 64, 192, "64 128 192"),
    SOLVERS_NUMBER_OF(BLOCK_N, 16, 256,
                      "16 32 48 64 80 96 112 128 144 160 176 192 208 224 240 256"),
    [SLOTS] = {"STAGES", 2, 8, NULL, "2 3 4 5 6"},
    SOLVERS_NUMBER(TURNS, 0, 1),
    SOLVERS_NUMBER_OF(GROUPS, 1, 65536, ""),
    {0},
};

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    const char *cannot =
        strcmp(d->architecture, "nvidia/9.0") != 0
            ? "its instructions are those of NVIDIA's compute capability 9.0 alone"
        : p->type == CLATTN_F32 ? "the matrix unit takes 16-bit elements; f32 is for others"
        : p->head_dim > MOST_HEAD_DIM || p->head_dim_v > MOST_HEAD_DIM
            ? "head dimensions over 256 need more registers than there are"
        : p->head_dim % 8 != 0 || p->head_dim_v % 8 != 0
            ? "the tensor copy engine steps by 16 bytes: head dimensions are to be multiples of 8"
            : NULL;
    return solvers_fitness(cannot, NULL, why);
}

/* Bytes of a row in local memory: whole slabs of 64 elements. */
static long long row_bytes(cl_uint head_dim) {
    return (long long)size_div_up(head_dim, 64) * 128;
}

/* As the kernel declares it, and what alignment may cost. */
static long long local_bytes(const struct problem *p, const long long *v) {
    const long long row_k = row_bytes(p->head_dim), row_v = row_bytes(p->head_dim_v);
    return v[BLOCK_M] * row_k + v[SLOTS] * v[BLOCK_N] * (row_k + row_v) + 8 * (2 + 5 * v[SLOTS]) +
           2 * TASK_BYTES + v[BLOCK_M] / ROWS * APART_BYTES + 64;
}

static size_t work_items(const long long *v) {
    return (size_t)(v[BLOCK_M] / ROWS + 1) * WARPGROUP;
}

/* Scores, weights in pairs and sums that a work-item of a consumer holds. */
static long long registers_of(const struct problem *p, const long long *v) {
    return v[BLOCK_N] * 3 / 4 + row_bytes(p->head_dim_v) / 4;
}

static void needs(const struct problem *p, const struct device *d, const long long *v, size_t stage,
                  struct solver_needs *to) {
    (void)d;
    if (stage == 1) { /* the other one writes the maps */
        to->rows = (cl_ulong)v[BLOCK_M];
        to->met = (cl_ulong)v[BLOCK_N];
        to->local_memory = (cl_ulong)local_bytes(p, v);
        to->registers = (cl_ulong)registers_of(p, v);
        to->reads = 1 / (double)ROWS;
        to->engine = 16;
    }
}

static cl_int legal(const struct problem *p, const struct device *d, const long long *v,
                    struct status *status) {
    const long long registers = registers_of(p, v);
    /* What setmaxnreg leaves for them. */
    const long long most = v[BLOCK_M] > 2 * ROWS ? 128 : 200;
    const cl_int invalid = CLATTN_INVALID_VARIANT;
    const cl_ulong heads = (cl_ulong)p->batch * p->heads_q; /* below 2^30 */
    if (v[BLOCK_M] % ROWS != 0) {
        return status_set(status, invalid, "BLOCK_M=%lld is not a multiple of %d", v[BLOCK_M],
                          (int)ROWS);
    }
    if (v[BLOCK_N] % 16 != 0) {
        return status_set(status, invalid, "BLOCK_N=%lld is not a multiple of 16", v[BLOCK_N]);
    }
    if (registers > most) {
        return status_set(status, invalid, "%lld registers for scores and sums are over %lld",
                          registers, most);
    }
    if (heads * size_div_up(p->seq_q, (cl_ulong)v[BLOCK_M]) > MOST_TASKS) {
        return status_set(status, CLATTN_UNSUPPORTED, "more than %u blocks of %lld query rows",
                          (unsigned)MOST_TASKS, v[BLOCK_M]);
    }
    return solvers_check_group(d, (long long)work_items(v), local_bytes(p, v), status);
}

static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    static const struct {
        cl_uint most; /* of head_dim and head_dim_v */
        long long block_m, block_n, turns;
    } shapes[] = {
        {64, 192, 128, 1}, {64, 128, 128, 1},  {64, 64, 128, 0},  {128, 128, 128, 1},
        {128, 64, 128, 0}, {192, 128, 112, 1}, {192, 64, 112, 0}, {256, 128, 80, 1},
        {256, 64, 64, 0},  {256, 64, 16, 0},
    };
    const cl_uint wider = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    (void)given;
    for (size_t shape = 0; shape < sizeof shapes / sizeof shapes[0]; shape++) {
        v[BLOCK_M] = shapes[shape].block_m;
        v[BLOCK_N] = shapes[shape].block_n;
        v[SLOTS] = 2; /* more were slower at D 64, and do not fit above */
        v[TURNS] = shapes[shape].turns;
        v[GROUPS] = (long long)d->compute_units;
        /* Few query rows: no block with a warpgroup that has none. */
        const bool too_high = v[BLOCK_M] - ROWS >= (long long)p->seq_q && v[BLOCK_M] != ROWS;
        /* Short and masked: 192 rows are no faster (H200, D 64, S 1024, causal, 16,384 tokens,
         * 32 heads: 305 TFLOP/s, 128 rows 308, 2026-11-22), and 128 make more tasks to share. */
        const bool too_wide = v[BLOCK_M] > 2 * ROWS && problem_masked(p) && p->seq_q <= 1024;
        if (shapes[shape].most >= wider && !too_wide && !too_high && i-- == 0) {
            return true;
        }
    }
    return false;
}

static size_t work_items_of_maps(const long long *v) {
    (void)v;
    return 32;
}

static struct grid grid_of_maps(const long long *v, const struct params *params) {
    (void)v;
    (void)params;
    return (struct grid){1, 1};
}

static struct grid grid(const long long *v, const struct params *params) {
    const cl_ulong most = (cl_ulong)v[GROUPS], all = solvers_blocks(params, (cl_ulong)v[BLOCK_M]);
    return (struct grid){all < most ? all : most, 1};
}

/* Strides of a tensor map are multiples of 16 bytes below 2^40.  PTX does not say what the copy
 * engine makes of a stride of 0, and no Hopper was asked yet: a 0 is left to other solvers. */
static bool expressible(cl_long stride, cl_int count) {
    const cl_long most = (cl_long)1 << 39; /* elements */
    return count <= 1 || (stride > 0 && stride < most);
}

/* Strides by which nobody steps do not count: fwd_wgmma_maps.cl replaces them. */
static bool mapped(const struct strides *s, cl_int rows, cl_int heads, cl_int batch) {
    return rows == 0 || (expressible(s->row, rows) && expressible(s->head, heads) &&
                         expressible(s->batch, batch));
}

static bool accepts(const long long *v, const struct params *p) {
    const cl_int heads_kv = p->heads_q / p->group;
    const struct strides *s = p->strides;
    (void)v;
    return (p->aligned & OPERANDS_WIDE) == OPERANDS_WIDE &&
           mapped(&s[OPERAND_Q], p->seq_q, p->heads_q, p->batch) &&
           mapped(&s[OPERAND_K], p->seq_kv, heads_kv, p->batch) &&
           mapped(&s[OPERAND_V], p->seq_kv, heads_kv, p->batch);
}

static bool workspace(const struct problem *p, const long long *v, cl_ulong *bytes) {
    (void)p;
    (void)v;
    *bytes = WORKSPACE_BYTES;
    return true;
}

static const struct stage both[] = {
    {
        .recipe = {.kernel = "fwd_wgmma_maps",
                   .reads = "q k v",
                   .writes = "workspace",
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "fwd_wgmma_maps.cl"},
                   .constants = "#define LANES 1\n",
                   .sm_90a = true},
        .work_items = work_items_of_maps,
        .grid = grid_of_maps,
    },
    {
        .recipe = {.kernel = "fwd_wgmma",
                   .reads = "q k v scores",
                   .writes = "o lse workspace",
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl",
                             "state.cl", "wgmma.cl", "wgmma_tasks.cl", "wgmma_rows.cl",
                             "fwd_wgmma.cl"},
                   .constants = "#define LANES 1\n",
                   .segment_from = SOLVERS_ENGINE_KEYS,
                   .sm_90a = true},
        .work_items = work_items,
        .grid = grid,
    },
};

static size_t stages(const struct variant *v, struct stage *to) {
    (void)v;
    to[0] = both[0];
    to[1] = both[1];
    return 2;
}

extern const struct solver solver_fwd_wgmma;
const struct solver solver_fwd_wgmma = {
    .name = "fwd_wgmma",
    .scored = true,
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .needs = needs,
    .workspace = workspace,
    .accepts = accepts,
};
