/*
 * score - what becomes of q.k: scale, softcap, to base 2.
 *
 *     without softcap    s = q.k * factor             factor = scale * log2(e)
 *     with softcap       s = cap * tanh(q.k * factor) factor = scale / softcap
 *                                                     cap = softcap * log2(e)
 *
 * factor multiplies the sum, never q before it: q times factor may leave the range of floats
 * where the score does not.
 *
 * The band is a question of which scores exist at all: see span.cl.
 */
#ifndef SOFTCAP
#error "SOFTCAP: 1 where scores go through softcap * tanh(s / softcap), else 0"
#endif

/*
 * Matrix engines do not multiply q.k by the factor at once.  Their scores are in units of
 * score_unit(p), and state_weight_in multiplies by the unit as the score becomes a weight.  A unit
 * is positive, or the largest q.k would not be the largest score: q.k (or q) is multiplied before
 * by score_sign(p): 1, -1 or 0.
 */
INLINE float score_sign(const struct params *p) {
    return SOFTCAP || p->factor > 0.0f ? 1.0f : p->factor < 0.0f ? -1.0f : 0.0f;
}

/* Positive, also for a factor of 0: no hidden score, -inf, times it is NaN. */
INLINE float score_unit(const struct params *p) {
    return SOFTCAP ? 1.0f : fmax(fabs(p->factor), FLT_MIN);
}

INLINE floatn score_of_product(const struct params *p, floatn product) {
    return SOFTCAP ? p->cap * tanh(product * p->factor) : product * p->factor;
}

/* ---- Backward: the derivative of a score, natural and not to base 2, for q.k ---- */

/* ... is score_scale times the slope that follows from the score: 1 - tanh^2 with softcap. */
INLINE float score_scale(const struct params *p) {
    return p->factor * M_LN2_F * (SOFTCAP ? p->cap : 1.0f);
}

INLINE floatn score_slope(const struct params *p, floatn score) {
    const floatn t = SOFTCAP ? score / p->cap : (floatn)(0.0f);
    return ((floatn)(1.0f) - t) * ((floatn)(1.0f) + t);
}
