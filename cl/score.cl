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

INLINE floatn score_of_product(const struct params *p, floatn product) {
    return SOFTCAP ? p->cap * tanh(product * p->factor) : product * p->factor;
}
