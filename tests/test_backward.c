/*
 * clattn_enqueue_backward as a function: what it refuses, which plans it takes, what it launches,
 * that it repeats, and that it follows a forward pass of clattn's own.  (Whether gradients are
 * right: test_attention, for each of its cases.)
 */
#include "backward.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "device.h"
#include "gradients.h"
#include "heard.h"
#include "sized.h"
#include "tensors.h"

static struct test_device tested;
static struct heard heard;
static clattn_context context;

static clattn_desc desc_of(const char *problem) {
    clattn_desc desc = CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse(problem, &desc), CL_SUCCESS);
    desc.heads_kv = desc.heads_kv ? desc.heads_kv : desc.heads_q;
    desc.head_dim_v = desc.head_dim_v ? desc.head_dim_v : desc.head_dim;
    return desc;
}

static clattn_plan plan_of(const clattn_desc *desc) {
    clattn_plan plan;
    if (clattn_plan_create(context, desc, &plan) != CL_SUCCESS)
        fail_msg("%s", heard.message);
    return plan;
}

/* Tensors of a problem with the workspace of a plan, and a dense call of it. */
struct made {
    clattn_plan plan;
    struct tensors tensors;
    struct tensors_args slots;
};

static void make(struct made *made, const char *problem) {
    const clattn_desc desc = desc_of(problem);
    made->plan = plan_of(&desc);
    struct tensors_desc what = {.desc = desc,
                                .batch = desc.batch,
                                .seq_q = desc.seq_q,
                                .seq_kv = desc.seq_kv,
                                .lse = true,
                                .tight = true};
    for (int i = 0; i < TENSOR_COUNT; i++)
        what.input[i] = (struct tensors_input){KIND_UNIFORM, 1};
    assert_int_equal(clattn_plan_workspace_size(made->plan, &what.workspace), CL_SUCCESS);
    tensors_make(&made->tensors, &what, CLATTN_SCALE_DEFAULT, tested.context);
    tensors_fill(&made->tensors, FILL_NAN);
    tensors_arguments(&made->tensors, CLATTN_SCALE_DEFAULT, &made->slots);
}

static void drop(struct made *made) {
    clFinish(tested.queue);
    tensors_free(&made->tensors);
    clattn_plan_destroy(made->plan);
}

static void upload(struct made *made) {
    cl_event events[TENSORS_MEMORIES];
    cl_uint count;
    tensors_upload(&made->tensors, tested.queue, events, &count);
    assert_int_equal(clWaitForEvents(count, events), CL_SUCCESS);
    for (cl_uint i = 0; i < count; i++)
        clReleaseEvent(events[i]);
}

/* Runs the call; the tensors then hold its results. */
static void run(struct made *made) {
    cl_event done;
    upload(made);
    assert_int_equal(
        clattn_enqueue_backward(made->plan, tested.queue, &made->slots.backward, 0, NULL, &done),
        CL_SUCCESS);
    tensors_download(&made->tensors, tested.queue, done);
    clReleaseEvent(done);
}

/* ---- Misuse ---- */

/* Fails with this code and sentence, *event NULL, nothing written. */
static void assert_refused(struct made *made, const clattn_backward_args *args, cl_int code,
                           const char *words) {
    cl_event event = (cl_event)(void *)&heard;
    heard = (struct heard){0};
    upload(made);
    assert_int_equal(clattn_enqueue_backward(made->plan, tested.queue, args, 0, NULL, &event),
                     code);
    assert_null(event);
    assert_true(heard_failure(&heard, code, words, words));
    cl_event nothing;
    assert_int_equal(clEnqueueMarkerWithWaitList(tested.queue, 0, NULL, &nothing), CL_SUCCESS);
    tensors_download(&made->tensors, tested.queue, nothing);
    clReleaseEvent(nothing);
    for (size_t i = 0; i < made->tensors.memories; i++) {
        const struct tensors_memory *memory = &made->tensors.memory[i];
        assert_memory_equal(memory->image, memory->result, memory->bytes);
    }
}

