/*
 * bwd_lanes_sweep - d_k, d_v and the sums of d_q for CPU devices: five products.
 *
 * Of a head of K and V, and of the query heads that share it, work-item i of SWEEP, alone in its
 * work-group, computes the blocks of keys i, i + SWEEP, i + 2 SWEEP, ... (lanes_keys.cl), one after
 * the other.  Each block adds its part to the work-item's own sums of d_q in the workspace
 * (lanes_parts.cl), which bwd_lanes_join adds up.  So the order of all sums is fixed, and no
 * work-item waits for another one.
 *
 * d_q is summed whether it is wanted or not.
 * Grid: dimension 0 runs over the SWEEP work-items, dimension 1 over heads of K and V, then batch.
 */
/* Vectors of a row of d_q that are summed together in registers: they divide PARTS_VECTORS. */
#define SUM_TOGETHER              \
    (PARTS_VECTORS % 4 == 0   ? 4 \
     : PARTS_VECTORS % 3 == 0 ? 3 \
     : PARTS_VECTORS % 5 == 0 ? 5 \
     : PARTS_VECTORS % 2 == 0 ? 2 \
                              : 1)

/* The block's rows of k, with zeros behind their ends. */
INLINE void sweep_load_k(float *tile, const struct params *p, int keys,
                         __global const element_k *k) {
    lanes_convert(tile, PARTS_ROW, k, TYPE_K, p->k.row, keys, HEAD_DIM);
    if (HIDES) {
        lanes_clean(tile, PARTS_ROW, keys, HEAD_DIM);
    }
    for (int key = 0; key < keys; key++) {
        for (int d = HEAD_DIM; d < PARTS_ROW; d++) {
            tile[key * PARTS_ROW + d] = 0.0f;
        }
    }
}

/* sums: of the tile's first row.  d_scores: dS of the tile by the block's keys. */
INLINE void sweep_sum_q(__global float *sums, const float *d_scores, const float *k, int rows,
                        int keys) {
    for (int row = 0; row < rows; row += DOT_UNROLL) {
        const float *of[DOT_UNROLL];
        UNROLL
        for (int j = 0; j < DOT_UNROLL; j++) {
            of[j] = d_scores + min(row + j, rows - 1) * BLOCK;
        }
        for (int col = 0; col < PARTS_ROW; col += SUM_TOGETHER * LANES) {
            floatn x[DOT_UNROLL][SUM_TOGETHER];
            UNROLL
            for (int j = 0; j < DOT_UNROLL; j++) {
                UNROLL
                for (int i = 0; i < SUM_TOGETHER; i++) {
                    x[j][i] = (floatn)(0.0f);
                }
            }
            for (int key = 0; key < keys; key++) {
                UNROLL
                for (int j = 0; j < DOT_UNROLL; j++) {
                    const floatn d_score = (floatn)(of[j][key]);
                    UNROLL
                    for (int i = 0; i < SUM_TOGETHER; i++) {
                        const float *elements = k + key * PARTS_ROW + col + i * LANES;
                        x[j][i] = fma(d_score, BASE_CONCAT(vload, LANES)(0, elements), x[j][i]);
                    }
                }
            }
            UNROLL
            for (int j = 0; j < DOT_UNROLL; j++) {
                if (row + j >= rows) {
                    break;
                }
                UNROLL
                for (int i = 0; i < SUM_TOGETHER; i++) {
                    __global float *to = sums + (row + j) * PARTS_ROW + col + i * LANES;
                    BASE_CONCAT(vstore, LANES)(BASE_CONCAT(vload, LANES)(0, to) + x[j][i], 0, to);
                }
            }
        }
    }
}

/* Adds the sums of a segment to those of the segments before it. */
INLINE void sweep_close_segment(__global float *sums, __global float *totals, long count) {
    for (long i = 0; i < count; i += LANES) {
        lanes_parts_write(totals + i, lanes_parts_read(totals + i) + lanes_parts_read(sums + i));
        lanes_parts_write(sums + i, (floatn)(0.0f));
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void bwd_lanes_sweep(KERNEL_ARGUMENTS) {
    const int part = (int)get_global_id(0);
    struct slice s;
    slice_of_number(&p, (uint)get_global_id(1) * (uint)slice_sharing(&p), &s);
    const int first = s.head, sharing = slice_sharing(&p);
    const int seq_q = s.band.seq_q, seq_kv = s.band.seq_kv, totalled = lanes_parts_totalled(seq_kv);
    const long count = (long)sharing * seq_q * PARTS_ROW;
    __global float *sums = workspace + lanes_parts_begin(&p, &s, part);
    __global float *totals = workspace + lanes_parts_begin(&p, &s, totalled ? SWEEP + part : part);
    for (long i = 0; i < count; i += LANES) {
        lanes_parts_write(sums + i, (floatn)(0.0f));
        lanes_parts_write(totals + i, (floatn)(0.0f));
    }
    /* Keys outside are hidden from all; d_q would multiply theirs by 0. */
    const int4 seen = span_of_rows(&s.band, 0, max(seq_q - 1, 0));
    k += slice_begin_kv(&p.k, &s);
    v += slice_begin_kv(&p.v, &s);
    struct lanes_keys b;
    float k_rows[BLOCK * PARTS_ROW];
    int in_segment = 0;
    for (int key0 = part * BLOCK; key0 < seq_kv; key0 += SWEEP * BLOCK) {
        const int keys = min(BLOCK, seq_kv - key0);
        lanes_keys_begin(&b, &p, key0, keys, k + key0 * p.k.row, v + key0 * p.v.row);
        sweep_load_k(k_rows, &p, keys, k + key0 * p.k.row);
        const int from = max(seen.x - key0, 0), to = min(seen.y - key0, keys);
        for (int head = first; head < first + sharing; head++) {
            slice_of_head(&p, s.batch, head, &s);
            struct scene scene;
            score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
            const int4 span = span_of_keys(&s.band, key0, key0 + keys - 1);
            for (int row0 = span.x; row0 < span.y; row0 += TILE_ROWS) {
                const int rows = min(TILE_ROWS, span.y - row0);
                lanes_keys_meet(&b, &p, &s, &scene, span, row0, rows, q, d_o, lse, workspace);
                sweep_sum_q(sums + ((long)(head - first) * seq_q + row0) * PARTS_ROW,
                            (const float *)b.d_scores + from, k_rows + from * PARTS_ROW, rows,
                            to - from);
            }
        }
        lanes_keys_store(&b, &p, d_k + slice_begin_kv(&p.d_k, &s) + key0 * p.d_k.row,
                         d_v + slice_begin_kv(&p.d_v, &s) + key0 * p.d_v.row);
        in_segment += keys;
        if (totalled && in_segment > GRAD_SEGMENT - BLOCK) {
            sweep_close_segment(sums, totals, count);
            in_segment = 0;
        }
    }
    if (totalled) {
        sweep_close_segment(sums, totals, count);
    }
}
