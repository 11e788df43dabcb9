#include "misuse.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { ARENA = 16384 };

struct misuse misuse;

void call_prepare(struct call *call) {
    *call = (struct call){.queue = misuse.device.queue, .args = misuse.small.args};
    call->q = misuse.small.tensors[SMALL_Q];
    call->k = misuse.small.tensors[SMALL_K];
    call->v = misuse.small.tensors[SMALL_V];
    call->o = misuse.small.tensors[SMALL_O];
    call->lse = misuse.small.tensors[SMALL_LSE];
    call->args.q = &call->q;
    call->args.k = &call->k;
    call->args.v = &call->v;
    call->args.o = &call->o;
    call->args.lse = &call->lse;
    call->args_pointer = &call->args;
}

cl_int call_enqueue(clattn_plan plan, const struct call *call, cl_event *event) {
    misuse.heard = (struct heard){0};
    return clattn_enqueue_forward(plan, call->queue, call->args_pointer, call->event_count,
                                  call->events, event);
}

bool call_refused(clattn_plan plan, const struct call *call, cl_int code, const char *words,
                  const char *what) {
    cl_event event = (cl_event)(void *)&misuse.some_memory;
    const cl_int status = call_enqueue(plan, call, &event);
    if (status != code || event) {
        fprintf(stderr, "%s: %s, not %s; event %s; %s\n", what, clattn_status_name(status),
                clattn_status_name(code), event ? "not NULL" : "NULL", misuse.heard.message);
        return false;
    }
    if (!small_untouched(&misuse.small, misuse.device.queue)) {
        fprintf(stderr, "%s: o or lse was written\n", what);
        return false;
    }
    return heard_failure(&misuse.heard, code, words, what);
}

static cl_mem make_buffer(cl_context where, cl_mem_flags flags) {
    cl_int status;
    const cl_mem made = clCreateBuffer(where, flags, ARENA, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    return made;
}

static cl_mem make_part(size_t origin, size_t size) {
    const cl_buffer_region region = {origin, size};
    cl_int status;
    const cl_mem made =
        clCreateSubBuffer(misuse.arena, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    assert_int_equal(status, CL_SUCCESS);
    return made;
}

static void make_image(void) {
    cl_bool images = CL_FALSE;
    clGetDeviceInfo(misuse.device.id, CL_DEVICE_IMAGE_SUPPORT, sizeof images, &images, NULL);
    const cl_image_format format = {CL_RGBA, CL_FLOAT};
    cl_image_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.image_type = CL_MEM_OBJECT_IMAGE2D;
    desc.image_width = desc.image_height = 64;
    misuse.image =
        images ? clCreateImage(misuse.device.context, 0, &format, &desc, NULL, NULL) : NULL;
}

int misuse_open(void **state) {
    (void)state;
    if (!test_device_open(&misuse.device)) {
        return -1;
    }
    cl_int status;
    misuse.other_context = clCreateContext(NULL, 1, &misuse.device.id, NULL, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    misuse.other_queue =
        clCreateCommandQueueWithProperties(misuse.other_context, misuse.device.id, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    misuse.other_event = clCreateUserEvent(misuse.other_context, &status);
    assert_int_equal(status, CL_SUCCESS);
    misuse.ready_event = clCreateUserEvent(misuse.device.context, &status);
    assert_int_equal(status, CL_SUCCESS);
    clSetUserEventStatus(misuse.other_event, CL_COMPLETE);
    clSetUserEventStatus(misuse.ready_event, CL_COMPLETE);
    misuse.other_buffer = make_buffer(misuse.other_context, CL_MEM_READ_WRITE);
    misuse.arena = make_buffer(misuse.device.context, CL_MEM_READ_WRITE);
    misuse.read_only = make_buffer(misuse.device.context, CL_MEM_READ_ONLY);
    misuse.write_only = make_buffer(misuse.device.context, CL_MEM_WRITE_ONLY);
    misuse.low_half = make_part(0, 8192);
    misuse.middle = make_part(1024, 8192);
    misuse.narrow = make_part(4096, 1024);
    make_image();

    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = misuse.device.context;
    desc.device = misuse.device.id;
    desc.notify = heard_notify;
    desc.user_data = &misuse.heard;
    small_open(&misuse.small, misuse.device.context, misuse.device.queue, "b2 h4:2 q8 k16 d8:4", 1);
    misuse.small.desc.variant = "fwd_rows"; /* needs no workspace */
    return clattn_context_create(&desc, &misuse.context) == CL_SUCCESS &&
                   clattn_plan_create(misuse.context, &misuse.small.desc, &misuse.plan) ==
                       CL_SUCCESS
               ? 0
               : -1;
}

int misuse_close(void **state) {
    (void)state;
    clattn_plan_destroy(misuse.plan);
    clattn_context_destroy(misuse.context);
    small_close(&misuse.small);
    const cl_mem buffers[] = {misuse.low_half,  misuse.middle,     misuse.narrow,      misuse.arena,
                              misuse.read_only, misuse.write_only, misuse.other_buffer};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        clReleaseMemObject(buffers[i]);
    }
    if (misuse.image) {
        clReleaseMemObject(misuse.image);
    }
    clReleaseEvent(misuse.ready_event);
    clReleaseEvent(misuse.other_event);
    clReleaseCommandQueue(misuse.other_queue);
    clReleaseContext(misuse.other_context);
    test_device_close(&misuse.device);
    return 0;
}