static void misuse_is_refused_by_name(void **state) {
    (void)state;
    struct made made;
    make(&made, "b2 h4:2 q8 k16 d8:4 bwd");
    const clattn_backward_args right = made.slots.backward;
    const struct {
        const char *name;
        size_t member;
        enum tensors_name tensor;
        bool needed;
    } members[] = {
        {"q", offsetof(clattn_backward_args, q), TENSOR_Q, true},
        {"k", offsetof(clattn_backward_args, k), TENSOR_K, true},
        {"v", offsetof(clattn_backward_args, v), TENSOR_V, true},
        {"o", offsetof(clattn_backward_args, o), TENSOR_O, true},
        {"lse", offsetof(clattn_backward_args, lse), TENSOR_LSE, true},
        {"d_o", offsetof(clattn_backward_args, d_o), TENSOR_D_O, true},
        {"d_lse", offsetof(clattn_backward_args, d_lse), TENSOR_D_LSE, false},
        {"d_q", offsetof(clattn_backward_args, d_q), TENSOR_D_Q, false},
        {"d_k", offsetof(clattn_backward_args, d_k), TENSOR_D_K, false},
        {"d_v", offsetof(clattn_backward_args, d_v), TENSOR_D_V, false},
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        clattn_backward_args args = right;
        char words[64];
        const clattn_tensor *none = NULL;
        clattn_tensor *tensor = &made.slots.tensor[members[i].tensor];
        const clattn_tensor before = *tensor;
        if (members[i].needed) {
            memcpy((unsigned char *)&args + members[i].member, &none, sizeof none);
            snprintf(words, sizeof words, "%s NULL", members[i].name);
            assert_refused(&made, &args, CL_INVALID_VALUE, words);
        }
        tensor->stride_row++;
        assert_refused(&made, &right, CLATTN_OUT_OF_BOUNDS, members[i].name);
        *tensor = before;
        tensor->size = 0;
        assert_refused(&made, &right, CLATTN_INVALID_TENSOR, members[i].name);
        *tensor = before;
        tensor->buffer = NULL;
        assert_refused(&made, &right, CLATTN_INVALID_TENSOR, members[i].name);
        *tensor = before;
        if (members[i].tensor >= TENSOR_D_Q) { /* an output must share bytes with nothing */
            tensor->stride_row = 0;
            assert_refused(&made, &right, CLATTN_OVERLAP, members[i].name);
            *tensor = made.slots.tensor[TENSOR_K]; /* the largest, shaped as d_k */
            snprintf(words, sizeof words, "%s k", members[i].name);
            if (members[i].tensor != TENSOR_D_Q)
                assert_refused(&made, &right, CLATTN_OVERLAP, words);
            *tensor = before;
        }
    }
    clattn_backward_args args = right;
    args.size = 16;
    assert_refused(&made, &args, CLATTN_INVALID_ARGS, "size");
    assert_refused(&made, NULL, CL_INVALID_VALUE, "args");
    args = right;
    args.scale = NAN;
    assert_refused(&made, &args, CLATTN_INVALID_ARGS, "scale");
    args = right;
    args.seq_kv = 17;
    assert_refused(&made, &args, CLATTN_INVALID_ARGS, "seq_kv");
    args = right;
    args.workspace = NULL;
    assert_refused(&made, &args, CLATTN_INVALID_WORKSPACE, "workspace");
    args = right;
    args.extras = &(clattn_extras){.size = 1};
    assert_refused(&made, &args, CLATTN_INVALID_ARGS, "extras size");
    assert_int_equal(clattn_enqueue_backward(NULL, tested.queue, &right, 0, NULL, NULL),
                     CL_INVALID_VALUE);
    run(&made); /* the plan has taken no harm */
    assert_true(tensors_intact(&made.tensors));
    drop(&made);
}

static void a_plan_runs_its_own_pass(void **state) {
    (void)state;
    struct made made;
    make(&made, "q8 d8 bwd");
    const clattn_desc desc = desc_of("q8 d8");
    clattn_plan forward = plan_of(&desc), backward = made.plan;
    cl_event event;
    heard = (struct heard){0};
    assert_int_equal(
        clattn_enqueue_forward(backward, tested.queue, &made.slots.args, 0, NULL, &event),
        CLATTN_INVALID_ARGS);
    assert_null(event);
    assert_true(heard_failure(&heard, CLATTN_INVALID_ARGS, "enqueue_forward backward", "pass"));
    made.plan = forward;
    assert_refused(&made, &made.slots.backward, CLATTN_INVALID_ARGS, "enqueue_backward forward");
    made.plan = backward;
    clattn_plan_destroy(forward);
    drop(&made);
}

/* ---- Plans ---- */

