/*
 * A plan's answers: the second is chosen without the first one's solver, and runs what that solver
 * does not accept; what fwd_wgmma accepts.
 *
 * The table of solvers is the test's own: `picky` comes first, which is fwd_rows with an opinion
 * on params, then copies of the library's solvers, which the tests may spoil.
 */
#include "device.h"
#include "fixtures.h"
#include "choose.h"
#include "heard.h"
#include "plan.h"
#include "small.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

extern const struct solver solver_dec_lanes, solver_fwd_lanes, solver_fwd_wgmma, solver_fwd_mma,
    solver_fwd_tile, solver_fwd_rows, solver_bwd_lanes, solver_bwd_mma, solver_bwd_tile,
    solver_bwd_rows, solver_merge_rows, solver_memory_efficient, solver_standard;
static const struct solver *const originals[SOLVERS] = {
    &solver_fwd_rows,         &solver_dec_lanes, &solver_fwd_lanes, &solver_fwd_wgmma,
    &solver_fwd_mma,          &solver_fwd_tile,  &solver_fwd_rows,  &solver_bwd_lanes,
    &solver_bwd_mma,          &solver_bwd_tile,  &solver_bwd_rows,  &solver_merge_rows,
    &solver_memory_efficient, &solver_standard};
static struct solver picky, copies[SOLVERS];
const struct solver *const solvers_table[SOLVERS] = {
    &picky,     &copies[1], &copies[2], &copies[3],  &copies[4],  &copies[5],  &copies[6],
    &copies[7], &copies[8], &copies[9], &copies[10], &copies[11], &copies[12], &copies[13]};

static struct test_device tested;
static clattn_context context;
static struct heard heard;

/* ---- Which answer runs ---- */

static bool accepting;
static unsigned asked;
static cl_ulong promises;

static bool accepts(const long long *values, const struct params *params) {
    (void)values;
    assert_int_equal(params->seq_q, 9);
    asked++;
    return accepting;
}

/* Writes nothing, so that what ran is seen in the result. */
static cl_int enqueue_nothing(const struct launch *l, struct status *status) {
    (void)status;
    return clEnqueueMarkerWithWaitList(l->queue, l->count, l->list, l->event);
}

/* A plan whose first answer is of picky. */
static clattn_plan make_plan(struct small *small) {
    clattn_plan plan;
    small_open(small, tested.context, tested.queue, "b2 h4:2 q9 k9 d8:4 causal", 1);
    small->desc.promises = promises;
    small->desc.variant = "picky";
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(context, &small->desc, &plan), CL_SUCCESS);
    assert_string_equal(plan->answers[0].solver->name, "picky");
    return plan;
}

static void assert_described(clattn_plan plan, const char *words) {
    char text[8192];
    assert_int_equal(clattn_plan_describe(plan, text, sizeof text, NULL), CL_SUCCESS);
    if (!strstr(text, words)) {
        fail_msg("\"%s\" is not in:\n%s", words, text);
    }
}

static void the_second_answer_runs_what_the_first_declines(void **state) {
    (void)state;
    struct small small = {0};
    picky.enqueue = enqueue_nothing;
    clattn_plan plan = make_plan(&small);
    assert_int_equal(heard.remarks, 0);
    assert_int_equal(plan->count, 2);
    assert_ptr_not_equal(plan->answers[1].solver, &picky);
    struct text line = {0};
    text_printf(&line, "\naligned strides: %s\nother strides: ", clattn_plan_variant(plan));
    variant_format(&plan->answers[1].variant, &line);
    assert_described(plan, text_chars(&line));
    text_destroy(&line);

    asked = 0;
    for (int turn = 0; turn < 4; turn++) {
        accepting = turn % 2 == 0;
        small_poison(&small, tested.queue);
        assert_int_equal(clattn_enqueue_forward(plan, tested.queue, &small.args, 0, NULL, NULL),
                         CL_SUCCESS);
        assert_true(accepting ? small_untouched(&small, tested.queue)
                              : small_right(&small, tested.queue));
    }
    assert_int_equal(asked, 4);
    clattn_plan_destroy(plan);
    small_close(&small);
}

