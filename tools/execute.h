/*
 * execute - one forward pass from host memory to host memory, timed.
 */
#ifndef EXECUTE_H
#define EXECUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <clattn.h>

enum { EXECUTE_TENSORS = 6 }; /* q, k, v, alibi, o, lse */

struct execute_tensor {
    const char *name;
    void *data;           /* host memory: written for o, lse, else read */
    size_t bytes;         /* may be 0 */
    clattn_tensor layout; /* strides; the memory is filled in here */
};

struct execute_result {
    char variant[256];
    size_t workspace; /* bytes */
    double seconds;   /* of one pass: the median of `repeat` */
    bool device_time; /* by the device's clock; otherwise enqueue to finish on the host's */
};

/* Runs one pass to warm up and `repeat` more, all with the same result.  tuning, a file of
 * variants, may be NULL.  On stderr, after "program: ", it explains a failure and passes clattn's
 * remarks on. */
cl_int execute_forward(const char *program, cl_platform_id platform, cl_device_id device,
                       const char *tuning, const clattn_desc *desc, float scale, unsigned repeat,
                       struct execute_tensor tensors[EXECUTE_TENSORS],
                       struct execute_result *result);

#endif
