/*
 * What clattn asks of OpenCL, seen from a layer below it (layer.h): an enqueue
 * neither allocates device memory nor blocks; whichever call fails, the failure
 * is reported, nothing leaks, and the next try works; and on a device with other
 * facts the answer is still right.
 *
 * OPENCL_LAYERS names the layer; without it there is nothing to test.
 */
#include "device.h"
#include "find_layer.h"
#include "heard.h"
#include "small.h"
#include "tensors.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct layer_controls *layer;
static struct test_device device;
static struct heard heard;
static struct small small;

static const struct {
    const char *variant; /* NULL: chosen */
    long launches;
} variants[] = {
    {NULL, 1}, {"fwd_rows", 1}, {"fwd_tile", 1}, {"fwd_lanes", 1}, {"memory_efficient", 2}};
enum { VARIANTS = sizeof variants / sizeof variants[0], WORKSPACE = 1 << 16 };

static cl_int make_context(clattn_context *context) {
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = device.context;
    desc.device = device.id;
    desc.notify = heard_notify;
    desc.user_data = &heard;
    return clattn_context_create(&desc, context);
}

static clattn_context need_context(void) {
    clattn_context context = NULL;
    assert_int_equal(make_context(&context), CL_SUCCESS);
    return context;
}

/* NULL where no such variant is legal. */
static clattn_plan make_plan(clattn_context context, const char *variant) {
    clattn_desc desc = small.desc;
    clattn_plan plan = NULL;
    desc.variant = variant;
    const cl_int code = clattn_plan_create(context, &desc, &plan);
    assert_true(code == CL_SUCCESS ||
                (variant && (code == CLATTN_INVALID_VARIANT || code == CLATTN_UNSUPPORTED)));
    return plan;
}

static void assert_works(clattn_plan plan) {
    small_poison(&small, device.queue);
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_true(small_right(&small, device.queue));
}

/* Counting ends here. */
static void assert_nothing_held(void) {
    const struct layer_counts counts = layer->stop();
    static const char *const names[LAYER_OBJECTS] = {"context", "device",  "queue",  "memory",
                                                     "svm",     "program", "kernel", "event"};
    for (int i = 0; i < LAYER_OBJECTS; i++) {
        if (counts.held[i] != 0) {
            fail_msg("references to a %s: %ld", names[i], counts.held[i]);
        }
    }
}

/* ---- Counting ---- */

static void count_enqueue(clattn_plan plan, cl_command_queue queue, bool with_event, long launches,
                          const char *what) {
    const cl_event before = clCreateUserEvent(device.context, NULL);
    cl_event after = NULL;
    layer->start();
    const cl_int code =
        clattn_enqueue_forward(plan, queue, &small.args, with_event, with_event ? &before : NULL,
                               with_event ? &after : NULL);
    const struct layer_counts counts = layer->stop();
    clSetUserEventStatus(before, CL_COMPLETE);
    clReleaseEvent(before);
    assert_int_equal(code, CL_SUCCESS);
    print_message("%s%s: %ld OpenCL calls, %ld kernels, %ld allocations, %ld blocking\n", what,
                  with_event ? ", events" : "", counts.calls, counts.launches, counts.allocations,
                  counts.blocking);
    assert_string_equal(counts.allocation ? counts.allocation : "", "");
    assert_string_equal(counts.blocker ? counts.blocker : "", "");
    assert_int_equal(counts.launches, launches);
    for (int i = 0; i < LAYER_OBJECTS; i++) {
        assert_int_equal(counts.held[i], i == LAYER_EVENT && with_event);
    }
    if (with_event) {
        assert_int_equal(clWaitForEvents(1, &after), CL_SUCCESS);
        clReleaseEvent(after);
    }
}

static void enqueue_neither_allocates_nor_blocks(void **state) {
    (void)state;
    clattn_context context = need_context();
    for (int i = 0; i < VARIANTS; i++) {
        clattn_plan plan = make_plan(context, variants[i].variant);
        if (!plan) {
            print_message("not on this device: %s\n", heard.message);
            continue;
        }
        for (int with_event = 0; with_event < 2; with_event++) {
            small_poison(&small, device.queue);
            count_enqueue(plan, device.queue, with_event, variants[i].launches,
                          clattn_plan_variant(plan));
            assert_true(small_right(&small, device.queue));
            if (device.unordered) {
                small_poison(&small, device.queue);
                count_enqueue(plan, device.unordered, with_event, variants[i].launches,
                              "out of order");
                assert_true(small_right(&small, device.unordered));
            }
        }
        small.args.batch = 0; /* nothing to compute: the event still completes */
        count_enqueue(plan, device.queue, true, 0, "empty batch");
        small.args.batch = CLATTN_FROM_DESC;
        clattn_plan_destroy(plan);
    }
    clattn_context_destroy(context);
}

