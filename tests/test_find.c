/*
 * clattn_plan_find: which calls share a plan, which plans stay, and who outlives whom.
 */
#include "context.h"
#include "plan.h"

#include "device.h"
#include "heard.h"
#include "small.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <threads.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct test_device device;
static struct heard heard;

static clattn_context open_context(const char *tuning_path) {
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    clattn_context made = NULL;
    desc.context = device.context;
    desc.device = device.id;
    desc.notify = heard_notify;
    desc.user_data = &heard;
    desc.tuning_path = tuning_path;
    assert_int_equal(clattn_context_create(&desc, &made), CL_SUCCESS);
    return made;
}

static clattn_desc desc_of(const char *problem, const char *variant) {
    clattn_desc desc = CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse(problem, &desc), CL_SUCCESS);
    desc.variant = variant;
    return desc;
}

static clattn_plan find(clattn_context context, const char *problem, const char *variant) {
    const clattn_desc desc = desc_of(problem, variant);
    clattn_plan plan = NULL;
    assert_int_equal(clattn_plan_find(context, &desc, &plan), CL_SUCCESS);
    assert_non_null(plan);
    return plan;
}

/* How many plans the context lists, whether held or not. */
static size_t listed(clattn_context context) {
    size_t count = 0, unused = 0;
    for (clattn_plan plan = context->plans.first; plan; plan = plan->next) {
        count++;
        unused += plan->references == 0;
        assert_true((plan->references == 0) == (plan->context == NULL));
    }
    assert_int_equal(unused, context->plans.unused);
    return count;
}

/* ---- What is the same ---- */

static void equal_problems_share_a_plan(void **state) {
    (void)state;
    static const char *const same[][2] = {
        {"q17 d24", "f32 b1 h1 q17 k17 d24"},
        {"h4 q17 d24", "h4:4 d24:24 q17"},
        {"q17 k9 d24 window8,16", "q17 k9 d24"}, /* a band that hides nothing */
        {"q17 k17 d24 causal end", "q17 k17 d24 causal"},
        {"q17 k9 d24 start", "q17 k9 d24"}, /* no band to align */
    };
    clattn_context context = open_context(NULL);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        clattn_plan first = find(context, same[i][0], "fwd_rows");
        clattn_plan second = find(context, same[i][1], "fwd_rows");
        assert_ptr_equal(first, second);
        clattn_plan_destroy(first);
        assert_string_equal(clattn_plan_variant(second), clattn_plan_variant(first));
        clattn_plan_destroy(second);
    }
    clattn_desc full = desc_of("h4 q17 d24", "fwd_rows"), zero = full;
    full.heads_kv = 4, full.head_dim_v = 24;
    zero.heads_kv = 0, zero.head_dim_v = 0;
    char copy[] = "fwd_rows"; /* the text counts, not where it stands */
    zero.variant = copy;
    clattn_plan first, second;
    assert_int_equal(clattn_plan_find(context, &full, &first), CL_SUCCESS);
    assert_int_equal(clattn_plan_find(context, &zero, &second), CL_SUCCESS);
    assert_ptr_equal(first, second);
    clattn_plan_destroy(second);
    clattn_plan_destroy(first);
    clattn_context_destroy(context);
}

