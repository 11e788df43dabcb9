/*
 * Tensors as views: of sub-buffers, side by side and interleaved in one buffer, in
 * any order of dimensions.  They share a buffer, but no byte, and every answer is
 * right; and tensors without elements, which need no memory.
 */
#include "compare.h"
#include "device.h"
#include "heard.h"
#include "small.h"

#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* heads_kv and lengths alike, so that q, k, v and o can share a packed row */
static const char problem_text[] = "b2 h4:2 q9 k9 d8:4 causal";
enum { ARENA = 1 << 16, ROW = 4 * 8 + 2 * 8 + 2 * 4 + 4 * 4 }; /* floats of q, k, v, o */

static struct test_device device;
static clattn_context context;
static clattn_plan plan;
static struct heard heard;
static struct small small;
static cl_mem arena;

static cl_uint heads_of(int tensor) {
    return tensor == SMALL_K || tensor == SMALL_V ? small.desc.heads_kv : small.desc.heads_q;
}

static cl_uint rows_of(int tensor) {
    return tensor == SMALL_K || tensor == SMALL_V ? small.desc.seq_kv : small.desc.seq_q;
}

static cl_uint width_of(int tensor) {
    return tensor == SMALL_LSE                      ? 1
           : tensor == SMALL_V || tensor == SMALL_O ? small.desc.head_dim_v
                                                    : small.desc.head_dim;
}

/* Copies a tensor's elements between its view and its dense buffer. */
static void copy(int tensor, const clattn_tensor *view, bool out) {
    const cl_uint heads = heads_of(tensor), rows = rows_of(tensor), width = width_of(tensor);
    const size_t size = width * sizeof(float);
    size_t dense = 0;
    for (cl_long batch = 0; batch < small.desc.batch; batch++) {
        for (cl_long head = 0; head < heads; head++) {
            for (cl_long row = 0; row < rows; row++, dense += size) {
                const cl_long element =
                    batch * view->stride_batch + head * view->stride_head + row * view->stride_row;
                const size_t at = view->offset + (size_t)element * sizeof(float);
                assert_int_equal(
                    clEnqueueCopyBuffer(device.queue, out ? view->buffer : small.buffers[tensor],
                                        out ? small.buffers[tensor] : view->buffer,
                                        out ? at : dense, out ? dense : at, size, 0, NULL, NULL),
                    CL_SUCCESS);
            }
        }
    }
}

/* Enqueues with these views, and compares what they then hold with the reference. */
static void assert_views_work(const clattn_tensor views[SMALL_TENSORS]) {
    clattn_forward_args args = small.args;
    args.q = &views[SMALL_Q];
    args.k = &views[SMALL_K];
    args.v = &views[SMALL_V];
    args.o = &views[SMALL_O];
    args.lse = &views[SMALL_LSE];
    const cl_uint poison = 0x7fc0dead; /* NaN: what lies between the views */
    assert_int_equal(
        clEnqueueFillBuffer(device.queue, arena, &poison, sizeof poison, 0, ARENA, 0, NULL, NULL),
        CL_SUCCESS);
    for (int i = SMALL_Q; i <= SMALL_V; i++) {
        copy(i, &views[i], false);
    }
    heard = (struct heard){0};
    if (clattn_enqueue_forward(plan, device.queue, &args, 0, NULL, NULL) != CL_SUCCESS) {
        fail_msg("%s", heard.message);
    }
    small_poison(&small, device.queue);
    copy(SMALL_O, &views[SMALL_O], true);
    copy(SMALL_LSE, &views[SMALL_LSE], true);
    assert_true(small_right(&small, device.queue));
}

static void tensors_lie_side_by_side(void **state) {
    (void)state;
    clattn_tensor views[SMALL_TENSORS];
    size_t offset = 0;
    for (int i = 0; i < SMALL_TENSORS; i++) { /* not one byte between them */
        views[i] = small.tensors[i];
        views[i].buffer = arena;
        views[i].offset = offset;
        offset += small.bytes[i];
    }
    assert_views_work(views);
    offset = 0;
    for (int i = SMALL_TENSORS - 1; i >= 0; i--) {
        views[i].offset = offset;
        offset += small.bytes[i];
    }
    assert_views_work(views);
}