static int make_a_plan(void *context) {
    clattn_plan plan = NULL;
    const cl_int code = clattn_plan_create(context, &small.desc, &plan);
    clattn_plan_destroy(plan);
    return code;
}

static void threads_share_one_program(void **state) {
    (void)state;
    clattn_context context = need_context();
    enum { MAKERS = 2 };
    thrd_t makers[MAKERS];
    layer->start();
    for (int i = 0; i < MAKERS; i++) {
        assert_int_equal(thrd_create(&makers[i], make_a_plan, context), thrd_success);
    }
    for (int i = 0; i < MAKERS; i++) {
        int code;
        assert_int_equal(thrd_join(makers[i], &code), thrd_success);
        assert_int_equal(code, CL_SUCCESS);
    }
    const struct layer_counts counts = layer->stop();
    assert_int_equal(counts.blocking, 1);
    assert_string_equal(counts.blocker, "clBuildProgram");
    clattn_context_destroy(context);
}

/* ---- Faults ---- */

static const cl_int codes[] = {CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES, CL_INVALID_OPERATION};

/* Judges a call into which the n-th fault may have fallen.  False when there was
 * no n-th call any more. */
static bool judge(cl_int status, cl_int injected, long n, const char *what) {
    const struct layer_counts counts = layer->look();
    layer->inject(NULL, 0, CL_SUCCESS);
    if (!counts.failed) {
        assert_int_equal(status, CL_SUCCESS);
        print_message("%s: %ld OpenCL calls failed in turn\n", what, n - 1);
        return false;
    }
    /* a device of OpenCL 1.x may refuse some questions: no answer is an answer */
    const bool optional = strcmp(counts.failed, "clGetDeviceInfo") == 0;
    if (status == CL_SUCCESS && !optional && heard.remarks == 0) {
        fail_msg("%s, call %ld: %s failed, and nothing was said", what, n, counts.failed);
    } else if (status != CL_SUCCESS) {
        if (status != injected) {
            fail_msg("%s, call %ld: %s gave %s, but the caller got %s: %s", what, n, counts.failed,
                     clattn_status_name(injected), clattn_status_name(status), heard.message);
        }
        assert_true(heard_failure(&heard, status, "", what));
    }
    return true;
}

static void any_call_of_context_creation_may_fail(void **state) {
    (void)state;
    bool more = true;
    for (long n = 1; more; n++) {
        const cl_int code = codes[n % 3];
        clattn_context context = NULL;
        heard = (struct heard){0};
        layer->start();
        layer->inject(NULL, n, code);
        const cl_int status = make_context(&context);
        more = judge(status, code, n, "clattn_context_create");
        assert_true((status == CL_SUCCESS) == (context != NULL));
        clattn_context_destroy(context);
        context = need_context();
        clattn_context_destroy(context);
        assert_nothing_held();
    }
}

typedef cl_int plan_maker(clattn_context, const clattn_desc *, clattn_plan *);

static void fail_plan_creation(plan_maker *maker, const char *variant) {
    bool more = true;
    for (long n = 1; more; n++) {
        const cl_int code = codes[n % 3];
        clattn_desc desc = small.desc;
        clattn_plan plan = NULL;
        desc.variant = variant;
        layer->start();
        clattn_context context = need_context();
        heard = (struct heard){0};
        layer->inject(NULL, n, code);
        const cl_int status = maker(context, &desc, &plan);
        more = judge(status, code, n, variant ? variant : "chosen");
        assert_true((status == CL_SUCCESS) == (plan != NULL));
        if (!plan) {
            assert_int_equal(maker(context, &desc, &plan), CL_SUCCESS);
        }
        assert_works(plan);
        clattn_plan_destroy(plan);
        clattn_context_destroy(context);
        assert_nothing_held();
    }
}

static void any_call_of_plan_creation_may_fail(void **state) {
    (void)state;
    plan_maker *const makers[] = {clattn_plan_create, clattn_plan_find};
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        fail_plan_creation(makers[i], "fwd_rows"); /* asked for: it or an error */
        fail_plan_creation(makers[i], NULL); /* chosen: another may take over, with a remark */
    }
}

