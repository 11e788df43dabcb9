/*
 * bwd_lanes_q - d_q for CPU devices: SIMD lanes run over query rows.
 *
 * One work-item, alone in its work-group, computes a block of rows.  With a query per lane,
 * S^T = K Q^T and dP^T = V d_o^T, then d_q^T += K^T dS^T, are the products of lanes_products.cl;
 * tiles hold rows of k and v.
 *
 * Grid: dimension 0 runs over blocks of rows, dimension 1 over heads, then batch.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void bwd_lanes_q(KERNEL_ARGUMENTS) {
    const int row0 = (int)get_global_id(0) * BLOCK;
    struct slice s;
    slice_of_number(&p, (uint)get_global_id(1), &s);
    struct scene scene;
    score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
    const int rows_here = min(BLOCK, s.band.seq_q - row0);
    const int4 span = span_of_rows(&s.band, row0, row0 + rows_here - 1);
    k += slice_begin_kv(&p.k, &s);
    v += slice_begin_kv(&p.v, &s);
    struct lanes_queries b;
    lanes_queries_begin(&b, &p, &s, row0, rows_here, lse + slice_begin(&p.lse, &s), workspace);
    lanes_load(b.q_t, q + slice_begin(&p.q, &s) + row0 * p.q.row, TYPE_Q, p.q.row, rows_here,
               HEAD_DIM, VECTORS);
    lanes_load(b.d_o_t, d_o + slice_begin(&p.d_o, &s) + row0 * p.d_o.row, TYPE_D_O, p.d_o.row,
               rows_here, HEAD_DIM_V, VECTORS);
    lanes_clear(b.sum, HEAD_DIM);
    lanes_clear(b.total, HEAD_DIM);

    int in_segment = 0;
    for (int key = span.x; key < span.y; key += TILE_ROWS) {
        b.key0 = key;
        b.keys = min(TILE_ROWS, span.y - key);
        lanes_convert(b.k, LANES_ROW(HEAD_DIM), k + key * p.k.row, TYPE_K, p.k.row, b.keys,
                      HEAD_DIM);
        lanes_convert(b.v, LANES_ROW(HEAD_DIM_V), v + key * p.v.row, TYPE_V, p.v.row, b.keys,
                      HEAD_DIM_V);
        lanes_queries_d_scores(&b, &p, &scene, span_is_boundary(span, key, b.keys));
        if (HIDES) {
            lanes_clean(b.k, LANES_ROW(HEAD_DIM), b.keys, HEAD_DIM);
        }
        lanes_sum(b.sum, b.k, b.keys, b.d_scores, HEAD_DIM);
        in_segment += b.keys;
        if (in_segment > GRAD_SEGMENT - TILE_ROWS) {
            lanes_close_segment(b.sum, b.total, HEAD_DIM);
            in_segment = 0;
        }
    }
    lanes_close_segment(b.sum, b.total, HEAD_DIM);
    floatn factors[VECTORS];
    for (int i = 0; i < VECTORS; i++) {
        factors[i] = (floatn)(score_scale(&p));
    }
    lanes_store(d_q + slice_begin(&p.d_q, &s) + row0 * p.d_q.row, TYPE_D_Q, p.d_q.row, b.total,
                factors, rows_here, HEAD_DIM, VECTORS);
}
