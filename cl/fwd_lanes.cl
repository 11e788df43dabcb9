/*
 * fwd_lanes - for CPU devices: SIMD lanes run over query rows.
 *
 * One work-item, alone in its work-group, computes BLOCK_M = LANES * ROW_VECTORS
 * query rows.  With a query per lane, S^T = K Q^T and O^T += V^T P^T are outer
 * products "one element of K or V times a vector": maxima, sums and rescaling are
 * lane by lane, K and V are read as they lie, and there is neither local memory nor
 * a barrier.  Q^T, S^T and O^T live in private arrays that fit the first caches:
 *
 *     q_t[HEAD_DIM][BLOCK_M]    s_t[BLOCK_N][BLOCK_M]    o_t[HEAD_DIM_V][BLOCK_M]
 *
 * and, where rows are longer than a segment (state.cl), total_t like o_t: the row's sums before
 * this segment, read and written once in each segment.  Register blocks: KEY_UNROLL keys
 * (COL_UNROLL columns of O) by ROW_VECTORS vectors.
 *
 * Grid: dimension 0 runs over blocks of rows, dimension 1 over heads, then batch.
 */
#ifndef ROW_VECTORS
#error "ROW_VECTORS: vectors of LANES query rows per work-item"
#endif
#ifndef KEY_UNROLL
#error "KEY_UNROLL: keys scored together in registers; divides BLOCK_N"
#endif
#ifndef COL_UNROLL
#error "COL_UNROLL: columns of O summed together in registers"
#endif
#ifndef BLOCK_N
#error "BLOCK_N: keys between two updates of the softmax state"
#endif

#ifndef PASS
#error "PASS: 0 whole; 1 only m and l of each row, to workspace; 2 only O, with them"
#endif

#define BLOCK_M (LANES * ROW_VECTORS)
/* F32 is read where it lies.  Tiles of K and V in other types are first converted into a private
 * tile: element by element the conversion would cost more than the products. */
#define TILE (TYPE_K == F32 && TYPE_V == F32 ? 1 : BLOCK_N * TILE_ROW)
#define WIDER_DIM (HEAD_DIM > HEAD_DIM_V ? HEAD_DIM : HEAD_DIM_V)
#define TILE_ROW ((WIDER_DIM + 15) / 16 * 16)
#define COLS ((HEAD_DIM_V + COL_UNROLL - 1) / COL_UNROLL * COL_UNROLL)
/* Stands in s_t for the weight of a key that is hidden where V holds NaN or Inf:
 * unlike 0 it keeps them out. */
#define HIDDEN (-1.0f)

/* Where rows of K and of V are read. */
#if TYPE_K == F32
#define SOURCE_K __global const float *
#else
#define SOURCE_K const float *
#endif
#if TYPE_V == F32
#define SOURCE_V __global const float *
#else
#define SOURCE_V const float *
#endif

struct lanes_rows {
    floatn m[ROW_VECTORS], l[ROW_VECTORS];             /* with this segment */
    floatn m_total[ROW_VECTORS], l_total[ROW_VECTORS]; /* before it */
    intn begin[ROW_VECTORS], end[ROW_VECTORS];         /* keys that each row sees */
};

/* True when V's rows hold neither NaN nor Inf: then a weight of 0 hides a key.  By their bits:
 * llvmpipe takes any float times 0 for 0. */
INLINE int lanes_finite(SOURCE_V v_rows, long v_stride, int keys) {
    /* One maximum for each vector of columns: they wait for one another. */
    int16 most[HEAD_DIM_V / 16 + 1];
    UNROLL
    for (int i = 0; i <= HEAD_DIM_V / 16; i++) {
        most[i] = (int16)(0);
    }
    int most_of_tail = 0;
    for (int key = 0; key < keys; key++) {
        UNROLL
        for (int i = 0; i < HEAD_DIM_V / 16; i++) {
            most[i] = max(most[i], as_int16(vload16(i, v_rows + key * v_stride)) & 0x7fffffff);
        }
        for (int d = HEAD_DIM_V / 16 * 16; d < HEAD_DIM_V; d++) {
            most_of_tail = max(most_of_tail, as_int(v_rows[key * v_stride + d]) & 0x7fffffff);
        }
    }
    UNROLL
    for (int i = 0; i < HEAD_DIM_V / 16; i++) {
        most[i + 1] = max(most[i + 1], most[i]);
    }
    return all(most[HEAD_DIM_V / 16] < (int16)(0x7f800000)) && most_of_tail < 0x7f800000;
}

