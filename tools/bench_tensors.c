#include "bench_tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "elements.h"
#include "verify_gradients.h"

/* Multiply-adds that the check of a row may take: a tenth of a second. */
#define CHECK 5e7

#define LEAST_CACHE 0x1p26 /* bytes */
#define GIB 0x1p30

enum { MOST_SETS = 256, SET_ALIGNMENT = 4096 };

static const char *const names[BENCH_TENSORS] = {"q", "k", "v", "o", "lse", "do", "dq", "dk", "dv"};

/* Element number i gets a uniform number of mean 0 and variance 1 made from i; block number i gets
 * 32 of them. */
static const char *const fill_source =
    "__kernel void fill(__global uchar *data, int type, uint seed, ulong count) {\n"
    "    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {\n"
    "        uint x = (uint)i * 0x9e3779b1u + (uint)(i >> 32) + seed;\n"
    "        x = (x ^ (x >> 16)) * 0x85ebca6bu;\n"
    "        x = (x ^ (x >> 13)) * 0xc2b2ae35u;\n"
    "        x ^= x >> 16;\n"
    "        const float value = ((float)(x >> 8) * 0x1p-23f - 1.0f) * 1.7320508f;\n"
    "        if (type == 1) {\n"
    "            ((__global float *)data)[i] = value;\n"
    "        } else if (type == 2) {\n"
    "            vstore_half(value, i, (__global half *)data);\n"
    "        } else if (type == 3) {\n"
    "            ((__global ushort *)data)[i] = (ushort)(as_uint(value) >> 16);\n"
    "        } else {\n"
    "            const int integers = type == 4 ? 32 : 16;\n"
    "            __global uchar *block = data + i * (2 + integers);\n"
    "            const float scale = type == 4 ? 1.7320508f / 128.0f : 1.7320508f / 8.0f;\n"
    "            vstore_half(scale, 0, (__global half *)block);\n"
    "            for (int j = 0; j < integers; j++) {\n"
    "                x = x * 0x9e3779b1u + 0x243f6a89u;\n"
    "                block[2 + j] = (uchar)(x >> 24);\n"
    "            }\n"
    "        }\n"
    "    }\n"
    "}\n";

struct shape {
    cl_uint heads, rows, dim;
    clattn_type type;
    size_t unit, bytes; /* elements of a block, 1 where each stands alone; and its bytes */
};

static struct shape shape_of(const clattn_desc *d, int tensor) {
    const struct verify_types types = verify_types(d);
    struct shape shapes[BENCH_TENSORS] = {
        {d->heads_q, d->seq_q, d->head_dim, types.q, 0, 0},
        {d->heads_kv, d->seq_kv, d->head_dim, types.k, 0, 0},
        {d->heads_kv, d->seq_kv, d->head_dim_v, types.v, 0, 0},
        {d->heads_q, d->seq_q, d->head_dim_v, types.o, 0, 0},
        {d->heads_q, d->seq_q, 1, CLATTN_F32, 0, 0},
        {d->heads_q, d->seq_q, d->head_dim_v, types.o, 0, 0},
        {d->heads_q, d->seq_q, d->head_dim, d->type_d ? d->type_d : types.q, 0, 0},
        {d->heads_kv, d->seq_kv, d->head_dim, d->type_d ? d->type_d : types.k, 0, 0},
        {d->heads_kv, d->seq_kv, d->head_dim_v, d->type_d ? d->type_d : types.v, 0, 0},
    };
    shapes[tensor].unit = elements_blocked(shapes[tensor].type) ? ELEMENTS_BLOCK : 1;
    shapes[tensor].bytes = elements_bytes(shapes[tensor].type, shapes[tensor].unit);
    return shapes[tensor];
}

static int count_of(clattn_pass pass) {
    return pass == CLATTN_FORWARD ? BENCH_FORWARD : BENCH_TENSORS;
}

static bool is_output(const struct bench_plans *plans, int tensor) {
    return (plans->plan[CLATTN_FORWARD] && (tensor == BENCH_O || tensor == BENCH_LSE)) ||
           (plans->plan[CLATTN_BACKWARD] && tensor >= BENCH_D_Q);
}

