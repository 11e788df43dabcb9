/*
 * Programs that were compiled with another header.
 *
 * The structs of release 0.1 are written down here once more, as they were: a program with them
 * has to run with today's library.  Do not change them when clattn.h grows.
 */
#include "device.h"
#include "heard.h"
#include "sized.h"
#include "small.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- Release 0.1 ---- */

struct context_desc_0_1 {
    size_t size;
    cl_context context;
    cl_device_id device;
    clattn_notify notify;
    void *user_data;
    const char *tuning_path;
};

struct desc_0_1 {
    size_t size;
    cl_uint type;
    cl_uint batch;
    cl_uint heads_q;
    cl_uint heads_kv;
    cl_uint seq_q;
    cl_uint seq_kv;
    cl_uint head_dim;
    cl_uint head_dim_v;
    cl_int band_left;
    cl_int band_right;
    cl_uint align;
    float softcap;
    const char *variant;
};

struct tensor_0_1 {
    size_t size;
    cl_mem buffer;
    void *svm;
    size_t offset;
    cl_long stride_batch;
    cl_long stride_head;
    cl_long stride_row;
};

struct forward_args_0_1 {
    size_t size;
    const struct tensor_0_1 *q, *k, *v, *o, *lse;
    cl_mem workspace;
    size_t workspace_offset;
    cl_uint batch;
    cl_uint seq_q;
    cl_uint seq_kv;
    float scale;
};

/* A struct does not end in padding.  The INIT macros do not set padding, and in the next header a
 * member could lie there: what an older program left in it would be taken for the member's value.
 */
#define ENDS_WITH(type, last) \
    _Static_assert(sizeof(type) == offsetof(type, last) + sizeof((type *)0)->last, #type)
ENDS_WITH(clattn_context_desc, tuning_path);
ENDS_WITH(clattn_desc, unused);
ENDS_WITH(clattn_tensor, stride_row);
ENDS_WITH(clattn_forward_args, workspace_svm);
ENDS_WITH(clattn_backward_args, extras);
ENDS_WITH(clattn_merge_args, seq_q);
ENDS_WITH(clattn_extras, d_sink);

static void the_least_sizes_are_those_of_0_1(void **state) {
    (void)state;
    assert_int_equal(sized_context_desc.least, sizeof(struct context_desc_0_1));
    assert_int_equal(sized_desc.least, sizeof(struct desc_0_1));
    assert_int_equal(sized_tensor.least, sizeof(struct tensor_0_1));
    assert_int_equal(sized_forward_args.least, sizeof(struct forward_args_0_1));
    assert_int_equal(sized_extras.least, sizeof(size_t));
}

/* A copy with bytes behind it that are no defaults: to read them would show. */
static void *place(const void *from, size_t size) {
    enum { BEHIND = 256 };
    unsigned char *made = malloc(size + BEHIND);
    assert_non_null(made);
    memcpy(made, from, size);
    memset(made + size, 0xA5, BEHIND);
    return made;
}

static void a_program_of_0_1_runs(void **state) {
    (void)state;
    struct test_device device;
    struct heard heard = {0};
    struct small small;
    assert_true(test_device_open(&device));
    small_open(&small, device.context, device.queue, "b2 h4:2 q8 k16 d8:4 causal", 1);

    const struct context_desc_0_1 of_context = {sizeof of_context, device.context, device.id,
                                                heard_notify,      &heard,         NULL};
    struct context_desc_0_1 *const context_desc = place(&of_context, sizeof of_context);
    clattn_context context = NULL;
    assert_int_equal(clattn_context_create((const void *)context_desc, &context), CL_SUCCESS);

    struct desc_0_1 of_plan = {.size = sizeof of_plan, .band_left = -1, .band_right = -1};
    struct desc_0_1 *const desc = place(&of_plan, sizeof of_plan);
    assert_int_equal(clattn_desc_parse("b2 h4:2 q8 k16 d8:4 causal", (void *)desc), CL_SUCCESS);
    assert_int_equal(desc->size, sizeof of_plan);
    assert_int_equal(((unsigned char *)desc)[sizeof of_plan], 0xA5);
    char text[64];
    assert_int_equal(clattn_desc_format((const void *)desc, text, sizeof text, NULL), CL_SUCCESS);
    assert_string_equal(text, "f32 b2 h4:2 q8 k16 d8:4 causal");
    assert_int_equal(clattn_desc_parse("q8 d8 aligned", (void *)desc), CLATTN_INVALID_DESC);
    desc->variant = "fwd_rows WORK_GROUP=1";
    clattn_plan plan = NULL;
    assert_int_equal(clattn_plan_create(context, (const void *)desc, &plan), CL_SUCCESS);
    assert_string_equal(clattn_plan_variant(plan), "fwd_rows WORK_GROUP=1");

    struct tensor_0_1 *tensors[SMALL_TENSORS];
    for (int i = 0; i < SMALL_TENSORS; i++) {
        const clattn_tensor *t = &small.tensors[i];
        const struct tensor_0_1 of_tensor = {sizeof of_tensor, t->buffer,      NULL,         0,
                                             t->stride_batch,  t->stride_head, t->stride_row};
        tensors[i] = place(&of_tensor, sizeof of_tensor);
    }
    const struct forward_args_0_1 of_args = {sizeof of_args,
                                             tensors[SMALL_Q],
                                             tensors[SMALL_K],
                                             tensors[SMALL_V],
                                             tensors[SMALL_O],
                                             tensors[SMALL_LSE],
                                             NULL,
                                             0,
                                             CLATTN_FROM_DESC,
                                             CLATTN_FROM_DESC,
                                             CLATTN_FROM_DESC,
                                             CLATTN_SCALE_DEFAULT};
    struct forward_args_0_1 *const args = place(&of_args, sizeof of_args);
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, (const void *)args, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_true(small_right(&small, device.queue));
    clattn_plan_destroy(plan);

    /* Where a workspace is needed, there is none but that of 0.1. */
    const cl_mem workspace = clCreateBuffer(device.context, 0, 4096, NULL, NULL);
    assert_non_null(workspace);
    args->workspace = workspace;
    desc->variant = "memory_efficient";
    assert_int_equal(clattn_plan_create(context, (const void *)desc, &plan), CL_SUCCESS);
    small_poison(&small, device.queue);
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, (const void *)args, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_true(small_right(&small, device.queue));
    clReleaseMemObject(workspace);
    assert_int_equal(heard.failures, 0);

    for (int i = 0; i < SMALL_TENSORS; i++) {
        free(tensors[i]);
    }
    free(args);
    free(desc);
    free(context_desc);
    clattn_plan_destroy(plan);
    clattn_context_destroy(context);
    small_close(&small);
    test_device_close(&device);
}

/* ---- Growth ---- */

/* Three headers of one struct. */
struct first {
    size_t size;
    cl_uint a, b;
};
struct second {
    size_t size;
    cl_uint a, b, c, d;
};
struct third {
    size_t size;
    cl_uint a, b, c, d, e, f;
};

static const struct sized today = {"THE_INIT", CLATTN_INVALID_ARGS, sizeof(struct first),
                                   sizeof(struct second)};
static const struct second defaults = {sizeof defaults, 1, 2, 3, 4};

static void what_an_older_struct_lacks_has_its_default(void **state) {
    (void)state;
    struct status status = {0};
    struct second ours = defaults;
    const struct first theirs = {sizeof theirs, 10, 20};
    struct first *const placed = place(&theirs, sizeof theirs);
    assert_int_equal(sized_copy(&today, "it", &ours, placed, &status), CL_SUCCESS);
    assert_int_equal(ours.a, 10);
    assert_int_equal(ours.b, 20);
    assert_int_equal(ours.c, 3);
    assert_int_equal(ours.d, 4);
    free(placed);
}

static void what_a_newer_struct_has_more_must_be_0(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct status status = {0};
        struct second ours = defaults;
        const struct third theirs = {sizeof theirs,          10, 20, 30, 40, i == 1,
                                     (cl_uint)(i == 2) << 31};
        const cl_int code = sized_copy(&today, "it", &ours, &theirs, &status);
        if (i == 0) {
            assert_int_equal(code, CL_SUCCESS);
            assert_int_equal(ours.d, 40);
        } else {
            assert_int_equal(code, CLATTN_INVALID_ARGS);
            assert_memory_equal(&ours, &defaults, sizeof ours);
            assert_non_null(strstr(text_chars(&status.sentence), "it: size is "));
            assert_non_null(strstr(text_chars(&status.sentence), "is not 0"));
        }
        status_destroy(&status);
    }
}

