/*
 * verify - a forward pass against attention by its definition, in double.
 *
 * The bounds, with u = 2^-24, the relative rounding error of f32:
 *
 *     o, f32         4 u (max|s| + 8) max|v|
 *     o, f16, bf16   1.25 times the error of the plain computation that rounds the result of
 *                    every operation to that type, plus half a unit in o's last place
 *     lse            4 u (max t + 8) plus half a unit in its last place
 *                    t = |scale| (|q_1 k_1| + |q_2 k_2| + ...)
 *
 * An error that all scores share cancels in o, but moves lse in full, and a score is
 * rounded in proportion to its terms, which t sums.  The maxima are taken over the
 * scores and values that the checked rows see.
 */
#ifndef VERIFY_H
#define VERIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <clattn.h>

typedef struct verify_tensor {
    const void *data;
    const clattn_tensor *layout; /* strides; its memory and offset are not looked at */
} verify_tensor;

typedef struct verify_result {
    uint64_t rows, checked;      /* fewer are checked where all would take too long */
    double error, bound;         /* of o: the largest error and its element's bound; where o
                                  * is wrong those of the element furthest beyond its bound */
    double lse_error, lse_bound; /* likewise */
    bool passed;
} verify_result;

/* desc with heads_kv and head_dim_v filled in.  A row that sees no key must be 0
 * and -INFINITY; NaN and infinities must lie where the definition has them.
 * Returns false only when out of memory. */
bool verify_forward(const clattn_desc *desc, double scale, verify_tensor q, verify_tensor k,
                    verify_tensor v, verify_tensor o, verify_tensor lse, verify_result *result);

/* The same with fewer rows: about `operations` multiply-adds may be spent, but two rows
 * are always checked.  1e9 take a second or two. */
bool verify_sample(const clattn_desc *desc, double scale, verify_tensor q, verify_tensor k,
                   verify_tensor v, verify_tensor o, verify_tensor lse, double operations,
                   verify_result *result);

/* Keys [*begin, *end) that a query sees. */
void verify_span(const clattn_desc *desc, cl_uint query, cl_uint *begin, cl_uint *end);

/* Pairs of a query and a key that it sees, in one head. */
uint64_t verify_pairs(const clattn_desc *desc);

#endif
