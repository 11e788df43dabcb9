/*
 * call - an enqueue of any pass: everything is checked, then a step of the plan is launched.
 *
 * A pass copies its args, sets the numbers, and says which tensor is which operand; what follows is
 * the same for all.  Nothing here allocates device memory or waits.
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

    /* Of the args. */
    struct operand_lengths lengths;
    float scale;
    cl_mem workspace;
    void *workspace_svm;
    size_t workspace_offset;
    const clattn_tensor *given[OPERANDS]; /* NULL: none */
    cl_uint reads, writes;                /* sets of the pass's operands */

    /* Checked. */
    struct tensor tensors[OPERANDS + 1]; /* the last one is the workspace */
    struct params params;
};

/* Queue and events. */
cl_int call_check_queue(const struct call *c, struct status *status);

/* The tensors of the plan's features, which the pass reads; extras may be NULL: none. */
cl_int call_take_extras(struct call *c, const clattn_extras *extras, struct status *status);

/* Lengths and scale; afterwards the lengths are numbers, none is CLATTN_FROM_DESC. */
cl_int call_check_numbers(struct call *c, struct status *status);

/* Memory of the pass's operands and of the workspace: nothing that is written may share bytes with
 * anything else.  Fills tensors. */
cl_int call_check_memory(struct call *c, struct status *status);

/* Launches what has been checked; no more than a marker where `empty`. */
cl_int call_run(struct call *c, bool empty, struct status *status);

#endif