static void different_ones_do_not(void **state) {
    (void)state;
    static const struct {
        const char *problem, *variant;
    } different[] = {
        {"q17 d24", NULL},
        {"q17 d24", "fwd_rows"},
        {"q17 d24", "fwd_rows WORK_GROUP=1"},
        {"f16 q17 d24", "fwd_rows"},
        {"bf16 q17 d24", "fwd_rows"},
        {"b2 q17 d24", "fwd_rows"},
        {"h2 q17 d24", "fwd_rows"},
        {"h2:1 q17 d24", "fwd_rows"},
        {"q18 k17 d24", "fwd_rows"},
        {"q17 k18 d24", "fwd_rows"},
        {"q17 d25", "fwd_rows"},
        {"q17 d24:25", "fwd_rows"},
        {"q17 d24 causal", "fwd_rows"},
        {"q17 d24 window3,4", "fwd_rows"},
        {"q17 d24 window4,3", "fwd_rows"},
        {"q17 k30 d24 causal", "fwd_rows"},
        {"q17 k30 d24 causal start", "fwd_rows"},
        {"q17 d24 aligned", "fwd_rows"},
        {"q17 d24 softcap20", "fwd_rows"},
        {"q17 d24 softcap20.000002", "fwd_rows"}, /* the next float */
    };
    enum { DIFFERENT = sizeof different / sizeof *different };
    clattn_context context = open_context(NULL);
    clattn_plan plans[DIFFERENT];
    for (size_t i = 0; i < DIFFERENT; i++) {
        plans[i] = find(context, different[i].problem, different[i].variant);
        for (size_t j = 0; j < i; j++) {
            assert_ptr_not_equal(plans[i], plans[j]);
        }
    }
    assert_int_equal(listed(context), DIFFERENT);
    for (size_t i = 0; i < DIFFERENT; i++) {
        clattn_plan_destroy(plans[i]);
    }
    clattn_context_destroy(context);
}

/* A context's own tuning decides; what is created is its maker's alone. */
static void only_what_is_found_is_shared(void **state) {
    (void)state;
    static const char path[] = "find-tuning.txt";
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("* ; * ; fwd_rows WORK_GROUP=1\n", file);
    assert_int_equal(fclose(file), 0);
    clattn_context plain = open_context(NULL), tuned = open_context(path);
    remove(path);
    clattn_plan found = find(plain, "q17 d24", NULL), other = find(tuned, "q17 d24", NULL);
    assert_ptr_not_equal(found, other);
    assert_string_equal(clattn_plan_variant(other), "fwd_rows WORK_GROUP=1");
    assert_string_not_equal(clattn_plan_variant(found), "fwd_rows WORK_GROUP=1");
    const clattn_desc desc = desc_of("q17 d24", NULL);
    clattn_plan created;
    assert_int_equal(clattn_plan_create(plain, &desc, &created), CL_SUCCESS);
    assert_ptr_not_equal(created, found);
    clattn_plan_destroy(created);
    assert_int_equal(listed(plain), 1);
    clattn_plan_destroy(other);
    clattn_plan_destroy(found);
    clattn_context_destroy(tuned);
    clattn_context_destroy(plain);
}

/* ---- What stays ---- */

static const char *problem_of(int i) {
    static _Thread_local char text[32];
    snprintf(text, sizeof text, "q%d k9 d8", i + 1);
    return text;
}

static bool lists(clattn_context context, int i) {
    char key[64];
    bool found = false;
    snprintf(key, sizeof key, "f32 q%d k9 d8;fwd_rows", i + 1);
    for (clattn_plan plan = context->plans.first; plan; plan = plan->next) {
        found = found || strcmp(text_chars(&plan->key), key) == 0;
    }
    return found;
}

static void the_last_unused_ones_stay(void **state) {
    (void)state;
    enum { HELD = PLANS_UNUSED + 4 };
    clattn_context context = open_context(NULL);
    clattn_plan plans[HELD];
    for (int i = 0; i < HELD; i++) {
        plans[i] = find(context, problem_of(i), "fwd_rows");
    }
    assert_int_equal(listed(context), HELD); /* what is held is never dropped */
    for (int i = 0; i < PLANS_UNUSED; i++) {
        clattn_plan_destroy(plans[i]);
    }
    assert_int_equal(listed(context), HELD);
    assert_int_equal(context->plans.unused, PLANS_UNUSED);
    plans[0] = find(context, problem_of(0), "fwd_rows"); /* 1 is now the oldest, then 2 */
    assert_int_equal(context->plans.unused, PLANS_UNUSED - 1);
    clattn_plan_destroy(plans[0]);
    for (int i = PLANS_UNUSED; i < HELD; i++) {
        assert_true(lists(context, i - PLANS_UNUSED + 1));
        clattn_plan_destroy(plans[i]);
        assert_false(lists(context, i - PLANS_UNUSED + 1));
        assert_int_equal(context->plans.unused, PLANS_UNUSED);
    }
    assert_true(lists(context, 0));
    assert_true(lists(context, 5));
    assert_int_equal(listed(context), PLANS_UNUSED);
    clattn_plan_destroy(find(context, problem_of(1), "fwd_rows")); /* made once more */
    assert_true(lists(context, 1));
    assert_false(lists(context, 5));
    clattn_context_destroy(context);
}

