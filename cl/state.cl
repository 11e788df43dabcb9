/*
 * state - the running softmax of a row: m, the maximum of its scores (base 2), and
 * l, the sum of 2^(score - m).  Nothing seen yet: m = -inf, l = 0.
 *
 * -inf - -inf would be NaN, so weights are taken against a reference that is 0
 * while m is -inf.  Otherwise the reference is m itself: the weight of the best key is
 * exactly 1, however large the scores are.  The maximum drops NaN; a NaN score still reaches l
 * through its weight.
 *
 * Sums over keys (l and O) have up to three levels: a block of keys, a segment (SEGMENT keys, a
 * whole number of blocks or nearly), the row.  Rounding then grows with the blocks of a segment and
 * with the segments, not with the keys.  Where SEGMENT is 0 the row is one segment.  Matrix engines
 * add to O 16 keys at a time, without a level for the block.  While a segment grows, the row's sums
 * wait in memory.
 */
#define STATE_KEYS 64 /* the most that are summed one by one */

#ifndef HIDES
#error "HIDES: 1 where score_at can give -INFINITY for a key that is hidden, else 0"
#endif
#ifndef SINK
#error "SINK: 1 where a score of no key belongs to each row, else 0"
#endif
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

/*
 * The same for weights that are rounded to 16 bits: by the device's own exp2, of a score in units
 * of `unit`, in one fma.  The best key's weight is then 2^(rounding error of the reference), which
 * rounds to 1 as long as the row is not far (state_is_far).  Where the row is far, the caller makes
 * the difference exact before: fwd_mma subtracts the row's maximum from the scores (state_level),
 * and their maximum is then 0; fwd_wgmma multiplies the scores by the unit and passes a unit of 1.
 */
INLINE floatn state_weight_in(floatn score, floatn unit, floatn reference) {
    return base_exp2_native(fma(score, unit, -reference));
}

/* Is a row far: is its maximum m too far from 0 for state_weight_in?  Up to 2^9 the rounding error
 * of a reference is at most 2^-15, also where it is rounded upwards, and the weight's relative
 * error then below 1/16 of that of rounding to F16 (2^-11). */
INLINE int state_is_far(float m) {
    return fabs(m) > 512.0f && m != -INFINITY;
}

/* A score, in units of `unit`, of a row whose maximum over all keys is known to be m: where the row
 * is far, less m.  score * unit is rounded as m was, so the best key's difference is exactly 0. Any
 * other is at least 2^-14, and the unit at most 2^112: no difference becomes subnormal.  inverse:
 * 1 / unit; its rounding error, 2^-20 or less, hardly moves differences that have a weight. */
INLINE float state_level(float score, float unit, float inverse, float m) {
    const float difference = score * unit - m;
    return state_is_far(m) ? difference * inverse : score;
}

/* The maximum that a row begins with whose maximum over all keys is known to be m, and whose scores
 * go through state_level.  Keys further below have the weight 0; without this they could be so far
 * below that their block's reference is rounded to a weight of Inf. */
INLINE float state_begin(float m) {
    return (state_is_far(m) ? 0.0f : m) - 1024.0f;
}

/* Does a segment end with a block of `keys` keys, of which `before` keys come before it?  At most
 * one block in SEGMENT keys says so; the last block of all need not. */
INLINE int state_segment_ends(int before, int keys) {
    return SEGMENT ? (before & (SEGMENT - 1)) + keys >= SEGMENT : 0;
}

/*
 * How two states of a row join: (*m, *l), of keys that came before, gets (m_new, l_new), of keys
 * that came since; m_new is the maximum of both.  Returns the factor for the older sums of O.
 */
INLINE floatn state_join(floatn *m, floatn *l, floatn m_new, floatn l_new) {
    const floatn factor = state_weight(*m, state_reference(m_new));
    *l = fma(*l, factor, l_new);
    *m = m_new;
    return factor;
}

/*
 * A row's end.  Returns what the weighted sums of V are to be multiplied by: 1 / l, or 0 for a row
 * that saw nothing.  Where `write`, *lse gets the natural logarithm of the sum of exp(score); -inf
 * for a row that saw nothing.  A row that sees keys has a maximum, unless every score has
 * overflowed to -inf: then *l, and with it o and lse, becomes NaN, as after an overflow to +inf.
 * Where bias or mask hide keys, such a row is one that saw nothing.
 * sink: the score that belongs to no key, to base 2; it joins the row here, where SINK is 1.
 */
INLINE float state_finish(float m, float *l, int sees, int write, __global float *lse, float sink) {
    *l = sees && !HIDES && m == -INFINITY ? NAN : *l;
    const float most = SINK ? fmax(m, sink) : m;
    const float reference = most == -INFINITY ? 0.0f : most;
    const float kept = SINK ? exp2(m - reference) : 1.0f;
    *l = SINK ? fma(*l, kept, exp2(sink - reference)) : *l;
    if (write) {
        *lse = *l == 0.0f ? -INFINITY : (most + log2(*l)) * M_LN2_F;
    }
    return *l == 0.0f ? 0.0f : kept / *l;
}

/*
 * Two finished rows, of disjoint keys, become the row of all of these keys: the factors of their
 * outputs, and its lse.  Where one has seen no key, the other one stays as it is.
 */
INLINE float state_merge(float lse_1, float lse_2, float *factor_1, float *factor_2) {
    const float m = fmax(lse_1, lse_2), reference = m == -INFINITY ? 0.0f : m;
    const float weight_1 = exp2((lse_1 - reference) * M_LOG2E_F);
    const float weight_2 = exp2((lse_2 - reference) * M_LOG2E_F);
    const float l = weight_1 + weight_2;
    const float normaliser = l == 0.0f ? 0.0f : 1.0f / l;
    *factor_1 = weight_1 * normaliser;
    *factor_2 = weight_2 * normaliser;
    return l == 0.0f ? -INFINITY : fma(log2(l), M_LN2_F, m);
}

/* An element of o within F16's range; Inf and NaN stay.  V may hold F16's largest number, and
 * weights rounded to 16 bits can add up to more than l. */
INLINE float state_output(float x) {
    return fabs(x) < INFINITY ? clamp(x, -65504.0f, 65504.0f) : x;
}
