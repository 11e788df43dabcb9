/*
 * execute - a forward pass, and a backward pass behind it, from host memory to host memory, timed.
 */
#ifndef EXECUTE_H
#define EXECUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <clattn.h>

enum {
    EXECUTE_Q,
    EXECUTE_K,
    EXECUTE_V,
    EXECUTE_O,
    EXECUTE_LSE,
    EXECUTE_D_O, /* from here to D_V: of a backward pass */
    EXECUTE_D_LSE,
    EXECUTE_D_Q,
    EXECUTE_D_K,
    EXECUTE_D_V,
    EXECUTE_ALIBI, /* from here on: of both passes */
    EXECUTE_BIAS,
    EXECUTE_MASK,
    EXECUTE_SINK,
    EXECUTE_TENSORS
};

/* Is the tensor read? */
static inline bool execute_reads(int tensor) {
    return tensor <= EXECUTE_V || tensor == EXECUTE_D_O || tensor == EXECUTE_D_LSE ||
           tensor >= EXECUTE_ALIBI;
}

struct execute_tensor {
    const char *name; /* NULL: there is none */
    void *data;       /* host memory: read for q, k, v, do, dlse and from alibi on, else written */
    size_t bytes;     /* may be 0 */
    clattn_tensor layout; /* strides; the memory is filled in here */
};

struct execute_result {
    char variant[512];
    size_t workspace; /* bytes */
    double seconds;   /* of one pass: the median of `repeat` */
    bool device_time; /* by the device's clock; otherwise enqueue to finish on the host's */
};

enum { EXECUTE_PASSES = 2 };

/* Runs `passes` passes, each once to warm up and `repeat` times more, all with the same result:
 * forward, and then backward if there are two.  descs and results: one for each.  tuning, a file of
 * variants, may be NULL.  On stderr, after "program: ", it explains a failure and passes clattn's
 * remarks on. */
cl_int execute(const char *program, cl_platform_id platform, cl_device_id device,
               const char *tuning, const clattn_desc descs[], unsigned passes, float scale,
               unsigned repeat, struct execute_tensor tensors[EXECUTE_TENSORS],
               struct execute_result results[]);

#endif
