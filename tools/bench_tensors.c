#include "bench_tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Multiply-adds that the check of a row may take: a tenth of a second. */
#define CHECK 5e7

#define LEAST_CACHE 0x1p26 /* bytes */
#define GIB 0x1p30

enum { FIRST_OUTPUT = BENCH_O, MOST_SETS = 256, SET_ALIGNMENT = 4096 };

static const char *const names[BENCH_TENSORS] = {"q", "k", "v", "o", "lse"};

/* Element number i gets a uniform number of mean 0 and variance 1 made from i. */
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
    "        } else {\n"
    "            ((__global ushort *)data)[i] = (ushort)(as_uint(value) >> 16);\n"
    "        }\n"
    "    }\n"
    "}\n";

struct shape {
    cl_uint heads, rows, dim;
    clattn_type type;
    size_t element; /* bytes */
};

static struct shape shape_of(const clattn_desc *d, int tensor) {
    const struct verify_types types = verify_types(d);
    struct shape shapes[BENCH_TENSORS] = {
        {d->heads_q, d->seq_q, d->head_dim, types.q, 0},
        {d->heads_kv, d->seq_kv, d->head_dim, types.k, 0},
        {d->heads_kv, d->seq_kv, d->head_dim_v, types.v, 0},
        {d->heads_q, d->seq_q, d->head_dim_v, types.o, 0},
        {d->heads_q, d->seq_q, 1, CLATTN_F32, 0},
    };
    shapes[tensor].element = shapes[tensor].type == CLATTN_F32 ? 4 : 2;
    return shapes[tensor];
}

static double bytes_of(const clattn_desc *d, int tensor) {
    struct shape s = shape_of(d, tensor);
    return (double)d->batch * s.heads * s.rows * s.dim * (double)s.element;
}

/* From one set to the next. */
static double step_of(const clattn_desc *d, int tensor) {
    return ceil(bytes_of(d, tensor) / (double)SET_ALIGNMENT) * (double)SET_ALIGNMENT;
}

double bench_tensors_bytes(const clattn_desc *desc) {
    double bytes = 0;
    for (int i = 0; i < BENCH_TENSORS; i++) {
        bytes += bytes_of(desc, i);
    }
    return bytes;
}

/* So many that they fill the cache twice, and at least two; but no more than fit into
 * a quarter of the memory and each tensor's into one allocation.  Some devices name
 * their smallest cache only. */