/* [batch, row, (4 heads of q, 2 of k, 2 of v, 4 of o)] in one buffer, padded or not. */
static void tensors_are_packed_into_rows(void **state) {
    (void)state;
    for (cl_long padding = 0; padding < 8; padding += 7) {
        clattn_tensor views[SMALL_TENSORS];
        size_t column = 0;
        for (int i = 0; i <= SMALL_O; i++) {
            views[i] = (clattn_tensor)CLATTN_TENSOR_INIT;
            views[i].buffer = arena;
            views[i].offset = 64 + column * sizeof(float);
            views[i].stride_head = width_of(i);
            views[i].stride_row = ROW + padding;
            views[i].stride_batch = (cl_long)rows_of(i) * (ROW + padding);
            column += heads_of(i) * width_of(i);
        }
        assert_int_equal(column, ROW);
        views[SMALL_LSE] = small.tensors[SMALL_LSE];
        views[SMALL_LSE].buffer = arena;
        views[SMALL_LSE].offset = ARENA / 2;
        assert_views_work(views);
    }
}

/* o's rows between the rows of q, and heads or batches innermost. */
static void dimensions_come_in_any_order(void **state) {
    (void)state;
    clattn_tensor views[SMALL_TENSORS];
    for (int i = 0; i < SMALL_TENSORS; i++) {
        const cl_long width = width_of(i), heads = heads_of(i), batches = small.desc.batch;
        views[i] = (clattn_tensor)CLATTN_TENSOR_INIT;
        views[i].buffer = arena;
        views[i].offset = (size_t)i * ARENA / 8;
        views[i].stride_batch = width;
        views[i].stride_head = width * batches;
        views[i].stride_row = width * batches * heads;
    }
    assert_views_work(views);

    const cl_long pair = width_of(SMALL_Q) + width_of(SMALL_O);
    for (int i = SMALL_Q; i <= SMALL_O; i += SMALL_O - SMALL_Q) {
        views[i].offset = i == SMALL_Q ? 0 : width_of(SMALL_Q) * sizeof(float);
        views[i].stride_row = pair;
        views[i].stride_head = pair * rows_of(i);
        views[i].stride_batch = pair * rows_of(i) * heads_of(i);
    }
    assert_views_work(views);
}

static void sub_buffers_of_one_buffer_are_apart(void **state) {
    (void)state;
    clattn_tensor views[SMALL_TENSORS];
    cl_mem parts[SMALL_TENSORS];
    for (int i = 0; i < SMALL_TENSORS; i++) {
        const cl_buffer_region region = {(size_t)i * (ARENA / 8), ARENA / 8};
        cl_int status;
        parts[i] = clCreateSubBuffer(arena, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
        assert_int_equal(status, CL_SUCCESS);
        views[i] = small.tensors[i];
        views[i].buffer = parts[i];
        views[i].offset = 4;
    }
    assert_views_work(views);
    views[SMALL_O].buffer = arena; /* beside the parts, by way of their parent */
    views[SMALL_O].offset = ARENA / 8 * 6;
    assert_views_work(views);
    for (int i = 0; i < SMALL_TENSORS; i++) {
        clReleaseMemObject(parts[i]);
    }
}

/* Inputs may broadcast; the answer is that of the copies. */
static void inputs_may_share_everything(void **state) {
    (void)state;
    clattn_forward_args args = small.args;
    clattn_tensor q = small.tensors[SMALL_Q], k = small.tensors[SMALL_K];
    q.stride_batch = q.stride_head = q.stride_row = 0;
    k.buffer = q.buffer; /* k is q, broadcast likewise */
    k.stride_batch = k.stride_head = k.stride_row = 0;
    args.q = &q;
    args.k = &k;
    small_poison(&small, device.queue);
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &args, 0, NULL, NULL), CL_SUCCESS);
    /* every key has the same score s: the first row's lse is s, the last's s + log 9 */
    float lse[9];
    assert_int_equal(clEnqueueReadBuffer(device.queue, small.buffers[SMALL_LSE], CL_TRUE, 0,
                                         sizeof lse, lse, 0, NULL, NULL),
                     CL_SUCCESS);
    for (int i = 0; i < 9; i++) {
        assert_true(fabs((double)lse[i] - (double)lse[0] - log(i + 1)) < 1e-5);
    }
}

