#include "launch.h"

static cl_int set_arguments(const struct launch *l, cl_kernel kernel) {
    cl_int code = clSetKernelArg(kernel, 0, sizeof *l->params, l->params);
    for (cl_uint i = 0; i < OPERANDS && code == CL_SUCCESS; i++) {
        const struct tensor *t = &l->tensors[i];
#ifdef CL_VERSION_2_0
        if (t->svm) {
            code = clSetKernelArgSVMPointer(kernel, i + 1, t->svm);
            continue;
        }
#endif
        code = clSetKernelArg(kernel, i + 1, sizeof(cl_mem), &t->buffer);
    }
    return code == CL_SUCCESS ? clSetKernelArg(kernel, OPERANDS + 1, sizeof(cl_mem), &l->workspace)
                              : code;
}

cl_int launch_kernel(const struct launch *l, cl_kernel kernel, struct ndrange range, cl_uint count,
                     const cl_event *list, cl_event *event, struct status *status) {
    cl_int code = set_arguments(l, kernel);
    if (code == CL_SUCCESS) {
        code = clEnqueueNDRangeKernel(l->queue, kernel, 2, NULL, range.global, range.local, count,
                                      list, event);
    }
    return code == CL_SUCCESS
               ? code
               : status_set(status, code, "enqueue: the driver refuses a launch of %s",
                            l->variant->solver);
}

/* Does one command of the queue begin when the one before is done, unasked? */
static cl_int read_order(cl_command_queue queue, bool *ordered, struct status *status) {
    cl_command_queue_properties properties = 0;
    const cl_int code =
        clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);
    *ordered = !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    return code == CL_SUCCESS
               ? code
               : status_set(status, code, "queue: the driver tells nothing about its order");
}

cl_int launch_chain(const struct launch *l, const struct ndrange *ranges, size_t count,
                    struct status *status) {
    bool ordered = false;
    cl_event before = NULL;
    cl_int code = count > 1 ? read_order(l->queue, &ordered, status) : CL_SUCCESS;
    for (size_t i = 0; i < count && code == CL_SUCCESS; i++) {
        const bool first = i == 0, last = i + 1 == count;
        cl_event after = NULL;
        const cl_uint waits = first ? l->count : before != NULL;
        const cl_event *list = first ? l->list : before ? &before : NULL;
        cl_event *event = last ? l->event : ordered ? NULL : &after;
        code = launch_kernel(l, l->kernels[i], ranges[i], waits, list, event, status);
        if (before) {
            clReleaseEvent(before);
        }
        before = after;
    }
    return code;
}