static double bytes_of(const clattn_desc *d, int tensor) {
    struct shape s = shape_of(d, tensor);
    return (double)d->batch * s.heads * s.rows * s.dim * (double)s.bytes / (double)s.unit;
}

/* From one set to the next: whole blocks, whose bytes are twice an odd number. */
static double step_of(const clattn_desc *d, int tensor) {
    const struct shape s = shape_of(d, tensor);
    const double step = (double)SET_ALIGNMENT * (s.unit > 1 ? (double)s.bytes / 2 : 1);
    return ceil(bytes_of(d, tensor) / step) * step;
}

double bench_tensors_bytes(const clattn_desc *desc, clattn_pass pass) {
    double bytes = 0;
    for (int i = 0; i < count_of(pass); i++) {
        bytes += bytes_of(desc, i);
    }
    return bytes;
}

/* So many that they fill the cache twice, and at least two; but no more than fit into
 * a quarter of the memory and each tensor's into one allocation.  Some devices name
 * their smallest cache only. */
static size_t count_sets(const struct bench_machine *m, const clattn_desc *desc) {
    double one = bench_tensors_bytes(desc, desc->pass), largest = 1;
    for (int i = 0; i < count_of(desc->pass); i++) {
        largest = fmax(largest, step_of(desc, i));
    }
    double sets = fmax(2, ceil(2 * fmax((double)m->cache, LEAST_CACHE) / one));
    sets =
        fmin(sets, fmin(floor((double)m->memory / 4 / one), floor((double)m->largest / largest)));
    return sets < 1 ? 1 : sets > (double)MOST_SETS ? MOST_SETS : (size_t)sets;
}

static cl_int fill(struct bench_tensors *t, struct bench_machine *m, int tensor) {
    const struct shape s = shape_of(&t->desc, tensor);
    const cl_int type = (cl_int)s.type;
    const cl_uint seed = 0x243f6a88u * (cl_uint)(tensor + 1);
    const size_t items = (size_t)1024 * m->units;
    const cl_ulong count = t->sets * t->step[tensor] / s.bytes;
    clSetKernelArg(t->fill, 0, sizeof(cl_mem), &t->view[tensor].buffer);
    clSetKernelArg(t->fill, 1, sizeof type, &type);
    clSetKernelArg(t->fill, 2, sizeof seed, &seed);
    clSetKernelArg(t->fill, 3, sizeof count, &count);
    cl_int status = clEnqueueNDRangeKernel(m->queue, t->fill, 1, NULL, &items, NULL, 0, NULL, NULL);
    return bench_machine_check(m, status, "clEnqueueNDRangeKernel", "random numbers");
}

static cl_int create(struct bench_tensors *t, struct bench_machine *m, bool bshd) {
    cl_int status = CL_SUCCESS;
    for (int i = 0; i < count_of(t->desc.pass) && status == CL_SUCCESS; i++) {
        struct shape s = shape_of(&t->desc, i);
        t->bytes[i] = (size_t)t->desc.batch * s.heads * s.rows * s.dim / s.unit * s.bytes;
        t->step[i] = (size_t)step_of(&t->desc, i);
        cl_mem buffer =
            clCreateBuffer(m->context, CL_MEM_READ_WRITE, t->sets * t->step[i], NULL, &status);
        t->view[i] = bshd ? (clattn_tensor)CLATTN_TENSOR_BSHD(buffer, s.heads, s.rows, s.dim)
                          : (clattn_tensor)CLATTN_TENSOR_BHSD(buffer, s.heads, s.rows, s.dim);
        /* Some devices give more than they say: they are asked first. */
        if (status != CL_SUCCESS && t->sets * t->step[i] > m->largest) {
            snprintf(m->why, sizeof m->why,
                     "of its tensors %s takes %.3g GiB, the device gives at most %.3g GiB at once",
                     names[i], (double)t->sets * (double)t->step[i] / GIB,
                     (double)m->largest / GIB);
            return status;
        }
        /* Outputs, too: the first touch of a page can take longer than what is measured. */
        if (bench_machine_check(m, status, "clCreateBuffer", names[i]) == CL_SUCCESS) {
            status = fill(t, m, i);
        }
    }
    return status == CL_SUCCESS
               ? bench_machine_check(m, clFinish(m->queue), "clFinish", "random numbers")
               : status;
}

