/*
 * Tensors of more than 2^32 elements: no index may be computed in 32 bits.
 *
 *     test_large [ELEMENTS]     default 2^32
 *
 * Each shape passes ELEMENTS in another way: in rows of q and o, in keys, by the
 * stride of batch, head or row, by the byte offset.  The tensors are filled on the
 * device with a hash of the element's index, which the host computes again for the
 * rows that it checks; it never holds a whole tensor.  A device with less memory
 * skips the test and says how much is needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"
#include "clattn.h"
#include "compare.h"
#include "device.h"
#include "reference.h"

enum { ITEMS = 1 << 18, SLACK = 1 << 16 };

static const char kernel_text[] =
    "ushort value(ulong index, uint seed)\n"
    "{\n"
    "    ulong x = (index << 2 | seed) * 0x9e3779b97f4a7c15UL;\n"
    "    x = (x ^ x >> 32) * 0xd6e8feb86659fd93UL;\n"
    "    ushort bits[1];\n"
    "    vstore_half((float)((int)(x >> 53) - 1024) / 512.0f, 0, (half *)bits);\n"
    "    return bits[0];\n"
    "}\n"
    "__kernel void fill(__global ushort *to, ulong count, uint seed)\n"
    "{\n"
    "    for (ulong i = get_global_id(0); i < count; i += get_global_size(0))\n"
    "        to[i] = value(i, seed);\n"
    "}\n"
    "__kernel void changed(__global const ushort *in, ulong count, uint seed,\n"
    "                      volatile __global uint *changes)\n"
    "{\n"
    "    uint n = 0;\n"
    "    for (ulong i = get_global_id(0); i < count; i += get_global_size(0))\n"
    "        n += in[i] != value(i, seed);\n"
    "    if (n > 0)\n"
    "        atomic_add(changes, n);\n"
    "}\n";

enum name { Q, K, V, O, NAMES };

enum way { BY_QUERIES, BY_KEYS, BY_BATCH, BY_HEAD, BY_ROW, BY_OFFSET, WAYS };
static const char *const way_names[WAYS] = {"queries",     "keys",       "batch stride",
                                            "head stride", "row stride", "offset"};

static struct suite {
    struct test_device device;
    clattn_context context;
    uint64_t elements;
    size_t bytes; /* of each tensor */
    cl_mem tensor[NAMES], lse, changes;
    cl_program program;
    cl_kernel fill, changed;
    char message[4096];
} suite;

struct large {
    enum way way;
    const struct cases_solver *solver;
};

struct shape {
    clattn_desc desc;
    clattn_tensor tensor[NAMES], lse;
};

static void CL_CALLBACK notify(cl_int status, const char *message, void *user_data) {
    (void)status;
    (void)user_data;
    snprintf(suite.message, sizeof suite.message, "%s", message);
}

/* The host's half of the hash in kernel_text. */
static float value(uint64_t index, unsigned seed) {
    uint64_t x = (index << 2 | seed) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return (float)((int)(x >> 53) - 1024) / 512;
}

static struct shape make_shape(enum way way) {
    static const char *const problems[WAYS] = {
        [BY_QUERIES] = "f16 q1 k33 d128",
        [BY_KEYS] = "f16 q5 k1 d128 window63,0",
        [BY_BATCH] = "f16 b2 h2 q33 k65 d64 causal",
        [BY_HEAD] = "f16 b2 h3 q33 k65 d64 causal",
        [BY_ROW] = "f16 h2 q33 k65 d64 causal",
        [BY_OFFSET] = "f16 b2 h2 q33 k65 d64 causal",
    };
    struct shape shape;
    clattn_desc *desc = &shape.desc;
    *desc = (clattn_desc)CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse(problems[way], desc), CL_SUCCESS);
    desc->heads_kv = desc->heads_q;
    desc->head_dim_v = desc->head_dim;
    cl_uint rows = (cl_uint)(suite.elements / desc->head_dim) + 68;
    if (way == BY_QUERIES)
        desc->seq_q = rows;
    if (way == BY_KEYS)
        desc->seq_kv = rows;
    for (int name = 0; name < NAMES; name++) {
        cl_uint length = name == K || name == V ? desc->seq_kv : desc->seq_q;
        clattn_tensor dense =
            CLATTN_TENSOR_BHSD(suite.tensor[name], desc->heads_q, length, desc->head_dim);
        cl_long far = (cl_long)suite.elements + desc->head_dim * (cl_uint)name;
        if (way == BY_BATCH)
            dense.stride_batch = far;
        if (way == BY_HEAD) { /* two heads apart pass the mark; batches lie between them */
            dense.stride_head = far / 2 + 1;
            dense.stride_batch = (cl_long)length * desc->head_dim;
        }
        if (way == BY_ROW) { /* heads lie between the rows */
            dense.stride_row = far / (length - 1) + 1;
            dense.stride_head = desc->head_dim;
        }
        if (way == BY_OFFSET)
            dense.offset = (size_t)far * sizeof(cl_ushort);
        shape.tensor[name] = dense;
    }
    clattn_tensor lse = CLATTN_TENSOR_BHSD(suite.lse, desc->heads_q, desc->seq_q, 1);
    shape.lse = lse;
    return shape;
}

