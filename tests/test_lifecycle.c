/*
 * Who outlives whom: destruction in any order and beside running work, the
 * caller's handles given back, several contexts, and one plan in many threads.
 */
#include "device.h"
#include "heard.h"
#include "small.h"

#include <stdatomic.h>
#include <string.h>
#include <threads.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct test_device device;

static cl_int make_context(cl_context context, cl_device_id id, clattn_context *made) {
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = context;
    desc.device = id;
    return clattn_context_create(&desc, made);
}

static clattn_context open_context(cl_context context) {
    clattn_context made = NULL;
    assert_int_equal(make_context(context, device.id, &made), CL_SUCCESS);
    return made;
}

static clattn_plan open_plan(clattn_context context, const char *text) {
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_plan made = NULL;
    assert_int_equal(clattn_desc_parse(text, &desc), CL_SUCCESS);
    assert_int_equal(clattn_plan_create(context, &desc, &made), CL_SUCCESS);
    return made;
}

/* NULL where the driver makes none. */
static cl_command_queue try_queue(cl_context context, cl_device_id id) {
    cl_int status;
    cl_command_queue queue = clCreateCommandQueueWithProperties(context, id, NULL, &status);
    return status == CL_SUCCESS ? queue : NULL;
}

static cl_command_queue open_queue(cl_context context) {
    cl_command_queue queue = try_queue(context, device.id);
    assert_non_null(queue);
    return queue;
}

static const char problem[] = "b2 h4:2 q33 k49 d24:16 causal";

static void null_is_destroyed_in_peace(void **state) {
    (void)state;
    clattn_plan_destroy(NULL);
    clattn_context_destroy(NULL);
    clattn_context context = open_context(device.context);
    clattn_context_destroy(context); /* no plan was ever made */
}

static void plan_outlives_its_context(void **state) {
    (void)state;
    struct small small;
    small_open(&small, device.context, device.queue, problem, 1);
    clattn_context context = open_context(device.context);
    clattn_plan first = open_plan(context, problem), second = open_plan(context, problem);
    clattn_plan_destroy(first);
    clattn_context_destroy(context);
    assert_true(clattn_plan_variant(second)[0] != '\0');
    assert_int_equal(clattn_enqueue_forward(second, device.queue, &small.args, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_true(small_right(&small, device.queue));
    clattn_plan_destroy(second);
    small_close(&small);
}

/* Everything of clattn goes before the kernel may even begin. */
static void work_outlives_its_plan(void **state) {
    (void)state;
    struct small small;
    cl_int status;
    small_open(&small, device.context, device.queue, problem, 2);
    clattn_context context = open_context(device.context);
    clattn_plan plan = open_plan(context, problem);
    cl_event gate = clCreateUserEvent(device.context, &status);
    assert_int_equal(status, CL_SUCCESS);
    cl_event done = NULL;
    assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 1, &gate, &done),
                     CL_SUCCESS);
    clattn_plan_destroy(plan);
    clattn_context_destroy(context);
    clSetUserEventStatus(gate, CL_COMPLETE);
    assert_int_equal(clWaitForEvents(1, &done), CL_SUCCESS);
    assert_true(small_right(&small, device.queue));
    clReleaseEvent(done);
    clReleaseEvent(gate);
    small_close(&small);
}

/* ---- References ---- */

enum { HANDLES = 3 + SMALL_TENSORS };

static void count_references(const struct small *small, cl_uint counts[HANDLES]) {
    memset(counts, 0, HANDLES * sizeof counts[0]);
    clGetContextInfo(device.context, CL_CONTEXT_REFERENCE_COUNT, sizeof(cl_uint), &counts[0], NULL);
    clGetCommandQueueInfo(device.queue, CL_QUEUE_REFERENCE_COUNT, sizeof(cl_uint), &counts[1],
                          NULL);
    clGetDeviceInfo(device.id, CL_DEVICE_REFERENCE_COUNT, sizeof(cl_uint), &counts[2], NULL);
    for (int i = 0; i < SMALL_TENSORS; i++) {
        clGetMemObjectInfo(small->buffers[i], CL_MEM_REFERENCE_COUNT, sizeof(cl_uint),
                           &counts[3 + i], NULL);
    }
}

