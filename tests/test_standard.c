/*
 * The baseline named standard: its variants and its workspace, and CLBlast's products
 * in blocks and segments.  What it computes is test_attention's business.
 *
 * In a build without CLBlast: that it says so.
 */
#include "clblast_product.h"
#include "device.h"
#include "heard.h"
#include "small.h"
#include "solvers.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct test_device device;
static struct heard heard;
static clattn_context context;

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

static cl_int make_plan(const char *problem, const char *variant, clattn_plan *plan) {
    clattn_desc desc = CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse(problem, &desc), CL_SUCCESS);
    desc.variant = variant;
    return clattn_plan_create(context, &desc, plan);
}

static void skip_without_clblast(void) {
    if (clblast_missing()) {
        print_message("skipped: %s\n", clblast_missing());
        skip();
    }
}

/* ---- Variants ---- */

static void a_build_without_clblast_says_so(void **state) {
    (void)state;
    if (!clblast_missing()) {
        print_message("skipped: this build has CLBlast\n");
        skip();
    }
    clattn_plan plan = NULL;
    heard = (struct heard){0};
    const cl_int code = make_plan("f32 q8 d8", "standard", &plan);
    assert_int_equal(code, CLATTN_UNSUPPORTED);
    assert_null(plan);
    assert_true(heard_failure(&heard, code, "standard CLBlast", "no CLBlast"));
}

static void a_variant_is_completed(void **state) {
    (void)state;
    static const struct {
        const char *variant, *begin;
    } variants[] = {
        {"standard", "standard SOFTMAX=online WORK_GROUP="},
        {"standard SOFTMAX=online", "standard SOFTMAX=online WORK_GROUP="},
        {"standard SOFTMAX=three_pass", "standard SOFTMAX=three_pass WORK_GROUP="},
        {"standard LANES=4 SOFTMAX=three_pass WORK_GROUP=1",
         "standard SOFTMAX=three_pass WORK_GROUP=1 LANES=4"},
    };
    skip_without_clblast();
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        clattn_plan plan = NULL;
        assert_int_equal(make_plan("f32 q8 d8", variants[i].variant, &plan), CL_SUCCESS);
        assert_int_equal(
            strncmp(clattn_plan_variant(plan), variants[i].begin, strlen(variants[i].begin)), 0);
        clattn_plan_destroy(plan);
    }
}

static void wrong_rows_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *variant, *words;
    } variants[] = {
        {"standard SOFTMAX=two_pass", "SOFTMAX two_pass"},
        {"standard SOFTMAX=2", "SOFTMAX 2"},
        {"standard BLOCK_M=8", "BLOCK_M"},
        {"standard WORK_GROUP=3", "WORK_GROUP 3"},
        {"standard WORK_GROUP=0", "WORK_GROUP 0"},
        {"standard LANES=2", "LANES 2"},
    };
    skip_without_clblast();
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        clattn_plan plan = NULL;
        heard = (struct heard){0};
        const cl_int code = make_plan("f32 q8 d8", variants[i].variant, &plan);
        assert_int_equal(code, CLATTN_INVALID_VARIANT);
        assert_true(heard_failure(&heard, code, variants[i].words, variants[i].variant));
    }
}

static void it_is_never_chosen(void **state) {
    (void)state;
    clattn_plan plan = NULL;
    assert_int_equal(make_plan("f32 q8 d8", NULL, &plan), CL_SUCCESS);
    assert_int_not_equal(strncmp(clattn_plan_variant(plan), "standard", strlen("standard")), 0);
    clattn_plan_destroy(plan);
}

/* Four times as much for twice the sequence, and at least the scores. */
static void the_workspace_grows_as_the_square(void **state) {
    (void)state;
    const char *const problems[] = {"b2 h4:2 q2048 d64", "b2 h4:2 q4096 d64"};
    const double scores[] = {4.0 * 2 * 4 * 2048 * 2048, 4.0 * 2 * 4 * 4096 * 4096};
    size_t bytes[2] = {0};
    skip_without_clblast();
    for (size_t i = 0; i < 2; i++) {
        clattn_plan plan = NULL;
        assert_int_equal(make_plan(problems[i], "standard", &plan), CL_SUCCESS);
        assert_int_equal(clattn_plan_workspace_size(plan, &bytes[i]), CL_SUCCESS);
        clattn_plan_destroy(plan);
        assert_true((double)bytes[i] >= scores[i] && (double)bytes[i] < 1.2 * scores[i]);
    }
    assert_true((double)bytes[1] > 3.7 * (double)bytes[0]);
}

