/*
 * bwd_standard_unpack - products, as sums of segments, into d_q, d_k and d_v.
 *
 * Grid: dimension 0 runs over the rows of queries, then over those of keys.  A work-group unpacks
 * WORK_GROUP rows, of keys into both gradients.
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

#define CHUNKS (((HEAD_DIM > HEAD_DIM_V ? HEAD_DIM : HEAD_DIM_V) + 3) / 4)

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
bwd_standard_unpack(KERNEL_ARGUMENTS) {
    struct dense at;
    struct slice s;
    dense_lay_out(&p, &at);
    for (int chunk = (int)get_local_id(0); chunk < WORK_GROUP * CHUNKS; chunk += WORK_GROUP) {
        const int d = chunk % CHUNKS * 4, last = HEAD_DIM - 1 - d, last_v = HEAD_DIM_V - 1 - d;
        int number;
        long row = (long)get_group_id(0) * WORK_GROUP + chunk / CHUNKS;
        if (row < at.rows) {
            if ((p.given & OPERAND_D_Q) && last >= 0) {
                slice_of_row(&p, (ulong)row, &number, &s);
                const float4 x = dense_sum(workspace + at.d_q, row, at.segments_kv, d, HEAD_DIM);
                dense_unpack(d_q + slice_begin(&p.d_q, &s) + number * p.d_q.row + d,
                             x * score_scale(&p), last, TYPE_D_Q, p.aligned & OPERAND_D_Q);
            }
            continue;
        }
        row -= at.rows;
        if (row < at.rows_kv) {
            slice_of_key(&p, (ulong)row, &number, &s);
            if ((p.given & OPERAND_D_K) && last >= 0) {
                const float4 x = dense_sum(workspace + at.d_k, row, at.segments_q, d, HEAD_DIM);
                dense_unpack(d_k + slice_begin_kv(&p.d_k, &s) + number * p.d_k.row + d,
                             x * score_scale(&p), last, TYPE_D_K, p.aligned & OPERAND_D_K);
            }
            if ((p.given & OPERAND_D_V) && last_v >= 0) {
                const float4 x = dense_sum(workspace + at.d_v, row, at.segments_q, d, HEAD_DIM_V);
                dense_unpack(d_v + slice_begin_kv(&p.d_v, &s) + number * p.d_v.row + d, x, last_v,
                             TYPE_D_V, p.aligned & OPERAND_D_V);
            }
        }
    }
}
