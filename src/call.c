#include "call.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdint.h>

#include "pass.h"
#include "sized.h"

enum { WORKSPACE = OPERAND_WORKSPACE, WORKSPACE_ALIGNMENT = 256 };

#define MOST_FACTOR 0x1p112f /* of q.k on matrix engines: state_level in cl/state.cl */

static cl_int check_queue(clattn_context c, cl_command_queue queue, struct status *status) {
    if (!queue) {
        return status_set(status, CL_INVALID_COMMAND_QUEUE, "queue: it is NULL");
    }
    cl_context context = NULL;
    cl_device_id id = NULL;
    cl_int code =
        clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof(cl_context), &context, NULL);
    if (code == CL_SUCCESS) {
        code = clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof(cl_device_id), &id, NULL);
    }
    if (code != CL_SUCCESS) {
        return status_set(status, code, "queue: the driver tells nothing about it");
    }
    if (context != c->context) {
        return status_set(status, CL_INVALID_CONTEXT, "queue: it is of another context");
    }
    if (id != c->id) {
        return status_set(status, CL_INVALID_DEVICE, "queue: it is of another device");
    }
    return CL_SUCCESS;
}

static cl_int check_events(clattn_context c, cl_uint count, const cl_event *list,
                           struct status *status) {
    if ((count == 0) != (list == NULL)) {
        return status_set(status, CL_INVALID_EVENT_WAIT_LIST,
                          "event_wait_list: %u events, but the list is %s", count,
                          list ? "not NULL" : "NULL");
    }
    for (cl_uint i = 0; i < count; i++) {
        cl_context context = NULL;
        if (!list[i]) {
            return status_set(status, CL_INVALID_EVENT_WAIT_LIST,
                              "event_wait_list: event %u is NULL", i);
        }
        cl_int code = clGetEventInfo(list[i], CL_EVENT_CONTEXT, sizeof(cl_context), &context, NULL);
        if (code != CL_SUCCESS) {
            return status_set(status, code,
                              "event_wait_list: the driver tells nothing about event %u", i);
        }
        if (context != c->context) {
            return status_set(status, CL_INVALID_CONTEXT,
                              "event_wait_list: event %u is of another context", i);
        }
    }
    return CL_SUCCESS;
}

/* Which operands the call has: those of its pass, and the tensors of the plan's features, which a
 * pass reads. */
static cl_int take_operands(struct call *c, struct status *status) {
    const struct pass *pass = &passes_table[c->plan->problem.pass];
    clattn_extras copy = CLATTN_EXTRAS_INIT;
    cl_uint taken = 0;
    cl_int code = c->extras ? sized_copy(&sized_extras, "args: extras", &copy, c->extras, status)
                            : CL_SUCCESS;
    if (code == CL_SUCCESS) {
        code = operand_take_extras(operands_table, operands_count, c->plan->problem.features, &copy,
                                   c->given, &taken, status);
    }
    const cl_uint gradients = taken & operand_gradients();
    if (code == CL_SUCCESS && gradients && c->plan->problem.pass != CLATTN_BACKWARD) {
        code = status_set(status, CLATTN_INVALID_ARGS,
                          "args: extras: d_bias and d_sink are written by a backward pass alone");
    }
    c->reads = operand_set(pass->reads) | (taken & ~gradients);
    c->writes = operand_set(pass->writes) | gradients;
    return code;
}

/* A length that the args leave to the desc, or a smaller one. */
static cl_int check_length(cl_uint *length, cl_uint most, const char *name, struct status *status) {
    if (*length == CLATTN_FROM_DESC) {
        *length = most;
    }
    return *length <= most
               ? CL_SUCCESS
               : status_set(status, CLATTN_INVALID_ARGS,
                            "args: %s is %u, but the plan was made for %u", name, *length, most);
}

static cl_int check_numbers(struct call *c, struct status *status) {
    const struct problem *p = &c->plan->problem;
    cl_int code = check_length(&c->lengths.batch, p->batch, "batch", status);
    if (code == CL_SUCCESS) {
        code = check_length(&c->lengths.seq_q, p->seq_q, "seq_q", status);
    }
    if (code == CL_SUCCESS) {
        code = check_length(&c->lengths.seq_kv, p->seq_kv, "seq_kv", status);
    }
    if (code == CL_SUCCESS && !isfinite(c->scale)) {
        code = status_set(status, CLATTN_INVALID_ARGS, "args: scale is not a finite number");
    }
    return code;
}

