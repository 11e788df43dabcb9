/*
 * lanes_keys - for bwd_lanes: a block of keys, lanes over keys, meets the queries that see it.
 *
 * With a key per lane, S = Q K^T and dP = d_o V^T, then d_v^T += d_o^T P and d_k^T += Q^T dS, are
 * the products of lanes_products.cl; tiles hold rows of q and d_o.
 */

struct lanes_keys {
    floatn k_t[HEAD_DIM * VECTORS], v_t[HEAD_DIM_V * VECTORS];
    /* Of this segment, and of the segments before it. */
    floatn sum_k[LANES_COLS(HEAD_DIM) * VECTORS], total_k[LANES_COLS(HEAD_DIM) * VECTORS];
    floatn sum_v[LANES_COLS(HEAD_DIM_V) * VECTORS], total_v[LANES_COLS(HEAD_DIM_V) * VECTORS];
    floatn weights[TILE_ROWS * VECTORS], d_scores[TILE_ROWS * VECTORS];
    float q[TILE_ROWS * LANES_ROW(HEAD_DIM)], d_o[TILE_ROWS * LANES_ROW(HEAD_DIM_V)];
    float lse[TILE_ROWS], delta[TILE_ROWS];
    int key0, keys; /* the block's first key, and how many it has */
    int row0, rows; /* the same of the tile */
    int in_segment; /* rows that sum_k and sum_v hold */
};

/* The block of keys key0 ... key0 + keys - 1, without sums; k and v: its first rows. */
INLINE void lanes_keys_begin(struct lanes_keys *b, const struct params *p, int key0, int keys,
                             __global const element_k *k, __global const element_v *v) {
    b->key0 = key0;
    b->keys = keys;
    b->in_segment = 0;
    lanes_load(b->k_t, k, TYPE_K, p->k.row, keys, HEAD_DIM, VECTORS);
    lanes_load(b->v_t, v, TYPE_V, p->v.row, keys, HEAD_DIM_V, VECTORS);
    lanes_clear(b->sum_k, HEAD_DIM);
    lanes_clear(b->total_k, HEAD_DIM);
    lanes_clear(b->sum_v, HEAD_DIM_V);
    lanes_clear(b->total_v, HEAD_DIM_V);
}

/* The tile of the rows row0 ... row0 + rows - 1; the rest: the slice's first elements. */
INLINE void lanes_keys_load(struct lanes_keys *b, const struct params *p, const struct slice *s,
                            int row0, int rows, __global const element_q *q,
                            __global const element_d_o *d_o, __global const float *lse,
                            __global const float *workspace) {
    b->row0 = row0;
    b->rows = rows;
    lanes_convert(b->q, LANES_ROW(HEAD_DIM), q + row0 * p->q.row, TYPE_Q, p->q.row, rows, HEAD_DIM);
    lanes_convert(b->d_o, LANES_ROW(HEAD_DIM_V), d_o + row0 * p->d_o.row, TYPE_D_O, p->d_o.row,
                  rows, HEAD_DIM_V);
    for (int row = 0; row < rows; row++) {
        b->lse[row] = lse[(row0 + row) * p->lse.row];
        b->delta[row] = workspace[grad_delta_at(p, s, row0 + row)];
    }
}

/* x where row `row` of the tile sees the keys, else 0. */
INLINE floatn lanes_keys_seen(const struct lanes_keys *b, int2 seen, int i, floatn x) {
    const intn key = base_count(b->key0 + i * LANES);
    return key >= (intn)(seen.x) && key < (intn)(seen.y) ? x : (floatn)(0.0f);
}

/* P; with softcap also the slopes, to d_scores. */
INLINE void lanes_keys_weights(struct lanes_keys *b, const struct params *p,
                               const struct band *band, const struct scene *scene, int boundary) {
    for (int row = 0; row < b->rows; row += DOT_UNROLL) {
        floatn x[DOT_UNROLL][VECTORS];
        lanes_dots(x, b->q, row, b->rows, b->k_t, HEAD_DIM);
        UNROLL
        for (int j = 0; j < DOT_UNROLL; j++) {
            if (row + j >= b->rows) {
                break;
            }
            const int at = b->row0 + row + j;
            const floatn reference = grad_reference((floatn)(b->lse[row + j]));
            const int2 seen = span_of_row(band, at);
            UNROLL
            for (int i = 0; i < VECTORS; i++) {
                const floatn score = score_of_product(p, x[j][i]);
                const intn key = base_count(b->key0 + i * LANES);
                const floatn bias =
                    HIDES ? lanes_bias(scene, at, b->key0 + i * LANES) : (floatn)(0.0f);
                const floatn weight =
                    grad_weight(score_with(scene, score, bias, (intn)(at), key), reference);
                b->weights[(row + j) * VECTORS + i] =
                    boundary ? lanes_keys_seen(b, seen, i, weight) : weight;
                if (SOFTCAP) {
                    b->d_scores[(row + j) * VECTORS + i] = score_slope(p, score);
                }
            }
        }
    }
}

