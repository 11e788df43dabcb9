/*
 * dec_lanes - for CPU devices and few queries (decoding): SIMD lanes run over the head dimension.
 *
 * One work-item, alone in its work-group, takes a part of the keys of one head of K and V
 * (split.cl) and ROWS of the query rows that share this head: the queries of all heads of its
 * group, one head after the other.  So a group reads K and V once.  By blocks of BLOCK_N keys,
 * which begin at multiples of BLOCK_N, in the order of their addresses:
 *
 *     scores[row][key] = q[row] . k[key]     ROW_UNROLL rows by KEY_UNROLL keys in registers, whose
 *                                            lanes are added up at the end
 *     o[row] += weight[row][key] * v[key]    ROW_UNROLL rows by COL_UNROLL vectors
 *
 * A row's result does not depend on the other rows, nor on whether a block is a boundary block:
 * a hidden key has the weight 0, and is left out of the sums of a boundary block.
 *
 * Grid: dimension 0 runs over parts, dimension 1 over blocks of rows, heads of K, then batch.
 */
#ifndef ROWS
#error "ROWS: query rows of a work-item, a multiple of ROW_UNROLL"
#endif
#ifndef ROW_UNROLL
#error "ROW_UNROLL: query rows multiplied together in registers; divides LANES"
#endif
#ifndef BLOCK_N
#error "BLOCK_N: keys between two updates of the softmax state; a multiple of LANES"
#endif

#define KEY_UNROLL (LANES / ROW_UNROLL)
#define VECTORS(columns) (((columns) + LANES - 1) / LANES)
#define O_VECTORS VECTORS(HEAD_DIM_V)
/* Vectors of o summed together: as many as registers hold, but no more than there are. */
#define COL_UNROLL (KEY_UNROLL < O_VECTORS ? KEY_UNROLL : O_VECTORS)
#define KEY_VECTORS (BLOCK_N / LANES)
/* Stands for the weight of a key that bias or mask hide: 0 times NaN is NaN. */
#define HIDDEN (-1.0f)

/* The rows of a work-item. */
struct dec {
    floatn q[ROWS][VECTORS(HEAD_DIM)], o[ROWS][O_VECTORS];
    floatn scores[ROWS][KEY_VECTORS];       /* of a block; then its weights */
    floatn m[ROWS], l[ROWS], rescale[ROWS]; /* in each lane */
    int row[ROWS];                          /* its number in its slice */
    int2 keys[ROWS];
    struct scene scenes[ROWS];
    int rows; /* how many there are; those behind repeat the last one */
};

/* Adds up the lanes: x[0] becomes the vector of the sums of x[0] ... x[LANES - 1].  After each
 * round half of the vectors count. */
INLINE void dec_add_lanes(floatn x[LANES]) {
    UNROLL
    for (int round = 1; round < LANES; round *= 2) {
        UNROLL
        for (int i = 0; i < LANES / 2; i++) {
            floatn even, odd;
            even.lo = x[2 * i].even;
            even.hi = x[2 * i + 1].even;
            odd.lo = x[2 * i].odd;
            odd.hi = x[2 * i + 1].odd;
            x[i] = even + odd;
        }
    }
}

/* The largest of the lanes, and their sum, in each lane. */
INLINE floatn dec_largest(floatn x) {
    UNROLL
    for (int count = LANES / 2; count > 0; count /= 2) {
        floatn other;
        other.lo = x.hi;
        other.hi = x.lo;
        x = state_max(x, other);
        other.even = x.lo;
        other.odd = x.hi;
        x = other;
    }
    return x;
}
INLINE floatn dec_sum(floatn x) {
    UNROLL
    for (int count = LANES / 2; count > 0; count /= 2) {
        floatn other;
        other.lo = x.hi;
        other.hi = x.lo;
        x += other;
        other.even = x.lo;
        other.odd = x.hi;
        x = other;
    }
    return x;
}

/* Vector `i` of a row of `columns` elements; 0 behind the last one. */
INLINE floatn dec_vector(__global const void *row, int i, const int type, const int columns) {
    if (columns % LANES == 0 || (i + 1) * LANES <= columns) {
        return loadn_at(row, i * LANES, type);
    }
    floatn x = (floatn)(0.0f);
    for (int d = 0; d < columns % LANES; d++) {
        ((float *)&x)[d] = load_at(row, i * LANES + d, type);
    }
    return x;
}

/* Products of all rows with the keys [first, end) of a block; those before and behind repeat these.
 */
