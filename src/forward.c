/*
 * forward - clattn_enqueue_forward: which of its args is which operand.
 */
#include "call.h"
#include "sized.h"

static cl_int enqueue(struct call *c, const clattn_forward_args *from, struct status *status) {
    clattn_forward_args a = CLATTN_FORWARD_ARGS_INIT;
    cl_int code = call_check_queue(c, status);
    if (code == CL_SUCCESS) {
        code = from ? sized_copy(&sized_forward_args, "args", &a, from, status)
                    : status_set(status, CL_INVALID_VALUE, "args: it is NULL");
    }
    if (code != CL_SUCCESS) {
        return code;
    }
    c->lengths = (struct operand_lengths){a.batch, a.seq_q, a.seq_kv};
    c->scale = a.scale;
    c->workspace = a.workspace;
    c->workspace_svm = a.workspace_svm;
    c->workspace_offset = a.workspace_offset;
    c->given[OPERAND_Q] = a.q;
    c->given[OPERAND_K] = a.k;
    c->given[OPERAND_V] = a.v;
    c->given[OPERAND_O] = a.o;
    c->given[OPERAND_LSE] = a.lse;
    c->reads = OPERAND_BIT(OPERAND_Q) | OPERAND_BIT(OPERAND_K) | OPERAND_BIT(OPERAND_V);
    c->writes = OPERAND_BIT(OPERAND_O) | OPERAND_BIT(OPERAND_LSE);
    code = call_take_extras(c, a.extras, status);
    if (code == CL_SUCCESS) {
        code = call_check_numbers(c, status);
    }
    if (code == CL_SUCCESS) {
        code = call_check_memory(c, status);
    }
    const bool empty = c->lengths.batch == 0 || c->lengths.seq_q == 0; /* nothing to write */
    return code == CL_SUCCESS ? call_run(c, empty, status) : code;
}

cl_int clattn_enqueue_forward(clattn_plan plan, cl_command_queue queue,
                              const clattn_forward_args *args, cl_uint num_events_in_wait_list,
                              const cl_event *event_wait_list, cl_event *event) {
    if (event) {
        *event = NULL;
    }
    if (!plan) {
        return CL_INVALID_VALUE;
    }
    struct call call = {.plan = plan,
                        .queue = queue,
                        .count = num_events_in_wait_list,
                        .list = event_wait_list,
                        .event = event};
    struct status status = {0};
    const cl_int code = enqueue(&call, args, &status);
    if (code != CL_SUCCESS && event) {
        *event = NULL;
    }
    return code == CL_SUCCESS ? code : context_report(plan->context, &status);
}
