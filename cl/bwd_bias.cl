/*
 * bwd_bias - d_bias: P (dP - delta) of each pair, one work-item per element of d_bias.
 *
 * Where a stride of d_bias is 0, an element is the sum over that dimension: over rows, then heads,
 * then batches, in their order, with the levels of grad.cl.  A pair that band, bias or mask hide
 * adds 0.  Scores are computed again, element by element, as in bwd_rows.
 * Grid: dimension 0 runs over keys, then what d_bias has of rows, heads and batches (the last group
 * may hold idle work-items).
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void bwd_bias(KERNEL_ARGUMENTS) {
    int4 begin, end;
    if (!slice_of_pairs(&p, &p.d_bias, get_global_id(0), &begin, &end)) {
        return;
    }
    const int key = begin.w;
    float block = 0.0f, segment = 0.0f, total = 0.0f;
    int count = 0;
    for (int batch = begin.x; batch < end.x; batch++) {
        for (int head = begin.y; head < end.y; head++) {
            struct slice s;
            slice_of_head(&p, batch, head, &s);
            struct scene scene;
            score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
            __global const element_k *k_row = k + slice_begin_kv(&p.k, &s) + key * p.k.row;
            __global const element_v *v_row = v + slice_begin_kv(&p.v, &s) + key * p.v.row;
            const int2 rows = span_of_key(&s.band, key);
            for (int row = max(begin.z, rows.x); row < min(end.z, rows.y); row++) {
                __global const element_q *q_row = q + slice_begin(&p.q, &s) + row * p.q.row;
                __global const element_d_o *d_o_row =
                    d_o + slice_begin(&p.d_o, &s) + row * p.d_o.row;
                const float score = rows_score(&p, q_row, k_row);
                const float weight =
                    grad_weight(score_at(&scene, score, row, key),
                                grad_reference(lse[slice_begin(&p.lse, &s) + row * p.lse.row]));
                block += grad_of_score(weight,
                                       rows_product(d_o_row, TYPE_D_O, v_row, TYPE_V, HEAD_DIM_V),
                                       workspace[grad_delta_at(&p, &s, row)], 1.0f);
                count++;
                if (count % GRAD_BLOCK == 0) {
                    segment += block;
                    block = 0.0f;
                }
                if (count % GRAD_SEGMENT == 0) {
                    total += segment;
                    segment = 0.0f;
                }
            }
        }
    }
    store(d_bias + slice_of_tensor(&p.d_bias, begin.x, begin.y) + begin.z * p.d_bias.row + key,
          total + (segment + block), TYPE_D_BIAS);
}
