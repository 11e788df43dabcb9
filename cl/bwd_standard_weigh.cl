/*
 * bwd_standard_weigh - products q.k become weights, and products d_o.v the gradients of scores, in
 * place, in global memory.  Both are 0 exactly where a query does not see a key.
 *
 * Grid: dimension 0, a work-group of WORK_GROUP work-items a row, each of them with every
 * WORK_GROUP-th vector of LANES keys.
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
bwd_standard_weigh(KERNEL_ARGUMENTS) {
    struct dense at;
    dense_lay_out(&p, &at);
    const long index = (long)get_group_id(0);
    if (index >= at.rows) {
        return;
    }
    int query;
    struct slice s;
    slice_of_row(&p, (ulong)index, &query, &s);
    struct scene scene;
    score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
    __global float *row = workspace + at.scores + index * at.stride;
    __global float *d_row = workspace + at.d_scores + index * at.stride;
    const int2 keys = span_of_row(&s.band, query);
    const floatn reference =
        grad_reference((floatn)(lse[slice_begin(&p.lse, &s) + query * p.lse.row]));
    const floatn delta = (floatn)(workspace[grad_delta_at(&p, &s, query)]);
    for (int key = (int)get_local_id(0) * LANES; key < p.seq_kv; key += WORK_GROUP * LANES) {
        floatn weight = (floatn)(0.0f), d_score = weight;
        if (key + LANES > keys.x && key < keys.y) {
            const floatn score = score_of_product(&p, *(__global const floatn *)(row + key));
            weight =
                grad_weight(score_at(&scene, score, (intn)(query), base_count(key)), reference);
            d_score = grad_of_score(weight, *(__global const floatn *)(d_row + key), delta,
                                    score_slope(&p, score));
            if (key < keys.x || key + LANES > keys.y) {
                const intn sees = dense_sees(key, keys);
                weight = select((floatn)(0.0f), weight, sees);
                d_score = select((floatn)(0.0f), d_score, sees);
            }
        }
        *(__global floatn *)(row + key) = weight;
        *(__global floatn *)(d_row + key) = d_score;
    }
}
