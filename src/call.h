/*
 * call - an enqueue of any pass: everything is checked, then an answer of the plan is launched.
 *
 * A pass only says which of its args is which operand (forward.c, backward.c).  Nothing here
 * allocates device memory or waits.
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
    const clattn_extras *extras;          /* NULL: none */
    const clattn_tensor *given[OPERANDS]; /* NULL: none */

    /* Filled by the checks. */
    cl_uint reads, writes;               /* sets of the pass's operands */
    struct tensor tensors[OPERANDS + 1]; /* the last one is the workspace */
    struct params params;
};

/* Copies args, which is not NULL, into what stands under "From the args". */
typedef cl_int call_reader(struct call *c, const void *args, struct status *status);

/* What the public functions do: plan is to be made for `pass`; call->plan is NULL so far. */
cl_int call_run(clattn_plan plan, clattn_pass pass, call_reader *read, const void *args,
                struct call *call);

#endif
