/*
 * lanes_queries - for bwd_lanes: a block of query rows, lanes over rows, meets the keys that it
 * sees.
 */

struct lanes_queries {
    floatn q_t[HEAD_DIM * VECTORS], d_o_t[HEAD_DIM_V * VECTORS];
    /* Of this segment, and of the segments before it. */
    floatn sum[LANES_COLS(HEAD_DIM) * VECTORS], total[LANES_COLS(HEAD_DIM) * VECTORS];
    floatn d_scores[TILE_ROWS * VECTORS]; /* P, until it becomes dS */
    float k[TILE_ROWS * LANES_ROW(HEAD_DIM)], v[TILE_ROWS * LANES_ROW(HEAD_DIM_V)];
    floatn reference[VECTORS], delta[VECTORS];
    intn begin[VECTORS], end[VECTORS]; /* keys that each row sees */
    int row0, key0, keys;              /* of the block, and of the tile */
};

/* lse, delta and keys of each row; rows past the end have those of the last one. */
INLINE void lanes_queries_begin(struct lanes_queries *b, const struct params *p,
                                const struct slice *s, int row0, int rows_here,
                                __global const float *lse, __global const float *workspace) {
    b->row0 = row0;
    for (int i = 0; i < VECTORS; i++) {
        float *reference = (float *)&b->reference[i], *delta = (float *)&b->delta[i];
        int *begin = (int *)&b->begin[i], *end = (int *)&b->end[i];
        for (int j = 0; j < LANES; j++) {
            const int row = row0 + min(i * LANES + j, rows_here - 1);
            const int2 keys = span_of_row(&s->band, row);
            reference[j] = lse[row * p->lse.row];
            delta[j] = workspace[grad_delta_at(p, s, row)];
            begin[j] = keys.x;
            end[j] = keys.y;
        }
        b->reference[i] = grad_reference(b->reference[i]);
    }
}

/* x in the rows that see key `key` of the tile, else 0. */
INLINE floatn lanes_queries_seen(const struct lanes_queries *b, int i, int key, floatn x) {
    const intn at = (intn)(b->key0 + key);
    return at >= b->begin[i] && at < b->end[i] ? x : (floatn)(0.0f);
}

/* dS of the tile's keys. */
INLINE void lanes_queries_d_scores(struct lanes_queries *b, const struct params *p,
                                   const struct scene *scene, int boundary) {
    if (HIDES) { /* where dS will be */
        lanes_bias_block(b->d_scores, VECTORS, scene, b->row0, b->key0, b->keys);
    }
    for (int key = 0; key < b->keys; key += DOT_UNROLL) {
        floatn x[DOT_UNROLL][VECTORS], weights[DOT_UNROLL][VECTORS], slopes[DOT_UNROLL][VECTORS];
        lanes_dots(x, b->k, key, b->keys, b->q_t, HEAD_DIM);
        UNROLL
        for (int j = 0; j < DOT_UNROLL; j++) {
            const intn at = (intn)(b->key0 + key + j);
            UNROLL
            for (int i = 0; i < VECTORS; i++) {
                const floatn score = score_of_product(p, x[j][i]);
                const intn row = base_count(b->row0 + i * LANES);
                const int of = min(key + j, b->keys - 1) * VECTORS + i;
                const floatn bias = HIDES ? b->d_scores[of] : (floatn)(0.0f);
                weights[j][i] =
                    grad_weight(score_with(scene, score, bias, row, at), b->reference[i]);
                slopes[j][i] = score_slope(p, score);
            }
        }
        lanes_dots(x, b->v, key, b->keys, b->d_o_t, HEAD_DIM_V);
        UNROLL
        for (int j = 0; j < DOT_UNROLL; j++) {
            if (key + j >= b->keys) {
                break;
            }
            UNROLL
            for (int i = 0; i < VECTORS; i++) {
                const floatn d_score =
                    grad_of_score(weights[j][i], x[j][i], b->delta[i], slopes[j][i]);
                b->d_scores[(key + j) * VECTORS + i] =
                    boundary ? lanes_queries_seen(b, i, key + j, d_score) : d_score;
            }
        }
    }
}