static void a_description_names_solvers_of_the_pass(void **state) {
    (void)state;
    char text[1 << 14];
    clattn_desc desc = desc_of("q8 d8 causal bwd");
    clattn_plan plan = plan_of(&desc);
    assert_int_equal(clattn_plan_describe(plan, text, sizeof text, NULL), CL_SUCCESS);
    assert_non_null(strstr(text, "problem f32 q8 d8 causal bwd\n"));
    char workspace[64];
    size_t bytes = 0;
    assert_int_equal(clattn_plan_workspace_size(plan, &bytes), CL_SUCCESS);
    snprintf(workspace, sizeof workspace, "\nworkspace %zu\n", bytes);
    assert_non_null(strstr(text, workspace));
    assert_non_null(strstr(text, " chosen: bwd_"));
    assert_non_null(strstr(text, "\nbwd_rows "));
    assert_null(strstr(text, "\nfwd_"));
    clattn_plan_destroy(plan);
    desc.variant = "fwd_rows";
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CLATTN_INVALID_VARIANT);
    assert_true(heard_failure(&heard, CLATTN_INVALID_VARIANT, "fwd_rows forward backward", "pass"));
    desc.variant = NULL;
    desc.pass = CLATTN_FORWARD;
    plan = plan_of(&desc);
    assert_int_equal(clattn_plan_describe(plan, text, sizeof text, NULL), CL_SUCCESS);
    assert_null(strstr(text, "bwd_"));
    clattn_plan_destroy(plan);
    desc.pass = 99;
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CLATTN_INVALID_DESC);
    assert_true(heard_failure(&heard, CLATTN_INVALID_DESC, "pass 99", "pass"));
}

/* A line of a tuning file whose solver has the other pass is skipped without a remark, and the
 * words fwd and bwd hold for their passes. */