static cl_int check_operand(struct call *c, size_t i, struct status *status) {
    const struct pass *pass = &passes_table[c->plan->problem.pass];
    const struct operand *operand = &operands_table[i];
    clattn_context context = c->plan->context;
    struct tensor *t = &c->tensors[i];
    *t = (struct tensor){.name = operand->name};
    if (!((c->reads | c->writes) >> i & 1)) {
        return CL_SUCCESS; /* not an operand of this pass */
    }
    t->shape = operand->shape(&c->plan->problem, &c->lengths);
    t->read = c->reads >> i & 1;
    t->written = c->writes >> i & 1;
    t->summed = operand->gradient;
    if (c->given[i]) {
        const bool promised =
            c->plan->problem.promises & CLATTN_PROMISE_ALIGNED && OPERANDS_WIDE >> i & 1;
        const cl_int code =
            tensor_check(t, c->given[i], context->context, &context->device, status);
        return code == CL_SUCCESS && promised ? tensor_check_promise(t, status) : code;
    }
    return operand_set(pass->optional) >> i & 1
               ? CL_SUCCESS
               : status_set(status, CL_INVALID_VALUE, "args: %s is NULL", operand->name);
}

static cl_int check_workspace(struct call *c, struct status *status) {
    clattn_context context = c->plan->context;
    const cl_ulong bytes = c->plan->workspace;
    struct tensor *t = &c->tensors[WORKSPACE];
    *t = (struct tensor){.name = "workspace",
                         .shape = {1, 1, 1, bytes / sizeof(cl_float), CLATTN_F32},
                         .read = true,
                         .written = true};
    if (bytes == 0) {
        return CL_SUCCESS; /* whatever the caller passes is not looked at */
    }
    if (c->workspace && c->workspace_svm) {
        return status_set(status, CLATTN_INVALID_WORKSPACE,
                          "workspace: both workspace and workspace_svm are given");
    }
    if (!c->workspace && !c->workspace_svm) {
        return status_set(status, CLATTN_INVALID_WORKSPACE,
                          "workspace: workspace and workspace_svm are NULL, but the plan needs "
                          "%llu bytes",
                          (unsigned long long)bytes);
    }
    /* clSVMAlloc need not give an address of that alignment. */
    if (((uintptr_t)c->workspace_svm + c->workspace_offset) % WORKSPACE_ALIGNMENT != 0) {
        return status_set(status, CLATTN_INVALID_WORKSPACE,
                          "workspace: %sworkspace_offset %zu is not a multiple of %d",
                          c->workspace_svm ? "workspace_svm plus " : "", c->workspace_offset,
                          WORKSPACE_ALIGNMENT);
    }
    clattn_tensor from = CLATTN_TENSOR_INIT;
    from.buffer = c->workspace;
    from.svm = c->workspace_svm;
    from.offset = c->workspace_offset;
    const cl_int code = tensor_check(t, &from, context->context, &context->device, status);
    if (code == CLATTN_OUT_OF_BOUNDS || code == CLATTN_INVALID_TENSOR) {
        status->code = CLATTN_INVALID_WORKSPACE;
    }
    return status->code;
}

static cl_int check_memory(struct call *c, struct status *status) {
    cl_int code = CL_SUCCESS;
    for (size_t i = 0; i < operands_count && code == CL_SUCCESS; i++) {
        code = check_operand(c, i, status);
    }
    if (code == CL_SUCCESS) {
        code = check_workspace(c, status);
    }
    for (size_t i = 0; i <= WORKSPACE && code == CL_SUCCESS; i++) {
        if (c->tensors[i].written) {
            code = tensor_check_overlap(&c->tensors[i], c->tensors, OPERANDS + 1,
                                        passes_table[c->plan->problem.pass].in_place, status);
        }
    }
    return code;
}

