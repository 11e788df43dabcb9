#include "train_model.h"

#include <clblast_c.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

extern const char train_kernels[]; /* train_kernels.cl, which the build embeds */

enum { LANES = 32, MATRICES_OF_LAYER = 4, BUFFERS_OF_LAYER = 9, BUFFERS = 20 };

enum kernel {
    EMBED,
    EMBED_BACKWARD,
    NORM,
    NORM_BACKWARD,
    RELU2,
    RELU2_BACKWARD,
    CROSS_ENTROPY,
    ADAMW,
    KERNELS
};

/* What the forward pass of a layer leaves for the backward pass. */
struct layer {
    const struct model_matrix *qkv, *out, *up, *down;
    cl_mem attention_in, attention_factors; /* norm(x), and its factors */
    cl_mem q_k_v;                           /* [rows, 3, heads, head dimension] */
    cl_mem o, lse;
    cl_mem mlp_in, mlp_factors;
    cl_mem hidden, active; /* before and after relu^2: [rows, 4 width] */
};

struct model {
    struct model_shape shape;
    cl_context cl;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernels[KERNELS];
    clattn_context attention;
    clattn_plan forward, backward;
    struct model_matrix *matrices;
    struct layer *layers;
    cl_mem *buffers; /* all that are below or in layers, to be released */
    size_t matrix_count, weight_count, buffer_count, bytes;

    cl_mem weights, gradients, means, squares; /* the last two: AdamW's */
    cl_mem characters, targets;                /* of the batch */
    cl_mem order, first;                       /* see embed_backward */
    cl_mem slopes, workspace;                  /* of clattn */
    cl_mem x, d_x;                             /* [rows, width] */
    cl_mem d_y, d_q_k_v, d_hidden;             /* gradients on the way */
    cl_mem last, last_factors;                 /* norm(x) before HEAD */
    cl_mem logits, losses;
    const struct model_matrix *head;
    int sequences; /* of the last model_forward */
};

static size_t rows_of(const struct model *m) {
    return (size_t)m->sequences * (size_t)m->shape.context;
}

/* ---- Making it ---------------------------------------------------------- */

static cl_mem make_buffer(struct model *m, size_t elements) {
    cl_int status;
    size_t bytes = elements * sizeof(float); /* or cl_int */
    cl_mem buffer = clCreateBuffer(m->cl, CL_MEM_READ_WRITE, bytes, NULL, &status);
    check(status, "clCreateBuffer");
    m->bytes += bytes;
    return m->buffers[m->buffer_count++] = buffer;
}

static const struct model_matrix *add_matrix(struct model *m, size_t rows, size_t columns,
                                             const char *name, int layer) {
    struct model_matrix *matrix = &m->matrices[m->matrix_count++];
    if (layer >= 0)
        snprintf(matrix->name, sizeof matrix->name, "layers.%d.%s.weight", layer, name);
    else
        snprintf(matrix->name, sizeof matrix->name, "%s.weight", name);
    matrix->rows = rows;
    matrix->columns = columns;
    matrix->first = m->weight_count;
    m->weight_count += rows * columns;
    return matrix;
}