INLINE void dec_scores(struct dec *b, const struct params *p, __global const element_k *k,
                       int first, int end) {
    for (int r0 = 0; r0 < b->rows; r0 += ROW_UNROLL) {
        for (int key = first / KEY_UNROLL * KEY_UNROLL; key < end; key += KEY_UNROLL) {
            floatn x[ROW_UNROLL * KEY_UNROLL];
            UNROLL
            for (int j = 0; j < KEY_UNROLL; j++) {
                __global const element_k *row = k + clamp(key + j, first, end - 1) * p->k.row;
                floatn sums[ROW_UNROLL];
                UNROLL
                for (int r = 0; r < ROW_UNROLL; r++) {
                    sums[r] = (floatn)(0.0f);
                }
                for (int i = 0; i < VECTORS(HEAD_DIM); i++) {
                    const floatn vector = dec_vector(row, i, TYPE_K, HEAD_DIM);
                    UNROLL
                    for (int r = 0; r < ROW_UNROLL; r++) {
                        sums[r] = fma(vector, b->q[r0 + r][i], sums[r]);
                    }
                }
                UNROLL
                for (int r = 0; r < ROW_UNROLL; r++) {
                    x[r * KEY_UNROLL + j] = sums[r];
                }
            }
            dec_add_lanes(x);
            const float *sums = (const float *)x;
            UNROLL
            for (int r = 0; r < ROW_UNROLL; r++) {
                float *to = (float *)b->scores[r0 + r] + key;
                UNROLL
                for (int j = 0; j < KEY_UNROLL; j++) {
                    to[j] = sums[r * KEY_UNROLL + j];
                }
            }
        }
    }
}

/* Products become weights of the keys from key0 on, and the rows' states go on. */
INLINE void dec_weights(struct dec *b, const struct params *p, int key0, int boundary) {
    for (int r = 0; r < b->rows; r++) {
        floatn largest = (floatn)(-INFINITY);
        for (int i = 0; i < KEY_VECTORS; i++) {
            const intn col = base_count(key0 + i * LANES);
            const int key = key0 + i * LANES;
            const floatn bias = HIDES ? lanes_bias(&b->scenes[r], b->row[r], key) : (floatn)(0.0f);
            floatn score = score_with(&b->scenes[r], score_of_product(p, b->scores[r][i]), bias,
                                      (intn)(b->row[r]), col);
            if (boundary) {
                score = col >= (intn)(b->keys[r].x) && col < (intn)(b->keys[r].y)
                            ? score
                            : (floatn)(-INFINITY);
            }
            b->scores[r][i] = score;
            largest = state_max(largest, score);
        }
        const floatn m = state_max(b->m[r], dec_largest(largest));
        const floatn reference = state_reference(m);
        floatn sum = (floatn)(0.0f);
        for (int i = 0; i < KEY_VECTORS; i++) {
            const floatn weight = state_weight(b->scores[r][i], reference);
            const intn hidden = HIDES ? b->scores[r][i] == (floatn)(-INFINITY) : (intn)(0);
            sum += weight;
            b->scores[r][i] = hidden ? (floatn)(HIDDEN) : weight;
        }
        b->rescale[r] = state_weight(b->m[r], reference);
        b->l[r] = fma(b->l[r], b->rescale[r], dec_sum(sum));
        b->m[r] = m;
    }
}

/* o = o * rescale + weights times the keys [first, end) of the block at key0; v: the block's first
 * row; `boundary` is a literal. */
INLINE void dec_accumulate(struct dec *b, const struct params *p, __global const element_v *v,
                           int key0, int first, int end, const int boundary) {
    for (int r0 = 0; r0 < b->rows; r0 += ROW_UNROLL) {
        for (int i = 0; i < O_VECTORS; i += COL_UNROLL) {
            floatn x[ROW_UNROLL][COL_UNROLL];
            UNROLL
            for (int r = 0; r < ROW_UNROLL; r++) {
                UNROLL
                for (int c = 0; c < COL_UNROLL; c++) {
                    x[r][c] = (floatn)(0.0f);
                }
            }
            for (int key = first; key < end; key++) {
                floatn vectors[COL_UNROLL];
                UNROLL
                for (int c = 0; c < COL_UNROLL; c++) {
                    vectors[c] = dec_vector(v + key * p->v.row, min(i + c, O_VECTORS - 1), TYPE_V,
                                            HEAD_DIM_V);
                }
                UNROLL
                for (int r = 0; r < ROW_UNROLL; r++) {
                    const int2 seen = b->keys[r0 + r];
                    if (boundary ? key0 + key < seen.x || key0 + key >= seen.y : 0) {
                        continue;
                    }
                    const float weight = ((const float *)b->scores[r0 + r])[key];
                    if (HIDES ? weight == HIDDEN : 0) {
                        continue;
                    }
                    UNROLL
                    for (int c = 0; c < COL_UNROLL; c++) {
                        x[r][c] = fma((floatn)(weight), vectors[c], x[r][c]);
                    }
                }
            }
            UNROLL
            for (int r = 0; r < ROW_UNROLL; r++) {
                UNROLL
                for (int c = 0; c < COL_UNROLL; c++) {
                    if (i + c < O_VECTORS) {
                        b->o[r0 + r][i + c] = fma(b->o[r0 + r][i + c], b->rescale[r0 + r], x[r][c]);
                    }
                }
            }
        }
    }
}

