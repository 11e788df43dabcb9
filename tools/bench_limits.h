/*
 * bench_limits - what the device can do at most, measured: multiply-adds of 32-bit
 * floating point, copying within its global memory, and reading it.
 *
 * Several small kernels are tried for each, and the best one counts.  Matrix engines
 * are left out: what runs on them may exceed the peak.
 *
 * Clocks change with load and heat, and processors are shared.  So the peak that a
 * share refers to is measured again, between the samples of what it is compared with.
 */
#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

#include "bench_machine.h"

struct bench_limits {
    double flops; /* a second, median; a multiply-add is two */
    double copy;  /* bytes read and bytes written, a second, the best run */
    double read;  /* bytes, a second, the best run */
    char flops_by[64], copy_by[64];
    cl_kernel peak; /* the best one, with its arguments set */
    cl_mem data;
    size_t items, group;
    double operations; /* of a launch of it */
};

/* Takes about two seconds; bench_limits_destroy is needed in any case.  Fails only if
 * no kernel of a kind ran. */
cl_int bench_limits_measure(struct bench_machine *m, struct bench_limits *limits);
void bench_limits_destroy(struct bench_limits *limits);

/* Operations a second now, in a fiftieth of a second; 0 on failure. */
double bench_limits_sample(struct bench_machine *m, const struct bench_limits *limits);

#endif
