/*
 * Wrong arguments to clattn_enqueue_forward: each its code and one sentence that
 * names the tensor and the field, *event NULL, and not one byte of o and lse
 * written.  (What looks wrong and is not: test_views.)
 *
 * "Another device" needs a platform with two (PoCL: POCL_DEVICES="pthread basic").
 */
#include "misuse.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct change {
    size_t offset, size;
    const void *value;
};

#define FIELD(field, type, ...)                               \
    {                                                         \
        offsetof(struct call, field), sizeof(type), &(type) { \
            __VA_ARGS__                                       \
        }                                                     \
    }
#define SIZE(field, value) FIELD(field, size_t, value)
#define LONG(field, value) FIELD(field, cl_long, value)
#define UINT(field, value) FIELD(field, cl_uint, value)
#define SCALE(value) FIELD(args.scale, float, value)
#define EXTRAS(bytes) FIELD(args.extras, void *, &(clattn_extras){.size = (bytes)})
#define ALIBI(tensor) \
    FIELD(args.extras, void *, &(clattn_extras){.size = sizeof(clattn_extras), .alibi = (tensor)})
#define NONE(field) FIELD(field, void *, NULL)
#define HANDLE(field, handle) \
    { offsetof(struct call, field), sizeof(void *), &(handle) }
#define EVENTS(event) FIELD(events, const cl_event *, &(event))

#define SVM(field) FIELD(field, void *, &misuse.some_memory)

struct call_case {
    const char *what;
    cl_int code;
    const char *words; /* that the sentence mentions */
    struct change changes[4];
};