static void other_sizes_are_refused(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, sizeof(struct first) - 1, SIZED_MOST + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct status status = {0};
        struct second ours = defaults;
        const struct second theirs = {sizes[i], 10, 20, 30, 40};
        struct second out = theirs;
        assert_int_equal(sized_copy(&today, "it", &ours, &theirs, &status), CLATTN_INVALID_ARGS);
        assert_memory_equal(&ours, &defaults, sizeof ours);
        assert_non_null(strstr(text_chars(&status.sentence), "set the struct by THE_INIT"));
        assert_int_equal(sized_copy_out(&today, &out, &ours, &defaults), CLATTN_INVALID_ARGS);
        assert_memory_equal(&out, &theirs, sizeof out);
        status_destroy(&status);
    }
}

static void a_struct_is_filled_up_to_its_size(void **state) {
    (void)state;
    struct second ours = {0, 10, 20, 3, 4};
    const struct first first = {sizeof first, 0, 0};
    struct first *const older = place(&first, sizeof first);
    struct third newer = {sizeof newer, 0, 0, 0, 0, 5, 6};

    assert_int_equal(sized_copy_out(&today, older, &ours, &defaults), CL_SUCCESS);
    assert_int_equal(older->size, sizeof first);
    assert_int_equal(older->a, 10);
    assert_int_equal(older->b, 20);
    assert_int_equal(((unsigned char *)older)[sizeof first], 0xA5);

    ours.d = 40; /* which an older struct cannot say */
    assert_int_equal(sized_copy_out(&today, older, &ours, &defaults), CLATTN_INVALID_ARGS);
    assert_int_equal(sized_copy_out(&today, &newer, &ours, &defaults), CL_SUCCESS);
    assert_int_equal(newer.size, sizeof newer);
    assert_int_equal(newer.d, 40);
    assert_int_equal(newer.e, 0);
    assert_int_equal(newer.f, 0);
    free(older);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_sizes_are_those_of_0_1),
        cmocka_unit_test(a_program_of_0_1_runs),
        cmocka_unit_test(what_an_older_struct_lacks_has_its_default),
        cmocka_unit_test(what_a_newer_struct_has_more_must_be_0),
        cmocka_unit_test(other_sizes_are_refused),
        cmocka_unit_test(a_struct_is_filled_up_to_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