static void handles_are_given_back(void **state) {
    (void)state;
    cl_uint before[HANDLES], after[HANDLES];
    struct small small;
    small_open(&small, device.context, device.queue, problem, 3);
    for (int round = 0; round < 2; round++) { /* the first: a driver may keep things once */
        count_references(&small, before);
        clattn_context context = open_context(device.context);
        clattn_plan plan = open_plan(context, problem);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL),
                             CL_SUCCESS);
        }
        small.args.seq_q = 34; /* over the plan's: a failure keeps nothing either */
        assert_int_equal(clattn_enqueue_forward(plan, device.queue, &small.args, 0, NULL, NULL),
                         CLATTN_INVALID_ARGS);
        small.args.seq_q = CLATTN_FROM_DESC;
        assert_true(small_right(&small, device.queue));
        clattn_plan_destroy(plan);
        clattn_context_destroy(context);
        /* a driver's own threads may let go a little later */
        for (int wait = 0; wait < 200; wait++) {
            count_references(&small, after);
            if (memcmp(before, after, sizeof before) == 0) {
                break;
            }
            thrd_sleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
    }
    for (int i = 0; i < HANDLES; i++) {
        assert_int_equal(after[i], before[i]);
    }
    small_close(&small);
}

static void contexts_do_not_meet(void **state) {
    (void)state;
    cl_int status;
    cl_context other = clCreateContext(NULL, 1, &device.id, NULL, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    cl_command_queue other_queue = open_queue(other);
    struct small here, there;
    small_open(&here, device.context, device.queue, problem, 4);
    small_open(&there, other, other_queue, problem, 5);
    clattn_context first = open_context(device.context), second = open_context(device.context),
                   third = open_context(other);
    clattn_plan plans[] = {open_plan(first, problem), open_plan(second, problem),
                           open_plan(third, problem)};
    clattn_context_destroy(first);
    assert_int_equal(clattn_enqueue_forward(plans[0], device.queue, &here.args, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_true(small_right(&here, device.queue));
    clattn_plan_destroy(plans[0]);
    assert_int_equal(clattn_enqueue_forward(plans[2], other_queue, &there.args, 0, NULL, NULL),
                     CL_SUCCESS);
    small_poison(&here, device.queue);
    assert_int_equal(clattn_enqueue_forward(plans[1], device.queue, &here.args, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_true(small_right(&there, other_queue));
    assert_true(small_right(&here, device.queue));
    assert_int_equal(clattn_enqueue_forward(plans[1], other_queue, &there.args, 0, NULL, NULL),
                     CL_INVALID_CONTEXT);
    clattn_plan_destroy(plans[1]);
    clattn_plan_destroy(plans[2]);
    clattn_context_destroy(third);
    clattn_context_destroy(second);
    small_close(&here);
    small_close(&there);
    clReleaseCommandQueue(other_queue);
    clReleaseContext(other);
}

/* ---- Sub-devices ---- */

/* clattn accepts (context, id) when the driver does, and then computes there. */
static void agree_with_the_driver(cl_context context, cl_device_id id, bool own) {
    cl_command_queue queue = try_queue(context, id);
    clattn_context made = NULL;
    assert_true(queue || !own);
    assert_int_equal(make_context(context, id, &made), queue ? CL_SUCCESS : CL_INVALID_DEVICE);
    if (!queue) {
        return;
    }
    struct small small;
    small_open(&small, context, queue, problem, 6);
    clattn_plan plan = open_plan(made, problem);
    assert_int_equal(clattn_enqueue_forward(plan, queue, &small.args, 0, NULL, NULL), CL_SUCCESS);
    assert_true(small_right(&small, queue));
    small_close(&small);
    clattn_plan_destroy(plan);
    clattn_context_destroy(made);
    clReleaseCommandQueue(queue);
}

static void sub_devices_are_devices(void **state) {
    (void)state;
    const cl_device_partition_property units[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    enum { MOST = 256 };
    cl_device_id subs[MOST];
    cl_uint count = 0;
    if (clCreateSubDevices(device.id, units, 0, NULL, &count) != CL_SUCCESS || count < 2 ||
        count > MOST || clCreateSubDevices(device.id, units, count, subs, NULL) != CL_SUCCESS) {
        print_message("%s has no sub-devices\n", device.name);
        skip();
    }
    cl_int status;
    cl_context of_one = clCreateContext(NULL, 1, subs, NULL, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    cl_context of_two = clCreateContext(NULL, 2, subs, NULL, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    agree_with_the_driver(of_one, subs[0], true);
    agree_with_the_driver(of_one, subs[1], false);
    agree_with_the_driver(of_one, device.id, false);
    agree_with_the_driver(of_two, subs[0], true);
    agree_with_the_driver(of_two, subs[1], true);
    agree_with_the_driver(device.context, subs[1], false);
    clReleaseContext(of_two);
    clReleaseContext(of_one);
    for (cl_uint i = 0; i < count; i++) {
        clReleaseDevice(subs[i]);
    }
}

/* ---- Threads ---- */

/* Each thread its own lengths and buffers, within one plan's bounds. */
static const char largest[] = "b2 h4:2 q64 k80 d24:16 causal";
static const char *const parts[] = {
    "b2 h4:2 q64 k80 d24:16 causal",
    "b1 h4:2 q64 k80 d24:16 causal",
    "b2 h4:2 q17 k80 d24:16 causal",
    "b1 h4:2 q31 k33 d24:16 causal",
};
enum { THREADS = sizeof parts / sizeof parts[0], ROUNDS = 6, BURST = 8 };

struct worker {
    clattn_context context;
    clattn_plan plan;
    cl_command_queue queue;
    const char *text;
    cl_uint seed;
    atomic_int *arrived; /* threads at the start of a round, over all rounds; or NULL */
};

/* Enqueues bursts on buffers of its own, each burst beside those of the other
 * threads.  The number of wrong answers. */
static int work(void *data) {
    const struct worker *const w = data;
    struct small smalls[BURST];
    int wrong = 0;
    for (cl_uint i = 0; i < BURST; i++) {
        struct small *const s = &smalls[i];
        small_open(s, device.context, w->queue, w->text, w->seed + 7 * i);
        s->args.batch = s->desc.batch;
        s->args.seq_q = s->desc.seq_q;
        s->args.seq_kv = s->desc.seq_kv;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BURST; i++) {
            small_poison(&smalls[i], w->queue);
        }
        if (w->arrived) {
            atomic_fetch_add(w->arrived, 1);
            while (atomic_load(w->arrived) < THREADS * (round + 1)) {
                thrd_yield();
            }
        }
        for (int i = 0; i < BURST; i++) {
            wrong += clattn_enqueue_forward(w->plan, w->queue, &smalls[i].args, 0, NULL, NULL) !=
                     CL_SUCCESS;
        }
        for (int i = 0; i < BURST; i++) {
            wrong += !small_right(&smalls[i], w->queue);
        }
    }
    for (int i = 0; i < BURST; i++) {
        small_close(&smalls[i]);
    }
    return wrong;
}

/* job in THREADS threads, on their own queues or on a shared one. */
static void run_threads(thrd_start_t job, cl_command_queue shared) {
    clattn_context context = open_context(device.context);
    clattn_plan plan = open_plan(context, largest);
    atomic_int arrived = 0;
    struct worker workers[THREADS];
    thrd_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){context,
                                     plan,
                                     shared ? shared : open_queue(device.context),
                                     parts[i],
                                     (cl_uint)(100 * i),
                                     job == work ? &arrived : NULL};
        assert_int_equal(thrd_create(&threads[i], job, &workers[i]), thrd_success);
    }
    for (int i = 0; i < THREADS; i++) {
        int wrong;
        assert_int_equal(thrd_join(threads[i], &wrong), thrd_success);
        assert_int_equal(wrong, 0);
        if (!shared) {
            clReleaseCommandQueue(workers[i].queue);
        }
    }
    clattn_plan_destroy(plan);
    clattn_context_destroy(context);
}

static void threads_share_a_plan_on_their_queues(void **state) {
    (void)state;
    run_threads(work, NULL);
}

static void threads_share_a_plan_and_a_queue(void **state) {
    (void)state;
    run_threads(work, device.queue);
}

/* Plans of one context, made and destroyed side by side; a plan that was made works. */
static int make_plans(void *data) {
    const struct worker *const w = data;
    int wrong = 0;
    for (int i = 0; i < 3; i++) {
        struct worker own = *w;
        clattn_desc desc = CLATTN_DESC_INIT;
        clattn_desc_parse(largest, &desc);
        if (clattn_plan_create(w->context, &desc, &own.plan) != CL_SUCCESS) {
            return wrong + 1;
        }
        wrong += work(&own);
        clattn_plan_destroy(own.plan);
    }
    return wrong;
}

static void threads_make_plans_side_by_side(void **state) {
    (void)state;
    run_threads(make_plans, NULL);
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
        cmocka_unit_test(null_is_destroyed_in_peace),
        cmocka_unit_test(plan_outlives_its_context),
        cmocka_unit_test(work_outlives_its_plan),
        cmocka_unit_test(handles_are_given_back),
        cmocka_unit_test(contexts_do_not_meet),
        cmocka_unit_test(sub_devices_are_devices),
        cmocka_unit_test(threads_share_a_plan_on_their_queues),
        cmocka_unit_test(threads_share_a_plan_and_a_queue),
        cmocka_unit_test(threads_make_plans_side_by_side),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