static void make_memory(struct model *m) {
    const struct model_shape *s = &m->shape;
    const size_t rows = (size_t)s->batch * (size_t)s->context, width = (size_t)s->width;
    const size_t characters = (size_t)s->characters, layers = (size_t)s->layers;
    m->matrices = allocate(layers * MATRICES_OF_LAYER + 2, sizeof *m->matrices);
    m->layers = allocate(layers, sizeof *m->layers);
    m->buffers = allocate(layers * BUFFERS_OF_LAYER + BUFFERS, sizeof(cl_mem));
    add_matrix(m, characters, width, "embedding", -1); /* the first: embed reads from there */
    for (int i = 0; i < s->layers; i++) {
        struct layer *l = &m->layers[i];
        l->qkv = add_matrix(m, width, 3 * width, "qkv", i);
        l->out = add_matrix(m, width, width, "out", i);
        l->up = add_matrix(m, width, 4 * width, "up", i);
        l->down = add_matrix(m, 4 * width, width, "down", i);
        l->attention_in = make_buffer(m, rows * width);
        l->attention_factors = make_buffer(m, rows);
        l->q_k_v = make_buffer(m, rows * 3 * width);
        l->o = make_buffer(m, rows * width);
        l->lse = make_buffer(m, rows * (size_t)s->heads);
        l->mlp_in = make_buffer(m, rows * width);
        l->mlp_factors = make_buffer(m, rows);
        l->hidden = make_buffer(m, rows * 4 * width);
        l->active = make_buffer(m, rows * 4 * width);
    }
    m->head = add_matrix(m, width, characters, "head", -1);
    m->weights = make_buffer(m, m->weight_count);
    m->gradients = make_buffer(m, m->weight_count);
    m->means = make_buffer(m, m->weight_count);
    m->squares = make_buffer(m, m->weight_count);
    m->characters = make_buffer(m, rows);
    m->targets = make_buffer(m, rows);
    m->order = make_buffer(m, rows);
    m->first = make_buffer(m, characters + 1);
    m->x = make_buffer(m, rows * width);
    m->d_x = make_buffer(m, rows * width);
    m->d_y = make_buffer(m, rows * width);
    m->d_q_k_v = make_buffer(m, rows * 3 * width);
    m->d_hidden = make_buffer(m, rows * 4 * width);
    m->last = make_buffer(m, rows * width);
    m->last_factors = make_buffer(m, rows);
    m->logits = make_buffer(m, rows * characters);
    m->losses = make_buffer(m, rows);
}

static void make_kernels(struct model *m, cl_device_id device) {
    static const char *const names[KERNELS] = {"embed",         "embed_backward", "norm",
                                               "norm_backward", "relu2",          "relu2_backward",
                                               "cross_entropy", "adamw"};
    const char *source = train_kernels;
    char options[96], log[2048] = "";
    cl_int status;
    m->program = clCreateProgramWithSource(m->cl, 1, &source, NULL, &status);
    check(status, "clCreateProgramWithSource");
    snprintf(options, sizeof options, "-DLANES=%d -DWIDTH=%d -DCHARACTERS=%d", LANES,
             m->shape.width, m->shape.characters);
    status = clBuildProgram(m->program, 1, &device, options, NULL, NULL);
    if (status != CL_SUCCESS) {
        clGetProgramBuildInfo(m->program, device, CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL);
        die(EXIT_FAILURE, "train_kernels.cl does not build: %s\n%s", clattn_status_name(status),
            log);
    }
    for (int k = 0; k < KERNELS; k++) {
        m->kernels[k] = clCreateKernel(m->program, names[k], &status);
        check(status, names[k]);
    }
}

static clattn_plan make_plan(struct model *m, clattn_pass pass) {
    const struct model_shape *s = &m->shape;
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.batch = (cl_uint)s->batch; /* an upper bound: sampling has one sequence */
    desc.heads_q = (cl_uint)s->heads;
    desc.seq_q = desc.seq_kv = (cl_uint)s->context;
    desc.head_dim = (cl_uint)(s->width / s->heads);
    desc.band_right = 0; /* causal */
    desc.features = CLATTN_FEATURE_ALIBI;
    desc.pass = pass;
    clattn_plan plan;
    check(clattn_plan_create(m->attention, &desc, &plan), "clattn_plan_create");
    return plan;
}

/* One workspace for both plans: they never run at the same time. */
static void make_attention(struct model *m, cl_device_id device) {
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = m->cl;
    desc.device = device;
    desc.notify = print_sentence;
    check(clattn_context_create(&desc, &m->attention), "clattn_context_create");
    m->forward = make_plan(m, CLATTN_FORWARD);
    m->backward = make_plan(m, CLATTN_BACKWARD);
    size_t forward, backward;
    check(clattn_plan_workspace_size(m->forward, &forward), "clattn_plan_workspace_size");
    check(clattn_plan_workspace_size(m->backward, &backward), "clattn_plan_workspace_size");
    size_t bytes = forward > backward ? forward : backward;
    m->workspace = bytes > 0 ? make_buffer(m, (bytes + 3) / 4) : NULL;

    /* The slopes of the paper (Press et al. 2022): 2^(-8/heads), 2^(-16/heads), ... */
    float *slopes = allocate((size_t)m->shape.heads, sizeof *slopes);
    for (int h = 0; h < m->shape.heads; h++)
        slopes[h] = (float)exp2(-8.0 * (h + 1) / m->shape.heads);
    m->slopes = make_buffer(m, (size_t)m->shape.heads);
    check(clEnqueueWriteBuffer(m->queue, m->slopes, CL_TRUE, 0,
                               (size_t)m->shape.heads * sizeof *slopes, slopes, 0, NULL, NULL),
          "clEnqueueWriteBuffer");
    free(slopes);
}

