/*
 * params - what a launch may change, read by C and by OpenCL C.
 *
 * Passed by value as every kernel's first argument.  A kernel has the strides of its own operands,
 * PARAMS_STRIDES, which is composed; the host has those of all, and copies what the kernel has.
 * Members are ordered by size, so host and device agree on the layout without padding.  With the
 * operands of every forward problem it is 216 bytes, so that it and six pointers of 32 bits fit the
 * 256 bytes of the embedded profile; an operand of a feature adds 32, and a pointer.
 */
#ifndef PARAMS_H
#define PARAMS_H

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#define PARAMS_LONG long
#define PARAMS_INT int
#define PARAMS_FLOAT float
#ifndef PARAMS_STRIDES
#error "PARAMS_STRIDES: the kernel's operands as members of struct params"
#endif
#ifndef KERNEL_ARGUMENTS
#error "KERNEL_ARGUMENTS: the kernel's signature"
#endif
#else
#include "operand.h"
#define PARAMS_STRIDES struct strides strides[OPERANDS]
#define PARAMS_LONG cl_long
#define PARAMS_INT cl_int
#define PARAMS_FLOAT cl_float
#endif

/* The element at [batch, head, row, d] is offset + batch * .batch + head * .head + row * .row + d.
 */
struct strides {
    PARAMS_LONG offset, batch, head, row; /* elements; bytes where they come in blocks */
};

struct params {
    PARAMS_STRIDES;
    PARAMS_LONG workspace; /* floats before the first one that may be used */
    PARAMS_INT batch;
    PARAMS_INT heads_q;
    PARAMS_INT group; /* query heads per key head */
    PARAMS_INT seq_q;
    PARAMS_INT seq_kv;
    PARAMS_INT diagonal;   /* query i stands opposite key i + diagonal */
    PARAMS_INT band_left;  /* not negative, where MASKED */
    PARAMS_INT band_right; /* not negative, where MASKED */
    PARAMS_FLOAT factor;   /* of q.k: see score.cl */
    PARAMS_FLOAT cap;      /* see score.cl */
    PARAMS_INT given;      /* a bit for each operand, OPERAND_LSE: the call has this tensor */
    PARAMS_INT aligned;    /* likewise: each of its rows starts at a multiple of 16 bytes;
                              OPERANDS_TOGETHER: those of q, k and v, for loops that would
                              take more registers with several answers */
};

#endif