static const struct call_case wrong_calls[] = {
    {"args NULL", CL_INVALID_VALUE, "args", {NONE(args_pointer)}},
    {"args size 0", CLATTN_INVALID_ARGS, "size", {SIZE(args.size, 0)}},
    {"args size small", CLATTN_INVALID_ARGS, "size", {SIZE(args.size, 16)}},
    {"args size huge", CLATTN_INVALID_ARGS, "size", {SIZE(args.size, SIZE_MAX)}},
    {"extras size 0", CLATTN_INVALID_ARGS, "extras size", {EXTRAS(0)}},
    {"extras size small", CLATTN_INVALID_ARGS, "extras size", {EXTRAS(sizeof(size_t) - 1)}},
    {"extras size huge", CLATTN_INVALID_ARGS, "extras size", {EXTRAS(SIZE_MAX)}},
    {"alibi without its feature",
     CLATTN_INVALID_ARGS,
     "alibi",
     {ALIBI(&(clattn_tensor){.size = sizeof(clattn_tensor)})}},
    {"q NULL", CL_INVALID_VALUE, "q", {NONE(args.q)}},
    {"k NULL", CL_INVALID_VALUE, "k", {NONE(args.k)}},
    {"v NULL", CL_INVALID_VALUE, "v", {NONE(args.v)}},
    {"o NULL", CL_INVALID_VALUE, "o", {NONE(args.o)}},
    {"scale NaN", CLATTN_INVALID_ARGS, "scale", {SCALE(NAN)}},
    {"scale infinite", CLATTN_INVALID_ARGS, "scale", {SCALE(INFINITY)}},
    {"scale -infinite", CLATTN_INVALID_ARGS, "scale", {SCALE(-INFINITY)}},
    {"batch over the plan's", CLATTN_INVALID_ARGS, "batch", {UINT(args.batch, 3)}},
    {"seq_q over the plan's", CLATTN_INVALID_ARGS, "seq_q", {UINT(args.seq_q, 9)}},
    {"seq_kv over the plan's", CLATTN_INVALID_ARGS, "seq_kv", {UINT(args.seq_kv, 17)}},
    {"seq_kv just below FROM_DESC", CLATTN_INVALID_ARGS, "seq_kv", {UINT(args.seq_kv, ~1u)}},

    {"queue NULL", CL_INVALID_COMMAND_QUEUE, "queue", {NONE(queue)}},
    {"queue of another context", CL_INVALID_CONTEXT, "queue", {HANDLE(queue, misuse.other_queue)}},

    {"events without a list",
     CL_INVALID_EVENT_WAIT_LIST,
     "event_wait_list",
     {UINT(event_count, 1)}},
    {"a list of no events",
     CL_INVALID_EVENT_WAIT_LIST,
     "event_wait_list",
     {EVENTS(misuse.ready_event)}},
    {"NULL event",
     CL_INVALID_EVENT_WAIT_LIST,
     "event_wait_list",
     {UINT(event_count, 1), EVENTS(misuse.no_event)}},
    {"event of another context",
     CL_INVALID_CONTEXT,
     "event_wait_list",
     {UINT(event_count, 1), EVENTS(misuse.other_event)}},

    {"q size 0", CLATTN_INVALID_TENSOR, "q size", {SIZE(q.size, 0)}},
    {"k size small", CLATTN_INVALID_TENSOR, "k size", {SIZE(k.size, sizeof(clattn_tensor) - 8)}},
    {"o size huge", CLATTN_INVALID_TENSOR, "o size", {SIZE(o.size, SIZE_MAX)}},
    {"lse size 0", CLATTN_INVALID_TENSOR, "lse size", {SIZE(lse.size, 0)}},
    {"q nowhere", CLATTN_INVALID_TENSOR, "q buffer SVM", {NONE(q.buffer)}},
    {"o nowhere", CLATTN_INVALID_TENSOR, "o buffer SVM", {NONE(o.buffer)}},
    {"k in two places", CLATTN_INVALID_TENSOR, "k buffer SVM", {SVM(k.svm)}},
    {"lse in two places", CLATTN_INVALID_TENSOR, "lse buffer SVM", {SVM(lse.svm)}},
    {"q stride_batch < 0", CLATTN_INVALID_TENSOR, "q stride batch", {LONG(q.stride_batch, -1)}},
    {"k stride_head < 0", CLATTN_INVALID_TENSOR, "k stride head", {LONG(k.stride_head, -8)}},
    {"v stride_row < 0", CLATTN_INVALID_TENSOR, "v stride row", {LONG(v.stride_row, -4)}},
    {"o stride_row smallest",
     CLATTN_INVALID_TENSOR,
     "o stride row",
     {LONG(o.stride_row, INT64_MIN)}},
    {"lse stride_row < 0", CLATTN_INVALID_TENSOR, "lse stride row", {LONG(lse.stride_row, -1)}},
    {"q offset odd", CLATTN_INVALID_TENSOR, "q offset", {SIZE(q.offset, 1)}},
    {"o offset half an element", CLATTN_INVALID_TENSOR, "o offset", {SIZE(o.offset, 2)}},
    {"lse offset odd", CLATTN_INVALID_TENSOR, "lse offset", {SIZE(lse.offset, 3)}},

    {"q one element too long", CLATTN_OUT_OF_BOUNDS, "q", {SIZE(q.offset, 4)}},
    {"k one element too long", CLATTN_OUT_OF_BOUNDS, "k", {SIZE(k.offset, 4)}},
    {"v one element too long", CLATTN_OUT_OF_BOUNDS, "v", {SIZE(v.offset, 4)}},
    {"o one element too long", CLATTN_OUT_OF_BOUNDS, "o", {SIZE(o.offset, 4)}},
    {"lse one element too long", CLATTN_OUT_OF_BOUNDS, "lse", {SIZE(lse.offset, 4)}},
    {"q begins at its end", CLATTN_OUT_OF_BOUNDS, "q", {SIZE(q.offset, 2048)}},
    {"o begins after its end", CLATTN_OUT_OF_BOUNDS, "o", {SIZE(o.offset, 1 << 20)}},
    {"k offset that wraps", CLATTN_OUT_OF_BOUNDS, "k", {SIZE(k.offset, SIZE_MAX - 3)}},
    {"v offset that wraps to 0", CLATTN_OUT_OF_BOUNDS, "v", {SIZE(v.offset, SIZE_MAX - 1023)}},
    {"q stride_row one more", CLATTN_OUT_OF_BOUNDS, "q", {LONG(q.stride_row, 9)}},
    {"q stride_batch largest", CLATTN_OUT_OF_BOUNDS, "q", {LONG(q.stride_batch, INT64_MAX)}},
    {"k stride_batch that wraps", CLATTN_OUT_OF_BOUNDS, "k", {LONG(k.stride_batch, 1ll << 62)}},
    {"v stride_row that wraps", CLATTN_OUT_OF_BOUNDS, "v", {LONG(v.stride_row, 1ll << 60)}},
    {"o strides whose sum wraps",
     CLATTN_OUT_OF_BOUNDS,
     "o",
     {LONG(o.stride_batch, 1ll << 61), LONG(o.stride_head, 1ll << 61)}},
    {"lse stride_head largest", CLATTN_OUT_OF_BOUNDS, "lse", {LONG(lse.stride_head, INT64_MAX)}},
    {"q in a sub-buffer too small", CLATTN_OUT_OF_BOUNDS, "q", {HANDLE(q.buffer, misuse.narrow)}},

    {"o rows all the same", CLATTN_OVERLAP, "o", {LONG(o.stride_row, 0)}},
    {"o heads all the same", CLATTN_OVERLAP, "o", {LONG(o.stride_head, 0)}},
    {"o batches all the same", CLATTN_OVERLAP, "o", {LONG(o.stride_batch, 0)}},
    {"o rows share an element", CLATTN_OVERLAP, "o", {LONG(o.stride_row, 3)}},
    {"o heads share a row", CLATTN_OVERLAP, "o", {LONG(o.stride_head, 28)}},
    {"lse rows all the same", CLATTN_OVERLAP, "lse", {LONG(lse.stride_row, 0)}},
    {"o is q",
     CLATTN_OVERLAP,
     "o q",
     {HANDLE(q.buffer, misuse.arena), HANDLE(o.buffer, misuse.arena)}},
    {"o begins in q's last element",
     CLATTN_OVERLAP,
     "o q",
     {HANDLE(q.buffer, misuse.arena), HANDLE(o.buffer, misuse.arena), SIZE(o.offset, 2044)}},
    {"o ends in k's first element",
     CLATTN_OVERLAP,
     "o k",
     {HANDLE(k.buffer, misuse.arena), HANDLE(o.buffer, misuse.arena), SIZE(k.offset, 1020)}},
    {"o is v",
     CLATTN_OVERLAP,
     "o v",
     {HANDLE(v.buffer, misuse.arena), HANDLE(o.buffer, misuse.arena)}},
    {"o is lse",
     CLATTN_OVERLAP,
     "o lse",
     {HANDLE(lse.buffer, misuse.arena), HANDLE(o.buffer, misuse.arena)}},
    {"lse is q",
     CLATTN_OVERLAP,
     "lse q",
     {HANDLE(lse.buffer, misuse.arena), HANDLE(q.buffer, misuse.arena)}},
    {"lse in k",
     CLATTN_OVERLAP,
     "lse k",
     {HANDLE(lse.buffer, misuse.arena), HANDLE(k.buffer, misuse.arena), SIZE(lse.offset, 1000)}},
    {"lse in v's last element",
     CLATTN_OVERLAP,
     "lse v",
     {HANDLE(lse.buffer, misuse.arena), HANDLE(v.buffer, misuse.arena), SIZE(lse.offset, 1020)}},
    {"sub-buffers that overlap",
     CLATTN_OVERLAP,
     "o q",
     {HANDLE(q.buffer, misuse.low_half), HANDLE(o.buffer, misuse.middle)}},
    {"sub-buffer and its parent",
     CLATTN_OVERLAP,
     "o k",
     {HANDLE(k.buffer, misuse.arena), HANDLE(o.buffer, misuse.middle)}},

    {"o read-only", CLATTN_INVALID_TENSOR, "o", {HANDLE(o.buffer, misuse.read_only)}},
    {"lse read-only", CLATTN_INVALID_TENSOR, "lse", {HANDLE(lse.buffer, misuse.read_only)}},
    {"q write-only", CLATTN_INVALID_TENSOR, "q", {HANDLE(q.buffer, misuse.write_only)}},
    {"v write-only", CLATTN_INVALID_TENSOR, "v", {HANDLE(v.buffer, misuse.write_only)}},
    {"q of another context", CL_INVALID_CONTEXT, "q", {HANDLE(q.buffer, misuse.other_buffer)}},
    {"o of another context", CL_INVALID_CONTEXT, "o", {HANDLE(o.buffer, misuse.other_buffer)}},
    {"lse of another context",
     CL_INVALID_CONTEXT,
     "lse",
     {HANDLE(lse.buffer, misuse.other_buffer)}},
};

