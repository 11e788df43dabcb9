/*
 * standard - a baseline: S = Q K^T, softmax, O = P V, with S and P whole in memory.
 *
 *     q, k, v  -- standard_pack -->  dense F32 (where they do not lie like that already)
 *     CLBlast:  scores = Q K^T       standard_softmax, in place       CLBlast:  P V
 *     product  -- standard_unpack -->  o (where the product could not go there at once)
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

/* CLBlast's 32-bit counts make larger products go in pieces (see clblast_product), in parts
 * of buffers; what is written to a part is lost on NVIDIA when the part is released and
 * another one is cut (driver 580.159). */
static bool needs_pieces(const struct problem *p) {
    const cl_ulong wider = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    const cl_ulong width = (cl_ulong)p->seq_kv + 16 > wider ? (cl_ulong)p->seq_kv + 16 : wider;
    cl_ulong most = 0;
    return (cl_ulong)p->batch * p->heads_kv > 1u << 15 ||
           !size_mul((cl_ulong)p->batch * p->heads_q, p->seq_q, &most) ||
           !size_mul(most, width, &most) || most > CLBLAST_MOST_ELEMENTS ||
           !size_mul((cl_ulong)p->batch * p->heads_kv, p->seq_kv, &most) ||
           !size_mul(most, wider, &most) || most > CLBLAST_MOST_ELEMENTS;
}