/* A plan that was found before costs nothing of OpenCL, and goes with its context. */
static void a_plan_is_made_once(void **state) {
    (void)state;
    layer->start();
    clattn_context context = need_context();
    clattn_plan first = NULL, second = NULL;
    assert_int_equal(clattn_plan_find(context, &small.desc, &first), CL_SUCCESS);
    const long calls = layer->look().calls;
    for (int held = 1; held >= 0; held--) {
        assert_int_equal(clattn_plan_find(context, &small.desc, &second), CL_SUCCESS);
        assert_ptr_equal(second, first);
        clattn_plan_destroy(held ? second : NULL);
        clattn_plan_destroy(first);
        assert_int_equal(layer->look().calls, calls);
    }
    clattn_context_destroy(context);
    assert_nothing_held();
}

static void any_call_of_enqueue_may_fail(void **state) {
    (void)state;
    layer->start();
    clattn_context context = need_context();
    for (int i = 0; i < VARIANTS; i++) {
        clattn_plan plan = make_plan(context, variants[i].variant);
        bool more = plan != NULL;
        for (long n = 1; more; n++) {
            const cl_int code = codes[n % 3];
            cl_event event = (cl_event)(void *)&small;
            small_poison(&small, device.queue);
            heard = (struct heard){0};
            layer->inject(NULL, n, code);
            const cl_int status =
                clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, &event);
            more = judge(status, code, n, clattn_plan_variant(plan));
            if (status == CL_SUCCESS) {
                clReleaseEvent(event);
                assert_true(small_right(&small, device.queue));
                continue;
            }
            assert_null(event);
            assert_true(small_untouched(&small, device.queue));
            assert_works(plan);
        }
        clattn_plan_destroy(plan);
    }
    clattn_context_destroy(context);
    assert_nothing_held();
}

/* ---- Backward ---- */

struct backward {
    clattn_plan plan;
    struct tensors tensors;
    struct tensors_args slots;
};

static void open_backward(struct backward *b, clattn_context context) {
    clattn_desc desc = CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse("b2 h4:2 q8 k16 d8:4 bwd", &desc), CL_SUCCESS);
    desc.variant = "bwd_rows";
    assert_int_equal(clattn_plan_create(context, &desc, &b->plan), CL_SUCCESS);
    struct tensors_desc what = {
        .desc = desc, .batch = desc.batch, .seq_q = desc.seq_q, .seq_kv = desc.seq_kv, .lse = true};
    for (int i = 0; i < TENSOR_COUNT; i++)
        what.input[i] = (struct tensors_input){KIND_UNIFORM, 1};
    assert_int_equal(clattn_plan_workspace_size(b->plan, &what.workspace), CL_SUCCESS);
    tensors_make(&b->tensors, &what, CLATTN_SCALE_DEFAULT, device.context);
    tensors_fill(&b->tensors, FILL_NAN);
    tensors_arguments(&b->tensors, CLATTN_SCALE_DEFAULT, &b->slots);
    cl_event events[TENSORS_MEMORIES];
    cl_uint count;
    tensors_upload(&b->tensors, device.queue, events, &count);
    assert_int_equal(clWaitForEvents(count, events), CL_SUCCESS);
    for (cl_uint i = 0; i < count; i++)
        clReleaseEvent(events[i]);
}

static void close_backward(struct backward *b) {
    clFinish(device.queue);
    tensors_free(&b->tensors);
    clattn_plan_destroy(b->plan);
}

/* A stage whose outputs nobody wants is not launched; nothing is allocated, nothing waits. */
static void backward_launches_what_is_wanted(void **state) {
    (void)state;
    clattn_context context = need_context();
    struct backward b;
    open_backward(&b, context);
    const clattn_backward_args all = b.slots.backward;
    /* By d_q, d_k, d_v.  Delta is one, which d_v does without. */
    static const long launches[] = {0, 2, 2, 3, 1, 3, 3, 4};
    for (unsigned wanted = 0; wanted < 8; wanted++)
        for (int unordered = 0; unordered < 2; unordered++) {
            const cl_command_queue queue = unordered ? device.unordered : device.queue;
            clattn_backward_args args = all;
            args.d_q = wanted & 1 ? all.d_q : NULL;
            args.d_k = wanted & 2 ? all.d_k : NULL;
            args.d_v = wanted & 4 ? all.d_v : NULL;
            if (!queue)
                continue;
            cl_event after = NULL;
            layer->start();
            assert_int_equal(clattn_enqueue_backward(b.plan, queue, &args, 0, NULL, &after),
                             CL_SUCCESS);
            const struct layer_counts counts = layer->stop();
            assert_int_equal(counts.launches, launches[wanted]);
            assert_string_equal(counts.allocation ? counts.allocation : "", "");
            assert_string_equal(counts.blocker ? counts.blocker : "", "");
            for (int i = 0; i < LAYER_OBJECTS; i++)
                assert_int_equal(counts.held[i], i == LAYER_EVENT);
            assert_int_equal(clWaitForEvents(1, &after), CL_SUCCESS);
            clReleaseEvent(after);
        }
    close_backward(&b);
    clattn_context_destroy(context);
}