static void one_that_accepts_all_is_the_only_answer(void **state) {
    (void)state;
    struct small small = {0};
    picky.accepts = NULL;
    clattn_plan plan = make_plan(&small);
    assert_int_equal(plan->count, 1);
    assert_described(plan, "picky chosen: ");
    clattn_plan_destroy(plan);
    small_close(&small);
}

static size_t broken_stages(const struct variant *v, struct stage *to) {
    (void)v;
    solver_fwd_rows.stages(v, to);
    to[0].recipe.kernel = "fwd_broken"; /* which no part has */
    return 1;
}

static void break_others(void) {
    for (size_t i = 1; i < SOLVERS; i++) {
        copies[i].stages = broken_stages;
    }
}

/* A plan that answers some enqueues is better than none. */
static void a_second_answer_that_does_not_build_costs_a_remark(void **state) {
    (void)state;
    struct small small = {0};
    break_others();
    clattn_plan plan = make_plan(&small);
    assert_int_equal(plan->count, 1);
    assert_true(heard.remarks > 0 && heard.failures == 0);
    static const char line[] = "other strides: refused, as no other solver can run: ";
    assert_int_equal(strncmp(heard.message, line, strlen(line)), 0);
    assert_described(plan, line);
    for (int turn = 0; turn < 2; turn++) {
        accepting = turn == 1;
        heard = (struct heard){0};
        small_poison(&small, tested.queue);
        const cl_int code = clattn_enqueue_forward(plan, tested.queue, &small.args, 0, NULL, NULL);
        if (accepting) {
            assert_int_equal(code, CL_SUCCESS);
            assert_true(small_right(&small, tested.queue));
        } else {
            assert_int_equal(code, CLATTN_UNSUPPORTED);
            assert_true(
                heard_failure(&heard, code, "enqueue picky these strides", "no second answer"));
            assert_true(small_untouched(&small, tested.queue));
        }
    }
    clattn_plan_destroy(plan);
    small_close(&small);
}

