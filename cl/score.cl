/*
 * score - what becomes of q.k: scale, softcap, to base 2.
 *
 *     without softcap    s = q.k * factor             factor = scale * log2(e)
 *     with softcap       s = cap * tanh(q.k * factor) factor = scale / softcap, cap = softcap *
 * log2(e)
 *
 * factor may be multiplied into q beforehand: score_of_scaled takes that product.  Where
 * q keeps its 16 bits, score_of_product takes the bare one and gives the score in units
 * of score_unit: the product itself, to be multiplied when it becomes a weight.  Its
 * order is right for a positive factor only: for a negative one q is to be negated.
 *
 * The band is a question of which scores exist at all: see span.cl.
 */
#ifndef SOFTCAP
#error "SOFTCAP: 1 where scores go through softcap * tanh(s / softcap), else 0"
#endif

INLINE floatn score_of_scaled(const struct params *p, floatn product) {
    return SOFTCAP ? p->cap * tanh(product) : product;
}

/* Must q be negated (a change of sign bits, exact) before score_of_product? */
INLINE int score_negates(const struct params *p) {
    return SOFTCAP ? 0 : p->factor < 0.0f;
}

/* Positive, also for a factor of 0: no score times it is NaN. */
INLINE float score_unit(const struct params *p) {
    return SOFTCAP ? 1.0f : fmax(fabs(p->factor), FLT_MIN);
}

INLINE floatn score_of_product(const struct params *p, floatn product) {
    return SOFTCAP ? p->cap * tanh(product * p->factor) : product;
}