struct model *model_create(cl_device_id device, const struct model_shape *shape) {
    cl_int status;
    struct model *m = allocate(1, sizeof *m);
    *m = (struct model){.shape = *shape};
    m->cl = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    check(status, "clCreateContext");
    m->queue = clCreateCommandQueue(m->cl, device, 0, &status);
    check(status, "clCreateCommandQueue");
    make_memory(m);
    make_kernels(m, device);
    make_attention(m, device);
    return m;
}

void model_destroy(struct model *m) {
    clFinish(m->queue);
    CLBlastClearCache(); /* its programs: at exit they would outlive their context */
    clattn_plan_destroy(m->forward);
    clattn_plan_destroy(m->backward);
    clattn_context_destroy(m->attention);
    for (int k = 0; k < KERNELS; k++)
        clReleaseKernel(m->kernels[k]);
    clReleaseProgram(m->program);
    for (size_t i = 0; i < m->buffer_count; i++)
        clReleaseMemObject(m->buffers[i]);
    clReleaseCommandQueue(m->queue);
    clReleaseContext(m->cl);
    free(m->matrices);
    free(m->layers);
    free(m->buffers);
    free(m);
}

/* ---- Weights ------------------------------------------------------------ */

const struct model_matrix *model_matrices(const struct model *m, size_t *count) {
    *count = m->matrix_count;
    return m->matrices;
}

size_t model_weight_count(const struct model *m) {
    return m->weight_count;
}

void model_print(const struct model *m) {
    printf("forward %s\n", clattn_plan_variant(m->forward));
    printf("backward %s\n", clattn_plan_variant(m->backward));
    printf("%zu weights, %.1f MiB of device memory\n", m->weight_count,
           (double)m->bytes / 1048576.0);
}

static void read_floats(struct model *m, cl_mem from, size_t first, size_t count, float *to) {
    check(clEnqueueReadBuffer(m->queue, from, CL_TRUE, first * sizeof *to, count * sizeof *to, to,
                              0, NULL, NULL),
          "clEnqueueReadBuffer");
}

void model_get_weights(struct model *m, float *weights) {
    read_floats(m, m->weights, 0, m->weight_count, weights);
}

void model_get_gradients(struct model *m, float *gradients) {
    read_floats(m, m->gradients, 0, m->weight_count, gradients);
}

static void fill_zero(struct model *m, cl_mem buffer, size_t elements) {
    const float zero = 0.0f;
    check(clEnqueueFillBuffer(m->queue, buffer, &zero, sizeof zero, 0, elements * sizeof zero, 0,
                              NULL, NULL),
          "clEnqueueFillBuffer");
}

void model_set_weights(struct model *m, const float *weights) {
    check(clEnqueueWriteBuffer(m->queue, m->weights, CL_TRUE, 0, m->weight_count * sizeof *weights,
                               weights, 0, NULL, NULL),
          "clEnqueueWriteBuffer");
    fill_zero(m, m->means, m->weight_count);
    fill_zero(m, m->squares, m->weight_count);
}

double model_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

void model_start(struct model *m, uint64_t seed) {
    float *weights = allocate(m->weight_count, sizeof *weights);
    for (size_t i = 0; i < m->matrix_count; i++) {
        const struct model_matrix *w = &m->matrices[i];
        int zero = w == m->head;
        for (int l = 0; l < m->shape.layers; l++)
            zero = zero || w == m->layers[l].out || w == m->layers[l].down;
        /* Uniform numbers in -bound ... bound have the variance bound^2 / 3.  Embeddings are
         * normed before anything reads them, as if they were columns of length `width`. */
        double bound = sqrt(3.0 / (double)(i == 0 ? w->columns : w->rows));
        for (size_t e = 0; e < w->rows * w->columns; e++)
            weights[w->first + e] =
                zero ? 0.0f : (float)(bound * (2.0 * model_random(&seed) - 1.0));
    }
    model_set_weights(m, weights);
    free(weights);
}