static void tuning_lines_are_of_one_pass(void **state) {
    (void)state;
    static const struct {
        const char *lines, *problem, *variant;
    } cases[] = {
        {"* ; * ; bwd_rows WORK_GROUP=3\n* ; * ; fwd_rows WORK_GROUP=2\n", "q8 d8",
         "fwd_rows WORK_GROUP=2"},
        {"* ; * ; fwd_rows WORK_GROUP=2\n* ; * ; bwd_rows WORK_GROUP=3\n", "q8 d8 bwd",
         "bwd_rows WORK_GROUP=3"},
        {"* ; fwd ; bwd_rows WORK_GROUP=3\n* ; bwd ; bwd_rows WORK_GROUP=5\n", "q8 d8 bwd",
         "bwd_rows WORK_GROUP=5"},
        {"* ; bwd ; fwd_rows WORK_GROUP=3\n* ; f32 fwd ; fwd_rows WORK_GROUP=5\n", "q8 d8",
         "fwd_rows WORK_GROUP=5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *file = fopen("passes.txt", "w");
        assert_non_null(file);
        assert_true(fputs(cases[i].lines, file) >= 0 && fclose(file) == 0);
        clattn_context_desc of = CLATTN_CONTEXT_DESC_INIT;
        of.context = tested.context;
        of.device = tested.id;
        of.notify = heard_notify;
        of.user_data = &heard;
        of.tuning_path = "passes.txt";
        heard = (struct heard){0};
        clattn_context tuned;
        clattn_plan plan;
        const clattn_desc desc = desc_of(cases[i].problem);
        assert_int_equal(clattn_context_create(&of, &tuned), CL_SUCCESS);
        assert_int_equal(clattn_plan_create(tuned, &desc, &plan), CL_SUCCESS);
        assert_string_equal(clattn_plan_variant(plan), cases[i].variant);
        assert_int_equal(heard.remarks + heard.failures, 0);
        clattn_plan_destroy(plan);
        clattn_context_destroy(tuned);
        remove("passes.txt");
    }
}

/* 4 bytes for each query of each head. */
static void the_workspace_is_linear(void **state) {
    (void)state;
    static const struct {
        const char *problem;
        size_t bytes;
    } cases[] = {{"b3 h6:2 q100 k7 d5 bwd", 4 * 3 * 6 * 100},
                 {"h16 q65536 d128 bwd", 4 * 16 * 65536},
                 {"q0 k9 d8 bwd", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clattn_desc desc = desc_of(cases[i].problem);
        desc.variant = "bwd_rows";
        clattn_plan plan = plan_of(&desc);
        size_t bytes = 1;
        assert_int_equal(clattn_plan_workspace_size(plan, &bytes), CL_SUCCESS);
        assert_int_equal(bytes, cases[i].bytes);
        clattn_plan_destroy(plan);
    }
}

/* ---- Runs ---- */

static void a_hundred_runs_are_equal(void **state) {
    (void)state;
    struct made made;
    unsigned char *first[GRADIENTS] = {NULL};
    make(&made, "f16 b2 h6:2 q70 k90 d24:16 causal softcap5 bwd");
    for (int turn = 0; turn < 100; turn++) {
        run(&made);
        for (int i = 0; i < GRADIENTS; i++) {
            size_t count;
            unsigned char *now =
                tensors_take(&made.tensors, (enum tensors_name)(TENSOR_D_Q + i), &count);
            if (turn) {
                assert_memory_equal(now, first[i], count * sizeof(cl_ushort));
                free(now);
            } else {
                first[i] = now;
            }
        }
    }
    for (int i = 0; i < GRADIENTS; i++)
        free(first[i]);
    drop(&made);
}

/* Nothing is wanted: the event completes all the same, and nothing is written. */
static void nothing_wanted_is_no_error(void **state) {
    (void)state;
    struct made made;
    make(&made, "q8 d8 bwd");
    made.slots.backward.d_q = made.slots.backward.d_k = made.slots.backward.d_v = NULL;
    run(&made);
    for (size_t i = 0; i < made.tensors.memories; i++) {
        const struct tensors_memory *memory = &made.tensors.memory[i];
        assert_memory_equal(memory->image, memory->result, memory->bytes);
    }
    drop(&made);
}

/* o and lse by clattn, both passes on one queue, an event between them; the gradients are near to
 * the definition's: what o's rounding adds is within the bound of f32's own. */
static void backward_follows_forward(void **state) {
    (void)state;
    static const char *const problems[] = {"b2 h4:2 q65 k80 d32:16 causal", "h2 q33 k40 d16"};
    for (size_t p = 0; p < sizeof problems / sizeof *problems; p++)
        for (int unordered = 0; unordered < 2; unordered++) {
            const cl_command_queue queue = unordered ? tested.unordered : tested.queue;
            char problem[128];
            snprintf(problem, sizeof problem, "%s bwd", problems[p]);
            struct made made;
            make(&made, problem);
            if (!queue) {
                drop(&made);
                continue;
            }
            const clattn_desc desc = desc_of(problems[p]);
            clattn_plan forward = plan_of(&desc);
            upload(&made);
            clattn_forward_args args =
                made.slots.args; /* o and lse are those that backward reads */
            args.workspace = NULL;
            cl_event between, done;
            assert_int_equal(clattn_enqueue_forward(forward, queue, &args, 0, NULL, &between),
                             CL_SUCCESS);
            assert_int_equal(
                clattn_enqueue_backward(made.plan, queue, &made.slots.backward, 1, &between, &done),
                CL_SUCCESS);
            tensors_download(&made.tensors, queue, done);
            clReleaseEvent(between);
            clReleaseEvent(done);
            float *const *data = made.tensors.data;
            const struct gradients_inputs in = {data[TENSOR_Q],     data[TENSOR_K],
                                                data[TENSOR_V],     data[TENSOR_D_O],
                                                data[TENSOR_D_LSE], tensors_extras(&made.tensors)};
            struct gradient expected[GRADIENTS];
            struct compare_gradients result;
            float *given[GRADIENTS];
            gradients_make(&made.tensors.live, CLATTN_SCALE_DEFAULT, &in, expected);
            for (int i = 0; i < GRADIENTS; i++) {
                size_t count;
                given[i] = tensors_take(&made.tensors, (enum tensors_name)(TENSOR_D_Q + i), &count);
            }
            const float *const compared[GRADIENTS] = {given[0], given[1], given[2]};
            assert_true(compare_backward(expected, compared, &result));
            for (int i = 0; i < GRADIENTS; i++)
                free(given[i]);
            gradients_free(expected);
            clattn_plan_destroy(forward);
            drop(&made);
        }
}

/* ---- Programs of an older header ---- */

struct args_first {
    size_t size;
    const clattn_tensor *tensors[10];
    cl_mem workspace;
    size_t workspace_offset;
    void *workspace_svm;
    cl_uint batch, seq_q, seq_kv;
    float scale;
    const void *extras;
};

static void the_least_size_is_that_of_the_first_release(void **state) {
    (void)state;
    assert_int_equal(sized_backward_args.least, sizeof(struct args_first));
    assert_int_equal(offsetof(clattn_backward_args, workspace),
                     offsetof(struct args_first, workspace));
    assert_int_equal(offsetof(clattn_backward_args, extras), offsetof(struct args_first, extras));
}

static int open_all(void **state) {
    (void)state;
    if (!test_device_open(&tested))
        return -1;
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
        cmocka_unit_test(misuse_is_refused_by_name),
        cmocka_unit_test(a_plan_runs_its_own_pass),
        cmocka_unit_test(a_description_names_solvers_of_the_pass),
        cmocka_unit_test(tuning_lines_are_of_one_pass),
        cmocka_unit_test(the_workspace_is_linear),
        cmocka_unit_test(a_hundred_runs_are_equal),
        cmocka_unit_test(nothing_wanted_is_no_error),
        cmocka_unit_test(backward_follows_forward),
        cmocka_unit_test(the_least_size_is_that_of_the_first_release),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
