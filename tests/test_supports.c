/*
 * clattn_supports: the answer of clattn_plan_create without its compiling.
 */
#include "context.h"
#include "heard.h"

#include "device.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct test_device tested;
static struct heard heard;
static clattn_context context;

static const struct {
    const char *problem, *variant;
} asked[] = {
    {"q100 d64", NULL},
    {"f16 b2 h8:2 q100 k300 d64 causal", NULL},
    {"bf16 q17 d512 window3,3 softcap20", NULL},
    {"q0 k7 d3", NULL},
    {"q100 d64", "fwd_rows"},
    {"q100 d64", "memory_efficient"},
    /* refused */
    {"q100 d513", NULL},
    {"q100 d64", "fwd_rows WORK_GROUP=1000000"},
    {"q100 d64", "fwd_rows WORK_GROUP"},
    {"q100 d64", "fwd_new"},
    {"q100 d64", "fwd_mma ENGINE=plain"},
    {"h7:2 q100 d64", NULL},
};
enum { ASKED = sizeof asked / sizeof *asked, REFUSED = 6, SIZE = 1 << 14 };

static clattn_desc desc_of(size_t i) {
    clattn_desc desc = CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse(asked[i].problem, &desc), CL_SUCCESS);
    desc.variant = asked[i].variant;
    return desc;
}

static void it_answers_as_a_plan_would(void **state) {
    (void)state;
    for (size_t i = 0; i < ASKED; i++) {
        const clattn_desc desc = desc_of(i);
        char text[SIZE], described[SIZE];
        clattn_plan plan;
        heard = (struct heard){0};
        const cl_int answer = clattn_supports(context, &desc, text, sizeof text, NULL);
        assert_int_equal(heard.failures + heard.remarks, 0);
        const cl_int code = clattn_plan_create(context, &desc, &plan);
        assert_int_equal(answer, code);
        assert_int_equal(code == CL_SUCCESS, i < REFUSED);
        if (code == CL_SUCCESS) {
            assert_int_equal(clattn_plan_describe(plan, described, sizeof described, NULL), code);
            assert_string_equal(text, described);
        } else {
            assert_int_equal(strncmp(text, heard.message, sizeof heard.message - 1), 0);
        }
        clattn_plan_destroy(plan);
    }
}

static void it_compiles_nothing(void **state) {
    (void)state;
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    clattn_context fresh;
    desc.context = tested.context;
    desc.device = tested.id;
    assert_int_equal(clattn_context_create(&desc, &fresh), CL_SUCCESS);
    for (size_t i = 0; i < REFUSED; i++) {
        const clattn_desc problem = desc_of(i);
        assert_int_equal(clattn_supports(fresh, &problem, NULL, 0, NULL), CL_SUCCESS);
        assert_null(fresh->programs.first);
    }
    clattn_context_destroy(fresh);
}

static void the_text_fits_any_capacity(void **state) {
    (void)state;
    for (size_t i = 0; i < ASKED; i++) {
        const clattn_desc desc = desc_of(i);
        char whole[SIZE], cut[SIZE];
        size_t needed = 0, again = 0;
        const cl_int code = clattn_supports(context, &desc, NULL, 0, &needed);
        assert_int_equal(clattn_supports(context, &desc, whole, sizeof whole, NULL), code);
        assert_int_equal(needed, strlen(whole) + 1);
        memset(cut, '#', sizeof cut);
        assert_int_equal(clattn_supports(context, &desc, cut, needed / 2, &again), code);
        assert_int_equal(again, needed);
        assert_memory_equal(cut, whole, needed / 2 - 1);
        assert_int_equal(cut[needed / 2 - 1], '\0');
        assert_int_equal(cut[needed / 2], '#');
    }
}

static void misuse_is_refused(void **state) {
    (void)state;
    const clattn_desc desc = desc_of(0);
    char text[SIZE] = "untouched";
    assert_int_equal(clattn_supports(NULL, &desc, text, sizeof text, NULL), CL_INVALID_VALUE);
    heard = (struct heard){0};
    assert_int_equal(clattn_supports(context, NULL, text, sizeof text, NULL), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "supports desc NULL", "no desc"));
    heard = (struct heard){0};
    assert_int_equal(clattn_supports(context, &desc, NULL, 5, NULL), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "supports text NULL", "no text"));
    assert_string_equal(text, "untouched");
    const clattn_desc garbage = {.size = 0};
    assert_int_equal(clattn_supports(context, &garbage, text, sizeof text, NULL),
                     CLATTN_INVALID_DESC);
    assert_non_null(strstr(text, "CLATTN_DESC_INIT"));
}

static int open_all(void **state) {
    (void)state;
    if (!test_device_open(&tested)) {
        return -1;
    }
    context = heard_context(tested.context, tested.id, &heard);
    return context ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    clattn_context_destroy(context);
    test_device_close(&tested);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_answers_as_a_plan_would),
        cmocka_unit_test(it_compiles_nothing),
        cmocka_unit_test(the_text_fits_any_capacity),
        cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