static cl_int fill_params(struct call *c, struct status *status) {
    const struct problem *p = &c->plan->problem;
    const struct operand_lengths *n = &c->lengths;
    const struct tensor *t = c->tensors;
    const double log2_e = 1.4426950408889634;
    const double scale =
        c->scale == CLATTN_SCALE_DEFAULT ? 1 / sqrt((double)p->head_dim) : (double)c->scale;
    const double softcap = (double)p->softcap;
    assert(n->batch <= p->batch && n->seq_q <= p->seq_q && n->seq_kv <= p->seq_kv);
    /* No bound needs to be further away than all keys and queries together. */
    const cl_int far = (cl_int)(n->seq_q + n->seq_kv);
    c->params = (struct params){
        .workspace = t[WORKSPACE].strides.offset,
        .batch = (cl_int)n->batch,
        .heads_q = (cl_int)p->heads_q,
        .group = (cl_int)(p->heads_q / p->heads_kv),
        .seq_q = (cl_int)n->seq_q,
        .seq_kv = (cl_int)n->seq_kv,
        .diagonal = p->align == CLATTN_ALIGN_END ? (cl_int)n->seq_kv - (cl_int)n->seq_q : 0,
        .band_left = p->band_left == CLATTN_UNBOUNDED ? far : p->band_left,
        .band_right = p->band_right == CLATTN_UNBOUNDED ? far : p->band_right,
        .factor = (float)(softcap > 0 ? scale / softcap : scale * log2_e),
        .cap = (float)(softcap * log2_e),
    };
    for (size_t i = 0; i < operands_count; i++) {
        c->params.strides[i] = t[i].strides;
        c->params.given |= (cl_int)t[i].present << i;
        c->params.aligned |= (cl_int)(t[i].aligned || !t[i].present) << i;
    }
    const cl_int together = 1 << OPERAND_Q | 1 << OPERAND_K | 1 << OPERAND_V;
    c->params.aligned |= (cl_int)((c->params.aligned & together) == together) << OPERANDS_TOGETHER;
    const float factor = fabsf(c->params.factor);
    if (!isfinite(factor) || (factor != 0 && factor < FLT_MIN)) {
        return status_set(status, CLATTN_INVALID_ARGS,
                          "args: scale %g with softcap %g is beyond 32-bit floating point", scale,
                          softcap);
    }
    if (p->type != CLATTN_F32 && factor > MOST_FACTOR) {
        return status_set(status, CLATTN_INVALID_ARGS,
                          "args: scale %g with softcap %g: |scale| log2(e), or with a softcap "
                          "|scale / softcap|, is at most 2^112 with 16-bit elements",
                          scale, softcap);
    }
    return CL_SUCCESS;
}

static bool accepts(const struct plan_answer *answer, const struct call *c) {
    const struct solver *solver = answer->solver;
    return !solver->accepts || solver->accepts(answer->values, &c->params);
}

/* The first answer that can run the call; NULL, after saying why, where there is none. */
static const struct plan_answer *find_answer(const struct call *c, struct status *status) {
    const struct plan_answer *answers = c->plan->answers;
    for (size_t i = c->plan->count; i-- > 0;) { /* those for few queries, the fewest first */
        if (answers[i].few && c->lengths.seq_q <= answers[i].problem.seq_q &&
            accepts(&answers[i], c)) {
            return &answers[i];
        }
    }
    for (size_t i = 0; i < c->plan->count; i++) {
        if (!answers[i].few && accepts(&answers[i], c)) {
            return &answers[i];
        }
    }
    assert(!(c->plan->problem.promises & CLATTN_PROMISE_ALIGNED)); /* what is kept is accepted */
    status_set(status, CLATTN_UNSUPPORTED,
               "enqueue: %s cannot run with these strides, and no other solver's kernel builds",
               answers[0].solver->name);
    return NULL;
}

/* The stages of an answer that are to run: those that write a tensor that the call has, and those
 * before them that write to the workspace, which they read; if they have anything to do.  Returns
 * their number. */
