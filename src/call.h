/*
 * call - an enqueue of any pass: everything is checked, then an answer of the plan is launched.
 *
 * A pass copies its args into a struct call, with the caller's tensor for each operand.  All passes
 * then use the functions below.  None of them allocates device memory or waits.
 */
#ifndef CALL_H
#define CALL_H

#include "launch.h"
#include "operand.h"
#include "plan.h"
#include "tensor.h"

struct call {
    clattn_plan plan;
    cl_command_queue queue;
    cl_uint count; /* of list */
    const cl_event *list;
    cl_event *event; /* may be NULL */

    /* From the args. */
    struct operand_lengths lengths;
    float scale;
    cl_mem workspace;
    void *workspace_svm;
    size_t workspace_offset;
    const clattn_tensor *given[OPERANDS]; /* NULL: none */
    cl_uint reads, writes;                /* sets of the pass's operands */

    /* Filled by the checks. */
    struct tensor tensors[OPERANDS + 1]; /* the last one is the workspace */
    struct params params;
};

/* Checks the queue and the events. */
cl_int call_check_queue(const struct call *c, struct status *status);

/* Takes the tensors of the plan's features from extras (NULL: there are none); the pass reads these
 * tensors. */
cl_int call_take_extras(struct call *c, const clattn_extras *extras, struct status *status);

/* Checks the lengths and the scale, and replaces CLATTN_FROM_DESC by the plan's length. */
cl_int call_check_numbers(struct call *c, struct status *status);

/* Checks the memory of the pass's operands and of the workspace: a tensor that is written shares no
 * bytes with itself or another one.  Fills tensors. */
cl_int call_check_memory(struct call *c, struct status *status);

/* Launches the first answer of the plan that can run the call.  empty: there is nothing to compute;
 * then only a marker is enqueued, for the event. */
cl_int call_run(struct call *c, bool empty, struct status *status);

#endif
