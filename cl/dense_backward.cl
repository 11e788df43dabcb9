/*
 * dense_backward - the workspace of bwd_standard, as solver_bwd_standard.c lays it out too.
 *
 *     delta, scores, d_scores [batch, head_q, query, ...]     a row each; of the latter two it is
 *                                                             `stride` long
 *     q, k, v, d_o            [batch, head, row, d]           rows of dense_row(D) floats
 *     d_q, d_k, d_v           [batch, head, row, segment, d]  sums of PRODUCT_SEGMENT terms each
 *
 * Rows are longer than what they hold: CLBlast then copies them (clblast_product.h).
 */
#ifndef PRODUCT_SEGMENT
#error "PRODUCT_SEGMENT: terms of a sum of products, which are kept apart"
#endif

struct dense {
    long rows, rows_kv; /* of queries, of keys: of all heads */
    long stride, scores, d_scores, q, k, v, d_o, d_q, d_k, d_v;
    int segments_q, segments_kv; /* of sums over the queries of a group, and over keys */
};

INLINE long dense_row(long width) {
    return (width / ROW_FLOATS + 1) * ROW_FLOATS;
}

INLINE int dense_segments(long terms) {
    return (int)((terms + PRODUCT_SEGMENT - 1) / PRODUCT_SEGMENT);
}

INLINE void dense_lay_out(const struct params *p, struct dense *at) {
    at->rows = (long)slice_rows(p);
    at->rows_kv = (long)slice_keys(p);
    at->stride = dense_row(slice_seq_kv(p));
    at->segments_q = dense_segments((long)slice_sharing(p) * slice_seq_q(p));
    at->segments_kv = dense_segments(slice_seq_kv(p));
    at->scores = p->workspace + dense_part(at->rows);
    at->d_scores = at->scores + dense_part(at->rows * at->stride);
    at->q = at->d_scores + dense_part(at->rows * at->stride);
    at->k = at->q + dense_part(at->rows * dense_row(HEAD_DIM));
    at->v = at->k + dense_part(at->rows_kv * dense_row(HEAD_DIM));
    at->d_o = at->v + dense_part(at->rows_kv * dense_row(HEAD_DIM_V));
    at->d_q = at->d_o + dense_part(at->rows * dense_row(HEAD_DIM_V));
    at->d_k = at->d_q + dense_part(at->rows * at->segments_kv * HEAD_DIM);
    at->d_v = at->d_k + dense_part(at->rows_kv * at->segments_q * HEAD_DIM);
}