static void a_failure_keeps_nothing(void **state) {
    (void)state;
    clattn_context context = open_context(NULL);
    const clattn_desc good = desc_of("q17 d24", NULL);
    const struct {
        const clattn_desc *desc;
        cl_int code;
        const char *words;
    } wrong[] = {
        {&(clattn_desc){0}, CLATTN_INVALID_DESC, "desc size"},
        {&(clattn_desc)CLATTN_DESC_INIT, CLATTN_INVALID_DESC, "desc head_dim"},
        {NULL, CL_INVALID_VALUE, "plan_find desc NULL"},
        {&(clattn_desc){.size = sizeof good,
                        .type = CLATTN_F32,
                        .batch = 1,
                        .heads_q = 1,
                        .seq_q = 9,
                        .seq_kv = 9,
                        .head_dim = 8,
                        .band_left = -1,
                        .band_right = -1,
                        .variant = ""},
         CLATTN_INVALID_VARIANT, "variant"},
        {&(clattn_desc){.size = sizeof good,
                        .type = CLATTN_F32,
                        .batch = 1,
                        .heads_q = 1,
                        .seq_q = 9,
                        .seq_kv = 9,
                        .head_dim = 8,
                        .band_left = -1,
                        .band_right = -1,
                        .variant = "fwd_new"},
         CLATTN_INVALID_VARIANT, "variant fwd_new device fwd_tile refused"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        clattn_plan plan = (clattn_plan)(void *)&heard;
        heard = (struct heard){0};
        assert_int_equal(clattn_plan_find(context, wrong[i].desc, &plan), wrong[i].code);
        assert_null(plan);
        assert_true(heard_failure(&heard, wrong[i].code, wrong[i].words, wrong[i].words));
        assert_int_equal(listed(context), 0);
    }
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_find(context, &good, NULL), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "plan_find result NULL", "no result"));
    clattn_plan plan = (clattn_plan)(void *)&heard;
    assert_int_equal(clattn_plan_find(NULL, &good, &plan), CL_INVALID_VALUE);
    assert_null(plan);
    assert_int_equal(listed(context), 0);
    assert_int_equal(context->references, 1);
    clattn_context_destroy(context);
}

/* ---- Who outlives whom ---- */

static cl_uint references_of(cl_context context) {
    cl_uint count = 0;
    clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL);
    return count;
}

/* A plan that is held keeps its context, one that is not does not. */
static void the_order_of_destruction_is_free(void **state) {
    (void)state;
    static const char problem[] = "b2 h4:2 q33 k49 d24:16 causal";
    struct small small;
    small_open(&small, device.context, device.queue, problem, 1);
    for (int context_first = 0; context_first < 2; context_first++) {
        const cl_uint before = references_of(device.context);
        clattn_context context = open_context(NULL);
        clattn_plan_destroy(find(context, "q17 d24", NULL)); /* stays, unused */
        clattn_plan plan = find(context, problem, NULL), same = find(context, problem, NULL);
        assert_int_equal(context->references, 2);
        clattn_plan_destroy(same);
        assert_int_equal(context->references, 2);
        if (context_first) {
            clattn_context_destroy(context);
        }
        small_poison(&small, device.queue);
        assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL),
                         CL_SUCCESS);
        assert_true(small_right(&small, device.queue));
        clattn_plan_destroy(plan);
        if (!context_first) {
            assert_int_equal(context->references, 1);
            assert_int_equal(context->plans.unused, 2);
            assert_ptr_equal(find(context, problem, NULL), plan); /* and works once more */
            small_poison(&small, device.queue);
            assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL),
                             CL_SUCCESS);
            assert_true(small_right(&small, device.queue));
            clattn_plan_destroy(plan);
            clattn_context_destroy(context);
        }
        /* a driver's own threads may let go a little later */
        for (int wait = 0; wait < 200 && references_of(device.context) != before; wait++) {
            thrd_sleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
        assert_int_equal(references_of(device.context), before);
    }
    small_close(&small);
}