/* Of a plan that needs 256 bytes, at offset 256 of the arena. */
static const struct call_case wrong_workspaces[] = {
    {"no workspace",
     CLATTN_INVALID_WORKSPACE,
     "workspace workspace_svm NULL",
     {NONE(args.workspace)}},
    {"workspace in two places",
     CLATTN_INVALID_WORKSPACE,
     "workspace workspace_svm both",
     {SVM(args.workspace_svm)}},
    {"workspace_offset 4",
     CLATTN_INVALID_WORKSPACE,
     "workspace_offset",
     {SIZE(args.workspace_offset, 4)}},
    {"workspace_offset 128",
     CLATTN_INVALID_WORKSPACE,
     "workspace_offset",
     {SIZE(args.workspace_offset, 128)}},
    {"workspace ends after its buffer",
     CLATTN_INVALID_WORKSPACE,
     "workspace",
     {SIZE(args.workspace_offset, 16384)}},
    {"workspace_offset that wraps",
     CLATTN_INVALID_WORKSPACE,
     "workspace",
     {SIZE(args.workspace_offset, SIZE_MAX - 255)}},
    {"workspace read-only",
     CLATTN_INVALID_WORKSPACE,
     "workspace",
     {HANDLE(args.workspace, misuse.read_only)}},
    {"workspace write-only",
     CLATTN_INVALID_WORKSPACE,
     "workspace",
     {HANDLE(args.workspace, misuse.write_only)}},
    {"workspace of another context",
     CL_INVALID_CONTEXT,
     "workspace",
     {HANDLE(args.workspace, misuse.other_buffer)}},
    {"workspace in o", CLATTN_OVERLAP, "o workspace", {HANDLE(o.buffer, misuse.arena)}},
    {"workspace in q", CLATTN_OVERLAP, "q workspace", {HANDLE(q.buffer, misuse.arena)}},
    {"workspace in a part of v",
     CLATTN_OVERLAP,
     "v workspace",
     {HANDLE(v.buffer, misuse.low_half), SIZE(v.offset, 508)}},
};

