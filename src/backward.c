/*
 * backward - clattn_enqueue_backward: which of its args is which operand.
 */
#include "call.h"
#include "sized.h"

static cl_int read_args(struct call *c, const void *args, struct status *status) {
    clattn_backward_args a = CLATTN_BACKWARD_ARGS_INIT;
    const cl_int code = sized_copy(&sized_backward_args, "args", &a, args, status);
    c->lengths = (struct operand_lengths){a.batch, a.seq_q, a.seq_kv};
    c->scale = a.scale;
    c->workspace = a.workspace;
    c->workspace_svm = a.workspace_svm;
    c->workspace_offset = a.workspace_offset;
    c->extras = a.extras;
    c->given[OPERAND_Q] = a.q;
    c->given[OPERAND_K] = a.k;
    c->given[OPERAND_V] = a.v;
    c->given[OPERAND_O] = a.o;
    c->given[OPERAND_LSE] = a.lse;
    c->given[OPERAND_D_O] = a.d_o;
    c->given[OPERAND_D_LSE] = a.d_lse;
    c->given[OPERAND_D_Q] = a.d_q;
    c->given[OPERAND_D_K] = a.d_k;
    c->given[OPERAND_D_V] = a.d_v;
    return code;
}

cl_int clattn_enqueue_backward(clattn_plan plan, cl_command_queue queue,
                               const clattn_backward_args *args, cl_uint num_events_in_wait_list,
                               const cl_event *event_wait_list, cl_event *event) {
    struct call call = {
        .queue = queue, .count = num_events_in_wait_list, .list = event_wait_list, .event = event};
    return call_run(plan, CLATTN_BACKWARD, read_args, args, &call);
}