static void any_call_of_a_backward_enqueue_may_fail(void **state) {
    (void)state;
    clattn_context context = need_context();
    struct backward b;
    open_backward(&b, context);
    layer->start();
    for (int unordered = 0; unordered < 2; unordered++) {
        const cl_command_queue queue = unordered ? device.unordered : device.queue;
        bool more = queue != NULL;
        for (long n = 1; more; n++) {
            const cl_int code = codes[n % 3];
            cl_event event = (cl_event)(void *)&small;
            heard = (struct heard){0};
            layer->inject(NULL, n, code);
            const cl_int status =
                clattn_enqueue_backward(b.plan, queue, &b.slots.backward, 0, NULL, &event);
            more = judge(status, code, n, "backward");
            assert_true((status == CL_SUCCESS) == (event != NULL));
            if (status == CL_SUCCESS) {
                assert_int_equal(clWaitForEvents(1, &event), CL_SUCCESS);
                clReleaseEvent(event);
            }
            assert_int_equal(clFinish(queue), CL_SUCCESS);
        }
    }
    assert_nothing_held();
    close_backward(&b);
    clattn_context_destroy(context);
}

/* A driver that builds nothing: the sentence carries the map of the text's lines. */
static void failed_builds_say_which_lines_are_whose(void **state) {
    (void)state;
    clattn_context context = need_context();
    clattn_desc desc = small.desc;
    clattn_plan plan = NULL;
    desc.variant = "fwd_rows";
    heard = (struct heard){0};
    layer->start();
    layer->inject("clBuildProgram", 1, CL_BUILD_PROGRAM_FAILURE);
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CL_BUILD_PROGRAM_FAILURE);
    layer->stop();
    assert_null(plan);
    assert_true(heard_failure(&heard, CL_BUILD_PROGRAM_FAILURE,
                              "fwd_rows lines parameters fwd_rows.cl score.cl", "failed build"));
    clattn_context_destroy(context);
}

/* ---- Other devices ---- */

static const struct {
    const char *name;
    struct layer_facts facts;
} fakes[] = {
    {"GPU, 16 KiB, 64", {.local_size = 16384, .group_size = 64, .type = CL_DEVICE_TYPE_GPU}},
    {"GPU, 64 KiB, 256", {.local_size = 65536, .group_size = 256, .type = CL_DEVICE_TYPE_GPU}},
    {"GPU, 1 KiB, 64", {.local_size = 1024, .group_size = 64, .type = CL_DEVICE_TYPE_GPU}},
    {"GPU, 1 KiB, 1", {.local_size = 1024, .group_size = 1, .type = CL_DEVICE_TYPE_GPU}},
    {"CPU, 1 KiB, 1", {.local_size = 1024, .group_size = 1, .type = CL_DEVICE_TYPE_CPU}},
    {"GPU, 16 KiB, 64, a compiler that takes 5000 bytes more",
     {.local_size = 16384, .group_size = 64, .type = CL_DEVICE_TYPE_GPU, .local_more = 5000}},
    {"GPU, 16 KiB, 64, a compiler that takes too much",
     {.local_size = 16384, .group_size = 64, .type = CL_DEVICE_TYPE_GPU, .local_more = 16384}},
    {"GPU, 16 KiB, 64, a driver that says nonsense",
     {.local_size = 16384, .group_size = 64, .type = CL_DEVICE_TYPE_GPU, .local_none = 1 << 20}},
    {"accelerator, 32 KiB, 7",
     {.local_size = 32768, .group_size = 7, .type = CL_DEVICE_TYPE_ACCELERATOR}},
};