/* Of a plan with CLATTN_PROMISE_ALIGNED. */
static const struct call_case broken_promises[] = {
    {"q begins at byte 4",
     CLATTN_INVALID_TENSOR,
     "q CLATTN_PROMISE_ALIGNED",
     {HANDLE(q.buffer, misuse.arena), SIZE(q.offset, 4)}},
    {"o begins at byte 8",
     CLATTN_INVALID_TENSOR,
     "o CLATTN_PROMISE_ALIGNED",
     {HANDLE(o.buffer, misuse.arena), SIZE(o.offset, 8)}},
    {"k rows of 36 bytes",
     CLATTN_INVALID_TENSOR,
     "k CLATTN_PROMISE_ALIGNED row 9",
     {HANDLE(k.buffer, misuse.arena), LONG(k.stride_row, 9)}},
    {"k heads of 516 bytes",
     CLATTN_INVALID_TENSOR,
     "k CLATTN_PROMISE_ALIGNED head 129",
     {HANDLE(k.buffer, misuse.arena), LONG(k.stride_head, 129)}},
    {"v batches of 1028 bytes",
     CLATTN_INVALID_TENSOR,
     "v CLATTN_PROMISE_ALIGNED batch 257",
     {HANDLE(v.buffer, misuse.arena), LONG(v.stride_batch, 257)}},
    {"q heads all the same",
     CLATTN_INVALID_TENSOR,
     "q CLATTN_PROMISE_ALIGNED head 0",
     {LONG(q.stride_head, 0)}},
    {"k batches all the same",
     CLATTN_INVALID_TENSOR,
     "k CLATTN_PROMISE_ALIGNED batch 0",
     {LONG(k.stride_batch, 0)}},
    {"v rows all the same",
     CLATTN_INVALID_TENSOR,
     "v CLATTN_PROMISE_ALIGNED row 0",
     {LONG(v.stride_row, 0)}},
};

/* What the promise is not about. */
static const struct call_case kept_promises[] = {
    {"as planned", CL_SUCCESS, "", {{0}}},
    {"lse at byte 4", CL_SUCCESS, "", {HANDLE(lse.buffer, misuse.arena), SIZE(lse.offset, 4)}},
    {"one row of q, by any stride", CL_SUCCESS, "", {UINT(args.seq_q, 1), LONG(q.stride_row, 9)}},
    {"no key, at byte 4",
     CL_SUCCESS,
     "",
     {UINT(args.seq_kv, 0), SIZE(k.offset, 4), LONG(k.stride_head, 0)}},
};