static const char *refuses(const struct problem *p, const struct device *d) {
    if (strncmp(d->architecture, "nvidia/", 7) == 0 && needs_pieces(p)) {
        return "over 2^30 scores or elements need parts of buffers, which NVIDIA's driver loses";
    }
    return d->base_alignment > PART_BYTES  ? "the device aligns buffers to over 4096 bytes"
           : p->seq_kv > CLBLAST_MOST_ROWS ? "CLBlast counts in 32 bits: at most 2^20 keys"
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
    SOLVERS_NUMBER(LANES, 1, 16),
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

/* Floats between the rows of the scores. */
static cl_ulong score_stride(const struct problem *p) {
    return size_div_up(p->seq_kv, ROW_FLOATS) * ROW_FLOATS;
}

/* Keys of a segment, 0: all of them.  The variant has no BLOCK_N. */
static cl_uint segment_of(const struct problem *p) {
    return program_segment(p, &(struct variant){.count = 0});
}

/* Segments of the sums over keys; as the kernels count them. */
static cl_ulong segments_of(const struct problem *p) {
    const cl_ulong segment = segment_of(p);
    return segment ? size_div_up(p->seq_kv, segment) : 1;
}

/* Floats from one block of V to the next. */
static cl_ulong block_floats(const struct problem *p) {
    const cl_ulong floats =
        (cl_ulong)p->batch * p->heads_kv * PRODUCT_KEYS * p->head_dim_v; /* under 2^30 * 2^16 */
    return size_div_up(floats, PART_FLOATS) * PART_FLOATS;
}

/* Where the parts begin, in floats, and where they end. */
struct layout {
    cl_ulong scores, o, flags, q, k, v, end;
};

static bool add_part(cl_ulong *part, cl_ulong *end, cl_ulong slices, cl_ulong rows,
                     cl_ulong width) {
    cl_ulong floats;
    *part = *end;
    return size_mul(slices, rows, &floats) && size_mul(floats, width, &floats) &&
           size_add_mul(end, size_div_up(floats, PART_FLOATS), PART_FLOATS);
}

static bool lay_out(struct layout *at, const struct problem *p) {
    const cl_ulong slices = (cl_ulong)p->batch * p->heads_q;
    const cl_ulong slices_kv = (cl_ulong)p->batch * p->heads_kv;
    at->end = 0;
    return add_part(&at->scores, &at->end, slices, p->seq_q, score_stride(p)) &&
           add_part(&at->o, &at->end, slices, p->seq_q, segments_of(p) * p->head_dim_v) &&
           add_part(&at->flags, &at->end, slices_kv, 1, 1) &&
           add_part(&at->q, &at->end, slices, p->seq_q, p->head_dim) &&
           add_part(&at->k, &at->end, slices_kv, p->seq_kv, p->head_dim) &&
           add_part(&at->v, &at->end, size_div_up(p->seq_kv, PRODUCT_KEYS), 1, block_floats(p));
}

/* The caller's offset may be anything: the parts begin up to PART_BYTES further on. */
static bool workspace(const struct problem *p, const long long *v, cl_ulong *bytes) {
    (void)v;
    struct layout at;
    return lay_out(&at, p) && size_mul(at.end, 4, bytes) && size_add(*bytes, PART_BYTES, bytes);
}

/* ---- Launches ---- */

static size_t work_items(const long long *v) {
    return (size_t)v[WORK_GROUP];
}

static cl_ulong rows_of(const struct params *params) {
    return (cl_ulong)params->batch * (cl_ulong)params->heads_q * (cl_ulong)params->seq_q;
}

static struct grid grid_of_pack(const long long *v, const struct params *params) {
    const cl_ulong slices_kv =
        (cl_ulong)params->batch * (cl_ulong)(params->heads_q / params->group);
    const cl_ulong rows = rows_of(params) + 2 * slices_kv * (cl_ulong)params->seq_kv;
    return (struct grid){size_div_up(rows, (cl_ulong)v[WORK_GROUP]), 1};
}

static struct grid grid_of_weigh(const long long *v, const struct params *params) {
    (void)v;
    return (struct grid){rows_of(params), 1};
}

static struct grid grid_of_unpack(const long long *v, const struct params *params) {
    return (struct grid){size_div_up(rows_of(params), (cl_ulong)v[WORK_GROUP]), 1};
}

#define TEXT(macro) TEXT_OF(macro)
#define TEXT_OF(tokens) #tokens

static size_t stages(const struct variant *v, struct stage *to) {
#define CONSTANT(name) "#define " #name " " TEXT(name) "\n"
#define STAGE(name, read, write, its_grid)                                                 \
    {                                                                                      \
        .recipe = {.kernel = name,                                                         \
                   .reads = read,                                                          \
                   .writes = write,                                                        \
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl",   \
                             "score.cl", "state.cl", name ".cl"},                          \
                   .constants = CONSTANT(PART_FLOATS) CONSTANT(ROW_FLOATS)                 \
                       CONSTANT(PRODUCT_KEYS) "#define three_pass 3\n#define online 2\n"}, \
        .work_items = work_items, .grid = its_grid,                                        \
    }
    static const struct stage all[KERNELS] = {
        [PACK] = STAGE("standard_pack", "q k v", "workspace", grid_of_pack),
        [WEIGH] = STAGE("standard_softmax", "workspace", "lse workspace", grid_of_weigh),
        [UNPACK] = STAGE("standard_unpack", "v workspace", "o", grid_of_unpack),
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
    bool unordered; /* the queue is */
};

/* On an out-of-order queue, what is enqueued next waits for all before. */
static cl_int next_step(const struct run *run) {
    const cl_int code = run->unordered
                            ? clEnqueueBarrierWithWaitList(run->launch->queue, 0, NULL, NULL)
                            : CL_SUCCESS;
    return code == CL_SUCCESS
               ? code
               : status_set(run->status, code, "standard: the driver refuses a barrier");
}

/* Runs a kernel whose workspace begins at float `part`, on these tensors. */
static cl_int run_kernel(const struct run *run, size_t kernel, cl_ulong part,
                         const struct tensor *tensors) {
    struct params params = *run->launch->params;
    struct launch l = *run->launch;
    params.workspace = (cl_long)(run->start + part);
    l.params = &params;
    l.tensors = tensors;
    const cl_int code = launch_stage(&l, kernel, 0, NULL, NULL, run->status);
    return code == CL_SUCCESS ? next_step(run) : code;
}

/* ---- Where things lie ---- */

/* A part of the workspace, or a tensor as it lies. */
static struct matrices part_of(const struct run *run, cl_ulong part, cl_ulong rows,
                               cl_ulong width) {
    return (struct matrices){run->launch->workspace->buffer, 4 * (run->start + part), rows, width};
}

static struct matrices tensor_of(const struct tensor *t, cl_ulong rows) {
    return (struct matrices){t->buffer, 4 * (cl_ulong)t->strides.offset, rows, t->shape.width};
}

/* Does the tensor lie as CLBlast is to read it: dense floats in a buffer, from where a
 * buffer may begin on? */
static bool lies_dense(const struct run *run, const struct tensor *t) {
    const cl_ulong head = t->shape.rows * t->shape.width;
    const cl_ulong base = run->launch->device->base_alignment;
    return t->shape.type == CLATTN_F32 && t->buffer && (base == 0 || t->begin % base == 0) &&
           (t->shape.rows == 1 || (cl_ulong)t->strides.row == t->shape.width) &&
           (t->shape.heads == 1 || (cl_ulong)t->strides.head == head) &&
           (t->shape.batch == 1 || (cl_ulong)t->strides.batch == t->shape.heads * head);
}

/* ---- All of it ---- */

/* Brings q, k and v into dense floats, where they are not; says where they lie then. */
static cl_int pack(const struct run *run, const bool lies[OPERANDS]) {
    const struct launch *l = run->launch;
    const struct problem *p = &run->problem;
    struct tensor tensors[OPERANDS];
    bool any = false;
    for (size_t i = 0; i < OPERANDS; i++) {
        tensors[i] = l->tensors[i];
        if (lies[i]) {
            tensors[i].buffer = NULL;
        }
        any = any || (i <= OPERAND_V && !lies[i]);
    }
    cl_int code = CL_SUCCESS;
    if (problem_masked(p)) {
        const cl_int none = 0;
        code = clEnqueueFillBuffer(l->queue, l->workspace->buffer, &none, sizeof none,
                                   (size_t)(4 * (run->start + run->at.flags)),
                                   (size_t)p->batch * p->heads_kv * sizeof none, 0, NULL, NULL);
        code = code == CL_SUCCESS
                   ? next_step(run)
                   : status_set(run->status, code, "standard: the driver fills no buffer");
    }
    return code == CL_SUCCESS && any ? run_kernel(run, PACK, run->at.flags, tensors) : code;
}

/* One product for all key heads. */
static cl_int multiply(const struct run *run, struct product product) {
    const struct launch *l = run->launch;
    product.unordered = run->unordered;
    product.count = (cl_ulong)run->problem.batch * run->problem.heads_kv;
    product.most = CLBLAST_MOST_ELEMENTS;
    product.alignment = l->device->base_alignment ? l->device->base_alignment : 1;
    const cl_int code = clblast_product(&product, l->queue, run->status);
    return code == CL_SUCCESS ? next_step(run) : code;
}

static cl_int steps(const struct run *run) {
    const struct tensor *t = run->launch->tensors;
    const struct problem *p = &run->problem;
    const cl_ulong rows = (cl_ulong)(p->heads_q / p->heads_kv) * p->seq_q;
    const cl_ulong segments = segments_of(p);
    const bool masked = problem_masked(p), keys = p->seq_kv > 0;
    const bool one_block = p->seq_kv <= PRODUCT_KEYS;
    const bool lies[OPERANDS] = {
        [OPERAND_Q] = lies_dense(run, &t[OPERAND_Q]),
        [OPERAND_K] = lies_dense(run, &t[OPERAND_K]),
        /* See standard_pack.cl. */
        [OPERAND_V] = !masked && one_block && lies_dense(run, &t[OPERAND_V]),
        [OPERAND_O] = !masked && keys && segments == 1 && lies_dense(run, &t[OPERAND_O]),
    };
    const struct matrices q = lies[OPERAND_Q] ? tensor_of(&t[OPERAND_Q], rows)
                                              : part_of(run, run->at.q, rows, p->head_dim);
    const struct matrices k = lies[OPERAND_K] ? tensor_of(&t[OPERAND_K], p->seq_kv)
                                              : part_of(run, run->at.k, p->seq_kv, p->head_dim);
    const struct matrices v = lies[OPERAND_V] ? tensor_of(&t[OPERAND_V], p->seq_kv)
                                              : part_of(run, run->at.v, p->seq_kv, p->head_dim_v);
    const struct matrices o = lies[OPERAND_O]
                                  ? tensor_of(&t[OPERAND_O], rows)
                                  : part_of(run, run->at.o, rows, segments * p->head_dim_v);
    const struct matrices scores = part_of(run, run->at.scores, rows, score_stride(p));
    const struct product first = {
        .a = k, .b = q, .c = scores, .transpose_a = true, .inner = p->head_dim};
    const struct product second = {
        .a = v,
        .b = scores,
        .c = o,
        .inner = p->seq_kv,
        .block = PRODUCT_KEYS,
        .a_step = 4 * block_floats(p),
        .segment = segments > 1 ? segment_of(p) : 0,
    };

    cl_int code = keys ? pack(run, lies) : CL_SUCCESS;
    if (code == CL_SUCCESS && keys) {
        code = multiply(run, first);
    }
    if (code == CL_SUCCESS) {
        code = run_kernel(run, WEIGH, run->at.scores, t);
    }
    if (code == CL_SUCCESS && keys) {
        code = multiply(run, second);
    }
    return code == CL_SUCCESS && !lies[OPERAND_O] ? run_kernel(run, UNPACK, run->at.scores, t)
                                                  : code;
}

static cl_int enqueue(const struct launch *l, struct status *status) {
    struct run run = {.launch = l, .status = status, .problem = *l->problem};
    run.problem.batch = (cl_uint)l->params->batch;
    run.problem.seq_q = (cl_uint)l->params->seq_q;
    run.problem.seq_kv = (cl_uint)l->params->seq_kv;
    if (!lay_out(&run.at, &run.problem)) {
        return status_set(status, CLATTN_INTERNAL,
                          "standard: its workspace is over 2^64 bytes, though the plan's is not");
    }
    if (l->workspace->svm) {
        return status_set(status, CLATTN_UNSUPPORTED,
                          "standard: its workspace is SVM, but CLBlast takes buffers alone");
    }
    size_t origin = 0;
    cl_command_queue_properties properties = 0;
    cl_int code =
        clGetMemObjectInfo(l->workspace->buffer, CL_MEM_OFFSET, sizeof origin, &origin, NULL);
    if (code == CL_SUCCESS) {
        code = clGetCommandQueueInfo(l->queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties,
                                     NULL);
    }
    if (code == CL_SUCCESS && l->count > 0) {
        code = clEnqueueBarrierWithWaitList(l->queue, l->count, l->list, NULL);
    }
    if (code != CL_SUCCESS) {
        return status_set(status, code, "standard: the driver refuses to begin");
    }
    run.unordered = properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
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
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .workspace = workspace,
    .enqueue = enqueue,
};
