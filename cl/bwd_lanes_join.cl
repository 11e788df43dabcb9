/*
 * bwd_lanes_join - d_q from the sums that bwd_lanes_sweep left in the workspace: adds the copies in
 * their order, and scales.
 *
 * Grid: dimension 0 runs over blocks of rows, dimension 1 over heads, then batch.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void bwd_lanes_join(KERNEL_ARGUMENTS) {
    const int row0 = (int)get_global_id(0) * BLOCK;
    struct slice s;
    slice_of_number(&p, (uint)get_global_id(1), &s);
    const int copy = lanes_parts_totalled(s.band.seq_kv) ? SWEEP : 0;
    const floatn scale = (floatn)(score_scale(&p));
    d_q += slice_begin(&p.d_q, &s);
    for (int row = row0; row < min(row0 + BLOCK, s.band.seq_q); row++) {
        for (int i = 0; i < PARTS_VECTORS; i++) {
            floatn sum = (floatn)(0.0f);
            for (int part = 0; part < SWEEP; part++) {
                sum += lanes_parts_read(workspace + lanes_parts_begin(&p, &s, copy + part) +
                                        row * (long)PARTS_ROW + i * LANES);
            }
            sum *= scale;
            __global element_d_q *to = d_q + row * p.d_q.row + i * LANES;
            if ((i + 1) * LANES <= HEAD_DIM) {
                storen(to, sum, TYPE_D_Q);
            } else {
                const float *elements = (const float *)&sum;
                for (int d = 0; d < HEAD_DIM % LANES; d++) {
                    store(to + d, elements[d], TYPE_D_Q);
                }
            }
        }
    }
}