/* Rows row0 ... row0 + rows - 1 of those that share the head of K, and the keys that they see in
 * the part: (x, y) any of them, (z, w) all. */
INLINE int4 dec_begin(struct dec *b, const struct params *p, const struct slice *first, long row0,
                      int rows, int part, __global const element_q *q EXTRA_PARAMETERS) {
    int4 span = (int4)(INT_MAX, 0, 0, INT_MAX);
    b->rows = rows;
    for (int r = 0; r < ROWS; r++) {
        struct slice s;
        slice_of_shared_row(p, first, row0 + min(r, rows - 1), &b->row[r], &s);
        SLICE_LENGTHS(p, &s);
        for (int i = 0; i < VECTORS(HEAD_DIM); i++) {
            b->q[r][i] =
                dec_vector(q + slice_begin(&p->q, &s) + b->row[r] * p->q.row, i, TYPE_Q, HEAD_DIM);
        }
        score_scene(p, &s, &b->scenes[r] EXTRA_ARGUMENTS);
        b->keys[r] = split_keys(span_of_row(&s.band, b->row[r]), part);
        b->m[r] = (floatn)(-INFINITY);
        b->l[r] = (floatn)(0.0f);
        for (int i = 0; i < O_VECTORS; i++) {
            b->o[r][i] = (floatn)(0.0f);
        }
        if (b->keys[r].x < b->keys[r].y) {
            span.x = min(span.x, b->keys[r].x);
            span.y = max(span.y, b->keys[r].y);
        }
        span.z = max(span.z, b->keys[r].x);
        span.w = min(span.w, b->keys[r].y);
    }
    return span;
}

INLINE void dec_block(struct dec *b, const struct params *p, int key0, int first, int end,
                      __global const element_k *k, __global const element_v *v,
                      const int boundary) {
    dec_scores(b, p, k + key0 * p->k.row, first, end);
    dec_weights(b, p, key0, boundary);
    dec_accumulate(b, p, v + key0 * p->v.row, key0, first, end, boundary);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void dec_lanes(KERNEL_ARGUMENTS) {
    const int part = (int)get_global_id(0);
    const ulong number = get_global_id(1), blocks = slice_shared_blocks(&p, ROWS);
    const long row0 = (long)(number % blocks) * ROWS;
    const int rows = (int)min((long)ROWS, slice_shared_rows(&p) - row0);
    struct slice first_slice;
    slice_of_number_kv(&p, (uint)(number / blocks), &first_slice);
    SLICE_LENGTHS(&p, &first_slice);
    if (LENGTHS ? part * (long)PART_N >= first_slice.band.seq_kv : 0) {
        return; /* fwd_merge does not read this part */
    }
    struct dec b;
    const int4 span = dec_begin(&b, &p, &first_slice, row0, rows, part, q EXTRA_ARGUMENTS);
    k += slice_begin_kv(&p.k, &first_slice);
    v += slice_begin_kv(&p.v, &first_slice);
    for (int key0 = span.x / BLOCK_N * BLOCK_N; key0 < span.y; key0 += BLOCK_N) {
        if (span_is_boundary(span, key0, BLOCK_N)) {
            dec_block(&b, &p, key0, max(span.x - key0, 0), min(BLOCK_N, span.y - key0), k, v, 1);
        } else {
            dec_block(&b, &p, key0, 0, BLOCK_N, k, v, 0);
        }
    }
    for (int r = 0; r < rows; r++) {
        struct slice s;
        int row;
        slice_of_shared_row(&p, &first_slice, row0 + r, &row, &s);
        __global float *to = workspace + split_at(&p, &s, row, part);
        for (int i = 0; i < O_VECTORS; i++) {
            BASE_CONCAT(vstore, LANES)(b.o[r][i], i, to);
        }
        to[SPLIT_COLS] = ((const float *)&b.m[r])[0];
        to[SPLIT_COLS + 1] = ((const float *)&b.l[r])[0];
    }
}
