/*
 * bwd_rows_q - d_q, one work-item per query row: the reference among the backward kernels, with
 * bwd_rows_k and bwd_rows_v.
 *
 * The row's keys come in blocks of GRAD_BLOCK; no local memory, no barriers, any head dim.
 * Grid: dimension 0 runs over rows, then heads, then batch (the last group may hold idle
 * work-items).
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void bwd_rows_q(KERNEL_ARGUMENTS) {
    const size_t index = get_global_id(0);
    if (index >= slice_rows(&p)) {
        return;
    }
    int row;
    struct slice s;
    slice_of_row(&p, index, &row, &s);
    struct scene scene;
    score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
    q += slice_begin(&p.q, &s) + row * p.q.row;
    k += slice_begin_kv(&p.k, &s);
    v += slice_begin_kv(&p.v, &s);
    d_o += slice_begin(&p.d_o, &s) + row * p.d_o.row;
    d_q += slice_begin(&p.d_q, &s) + row * p.d_q.row;
    const float reference = grad_reference(lse[slice_begin(&p.lse, &s) + row * p.lse.row]);
    const float delta = workspace[grad_delta_at(&p, &s, row)];

    float sum[HEAD_DIM], total[HEAD_DIM], d_scores[GRAD_BLOCK];
    rows_begin(sum, total, HEAD_DIM);
    const int2 keys = span_of_row(&s.band, row);
    for (int key0 = keys.x; key0 < keys.y; key0 += GRAD_BLOCK) {
        const int count = min(GRAD_BLOCK, keys.y - key0);
        __global const element_k *k_rows = k + key0 * p.k.row;
        __global const element_v *v_rows = v + key0 * p.v.row;
        for (int j = 0; j < count; j++) {
            const float score = rows_score(&p, q, k_rows + j * p.k.row);
            d_scores[j] =
                grad_of_score(grad_weight(score_at(&scene, score, row, key0 + j), reference),
                              rows_product(d_o, TYPE_D_O, v_rows + j * p.v.row, TYPE_V, HEAD_DIM_V),
                              delta, score_slope(&p, score));
        }
        rows_add(d_scores, k_rows, TYPE_K, p.k.row, count, sum, HEAD_DIM);
        if (grad_segment_ends(key0 - keys.x) || key0 + GRAD_BLOCK >= keys.y) {
            rows_close_segment(sum, total, HEAD_DIM);
        }
    }
    for (int d = 0; d < HEAD_DIM; d++) {
        store(d_q + d, total[d] * score_scale(&p), TYPE_D_Q);
    }
}