/* ---- Launching ---------------------------------------------------------- */

struct argument {
    size_t size;
    const void *value;
};

#define ARGUMENT(variable) \
    { sizeof(variable), &(variable) }
#define ARGUMENTS(...) ((const struct argument[]){__VA_ARGS__, {0, NULL}})

/* A work-item for each of columns x rows; `columns` LANES: a work-group for each row. */
static void launch(struct model *m, enum kernel kernel, size_t columns, size_t rows,
                   const struct argument *arguments) {
    static const int by_rows[KERNELS] = {[NORM] = 1, [NORM_BACKWARD] = 1, [CROSS_ENTROPY] = 1};
    const size_t global[2] = {columns, rows}, group[2] = {LANES, 1};
    for (cl_uint i = 0; arguments[i].value; i++)
        check(clSetKernelArg(m->kernels[kernel], i, arguments[i].size, arguments[i].value),
              "clSetKernelArg");
    check(clEnqueueNDRangeKernel(m->queue, m->kernels[kernel], 2, NULL, global,
                                 by_rows[kernel] ? group : NULL, 0, NULL, NULL),
          "clEnqueueNDRangeKernel");
}

/* c = beta c + a b, or with a^T or b^T: c is [rows, columns], the sums have `inner` terms. */
static void product(struct model *m, size_t rows, size_t columns, size_t inner, cl_mem a,
                    int transpose_a, cl_mem b, size_t first_b, int transpose_b, float beta,
                    cl_mem c, size_t first_c) {
    CLBlastStatusCode status =
        CLBlastSgemm(CLBlastLayoutRowMajor, transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
                     transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo, rows, columns, inner,
                     1.0f, a, 0, transpose_a ? rows : inner, b, first_b,
                     transpose_b ? inner : columns, beta, c, first_c, columns, &m->queue, NULL);
    if (status != CLBlastSuccess)
        die(EXIT_FAILURE, "CLBlastSgemm: error %d", (int)status);
}

/* y = x W */
static void multiply(struct model *m, cl_mem x, const struct model_matrix *w, cl_mem y) {
    product(m, rows_of(m), w->columns, w->rows, x, 0, m->weights, w->first, 0, 0.0f, y, 0);
}

/* y += x W */
static void multiply_add(struct model *m, cl_mem x, const struct model_matrix *w, cl_mem y) {
    product(m, rows_of(m), w->columns, w->rows, x, 0, m->weights, w->first, 0, 1.0f, y, 0);
}

/* The gradients of y = x W: d_x = d_y W^T, and d_W = x^T d_y */
static void multiply_backward(struct model *m, cl_mem x, const struct model_matrix *w, cl_mem d_y,
                              cl_mem d_x) {
    product(m, w->rows, w->columns, rows_of(m), x, 1, d_y, 0, 0, 0.0f, m->gradients, w->first);
    product(m, rows_of(m), w->rows, w->columns, d_y, 0, m->weights, w->first, 1, 0.0f, d_x, 0);
}

static void norm(struct model *m, cl_mem y, cl_mem factors) {
    launch(m, NORM, LANES, rows_of(m), ARGUMENTS(ARGUMENT(m->x), ARGUMENT(y), ARGUMENT(factors)));
}

static void norm_backward(struct model *m, cl_mem d_y, cl_mem y, cl_mem factors) {
    launch(m, NORM_BACKWARD, LANES, rows_of(m),
           ARGUMENTS(ARGUMENT(d_y), ARGUMENT(y), ARGUMENT(factors), ARGUMENT(m->d_x)));
}

/* ---- Attention ---------------------------------------------------------- */

/* One of q, k and v (0, 1, 2), which lie side by side in a row of [rows, 3 width]. */
static clattn_tensor packed(const struct model *m, cl_mem q_k_v, int which) {
    const cl_long width = m->shape.width;
    clattn_tensor t = CLATTN_TENSOR_INIT;
    t.buffer = q_k_v;
    t.offset = (size_t)which * (size_t)width * sizeof(float);
    t.stride_batch = m->shape.context * 3 * width;
    t.stride_row = 3 * width;
    t.stride_head = width / m->shape.heads;
    return t;
}