/* Marks the weights of keys that band, bias or mask hide. */
INLINE void lanes_hide(floatn *s_t, const struct scene *scene, int row0,
                       const struct lanes_rows *rows, int key0, int keys) {
    for (int key = 0; key < keys; key++) {
        const intn at = (intn)(key0 + key);
        for (int i = 0; i < ROW_VECTORS; i++) {
            floatn weight = s_t[key * ROW_VECTORS + i];
            weight = at >= rows->begin[i] && at < rows->end[i] ? weight : (floatn)(HIDDEN);
            if (HIDES) {
                const intn row = base_count(row0 + i * LANES);
                weight = score_sees(scene, row, at) ? weight : (floatn)(HIDDEN);
            }
            s_t[key * ROW_VECTORS + i] = weight;
        }
    }
}

/* O^T = O^T * rescale + V^T P^T; `marked` is a literal: some weights may be HIDDEN. */
INLINE void lanes_accumulate(floatn *o_t, const floatn *s_t, const floatn *rescale, SOURCE_V v_rows,
                             long v_stride, int keys, const int marked) {
    for (int col = 0; col < COLS; col += COL_UNROLL) {
        floatn o[COL_UNROLL][ROW_VECTORS];
        UNROLL
        for (int d = 0; d < COL_UNROLL; d++) {
            UNROLL
            for (int i = 0; i < ROW_VECTORS; i++) {
                o[d][i] = (floatn)(0.0f);
            }
        }
        for (int key = 0; key < keys; key++) {
            UNROLL
            for (int d = 0; d < COL_UNROLL; d++) {
                /* Past the last column: read the last one again, never stored. */
                const int from = COLS == HEAD_DIM_V ? col + d : min(col + d, HEAD_DIM_V - 1);
                const floatn element_of_v = (floatn)(v_rows[key * v_stride + from]);
                UNROLL
                for (int i = 0; i < ROW_VECTORS; i++) {
                    const floatn weight = s_t[key * ROW_VECTORS + i];
                    const floatn sum = fma(element_of_v, weight, o[d][i]);
                    o[d][i] = marked ? (weight == (floatn)(HIDDEN) ? o[d][i] : sum) : sum;
                }
            }
        }
        UNROLL
        for (int d = 0; d < COL_UNROLL; d++) {
            UNROLL
            for (int i = 0; i < ROW_VECTORS; i++) {
                const int at = (col + d) * ROW_VECTORS + i;
                o_t[at] = fma(o_t[at], rescale[i], o[d][i]);
            }
        }
    }
}

/* Adds a segment's sums to those of the row before it. */
INLINE void lanes_total(struct lanes_rows *rows, floatn *o_t, floatn *total_t) {
    floatn rescale[ROW_VECTORS];
    UNROLL
    for (int i = 0; i < ROW_VECTORS; i++) {
        rescale[i] = state_join(&rows->m_total[i], &rows->l_total[i], rows->m[i], rows->l[i]);
        rows->l[i] = (floatn)(0.0f);
    }
    for (int col = 0; col < (PASS == 1 ? 0 : COLS); col++) {
        UNROLL
        for (int i = 0; i < ROW_VECTORS; i++) {
            const int at = col * ROW_VECTORS + i;
            total_t[at] = fma(total_t[at], rescale[i], o_t[at]);
            o_t[at] = (floatn)(0.0f);
        }
    }
}

/*
 * One block of keys, key0 ... key0 + keys - 1; keys = BLOCK_N unless it is the last
 * one.  `boundary` is a literal: only a boundary block tests the band.
 */