/* No other solver is built, or those that do not build would be heard of. */
static void a_promise_spares_the_second_answer(void **state) {
    (void)state;
    struct small small = {0};
    break_others();
    promises = CLATTN_PROMISE_ALIGNED;
    clattn_plan plan = make_plan(&small);
    assert_int_equal(plan->count, 1);
    assert_int_equal(heard.remarks, 0);
    accepting = true;
    small_poison(&small, tested.queue);
    assert_int_equal(clattn_enqueue_forward(plan, tested.queue, &small.args, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_true(small_right(&small, tested.queue));
    clattn_plan_destroy(plan);
    small_close(&small);
}

/* The description of what a plan on an H200 would be. */
static void supports_on_h200(const char *problem, char *text, size_t capacity) {
    const struct device own = context->device;
    clattn_desc desc = CLATTN_DESC_INIT;
    context->device = fixtures_find("h200")->device;
    assert_int_equal(clattn_desc_parse(problem, &desc), CL_SUCCESS);
    assert_int_equal(clattn_supports(context, &desc, text, capacity, NULL), CL_SUCCESS);
    context->device = own;
}

static void hopper_needs_two_answers_or_a_promise(void **state) {
    (void)state;
    char text[8192];
    picky.baseline = true; /* not to be chosen */
    supports_on_h200("f16 h16 q4096 d128 causal", text, sizeof text);
    assert_non_null(strstr(text, "\nfwd_wgmma chosen: "));
    assert_non_null(strstr(text, "\naligned strides: fwd_wgmma BLOCK_M="));
    assert_non_null(strstr(text, "\nother strides: fwd_mma ENGINE="));
    supports_on_h200("f16 h16 q4096 d128 causal aligned", text, sizeof text);
    assert_non_null(strstr(text, "\nfwd_wgmma chosen: "));
    assert_null(strstr(text, "strides: "));
}

/* ---- What a kernel is told of each operand ---- */

static struct params seen;

static bool sees(const long long *values, const struct params *params) {
    (void)values;
    seen = *params;
    return true;
}

/* An operand that lies badly is no reason to move the others slowly; an lse is written where the
 * call has one. */
static void operands_are_aligned_each_for_itself(void **state) {
    (void)state;
    struct small small = {0};
    picky.accepts = sees;
    picky.enqueue = enqueue_nothing;
    clattn_plan plan = make_plan(&small);
    static const struct {
        int seq_q, misaligned; /* the operand; OPERANDS: none */
        int aligned;           /* of q, k, v, o */
    } cases[] = {{9, OPERANDS, 15},
                 {8, OPERAND_Q, 14},
                 {8, OPERAND_K, 13},
                 {8, OPERAND_V, 11},
                 {8, OPERAND_O, 7}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        small.args.seq_q = small.args.seq_kv = (cl_uint)cases[i].seq_q;
        for (int t = 0; t < SMALL_TENSORS; t++) {
            small.tensors[t].offset = t == cases[i].misaligned ? sizeof(float) : 0;
        }
        small.args.lse = i % 2 ? NULL : &small.tensors[SMALL_LSE];
        assert_int_equal(clattn_enqueue_forward(plan, tested.queue, &small.args, 0, NULL, NULL),
                         CL_SUCCESS);
        const int lse = 1 << OPERAND_LSE;
        assert_int_equal(seen.aligned & (lse - 1), cases[i].aligned);
        assert_int_equal(seen.aligned >> OPERANDS_TOGETHER & 1, (cases[i].aligned & 7) == 7);
        assert_int_equal(seen.given, (lse - 1) | (i % 2 ? 0 : lse));
    }
    clFinish(tested.queue);
    clattn_plan_destroy(plan);
    small_close(&small);
}

/* ---- The choice without a solver ---- */

static void the_solver_left_out_is_never_chosen(void **state) {
    (void)state;
    static const char *const problems[] = {"f32 h32 q4096 d64", "f16 h16 q4096 d128 causal"};
    for (size_t f = 0; f < FIXTURES; f++) {
        for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
            const struct problem p = fixtures_problem(problems[i]);
            const struct solver *without = NULL;
            for (int left_out = 0; left_out < 2; left_out++) {
                const struct choose_question question = {
                    .problem = &p, .device = &fixtures[f].device, .without = without};
                struct choice c = {0};
                struct status status = {0};
                const cl_int code = choose_variant(&question, &c, &status);
                assert_true(code == CL_SUCCESS || fixtures[f].device.loop_limit);
                assert_true(code != CL_SUCCESS || c.solver != without);
                assert_true(code != CL_SUCCESS || !c.solver->baseline);
                without = c.solver;
                choose_destroy(&c);
                status_destroy(&status);
            }
        }
    }
}

/* ---- What fwd_wgmma accepts ---- */

static void tensor_maps_decide(void **state) {
    (void)state;
    const struct solver *wgmma = solvers_find("fwd_wgmma");
    assert_non_null(wgmma);
    const struct problem p = fixtures_problem("f16 b2 h16:4 q4096 d128 causal");
    struct variant v = {.solver = "fwd_wgmma"};
    struct text far = {0};
    struct status status = {0};
    long long values[VARIANT_PARAMETERS];
    assert_int_equal(solvers_complete(wgmma, &p, &fixtures_find("h200")->device, &v, &far, &status),
                     CL_SUCCESS);
    solvers_decode(wgmma, &v, values);
    struct params good = {
        .batch = 2, .heads_q = 16, .group = 4, .seq_q = 4096, .seq_kv = 4096, .aligned = 15};
    for (size_t i = 0; i < OPERANDS; i++) {
        good.strides[i] = (struct strides){0, 1 << 23, 1 << 19, 128};
    }
    assert_true(wgmma->accepts(values, &good));
    struct params other = good;
    struct strides *const q = &other.strides[OPERAND_Q], *const k = &other.strides[OPERAND_K];
    struct strides *const v_of = &other.strides[OPERAND_V];
    for (int i = OPERAND_Q; i <= OPERAND_O; i++) {
        other.aligned = good.aligned & ~(1 << i);
        assert_false(wgmma->accepts(values, &other));
    }
    const cl_long most = ((cl_long)1 << 39) - 8; /* 2^40 bytes are too many */
    cl_long *const strides[] = {&q->row, &q->batch, &k->head, &k->row, &v_of->batch, &v_of->head};
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
        other = good;
        *strides[i] = most;
        assert_true(wgmma->accepts(values, &other));
        *strides[i] = most + 8;
        assert_false(wgmma->accepts(values, &other));
        *strides[i] = 0; /* broadcast */
        assert_false(wgmma->accepts(values, &other));
        other.batch = other.heads_q = other.group = other.seq_q = other.seq_kv = 1;
        assert_true(wgmma->accepts(values, &other)); /* ... to nobody */
        *strides[i] = most + 8;
        assert_true(wgmma->accepts(values, &other));
    }
    other = good;
    other.strides[OPERAND_O].row = most + 8; /* O is stored without a map */
    assert_true(wgmma->accepts(values, &other));
    other = good;
    other.seq_kv = 0; /* no key, no stride that matters */
    *k = *v_of = (struct strides){0, 0, 0, 0};
    assert_true(wgmma->accepts(values, &other));
}