/* o = softmax(q k^T / sqrt(head dimension) + ALiBi, causal) v */
static void attend(struct model *m, const struct layer *l) {
    const int heads = m->shape.heads, context = m->shape.context;
    clattn_tensor q = packed(m, l->q_k_v, 0), k = packed(m, l->q_k_v, 1);
    clattn_tensor v = packed(m, l->q_k_v, 2);
    clattn_tensor o = CLATTN_TENSOR_BSHD(l->o, heads, context, m->shape.width / heads);
    clattn_tensor lse = CLATTN_TENSOR_BHSD(l->lse, heads, context, 1);
    clattn_tensor alibi = CLATTN_TENSOR_HEADS(m->slopes);
    clattn_extras extras = CLATTN_EXTRAS_INIT;
    extras.alibi = &alibi;
    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    args.q = &q;
    args.k = &k;
    args.v = &v;
    args.o = &o;
    args.lse = &lse; /* for the backward pass */
    args.extras = &extras;
    args.workspace = m->workspace;
    args.batch = (cl_uint)m->sequences;
    check(clattn_enqueue_forward(m->forward, m->queue, &args, 0, NULL, NULL),
          "clattn_enqueue_forward");
}

/* From d_y, the gradient of o, to d_q_k_v. */
static void attend_backward(struct model *m, const struct layer *l) {
    const int heads = m->shape.heads, context = m->shape.context;
    clattn_tensor q = packed(m, l->q_k_v, 0), d_q = packed(m, m->d_q_k_v, 0);
    clattn_tensor k = packed(m, l->q_k_v, 1), d_k = packed(m, m->d_q_k_v, 1);
    clattn_tensor v = packed(m, l->q_k_v, 2), d_v = packed(m, m->d_q_k_v, 2);
    clattn_tensor o = CLATTN_TENSOR_BSHD(l->o, heads, context, m->shape.width / heads), d_o = o;
    d_o.buffer = m->d_y;
    clattn_tensor lse = CLATTN_TENSOR_BHSD(l->lse, heads, context, 1);
    clattn_tensor alibi = CLATTN_TENSOR_HEADS(m->slopes);
    clattn_extras extras = CLATTN_EXTRAS_INIT;
    extras.alibi = &alibi;
    clattn_backward_args args = CLATTN_BACKWARD_ARGS_INIT;
    args.q = &q;
    args.k = &k;
    args.v = &v;
    args.o = &o;
    args.lse = &lse;
    args.d_o = &d_o;
    args.d_q = &d_q;
    args.d_k = &d_k;
    args.d_v = &d_v;
    args.extras = &extras;
    args.workspace = m->workspace;
    args.batch = (cl_uint)m->sequences;
    check(clattn_enqueue_backward(m->backward, m->queue, &args, 0, NULL, NULL),
          "clattn_enqueue_backward");
}

/* ---- The passes --------------------------------------------------------- */

static void write_numbers(struct model *m, cl_mem to, const int *numbers, size_t count) {
    check(clEnqueueWriteBuffer(m->queue, to, CL_TRUE, 0, count * sizeof *numbers, numbers, 0, NULL,
                               NULL),
          "clEnqueueWriteBuffer");
}

/* The rows of each character, by counting sort: see embed_backward. */
static void write_order(struct model *m, const int *characters, size_t rows) {
    const size_t kinds = (size_t)m->shape.characters;
    int *first = allocate(kinds + 1, sizeof *first), *order = allocate(rows, sizeof *order);
    memset(first, 0, (kinds + 1) * sizeof *first);
    for (size_t i = 0; i < rows; i++)
        first[characters[i] + 1]++;
    for (size_t c = 0; c < kinds; c++)
        first[c + 1] += first[c];
    write_numbers(m, m->first, first, kinds + 1);
    for (size_t i = 0; i < rows; i++)
        order[first[characters[i]]++] = (int)i;
    write_numbers(m, m->order, order, rows);
    free(first);
    free(order);
}

