/*
 * forward - clattn_enqueue_forward: check everything, fill params, launch.
 *
 * Nothing here allocates device memory or waits; the kernel's arguments are set and
 * captured by the enqueue under the plan's lock.
 */
#include <float.h>
#include <math.h>

#include "launch.h"
#include "plan.h"
#include "sized.h"
#include "tensor.h"

enum { WORKSPACE = LAUNCH_TENSORS, WORKSPACE_ALIGNMENT = 256 };

#define MOST_FACTOR 0x1p112f /* of q.k on matrix engines: state_level in cl/state.cl */

struct request {
    clattn_forward_args args;
    struct tensor tensors[LAUNCH_TENSORS + 1]; /* the last one is the workspace */
    struct params params;
};

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

static cl_int check_args(struct request *request, const struct problem *p,
                         const clattn_forward_args *from, struct status *status) {
    clattn_forward_args *a = &request->args;
    *a = (clattn_forward_args)CLATTN_FORWARD_ARGS_INIT;
    if (!from) {
        return status_set(status, CL_INVALID_VALUE, "args: it is NULL");
    }
    cl_int code = sized_copy(&sized_forward_args, "args", a, from, status);
    if (code == CL_SUCCESS) {
        code = check_length(&a->batch, p->batch, "batch", status);
    }
    if (code == CL_SUCCESS) {
        code = check_length(&a->seq_q, p->seq_q, "seq_q", status);
    }
    if (code == CL_SUCCESS) {
        code = check_length(&a->seq_kv, p->seq_kv, "seq_kv", status);
    }
    if (code == CL_SUCCESS && !isfinite(a->scale)) {
        code = status_set(status, CLATTN_INVALID_ARGS, "args: scale is not a finite number");
    }
    return code;
}

static cl_int check_tensors(struct request *request, clattn_plan plan, struct status *status) {
    const struct problem *p = &plan->problem;
    const clattn_forward_args *a = &request->args;
    const cl_uint size = problem_element_size(p);
    const struct {
        const clattn_tensor *from;
        struct tensor_shape shape;
    } wanted[LAUNCH_TENSORS] = {
        {a->q, {"q", a->batch, p->heads_q, a->seq_q, p->head_dim, size, true, false}},
        {a->k, {"k", a->batch, p->heads_kv, a->seq_kv, p->head_dim, size, true, false}},
        {a->v, {"v", a->batch, p->heads_kv, a->seq_kv, p->head_dim_v, size, true, false}},
        {a->o, {"o", a->batch, p->heads_q, a->seq_q, p->head_dim_v, size, false, true}},
        {a->lse, {"lse", a->batch, p->heads_q, a->seq_q, 1, 4, false, true}},
    };
    for (int i = 0; i < LAUNCH_TENSORS; i++) {
        if (!wanted[i].from) {
            if (i != LAUNCH_LSE) {
                return status_set(status, CL_INVALID_VALUE, "args: %s is NULL",
                                  wanted[i].shape.name);
            }
            request->tensors[i] = (struct tensor){.shape = wanted[i].shape};
            continue;
        }
        cl_int code = tensor_check(&request->tensors[i], wanted[i].from, &wanted[i].shape,
                                   plan->context->context, &plan->context->device, status);
        if (code != CL_SUCCESS) {
            return code;
        }
    }
    return CL_SUCCESS;
}

static cl_int check_workspace(struct request *request, clattn_plan plan, struct status *status) {
    const clattn_forward_args *a = &request->args;
    const cl_ulong bytes = plan->workspace;
    struct tensor *workspace = &request->tensors[WORKSPACE];
    const struct tensor_shape shape = {"workspace", 1, 1, 1, bytes / 4, 4, true, true};
    *workspace = (struct tensor){.shape = shape};
    if (bytes == 0) {
        return CL_SUCCESS; /* whatever the caller passes is not looked at */
    }
    if (!a->workspace) {
        return status_set(status, CLATTN_INVALID_WORKSPACE,
                          "workspace: it is NULL, but the plan needs %llu bytes",
                          (unsigned long long)bytes);
    }
    if (a->workspace_offset % WORKSPACE_ALIGNMENT != 0) {
        return status_set(status, CLATTN_INVALID_WORKSPACE,
                          "workspace: workspace_offset %zu is not a multiple of %d",
                          a->workspace_offset, WORKSPACE_ALIGNMENT);
    }
    clattn_tensor from = CLATTN_TENSOR_INIT;
    from.buffer = a->workspace;
    from.offset = a->workspace_offset;
    cl_int code = tensor_check(workspace, &from, &shape, plan->context->context,
                               &plan->context->device, status);
    if (code == CLATTN_OUT_OF_BOUNDS || code == CLATTN_INVALID_TENSOR) {
        status->code = CLATTN_INVALID_WORKSPACE;
    }
    return status->code;
}

/* Nothing that is written may share bytes with anything else. */
static cl_int check_overlaps(const struct request *request, struct status *status) {
    static const int outputs[] = {LAUNCH_O, LAUNCH_LSE, WORKSPACE};
    cl_int code = CL_SUCCESS;
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0] && code == CL_SUCCESS; i++) {
        code = tensor_check_overlap(&request->tensors[outputs[i]], request->tensors,
                                    LAUNCH_TENSORS + 1, status);
    }
    return code;
}