static long long wgmma_values[VARIANT_PARAMETERS]; /* all missing: accepts() does not look */
static bool wgmma_accepts;

static bool note_wgmma(const long long *values, const struct params *params) {
    (void)values;
    wgmma_accepts = solver_fwd_wgmma.accepts(wgmma_values, params);
    return true;
}

static cl_uint draw(cl_uint *seed, cl_uint below) {
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

/* f16 elements; seldom what no promise allows. */
static cl_long draw_stride(cl_uint *seed) {
    const cl_long limit = (cl_long)1 << 39;
    const cl_long rare[] = {0, 1, 4, 12, 8 + 1, limit - 4, limit, limit + 8};
    const cl_long usual[] = {8, 16, 24, 64, 128, 4096, limit - 8, limit / 2};
    return draw(seed, 16) == 0 ? rare[draw(seed, 8)] : usual[draw(seed, 8)];
}

/* The header's words: of a dimension with this many elements. */
static bool stride_keeps(cl_long stride, cl_uint count) {
    return count <= 1 || (stride != 0 && stride * 2 % 16 == 0 && stride * 2 < (cl_long)1 << 40);
}

/* Nothing is launched, so that tensors may lie anywhere in SVM. */
static void fwd_wgmma_accepts_what_keeps_the_promise(void **state) {
    (void)state;
    enum { CALLS = 20000 };
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_plan plan;
    const cl_ulong svm = context->device.svm;
    picky.accepts = note_wgmma;
    picky.enqueue = enqueue_nothing;
    assert_int_equal(clattn_desc_parse("f16 b2 h4:2 q9 k7 d16:8 aligned", &desc), CL_SUCCESS);
    desc.variant = "picky";
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CL_SUCCESS);
    context->device.svm = 1;
    int kept_calls = 0, broken_calls = 0;
    cl_uint seed = 1;
    for (int call = 0; call < CALLS; call++) {
        clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
        clattn_tensor t[OPERAND_O + 1];
        args.batch = 1 + draw(&seed, 2), args.seq_q = 1 + draw(&seed, 9);
        args.seq_kv = draw(&seed, 4) ? draw(&seed, 8) : 0;
        args.q = &t[OPERAND_Q], args.k = &t[OPERAND_K];
        args.v = &t[OPERAND_V], args.o = &t[OPERAND_O];
        bool kept = true;
        for (size_t i = 0; i <= OPERAND_O; i++) {
            const bool keys = i == OPERAND_K || i == OPERAND_V;
            const cl_uint rows = keys ? args.seq_kv : args.seq_q, heads = keys ? 2 : 4;
            t[i] = (clattn_tensor)CLATTN_TENSOR_INIT;
            t[i].offset = draw(&seed, 8) ? 16 : 2 * draw(&seed, 16);
            const uintptr_t at = draw(&seed, 8) ? 16 : 2 * (1 + (uintptr_t)draw(&seed, 16));
            t[i].svm = (char *)NULL + (((uintptr_t)i << 50) + at); /* far from one another */
            t[i].stride_row = draw_stride(&seed);
            t[i].stride_head = draw_stride(&seed);
            t[i].stride_batch = draw_stride(&seed);
            if (i == OPERAND_O) { /* an overlap would be refused first */
                t[i].stride_row = 8, t[i].stride_head = 128, t[i].stride_batch = 1024;
            }
            kept = kept && (rows == 0 ||
                            ((at + t[i].offset) % 16 == 0 && stride_keeps(t[i].stride_row, rows) &&
                             stride_keeps(t[i].stride_head, heads) &&
                             stride_keeps(t[i].stride_batch, args.batch)));
        }
        wgmma_accepts = false;
        heard = (struct heard){0};
        const cl_int code = clattn_enqueue_forward(plan, tested.queue, &args, 0, NULL, NULL);
        if (code != (kept ? CL_SUCCESS : CLATTN_INVALID_TENSOR) || wgmma_accepts != kept) {
            fail_msg("call %d: %s, accepted %d; %s", call, clattn_status_name(code), wgmma_accepts,
                     heard.message);
        }
        kept_calls += kept;
        broken_calls += !kept;
    }
    clFinish(tested.queue);
    print_message("%d promises kept, %d broken\n", kept_calls, broken_calls);
    assert_true(kept_calls > CALLS / 10 && broken_calls > CALLS / 10);
    context->device.svm = svm;
    clattn_plan_destroy(plan);
}

