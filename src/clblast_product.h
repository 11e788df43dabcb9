/*
 * clblast_product - multiplies many pairs of matrices by CLBlast, which counts in 32 bits: in calls
 * that are small enough for that.
 */
#ifndef CLBLAST_PRODUCT_H
#define CLBLAST_PRODUCT_H

#include <stdbool.h>
#include "status.h"

/* CLBlast's kernels count elements in 32 bits, after rounding sizes up.  The most elements that the
 * matrices of one operand may have in a call, and the most rows of a matrix a. */
enum { CLBLAST_MOST_ELEMENTS = 1 << 30, CLBLAST_MOST_ROWS = 1 << 20 };

/* Matrices of floats in a buffer, one after another, each row by row, without gaps. */
struct matrices {
    cl_mem buffer;
    cl_ulong first; /* bytes before the first element */
    cl_ulong rows, width;
};

/* c = b a, or c = b a^T where transpose_a, for each of `count` matrices a, b and c.  c.rows equals
 * b.rows.  The product fills the first columns of c, as many as a (or a^T) has columns.
 *
 * An element of c is the sum of `inner` terms.  CLBlast adds terms one by one, and rounding errors
 * grow with their number.  Where `block` is not 0, CLBlast sums `block` terms at a time, and each
 * such sum is added to c.  a then lies in its buffer block by block: first `block` rows of every
 * matrix, a_step bytes after these began the next `block` rows of every matrix, and so on; the last
 * block has the rows that are left.
 *
 * Where `segment` is not 0 either, every `segment` terms have a sum of their own: c has a group of
 * columns for each segment, side by side, and the product is the sum of these groups, which the
 * caller forms. */
struct product {
    struct matrices a, b, c;
    bool transpose_a;
    bool unordered;     /* the queue is out of order */
    cl_ulong inner;     /* rows of a (of a^T where transpose_a), and as many first columns of b */
    cl_ulong block;     /* terms; 0: all of inner; must be 0 where transpose_a */
    cl_ulong a_step;    /* bytes; a multiple of 4096 */
    cl_ulong segment;   /* terms; 0: all of inner; else a multiple of block */
    cl_ulong count;     /* matrices; not 0 */
    cl_ulong most;      /* elements in a call: CLBLAST_MOST_ELEMENTS, or fewer for tests */
    cl_ulong alignment; /* bytes; the device lets a sub-buffer begin at multiples of this.  A power
                           of two up to 4096 that divides `first` of a, b and c */
};

/* NULL where this build has CLBlast, else one sentence that says why it has not. */
const char *clblast_missing(void);

/* Enqueues the calls of CLBlast.  On an out-of-order queue calls may run side by side. */
cl_int clblast_product(const struct product *product, cl_command_queue queue,
                       struct status *status);

#endif