static cl_int fill_params(struct request *request, const struct problem *p, struct status *status) {
    const clattn_forward_args *a = &request->args;
    const struct tensor *t = request->tensors;
    const double log2_e = 1.4426950408889634;
    const double scale =
        a->scale == CLATTN_SCALE_DEFAULT ? 1 / sqrt((double)p->head_dim) : (double)a->scale;
    const double softcap = (double)p->softcap;
    /* No bound needs to be further away than all keys and queries together. */
    const cl_int far = (cl_int)(a->seq_q + a->seq_kv);
    request->params = (struct params){
        .q = t[LAUNCH_Q].strides,
        .k = t[LAUNCH_K].strides,
        .v = t[LAUNCH_V].strides,
        .o = t[LAUNCH_O].strides,
        .lse = t[LAUNCH_LSE].strides,
        .workspace = t[WORKSPACE].strides.offset,
        .batch = (cl_int)a->batch,
        .heads_q = (cl_int)p->heads_q,
        .group = (cl_int)(p->heads_q / p->heads_kv),
        .seq_q = (cl_int)a->seq_q,
        .seq_kv = (cl_int)a->seq_kv,
        .diagonal = p->align == CLATTN_ALIGN_END ? (cl_int)a->seq_kv - (cl_int)a->seq_q : 0,
        .band_left = p->band_left == CLATTN_UNBOUNDED ? far : p->band_left,
        .band_right = p->band_right == CLATTN_UNBOUNDED ? far : p->band_right,
        .factor = (float)(softcap > 0 ? scale / softcap : scale * log2_e),
        .cap = (float)(softcap * log2_e),
        .write_lse = t[LAUNCH_LSE].present,
        .aligned = t[LAUNCH_Q].aligned && (t[LAUNCH_K].aligned || !t[LAUNCH_K].present) &&
                   (t[LAUNCH_V].aligned || !t[LAUNCH_V].present) && t[LAUNCH_O].aligned,
    };
    const float factor = fabsf(request->params.factor);
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

/* The step that can do what is asked. */
static const struct plan_step *choose_step(clattn_plan plan, const struct params *params) {
    const struct plan_step *first = &plan->steps[0];
    const bool accepted =
        !first->solver->accepts || first->solver->accepts(&first->variant, params);
    return accepted ? first : &plan->steps[1];
}

static cl_int launch(clattn_plan plan, cl_command_queue queue, const struct request *request,
                     cl_uint count, const cl_event *list, cl_event *event, struct status *status) {
    const struct plan_step *step = choose_step(plan, &request->params);
    const struct solver *solver = step->solver;
    const struct launch l = {
        .problem = &plan->problem,
        .device = &plan->context->device,
        .variant = &step->variant,
        .params = &request->params,
        .tensors = request->tensors,
        .kernels = step->kernels,
        .workspace = request->tensors[WORKSPACE].buffer,
        .queue = queue,
        .count = count,
        .list = list,
        .event = event,
    };
    struct ndrange ranges[SOLVER_KERNELS];
    for (size_t i = 0; i < solver->kernels; i++) {
        ranges[i] = solver->ndrange(&step->variant, &request->params, i);
    }
    lock_take(&plan->lock);
    cl_int code = solver->enqueue ? solver->enqueue(solver, &l, status)
                                  : launch_chain(&l, ranges, solver->kernels, status);
    lock_give(&plan->lock);
    return code;
}

static cl_int enqueue(clattn_plan plan, cl_command_queue queue, const clattn_forward_args *args,
                      cl_uint count, const cl_event *list, cl_event *event, struct status *status) {
    struct request request;
    cl_int code = check_queue(plan->context, queue, status);
    if (code == CL_SUCCESS) {
        code = check_events(plan->context, count, list, status);
    }
    if (code == CL_SUCCESS) {
        code = check_args(&request, &plan->problem, args, status);
    }
    if (code == CL_SUCCESS) {
        code = check_tensors(&request, plan, status);
    }
    if (code == CL_SUCCESS) {
        code = check_workspace(&request, plan, status);
    }
    if (code == CL_SUCCESS) {
        code = check_overlaps(&request, status);
    }
    if (code != CL_SUCCESS) {
        return code;
    }
    if (request.args.batch == 0 || request.args.seq_q == 0) {
        code = clEnqueueMarkerWithWaitList(queue, count, list, event); /* nothing to write */
        return code == CL_SUCCESS
                   ? code
                   : status_set(status, code, "forward: the driver refuses a marker");
    }
    code = fill_params(&request, &plan->problem, status);
    return code == CL_SUCCESS ? launch(plan, queue, &request, count, list, event, status) : code;
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
    struct status status = {0};
    cl_int code =
        enqueue(plan, queue, args, num_events_in_wait_list, event_wait_list, event, &status);
    if (code == CL_SUCCESS) {
        return code;
    }
    if (event) {
        *event = NULL;
    }
    return context_report(plan->context, &status);
}