static void tensors_without_elements_need_no_memory(void **state) {
    (void)state;
    const clattn_tensor nowhere = CLATTN_TENSOR_INIT;
    clattn_forward_args args = small.args;
    cl_event event = NULL;
    args.q = args.o = args.lse = &nowhere;
    args.seq_q = 0;
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &args, 0, NULL, &event),
                     CL_SUCCESS);
    assert_int_equal(clWaitForEvents(1, &event), CL_SUCCESS);
    clReleaseEvent(event);

    args = small.args;
    args.q = args.k = args.v = args.o = args.lse = &nowhere;
    args.batch = 0;
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &args, 0, NULL, NULL), CL_SUCCESS);

    args = small.args; /* no keys: o = 0, lse = -inf */
    args.k = args.v = &nowhere;
    args.seq_kv = 0;
    small_poison(&small, device.queue);
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &args, 0, NULL, NULL), CL_SUCCESS);
    const int outputs[] = {SMALL_O, SMALL_LSE};
    for (int i = 0; i < 2; i++) {
        const size_t bytes = small.bytes[outputs[i]];
        float *const values = malloc(bytes);
        assert_non_null(values);
        assert_int_equal(clEnqueueReadBuffer(device.queue, small.buffers[outputs[i]], CL_TRUE, 0,
                                             bytes, values, 0, NULL, NULL),
                         CL_SUCCESS);
        for (size_t at = 0; at < bytes / sizeof(float); at++) {
            assert_true(i == 0 ? values[at] == 0 : values[at] == -INFINITY);
        }
        free(values);
    }
}

/* Drivers of CPUs work on it where it lies, which need suit no more than an element; the
 * kernels that read 16 bytes at once must not. */
static void memory_of_the_application(void **state) {
    (void)state;
    const cl_mem arena_before = arena;
    const clattn_plan plan_before = plan;
    char *const memory = malloc(ARENA + 128);
    assert_non_null(memory);
    char *const aligned = memory + (64 - (uintptr_t)memory % 64);
    cl_int status;
    arena = clCreateBuffer(device.context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, ARENA,
                           aligned + sizeof(float), &status);
    assert_int_equal(status, CL_SUCCESS);
    static const char *const variants[] = {
        NULL,
        "fwd_rows",
        "fwd_tile",
        "fwd_tile BLOCK_M=4 BLOCK_N=8 BLOCK_D=4 THREADS_M=4 THREADS_N=1 Q_RESIDENT=1 PREFETCH=1 "
        "WIDE_READS=1",
    };
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        small.desc.variant = variants[i];
        const cl_int code = clattn_plan_create(context, &small.desc, &plan);
        if (code == CLATTN_UNSUPPORTED && strstr(heard.message, "PoCL after 3.1")) {
            continue;
        }
        assert_int_equal(code, CL_SUCCESS);
        tensors_lie_side_by_side(NULL);
        clattn_plan_destroy(plan);
    }
    small.desc.variant = NULL;
    clReleaseMemObject(arena);
    free(memory);
    arena = arena_before;
    plan = plan_before;
}

static int open_all(void **state) {
    (void)state;
    if (!test_device_open(&device)) {
        return -1;
    }
    context = heard_context(device.context, device.id, &heard);
    small_open(&small, device.context, device.queue, problem_text, 1);
    arena = clCreateBuffer(device.context, 0, ARENA, NULL, NULL);
    return arena && context && clattn_plan_create(context, &small.desc, &plan) == CL_SUCCESS ? 0
                                                                                             : -1;
}

static int close_all(void **state) {
    (void)state;
    clattn_plan_destroy(plan);
    clattn_context_destroy(context);
    clReleaseMemObject(arena);
    small_close(&small);
    test_device_close(&device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_lie_side_by_side),
        cmocka_unit_test(tensors_are_packed_into_rows),
        cmocka_unit_test(dimensions_come_in_any_order),
        cmocka_unit_test(sub_buffers_of_one_buffer_are_apart),
        cmocka_unit_test(inputs_may_share_everything),
        cmocka_unit_test(memory_of_the_application),
        cmocka_unit_test(tensors_without_elements_need_no_memory),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
