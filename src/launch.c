#include "launch.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "size.h"

_Static_assert(sizeof(struct params) ==
                   offsetof(struct params, aligned) + sizeof((struct params *)0)->aligned,
               "params end without padding");

cl_ulong launch_argument_bytes(cl_uint operands, cl_ulong address_bits) {
    cl_ulong bytes = sizeof(struct params) - offsetof(struct params, workspace);
    for (size_t i = 0; i <= OPERAND_WORKSPACE; i++) {
        if (operands >> i & 1) {
            bytes += address_bits / 8 + (i < OPERANDS ? sizeof(struct strides) : 0);
        }
    }
    return bytes;
}

/* Params as the kernel has them: the strides of its operands, then the numbers. */
static size_t pack(const struct params *params, cl_uint operands,
                   unsigned char to[sizeof(struct params)]) {
    const size_t numbers = offsetof(struct params, workspace);
    size_t size = 0;
    for (size_t i = 0; i < operands_count; i++) {
        if (operands >> i & 1) {
            memcpy(to + size, &params->strides[i], sizeof params->strides[i]);
            size += sizeof params->strides[i];
        }
    }
    memcpy(to + size, (const unsigned char *)params + numbers, sizeof *params - numbers);
    return size + sizeof *params - numbers;
}

static cl_int set_tensor(cl_kernel kernel, cl_uint at, const struct tensor *t) {
#ifdef CL_VERSION_2_0
    if (t->svm) {
        return clSetKernelArgSVMPointer(kernel, at, t->svm);
    }
#endif
    return clSetKernelArg(kernel, at, sizeof(cl_mem), &t->buffer);
}

static cl_int set_arguments(const struct launch *l, cl_kernel kernel, cl_uint operands) {
    unsigned char params[sizeof(struct params)];
    const size_t size = pack(l->params, operands, params);
    cl_uint at = 0;
    cl_int code = clSetKernelArg(kernel, at++, size, params);
    for (size_t i = 0; i < operands_count && code == CL_SUCCESS; i++) {
        if (operands >> i & 1) {
            code = set_tensor(kernel, at++, &l->tensors[i]);
        }
    }
    if (code == CL_SUCCESS && operands & OPERAND_BIT(OPERAND_WORKSPACE)) {
        code = set_tensor(kernel, at, l->workspace);
    }
    return code;
}

struct ndrange launch_range(const struct stage *stage, const long long *values,
                            const struct params *params) {
    const size_t items = stage->work_items(values);
    const struct grid grid = stage->grid(values, params);
    return (struct ndrange){{size_mul_capped(grid.x, items), grid.y}, {items, 1}};
}

cl_int launch_check(const struct ndrange *range, cl_ulong limit, const char *name,
                    struct status *status) {
    for (size_t i = 0; i < 2; i++) {
        if (range->global[i] >= limit) {
            return status_set(status, CLATTN_UNSUPPORTED,
                              "enqueue: %s would need more work-items than the %llu that host and "
                              "device can count",
                              name, (unsigned long long)limit);
        }
    }
    return CL_SUCCESS;
}

cl_int launch_stage(const struct launch *l, size_t stage, cl_uint count, const cl_event *list,
                    cl_event *event, struct status *status) {
    const cl_kernel kernel = l->kernels[stage];
    const struct ndrange *range = &l->ranges[stage];
    const size_t global[2] = {(size_t)range->global[0], (size_t)range->global[1]};
    assert(global[0] == range->global[0] && global[1] == range->global[1]);
    cl_int code = set_arguments(l, kernel, l->operands[stage]);
    if (code == CL_SUCCESS) {
        code = clEnqueueNDRangeKernel(l->queue, kernel, 2, NULL, global, range->local, count, list,
                                      event);
    }
    return code == CL_SUCCESS
               ? code
               : status_set(status, code, "enqueue: the driver refuses a launch of %s", l->name);
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

cl_int launch_chain(const struct launch *l, struct status *status) {
    bool ordered = false;
    cl_event before = NULL;
    assert(l->stages > 0); /* or nobody would set the caller's event */
    cl_int code = l->stages > 1 ? read_order(l->queue, &ordered, status) : CL_SUCCESS;
    for (size_t i = 0; i < l->stages && code == CL_SUCCESS; i++) {
        const bool first = i == 0, last = i + 1 == l->stages;
        cl_event after = NULL;
        const cl_uint waits = first ? l->count : before != NULL;
        const cl_event *list = first ? l->list : before ? &before : NULL;
        cl_event *event = last ? l->event : ordered ? NULL : &after;
        code = launch_stage(l, i, waits, list, event, status);
        if (before) {
            clReleaseEvent(before);
        }
        before = after;
    }
    return code;
}