/* The call of a case.  Its args point into it. */
static void prepare_case(struct call *call, const struct call_case *c) {
    call_prepare(call);
    for (size_t change = 0; change < 4 && c->changes[change].size; change++) {
        memcpy((char *)call + c->changes[change].offset, c->changes[change].value,
               c->changes[change].size);
    }
}

/* The number of cases that are not refused as they should be. */
static int try_all(clattn_plan plan, const struct call_case *cases, size_t count) {
    int wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const struct call_case *const c = &cases[i];
        struct call call;
        prepare_case(&call, c);
        wrong += !call_refused(plan, &call, c->code, c->words, c->what);
    }
    print_message("%zu wrong calls\n", count);
    return wrong;
}

static void wrong_calls_are_refused(void **state) {
    (void)state;
    assert_int_equal(try_all(misuse.plan, wrong_calls, sizeof wrong_calls / sizeof wrong_calls[0]),
                     0);

    struct call call;
    call_prepare(&call);
    cl_event event = (cl_event)(void *)&misuse.some_memory;
    assert_int_equal(call_enqueue(NULL, &call, &event), CL_INVALID_VALUE);
    assert_null(event);
    call.args.q = NULL; /* and no event to set */
    assert_int_equal(call_enqueue(misuse.plan, &call, NULL), CL_INVALID_VALUE);

    call_prepare(&call); /* the inputs of all these are as they were */
    assert_int_equal(call_enqueue(misuse.plan, &call, NULL), CL_SUCCESS);
    assert_true(small_right(&misuse.small, misuse.device.queue));
    small_poison(&misuse.small, misuse.device.queue);
}

static void accept_all(clattn_plan plan, const struct call_case *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct call call;
        prepare_case(&call, &cases[i]);
        if (call_enqueue(plan, &call, NULL) != CL_SUCCESS) {
            fail_msg("%s: %s", cases[i].what, misuse.heard.message);
        }
    }
}

static void broken_promises_are_refused(void **state) {
    (void)state;
    clattn_desc desc = misuse.small.desc;
    clattn_plan plan;
    desc.promises = CLATTN_PROMISE_ALIGNED;
    assert_int_equal(clattn_plan_create(misuse.context, &desc, &plan), CL_SUCCESS);
    enum { BROKEN = sizeof broken_promises / sizeof *broken_promises };
    assert_int_equal(try_all(plan, broken_promises, BROKEN), 0);
    accept_all(plan, kept_promises, sizeof kept_promises / sizeof *kept_promises);
    accept_all(misuse.plan, broken_promises, BROKEN); /* to this plan nothing was promised */
    clattn_plan_destroy(plan);
    small_poison(&misuse.small, misuse.device.queue);
}

/* A plan that needs 512 bytes. */
static clattn_plan plan_with_workspace(void) {
    clattn_desc desc = misuse.small.desc;
    clattn_plan plan = NULL;
    size_t bytes = 0;
    desc.variant = "memory_efficient";
    assert_int_equal(clattn_plan_create(misuse.context, &desc, &plan), CL_SUCCESS);
    assert_int_equal(clattn_plan_workspace_size(plan, &bytes), CL_SUCCESS);
    assert_int_equal(bytes, 512);
    return plan;
}

static void wrong_workspaces_are_refused(void **state) {
    (void)state;
    clattn_plan plan = plan_with_workspace();
    misuse.small.args.workspace = misuse.arena;
    misuse.small.args.workspace_offset = 256;
    assert_int_equal(
        try_all(plan, wrong_workspaces, sizeof wrong_workspaces / sizeof wrong_workspaces[0]), 0);
    struct call call;
    call_prepare(&call);
    call.args.workspace_offset = 16384 - 512; /* up to the last byte */
    assert_int_equal(call_enqueue(plan, &call, NULL), CL_SUCCESS);
    assert_true(small_right(&misuse.small, misuse.device.queue));
    small_poison(&misuse.small, misuse.device.queue);
    misuse.small.args.workspace = NULL;
    misuse.small.args.workspace_offset = 0;
    clattn_plan_destroy(plan);
}

