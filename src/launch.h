/*
 * launch - setting a kernel's arguments and enqueueing it.
 *
 * Every forward kernel has the same signature:
 *
 *     (const struct params p, q, k, v, o, lse, workspace)
 */
#ifndef LAUNCH_H
#define LAUNCH_H

#include "operand.h"
#include "params.h"
#include "problem.h"
#include "tensor.h"
#include "tuning.h"

/* Work-items of one launch, over two dimensions. */
struct ndrange {
    size_t global[2], local[2];
};

/* What one call of clattn_enqueue_forward asks for, checked. */
struct launch {
    const struct problem *problem;
    const struct device *device;
    const struct variant *variant;
    const struct params *params;
    const struct tensor *tensors; /* OPERANDS of them */
    const cl_kernel *kernels;
    cl_mem workspace; /* NULL when the variant needs none; its offset is in params */
    cl_command_queue queue;
    cl_uint count; /* of list */
    const cl_event *list;
    cl_event *event; /* may be NULL */
};

/* Enqueues one kernel, after the events of a list; event may be NULL. */
cl_int launch_kernel(const struct launch *l, cl_kernel kernel, struct ndrange range, cl_uint count,
                     const cl_event *list, cl_event *event, struct status *status);

/* Enqueues the first `count` kernels one after the other, on in-order and out-of-order
 * queues. */
cl_int launch_chain(const struct launch *l, const struct ndrange *ranges, size_t count,
                    struct status *status);

#endif