/* dS of P. */
INLINE void lanes_keys_d_scores(struct lanes_keys *b, const struct band *band, int boundary) {
    for (int row = 0; row < b->rows; row += DOT_UNROLL) {
        floatn x[DOT_UNROLL][VECTORS];
        lanes_dots(x, b->d_o, row, b->rows, b->v_t, HEAD_DIM_V);
        UNROLL
        for (int j = 0; j < DOT_UNROLL; j++) {
            if (row + j >= b->rows) {
                break;
            }
            const int2 seen = span_of_row(band, b->row0 + row + j);
            UNROLL
            for (int i = 0; i < VECTORS; i++) {
                const int at = (row + j) * VECTORS + i;
                const floatn d_score =
                    grad_of_score(b->weights[at], x[j][i], (floatn)(b->delta[row + j]),
                                  SOFTCAP ? b->d_scores[at] : (floatn)(1.0f));
                b->d_scores[at] = boundary ? lanes_keys_seen(b, seen, i, d_score) : d_score;
            }
        }
    }
}

/* The tile's part of d_k and d_v. */
INLINE void lanes_keys_sum(struct lanes_keys *b, const struct params *p) {
    if (p->given & OPERAND_D_V) {
        lanes_sum(b->sum_v, b->d_o, b->rows, b->weights, HEAD_DIM_V);
    }
    if (p->given & OPERAND_D_K) {
        lanes_sum(b->sum_k, b->q, b->rows, b->d_scores, HEAD_DIM);
    }
    b->in_segment += b->rows;
    if (b->in_segment > GRAD_SEGMENT - TILE_ROWS) {
        lanes_close_segment(b->sum_k, b->total_k, HEAD_DIM);
        lanes_close_segment(b->sum_v, b->total_v, HEAD_DIM_V);
        b->in_segment = 0;
    }
}

/* The block meets the rows row0 ... row0 + rows - 1 of the slice, whose span span_of_keys gave. */
INLINE void lanes_keys_meet(struct lanes_keys *b, const struct params *p, const struct slice *s,
                            const struct scene *scene, int4 span, int row0, int rows,
                            __global const element_q *q, __global const element_d_o *d_o,
                            __global const float *lse, __global const float *workspace) {
    const int boundary = span_is_boundary(span, row0, rows);
    lanes_keys_load(b, p, s, row0, rows, q + slice_begin(&p->q, s), d_o + slice_begin(&p->d_o, s),
                    lse + slice_begin(&p->lse, s), workspace);
    lanes_keys_weights(b, p, &s->band, scene, boundary);
    lanes_keys_d_scores(b, &s->band, boundary);
    if (HIDES) {
        lanes_clean(b->q, LANES_ROW(HEAD_DIM), rows, HEAD_DIM);
        lanes_clean(b->d_o, LANES_ROW(HEAD_DIM_V), rows, HEAD_DIM_V);
    }
    lanes_keys_sum(b, p);
}

/* d_k and d_v: the first rows of the block's gradients. */
INLINE void lanes_keys_store(struct lanes_keys *b, const struct params *p,
                             __global element_d_k *d_k, __global element_d_v *d_v) {
    floatn factors[VECTORS];
    if (p->given & OPERAND_D_K) {
        for (int i = 0; i < VECTORS; i++) {
            factors[i] = (floatn)(score_scale(p));
        }
        lanes_close_segment(b->sum_k, b->total_k, HEAD_DIM);
        lanes_store(d_k, TYPE_D_K, p->d_k.row, b->total_k, factors, b->keys, HEAD_DIM, VECTORS);
    }
    if (p->given & OPERAND_D_V) {
        for (int i = 0; i < VECTORS; i++) {
            factors[i] = (floatn)(1.0f);
        }
        lanes_close_segment(b->sum_v, b->total_v, HEAD_DIM_V);
        lanes_store(d_v, TYPE_D_V, p->d_v.row, b->total_v, factors, b->keys, HEAD_DIM_V, VECTORS);
    }
}