void model_forward(struct model *m, const int *characters, int sequences) {
    m->sequences = sequences;
    const size_t rows = rows_of(m), width = (size_t)m->shape.width;
    write_numbers(m, m->characters, characters, rows);
    write_order(m, characters, rows);
    launch(m, EMBED, width, rows,
           ARGUMENTS(ARGUMENT(m->characters), ARGUMENT(m->weights), ARGUMENT(m->x)));
    for (int i = 0; i < m->shape.layers; i++) {
        const struct layer *l = &m->layers[i];
        norm(m, l->attention_in, l->attention_factors);
        multiply(m, l->attention_in, l->qkv, l->q_k_v);
        attend(m, l);
        multiply_add(m, l->o, l->out, m->x);
        norm(m, l->mlp_in, l->mlp_factors);
        multiply(m, l->mlp_in, l->up, l->hidden);
        launch(m, RELU2, rows * 4 * width, 1, ARGUMENTS(ARGUMENT(l->hidden), ARGUMENT(l->active)));
        multiply_add(m, l->active, l->down, m->x);
    }
    norm(m, m->last, m->last_factors);
    multiply(m, m->last, m->head, m->logits);
}

void model_get_logits(struct model *m, int row, float *logits) {
    size_t count = (size_t)m->shape.characters;
    read_floats(m, m->logits, (size_t)row * count, count, logits);
}

double model_loss(struct model *m, const int *targets) {
    const size_t rows = rows_of(m);
    const float share = 1.0f / (float)rows;
    write_numbers(m, m->targets, targets, rows);
    launch(
        m, CROSS_ENTROPY, LANES, rows,
        ARGUMENTS(ARGUMENT(m->logits), ARGUMENT(m->targets), ARGUMENT(share), ARGUMENT(m->losses)));
    float *losses = allocate(rows, sizeof *losses);
    read_floats(m, m->losses, 0, rows, losses);
    double sum = 0.0;
    for (size_t i = 0; i < rows; i++)
        sum += losses[i];
    free(losses);
    return sum / (double)rows;
}

/* d_x runs from the end to the beginning.  Each layer adds what its norm passes back; what x += ...
 * hands on unchanged stays in d_x. */
void model_backward(struct model *m) {
    const size_t rows = rows_of(m), width = (size_t)m->shape.width;
    multiply_backward(m, m->last, m->head, m->logits, m->d_y);
    fill_zero(m, m->d_x, rows * width);
    norm_backward(m, m->d_y, m->last, m->last_factors);
    for (int i = m->shape.layers; i-- > 0;) {
        const struct layer *l = &m->layers[i];
        multiply_backward(m, l->active, l->down, m->d_x, m->d_hidden);
        launch(m, RELU2_BACKWARD, rows * 4 * width, 1,
               ARGUMENTS(ARGUMENT(l->hidden), ARGUMENT(m->d_hidden)));
        multiply_backward(m, l->mlp_in, l->up, m->d_hidden, m->d_y);
        norm_backward(m, m->d_y, l->mlp_in, l->mlp_factors);
        multiply_backward(m, l->o, l->out, m->d_x, m->d_y);
        attend_backward(m, l);
        multiply_backward(m, l->attention_in, l->qkv, m->d_q_k_v, m->d_y);
        norm_backward(m, m->d_y, l->attention_in, l->attention_factors);
    }
    launch(m, EMBED_BACKWARD, width, (size_t)m->shape.characters,
           ARGUMENTS(ARGUMENT(m->d_x), ARGUMENT(m->order), ARGUMENT(m->first),
                     ARGUMENT(m->gradients)));
}

void model_update(struct model *m, int step, double rate, double weight_decay) {
    const double beta_mean = 0.9, beta_square = 0.99;
    const float numbers[6] = {(float)rate,
                              (float)(rate * weight_decay),
                              (float)beta_mean,
                              (float)beta_square,
                              (float)(1.0 / (1.0 - pow(beta_mean, step))),
                              (float)(1.0 / (1.0 - pow(beta_square, step)))};
    launch(m, ADAMW, m->weight_count, 1,
           ARGUMENTS(ARGUMENT(m->weights), ARGUMENT(m->gradients), ARGUMENT(m->means),
                     ARGUMENT(m->squares), ARGUMENT(numbers[0]), ARGUMENT(numbers[1]),
                     ARGUMENT(numbers[2]), ARGUMENT(numbers[3]), ARGUMENT(numbers[4]),
                     ARGUMENT(numbers[5])));
}
