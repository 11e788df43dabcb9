/*
 * Fixture of test_misuse: a plan with a small problem, handles that do not belong
 * to it, and a call whose parts can be spoilt one by one.
 */
#ifndef TESTS_MISUSE_H
#define TESTS_MISUSE_H

#include "device.h"
#include "heard.h"
#include "small.h"

struct misuse {
    struct test_device device;
    clattn_context context;
    clattn_plan plan;
    struct heard heard;
    struct small small; /* q 2048 bytes, k 2048, v 1024, o 1024, lse 256 */

    cl_context other_context;
    cl_command_queue other_queue;
    cl_mem other_buffer;
    cl_event other_event, ready_event;
    cl_event no_event;                      /* NULL */
    cl_mem arena, low_half, middle, narrow; /* a buffer and parts of it */
    cl_mem read_only, write_only;
    cl_mem image; /* NULL where the device has none */
    int some_memory;
};

/* One object, so that tables can hold the addresses of its handles. */
extern struct misuse misuse;

/* Of cmocka's kind: 0 when all is open. */
int misuse_open(void **state);
int misuse_close(void **state);

struct call {
    cl_command_queue queue;
    const clattn_forward_args *args_pointer;
    clattn_forward_args args;
    clattn_tensor q, k, v, o, lse;
    cl_uint event_count;
    const cl_event *events;
};

/* A call that would succeed.  Its args point into it: do not move it. */
void call_prepare(struct call *call);

cl_int call_enqueue(clattn_plan plan, const struct call *call, cl_event *event);

/* False, after saying why, unless the call fails with this code and a sentence
 * that mentions the words, *event NULL and nothing written. */
bool call_refused(clattn_plan plan, const struct call *call, cl_int code, const char *words,
                  const char *what);

#endif
