/*
 * clattn_enqueue_merge: attention over two parts of the keys, joined, is attention over all keys;
 * in place and not, in every type, and what is refused.
 */
#include "device.h"
#include "heard.h"
#include "reference.h"
#include "small.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char problem_text[] = "b2 h4:2 q9 k20 d8:5";
enum { ROWS = 2 * 4 * 9, DIM = 5 };

static struct test_device device;
static clattn_context context;
static struct heard heard;
static struct small small;
static cl_mem o_2, lse_2; /* of the second part */

static clattn_plan make_plan(const char *text) {
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_plan plan;
    assert_int_equal(clattn_desc_parse(text, &desc), CL_SUCCESS);
    if (clattn_plan_create(context, &desc, &plan) != CL_SUCCESS) {
        fail_msg("%s: %s", text, heard.message);
    }
    return plan;
}

static cl_mem make_buffer(size_t bytes, const void *content) {
    cl_int code;
    cl_mem buffer = clCreateBuffer(device.context, CL_MEM_READ_WRITE, bytes, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    if (content) {
        assert_int_equal(
            clEnqueueWriteBuffer(device.queue, buffer, CL_TRUE, 0, bytes, content, 0, NULL, NULL),
            CL_SUCCESS);
    }
    return buffer;
}

/* o and lse of small for the keys [first, first + count), into tensors. */
static void attend(clattn_plan plan, cl_uint first, cl_uint count, const clattn_tensor *o,
                   const clattn_tensor *lse) {
    clattn_forward_args args = small.args;
    clattn_tensor k = small.tensors[SMALL_K], v = small.tensors[SMALL_V];
    size_t bytes;
    k.offset += first * 8 * sizeof(float);
    v.offset += first * DIM * sizeof(float);
    args.k = &k, args.v = &v, args.o = o, args.lse = lse;
    args.seq_kv = count;
    assert_int_equal(clattn_plan_workspace_size(plan, &bytes), CL_SUCCESS);
    cl_mem workspace = make_buffer(bytes ? bytes : 1, NULL);
    args.workspace = workspace;
    if (clattn_enqueue_forward(plan, device.queue, &args, 0, NULL, NULL) != CL_SUCCESS) {
        fail_msg("%s", heard.message);
    }
    clReleaseMemObject(workspace);
}

static void merge(clattn_plan plan, const clattn_merge_args *args) {
    cl_event done = NULL;
    if (clattn_enqueue_merge(plan, device.queue, args, 0, NULL, &done) != CL_SUCCESS) {
        fail_msg("%s", heard.message);
    }
    assert_int_equal(clWaitForEvents(1, &done), CL_SUCCESS);
    clReleaseEvent(done);
}

/* Parts of 0 to all keys; where the second or the first result lies, too. */
static void two_parts_are_the_whole(void **state) {
    (void)state;
    clattn_plan forward = make_plan(problem_text), plan = make_plan("b2 h4 q9 d5 merge");
    const cl_mem places[] = {o_2, small.buffers[SMALL_O], NULL};
    for (cl_uint first = 0; first <= 20; first += 5) {
        for (int place = 0; place < 3; place++) {
            clattn_tensor o_a = small.tensors[SMALL_O], lse_a = small.tensors[SMALL_LSE];
            clattn_tensor o_b = o_a, lse_b = lse_a, o = o_a, lse = lse_a;
            cl_mem elsewhere[] = {make_buffer(small.bytes[SMALL_O], NULL),
                                  make_buffer(small.bytes[SMALL_LSE], NULL)};
            clattn_merge_args args = CLATTN_MERGE_ARGS_INIT;
            o_b.buffer = o_2, lse_b.buffer = lse_2;
            o.buffer = places[place] ? places[place] : elsewhere[0];
            lse.buffer = place == 0 ? lse_2 : place == 1 ? small.buffers[SMALL_LSE] : elsewhere[1];
            attend(forward, 0, first, &o_a, &lse_a);
            attend(forward, first, 20 - first, &o_b, &lse_b);
            args.o_1 = &o_a, args.lse_1 = &lse_a, args.o_2 = &o_b, args.lse_2 = &lse_b;
            args.o = &o, args.lse = &lse;
            merge(plan, &args);
            if (place != 1) {
                clEnqueueCopyBuffer(device.queue, o.buffer, small.buffers[SMALL_O], 0, 0,
                                    small.bytes[SMALL_O], 0, NULL, NULL);
                clEnqueueCopyBuffer(device.queue, lse.buffer, small.buffers[SMALL_LSE], 0, 0,
                                    small.bytes[SMALL_LSE], 0, NULL, NULL);
            }
            assert_true(small_right(&small, device.queue));
            clReleaseMemObject(elsewhere[0]);
            clReleaseMemObject(elsewhere[1]);
        }
    }
    clattn_plan_destroy(forward);
    clattn_plan_destroy(plan);
}

/* Rows of numbers beside the double-precision formula; with nothing in one part, the other to the
 * bit. */
static void it_joins_by_the_formula(void **state) {
    (void)state;
    enum { N = 8 };
    static const float logs[N][2] = {{0, 0},          {-INFINITY, 3},   {7, -INFINITY},
                                     {1e5f, 1e5f},    {-1e30f, -1e30f}, {-INFINITY, -INFINITY},
                                     {1000, 999.25f}, {-3, 60}};
    static const struct {
        const char *text;
        clattn_type type, type_o;
        double unit;
    } types[] = {{"f32 h8 q1 d3 merge", CLATTN_F32, CLATTN_F32, 0x1p-22},
                 {"f16 h8 q1 d3 merge", CLATTN_F16, CLATTN_F16, 0x1p-11},
                 {"bf16 of32 h8 q1 d3 merge", CLATTN_BF16, CLATTN_F32, 0x1p-22},
                 {"f32 obf16 h8 q1 d3 merge", CLATTN_F32, CLATTN_BF16, 0x1p-8}};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        clattn_plan plan = make_plan(types[t].text);
        const size_t size = reference_type_size(types[t].type);
        const size_t size_o = reference_type_size(types[t].type_o);
        unsigned char in[2][N * 3 * 4], out[N * 3 * 4];
        float lse_in[2][N], lse_out[N];
        double values[2][N * 3];
        for (int part = 0; part < 2; part++) {
            for (int row = 0; row < N; row++) {
                lse_in[part][row] = logs[row][part];
                for (int d = 0; d < 3; d++) {
                    const double x = logs[row][part] == -INFINITY ? 0 : (row + 1) * 0.25 - d - part;
                    values[part][row * 3 + d] = x;
                    reference_encode(types[t].type, x, in[part] + (size_t)(row * 3 + d) * size);
                }
            }
        }
        cl_mem buffers[] = {make_buffer(N * 3 * size, in[0]),  make_buffer(N * 4, lse_in[0]),
                            make_buffer(N * 3 * size, in[1]),  make_buffer(N * 4, lse_in[1]),
                            make_buffer(N * 3 * size_o, NULL), make_buffer(N * 4, NULL)};
        clattn_tensor tensors[6];
        for (int i = 0; i < 6; i++) {
            const clattn_tensor wide = CLATTN_TENSOR_BHSD(buffers[i], N, 1, 3);
            const clattn_tensor narrow = CLATTN_TENSOR_BHSD(buffers[i], N, 1, 1);
            tensors[i] = i % 2 ? narrow : wide;
        }
        clattn_merge_args args = {.size = sizeof args,
                                  .o_1 = &tensors[0],
                                  .lse_1 = &tensors[1],
                                  .o_2 = &tensors[2],
                                  .lse_2 = &tensors[3],
                                  .o = &tensors[4],
                                  .lse = &tensors[5],
                                  .batch = CLATTN_FROM_DESC,
                                  .seq_q = CLATTN_FROM_DESC};
        merge(plan, &args);
        clEnqueueReadBuffer(device.queue, buffers[4], CL_TRUE, 0, N * 3 * size_o, out, 0, NULL,
                            NULL);
        clEnqueueReadBuffer(device.queue, buffers[5], CL_TRUE, 0, N * 4, lse_out, 0, NULL, NULL);
        for (int row = 0; row < N; row++) {
            const double a = logs[row][0], b = logs[row][1], m = fmax(a, b);
            const double w_a = m == -INFINITY ? 0 : exp(a - m),
                         w_b = m == -INFINITY ? 0 : exp(b - m);
            const double lse = m == -INFINITY ? m : m + log(w_a + w_b);
            const bool alone = a == -INFINITY || b == -INFINITY;
            assert_true(alone ? (double)lse_out[row] == lse
                              : fabs((double)lse_out[row] - lse) <= fabs(lse) * 0x1p-22 + 0x1p-22);
            for (int d = 0; d < 3; d++) {
                const double x = values[0][row * 3 + d], y = values[1][row * 3 + d];
                const double o = w_a + w_b > 0 ? (w_a * x + w_b * y) / (w_a + w_b) : 0;
                const double found =
                    reference_decode(types[t].type_o, out + (size_t)(row * 3 + d) * size_o);
                assert_true(alone ? found == o
                                  : fabs(found - o) <= (fabs(x) + fabs(y)) * types[t].unit);
            }
        }
        for (int i = 0; i < 6; i++) {
            clReleaseMemObject(buffers[i]);
        }
        clattn_plan_destroy(plan);
    }
}

