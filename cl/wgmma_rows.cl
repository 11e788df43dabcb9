/*
 * wgmma_rows - the rows of a warpgroup of fwd_wgmma: scores become weights; state, sums and end of
 * each row.
 *
 * Work-item i of the warpgroup has two rows, i / 32 * 16 + i % 32 / 4 and that + 8, and of both the
 * columns 8c + 2 (i % 4) and 8c + 2 (i % 4) + 1 (wgmma.cl): four neighbours share two rows.
 */
#define SCORES (BLOCK_N / 2)     /* floats of a work-item */
#define SUMS (WGMMA_COLUMNS / 2) /* likewise */
#define PAIRS (BLOCK_N / 4)      /* pairs of weights, likewise */
#define FAR INT_MIN              /* part.full1 for a warp with far rows */

/* The two rows of a work-item. */
struct rows {
    float m[2], l[2]; /* m: base 2; l: of this work-item's own columns */
    float unit[2];    /* of the scores: score_unit, or 1 where the row is known to be far */
    int2 keys[2];     /* that each row sees */
};

/* Scores of a block's keys that a row does not see become -inf: those behind its last key, or
 * those before its first one; two instructions for each score. */
INLINE void hide(float *s, const struct rows *rows, int key0, const int behind) {
    UNROLL
    for (int r = 0; r < 2; r++) {
        const int edge =
            (behind ? rows->keys[r].y : rows->keys[r].x) - key0 - 2 * (int)(get_local_id(0) % 4);
        UNROLL
        for (int i = 0; i < SCORES / 2; i++) {
            const int key = i / 2 * 8 + i % 2, at = i / 2 * 4 + 2 * r + i % 2;
            s[at] = (key >= edge) == behind ? -INFINITY : s[at];
        }
    }
}

/* Multiplies by the unit the scores of rows that are known to be far. */
INLINE void scale_far(float *s, const struct rows *rows, float unit) {
    UNROLL
    for (int i = 0; i < SCORES; i++) {
        s[i] *= rows->unit[i / 2 % 2] == unit ? 1.0f : unit;
    }
}

/*
 * Products become weights, in place.  row: the first of the two; rescale: the factors for what was
 * summed before; sign and unit: see score.cl.  Where the warp has a row that is known to be far,
 * full1 is FAR, so that every block takes the branch of boundary blocks: blocks without a far row
 * need no branch of their own.
 */
INLINE void soften(const struct params *p, const struct scene *scene, float *s, struct rows *rows,
                   float *rescale, int row, int key0, const struct part *part, float sign,
                   float unit) {
    if (sign != 1.0f) {
        UNROLL
        for (int i = 0; i < SCORES; i++) {
            s[i] *= sign;
        }
    }
    if (SCORE_WHOLE) {
        const int key = key0 + 2 * (int)(get_local_id(0) % 4);
        UNROLL
        for (int i = 0; i < SCORES; i++) {
            s[i] = score_at(scene, score_of_product(p, s[i]), row + i / 2 % 2 * 8,
                            key + i / 4 * 8 + i % 2);
        }
    }
    if (MASKED && key0 < part->full0) {
        hide(s, rows, key0, 0);
    }
    if (key0 + BLOCK_N > part->full1) {
        if (part->full1 == FAR) {
            scale_far(s, rows, unit);
        }
        hide(s, rows, key0, 1);
    }
    UNROLL
    for (int r = 0; r < 2; r++) {
        float most[2] = {-INFINITY, -INFINITY};
        UNROLL
        for (int c = 0; c < SCORES / 4; c++) {
            most[c % 2] = state_max(most[c % 2], state_max(s[4 * c + 2 * r], s[4 * c + 2 * r + 1]));
        }
        float m = state_max(most[0], most[1]);
        m = state_max(m, as_float(warp_exchange(as_uint(m), 1)));
        m = state_max(m, as_float(warp_exchange(as_uint(m), 2)));
        m = state_max(rows->m[r], wgmma_multiply_up(m, rows->unit[r]));
        const float reference = state_reference(m);
        rescale[r] = state_weight(rows->m[r], reference);
        rows->m[r] = m;
        float sum[2] = {0.0f, 0.0f};
        UNROLL
        for (int c = 0; c < SCORES / 4; c++) {
            s[4 * c + 2 * r] = state_weight_in(s[4 * c + 2 * r], rows->unit[r], reference);
            s[4 * c + 2 * r + 1] = state_weight_in(s[4 * c + 2 * r + 1], rows->unit[r], reference);
            sum[c % 2] += s[4 * c + 2 * r] + s[4 * c + 2 * r + 1];
        }
        rows->l[r] = fma(rows->l[r], rescale[r], sum[0] + sum[1]);
    }
}

