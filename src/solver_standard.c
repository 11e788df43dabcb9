/*
 * standard - a baseline: S = Q K^T, softmax, O = P V, with S and P whole in memory.
 *
 *     q, k, v  -- standard_pack -->  dense F32
 *     CLBlast:  scores = Q K^T       standard_softmax, in place       CLBlast:  P V
 *     product  -- standard_unpack -->  o
 *
 * P V goes by blocks of PRODUCT_KEYS keys, and where rows are long, by segments: see
 * clblast_product.h and cl/state.cl.
 *
 * The query heads of one key head are adjacent in dense Q: they are one matrix of
 * group * seq_q rows, and one product is a batch of batch * heads_kv.  CLBlast sees
 * row-major matrices as the transposes of column-major ones, which spares it a copy
 * of the scores; of the weights it makes a transposed one.
 *
 * What a baseline does not promise: CLBlast compiles its kernels at the first call
 * (seconds), keeps them for the process, and allocates device memory for copies.
 */
#include <assert.h>
#include <string.h>

#include "clblast_run.h"
#include "size.h"

enum { PACK, WEIGH, UNPACK, KERNELS };

/* Floats between the rows of the scores. */
static cl_ulong score_stride(const struct problem *p) {
    return size_div_up(p->seq_kv, ROW_FLOATS) * ROW_FLOATS;
}

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    const cl_ulong wider = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    return solvers_fitness(clblast_run_refuses(p, d, score_stride(p), wider), NULL, why);
}

/* ---- The variant ---- */

enum { SOFTMAX, WORK_GROUP, LANES };

static const char *softmax_word(size_t i) {
    static const char *const words[] = {"online", "three_pass", NULL};
    return words[i];
}

static const struct solver_parameter parameters[] = {
    SOLVERS_WORD(SOFTMAX, softmax_word),
    SOLVERS_NUMBER(WORK_GROUP, 1, 1024),
    SOLVERS_NUMBER_OF(LANES, 1, 16, "1 4 8 16"),
    {0},
};

static cl_int legal(const struct problem *p, const struct device *d, const long long *v,
                    struct status *status) {
    (void)p;
    return clblast_run_legal(d, v[WORK_GROUP], v[LANES], 1, status);
}

static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    v[SOFTMAX] = solvers_given(given[SOFTMAX], 0);
    return clblast_run_candidate(p, d, i, &v[WORK_GROUP], &v[LANES]);
}

/* ---- The workspace ---- */

/* Keys of a segment, 0: all of them.  The variant has no BLOCK_N. */
static cl_uint segment_of(const struct problem *p) {
    return program_segment(p, &(struct variant){.count = 0});
}

/* Segments of the sums over keys; as standard_unpack.cl counts them. */
static cl_ulong segments_of(const struct problem *p) {
    const cl_uint segment = segment_of(p);
    return segment ? size_div_up(p->seq_kv, segment) : p->seq_kv > 0;
}

/* Floats from one block of V to the next. */
static cl_ulong block_floats(const struct problem *p) {
    return clblast_run_part_floats((cl_ulong)p->batch * p->heads_kv * PRODUCT_KEYS * p->head_dim_v);
}

/* Where the parts begin, in floats, and where they end.  64 bits hold all of them where the problem
 * is countable. */
struct layout {
    cl_ulong scores, o, flag, q, k, v, end;
};

static struct layout lay_out(const struct problem *p) {
    const cl_ulong rows = (cl_ulong)p->batch * p->heads_q * p->seq_q;
    const cl_ulong rows_kv = (cl_ulong)p->batch * p->heads_kv * p->seq_kv;
    struct layout at = {.scores = 0};
    at.o = at.scores + clblast_run_part_floats(rows * score_stride(p));
    at.flag = at.o + clblast_run_part_floats(rows * segments_of(p) * p->head_dim_v);
    at.q = at.flag + PART_FLOATS;
    at.k = at.q + clblast_run_part_floats(rows * p->head_dim);
    at.v = at.k + clblast_run_part_floats(rows_kv * p->head_dim);
    at.end = at.v + size_div_up(p->seq_kv, PRODUCT_KEYS) * block_floats(p);
    return at;
}

static bool workspace(const struct problem *p, const long long *v, cl_ulong *bytes) {
    (void)v;
    *bytes = clblast_run_bytes(lay_out(p).end);
    return true;
}

/* ---- Launches ---- */

static size_t work_items(const long long *v) {
    return (size_t)v[WORK_GROUP];
}

static struct grid grid_of_pack(const long long *v, const struct params *params) {
    const cl_ulong slices_kv =
        (cl_ulong)params->batch * (cl_ulong)(params->heads_q / params->group);
    const cl_ulong rows = solvers_blocks(params, 1) + 2 * slices_kv * (cl_ulong)params->seq_kv;
    return (struct grid){size_div_up(rows, (cl_ulong)v[WORK_GROUP]), 1};
}

