/*
 * clblast_product - products of many matrices by CLBlast, in pieces that it can count.
 */
#ifndef CLBLAST_PRODUCT_H
#define CLBLAST_PRODUCT_H

#include <stdbool.h>
#include "status.h"

/* CLBlast's kernels count elements in 32 bits, after rounding sizes up: the elements of
 * one call, and the rows of a matrix a, at most. */
enum { CLBLAST_MOST_ELEMENTS = 1 << 30, CLBLAST_MOST_ROWS = 1 << 20 };

/* Matrices of floats in a buffer, row after row, matrix after matrix, without gaps. */
struct matrices {
    cl_mem buffer;
    cl_ulong first; /* bytes before the first element */
    cl_ulong rows, width;
};

/* c = b a, or b a^T where transpose_a: c.rows == b.rows, c's first columns are
 * written, as many as a has columns (rows).
 *
 * CLBlast adds `inner` terms one by one, which drifts where they are many.  With `block` that
 * many have a sum of their own.  Then a comes block by block: of all matrices the first `block`
 * rows, after a_step bytes the next ones, and so on; the last block has what is left.  With
 * `segment` as well c has columns for each segment, side by side: their sum is the product. */
struct product {
    struct matrices a, b, c;
    bool transpose_a;
    bool unordered;     /* the queue is out of order */
    cl_ulong inner;     /* columns of b that count, and rows (columns) of a */
    cl_ulong block;     /* 0: all of inner; else not with transpose_a */
    cl_ulong a_step;    /* a multiple of 4096 */
    cl_ulong segment;   /* 0: all of inner; else a multiple of block */
    cl_ulong count;     /* of the matrices, not 0 */
    cl_ulong most;      /* CLBLAST_MOST_ELEMENTS, or fewer */
    cl_ulong alignment; /* bytes: what the device asks of a buffer's begin; a power of two up
                           to 4096 that divides `first` */
};

/* One sentence why there are no products in this build, or NULL. */
const char *clblast_missing(void);

/* Enqueues; pieces may run side by side on an out-of-order queue. */
cl_int clblast_product(const struct product *product, cl_command_queue queue,
                       struct status *status);

#endif
