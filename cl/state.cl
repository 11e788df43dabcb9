/*
 * state - the running softmax of a row: m, the maximum of its scores (base 2), and
 * l, the sum of 2^(score - m).  Nothing seen yet: m = -inf, l = 0.
 *
 * -inf - -inf would be NaN, so weights are taken against a reference that is 0
 * while m is -inf.  Otherwise the reference is m itself: the weight of the best key is
 * exactly 1, however large the scores are.  The maximum drops NaN; a NaN score still reaches l
 * through its weight.
 *
 * Sums over keys (l and O) have three levels: of a block of keys, of a segment, of the row.
 * Rounding then grows with the blocks of a segment and with the segments, not with the keys.
 * The sums of the row wait in memory until a segment ends.
 */
#define STATE_KEYS 64 /* the most that are summed one by one */

#ifndef SEGMENT
#error "SEGMENT: keys whose sums are kept apart, a power of two; 0 where no row sees more keys"
#endif

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

/* The same for weights that are rounded to 16 bits: by the device's own exp2. */
INLINE floatn state_weight_native(floatn score, floatn reference) {
    return base_exp2_native(score - reference);
}

/* Does a segment end with a block of `keys` keys, of which `before` keys come before it?  At most
 * one block in SEGMENT keys says so; the last block of all need not. */
INLINE int state_segment_ends(int before, int keys) {
    return SEGMENT ? (before & (SEGMENT - 1)) + keys >= SEGMENT : 0;
}

/* The row's l at its end.  A row that sees keys has a maximum, unless every score has overflowed
 * to -inf: then l, and with it o and lse, becomes NaN, as after an overflow to +inf. */
INLINE float state_sum(float m, float l, int sees) {
    return sees && m == -INFINITY ? NAN : l;
}

/* What the weighted sum of V is to be multiplied by: 1 / l, or 0 for a row that saw nothing. */
INLINE floatn state_normaliser(floatn l) {
    return l == (floatn)(0.0f) ? (floatn)(0.0f) : (floatn)(1.0f) / l;
}

/* An element of o from sums with weights that were rounded to 16 bits: these can add up to more
 * than l, and past F16's largest number where V holds it.  Inf and NaN stay. */
INLINE float state_output(float x) {
    const float most = TYPE == F16 ? 65504.0f : INFINITY;
    return fabs(x) < INFINITY ? clamp(x, -most, most) : x;
}

/* Natural log of the row's sum of exp(score); -inf for a row that saw nothing. */
INLINE float state_lse(float m, float l) {
    return l == 0.0f ? -INFINITY : (m + log2(l)) * M_LN2_F;
}