/* Tasks are counted in 32 bits. */
static void tasks_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *problem;
        bool right;
    } cases[] = {
        {"f16 b16777215 h64 q256 d128 causal", true}, /* 2^31 - 128 blocks of 128 rows */
        {"f16 b16777215 h64 q257 d128 causal", false},
        {"f16 b16777215 h64 q1073741823 d256 causal", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct problem p = fixtures_problem(cases[i].problem);
        struct variant v = {.solver = "fwd_wgmma"};
        struct text far = {0};
        struct status status = {0};
        const cl_int code = solvers_complete(&solver_fwd_wgmma, &p, &fixtures_find("h200")->device,
                                             &v, &far, &status);
        assert_int_equal(code, cases[i].right ? CL_SUCCESS : CLATTN_UNSUPPORTED);
        assert_int_equal(strstr(text_chars(&status.sentence), "blocks of") != NULL,
                         !cases[i].right);
        status_destroy(&status);
    }
}

/* Before each test. */
static int restore_solvers(void **state) {
    (void)state;
    for (size_t i = 0; i < SOLVERS; i++) {
        copies[i] = *originals[i];
    }
    picky = copies[0];
    picky.name = "picky";
    picky.accepts = accepts;
    promises = 0;
    return 0;
}

static int open_all(void **state) {
    (void)state;
    restore_solvers(NULL);
    fixtures_open(NULL);
    context = heard_context(tested.context, tested.id, &heard);
    return context ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    fixtures_close(NULL);
    clattn_context_destroy(context);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_second_answer_runs_what_the_first_declines, restore_solvers),
        cmocka_unit_test_setup(one_that_accepts_all_is_the_only_answer, restore_solvers),
        cmocka_unit_test_setup(a_second_answer_that_does_not_build_costs_a_remark, restore_solvers),
        cmocka_unit_test_setup(a_promise_spares_the_second_answer, restore_solvers),
        cmocka_unit_test_setup(hopper_needs_two_answers_or_a_promise, restore_solvers),
        cmocka_unit_test_setup(operands_are_aligned_each_for_itself, restore_solvers),
        cmocka_unit_test_setup(the_solver_left_out_is_never_chosen, restore_solvers),
        cmocka_unit_test_setup(tensor_maps_decide, restore_solvers),
        cmocka_unit_test_setup(fwd_wgmma_accepts_what_keeps_the_promise, restore_solvers),
        cmocka_unit_test_setup(tasks_are_counted, restore_solvers),
    };
    if (!test_device_open(&tested)) {
        return 4;
    }
    const int failed = cmocka_run_group_tests(tests, open_all, close_all);
    test_device_close(&tested);
    return failed;
}