static size_t find_stages(const struct call *c, const struct plan_answer *answer,
                          cl_kernel kernels[STAGES], cl_uint operands[STAGES],
                          struct ndrange ranges[STAGES]) {
    const cl_uint workspace = OPERAND_BIT(OPERAND_WORKSPACE);
    cl_uint wanted = (cl_uint)c->params.given & c->writes;
    bool runs[STAGES] = {false};
    for (size_t i = answer->count; i-- > 0;) {
        runs[i] = (answer->writes[i] & wanted) != 0;
        wanted |= runs[i] ? answer->operands[i] & workspace : 0;
    }
    size_t stages = 0;
    for (size_t i = 0; i < answer->count; i++) {
        if (runs[i]) {
            kernels[stages] = answer->kernels[i];
            operands[stages] = answer->operands[i];
            ranges[stages] = launch_range(&answer->stages[i], answer->values, &c->params);
            stages += ranges[stages].global[0] > 0;
        }
    }
    return stages;
}

/* The kernels' arguments are set and captured under the plan's lock. */
static cl_int launch(const struct call *c, struct status *status) {
    if (!((cl_uint)c->params.given & c->writes)) { /* nothing is wanted, or has elements */
        const cl_int code = clEnqueueMarkerWithWaitList(c->queue, c->count, c->list, c->event);
        return code == CL_SUCCESS
                   ? code
                   : status_set(status, code, "enqueue: the driver refuses a marker");
    }
    const struct plan_answer *answer = find_answer(c, status);
    if (!answer) {
        return status->code;
    }
    const struct solver *solver = answer->solver;
    struct ndrange ranges[STAGES];
    cl_kernel kernels[STAGES];
    cl_uint operands[STAGES];
    const size_t stages = find_stages(c, answer, kernels, operands, ranges);
    assert(stages > 0); /* somebody writes what is wanted */
    const struct launch l = {
        .problem = &c->plan->problem,
        .device = &c->plan->context->device,
        .name = solver->name,
        .params = &c->params,
        .tensors = c->tensors,
        .stages = stages,
        .kernels = kernels,
        .operands = operands,
        .ranges = ranges,
        .workspace = &c->tensors[WORKSPACE],
        .queue = c->queue,
        .count = c->count,
        .list = c->list,
        .event = c->event,
    };
    const cl_ulong limit = l.device->address_bits == 32 ? UINT32_MAX : SIZE_MAX;
    cl_int code = CL_SUCCESS;
    for (size_t i = 0; i < stages && code == CL_SUCCESS; i++) {
        code = launch_check(&ranges[i], limit, solver->name, status);
    }
    if (code != CL_SUCCESS) {
        return code;
    }
    lock_take(&c->plan->lock);
    code = solver->enqueue ? solver->enqueue(&l, status) : launch_chain(&l, status);
    lock_give(&c->plan->lock);
    return code;
}

static cl_int enqueue(struct call *c, call_reader *read, const void *args, struct status *status) {
    cl_int code = check_queue(c->plan->context, c->queue, status);
    if (code == CL_SUCCESS) {
        code = check_events(c->plan->context, c->count, c->list, status);
    }
    if (code == CL_SUCCESS) {
        code =
            args ? read(c, args, status) : status_set(status, CL_INVALID_VALUE, "args: it is NULL");
    }
    if (code == CL_SUCCESS) {
        code = take_operands(c, status);
    }
    if (code == CL_SUCCESS) {
        code = check_numbers(c, status);
    }
    if (code == CL_SUCCESS) {
        code = check_memory(c, status);
    }
    if (code == CL_SUCCESS) {
        code = fill_params(c, status);
    }
    return code == CL_SUCCESS ? launch(c, status) : code;
}

cl_int call_run(clattn_plan plan, clattn_pass pass, call_reader *read, const void *args,
                struct call *call) {
    if (call->event) {
        *call->event = NULL;
    }
    if (!plan) {
        return CL_INVALID_VALUE;
    }
    struct status status = {0};
    call->plan = plan;
    const cl_int code =
        plan->problem.pass == pass
            ? enqueue(call, read, args, &status)
            : status_set(&status, CLATTN_INVALID_ARGS,
                         "enqueue_%s: the plan was made for the %s pass", passes_table[pass].name,
                         passes_table[plan->problem.pass].name);
    if (code != CL_SUCCESS && call->event) {
        *call->event = NULL;
    }
    return code == CL_SUCCESS ? code : context_report(plan->context, &status);
}