static void assert_runs(clattn_plan plan, const struct call *call) {
    assert_int_equal(call_enqueue(plan, call, NULL), CL_SUCCESS);
    assert_true(small_right(&misuse.small, misuse.device.queue));
    small_poison(&misuse.small, misuse.device.queue);
}

/* SVM has no size that could be asked for, and no alignment that could be counted on. */
static void svm_workspaces_are_checked_likewise(void **state) {
    (void)state;
    enum { BYTES = 4096, NEEDED = 512 };
    if (!misuse.device.svm) {
        print_message("skipped: the device has no shared virtual memory\n");
        skip();
    }
    char *const memory = clSVMAlloc(misuse.device.context, CL_MEM_READ_WRITE, BYTES, 0);
    assert_non_null(memory);
    const size_t first = 256 - (uintptr_t)memory % 256; /* that lies at a multiple of 256 */
    char *const aligned = memory + first, *const askew = aligned + 4, *const half = aligned + 128;
    const struct call_case wrong[] = {
        {"SVM workspace_offset 4",
         CLATTN_INVALID_WORKSPACE,
         "workspace_svm workspace_offset 4 256",
         {SIZE(args.workspace_offset, 4)}},
        {"SVM workspace_offset 128",
         CLATTN_INVALID_WORKSPACE,
         "workspace_svm workspace_offset",
         {SIZE(args.workspace_offset, 128)}},
        {"workspace_svm askew",
         CLATTN_INVALID_WORKSPACE,
         "workspace_svm workspace_offset",
         {HANDLE(args.workspace_svm, askew)}},
        {"workspace_svm half way and the offset not",
         CLATTN_INVALID_WORKSPACE,
         "workspace_svm workspace_offset",
         {HANDLE(args.workspace_svm, half), SIZE(args.workspace_offset, 256)}},
        {"SVM workspace_offset that wraps",
         CLATTN_INVALID_WORKSPACE,
         "workspace",
         {SIZE(args.workspace_offset, SIZE_MAX - 255)}},
        {"SVM workspace in o",
         CLATTN_OVERLAP,
         "o workspace",
         {NONE(o.buffer), HANDLE(o.svm, aligned)}},
        {"SVM workspace in q's last element",
         CLATTN_OVERLAP,
         "q workspace",
         {NONE(q.buffer), HANDLE(q.svm, memory), SIZE(args.workspace_offset, 1536)}},
    };
    clattn_plan plan = plan_with_workspace();
    misuse.small.args.workspace_svm = aligned;
    assert_int_equal(try_all(plan, wrong, sizeof wrong / sizeof wrong[0]), 0);
    struct call call;
    call_prepare(&call);
    assert_runs(plan, &call);
    call.args.workspace_offset = 1024;
    assert_runs(plan, &call);
    call.args.workspace_svm = half;
    call.args.workspace_offset = 128;
    assert_runs(plan, &call);
    call.args.workspace_svm = memory;
    call.args.workspace_offset = first;
    assert_runs(plan, &call);
    /* Where nothing is needed, nothing is looked at. */
    call.args.workspace = misuse.other_buffer;
    call.args.workspace_svm = askew;
    assert_runs(misuse.plan, &call);
    misuse.small.args.workspace_svm = NULL;
    clattn_plan_destroy(plan);
    assert_int_equal(clFinish(misuse.device.queue), CL_SUCCESS);
    clSVMFree(misuse.device.context, memory);
}

/* A device of the same platform but device.id; NULL where there is none. */
static cl_device_id another_device(void) {
    cl_device_id ids[16];
    cl_uint count = 0;
    clGetDeviceIDs(misuse.device.platform, CL_DEVICE_TYPE_ALL, 16, ids, &count);
    for (cl_uint i = 0; i < count && i < 16; i++) {
        if (ids[i] != misuse.device.id) {
            return ids[i];
        }
    }
    return NULL;
}