static struct grid grid_of_weigh(const long long *v, const struct params *params) {
    (void)v;
    return (struct grid){solvers_blocks(params, 1), 1};
}

static struct grid grid_of_unpack(const long long *v, const struct params *params) {
    return (struct grid){size_div_up(solvers_blocks(params, 1), (cl_ulong)v[WORK_GROUP]), 1};
}

static size_t stages(const struct variant *v, struct stage *to) {
#define STAGE(name, read, write, its_grid, ...)                                                    \
    {                                                                                              \
        .recipe = {.kernel = name,                                                                 \
                   .reads = read,                                                                  \
                   .writes = write,                                                                \
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl",           \
                             "score.cl", "state.cl", "dense.cl", __VA_ARGS__},                     \
                   .constants = CLBLAST_CONSTANT(PART_FLOATS) CLBLAST_CONSTANT(ROW_FLOATS)         \
                       CLBLAST_CONSTANT(PRODUCT_KEYS) "#define three_pass 3\n#define online 2\n"}, \
        .work_items = work_items, .grid = its_grid,                                                \
    }
    static const struct stage all[KERNELS] = {
        [PACK] = STAGE("standard_pack", "q k v", "workspace", grid_of_pack, "standard_pack.cl"),
        [WEIGH] = STAGE("standard_softmax", "workspace scores", "lse workspace", grid_of_weigh,
                        "standard_softmax.cl"),
        [UNPACK] = STAGE("standard_unpack", "v workspace", "o", grid_of_unpack, "finite.cl",
                         "standard_unpack.cl"),
    };
#undef STAGE
    (void)v;
    memcpy(to, all, sizeof all);
    return KERNELS;
}

/* One enqueue. */
struct run {
    struct clblast_run of;
    struct layout at;
};

/* scores = Q K^T, for all key heads. */
static cl_int score(const struct run *run, struct matrices scores) {
    const struct launch *l = run->of.launch;
    const struct problem *p = &run->of.problem;
    const cl_int none = 0;
    const struct product product = {
        .a = clblast_run_part(&run->of, run->at.k, p->seq_kv, p->head_dim),
        .b = clblast_run_part(&run->of, run->at.q, scores.rows, p->head_dim),
        .c = scores,
        .transpose_a = true,
        .columns = p->seq_kv,
        .inner = p->head_dim,
        .block = p->head_dim,
        .segment = p->head_dim,
        .count = (cl_ulong)p->batch * p->heads_kv};
    cl_int code = clblast_run_next(
        &run->of, clEnqueueFillBuffer(l->queue, l->workspace->buffer, &none, sizeof none,
                                      (size_t)(4 * (run->of.start + run->at.flag)), sizeof none, 0,
                                      NULL, NULL));
    if (code == CL_SUCCESS) {
        code = clblast_run_kernel(&run->of, PACK, run->at.flag);
    }
    return code == CL_SUCCESS ? clblast_product(&product, l->queue, run->of.status) : code;
}

/* P V, where scores have become weights. */
static cl_int accumulate(const struct run *run, struct matrices scores) {
    const struct problem *p = &run->of.problem;
    const struct product product = {
        .a = clblast_run_part(&run->of, run->at.v, p->seq_kv, p->head_dim_v),
        .b = scores,
        .c = clblast_run_part(&run->of, run->at.o, scores.rows, segments_of(p) * p->head_dim_v),
        .columns = p->head_dim_v,
        .inner = p->seq_kv,
        .block = PRODUCT_KEYS,
        .a_step = 4 * block_floats(p),
        .segment = segment_of(p) ? segment_of(p) : p->seq_kv,
        .count = (cl_ulong)p->batch * p->heads_kv};
    return clblast_product(&product, run->of.launch->queue, run->of.status);
}

static cl_int steps(const struct run *run) {
    const struct problem *p = &run->of.problem;
    const cl_ulong rows = (cl_ulong)(p->heads_q / p->heads_kv) * p->seq_q;
    const struct matrices scores =
        clblast_run_part(&run->of, run->at.scores, rows, score_stride(p));
    cl_int code = p->seq_kv > 0 ? score(run, scores) : CL_SUCCESS;
    if (code == CL_SUCCESS) {
        code = clblast_run_kernel(&run->of, WEIGH, run->at.scores);
    }
    if (code == CL_SUCCESS && p->seq_kv > 0) {
        code = accumulate(run, scores);
    }
    return code == CL_SUCCESS ? clblast_run_kernel(&run->of, UNPACK, run->at.scores) : code;
}

static cl_int enqueue(const struct launch *l, struct status *status) {
    struct run run;
    assert(l->stages == KERNELS); /* stages are called by number */
    const cl_int code = clblast_run_begin(&run.of, l, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    run.at = lay_out(&run.of.problem);
    return clblast_run_end(&run.of, steps(&run));
}

extern const struct solver solver_standard;
const struct solver solver_standard = {
    .name = "standard",
    .baseline = true,
    .mixed = true,
    .scored = true,
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .workspace = workspace,
    .enqueue = enqueue,
};