static size_t count_sets(const struct bench_machine *m, const clattn_desc *desc) {
    double one = bench_tensors_bytes(desc), largest = 1;
    for (int i = 0; i < BENCH_TENSORS; i++) {
        largest = fmax(largest, bytes_of(desc, i) + (double)SET_ALIGNMENT);
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
    const cl_ulong count = t->sets * t->step[tensor] / s.element;
    clSetKernelArg(t->fill, 0, sizeof(cl_mem), &t->view[tensor].buffer);
    clSetKernelArg(t->fill, 1, sizeof type, &type);
    clSetKernelArg(t->fill, 2, sizeof seed, &seed);
    clSetKernelArg(t->fill, 3, sizeof count, &count);
    cl_int status = clEnqueueNDRangeKernel(m->queue, t->fill, 1, NULL, &items, NULL, 0, NULL, NULL);
    return bench_machine_check(m, status, "clEnqueueNDRangeKernel", "random numbers");
}

static cl_int create(struct bench_tensors *t, struct bench_machine *m, bool bshd) {
    cl_int status = CL_SUCCESS;
    for (int i = 0; i < BENCH_TENSORS && status == CL_SUCCESS; i++) {
        struct shape s = shape_of(&t->desc, i);
        t->bytes[i] = (size_t)t->desc.batch * s.heads * s.rows * s.dim * s.element;
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

/* 2^(-8 (h + 1) / H) */
static cl_int create_alibi(struct bench_tensors *t, struct bench_machine *m) {
    const cl_uint heads = t->desc.heads_q;
    cl_int status = CL_OUT_OF_HOST_MEMORY;
    t->slopes = malloc(heads * sizeof *t->slopes);
    for (cl_uint h = 0; t->slopes && h < heads; h++) {
        t->slopes[h] = exp2f(-8 * (float)(h + 1) / (float)heads);
    }
    cl_mem buffer = t->slopes ? clCreateBuffer(m->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
                                               heads * sizeof *t->slopes, t->slopes, &status)
                              : NULL;
    t->alibi = (clattn_tensor)CLATTN_TENSOR_HEADS(buffer);
    return bench_machine_check(m, status, "clCreateBuffer", "alibi");
}

cl_int bench_tensors_create(struct bench_tensors *t, struct bench_machine *m,
                            const clattn_desc *desc, bool bshd, unsigned sets) {
    double needed = 0;
    *t = (struct bench_tensors){.desc = *desc};
    for (int i = 0; i < BENCH_TENSORS; i++) {
        needed += (sets ? sets : 1) * step_of(desc, i);
    }
    if (needed > 0.9 * (double)m->memory) {
        snprintf(m->why, sizeof m->why, "its tensors take %.3g GiB, the device has %.3g GiB",
                 needed / GIB, (double)m->memory / GIB);
        return CL_MEM_OBJECT_ALLOCATION_FAILURE;
    }
    cl_int status;
    t->sets = sets ? sets : count_sets(m, desc);
    t->fill = bench_machine_kernel(m, "", fill_source, "fill", &status);
    status = t->fill ? create(t, m, bshd) : status;
    return status == CL_SUCCESS && desc->features & CLATTN_FEATURE_ALIBI ? create_alibi(t, m)
                                                                         : status;
}

void bench_tensors_destroy(struct bench_tensors *t) {
    for (int i = 0; i < BENCH_TENSORS; i++) {
        if (t->view[i].buffer) {
            clReleaseMemObject(t->view[i].buffer);
        }
        free(t->host[i]);
    }
    if (t->alibi.buffer) {
        clReleaseMemObject(t->alibi.buffer);
    }
    free(t->slopes);
    if (t->fill) {
        clReleaseKernel(t->fill);
    }
}

cl_int bench_tensors_enqueue(const struct bench_tensors *t, struct bench_machine *m,
                             clattn_plan plan, cl_mem workspace, size_t pass, cl_event *event) {
    clattn_tensor views[BENCH_TENSORS];
    for (int i = 0; i < BENCH_TENSORS; i++) {
        views[i] = t->view[i];
        views[i].offset = pass % t->sets * t->step[i];
    }
    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    args.q = &views[BENCH_Q];
    args.k = &views[BENCH_K];
    args.v = &views[BENCH_V];
    args.o = &views[BENCH_O];
    args.lse = &views[BENCH_LSE];
    args.workspace = workspace;
    clattn_extras extras = CLATTN_EXTRAS_INIT;
    extras.alibi = t->alibi.buffer ? &t->alibi : NULL;
    args.extras = &extras;
    return clattn_enqueue_forward(plan, m->queue, &args, 0, NULL, event);
}

static cl_int read_back(struct bench_tensors *t, struct bench_machine *m, int tensor) {
    /* The inputs stay as they are: once is enough. */
    if (t->host[tensor] && tensor < FIRST_OUTPUT) {
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

cl_int bench_tensors_verify(struct bench_tensors *t, struct bench_machine *m, clattn_plan plan,
                            cl_mem workspace, struct verify_result *result) {
    const cl_uint nan = 0xffffffffu;
    cl_int status = CL_SUCCESS;
    for (int i = FIRST_OUTPUT; i < BENCH_TENSORS && status == CL_SUCCESS; i++) {
        status = clEnqueueFillBuffer(m->queue, t->view[i].buffer, &nan, sizeof nan, 0, t->step[i],
                                     0, NULL, NULL);
        bench_machine_check(m, status, "clEnqueueFillBuffer", names[i]);
    }
    if (status == CL_SUCCESS) {
        status = bench_tensors_enqueue(t, m, plan, workspace, 0, NULL);
    }
    if (status == CL_SUCCESS) {
        status = bench_machine_check(m, clFinish(m->queue), "clFinish", "");
    }
    struct verify_tensor on_host[BENCH_TENSORS];
    for (int i = 0; i < BENCH_TENSORS && status == CL_SUCCESS; i++) {
        status = read_back(t, m, i);
        on_host[i] = (struct verify_tensor){t->host[i], &t->view[i]};
    }
    if (status == CL_SUCCESS) {
        const struct verify_tensors tensors = {.q = on_host[BENCH_Q],
                                               .k = on_host[BENCH_K],
                                               .v = on_host[BENCH_V],
                                               .alibi = {t->slopes, &t->alibi},
                                               .o = on_host[BENCH_O],
                                               .lse = on_host[BENCH_LSE]};
        const double scale = 1 / sqrt(t->desc.head_dim);
        if (verify_sample(&t->desc, scale, &tensors, CHECK, result)) {
            return status;
        }
        status = bench_machine_check(m, CL_OUT_OF_HOST_MEMORY, "the check", "");
    }
    return status;
}
