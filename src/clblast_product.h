/*
 * clblast_product - multiplies many pairs of matrices by CLBlast.
 */
#ifndef CLBLAST_PRODUCT_H
#define CLBLAST_PRODUCT_H

#include <stdbool.h>
#include "status.h"

/* CLBlast's kernels count elements in 32 bits, after rounding sizes up.  The most elements that the
 * matrices of one operand may have, and the most matrices. */
enum { CLBLAST_MOST_ELEMENTS = 1 << 30, CLBLAST_MOST_MATRICES = 1 << 15 };

/* Matrices of floats in a buffer, one after another, each row by row, without gaps. */
struct matrices {
    cl_mem buffer;
    cl_ulong first; /* bytes before the first element; a sub-buffer may begin there */
    cl_ulong rows, width;
};

/* c = b a, or c = b a^T where transpose_a, or c = b^T a where transpose_b, for each of `count`
 * matrices a, b and c.  The product fills the first `columns` of c.  Of b the first `inner` columns
 * take part, or, transposed, the first c.rows.
 *
 * An element of c is the sum of `inner` terms.  CLBlast adds terms one by one, and rounding errors
 * grow with their number.  So CLBlast sums `block` terms at a time, and each such sum is added to
 * c.  Where a_step is not 0, a lies in its buffer block by block: first `block` rows of every
 * matrix, a_step bytes after these began the next `block` rows of every matrix, and so on; the last
 * block has the rows that are left.  Where it is 0 and there are several blocks, the rows of a are
 * longer than `columns`, and so are those of b than c.rows where transpose_b: CLBlast copies such
 * blocks, and heeds where they begin.  Where transpose_a, `block` is at least `inner`: there is one
 * block.
 *
 * Every `segment` terms have a sum of their own: c has a group of columns for each segment, side by
 * side, and the product is the sum of these groups, which the caller forms. */
struct product {
    struct matrices a, b, c;
    bool transpose_a, transpose_b; /* at most one */
    cl_ulong columns;
    cl_ulong inner;   /* rows of a, of a^T where transpose_a */
    cl_ulong block;   /* terms; not 0 */
    cl_ulong a_step;  /* bytes; a sub-buffer may begin there, too; or 0 */
    cl_ulong segment; /* terms; a multiple of block, or at least inner */
    cl_ulong count;   /* matrices; not 0 */
};

/* NULL where this build has CLBlast, else one sentence that says why it has not. */
const char *clblast_missing(void);

/* Enqueues the calls of CLBlast. */
cl_int clblast_product(const struct product *product, cl_command_queue queue,
                       struct status *status);

#endif
