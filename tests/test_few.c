/*
 * A plan for many queries and for few (desc.seq_q_least): each call gets the variant that its
 * number of queries asks for, and the right answer.
 */
#include "device.h"
#include "heard.h"
#include "plan.h"
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct test_device device;
static clattn_context context;
static struct heard heard;

static clattn_plan make_plan(const char *text, const char *variant) {
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_plan plan;
    assert_int_equal(clattn_desc_parse(text, &desc), CL_SUCCESS);
    desc.variant = variant;
    if (clattn_plan_create(context, &desc, &plan) != CL_SUCCESS) {
        fail_msg("%s: %s", text, heard.message);
    }
    return plan;
}

/* The bytes of o and lse, after a call of the plan for all of small's queries. */
static unsigned char *run(clattn_plan plan, struct small *small, size_t *size) {
    clattn_forward_args args = small->args;
    size_t bytes = 0;
    cl_int code;
    assert_int_equal(clattn_plan_workspace_size(plan, &bytes), CL_SUCCESS);
    cl_mem workspace =
        clCreateBuffer(device.context, CL_MEM_READ_WRITE, bytes ? bytes : 1, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    args.workspace = workspace;
    args.seq_q = small->desc.seq_q;
    small_poison(small, device.queue);
    if (clattn_enqueue_forward(plan, device.queue, &args, 0, NULL, NULL) != CL_SUCCESS) {
        fail_msg("%s", heard.message);
    }
    assert_true(small_right(small, device.queue));
    *size = small->bytes[SMALL_O] + small->bytes[SMALL_LSE];
    unsigned char *result = malloc(*size + 1);
    assert_non_null(result);
    for (int i = SMALL_O; i <= SMALL_LSE; i++) {
        if (small->bytes[i]) {
            assert_int_equal(
                clEnqueueReadBuffer(device.queue, small->buffers[i], CL_TRUE, 0, small->bytes[i],
                                    result + (i == SMALL_O ? 0 : small->bytes[SMALL_O]), 0, NULL,
                                    NULL),
                CL_SUCCESS);
        }
    }
    clReleaseMemObject(workspace);
    return result;
}

/* Which answer is to run a call of so many queries. */
static size_t answer_of(clattn_plan plan, cl_uint queries) {
    size_t best = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_answer *a = &plan->answers[i];
        if (a->few && queries <= a->problem.seq_q &&
            (!plan->answers[best].few || a->problem.seq_q < plan->answers[best].problem.seq_q)) {
            best = i;
        }
    }
    return best;
}

static void each_call_has_the_variant_for_its_queries(void **state) {
    (void)state;
    static const cl_uint queries[] = {1, 2, 7, 8, 9, 40};
    clattn_plan plan = make_plan("h4:2 q1-40 k300 d16 causal", NULL);
    bool seen[PLAN_ANSWERS] = {false};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        char text[64];
        size_t size, again;
        struct small small = {.desc = {.size = 0}};
        struct text variant = {0};
        const size_t answer = answer_of(plan, queries[i]);
        seen[answer] = true;
        variant_format(&plan->answers[answer].variant, &variant);
        snprintf(text, sizeof text, "h4:2 q%u k300 d16 causal", queries[i]);
        small_open(&small, device.context, device.queue, text, 7);
        clattn_plan same = make_plan(text, text_chars(&variant));
        unsigned char *given = run(plan, &small, &size), *wanted = run(same, &small, &again);
        assert_int_equal(size, again);
        assert_memory_equal(given, wanted, size);
        free(given);
        free(wanted);
        clattn_plan_destroy(same);
        small_close(&small);
        text_destroy(&variant);
    }
    for (size_t i = 0; i < plan->count; i++) {
        assert_true(seen[i]);
    }
    clattn_plan_destroy(plan);
}

/* The answers of a plan that compiles nothing, on the facts of CPUs. */
static void few_queries_have_answers_of_their_own(void **state) {
    (void)state;
    char text[1 << 14];
    clattn_desc desc = CLATTN_DESC_INIT;
    const bool cpu = context->device.type == DEVICE_CPU && context->device.float_width >= 16;
    const struct {
        const char *problem, *variant;
        bool one, eight;
    } cases[] = {
        {"q1-4096 d64", NULL, true, true},
        {"q3-4096 d64", NULL, false, false}, /* up to 3, and up to 6 */
        {"q1-5 d64", NULL, false, false},    /* the same solver for all */
        {"q1-4096 d64", "fwd_rows", false, false},
        {"q64-4096 d64", NULL, false, false},
        {"q1-4096 d64 bwd", NULL, false, false},
        {"q4096 d64", NULL, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(clattn_desc_parse(cases[i].problem, &desc), CL_SUCCESS);
        desc.variant = cases[i].variant;
        assert_int_equal(clattn_supports(context, &desc, text, sizeof text, NULL), CL_SUCCESS);
        assert_int_equal(strstr(text, "up to 1 query: dec_lanes") != NULL, cpu && cases[i].one);
        assert_int_equal(strstr(text, "up to 8 queries: dec_lanes") != NULL, cpu && cases[i].eight);
        assert_int_equal(strstr(text, "up to 6 queries: dec_lanes") != NULL, cpu && i == 1);
        assert_int_equal(strstr(text, "up to 3 queries: dec_lanes") != NULL, cpu && i == 1);
    }
}

static void misuse_is_refused(void **state) {
    (void)state;
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_plan plan;
    desc.head_dim = 16;
    desc.seq_q = 5;
    desc.seq_q_least = 6;
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CLATTN_INVALID_DESC);
    assert_true(
        heard_failure(&heard, CLATTN_INVALID_DESC, "seq_q_least 6 is over seq_q 5", "least"));
    static const char *const bad[] = {"q6-5 d8", "q1- d8", "q-5 d8", "q1-2-3 d8", "k1-5 q5 d8"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(clattn_desc_parse(bad[i], &desc), CLATTN_INVALID_TEXT);
    }
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
        cmocka_unit_test(each_call_has_the_variant_for_its_queries),
        cmocka_unit_test(few_queries_have_answers_of_their_own),
        cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