static uint64_t element_of(const clattn_tensor *tensor, cl_uint batch, cl_uint head, cl_uint row) {
    return tensor->offset / sizeof(cl_ushort) + (uint64_t)tensor->stride_batch * batch +
           (uint64_t)tensor->stride_head * head + (uint64_t)tensor->stride_row * row;
}

static void gather(const struct shape *shape, enum name name, cl_uint batch, cl_uint head,
                   cl_uint first, cl_uint count, float *to) {
    for (cl_uint row = 0; row < count; row++) {
        uint64_t at = element_of(&shape->tensor[name], batch, head, first + row);
        for (cl_uint d = 0; d < shape->desc.head_dim; d++)
            *to++ = value(at + d, (unsigned)name);
    }
}

/* Reads one row of the result and compares it, as a problem of one query and the
 * keys that it sees.  Adds the elements that differ from the fill to *changes. */
static bool check_row(const struct shape *shape, cl_uint batch, cl_uint head, cl_uint query,
                      cl_uint *changes) {
    cl_uint first = 0, last = 0;
    if (shape->desc.band_left != CLATTN_UNBOUNDED)
        first = query + shape->desc.seq_kv - shape->desc.seq_q - (cl_uint)shape->desc.band_left;
    for (last = first; last < shape->desc.seq_kv && reference_sees(&shape->desc, query, last);)
        last++;

    clattn_desc desc = shape->desc;
    cl_uint dim = desc.head_dim;
    desc.batch = desc.heads_q = desc.heads_kv = desc.seq_q = 1;
    desc.seq_kv = last - first;
    desc.band_left = desc.band_right = CLATTN_UNBOUNDED;
    float *q = malloc(dim * sizeof *q), *k = malloc((size_t)desc.seq_kv * dim * sizeof *k);
    float *v = malloc((size_t)desc.seq_kv * dim * sizeof *v), *o = malloc(dim * sizeof *o), lse;
    cl_ushort *stored = malloc(dim * sizeof *stored);
    assert_true(q && k && v && o && stored);
    gather(shape, Q, batch, head, query, 1, q);
    gather(shape, K, batch, head, first, desc.seq_kv, k);
    gather(shape, V, batch, head, first, desc.seq_kv, v);

    uint64_t at = element_of(&shape->tensor[O], batch, head, query);
    size_t lse_at = ((size_t)batch * shape->desc.heads_q + head) * shape->desc.seq_q + query;
    cl_command_queue queue = suite.device.queue;
    assert_int_equal(clEnqueueReadBuffer(queue, suite.tensor[O], CL_TRUE, at * sizeof *stored,
                                         dim * sizeof *stored, stored, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_int_equal(clEnqueueReadBuffer(queue, suite.lse, CL_TRUE, lse_at * sizeof lse, sizeof lse,
                                         &lse, 0, NULL, NULL),
                     CL_SUCCESS);
    for (cl_uint d = 0; d < dim; d++) {
        cl_ushort before;
        reference_encode(CLATTN_F16, (double)value(at + d, O), &before);
        *changes += stored[d] != before;
        o[d] = (float)reference_decode(CLATTN_F16, &stored[d]);
    }

    struct reference expected;
    struct compare_result ratio;
    reference_forward(&desc, CLATTN_SCALE_DEFAULT, q, k, v, &expected);
    bool ok = compare_forward(&desc, &expected, o, &lse, &ratio) && !ratio.ill_rows;
    if (!ok)
        fprintf(stderr, "of batch %u, head %u, query %u\n", batch, head, query);
    reference_free(&expected);
    free(q);
    free(k);
    free(v);
    free(o);
    free(stored);
    return ok;
}

static void launch(cl_kernel kernel, cl_mem memory, unsigned seed) {
    cl_ulong count = suite.bytes / sizeof(cl_ushort);
    cl_uint seed_arg = seed;
    size_t items = ITEMS;
    assert_int_equal(clSetKernelArg(kernel, 0, sizeof memory, &memory), CL_SUCCESS);
    assert_int_equal(clSetKernelArg(kernel, 1, sizeof count, &count), CL_SUCCESS);
    assert_int_equal(clSetKernelArg(kernel, 2, sizeof seed_arg, &seed_arg), CL_SUCCESS);
    assert_int_equal(
        clEnqueueNDRangeKernel(suite.device.queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL),
        CL_SUCCESS);
    assert_int_equal(clFinish(suite.device.queue), CL_SUCCESS);
}

static cl_uint count_changes(void) {
    cl_uint changes = 0;
    cl_command_queue queue = suite.device.queue;
    assert_int_equal(clEnqueueWriteBuffer(queue, suite.changes, CL_TRUE, 0, sizeof changes,
                                          &changes, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_int_equal(clSetKernelArg(suite.changed, 3, sizeof suite.changes, &suite.changes),
                     CL_SUCCESS);
    launch(suite.changed, suite.tensor[O], O);
    assert_int_equal(clEnqueueReadBuffer(queue, suite.changes, CL_TRUE, 0, sizeof changes, &changes,
                                         0, NULL, NULL),
                     CL_SUCCESS);
    return changes;
}

/* All rows where there are few, and then nothing else may have been written; of
 * many, the first, the last, those about the mark and some between. */
static bool check_rows(const struct shape *shape) {
    const clattn_desc *desc = &shape->desc;
    cl_uint changes = 0;
    bool ok = true;
    if (desc->seq_q > 1000) {
        cl_uint mark = (cl_uint)(suite.elements / desc->head_dim);
        const cl_uint rows[] = {0, mark / 2 - 1, mark / 2, mark - 1, mark, desc->seq_q - 1};
        for (size_t i = 0; ok && i < sizeof rows / sizeof *rows; i++)
            ok = check_row(shape, 0, 0, rows[i], &changes);
        for (cl_uint i = 1; ok && i < 64; i++)
            ok = check_row(shape, 0, 0, (cl_uint)((uint64_t)desc->seq_q * i / 64), &changes);
        return ok;
    }
    for (cl_uint batch = 0; batch < desc->batch; batch++)
        for (cl_uint head = 0; head < desc->heads_q; head++)
            for (cl_uint query = 0; ok && query < desc->seq_q; query++)
                ok = check_row(shape, batch, head, query, &changes);
    cl_uint found = count_changes();
    if (ok && found != changes)
        fprintf(stderr, "%u elements of o's memory changed, of which %u are o's\n", found, changes);
    return ok && found == changes;
}

static void check_large(void **state) {
    const struct large *large = *state;
    struct shape shape = make_shape(large->way);
    clattn_plan plan = NULL;
    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    shape.desc.variant = large->solver->variant;
    cl_int status = clattn_plan_create(suite.context, &shape.desc, &plan);
    /* A matrix engine is to be named where the device has none. */
    const bool no_engine =
        status == CLATTN_UNSUPPORTED && strstr(suite.message, "has no matrix engine");
    if (no_engine ||
        (status == CLATTN_UNSUPPORTED && !(large->solver->where & suite.device.type))) {
        print_message("skipped: %s\n", suite.message);
        skip();
    }
    if (status != CL_SUCCESS)
        fail_msg("plan: %s: %s", clattn_status_name(status), suite.message);
    size_t workspace = 0;
    assert_int_equal(clattn_plan_workspace_size(plan, &workspace), CL_SUCCESS);
    args.q = &shape.tensor[Q];
    args.k = &shape.tensor[K];
    args.v = &shape.tensor[V];
    args.o = &shape.tensor[O];
    args.lse = &shape.lse;
    if (workspace)
        args.workspace =
            clCreateBuffer(suite.device.context, CL_MEM_READ_WRITE, workspace, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);

    launch(suite.fill, suite.tensor[O], O);
    status = clattn_enqueue_forward(plan, suite.device.queue, &args, 0, NULL, NULL);
    if (status != CL_SUCCESS)
        fail_msg("enqueue: %s: %s", clattn_status_name(status), suite.message);
    assert_int_equal(clFinish(suite.device.queue), CL_SUCCESS);
    bool ok = check_rows(&shape);
    if (!ok)
        fprintf(stderr, "variant: %s\n", clattn_plan_variant(plan));
    if (args.workspace)
        clReleaseMemObject(args.workspace);
    clattn_plan_destroy(plan);
    assert_true(ok);
}

/* ---- The suite ---- */

static cl_mem allocate(size_t bytes) {
    cl_int status;
    cl_mem memory = clCreateBuffer(suite.device.context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    return memory;
}

static size_t lse_bytes(void) {
    return (suite.elements / 128 + SLACK) * sizeof(float);
}

static bool fits(const struct test_device *device) {
    cl_ulong needed = NAMES * (cl_ulong)suite.bytes + lse_bytes();
    bool enough = device->memory >= needed && device->max_allocation >= suite.bytes;
    if (!enough)
        printf("skipped: needs %.1f GiB of device memory and allocations of %.1f GiB; %s has %.1f "
               "and %.1f\n",
               (double)needed * 0x1p-30, (double)suite.bytes * 0x1p-30, device->name,
               (double)device->memory * 0x1p-30, (double)device->max_allocation * 0x1p-30);
    return enough;
}

static int open_suite(void **state) {
    (void)state;
    const struct test_device *device = &suite.device;
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = device->context;
    desc.device = device->id;
    desc.notify = notify;
    assert_int_equal(clattn_context_create(&desc, &suite.context), CL_SUCCESS);
    const char *text = kernel_text;
    cl_int status;
    suite.program = clCreateProgramWithSource(device->context, 1, &text, NULL, &status);
    assert_int_equal(clBuildProgram(suite.program, 1, &device->id, "", NULL, NULL), CL_SUCCESS);
    suite.fill = clCreateKernel(suite.program, "fill", &status);
    suite.changed = clCreateKernel(suite.program, "changed", &status);
    suite.lse = allocate(lse_bytes());
    suite.changes = allocate(sizeof(cl_uint));
    for (int name = 0; name < NAMES; name++) {
        suite.tensor[name] = allocate(suite.bytes);
        launch(suite.fill, suite.tensor[name], (unsigned)name);
    }
    return 0;
}

static int close_suite(void **state) {
    (void)state;
    for (int name = 0; name < NAMES; name++)
        if (suite.tensor[name])
            clReleaseMemObject(suite.tensor[name]);
    if (suite.program) {
        clReleaseMemObject(suite.lse);
        clReleaseMemObject(suite.changes);
        clReleaseKernel(suite.fill);
        clReleaseKernel(suite.changed);
        clReleaseProgram(suite.program);
    }
    clattn_context_destroy(suite.context);
    return 0;
}

static bool answers(const struct cases_solver *solver) {
    return !solver->baseline && solver->pass == CLATTN_FORWARD;
}

int main(int argc, char **argv) {
    suite.elements = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)1 << 32;
    if (argc > 2 || suite.elements < 1 << 18) {
        fprintf(stderr, "usage: test_large [ELEMENTS, at least 2^18]\n");
        return 2;
    }
    suite.bytes = (suite.elements + SLACK) * sizeof(cl_ushort);
    if (!test_device_open(&suite.device))
        return 4;
    if (!fits(&suite.device)) {
        test_device_close(&suite.device);
        return 77;
    }
    size_t count = 0;
    struct large *large = calloc(WAYS * cases_solver_count, sizeof *large);
    struct CMUnitTest *tests = calloc(WAYS * cases_solver_count, sizeof *tests);
    char(*names)[64] = calloc(WAYS * cases_solver_count, sizeof *names);
    if (!large || !tests || !names)
        return EXIT_FAILURE;
    for (size_t s = 0; s < cases_solver_count; s++)
        for (int way = 0; answers(&cases_solvers[s]) && way < WAYS; way++, count++) {
            large[count] = (struct large){(enum way)way, &cases_solvers[s]};
            snprintf(names[count], sizeof *names, "%s | %s", cases_solvers[s].name, way_names[way]);
            struct CMUnitTest test = {names[count], check_large, NULL, NULL, NULL};
            test.initial_state = &large[count];
            tests[count] = test;
        }
    int failed = _cmocka_run_group_tests("large", tests, count, open_suite, close_suite);
    free(large);
    free(tests);
    free(names);
    test_device_close(&suite.device);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
