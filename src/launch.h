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
#include "program.h"
#include "tensor.h"

/* The work-groups of a launch, over two dimensions. */
struct grid {
    cl_ulong x, y;
};

/* A launch of a variant.  values: the variant's, as solvers_decode gives them.  A stage is
 * launched only if the call or a later stage needs what it writes.  Its grid is empty only if the
 * tensors that give its size are empty. */
struct stage {
    struct program_recipe recipe;
    size_t (*work_items)(const long long *values); /* of a work-group, along dimension 0 */
    struct grid (*grid)(const long long *values, const struct params *params);
};

enum { STAGES = 6 }; /* of a variant, at most */

/* Work-items of one launch, over two dimensions.  global is UINT64_MAX where 64 bits do not hold
 * the number. */
struct ndrange {
    cl_ulong global[2];
    size_t local[2];
};

/* The work-items of a stage. */
struct ndrange launch_range(const struct stage *stage, const long long *values,
                            const struct params *params);

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
    const char *name; /* of the solver */
    const struct params *params;
    const struct tensor *tensors; /* OPERANDS of them */
    size_t stages;                /* for each stage: */
    const cl_kernel *kernels;
    const cl_uint *operands;        /* the set of its operands */
    const struct ndrange *ranges;   /* launch_check has accepted them */
    const struct tensor *workspace; /* not present when the plan needs none */
    cl_command_queue queue;
    cl_uint count; /* of list */
    const cl_event *list;
    cl_event *event; /* may be NULL */
};

/* Enqueues one stage of l, to run after the events of a list.  event may be NULL. */
cl_int launch_stage(const struct launch *l, size_t stage, cl_uint count, const cl_event *list,
                    cl_event *event, struct status *status);

/* Enqueues the stages one after the other, on in-order and out-of-order queues. */
cl_int launch_chain(const struct launch *l, struct status *status);

#endif