/* ---- Threads ---- */

enum { THREADS = 6, PROBLEMS = PLANS_UNUSED + 16, ROUNDS = 400 };

struct worker {
    clattn_context context;
    atomic_int *arrived;
    clattn_plan first; /* of all the same problem, found at once */
    unsigned seed;
};

/* The number of wrong answers. */
static int find_many(void *data) {
    struct worker *const w = data;
    clattn_desc desc = CLATTN_DESC_INIT;
    int wrong = clattn_desc_parse("q5 k7 d12", &desc) != CL_SUCCESS;
    atomic_fetch_add(w->arrived, 1);
    while (atomic_load(w->arrived) < THREADS) {
        thrd_yield();
    }
    wrong += clattn_plan_find(w->context, &desc, &w->first) != CL_SUCCESS;
    for (int i = 0; i < ROUNDS; i++) {
        clattn_plan plan = NULL;
        size_t bytes = 1;
        w->seed = w->seed * 1664525u + 1013904223u;
        wrong +=
            clattn_desc_parse(problem_of((int)(w->seed >> 16) % PROBLEMS), &desc) != CL_SUCCESS;
        desc.variant = "fwd_rows";
        wrong += clattn_plan_find(w->context, &desc, &plan) != CL_SUCCESS;
        wrong += !plan || plan->problem.seq_q != desc.seq_q || plan->context != w->context;
        wrong += clattn_plan_workspace_size(plan, &bytes) != CL_SUCCESS || bytes != 0;
        clattn_plan_destroy(plan);
    }
    return wrong;
}

static void threads_find_and_give_back(void **state) {
    (void)state;
    clattn_context context = open_context(NULL);
    atomic_int arrived = 0;
    struct worker workers[THREADS];
    thrd_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){context, &arrived, NULL, 77 * i};
        assert_int_equal(thrd_create(&threads[i], find_many, &workers[i]), thrd_success);
    }
    for (int i = 0; i < THREADS; i++) {
        int wrong;
        assert_int_equal(thrd_join(threads[i], &wrong), thrd_success);
        assert_int_equal(wrong, 0);
        assert_ptr_equal(workers[i].first, workers[0].first);
    }
    assert_int_equal(workers[0].first->references, THREADS);
    assert_int_equal(listed(context), PLANS_UNUSED + 1);
    assert_int_equal(context->plans.unused, PLANS_UNUSED);
    assert_int_equal(context->references, 2);
    for (int i = 0; i < THREADS; i++) {
        clattn_plan_destroy(workers[i].first);
    }
    assert_int_equal(listed(context), PLANS_UNUSED);
    clattn_context_destroy(context);
}

static int open_all(void **state) {
    (void)state;
    return test_device_open(&device) ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    test_device_close(&device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_problems_share_a_plan),
        cmocka_unit_test(different_ones_do_not),
        cmocka_unit_test(only_what_is_found_is_shared),
        cmocka_unit_test(the_last_unused_ones_stay),
        cmocka_unit_test(a_failure_keeps_nothing),
        cmocka_unit_test(the_order_of_destruction_is_free),
        cmocka_unit_test(threads_find_and_give_back),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