INLINE void lanes_block(const struct params *p, const struct scene *scene, int row0,
                        struct lanes_rows *rows, const floatn *q_t, floatn *s_t, floatn *o_t,
                        float *tile, __global const element_k *k, __global const element_v *v,
                        int key0, int keys, struct ahead *ahead, const int boundary) {
    k += key0 * p->k.row;
    v += key0 * p->v.row;
#if TYPE_K == F32
    const long k_stride = p->k.row;
    SOURCE_K k_rows = k;
#else
    lanes_convert(tile, TILE_ROW, k, TYPE_K, p->k.row, keys, HEAD_DIM);
    const long k_stride = TILE_ROW;
    SOURCE_K k_rows = tile;
#endif
    floatn m[ROW_VECTORS];
    UNROLL
    for (int i = 0; i < ROW_VECTORS; i++) {
        m[i] = rows->m[i];
    }
    if (HIDES) { /* where the scores will be */
        lanes_bias_block(s_t, ROW_VECTORS, scene, row0, key0,
                         (keys + KEY_UNROLL - 1) / KEY_UNROLL * KEY_UNROLL);
    }
    for (int key = 0; key < keys; key += KEY_UNROLL) {
        const int later = key + BLOCK_N;
        ahead_step(p, ahead);
        ahead_keys(p, k, v, later, min(later + KEY_UNROLL, ahead->unread - key0));
        floatn s[KEY_UNROLL][ROW_VECTORS];
        UNROLL
        for (int j = 0; j < KEY_UNROLL; j++) {
            UNROLL
            for (int i = 0; i < ROW_VECTORS; i++) {
                s[j][i] = (floatn)(0.0f);
            }
        }
        for (int d = 0; d < HEAD_DIM; d++) {
            UNROLL
            for (int j = 0; j < KEY_UNROLL; j++) {
                /* Past the last key: read the last one again, hidden below. */
                const int from = boundary ? min(key + j, keys - 1) : key + j;
                const floatn element_of_k = (floatn)(k_rows[from * k_stride + d]);
                UNROLL
                for (int i = 0; i < ROW_VECTORS; i++) {
                    s[j][i] = fma(element_of_k, q_t[d * ROW_VECTORS + i], s[j][i]);
                }
            }
        }
        UNROLL
        for (int j = 0; j < KEY_UNROLL; j++) {
            UNROLL
            for (int i = 0; i < ROW_VECTORS; i++) {
                const floatn bias = HIDES ? s_t[(key + j) * ROW_VECTORS + i] : (floatn)(0.0f);
                floatn score = score_with(scene, score_of_product(p, s[j][i]), bias,
                                          base_count(row0 + i * LANES), (intn)(key0 + key + j));
                if (boundary) {
                    const intn at = (intn)(key0 + key + j);
                    score = at >= rows->begin[i] && at < rows->end[i] ? score : (floatn)(-INFINITY);
                }
                s_t[(key + j) * ROW_VECTORS + i] = score;
                if (PASS != 2) {
                    m[i] = state_max(m[i], score);
                }
            }
        }
    }

    floatn rescale[ROW_VECTORS], reference[ROW_VECTORS];
    UNROLL
    for (int i = 0; i < ROW_VECTORS; i++) {
        reference[i] = state_reference(m[i]);
        rescale[i] = PASS == 2 ? (floatn)(1.0f) : state_weight(rows->m[i], reference[i]);
        rows->m[i] = m[i];
    }
    floatn l[ROW_VECTORS];
    UNROLL
    for (int i = 0; i < ROW_VECTORS; i++) {
        l[i] = (floatn)(0.0f);
    }
    for (int key = 0; key < keys; key++) {
        UNROLL
        for (int i = 0; i < ROW_VECTORS; i++) {
            const floatn weight = state_weight(s_t[key * ROW_VECTORS + i], reference[i]);
            l[i] += weight;
            s_t[key * ROW_VECTORS + i] = weight;
        }
    }

    UNROLL
    for (int i = 0; i < ROW_VECTORS; i++) {
        rows->l[i] = fma(rows->l[i], rescale[i], l[i]);
    }
    if (PASS == 1) {
        return;
    }
#if TYPE_V == F32
    (void)tile;
    const long v_stride = p->v.row;
    SOURCE_V v_rows = v;
#else
    lanes_convert(tile, TILE_ROW, v, TYPE_V, p->v.row, keys, HEAD_DIM_V);
    const long v_stride = TILE_ROW;
    SOURCE_V v_rows = tile;
#endif
    if (HIDES || boundary ? !lanes_finite(v_rows, v_stride, keys) : 0) {
        lanes_hide(s_t, scene, row0, rows, key0, keys);
        lanes_accumulate(o_t, s_t, rescale, v_rows, v_stride, keys, 1);
    } else {
        lanes_accumulate(o_t, s_t, rescale, v_rows, v_stride, keys, 0);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void fwd_lanes(KERNEL_ARGUMENTS) {
    const int row0 = (int)get_global_id(0) * BLOCK_M;
    struct slice s;
    slice_of_number(&p, (uint)get_global_id(1), &s);
    struct scene scene;
    score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
    const int rows_here = min(BLOCK_M, s.band.seq_q - row0);
    const int4 span = span_of_rows(&s.band, row0, row0 + rows_here - 1);
    struct ahead ahead;
    ahead_begin(&ahead, &p, q, k, v, o, row0, BLOCK_M, span, (span.y - span.x) / KEY_UNROLL);
    q += slice_begin(&p.q, &s) + row0 * p.q.row;
    k += slice_begin_kv(&p.k, &s);
    v += slice_begin_kv(&p.v, &s);
    o += slice_begin(&p.o, &s) + row0 * p.o.row;

    floatn q_t[HEAD_DIM * ROW_VECTORS], s_t[BLOCK_N * ROW_VECTORS], o_t[COLS * ROW_VECTORS];
    floatn total_t[SEGMENT ? COLS * ROW_VECTORS : 1];
    float tile[TILE];
    struct lanes_rows rows;
    lanes_load(q_t, q, TYPE_Q, p.q.row, rows_here, HEAD_DIM, ROW_VECTORS);
    int *begin_of = (int *)rows.begin, *end_of = (int *)rows.end;
    for (int i = 0; i < BLOCK_M; i++) {
        const int2 keys = span_of_row(&s.band, row0 + min(i, rows_here - 1));
        begin_of[i] = keys.x;
        end_of[i] = keys.y;
    }
    for (int i = 0; i < COLS * ROW_VECTORS; i++) {
        o_t[i] = (floatn)(0.0f);
        total_t[SEGMENT ? i : 0] = (floatn)(0.0f);
    }
    workspace += p.workspace + 2 * (s.rows_before + row0);
    float *m_of = (float *)rows.m, *l_of = (float *)rows.l;
    for (int i = 0; i < BLOCK_M; i++) {
        m_of[i] = PASS == 2 ? workspace[2 * min(i, rows_here - 1)] : -INFINITY;
        l_of[i] = 0.0f;
    }
    for (int i = 0; i < ROW_VECTORS; i++) {
        rows.m_total[i] = (floatn)(-INFINITY);
        rows.l_total[i] = (floatn)(0.0f);
    }

    for (int key = span.x; key < span.y; key += BLOCK_N) {
        if (span_is_boundary(span, key, BLOCK_N)) {
            lanes_block(&p, &scene, row0, &rows, q_t, s_t, o_t, tile, k, v, key,
                        min(BLOCK_N, span.y - key), &ahead, 1);
        } else {
            lanes_block(&p, &scene, row0, &rows, q_t, s_t, o_t, tile, k, v, key, BLOCK_N, &ahead,
                        0);
        }
        if (state_segment_ends(key - span.x, BLOCK_N)) {
            lanes_total(&rows, o_t, total_t);
        }
    }
    if (SEGMENT) {
        lanes_total(&rows, o_t, total_t);
    }

    const float *l_whole = SEGMENT ? (const float *)rows.l_total : l_of;
    floatn normalisers[ROW_VECTORS];
    float *normaliser_of = (float *)normalisers;
    for (int i = 0; i < BLOCK_M; i++) {
        const int live = i < rows_here;
        float l = PASS == 2 ? workspace[2 * min(i, rows_here - 1) + 1] : l_whole[i];
        /* Pass 1 writes only to workspace: a refused pass 2 leaves the caller's tensors alone. */
        normaliser_of[i] = state_finish(
            m_of[i], &l, begin_of[i] < end_of[i], PASS == 1 ? 0 : (p.given & OPERAND_LSE) && live,
            lse + slice_begin(&p.lse, &s) + (row0 + i) * p.lse.row, scene.sink);
        if (PASS == 1 ? live : 0) {
            workspace[2 * i] = m_of[i];
            workspace[2 * i + 1] = l;
        }
    }
    if (PASS != 1) {
        lanes_store(o, TYPE_O, p.o.row, SEGMENT ? total_t : o_t, normalisers, rows_here, HEAD_DIM_V,
                    ROW_VECTORS);
    }
}