static void misuse_is_refused(void **state) {
    (void)state;
    clattn_plan forward = make_plan(problem_text), plan = make_plan("b2 h4 q9 d5 merge");
    clattn_tensor o_a = small.tensors[SMALL_O], lse_a = small.tensors[SMALL_LSE], o_b = o_a,
                  lse_b = lse_a, shifted = o_a, turned = o_a;
    cl_mem arena = make_buffer(2 * small.bytes[SMALL_O], NULL);
    o_b.buffer = o_2, lse_b.buffer = lse_2;
    clattn_merge_args good = CLATTN_MERGE_ARGS_INIT;
    good.o_1 = &o_a, good.lse_1 = &lse_a, good.o_2 = &o_b, good.lse_2 = &lse_b;
    good.o = &o_a, good.lse = &lse_a;
    merge(plan, &good);
    good.lse = NULL;
    merge(plan, &good);

    clattn_merge_args args = good;
    args.o_2 = NULL;
    heard = (struct heard){0};
    assert_int_equal(clattn_enqueue_merge(plan, device.queue, &args, 0, NULL, NULL),
                     CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "o_2", "no o_2"));
    args = good;
    o_a.buffer = arena, shifted.buffer = arena;
    shifted.offset = small.bytes[SMALL_O] / 2;
    args.o = &shifted;
    heard = (struct heard){0};
    assert_int_equal(clattn_enqueue_merge(plan, device.queue, &args, 0, NULL, NULL),
                     CLATTN_OVERLAP);
    assert_true(heard_failure(&heard, CLATTN_OVERLAP, "o o_1", "a part of o_1"));
    turned.buffer = arena; /* the same memory in another order */
    turned.stride_row = 4 * DIM;
    turned.stride_head = DIM;
    args.o = &turned;
    heard = (struct heard){0};
    assert_int_equal(clattn_enqueue_merge(plan, device.queue, &args, 0, NULL, NULL),
                     CLATTN_OVERLAP);
    args = good;
    heard = (struct heard){0};
    assert_int_equal(clattn_enqueue_merge(forward, device.queue, &args, 0, NULL, NULL),
                     CLATTN_INVALID_ARGS);
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL),
                     CLATTN_INVALID_ARGS);
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.head_dim = 4;
    desc.pass = CLATTN_MERGE;
    desc.features = CLATTN_FEATURE_ALIBI;
    clattn_plan none;
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(context, &desc, &none), CLATTN_INVALID_DESC);
    assert_true(heard_failure(&heard, CLATTN_INVALID_DESC, "features", "features"));
    clReleaseMemObject(arena);
    clattn_plan_destroy(forward);
    clattn_plan_destroy(plan);
}

static int open_all(void **state) {
    (void)state;
    if (!test_device_open(&device)) {
        return -1;
    }
    context = heard_context(device.context, device.id, &heard);
    small_open(&small, device.context, device.queue, problem_text, 3);
    o_2 = make_buffer(small.bytes[SMALL_O], NULL);
    lse_2 = make_buffer(small.bytes[SMALL_LSE], NULL);
    return context ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    clReleaseMemObject(o_2);
    clReleaseMemObject(lse_2);
    small_close(&small);
    clattn_context_destroy(context);
    test_device_close(&device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_parts_are_the_whole),
        cmocka_unit_test(it_joins_by_the_formula),
        cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