static void what_clblast_cannot_count_is_refused(void **state) {
    (void)state;
    static const char *const refused[] = {
        "b1000000 h1000 q1000000000 k1000000 d1", /* 2^64 bytes of scores, and more */
        "q32768 k32769 d8",                       /* scores */
        "q1 k2097153 d512",                       /* elements of k */
        "b32769 q1 k1 d1",                        /* heads */
    };
    skip_without_clblast();
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        clattn_plan plan = NULL;
        heard = (struct heard){0};
        const cl_int code = make_plan(refused[i], "standard", &plan);
        assert_int_equal(code, CLATTN_UNSUPPORTED);
        assert_true(heard_failure(&heard, code, "standard CLBlast 2^30 scores", refused[i]));
    }
    clattn_plan plan = NULL;
    assert_int_equal(make_plan("q32768 k32768 d8", "standard", &plan), CL_SUCCESS);
    clattn_plan_destroy(plan);
}

/* A part of no buffer can be cut out of another part: the parent's is. */
static void parts_of_buffers_will_do(void **state) {
    (void)state;
    enum { ORIGIN = 8192, OFFSET = 256, ALL = 1 << 19 };
    skip_without_clblast();
    struct small small = {0};
    small_open(&small, device.context, device.queue, "b2 h4:2 q32 k32 d32", 1);
    cl_int status;
    const cl_mem all = clCreateBuffer(device.context, 0, ALL, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    cl_mem parts[2];
    const cl_buffer_region regions[2] = {{ORIGIN, small.bytes[SMALL_Q]},
                                         {ALL / 2 + ORIGIN, ALL / 2 - ORIGIN}};
    for (size_t i = 0; i < 2; i++) {
        parts[i] = clCreateSubBuffer(all, 0, CL_BUFFER_CREATE_TYPE_REGION, &regions[i], &status);
        assert_int_equal(status, CL_SUCCESS);
    }
    assert_int_equal(clEnqueueCopyBuffer(device.queue, small.buffers[SMALL_Q], parts[0], 0, 0,
                                         small.bytes[SMALL_Q], 0, NULL, NULL),
                     CL_SUCCESS);
    small.tensors[SMALL_Q].buffer = parts[0];
    small.args.workspace = parts[1];
    small.args.workspace_offset = OFFSET;

    clattn_plan plan = NULL;
    size_t bytes = 0;
    small.desc.variant = "standard";
    assert_int_equal(clattn_plan_create(context, &small.desc, &plan), CL_SUCCESS);
    assert_int_equal(clattn_plan_workspace_size(plan, &bytes), CL_SUCCESS);
    assert_true(bytes <= ALL / 2 - ORIGIN - OFFSET);
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_true(small_right(&small, device.queue));
    clattn_plan_destroy(plan);
    clReleaseMemObject(parts[0]);
    clReleaseMemObject(parts[1]);
    clReleaseMemObject(all);
    small_close(&small);
}

static void an_svm_workspace_is_refused(void **state) {
    (void)state;
    enum { BYTES = 1 << 19, ALIGNMENT = 256 };
    skip_without_clblast();
    if (!device.svm) {
        print_message("skipped: the device has no shared virtual memory\n");
        skip();
    }
    struct small small = {0};
    small_open(&small, device.context, device.queue, "b2 h4:2 q32 k32 d32", 1);
    char *const memory = clSVMAlloc(device.context, CL_MEM_READ_WRITE, BYTES, 0);
    assert_non_null(memory);
    small.args.workspace_svm = memory;
    small.args.workspace_offset = ALIGNMENT - (uintptr_t)memory % ALIGNMENT;
    clattn_plan plan = NULL;
    small.desc.variant = "standard";
    assert_int_equal(clattn_plan_create(context, &small.desc, &plan), CL_SUCCESS);
    heard = (struct heard){0};
    const cl_int code = clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL);
    assert_int_equal(code, CLATTN_UNSUPPORTED);
    assert_true(heard_failure(&heard, code, "standard workspace SVM CLBlast", "SVM workspace"));
    assert_true(small_untouched(&small, device.queue));
    clattn_plan_destroy(plan);
    clSVMFree(device.context, memory);
    small_close(&small);
}

