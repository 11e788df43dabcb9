/*
 * K and V in ggml's blocks of 32 elements: how the tests' own blocks look, which problems and
 * tensors are refused, and that the last byte of a tensor is its last block's.
 */
#include "blocks.h"
#include "device.h"
#include "heard.h"
#include "problem.h"
#include "solvers.h"

#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct test_device device;
static clattn_context context;
static struct heard heard;

/* ---- The blocks of the reference ---- */

static void q4_0_has_two_halves_in_its_nibbles(void **state) {
    (void)state;
    double values[BLOCKS_ELEMENTS];
    unsigned char block[BLOCKS_MOST_BYTES];
    for (int i = 0; i < 16; i++) {
        values[i] = (i - 8) * 0.5;
        values[16 + i] = (7 - i) * 0.5;
    }
    blocks_encode_row(CLATTN_Q4_0, values, BLOCKS_ELEMENTS, block);
    assert_int_equal(block[0] | block[1] << 8, 0x3800); /* 0.5 */
    for (int j = 0; j < 16; j++) {
        assert_int_equal(block[2 + j], j | (15 - j) << 4);
    }
    for (size_t i = 0; i < BLOCKS_ELEMENTS; i++) {
        assert_true(blocks_decode(CLATTN_Q4_0, block, i) == values[i]);
    }
}

static void q8_0_rounds_to_the_nearest_of_127_steps(void **state) {
    (void)state;
    double values[2 * BLOCKS_ELEMENTS];
    unsigned char row[2 * BLOCKS_MOST_BYTES];
    for (int i = 0; i < 2 * BLOCKS_ELEMENTS; i++) {
        values[i] = i < BLOCKS_ELEMENTS ? 0.25 * (i - 16) + (i == 7 ? 0.1 : 0) : 0;
    }
    values[3] = -31.75; /* the scale is 1/4 */
    blocks_encode_row(CLATTN_Q8_0, values, 2 * BLOCKS_ELEMENTS, row);
    assert_int_equal(blocks_row_bytes(CLATTN_Q8_0, 2 * BLOCKS_ELEMENTS), 68);
    assert_int_equal(row[0] | row[1] << 8, 0x3400); /* 0.25 */
    for (int i = 0; i < BLOCKS_ELEMENTS; i++) {
        assert_int_equal((signed char)row[2 + i], i == 3 ? -127 : i - 16);
    }
    for (size_t i = BLOCKS_ELEMENTS; i < 2 * BLOCKS_ELEMENTS; i++) {
        assert_true(blocks_decode(CLATTN_Q8_0, row, i) == 0);
    }
}

/* ---- Problems ---- */

static void wrong_problems_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        clattn_type k, v, o;
        cl_int code;
        const char *sentence;
    } cases[] = {
        {"q7 d64", CLATTN_Q8_0, CLATTN_Q4_0, 0, CL_SUCCESS, ""},
        {"q7 d64:24", CLATTN_Q8_0, CLATTN_F16, 0, CL_SUCCESS, ""},
        {"q7 d48", CLATTN_Q8_0, CLATTN_F16, 0, CLATTN_UNSUPPORTED,
         "desc: head_dim is 48, but with type_k in q8_0 only multiples of 32 are offered"},
        {"q7 d64:24", CLATTN_Q4_0, 0, 0, CLATTN_UNSUPPORTED,
         "desc: head_dim_v is 24, but with type_v in q4_0 only multiples of 32 are offered"},
        {"q7 d64 bwd", 0, CLATTN_Q4_0, 0, CLATTN_UNSUPPORTED,
         "desc: type_v is q4_0, which the backward pass does not take"},
        {"q7 d64", 0, 0, CLATTN_Q8_0, CLATTN_INVALID_DESC,
         "desc: type_o is q8_0, which only k and v may have"},
        {"q7 d64", 6, 0, 0, CLATTN_INVALID_DESC,
         "desc: type_k 6 is none of CLATTN_F32, _F16, _BF16, _Q8_0, _Q4_0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clattn_desc desc = CLATTN_DESC_INIT;
        struct problem p;
        struct status status = {0};
        assert_int_equal(clattn_desc_parse(cases[i].text, &desc), CL_SUCCESS);
        desc.type_k = cases[i].k;
        desc.type_v = cases[i].v;
        desc.type_o = cases[i].o;
        assert_int_equal(problem_from_desc(&p, &desc, &status), cases[i].code);
        assert_string_equal(text_chars(&status.sentence), cases[i].sentence);
        status_destroy(&status);
    }
    clattn_desc desc = CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse("f32 kq8_0 vq4_0 q7 d64", &desc), CL_SUCCESS);
    assert_int_equal(desc.type_k, CLATTN_Q8_0);
    assert_int_equal(desc.type_v, CLATTN_Q4_0);
    assert_int_equal(clattn_desc_parse("q8_0 q7 d64", &desc), CLATTN_INVALID_TEXT);
    assert_int_equal(clattn_desc_parse("oq8_0 q7 d64", &desc), CLATTN_INVALID_TEXT);
}