INLINE void pack_weights(uint *weights, const float *s) {
    UNROLL
    for (int i = 0; i < PAIRS; i++) {
        weights[i] = wgmma_pack(s[2 * i], s[2 * i + 1]);
    }
}

INLINE void rescale_sums(float *o, const float *rescale) {
    UNROLL
    for (int i = 0; i < SUMS; i++) {
        o[i] *= rescale[i / 2 % 2];
    }
}

/* Sums of the row, which wait in memory while those of a segment grow: volatile, or the compiler
 * would want registers for them. */
struct totals {
    volatile float o[SUMS], m[2], l[2];
};

INLINE void totals_begin(struct totals *t) {
    ROLL
    for (int i = 0; i < SUMS; i++) {
        t->o[i] = 0.0f;
    }
    ROLL
    for (int r = 0; r < 2; r++) {
        t->m[r] = -INFINITY;
        t->l[r] = 0.0f;
    }
}

/* Adds a segment's sums to the row's.  Afterwards sums and rows->l are the row's where `back` (a
 * literal), else 0. */
INLINE void totals_add(struct totals *t, float *sums, struct rows *rows, const int back) {
    float rescale[2];
    UNROLL
    for (int r = 0; r < 2; r++) {
        float m_row = t->m[r], sum = t->l[r];
        rescale[r] = state_join(&m_row, &sum, rows->m[r], rows->l[r]);
        t->m[r] = m_row;
        t->l[r] = sum;
        rows->l[r] = back ? sum : 0.0f;
    }
    UNROLL
    for (int i = 0; i < SUMS; i += 32) {
        float before[32]; /* all under way at once */
        UNROLL
        for (int j = 0; j < 32; j++) {
            before[j] = t->o[i + j];
        }
        UNROLL
        for (int j = 0; j < 32; j++) {
            const float sum = fma(before[j], rescale[j / 2 % 2], sums[i + j]);
            t->o[i + j] = sum;
            sums[i + j] = back ? sum : 0.0f;
        }
    }
}

/* Adds the NaN and Inf of V that the watchers have replaced and that the rows see. */
INLINE void restore(const struct params *p, float *o, __local const struct task *t, int row,
                    __global const element *v) {
    const int4 span = t->span;
    struct slice s;
    slice_of_head(p, t->batch, t->head, &s);
    const int2 keys[2] = {span_of_row(&s.band, row), span_of_row(&s.band, row + 8)};
    v += slice_begin_kv(&p->v, &s);
    ROLL
    for (int key0 = span.x; key0 < span.y; key0 += BLOCK_N) {
        if (!span_is_boundary(span, key0, BLOCK_N)) {
            continue;
        }
        ROLL
        for (int key = key0; key < min(key0 + BLOCK_N, span.y); key++) {
            UNROLL
            for (int i = 0; i < SUMS / 2; i++) {
                const int d = i / 2 * 8 + i % 2 + 2 * (int)(get_local_id(0) % 4);
                const float x = d < HEAD_DIM_V ? load(v + key * p->v.row + d, TYPE) : 0.0f;
                UNROLL
                for (int r = 0; r < 2; r++) {
                    const int seen = key >= keys[r].x && key < keys[r].y;
                    o[i / 2 * 4 + 2 * r + i % 2] += seen && !isfinite(x) ? x : 0.0f;
                }
            }
        }
    }
}

