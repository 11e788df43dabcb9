/*
 * grad - from a score back to its weight, and from the gradient of a weight to that of the score.
 *
 *     P  = 2^(score - lse), at most 1       score and lse to base 2, score as score_at gives it
 *     dS = P (dP - delta) slope             dP = d_o.v, delta = sum of d_o o - d_lse of the row;
 *                                           slope: score_slope, softcap's derivative
 *
 *     d_v = sum of P d_o
 *     d_q = score_scale * sum of dS k
 *     d_k = score_scale * sum of dS q
 *
 * P needs no maximum, since lse already holds it.  lse is rounded in f32 (error up to 2^-8 at
 * 2^16), so score - lse can exceed 0: it is clamped to 0, and gradients stay finite.  NaN stays
 * NaN.
 *
 * Sums over keys, or over queries, have the levels of state.cl: blocks of GRAD_BLOCK, segments of
 * GRAD_SEGMENT, the row.
 */
#define GRAD_BLOCK 64
#define GRAD_SEGMENT 4096

/* What a score is compared with: lse to base 2.  A row that sees nothing has -inf, and no pair. */
INLINE floatn grad_reference(floatn lse) {
    return lse * (floatn)(M_LOG2E_F);
}

INLINE floatn grad_weight(floatn score, floatn reference) {
    const floatn distance = score - reference;
    return base_exp2(distance > (floatn)(0.0f) ? (floatn)(0.0f) : distance);
}

/* slope: score_slope's, of score_of_product's score. */
INLINE floatn grad_of_score(floatn weight, floatn d_weight, floatn delta, floatn slope) {
    return weight * (d_weight - delta) * slope;
}

/* Does a segment end with the block that begins `before` keys, or queries, after the first one? */
INLINE int grad_segment_ends(int before) {
    return (before + GRAD_BLOCK) % GRAD_SEGMENT == 0;
}

/* The place in the workspace of delta of row `row`: [batch, heads_q, seq_q], without gaps. */
INLINE long grad_delta_at(const struct params *p, const struct slice *s, int row) {
    return p->workspace + s->rows_before + row;
}
