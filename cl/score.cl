/*
 * score - what becomes of q.k: scale, softcap, to base 2; then bias, ALiBi, mask, where features
 * depend on the positions of query and key (SCORED).
 *
 *     without softcap    s = q.k * factor             factor = scale * log2(e)
 *     with softcap       s = cap * tanh(q.k * factor) factor = scale / softcap
 *                                                     cap = softcap * log2(e)
 *
 * factor multiplies the sum, never q before it: q times factor may leave the range of floats
 * where the score does not.
 *
 * The band is a question of which scores exist at all: see span.cl.  A bias or a mask hides keys
 * one by one (HIDES): their score is -INFINITY, whatever else it would be.
 */
#ifndef SOFTCAP
#error "SOFTCAP: 1 where scores go through softcap * tanh(s / softcap), else 0"
#endif
#ifndef SCORED
#error "SCORED: 1 where score_at changes scores, else 0"
#endif
#ifndef ALIBI
#error "ALIBI: 1 where a score loses alibi's slope times the distance from the opposite key, else 0"
#endif
#ifndef BIAS
#error "BIAS: 1 where a score gains bias's number of the pair, else 0"
#endif
#ifndef MASK
#error "MASK: 1 where mask's byte of the pair, 0, hides the key from the query, else 0"
#endif
#ifndef SINK
#error "SINK: 1 where a score of no key belongs to each row, else 0"
#endif
#ifndef HIDES
#error "HIDES: 1 where score_at can give -INFINITY for a key that is hidden, else 0"
#endif
#ifndef EXTRA_PARAMETERS
#error "EXTRA_PARAMETERS: the kernel's arguments that come with features, as a function's last ones"
#endif
#ifndef EXTRA_ARGUMENTS
#error "EXTRA_ARGUMENTS: the same, handed to such a function"
#endif

/* 1 where matrix engines' products become scores in base 2 before anything else is done with them;
 * their unit is then 1. */
#define SCORE_WHOLE (SOFTCAP || SCORED)

/*
 * Matrix engines do not multiply q.k by the factor at once.  Their scores are in units of
 * score_unit(p), and state_weight_in multiplies by the unit as the score becomes a weight.  A unit
 * is positive, or the largest q.k would not be the largest score: q.k (or q) is multiplied before
 * by score_sign(p): 1, -1 or 0.
 */
INLINE float score_sign(const struct params *p) {
    return SCORE_WHOLE || p->factor > 0.0f ? 1.0f : p->factor < 0.0f ? -1.0f : 0.0f;
}

/* Positive, also for a factor of 0: no hidden score, -inf, times it is NaN. */
INLINE float score_unit(const struct params *p) {
    return SCORE_WHOLE ? 1.0f : fmax(fabs(p->factor), FLT_MIN);
}

INLINE floatn score_of_product(const struct params *p, floatn product) {
    return SOFTCAP ? p->cap * tanh(product * p->factor) : product * p->factor;
}

/* What score_at asks of a slice. */
struct scene {
    int diagonal; /* query i stands opposite key i + diagonal */
    float alibi;  /* -slope * log2(e), added for each key of distance */
    float sink;   /* to base 2; -INFINITY: none */
    int last_row, last_col;
    __global const void *bias, *mask; /* of the slice; a row is so many elements long: */
    long bias_row, mask_row;
};

INLINE void score_scene(const struct params *p, const struct slice *s,
                        struct scene *scene EXTRA_PARAMETERS) {
    scene->diagonal = s->band.diagonal;
#ifdef OPERAND_ALIBI
    scene->alibi = -M_LOG2E_F * alibi[slice_begin(&p->alibi, s)];
#else
    scene->alibi = 0.0f;
#endif
#ifdef OPERAND_SINK
    scene->sink = M_LOG2E_F * sink[slice_begin(&p->sink, s)];
#else
    scene->sink = -INFINITY;
#endif
#ifdef OPERAND_BIAS
    scene->bias = bias + slice_begin(&p->bias, s);
    scene->bias_row = p->bias.row;
#else
    scene->bias = 0;
    scene->bias_row = 0;
#endif
#ifdef OPERAND_MASK
    scene->mask = mask + slice_begin(&p->mask, s);
    scene->mask_row = p->mask.row;
#else
    scene->mask = 0;
    scene->mask_row = 0;
#endif
    scene->last_row = s->band.seq_q - 1;
    scene->last_col = s->band.seq_kv - 1;
    (void)p;
}

#ifndef TYPE_BIAS
#define TYPE_BIAS F32 /* nothing reads it */
#endif

/* To base 2.  The lowest number hides nothing: a bias times log2(e) is kept within the range of
 * floats. */
INLINE floatn score_of_bias(floatn x) {
    const floatn y = (floatn)(M_LOG2E_F)*x, lowest = (floatn)(-FLT_MAX);
    return ((y < lowest) & (x >= lowest)) ? lowest : y;
}

/* The bias of each pair, -INFINITY where bias or mask hides the key.  Rows and columns behind the
 * last one have what the last one has. */
INLINE floatn score_bias(const struct scene *scene, intn row, intn col) {
    floatn result = (floatn)(0.0f);
    intn seen = (intn)(1);
    float *to = (float *)&result;
    int *seen_of = (int *)&seen;
    const int *rows = (const int *)&row, *cols = (const int *)&col;
    UNROLL
    for (int i = 0; i < (HIDES ? LANES : 0); i++) {
        const int r = min(rows[i], scene->last_row), c = min(cols[i], scene->last_col);
        if (BIAS) {
            const long at = r * scene->bias_row + c;
            to[i] = load(storage_at(scene->bias, at, TYPE_BIAS), TYPE_BIAS);
        }
        if (MASK) {
            seen_of[i] = ((__global const uchar *)scene->mask)[r * scene->mask_row + c];
        }
    }
    result = BIAS ? score_of_bias(result) : result;
    return MASK ? (seen == (intn)(0) ? (floatn)(-INFINITY) : result) : result;
}

/* Are the keys seen by the queries, as far as bias and mask go? */
INLINE intn score_sees(const struct scene *scene, intn row, intn col) {
    return score_bias(scene, row, col) != (floatn)(-INFINITY);
}

/* s: what score_of_product gave for query `row` and key `col`.  Adds what depends on their
 * positions, of which `bias` is what score_bias gives.  The order is scale, softcap, bias, ALiBi,
 * mask, band.  Where SCORED is 0, s comes back unchanged. */
INLINE floatn score_with(const struct scene *scene, floatn s, floatn bias, intn row, intn col) {
    const floatn distance = fabs(convert_floatn(col - row - (intn)(scene->diagonal)));
    const floatn moved = BIAS ? s + bias : s;
    const floatn whole = ALIBI ? fma((floatn)(scene->alibi), distance, moved) : moved;
    return HIDES ? (bias == (floatn)(-INFINITY) ? (floatn)(-INFINITY) : whole) : whole;
}

INLINE floatn score_at(const struct scene *scene, floatn s, intn row, intn col) {
    return score_with(scene, s, score_bias(scene, row, col), row, col);
}

/* ---- Backward: d(score) / d(q.k), of the natural score, is score_scale * score_slope ---- */

INLINE float score_scale(const struct params *p) {
    return p->factor * M_LN2_F * (SOFTCAP ? p->cap : 1.0f);
}

/* 1 - tanh^2 with softcap, else 1.  score: what score_of_product gave. */
INLINE floatn score_slope(const struct params *p, floatn score) {
    const floatn t = SOFTCAP ? score / p->cap : (floatn)(0.0f);
    return ((floatn)(1.0f) - t) * ((floatn)(1.0f) + t);
}
