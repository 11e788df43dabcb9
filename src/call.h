/*
 * call - an enqueue of any pass: everything is checked, then a step of the plan is launched.
 *
 * A pass copies its args, sets the lengths, and lists its tensors; what follows is the same for
 * all.  Nothing here allocates device memory or waits.
 */
#ifndef CALL_H
#define CALL_H

#include "launch.h"
#include "plan.h"
#include "tensor.h"

/* A tensor of a pass. */
struct call_operand {
    const clattn_tensor *given; /* the caller's; NULL: none */
    struct tensor_shape shape;  /* its name, too */
    bool optional;
};

enum { CALL_OPERANDS = LAUNCH_TENSORS };

struct call {
    clattn_plan plan;
    cl_command_queue queue;
    cl_uint count; /* of list */
    const cl_event *list;
    cl_event *event; /* may be NULL */

    /* Of the args. */
    cl_uint batch, seq_q, seq_kv;
    float scale;
    cl_mem workspace;
    size_t workspace_offset;

    /* Checked. */
    struct tensor tensors[CALL_OPERANDS + 1]; /* the last one is the workspace */
    struct params params;
};

/* Queue and events. */
cl_int call_check_queue(const struct call *c, struct status *status);

/* Lengths and scale; afterwards batch, seq_q and seq_kv are numbers, not CLATTN_FROM_DESC. */
cl_int call_check_numbers(struct call *c, struct status *status);

/* Memory of the operands (CALL_OPERANDS of them, in the order of the kernels' arguments) and of the
 * workspace: nothing that is written may share bytes with anything else.  Fills tensors. */
cl_int call_check_memory(struct call *c, const struct call_operand *operands,
                         struct status *status);

/* Launches what has been checked; no more than a marker where `empty`. */
cl_int call_run(struct call *c, bool empty, struct status *status);

#endif
