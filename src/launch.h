/*
 * launch - setting a kernel's arguments and enqueueing it.
 *
 * A kernel's arguments are struct params, its operands in the order of their table, and the
 * workspace, where it has one.
 */
#ifndef LAUNCH_H
#define LAUNCH_H

#include "operand.h"
#include "params.h"
#include "problem.h"
#include "tensor.h"
#include "tuning.h"

/* Work-items of one launch, over two dimensions.  global is UINT64_MAX where 64 bits do not hold
 * the number. */
struct ndrange {
    cl_ulong global[2];
    size_t local[2];
};

/* Refuses a launch with `limit` work-items or more along a dimension: a size_t of the host, or of
 * the device, could not hold their number.  name: the solver, for the sentence. */
cl_int launch_check(const struct ndrange *range, cl_ulong limit, const char *name,
                    struct status *status);

/* Bytes of all arguments of a kernel with this set of operands, on a device whose addresses have
 * address_bits bits. */
cl_ulong launch_argument_bytes(cl_uint operands, cl_ulong address_bits);

/* One checked enqueue, for a solver to launch. */
struct launch {
    const struct problem *problem;
    const struct device *device;
    const struct variant *variant;
    const struct params *params;
    const struct tensor *tensors; /* OPERANDS of them */
    const cl_kernel *kernels;
    const cl_uint *operands;        /* a set for each kernel */
    const struct tensor *workspace; /* not present when the plan needs none */
    cl_command_queue queue;
    cl_uint count; /* of list */
    const cl_event *list;
    cl_event *event; /* may be NULL */
};

/* Enqueues kernel number `kernel` of l, to run after the events of a list.  launch_check has
 * accepted the range.  event may be NULL. */
cl_int launch_kernel(const struct launch *l, size_t kernel, struct ndrange range, cl_uint count,
                     const cl_event *list, cl_event *event, struct status *status);

/* Enqueues the first `count` kernels one after the other, on in-order and out-of-order
 * queues. */
cl_int launch_chain(const struct launch *l, const struct ndrange *ranges, size_t count,
                    struct status *status);

#endif