/* One pass over set number `pass`, modulo their count, by a plan of `kind`. */
static cl_int enqueue(const struct bench_tensors *t, struct bench_machine *m, clattn_pass kind,
                      clattn_plan plan, cl_mem workspace, size_t pass, cl_event *event) {
    clattn_extras extras = CLATTN_EXTRAS_INIT;
    const clattn_tensor *given[BENCH_EXTRAS];
    for (int i = 0; i < BENCH_EXTRAS; i++) {
        given[i] = t->extra[i].buffer ? &t->extra[i] : NULL;
    }
    extras.alibi = given[BENCH_ALIBI];
    extras.bias = given[BENCH_BIAS];
    extras.mask = given[BENCH_MASK];
    extras.sink = given[BENCH_SINK];
    clattn_tensor views[BENCH_TENSORS];
    for (int i = 0; i < BENCH_TENSORS; i++) {
        views[i] = t->view[i];
        views[i].offset = pass % t->sets * t->step[i];
    }
    if (kind == CLATTN_BACKWARD) {
        clattn_backward_args args = CLATTN_BACKWARD_ARGS_INIT;
        args.q = &views[BENCH_Q];
        args.k = &views[BENCH_K];
        args.v = &views[BENCH_V];
        args.o = &views[BENCH_O];
        args.lse = &views[BENCH_LSE];
        args.d_o = &views[BENCH_D_O];
        args.d_q = &views[BENCH_D_Q];
        args.d_k = &views[BENCH_D_K];
        args.d_v = &views[BENCH_D_V];
        args.workspace = workspace;
        args.extras = &extras;
        return clattn_enqueue_backward(plan, m->queue, &args, 0, NULL, event);
    }
    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    args.q = &views[BENCH_Q];
    args.k = &views[BENCH_K];
    args.v = &views[BENCH_V];
    args.o = &views[BENCH_O];
    args.lse = &views[BENCH_LSE];
    args.workspace = workspace;
    args.extras = &extras;
    return clattn_enqueue_forward(plan, m->queue, &args, 0, NULL, event);
}