/* Four neighbours hold a pair each of four chunks (x[0] to x[3]) of a row: afterwards the work-item
 * with the number i among them holds chunk i, whole. */
INLINE void gather_chunk(uint *x) {
    const int odd = (int)get_local_id(0) & 1, high = (int)get_local_id(0) & 2;
    UNROLL
    for (int i = 0; i < 4; i += 2) {
        const uint a = x[i], b = x[i + 1], got = warp_exchange(odd ? a : b, 1);
        x[i] = odd ? got : a;
        x[i + 1] = odd ? b : got;
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        const uint a = x[i], b = x[i + 2], got = warp_exchange(high ? a : b, 2);
        x[i] = high ? got : a;
        x[i + 2] = high ? b : got;
    }
}

/* Stores a row of O, its sums times its normaliser; limited to F16's range where `within` (a
 * literal).  Returns `products` plus products of the row's elements, for wgmma_not_finite. */
INLINE uint put_row(const float *sums, const int r, float normaliser, __global element *to,
                    int live, uint products, const int within) {
    const int quarter = (int)(get_local_id(0) % 4);
    UNROLL
    for (int c = 0; c < WGMMA_COLUMNS / 32; c++) {
        uint x[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            const float *pair = sums + (4 * c + i) * 4 + 2 * r;
            const float low = pair[0] * normaliser, high = pair[1] * normaliser;
            x[i] =
                within ? wgmma_pack(state_output(low), state_output(high)) : wgmma_pack(low, high);
        }
        products = wgmma_add_products(x[0], x[1], wgmma_add_products(x[2], x[3], products));
        gather_chunk(x);
        const int d = (4 * c + quarter) * 8;
        if (live && d < HEAD_DIM_V) {
            *(__global uint4 *)(to + d) = (uint4)(x[0], x[1], x[2], x[3]);
        }
    }
    return products;
}

/*
 * The end of a row: o and lse.  One vote of the warp asks for two things that are rare.  Where an
 * element of o is beyond F16's range, the rows are stored again, limited to it.  Where a row is far
 * and its unit is not 1, its weights were not exact: the row is late, and the task is handed out
 * again (fwd_wgmma.cl).
 */
INLINE void finish(const struct params *p, const float *sums, const struct rows *rows,
                   __local struct task *t, __local uint *late_rows, int row, __global element *o,
                   __global float *lse) {
    float normaliser[2];
    uint products = 0;
    struct slice s;
    slice_of_head(p, t->batch, t->head, &s);
    o += slice_begin(&p->o, &s);
    lse += slice_begin(&p->lse, &s);
    UNROLL
    for (int r = 0; r < 2; r++) {
        float l = rows->l[r];
        l += as_float(warp_exchange(as_uint(l), 1));
        l += as_float(warp_exchange(as_uint(l), 2));
        const int to = row + 8 * r, live = to < s.band.seq_q;
        normaliser[r] = state_finish(rows->m[r], &l, rows->keys[r].x < rows->keys[r].y,
                                     live && get_local_id(0) % 4 == 0 && (p->given & OPERAND_LSE),
                                     lse + to * p->lse.row, -INFINITY);
        products = put_row(sums, r, normaliser[r], o + to * p->o.row, live, products, 0);
    }
    const int late[2] = {rows->unit[0] != 1.0f && state_is_far(rows->m[0]),
                         rows->unit[1] != 1.0f && state_is_far(rows->m[1])};
    const int overflowed = TYPE == F16 && wgmma_not_finite(products);
    if (warp_any(overflowed || late[0] || late[1])) {
        const uint rows_late = warp_rows(late);
        UNROLL
        for (int r = 0; r < 2 * (TYPE == F16); r++) {
            const int to = row + 8 * r;
            put_row(sums, r, normaliser[r], o + to * p->o.row, to < s.band.seq_q, 0, 1);
        }
        if (get_local_id(0) % 32 == 0) {
            late_rows[get_local_id(0) / 32] = rows_late;
            atomic_or(&t->any_late, (uint)(rows_late != 0));
        }
    }
}