/* ---- Products ---- */

/* Exact in floats: small whole numbers. */
static float element(size_t i, unsigned seed) {
    return (float)((i * 7 + i / 13 * seed + seed) % 17) - 8.0f;
}

static cl_mem make_matrices(size_t count, unsigned seed) {
    float *floats = malloc(count * sizeof *floats);
    assert_non_null(floats);
    for (size_t i = 0; i < count; i++) {
        floats[i] = element(i, seed);
    }
    cl_int status;
    const cl_mem buffer = clCreateBuffer(device.context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                         count * sizeof *floats, floats, &status);
    assert_int_equal(status, CL_SUCCESS);
    free(floats);
    return buffer;
}

struct sizes {
    size_t count, rows_a, width_a, rows, width_b, width_c;
    bool transpose;
    size_t block, segment; /* at least all of them: one */
    /* Not 0: a lies matrix by matrix, its rows are longer than these columns. */
    size_t columns;
    bool transpose_b; /* b has as many rows as a */
};

enum { STEP = 1024 }; /* floats, to a multiple of which each block of a begins */

static size_t block_step(const struct sizes *s) {
    return (s->count * s->block * s->width_a + STEP - 1) / STEP * STEP;
}

/* Where the term i of a column has its element of a. */
static size_t place_in_a(const struct sizes *s, size_t matrix, size_t i, size_t column) {
    if (s->transpose) {
        return (matrix * s->rows_a + column) * s->width_a + i;
    }
    if (s->columns) {
        return (matrix * s->rows_a + i) * s->width_a + column;
    }
    const size_t from = i / s->block * s->block;
    const size_t rows = s->rows_a - from < s->block ? s->rows_a - from : s->block;
    return from / s->block * block_step(s) + (matrix * rows + i - from) * s->width_a + column;
}

static void check_product(const struct sizes *s) {
    const size_t blocks = (s->rows_a + s->block - 1) / s->block;
    const size_t all_a = s->count * s->rows_a * s->width_a + blocks * block_step(s);
    const size_t rows_b = s->transpose_b ? s->rows_a : s->rows;
    const size_t size_b = rows_b * s->width_b, size_c = s->rows * s->width_c;
    const size_t columns = s->columns ? s->columns : s->transpose ? s->rows_a : s->width_a;
    const size_t inner = s->transpose ? s->width_a : s->rows_a;
    const struct product product = {
        .a = {make_matrices(all_a, 1), 0, s->rows_a, s->width_a},
        .b = {make_matrices(s->count * size_b, 2), 0, rows_b, s->width_b},
        .c = {make_matrices(s->count * size_c, 3), 0, s->rows, s->width_c},
        .transpose_a = s->transpose,
        .transpose_b = s->transpose_b,
        .columns = columns,
        .inner = inner,
        .block = s->block,
        .a_step = s->columns ? 0 : 4 * block_step(s),
        .segment = s->segment,
        .count = s->count,
    };
    struct status status = {0};
    assert_int_equal(clblast_product(&product, device.queue, &status), CL_SUCCESS);

    float *c = malloc(s->count * size_c * sizeof *c);
    assert_non_null(c);
    assert_int_equal(clEnqueueReadBuffer(device.queue, product.c.buffer, CL_TRUE, 0,
                                         s->count * size_c * sizeof *c, c, 0, NULL, NULL),
                     CL_SUCCESS);
    size_t wrong = 0;
    for (size_t at = 0; at < s->count * size_c; at++) {
        const size_t matrix = at / size_c, row = at % size_c / s->width_c, column = at % s->width_c;
        const size_t from = column / columns * s->segment, end = from + s->segment;
        float expected = from < inner ? 0.0f : element(at, 3); /* beyond the columns: as before */
        for (size_t i = from; i < end && i < inner; i++) {
            const size_t in_b = s->transpose_b ? i * s->width_b + row : row * s->width_b + i;
            expected += element(matrix * size_b + in_b, 2) *
                        element(place_in_a(s, matrix, i, column % columns), 1);
        }
        if (c[at] != expected && wrong++ == 0) {
            print_error("matrix %zu, row %zu, column %zu: %g, not %g\n", matrix, row, column,
                        (double)c[at], (double)expected);
        }
    }
    if (wrong) {
        fail_msg(
            "%zu matrices of %zu x %zu (stride %zu)%s%s, blocks of %zu: %zu elements are wrong",
            s->count, s->rows, columns, s->width_c, s->transpose ? ", transposed" : "",
            s->transpose_b ? ", b transposed" : "", s->block, wrong);
    }
    free(c);
    clReleaseMemObject(product.a.buffer);
    clReleaseMemObject(product.b.buffer);
    clReleaseMemObject(product.c.buffer);
}