static void solvers_without_blocks_say_so(void **state) {
    (void)state;
    static const char *const sentences[][2] = {
        {"standard", "standard takes no blocks of quantised elements, not f32 kq8_0"},
        {"fwd_mma", "fwd_mma takes q, k, v and o of one type, not f32 kq8_0"},
    };
    clattn_desc desc = CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse("f32 kq8_0 q7 d64", &desc), CL_SUCCESS);
    for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++) {
        char text[2048];
        desc.variant = sentences[i][0];
        assert_int_equal(clattn_supports(context, &desc, text, sizeof text, NULL),
                         CLATTN_UNSUPPORTED);
        if (!strstr(text, sentences[i][1])) {
            fail_msg("%s", text);
        }
    }
}

/* ---- Tensors ---- */

enum { KEYS = 4, DIM = 32, ROW = 34 };

static void tensors_are_counted_in_blocks(void **state) {
    (void)state;
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_plan plan;
    cl_int code;
    assert_int_equal(clattn_desc_parse("f32 kq8_0 q1 k4 d32", &desc), CL_SUCCESS);
    desc.variant = "fwd_rows WORK_GROUP=1";
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CL_SUCCESS);
    unsigned char zeros[KEYS * ROW + DIM * sizeof(float)] = {0};
    cl_mem k = clCreateBuffer(device.context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, KEYS * ROW,
                              zeros, &code);
    assert_int_equal(code, CL_SUCCESS);
    cl_mem q = clCreateBuffer(device.context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                              DIM * sizeof(float), zeros, &code);
    assert_int_equal(code, CL_SUCCESS);
    cl_mem o = clCreateBuffer(device.context, CL_MEM_READ_WRITE, sizeof zeros, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    static const struct {
        size_t offset;
        cl_long row, head;
        bool in_o;
        cl_int code;
        const char *word;
    } cases[] = {
        {0, 32, 0, false, CL_SUCCESS, ""},
        {0, 0, 32, false, CL_SUCCESS, ""},
        {34, 32, 0, false, CLATTN_OUT_OF_BOUNDS, "k: it ends at byte 170, but its buffer has 136"},
        {2, 32, 0, false, CLATTN_OUT_OF_BOUNDS, "k: it ends at byte 138"},
        {1, 0, 0, false, CLATTN_INVALID_TENSOR, "k: offset 1 is not a multiple of its scales' 2"},
        {0, 33, 0, false, CLATTN_INVALID_TENSOR, "k: stride_row 33 is not a multiple of the 32"},
        {0, 32, 16, false, CLATTN_INVALID_TENSOR, "k: stride_head 16 is not a multiple of the 32"},
        {0, 32, INT64_MAX - 31, false, CLATTN_OUT_OF_BOUNDS, "k: stride_head"},
        {0, 64, 0, false, CLATTN_OUT_OF_BOUNDS, "k: it ends at byte 238"},
        {128, 32, 0, true, CL_SUCCESS, ""},
        {126, 32, 0, true, CLATTN_OVERLAP, "o: it shares bytes with k"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clattn_tensor tensor_q = CLATTN_TENSOR_BHSD(q, 1, 1, DIM);
        clattn_tensor tensor_o = CLATTN_TENSOR_BHSD(o, 1, 1, DIM);
        clattn_tensor tensor_k = CLATTN_TENSOR_BHSD(cases[i].in_o ? o : k, 1, KEYS, DIM);
        clattn_tensor tensor_v = CLATTN_TENSOR_BHSD(k, 1, KEYS, DIM);
        tensor_k.offset = cases[i].offset;
        tensor_k.stride_row = cases[i].row;
        tensor_k.stride_head = cases[i].head;
        clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
        args.q = &tensor_q;
        args.k = &tensor_k;
        args.v = &tensor_v;
        args.o = &tensor_o;
        code = clattn_enqueue_forward(plan, device.queue, &args, 0, NULL, NULL);
        if (code != cases[i].code ||
            (code != CL_SUCCESS && !strstr(heard.message, cases[i].word))) {
            fail_msg("case %zu: %s: %s", i, clattn_status_name(code), heard.message);
        }
    }
    assert_int_equal(clFinish(device.queue), CL_SUCCESS);
    clReleaseMemObject(q);
    clReleaseMemObject(k);
    clReleaseMemObject(o);
    clattn_plan_destroy(plan);
}

static int open_all(void **state) {
    (void)state;
    if (!test_device_open(&device)) {
        return -1;
    }
    context = heard_context(device.context, device.id, &heard);
    return context ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    clattn_context_destroy(context);
    test_device_close(&device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(q4_0_has_two_halves_in_its_nibbles),
        cmocka_unit_test(q8_0_rounds_to_the_nearest_of_127_steps),
        cmocka_unit_test(wrong_problems_are_refused),
        cmocka_unit_test(solvers_without_blocks_say_so),
        cmocka_unit_test(tensors_are_counted_in_blocks),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
