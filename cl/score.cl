/*
 * score - what becomes of q.k: scale, softcap, to base 2.
 *
 *     without softcap    s = q.k * factor             factor = scale * log2(e)
 *     with softcap       s = cap * tanh(q.k * factor) factor = scale / softcap, cap = softcap *
 * log2(e)
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
 * Matrix engines leave the factor for later: the score in units of score_unit(p), which is
 * multiplied when the score becomes a weight (state_weight_in).  The order of such scores is
 * right for a positive factor only; score_sign is what q.k is to be multiplied by before,
 * 1, -1 or 0.
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
