/*
 * bwd_rows_v - d_v, one work-item per key: the reference among the backward kernels, with
 * bwd_rows_q and bwd_rows_k.
 *
 * Heads and queries come as in bwd_rows_k; neither V nor delta is read.
 * Grid: dimension 0 runs over keys, then heads of K and V, then batch (the last group may hold
 * idle work-items).
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void bwd_rows_v(KERNEL_ARGUMENTS) {
    const size_t index = get_global_id(0);
    if (index >= slice_keys(&p)) {
        return;
    }
    int key;
    struct slice s;
    slice_of_key(&p, index, &key, &s);
    k += slice_begin_kv(&p.k, &s) + key * p.k.row;
    d_v += slice_begin_kv(&p.d_v, &s) + key * p.d_v.row;

    float sum[HEAD_DIM_V], total[HEAD_DIM_V], weights[GRAD_BLOCK];
    rows_begin(sum, total, HEAD_DIM_V);
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
                weights[j] = grad_weight(
                    score_at(&scene, rows_score(&p, q_rows + j * p.q.row, k), row0 + j, key),
                    grad_reference(lse_rows[j * p.lse.row]));
            }
            rows_add(weights, d_o_rows, TYPE_D_O, p.d_o.row, count, sum, HEAD_DIM_V);
            if (grad_segment_ends(row0 - rows.x) || row0 + GRAD_BLOCK >= rows.y) {
                rows_close_segment(sum, total, HEAD_DIM_V);
            }
        }
    }
    for (int d = 0; d < HEAD_DIM_V; d++) {
        store(d_v + d, total[d], TYPE_D_V);
    }
}
