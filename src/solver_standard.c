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

#include "clblast_product.h"
#include "size.h"
#include "solvers.h"

enum { PACK, WEIGH, UNPACK, KERNELS };

/* Floats to which the workspace's parts are aligned (and bytes of the most that a
 * device may ask of a buffer), and those to which the rows of the scores are. */
#define PART_FLOATS 1024
#define ROW_FLOATS 16
#define PRODUCT_KEYS 128 /* 32 calls of CLBlast a segment; with 256 the sums drift */
enum { PART_BYTES = 4 * PART_FLOATS };

/* Floats between the rows of the scores. */
static cl_ulong score_stride(const struct problem *p) {
    return size_div_up(p->seq_kv, ROW_FLOATS) * ROW_FLOATS;
}

/* Can CLBlast count the elements of each matrix? */
static bool countable(const struct problem *p) {
    const cl_ulong wider = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    const cl_ulong width = score_stride(p) > wider ? score_stride(p) : wider;
    const cl_ulong slices = (cl_ulong)p->batch * p->heads_q,
                   slices_kv = (cl_ulong)p->batch * p->heads_kv;
    return slices_kv <= CLBLAST_MOST_MATRICES &&
           size_mul_capped(size_mul_capped(slices, p->seq_q), width) <= CLBLAST_MOST_ELEMENTS &&
           size_mul_capped(size_mul_capped(slices_kv, p->seq_kv), wider) <= CLBLAST_MOST_ELEMENTS;
}

static const char *refuses(const struct problem *p, const struct device *d) {
    return d->base_alignment > PART_BYTES ? "the device aligns buffers to over 4096 bytes"
           : !countable(p) ? "CLBlast counts in 32 bits: at most 2^30 scores or elements of a "
                             "tensor, 2^15 heads"
                           : clblast_missing();
}

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    return solvers_fitness(refuses(p, d), NULL, why);
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
    if ((v[WORK_GROUP] & (v[WORK_GROUP] - 1)) != 0) {
        return status_set(status, CLATTN_INVALID_VARIANT, "WORK_GROUP=%lld is not a power of two",
                          v[WORK_GROUP]);
    }
    if (v[LANES] != 1 && v[LANES] != 4 && v[LANES] != 8 && v[LANES] != 16) {
        return status_set(status, CLATTN_INVALID_VARIANT, "LANES=%lld is none of 1, 4, 8, 16",
                          v[LANES]);
    }
    return solvers_check_group(d, v[WORK_GROUP], 4 * v[WORK_GROUP], status);
}

/* A CPU goes through a row alone, in its own vectors; elsewhere a work-group shares it, but has no
 * more than a vector for each work-item. */
static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    const bool cpu = d->type == DEVICE_CPU;
    const cl_ulong width = cpu ? d->float_width : 4;
    long long group = cpu ? 1 : 256;
    while (group > 32 && group * 2 >= (long long)p->seq_kv) {
        group /= 2;
    }
    v[SOFTMAX] = solvers_given(given[SOFTMAX], 0);
    v[WORK_GROUP] = group >> i;
    v[LANES] = width >= 16 ? 16 : width >= 8 ? 8 : 4;
    return v[WORK_GROUP] > 0;
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

static cl_ulong part_floats(cl_ulong floats) {
    return size_div_up(floats, PART_FLOATS) * PART_FLOATS;
}

/* Floats from one block of V to the next. */
static cl_ulong block_floats(const struct problem *p) {
    return part_floats((cl_ulong)p->batch * p->heads_kv * PRODUCT_KEYS * p->head_dim_v);
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
    at.o = at.scores + part_floats(rows * score_stride(p));
    at.flag = at.o + part_floats(rows * segments_of(p) * p->head_dim_v);
    at.q = at.flag + PART_FLOATS;
    at.k = at.q + part_floats(rows * p->head_dim);
    at.v = at.k + part_floats(rows_kv * p->head_dim);
    at.end = at.v + size_div_up(p->seq_kv, PRODUCT_KEYS) * block_floats(p);
    return at;
}