static void products_are_right(void **state) {
    (void)state;
    static const struct sizes cases[] = {
        {1, 1, 1, 1, 1, 1, false, 1, 1, 0, false},
        {7, 33, 21, 45, 21, 48, true, 21, 21, 0, false},
        {8, 32, 32, 64, 32, 32, true, 32, 32, 0, false},
        {7, 33, 21, 45, 48, 21, false, 64, 64, 0, false},
        {7, 33, 21, 45, 48, 21, false, 16, 64, 0, false},
        {7, 33, 21, 45, 48, 42, false, 8, 24, 0, false},
        {7, 130, 21, 45, 144, 63, false, 8, 48, 0, false},
        {4, 512, 64, 512, 512, 128, false, 128, 256, 0, false},
        {3, 17, 5, 2049, 32, 10, false, 4, 12, 0, false},
        /* as bwd_standard has them: sizes that CLBlast rounds up, and those that it would not */
        {7, 33, 32, 45, 48, 42, false, 8, 24, 21, false},
        {7, 130, 32, 45, 48, 63, false, 8, 48, 21, true},
        {4, 512, 80, 512, 528, 128, false, 128, 256, 64, false},
        {4, 512, 80, 512, 528, 128, false, 128, 256, 64, true},
        {2, 2049, 144, 128, 144, 1152, false, 128, 256, 128, true},
    };
    skip_without_clblast();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_product(&cases[i]);
    }
}

static void a_failure_of_clblast_is_reported(void **state) {
    (void)state;
    skip_without_clblast();
    struct status status = {0};
    const cl_mem buffer = make_matrices(64, 1);
    const struct matrices all = {buffer, 0, 8, 8};
    const struct product product = {
        .a = all, .b = all, .c = all, .transpose_a = true, .block = 8, .segment = 8, .count = 1};
    assert_int_equal(clblast_product(&product, device.queue, &status), CLATTN_INTERNAL);
    assert_non_null(strstr(text_chars(&status.sentence), "CLBlast"));
    assert_non_null(strstr(text_chars(&status.sentence), "-1017")); /* a size of 0 */
    status_destroy(&status);
    clReleaseMemObject(buffer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_build_without_clblast_says_so),
        cmocka_unit_test(a_variant_is_completed),
        cmocka_unit_test(wrong_rows_are_refused),
        cmocka_unit_test(it_is_never_chosen),
        cmocka_unit_test(the_workspace_grows_as_the_square),
        cmocka_unit_test(what_clblast_cannot_count_is_refused),
        cmocka_unit_test(parts_of_buffers_will_do),
        cmocka_unit_test(an_svm_workspace_is_refused),
        cmocka_unit_test(products_are_right),
        cmocka_unit_test(a_failure_of_clblast_is_reported),
    };
    return cmocka_run_group_tests_name("standard", tests, open_all, close_all);
}
