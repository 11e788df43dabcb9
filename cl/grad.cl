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
 * Where bias or mask hide a key, P and dS are 0, whatever else they would be.
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
    const floatn weight = base_exp2(distance > (floatn)(0.0f) ? (floatn)(0.0f) : distance);
    return HIDES ? (score == (floatn)(-INFINITY) ? (floatn)(0.0f) : weight) : weight;
}

/* slope: score_slope's, of score_of_product's score. */
INLINE floatn grad_of_score(floatn weight, floatn d_weight, floatn delta, floatn slope) {
    const floatn d_score = weight * (d_weight - delta) * slope;
    return HIDES ? (weight == (floatn)(0.0f) ? (floatn)(0.0f) : d_score) : d_score;
}

/* An element of a row whose weights are multiplied with it, where bias or mask may hide the whole
 * row: 0 for NaN and Inf, which would make NaN of the weight 0.  What a NaN that is seen does to a
 * weight stays. */
INLINE float grad_clean(float x) {
    return (as_uint(x) & 0x7fffffffu) < 0x7f800000u ? x : 0.0f;
}

/* Does a segment end with the block that begins `before` keys, or queries, after the first one? */
INLINE int grad_segment_ends(int before) {
    return (before + GRAD_BLOCK) % GRAD_SEGMENT == 0;
}

/* The place in the workspace of delta of row `row`: [batch, heads_q, seq_q], without gaps. */
INLINE long grad_delta_at(const struct params *p, const struct slice *s, int row) {
    return p->workspace + s->rows_before + row;
}

/*
 * ---- For matrix engines, which round dS to 16 bits ----
 *
 * A pair comes as q.k and dP - delta: the sum of d_o.v begins with -delta.  Hidden pairs are taken
 * out between two steps:
 *
 *     grad_prepare   q.k becomes score - lse, dP - delta is multiplied by the slope
 *     (hidden        -INFINITY and 0: whatever the products were, NaN included)
 *     grad_finish    the first becomes P, the second dS
 *
 * P lies in [0, 1], and is rounded in units of 2^-14: the weights of a row of many keys lie below
 * 2^-14, where F16 loses bits (an even row of 60,000 keys would be off by 1.4e-3, in each of its
 * queries alike), and where MI200's matrix engine takes operands for 0.  dS has no such range: F16
 * ends at 65504, which dS exceeds where d_o and V are large, and loses bits below 2^-14, where dS
 * of a long row with small gradients lie.  So each row of sums (of a query's d_q, of a key's d_k)
 * has a unit, a power of two.  dS are multiplied by the unit before they are rounded, and the
 * finished sums are divided by it: both are exact.  The unit begins with the largest that it can
 * be.  When the largest |dS| of a block times the unit exceeds F16's range, the unit becomes the
 * one that makes this |dS| 2^12 to 2^13, and the sums so far are multiplied by new / old.  Then no
 * dS becomes Inf, and with the largest |dS| of the row so far, M, the error of a rounded dS is at
 * most 2^-12 |dS| or 2^-37 M, whichever is more.  BF16 has the range of floats, and no units.
 */
#define GRAD_UNIT_FIRST 0x1p100f
#define GRAD_WEIGHT_UNIT 0x1p14f

INLINE void grad_prepare(const struct params *p, const struct scene *scene, floatn *product,
                         floatn *difference, floatn reference, intn row, intn col) {
    if (SCORE_WHOLE) {
        const floatn score = score_of_product(p, *product);
        *difference *= score_slope(p, score);
        *product = score_at(scene, score, row, col) - reference;
    } else {
        *product = fma(*product, (floatn)(p->factor), -reference);
    }
}

INLINE void grad_finish(floatn *distance, floatn *difference) {
    *distance = base_exp2_native(*distance > (floatn)(0.0f) ? (floatn)(0.0f) : *distance);
    *difference *= *distance;
}

/* Is a block's largest |dS| too large for the unit? */
INLINE int grad_exceeds(float most, float unit) {
    return most * unit > 65504.0f;
}

/* The unit for such a block. */
INLINE float grad_unit(float most) {
    const uint exponent = clamp(as_uint(most) >> 23, 40u, 230u); /* +Inf: any unit will do */
    return as_float((127u + 127u + 12u - exponent) << 23);
}

/* 1 / unit. */
INLINE float grad_unit_inverse(float unit) {
    return as_float(0x7f000000u - as_uint(unit));
}