/* The caller's offset may be anything: the parts begin up to PART_BYTES further on. */
static bool workspace(const struct problem *p, const long long *v, cl_ulong *bytes) {
    (void)v;
    *bytes = 4 * lay_out(p).end + PART_BYTES;
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

#define TEXT(macro) TEXT_OF(macro)
#define TEXT_OF(tokens) #tokens

static size_t stages(const struct variant *v, struct stage *to) {
#define CONSTANT(name) "#define " #name " " TEXT(name) "\n"
#define STAGE(name, read, write, its_grid, ...)                                            \
    {                                                                                      \
        .recipe = {.kernel = name,                                                         \
                   .reads = read,                                                          \
                   .writes = write,                                                        \
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl",   \
                             "score.cl", "state.cl", __VA_ARGS__},                         \
                   .constants = CONSTANT(PART_FLOATS) CONSTANT(ROW_FLOATS)                 \
                       CONSTANT(PRODUCT_KEYS) "#define three_pass 3\n#define online 2\n"}, \
        .work_items = work_items, .grid = its_grid,                                        \
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
    const struct launch *launch;
    struct status *status;
    struct problem problem; /* with the lengths asked for */
    struct layout at;
    cl_ulong start; /* floats of the workspace's buffer before the first part */
};

/* What is enqueued next waits for all before, on an out-of-order queue, too. */
static cl_int next_step(const struct run *run, cl_int code) {
    if (code == CL_SUCCESS) {
        code = clEnqueueBarrierWithWaitList(run->launch->queue, 0, NULL, NULL);
    }
    return code == CL_SUCCESS
               ? code
               : status_set(run->status, code, "standard: the driver refuses to go on");
}

/* Runs a kernel whose workspace begins at float `part`. */
static cl_int run_kernel(const struct run *run, size_t kernel, cl_ulong part) {
    struct params params = *run->launch->params;
    struct launch l = *run->launch;
    params.workspace = (cl_long)(run->start + part);
    l.params = &params;
    const cl_int code = launch_stage(&l, kernel, 0, NULL, NULL, run->status);
    return code == CL_SUCCESS ? next_step(run, code) : code;
}

static struct matrices part_of(const struct run *run, cl_ulong part, cl_ulong rows,
                               cl_ulong width) {
    return (struct matrices){run->launch->workspace->buffer, 4 * (run->start + part), rows, width};
}

/* scores = Q K^T, for all key heads. */
static cl_int score(const struct run *run, struct matrices scores) {
    const struct launch *l = run->launch;
    const struct problem *p = &run->problem;
    const cl_int none = 0;
    const struct product product = {.a = part_of(run, run->at.k, p->seq_kv, p->head_dim),
                                    .b = part_of(run, run->at.q, scores.rows, p->head_dim),
                                    .c = scores,
                                    .transpose_a = true,
                                    .inner = p->head_dim,
                                    .block = p->head_dim,
                                    .segment = p->head_dim,
                                    .count = (cl_ulong)p->batch * p->heads_kv};
    cl_int code =
        next_step(run, clEnqueueFillBuffer(l->queue, l->workspace->buffer, &none, sizeof none,
                                           (size_t)(4 * (run->start + run->at.flag)), sizeof none,
                                           0, NULL, NULL));
    if (code == CL_SUCCESS) {
        code = run_kernel(run, PACK, run->at.flag);
    }
    return code == CL_SUCCESS ? clblast_product(&product, l->queue, run->status) : code;
}

/* P V, where scores have become weights. */
static cl_int accumulate(const struct run *run, struct matrices scores) {
    const struct problem *p = &run->problem;
    const struct product product = {
        .a = part_of(run, run->at.v, p->seq_kv, p->head_dim_v),
        .b = scores,
        .c = part_of(run, run->at.o, scores.rows, segments_of(p) * p->head_dim_v),
        .inner = p->seq_kv,
        .block = PRODUCT_KEYS,
        .a_step = 4 * block_floats(p),
        .segment = segment_of(p) ? segment_of(p) : p->seq_kv,
        .count = (cl_ulong)p->batch * p->heads_kv};
    return clblast_product(&product, run->launch->queue, run->status);
}

static cl_int steps(const struct run *run) {
    const struct problem *p = &run->problem;
    const cl_ulong rows = (cl_ulong)(p->heads_q / p->heads_kv) * p->seq_q;
    const struct matrices scores = part_of(run, run->at.scores, rows, score_stride(p));
    cl_int code = p->seq_kv > 0 ? score(run, scores) : CL_SUCCESS;
    if (code == CL_SUCCESS) {
        code = run_kernel(run, WEIGH, run->at.scores);
    }
    if (code == CL_SUCCESS && p->seq_kv > 0) {
        code = accumulate(run, scores);
    }
    return code == CL_SUCCESS ? run_kernel(run, UNPACK, run->at.scores) : code;
}

static cl_int enqueue(const struct launch *l, struct status *status) {
    assert(l->stages == KERNELS); /* stages are called by number */
    struct run run = {.launch = l, .status = status, .problem = *l->problem};
    run.problem.batch = (cl_uint)l->params->batch;
    run.problem.seq_q = (cl_uint)l->params->seq_q;
    run.problem.seq_kv = (cl_uint)l->params->seq_kv;
    if (l->workspace->svm) {
        return status_set(status, CLATTN_UNSUPPORTED,
                          "standard: its workspace is SVM, but CLBlast takes buffers alone");
    }
    size_t origin = 0;
    cl_int code =
        clGetMemObjectInfo(l->workspace->buffer, CL_MEM_OFFSET, sizeof origin, &origin, NULL);
    if (code == CL_SUCCESS && l->count > 0) {
        code = clEnqueueBarrierWithWaitList(l->queue, l->count, l->list, NULL);
    }
    if (code != CL_SUCCESS) {
        return status_set(status, code, "standard: the driver refuses to begin");
    }
    run.at = lay_out(&run.problem);
    const cl_ulong begin = origin + 4 * (cl_ulong)l->params->workspace;
    run.start = (size_div_up(begin, PART_BYTES) * PART_BYTES - origin) / 4;
    assert(4 * run.start <
           4 * (cl_ulong)l->params->workspace + PART_BYTES); /* as workspace() counts */
    code = steps(&run);
    if (code == CL_SUCCESS && l->event) {
        code = clEnqueueMarkerWithWaitList(l->queue, 0, NULL, l->event);
        if (code != CL_SUCCESS) {
            status_set(status, code, "standard: the driver refuses a marker");
        }
    }
    return code;
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
