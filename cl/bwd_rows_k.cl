/*
 * bwd_rows_k - d_k, one work-item per key: the reference among the backward kernels, with
 * bwd_rows_q and bwd_rows_v.
 *
 * The query heads that share the key come one after the other, the queries that see the key in
 * blocks of GRAD_BLOCK; no local memory, no barriers, any head dim.
 * Grid: dimension 0 runs over keys, then heads of K and V, then batch (the last group may hold
 * idle work-items).
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void bwd_rows_k(KERNEL_ARGUMENTS) {
    const size_t index = get_global_id(0);
    if (index >= slice_keys(&p)) {
        return;
    }
    int key;
    struct slice s;
    slice_of_key(&p, index, &key, &s);
    k += slice_begin_kv(&p.k, &s) + key * p.k.row;
    v += slice_begin_kv(&p.v, &s) + key * p.v.row;
    d_k += slice_begin_kv(&p.d_k, &s) + key * p.d_k.row;

    float sum[HEAD_DIM], total[HEAD_DIM], d_scores[GRAD_BLOCK];
    rows_begin(sum, total, HEAD_DIM);
    const int first = s.head;
    for (int head = first; head < first + slice_sharing(&p); head++) {
        slice_of_head(&p, s.batch, head, &s);
        struct scene scene;
        score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
        const int2 rows = span_of_key(&s.band, key);
        for (int row0 = rows.x; row0 < rows.y; row0 += GRAD_BLOCK) {
            const int count = min(GRAD_BLOCK, rows.y - row0);
            __global const element_q *q_rows = q + slice_begin(&p.q, &s) + row0 * p.q.row;
            __global const element_d_o *d_o_rows = d_o + slice_begin(&p.d_o, &s) + row0 * p.d_o.row;
            __global const float *lse_rows = lse + slice_begin(&p.lse, &s) + row0 * p.lse.row;
            for (int j = 0; j < count; j++) {
                const float score = rows_score(&p, q_rows + j * p.q.row, k);
                d_scores[j] = grad_of_score(
                    grad_weight(score_at(&scene, score, row0 + j, key),
                                grad_reference(lse_rows[j * p.lse.row])),
                    rows_product(d_o_rows + j * p.d_o.row, TYPE_D_O, v, TYPE_V, HEAD_DIM_V),
                    workspace[grad_delta_at(&p, &s, row0 + j)], score_slope(&p, score));
            }
            rows_add(d_scores, q_rows, TYPE_Q, p.q.row, count, sum, HEAD_DIM);
            if (grad_segment_ends(row0 - rows.x) || row0 + GRAD_BLOCK >= rows.y) {
                rows_close_segment(sum, total, HEAD_DIM);
            }
        }
    }
    for (int d = 0; d < HEAD_DIM; d++) {
        store(d_k + d, total[d] * score_scale(&p), TYPE_D_K);
    }
}
