/*
 * Is a result right?  The tolerances, none of them picked by hand.
 *
 * With u = 2^-24, half the spacing of f32 at 1, and s the scores:
 *
 *     f32        |o - o64| <= 4 u (max|s| + 8) max|v|
 *     f16, bf16  |o - o64| <= 1.25 (largest error of the plain same-type
 *                             computation) + half an ulp of o64 in the type
 *     lse        |lse - lse64| <= 4 u (max t + 8) + half an ulp of lse64 in f32
 *                t = |scale| (|q_1 k_1| + |q_2 k_2| + ...), the terms of a score
 *
 * Where the bound of lse comes from: it is the bound of o for v = 1, in which one
 * thing does not cancel.  An error that all scores share moves numerator and
 * denominator of o alike, but moves lse in full; where one key has nearly all the
 * weight, lse is that key's score, rounding and all.  A score is rounded in
 * proportion to its terms: |s| alone, which they may leave small, does not bound
 * it.  lse is f32 and summed in f32 whatever the storage type.
 *
 * A query that sees nothing has no tolerance: o is 0 and lse is -inf, exactly.
 * NaN never passes, and no element is excused.
 */
#ifndef TESTS_COMPARE_H
#define TESTS_COMPARE_H

#include <stdbool.h>

#include "clattn.h"
#include "reference.h"

/* Largest |error| / bound, so at most 1 when right; INFINITY where a value is NaN
 * or a bound of 0 is not met. */
struct compare_result {
    double o;
    double lse;
};

/* o [batch, heads_q, seq_q, head_dim_v] and lse (or NULL), dense and decoded.
 * False, after naming the worst element on stderr, when one is out of bounds. */
bool compare_forward(const clattn_desc *desc, const struct reference *expected, const float *o,
                     const float *lse, struct compare_result *result);

#endif
