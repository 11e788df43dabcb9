/*
 * state - the running softmax of a row: m, the maximum of its scores (base 2), and
 * l, the sum of 2^(score - m).  Nothing seen yet: m = -inf, l = 0.
 *
 * -inf - -inf would be NaN, so weights are taken against a reference that is 0
 * while m is -inf.  fmax drops NaN; a NaN score still reaches l through its weight.
 */

INLINE floatn state_reference(floatn m) {
    return select(m, (floatn)(0.0f), m == (floatn)(-INFINITY));
}

/* The weight of a score, and the factor for what was summed against an older maximum. */
INLINE floatn state_weight(floatn score, floatn reference) {
    return base_exp2(score - reference);
}

/* What the weighted sum of V is to be multiplied by: 1 / l, or 0 for a row that saw nothing. */
INLINE floatn state_normaliser(floatn l) {
    return select((floatn)(1.0f) / l, (floatn)(0.0f), l == (floatn)(0.0f));
}

/* Natural log of the row's sum of exp(score). */
INLINE float state_lse(float m, float l) {
    return l == 0.0f ? -INFINITY : (m + log2(l)) * M_LN2_F;
}
