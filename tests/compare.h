/*
 * Is a result right?  The tolerances, none of them picked by hand, each row its own.
 *
 * With u = 2^-24, half the spacing of f32 at 1; for a query and the keys that it sees
 * p the softmax, r = scale q.k the score before softcap, t = |scale| (|q_1 k_1| + |q_2 k_2| + ...)
 * its terms, D the head dimension, and
 *
 *     e = 4 u (t + 8) + u D |r| / 4 the error of a score; what features add to a score is one of
 *                                   its terms
 *     m = log(sum of p exp(e))      what that can do to lse: at most the largest e
 *     P = sum of p (exp(e + m) - 1) |v - o64|                to an element of o
 *     S = 4 u (8 + sqrt(keys) / 8)  the error of the softmax's sums
 *     R = sqrt(sum of C^2), C = sum of p w |v| in a cell     of weights that are rounded to f16
 *                                   or bf16; w is half an ulp of 1, and 0 for a key whose score
 *                                   is the largest; a cell is the keys whose scores lie within w
 *
 *     f32        |o - o64| <= P + S max|v| + half an ulp of o64
 *     f16, bf16  |o - o64| <= P + max(1.25 E, 2 R of the row's worst column) + half an ulp of o64
 *                             E: the row's largest error of the plain same-type computation
 *                             (reference.c)
 *     types that differ: as f32, with half an ulp of o64 in o's type
 *     lse        |lse - lse64| <= m + S + half an ulp of lse64 in f32
 *
 * Why P: with errors d of the scores, o - o64 is the sum of p (exp(d) - 1) (v - o64) over
 * that of p exp(d), and the latter is at least exp(-m).  A score is rounded in proportion to
 * its terms: |s| alone, which they may leave small, does not bound its error.  After softcap
 * the error is no larger than what the cap lets pass of it and 4 u |s| (and 32 u as before).
 *
 * Why D |r| / 4: where terms have one sign, the partial sums of one chain over D grow to the score
 * itself, and each addition rounds in proportion to them: equal terms are off by 16 u t at D 64,
 * 32 u t at D 128 and 128 u t at D 512.  Terms of random signs have an |r| of about t / sqrt(D),
 * and gain sqrt(D) / 4 u t: 2 u t at D 64.
 *
 * Why R: the plain computation rounds each weight in one way of many.  A kernel that takes its
 * keys by blocks rounds them against other maxima: errors of the same size, but not the same.
 * In a row of few columns, whose plain error may happen to be as good as 0, that refused
 * right results.  A weight of 1, that of the largest score, is exact in either.  Weights of one
 * cell are rounded alike, and their errors add up; those of different cells are independent, and
 * C is 2.3 of their standard deviations.  In a row of 64 columns 2 R is about as much as 1.25 E.
 *
 * A row whose P + (...) exceeds its max|v| somewhere is ill-conditioned: f32 scores
 * determine no answer.  It is counted, and o is only compared for being finite and inside
 * the range of v, column by column, up to S max|v| and, in f16 and bf16, one ulp.
 *
 * A query that sees nothing has no tolerance: o is 0 and lse is -inf, exactly.
 * NaN never passes, no element is excused, and no bound that is not finite passes anything.
 *
 * Gradients (gradients.h), likewise each row its own:
 *
 *     f32        |g - g64| <= M + 4 u T + half an ulp of g64
 *     f16, bf16  |g - g64| <= M + 2 max(E, R) + 4 u T + half an ulp of g64
 *                (also of mixed types with o of 16 bits; others as f32)
 *
 *     T  of the row's worst column the sum of |terms|, all products multiplied out: of d_q
 *        |scale| p (sum of |d_o v| + sum of |d_o o| + |d_lse|) |k|
 *     M  what the errors of the scores and half an ulp of lse (in f32) do, with e of a pair their
 *        sum: the sum of min(1, p (exp(e) - 1)) |d_o| to d_v; likewise to d_q and d_k, where
 *        they also move the slope of softcap, and where d_o.v and delta drift as a score does
 *     E  the row's largest error of the plain computation (gradients.c), whether p and d_s are
 *        rounded to the type or stay f32: o is rounded in both, and where the two errors happen
 *        to cancel, the plain computation is better than one that rounds less
 *     R  of the row's worst column the root of the sum of squares of what rounding one p, or one
 *        d_s, to the type does: the plain computation is one draw of many
 *
 * A weight is at most 1, and M is finite whatever the scores are.  A row whose M exceeds somewhere
 * what T would be without the slope of softcap is ill-conditioned: counted, and only compared for
 * being finite.  A row without terms is 0 exactly.
 */
#ifndef TESTS_COMPARE_H
#define TESTS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "clattn.h"
#include "gradients.h"
#include "reference.h"

/* Is the row ([batch, heads_q, seq_q]) ill-conditioned? */
bool compare_is_ill(const clattn_desc *desc, const struct reference *expected, size_t row);

/* The bound of an element ([batch, heads_q, seq_q, head_dim_v]) of a row that is not, and that
 * of a row's lse. */
double compare_bound_o(const clattn_desc *desc, const struct reference *expected, size_t i);
double compare_bound_lse(const struct reference *expected, size_t row);

/* Largest |error| / bound, so at most 1 when right; INFINITY where a value is NaN
 * or a bound of 0 is not met. */
struct compare_result {
    double o;
    double lse;
    size_t rows;
    size_t ill_rows; /* ill-conditioned: to be 0 where the test does not say that they come */
};

/* o [batch, heads_q, seq_q, head_dim_v] and lse (or NULL), dense and decoded.
 * False, after naming the worst element on stderr, when one is out of bounds. */
bool compare_forward(const clattn_desc *desc, const struct reference *expected, const float *o,
                     const float *lse, struct compare_result *result);

/* The same, and says nothing. */
bool compare_silently(const clattn_desc *desc, const struct reference *expected, const float *o,
                      const float *lse, struct compare_result *result);

/* Largest |error| / bound of each gradient; INFINITY as above. */
struct compare_gradients {
    double ratio[GRADIENTS];
    double plain_ratio; /* |error| / (2 E + 4 u T + half an ulp), E and T of the whole gradient: how
                           near to the plain computation, for people */
    size_t rows, ill_rows;
};

/* The bound of an element of a row that is not ill-conditioned. */
bool compare_gradient_is_ill(const struct gradient *expected, size_t row);
double compare_bound_gradient(const struct gradient *expected, size_t i);

/* given: dense and decoded; NULL: not compared.  False, after naming the worst elements on stderr,
 * when one is out of bounds. */
bool compare_backward(const struct gradient expected[GRADIENTS],
                      const float *const given[GRADIENTS], struct compare_gradients *result);

#endif
