/*
 * merge - clattn_enqueue_merge: which of its args is which operand.
 */
#include "call.h"
#include "sized.h"

static cl_int read_args(struct call *c, const void *args, struct status *status) {
    clattn_merge_args a = CLATTN_MERGE_ARGS_INIT;
    const cl_int code = sized_copy(&sized_merge_args, "args", &a, args, status);
    c->lengths = (struct operand_lengths){a.batch, a.seq_q, a.seq_q};
    c->scale = CLATTN_SCALE_DEFAULT;
    c->given[OPERAND_O_1] = a.o_1;
    c->given[OPERAND_LSE_1] = a.lse_1;
    c->given[OPERAND_O_2] = a.o_2;
    c->given[OPERAND_LSE_2] = a.lse_2;
    c->given[OPERAND_O] = a.o;
    c->given[OPERAND_LSE] = a.lse;
    return code;
}

cl_int clattn_enqueue_merge(clattn_plan plan, cl_command_queue queue, const clattn_merge_args *args,
                            cl_uint num_events_in_wait_list, const cl_event *event_wait_list,
                            cl_event *event) {
    struct call call = {
        .queue = queue, .count = num_events_in_wait_list, .list = event_wait_list, .event = event};
    return call_run(plan, CLATTN_MERGE, read_args, args, &call);
}
