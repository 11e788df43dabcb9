/*
 * state - the running softmax of a row: m, the maximum of its scores (base 2), and
 * l, the sum of 2^(score - m).  Nothing seen yet: m = -inf, l = 0.
 *
 * -inf - -inf would be NaN, so weights are taken against a reference that is 0
 * while m is -inf.  The maximum drops NaN; a NaN score still reaches l through its weight.
 */

/* The greater one, m where s is NaN: one instruction for vectors of x86, where fmax is three,
 * and for GPUs, where the comparison is two. */
INLINE floatn state_max(floatn m, floatn s) {
#if LANES == 1
    return fmax(m, s);
#else
    return s > m ? s : m;
#endif
}

INLINE floatn state_reference(floatn m) {
    return m == (floatn)(-INFINITY) ? (floatn)(0.0f) : m;
}

/* The weight of a score, and the factor for what was summed against an older maximum. */
INLINE floatn state_weight(floatn score, floatn reference) {
    return base_exp2(score - reference);
}

/* The weight of a score in units of `unit`, against a reference in base-2 units: for weights
 * that are rounded to 16 bits.  One fma and the device's own exp2. */
INLINE floatn state_weight_in(floatn score, floatn unit, floatn reference) {
    return base_exp2_native(fma(score, unit, -reference));
}

/* What the weighted sum of V is to be multiplied by: 1 / l, or 0 for a row that saw nothing. */
INLINE floatn state_normaliser(floatn l) {
    return l == (floatn)(0.0f) ? (floatn)(0.0f) : (floatn)(1.0f) / l;
}

/* Log of the row's sum of 2^score to base 2; -inf for a row that saw nothing. */
INLINE float state_log2_sum(float m, float l) {
    return l == 0.0f ? -INFINITY : m + log2(l);
}

/* Natural log of the row's sum of exp(score). */
INLINE float state_lse(float m, float l) {
    return state_log2_sum(m, l) * M_LN2_F;
}