/* o and lse of all sets, by the library's own choice of a forward plan. */
static cl_int run_forward(struct bench_tensors *t, struct bench_machine *m) {
    clattn_desc desc = t->desc;
    clattn_plan plan = NULL;
    cl_mem workspace = NULL;
    size_t bytes = 0;
    desc.pass = CLATTN_FORWARD;
    desc.variant = NULL;
    cl_int status = clattn_plan_create(m->attention, &desc, &plan);
    if (status == CL_SUCCESS) {
        status = clattn_plan_workspace_size(plan, &bytes);
    }
    if (status == CL_SUCCESS && bytes > 0) {
        workspace = clCreateBuffer(m->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
        bench_machine_check(m, status, "clCreateBuffer", "the workspace");
    }
    for (size_t set = 0; set < t->sets && status == CL_SUCCESS; set++) {
        status = enqueue(t, m, CLATTN_FORWARD, plan, workspace, set, NULL);
    }
    if (status == CL_SUCCESS) {
        status = bench_machine_check(m, clFinish(m->queue), "clFinish", "the forward pass");
    }
    clattn_plan_destroy(plan);
    if (workspace) {
        clReleaseMemObject(workspace);
    }
    return status;
}

static clattn_type type_of_bias(const clattn_desc *desc) {
    return desc->type_bias ? desc->type_bias : desc->type;
}

/* Slopes are 2^(-8 (h + 1) / H). */
static void fill_heads(const clattn_desc *desc, int extra, float *to) {
    for (cl_uint h = 0; h < desc->heads_q; h++) {
        const float position = (float)(h + 1) / (float)desc->heads_q;
        to[h] = extra == BENCH_ALIBI ? exp2f(-8 * position) : 4 * position - 2;
    }
}

/* Documents of 10% of the sequence, and of a third of that: queries see their own document. */
static void fill_mask(const clattn_desc *desc, unsigned char *to) {
    const uint64_t length = desc->seq_kv / 10 + 1;
    for (uint64_t query = 0; query < desc->seq_q; query++) {
        const uint64_t opposite = query * desc->seq_kv / desc->seq_q;
        for (uint64_t key = 0; key < desc->seq_kv; key++) {
            to[query * desc->seq_kv + key] =
                key / length == opposite / length &&
                (key % length < length / 3) == (opposite % length < length / 3);
        }
    }
}

static size_t bytes_of_extra(const clattn_desc *desc, int extra) {
    const size_t pairs = (size_t)desc->seq_q * desc->seq_kv;
    return extra == BENCH_BIAS
               ? desc->heads_q * pairs * (size_t)(type_of_bias(desc) == CLATTN_F32 ? 4 : 2)
           : extra == BENCH_MASK ? pairs
                                 : desc->heads_q * sizeof(float);
}

/* A bias is made by the device, and read back. */
static cl_int create_extra(struct bench_tensors *t, struct bench_machine *m, int extra) {
    static const char *const extra_names[] = {"alibi", "bias", "mask", "sink"};
    const clattn_desc *desc = &t->desc;
    const size_t bytes = bytes_of_extra(desc, extra), items = (size_t)1024 * m->units;
    cl_int status = CL_OUT_OF_HOST_MEMORY;
    t->extra_data[extra] = malloc(bytes + 1);
    cl_mem buffer = t->extra_data[extra] && bytes
                        ? clCreateBuffer(m->context, CL_MEM_READ_WRITE, bytes, NULL, &status)
                        : NULL;
    t->extra[extra] = (clattn_tensor)CLATTN_TENSOR_HEADS(buffer);
    if (extra == BENCH_BIAS || extra == BENCH_MASK) {
        t->extra[extra] =
            (clattn_tensor)CLATTN_TENSOR_BHSD(buffer, desc->heads_q, desc->seq_q, desc->seq_kv);
        t->extra[extra].stride_batch = 0;
        t->extra[extra].stride_head *= extra == BENCH_BIAS;
    }
    if (bench_machine_check(m, status, "clCreateBuffer", extra_names[extra]) != CL_SUCCESS) {
        return status;
    }
    if (extra == BENCH_BIAS) {
        const cl_int type = (cl_int)type_of_bias(desc);
        const cl_uint seed = 0x9e3779b9u;
        const cl_ulong count = bytes / (type == CLATTN_F32 ? 4 : 2);
        clSetKernelArg(t->fill, 0, sizeof(cl_mem), &buffer);
        clSetKernelArg(t->fill, 1, sizeof type, &type);
        clSetKernelArg(t->fill, 2, sizeof seed, &seed);
        clSetKernelArg(t->fill, 3, sizeof count, &count);
        status = clEnqueueNDRangeKernel(m->queue, t->fill, 1, NULL, &items, NULL, 0, NULL, NULL);
        status = status == CL_SUCCESS ? clEnqueueReadBuffer(m->queue, buffer, CL_TRUE, 0, bytes,
                                                            t->extra_data[extra], 0, NULL, NULL)
                                      : status;
        return bench_machine_check(m, status, "filling", extra_names[extra]);
    }
    if (extra == BENCH_MASK) {
        fill_mask(desc, t->extra_data[extra]);
    } else {
        fill_heads(desc, extra, t->extra_data[extra]);
    }
    status = clEnqueueWriteBuffer(m->queue, buffer, CL_TRUE, 0, bytes, t->extra_data[extra], 0,
                                  NULL, NULL);
    return bench_machine_check(m, status, "clEnqueueWriteBuffer", extra_names[extra]);
}

static cl_int create_extras(struct bench_tensors *t, struct bench_machine *m) {
    static const cl_ulong features[BENCH_EXTRAS] = {CLATTN_FEATURE_ALIBI, CLATTN_FEATURE_BIAS,
                                                    CLATTN_FEATURE_MASK, CLATTN_FEATURE_SINK};
    cl_int status = CL_SUCCESS;
    for (int i = 0; i < BENCH_EXTRAS && status == CL_SUCCESS; i++) {
        if (t->desc.features & features[i]) {
            status = create_extra(t, m, i);
        }
    }
    return status;
}

cl_int bench_tensors_create(struct bench_tensors *t, struct bench_machine *m,
                            const clattn_desc *desc, bool bshd, unsigned sets) {
    double needed = 0;
    *t = (struct bench_tensors){.desc = *desc};
    for (int i = 0; i < count_of(desc->pass); i++) {
        needed += (sets ? sets : 1) * step_of(desc, i);
    }
    for (int i = BENCH_BIAS; i <= BENCH_MASK; i++) {
        const bool there =
            desc->features & (i == BENCH_BIAS ? CLATTN_FEATURE_BIAS : CLATTN_FEATURE_MASK);
        needed += there ? (double)bytes_of_extra(desc, i) : 0;
    }
    if (needed > 0.9 * (double)m->memory) {
        snprintf(m->why, sizeof m->why, "its tensors take %.3g GiB, the device has %.3g GiB",
                 needed / GIB, (double)m->memory / GIB);
        return CL_MEM_OBJECT_ALLOCATION_FAILURE;
    }
    cl_int status;
    t->sets = sets ? sets : count_sets(m, desc);
    t->fill = bench_machine_kernel(m, "", fill_source, "fill", &status);
    if (t->fill) {
        status = create(t, m, bshd);
    }
    if (status == CL_SUCCESS) {
        status = create_extras(t, m);
    }
    return status == CL_SUCCESS && desc->pass == CLATTN_BACKWARD ? run_forward(t, m) : status;
}

void bench_tensors_destroy(struct bench_tensors *t) {
    for (int i = 0; i < BENCH_TENSORS; i++) {
        if (t->view[i].buffer) {
            clReleaseMemObject(t->view[i].buffer);
        }
        free(t->host[i]);
    }
    for (int i = 0; i < BENCH_EXTRAS; i++) {
        if (t->extra[i].buffer) {
            clReleaseMemObject(t->extra[i].buffer);
        }
        free(t->extra_data[i]);
    }
    if (t->fill) {
        clReleaseKernel(t->fill);
    }
}

cl_int bench_tensors_enqueue(const struct bench_tensors *t, struct bench_machine *m,
                             const struct bench_plans *plans, size_t pass, cl_event *event) {
    cl_int status = CL_SUCCESS;
    for (clattn_pass kind = 0; kind < BENCH_BOTH && status == CL_SUCCESS; kind++) {
        const bool last = kind + 1 == BENCH_BOTH || !plans->plan[kind + 1];
        if (plans->plan[kind]) {
            status = enqueue(t, m, kind, plans->plan[kind], plans->workspace[kind], pass,
                             last ? event : NULL);
        }
    }
    return status;
}

static cl_int read_back(struct bench_tensors *t, struct bench_machine *m,
                        const struct bench_plans *plans, int tensor) {
    /* The inputs stay as they are: once is enough. */
    if (t->host[tensor] && !is_output(plans, tensor)) {
        return CL_SUCCESS;
    }
    if (!t->host[tensor]) {
        t->host[tensor] = malloc(t->bytes[tensor]);
    }
    cl_int status = t->host[tensor]
                        ? clEnqueueReadBuffer(m->queue, t->view[tensor].buffer, CL_TRUE, 0,
                                              t->bytes[tensor], t->host[tensor], 0, NULL, NULL)
                        : CL_OUT_OF_HOST_MEMORY;
    return bench_machine_check(m, status, "clEnqueueReadBuffer", names[tensor]);
}

/* Takes an error that is nearer to its bound, or further beyond, than the result's. */
static void note_error(struct verify_result *result, double error, double bound) {
    if (error * result->bound > result->error * bound || result->bound == 0) {
        result->error = error;
        result->bound = bound;
    }
}

/* Adds to a result, which may be empty. */
static bool check_gradients(const struct bench_tensors *of,
                            const struct verify_tensor t[BENCH_TENSORS],
                            struct verify_result *result) {
    const clattn_desc *desc = &of->desc;
    const struct verify_gradients given = {
        .q = t[BENCH_Q],
        .k = t[BENCH_K],
        .v = t[BENCH_V],
        .o = t[BENCH_O],
        .lse = t[BENCH_LSE],
        .d_o = t[BENCH_D_O],
        .alibi = {of->extra_data[BENCH_ALIBI], &of->extra[BENCH_ALIBI]},
        .bias = {of->extra_data[BENCH_BIAS], &of->extra[BENCH_BIAS]},
        .mask = {of->extra_data[BENCH_MASK], &of->extra[BENCH_MASK]},
        .sink = {of->extra_data[BENCH_SINK], &of->extra[BENCH_SINK]},
        .gradients = {t[BENCH_D_Q], t[BENCH_D_K], t[BENCH_D_V]}};
    struct verify_gradients_result found;
    if (!verify_gradients(desc, 1 / sqrt(desc->head_dim), &given, CHECK, &found)) {
        return false;
    }
    result->rows += found.rows;
    result->checked += found.checked;
    result->ill_rows += found.ill_rows;
    result->passed = result->passed && found.passed;
    for (int i = 0; i < VERIFY_GRADIENTS; i++) {
        note_error(result, found.error[i], found.bound[i]);
    }
    return true;
}

cl_int bench_tensors_verify(struct bench_tensors *t, struct bench_machine *m,
                            const struct bench_plans *plans, struct verify_result *result) {
    const cl_uint nan = 0xffffffffu;
    const clattn_desc *desc = &t->desc;
    cl_int status = CL_SUCCESS;
    for (int i = 0; i < count_of(desc->pass) && status == CL_SUCCESS; i++) {
        if (is_output(plans, i)) {
            status = clEnqueueFillBuffer(m->queue, t->view[i].buffer, &nan, sizeof nan, 0,
                                         t->step[i], 0, NULL, NULL);
            bench_machine_check(m, status, "clEnqueueFillBuffer", names[i]);
        }
    }
    if (status == CL_SUCCESS) {
        status = bench_tensors_enqueue(t, m, plans, 0, NULL);
    }
    if (status == CL_SUCCESS) {
        status = bench_machine_check(m, clFinish(m->queue), "clFinish", "");
    }
    struct verify_tensor on_host[BENCH_TENSORS] = {{NULL, NULL}};
    for (int i = 0; i < count_of(desc->pass) && status == CL_SUCCESS; i++) {
        status = read_back(t, m, plans, i);
        on_host[i] = (struct verify_tensor){t->host[i], &t->view[i]};
    }
    if (status != CL_SUCCESS) {
        return status;
    }
    const struct verify_tensors tensors = {
        .q = on_host[BENCH_Q],
        .k = on_host[BENCH_K],
        .v = on_host[BENCH_V],
        .alibi = {t->extra_data[BENCH_ALIBI], &t->extra[BENCH_ALIBI]},
        .bias = {t->extra_data[BENCH_BIAS], &t->extra[BENCH_BIAS]},
        .mask = {t->extra_data[BENCH_MASK], &t->extra[BENCH_MASK]},
        .sink = {t->extra_data[BENCH_SINK], &t->extra[BENCH_SINK]},
        .o = on_host[BENCH_O],
        .lse = on_host[BENCH_LSE]};
    bool done = true;
    *result = (struct verify_result){.passed = true};
    if (plans->plan[CLATTN_FORWARD]) {
        done = verify_sample(desc, 1 / sqrt(desc->head_dim), &tensors, CHECK, result);
    }
    if (plans->plan[CLATTN_BACKWARD]) {
        done = done && check_gradients(t, on_host, result);
    }
    return done ? CL_SUCCESS : bench_machine_check(m, CL_OUT_OF_HOST_MEMORY, "the check", "");
}
