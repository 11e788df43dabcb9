/*
 * verify_gradients - a backward pass against its definition, in double.
 *
 * o and lse are taken as they are: verify.h holds them to theirs.  With p = min(1, exp(s - lse)) of
 * a pair of a query and a key that it sees, and delta = sum of d_o o - d_lse of the query,
 *
 *     d_v = sum of p d_o,  d_q = sum of p (d_o.v - delta) ds/dr k,  d_k = the same with q
 *
 * with r = q.k; d_k and d_v sum over the queries that see the key, of all heads that read it.  The
 * bound of an element, each row's own, with u = 2^-24, e of verify.h, and half a unit of lse in f32
 * added to e:
 *
 *     M + 4 u T + 2 max(E, R) + half a unit in the last place
 *
 *     T  the row's largest sum of |terms|, all products multiplied out
 *     M  the effect of the error e of scores: sum of min(1, p (exp(e) - 1)) |d_o| for d_v, likewise
 *        for d_q and d_k, where the error also moves the slope of softcap, and where the sums over
 * Dv drift as those over D do E  where all inputs are f16, or all bf16: the row's largest error of
 * the plain computation, which has scores and sums in f32, and rounds p, p (d_o.v - delta) and the
 * gradient to that type R  likewise: the row's largest root of the sum of squares of what one such
 * rounding does
 *
 * A row whose M exceeds T (without the slope) is ill-conditioned, and checked only for being
 * finite.  Where an input is NaN or infinite, so may any gradient be.
 */
#ifndef VERIFY_GRADIENTS_H
#define VERIFY_GRADIENTS_H

#include "verify.h"

enum { VERIFY_D_Q, VERIFY_D_K, VERIFY_D_V, VERIFY_GRADIENTS };

/* All of one pass; d_lse.data may be NULL, alibi is there where desc has the feature.  Types are
 * those of desc. */
struct verify_gradients {
    struct verify_tensor q, k, v, o, lse, d_o, d_lse;
    struct verify_tensor gradients[VERIFY_GRADIENTS];
    struct verify_tensor alibi, bias, mask, sink;
};

struct verify_gradients_result {
    uint64_t rows, checked; /* of all three; fewer are checked where all would take too long */
    uint64_t ill_rows;      /* of those checked */
    double error[VERIFY_GRADIENTS], bound[VERIFY_GRADIENTS]; /* as in verify_result */
    bool passed;
};

/* About `operations` multiply-adds may be spent, but two rows of each gradient are always checked.
 * Returns false only when out of memory. */
bool verify_gradients(const clattn_desc *desc, double scale, const struct verify_gradients *given,
                      double operations, struct verify_gradients_result *result);

#endif
