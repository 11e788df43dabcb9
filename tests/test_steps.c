/*
 * A plan's second step: chosen without the first one's solver, and the one that runs where
 * that solver does not accept what an enqueue asks; what fwd_wgmma accepts.
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

static struct test_device tested;
static clattn_context context;
static struct heard heard;

/* ---- Which step runs: a plan whose first solver is a copy with an opinion ---- */

static bool accepting;
static unsigned asked;

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

static void the_second_step_runs_where_the_first_declines(void **state) {
    (void)state;
    struct small small = {0};
    clattn_plan plan;
    small_open(&small, tested.context, tested.queue, "b2 h4:2 q9 k9 d8:4 causal", 1);
    assert_int_equal(clattn_plan_create(context, &small.desc, &plan), CL_SUCCESS);
    assert_null(plan->steps[1].solver);
    plan->steps[1] = plan->steps[0];
    struct solver opinion = *plan->steps[0].solver;
    opinion.accepts = accepts;
    opinion.enqueue = enqueue_nothing;
    plan->steps[0] = (struct plan_step){.solver = &opinion, .variant = plan->steps[1].variant};

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

static void without_a_second_step_the_enqueue_is_refused(void **state) {
    (void)state;
    struct small small = {0};
    clattn_plan plan;
    small_open(&small, tested.context, tested.queue, "b2 h4:2 q9 k9 d8:4 causal", 1);
    assert_int_equal(clattn_plan_create(context, &small.desc, &plan), CL_SUCCESS);
    const struct solver *const real = plan->steps[0].solver;
    struct solver opinion = *real;
    opinion.accepts = accepts;
    plan->steps[0].solver = &opinion;
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
            assert_true(heard_failure(&heard, code, "enqueue these strides", "no second step"));
            assert_non_null(strstr(heard.message, opinion.name));
            assert_true(small_untouched(&small, tested.queue));
        }
    }
    plan->steps[0].solver = real;
    clattn_plan_destroy(plan);
    small_close(&small);
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
    clattn_plan plan;
    small_open(&small, tested.context, tested.queue, "h2 q9 k9 d8:4", 1);
    assert_int_equal(clattn_plan_create(context, &small.desc, &plan), CL_SUCCESS);
    struct solver opinion = *plan->steps[0].solver;
    opinion.accepts = sees;
    opinion.enqueue = enqueue_nothing;
    plan->steps[0].solver = &opinion;
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
        for (int t = 0; t < OPERANDS; t++) {
            small.tensors[t].offset = t == cases[i].misaligned ? sizeof(float) : 0;
        }
        small.args.lse = i % 2 ? NULL : &small.tensors[SMALL_LSE];
        assert_int_equal(clattn_enqueue_forward(plan, tested.queue, &small.args, 0, NULL, NULL),
                         CL_SUCCESS);
        const int lse = 1 << OPERAND_LSE, o = 1 << OPERAND_O;
        assert_int_equal(seen.aligned & (lse - 1), cases[i].aligned);
        assert_int_equal(seen.aligned >> OPERANDS_TOGETHER & 1, cases[i].aligned == 15);
        assert_int_equal(seen.written, i % 2 ? o : o | lse);
    }
    clFinish(tested.queue);
    clattn_plan_destroy(plan);
    small_close(&small);
}

/* ---- The choice without a solver ---- */

static struct fixture fixtures[FIXTURES];

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
    assert_int_equal(
        solvers_complete(wgmma, &p, &fixtures_find(fixtures, "h200")->device, &v, &far, &status),
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
    }
    other = good;
    other.strides[OPERAND_O].row = most + 8; /* O is stored without a map */
    assert_true(wgmma->accepts(values, &other));
    other = good;
    other.batch = 1 << 28; /* more tasks than its counter counts */
    assert_false(wgmma->accepts(values, &other));
}

static int open_all(void **state) {
    (void)state;
    fixtures_open(fixtures, CLATTN_TEST_DATA);
    context = heard_context(tested.context, tested.id, &heard);
    return context ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    fixtures_close(fixtures);
    clattn_context_destroy(context);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_step_runs_where_the_first_declines),
        cmocka_unit_test(without_a_second_step_the_enqueue_is_refused),
        cmocka_unit_test(operands_are_aligned_each_for_itself),
        cmocka_unit_test(the_solver_left_out_is_never_chosen),
        cmocka_unit_test(tensor_maps_decide),
    };
    if (!test_device_open(&tested)) {
        return 4;
    }
    const int failed = cmocka_run_group_tests(tests, open_all, close_all);
    test_device_close(&tested);
    return failed;
}