static void queue_of_another_device_is_refused(void **state) {
    (void)state;
    const cl_device_id both[] = {misuse.device.id, another_device()};
    if (!both[1]) {
        print_message("skipped: the platform has one device\n");
        skip();
    }
    cl_int status;
    const cl_context shared = clCreateContext(NULL, 2, both, NULL, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    const cl_command_queue queue =
        clCreateCommandQueueWithProperties(shared, both[1], NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = shared;
    desc.device = both[0];
    desc.notify = heard_notify;
    desc.user_data = &misuse.heard;
    clattn_context first = NULL;
    clattn_plan on_first = NULL;
    assert_int_equal(clattn_context_create(&desc, &first), CL_SUCCESS);
    assert_int_equal(clattn_plan_create(first, &misuse.small.desc, &on_first), CL_SUCCESS);
    struct call call;
    call_prepare(&call);
    call.queue = queue;
    assert_true(
        call_refused(on_first, &call, CL_INVALID_DEVICE, "queue", "queue of another device"));
    clattn_plan_destroy(on_first);
    clattn_context_destroy(first);
    clReleaseCommandQueue(queue);
    clReleaseContext(shared);
}

static void image_is_refused(void **state) {
    (void)state;
    if (!misuse.image) {
        print_message("skipped: the device has no images\n");
        skip();
    }
    struct call call;
    call_prepare(&call);
    call.q.buffer = misuse.image;
    assert_true(call_refused(misuse.plan, &call, CL_INVALID_MEM_OBJECT, "q", "q an image"));
    call_prepare(&call);
    call.lse.buffer = misuse.image;
    assert_true(call_refused(misuse.plan, &call, CL_INVALID_MEM_OBJECT, "lse", "lse an image"));
}

/* A caller built against a later header: fine as long as it asks for nothing new. */
static void longer_structs_must_be_zero_beyond(void **state) {
    (void)state;
    struct {
        clattn_forward_args args;
        char later[8];
    } args;
    struct {
        clattn_tensor o;
        char later[8];
    } o;
    struct {
        clattn_extras extras;
        char later[8];
    } extras = {{.size = sizeof extras}, {0}};
    struct call call;
    call_prepare(&call);
    memset(&args, 0, sizeof args);
    memset(&o, 0, sizeof o);
    args.args = call.args;
    args.args.size = sizeof args;
    args.args.o = &o.o;
    args.args.extras = &extras.extras;
    o.o = call.o;
    o.o.size = sizeof o;
    call.args_pointer = &args.args;

    args.later[7] = 1;
    assert_true(call_refused(misuse.plan, &call, CLATTN_INVALID_ARGS, "size", "later args"));
    args.later[7] = 0;
    o.later[0] = 1;
    assert_true(
        call_refused(misuse.plan, &call, CLATTN_INVALID_TENSOR, "o size", "a later tensor"));
    o.later[0] = 0;
    extras.later[7] = 1;
    assert_true(
        call_refused(misuse.plan, &call, CLATTN_INVALID_ARGS, "extras size", "later extras"));
    extras.later[7] = 0;
    assert_int_equal(call_enqueue(misuse.plan, &call, NULL), CL_SUCCESS);
    assert_true(small_right(&misuse.small, misuse.device.queue));
    small_poison(&misuse.small, misuse.device.queue);
}

/* The tensor of a feature is checked like the others: here slopes [2, 4] of floats. */
static void wrong_alibi_is_refused(void **state) {
    (void)state;
    clattn_plan plan;
    clattn_desc desc = misuse.small.desc;
    desc.features = CLATTN_FEATURE_ALIBI;
    assert_int_equal(clattn_plan_create(misuse.context, &desc, &plan), CL_SUCCESS);
    const clattn_tensor good = CLATTN_TENSOR_HEADS(misuse.low_half);
    clattn_tensor alibi;
    const struct change past_the_end = {offsetof(clattn_tensor, offset), sizeof(size_t),
                                        &(size_t){8192 - 12}};
    const struct {
        cl_int code;
        const char *words;
        struct change change; /* of the tensor */
    } cases[] = {
        {CLATTN_OUT_OF_BOUNDS, "alibi", past_the_end},
        {CLATTN_INVALID_TENSOR,
         "alibi offset",
         {offsetof(clattn_tensor, offset), sizeof(size_t), &(size_t){2}}},
        {CLATTN_INVALID_TENSOR,
         "alibi stride",
         {offsetof(clattn_tensor, stride_head), sizeof(cl_long), &(cl_long){-1}}},
        {CLATTN_INVALID_TENSOR,
         "alibi CL_MEM_WRITE_ONLY",
         {offsetof(clattn_tensor, buffer), sizeof(cl_mem), &misuse.write_only}},
        {CLATTN_OVERLAP,
         "o shares alibi",
         {offsetof(clattn_tensor, buffer), sizeof(cl_mem), &misuse.small.buffers[SMALL_O]}},
    };
    struct call call;
    call_prepare(&call);
    assert_true(call_refused(plan, &call, CLATTN_INVALID_ARGS, "alibi NULL feature", "no extras"));
    clattn_extras extras = CLATTN_EXTRAS_INIT;
    call.args.extras = &extras;
    assert_true(call_refused(plan, &call, CLATTN_INVALID_ARGS, "alibi NULL feature", "no alibi"));
    extras.alibi = &alibi;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        alibi = good;
        memcpy((unsigned char *)&alibi + cases[i].change.offset, cases[i].change.value,
               cases[i].change.size);
        assert_true(call_refused(plan, &call, cases[i].code, cases[i].words, cases[i].words));
    }
    alibi = good;
    alibi.offset = 8192 - 16; /* the last four floats */
    assert_int_equal(call_enqueue(plan, &call, NULL), CL_SUCCESS);
    clFinish(misuse.device.queue);
    small_poison(&misuse.small, misuse.device.queue);
    clattn_plan_destroy(plan);
}

/* A bias and a mask have shapes of their own, by the lengths of the enqueue; a sink is as slopes.
 */
static void wrong_extras_are_refused(void **state) {
    (void)state;
    clattn_plan plan;
    clattn_desc desc = misuse.small.desc;
    desc.features = CLATTN_FEATURE_BIAS | CLATTN_FEATURE_MASK | CLATTN_FEATURE_SINK;
    desc.type_bias = CLATTN_F16;
    assert_int_equal(clattn_plan_create(misuse.context, &desc, &plan), CL_SUCCESS);
    const cl_long keys = desc.seq_kv, rows = desc.seq_q, last = 8192 - (rows - 1) * keys;
    clattn_tensor bias = CLATTN_TENSOR_BHSD(misuse.low_half, 1, 1, keys), mask = bias;
    clattn_tensor sink = CLATTN_TENSOR_HEADS(misuse.low_half);
    bias.stride_batch = bias.stride_head = mask.stride_batch = mask.stride_head = 0;
    clattn_extras extras = CLATTN_EXTRAS_INIT;
    struct call call;
    call_prepare(&call);
    call.args.extras = &extras;
    extras.mask = &mask;
    extras.sink = &sink;
    assert_true(call_refused(plan, &call, CLATTN_INVALID_ARGS, "bias NULL feature", "no bias"));
    extras.bias = &bias;
    extras.d_sink = &sink;
    assert_true(call_refused(plan, &call, CLATTN_INVALID_ARGS, "d_sink backward", "d_sink"));
    extras.d_sink = NULL;
    mask.offset = (size_t)(last - keys) + 1;
    assert_true(call_refused(plan, &call, CLATTN_OUT_OF_BOUNDS, "mask", "mask past the end"));
    mask.offset = 0;
    bias.offset = 1;
    assert_true(call_refused(plan, &call, CLATTN_INVALID_TENSOR, "bias offset", "half an element"));
    bias.offset = (size_t)(8192 - 2 * (rows * keys) + 2);
    assert_true(call_refused(plan, &call, CLATTN_OUT_OF_BOUNDS, "bias", "bias past the end"));
    bias.offset -= 2; /* its last element is the buffer's */
    mask.offset = (size_t)(last - keys);
    assert_int_equal(call_enqueue(plan, &call, NULL), CL_SUCCESS);
    clFinish(misuse.device.queue);
    small_poison(&misuse.small, misuse.device.queue);
    clattn_plan_destroy(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(broken_promises_are_refused),
        cmocka_unit_test(wrong_workspaces_are_refused),
        cmocka_unit_test(svm_workspaces_are_checked_likewise),
        cmocka_unit_test(queue_of_another_device_is_refused),
        cmocka_unit_test(image_is_refused),
        cmocka_unit_test(longer_structs_must_be_zero_beyond),
        cmocka_unit_test(wrong_alibi_is_refused),
        cmocka_unit_test(wrong_extras_are_refused),
    };
    return cmocka_run_group_tests(tests, misuse_open, misuse_close);
}