static void faked_devices_get_right_answers(void **state) {
    (void)state;
    int legal = 0;
    for (size_t fake = 0; fake < sizeof fakes / sizeof fakes[0]; fake++) {
        layer->fake(&fakes[fake].facts);
        clattn_context context = need_context();
        for (int i = 0; i < VARIANTS; i++) {
            clattn_plan plan = make_plan(context, variants[i].variant);
            print_message("%s: %s: %s\n", fakes[fake].name,
                          variants[i].variant ? variants[i].variant : "chosen",
                          plan ? clattn_plan_variant(plan) : "not legal");
            if (!plan) {
                assert_non_null(variants[i].variant);
                continue;
            }
            assert_works(plan);
            clattn_plan_destroy(plan);
            legal++;
        }
        clattn_context_destroy(context);
    }
    layer->fake(&(struct layer_facts){0});
    assert_true(legal >= (int)(2 * sizeof fakes / sizeof fakes[0])); /* chosen, and fwd_rows */
}

/* A variant whose formula fits, but not what the compiler made of its kernel. */
static void local_memory_that_the_compiler_takes_is_told(void **state) {
    (void)state;
    struct layer_facts facts = {
        .local_size = 16384, .group_size = 64, .type = CL_DEVICE_TYPE_GPU, .local_more = 1};
    layer->fake(&facts);
    clattn_context context = need_context();
    clattn_plan plan = make_plan(context, "fwd_tile");
    clattn_desc desc = small.desc;
    char chosen[256];
    assert_non_null(plan);
    snprintf(chosen, sizeof chosen, "%s", clattn_plan_variant(plan));
    clattn_plan_destroy(plan);
    facts.local_more = 16384;
    layer->fake(&facts);
    desc.variant = chosen;
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CLATTN_UNSUPPORTED);
    assert_true(heard_failure(&heard, CLATTN_UNSUPPORTED, "plan fwd_tile bytes local memory 16384",
                              "local memory"));
    layer->fake(&(struct layer_facts){0});
    clattn_context_destroy(context);
}

static void svm_without_the_device_is_refused(void **state) {
    (void)state;
    char memory[16];
    layer->fake(&(struct layer_facts){.no_svm = 1});
    clattn_context context = need_context();
    clattn_plan plan = make_plan(context, NULL);
    clattn_tensor k = small.tensors[SMALL_K];
    k.buffer = NULL;
    k.svm = memory;
    small.args.k = &k;
    heard = (struct heard){0};
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL),
                     CLATTN_UNSUPPORTED);
    assert_true(heard_failure(&heard, CLATTN_UNSUPPORTED, "k SVM", "SVM that the device lacks"));
    small.args.k = &small.tensors[SMALL_K];
    clattn_plan_destroy(plan);

    plan = make_plan(context, "memory_efficient");
    const cl_mem workspace = small.args.workspace;
    small.args.workspace = NULL;
    small.args.workspace_svm = (void *)(uintptr_t)4096; /* nothing looks there */
    heard = (struct heard){0};
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL),
                     CLATTN_UNSUPPORTED);
    assert_true(heard_failure(&heard, CLATTN_UNSUPPORTED, "workspace SVM", "SVM that lacks"));
    small.args.workspace = workspace;
    small.args.workspace_svm = NULL;
    layer->fake(&(struct layer_facts){0});
    clattn_plan_destroy(plan);
    clattn_context_destroy(context);
}

static int open_device(void **state) {
    (void)state;
    if (!test_device_open(&device)) {
        return -1;
    }
    small_open(&small, device.context, device.queue, "b2 h4:2 q37 k53 d20:12 causal softcap5", 3);
    small.args.workspace = clCreateBuffer(device.context, 0, WORKSPACE, NULL, NULL);
    return small.args.workspace ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    clReleaseMemObject(small.args.workspace);
    small_close(&small);
    test_device_close(&device);
    return 0;
}

int main(void) {
    layer = find_layer();
    if (!layer) {
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enqueue_neither_allocates_nor_blocks),
        cmocka_unit_test(threads_share_one_program),
        cmocka_unit_test(any_call_of_context_creation_may_fail),
        cmocka_unit_test(any_call_of_plan_creation_may_fail),
        cmocka_unit_test(a_plan_is_made_once),
        cmocka_unit_test(any_call_of_enqueue_may_fail),
        cmocka_unit_test(backward_launches_what_is_wanted),
        cmocka_unit_test(any_call_of_a_backward_enqueue_may_fail),
        cmocka_unit_test(failed_builds_say_which_lines_are_whose),
        cmocka_unit_test(faked_devices_get_right_answers),
        cmocka_unit_test(local_memory_that_the_compiler_takes_is_told),
        cmocka_unit_test(svm_without_the_device_is_refused),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
