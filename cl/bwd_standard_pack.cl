/*
 * bwd_standard_pack - q, d_o, k and v as dense floats, for matrix products.
 *
 * A product multiplies what is hidden by 0, and 0 * NaN is NaN: rows of queries that see no key,
 * and of keys that no query sees, are packed as 0.
 * Grid: dimension 0 runs over the rows of queries, then over those of keys.  A work-group packs
 * WORK_GROUP rows of both of their tensors.
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

#define CHUNKS (((HEAD_DIM > HEAD_DIM_V ? HEAD_DIM : HEAD_DIM_V) + 3) / 4)

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
bwd_standard_pack(KERNEL_ARGUMENTS) {
    const int heads_kv = slice_heads_kv(&p);
    struct dense at;
    struct slice s;
    dense_lay_out(&p, &at);
    for (int chunk = (int)get_local_id(0); chunk < WORK_GROUP * CHUNKS; chunk += WORK_GROUP) {
        const int d = chunk % CHUNKS * 4;
        int number;
        long row = (long)get_group_id(0) * WORK_GROUP + chunk / CHUNKS;
        if (row < at.rows) {
            slice_of_row(&p, (ulong)row, &number, &s);
            const int2 seen = span_of_row(&s.band, number);
            float4 x = (float4)(0.0f), y = x;
            if (d < HEAD_DIM) {
                if (seen.x < seen.y) {
                    x = dense_load(&p.q, q, TYPE_Q, row, p.seq_q, p.heads_q, d, HEAD_DIM);
                }
                dense_store(workspace + at.q + row * dense_row(HEAD_DIM), x, d, HEAD_DIM);
            }
            if (d < HEAD_DIM_V) {
                if (seen.x < seen.y) {
                    y = dense_load(&p.d_o, d_o, TYPE_D_O, row, p.seq_q, p.heads_q, d, HEAD_DIM_V);
                }
                dense_store(workspace + at.d_o + row * dense_row(HEAD_DIM_V), y, d, HEAD_DIM_V);
            }
            continue;
        }
        row -= at.rows;
        if (row < at.rows_kv) {
            slice_of_key(&p, (ulong)row, &number, &s);
            const int2 seen = span_of_key(&s.band, number);
            float4 x = (float4)(0.0f), y = x;
            if (d < HEAD_DIM) {
                if (seen.x < seen.y) {
                    x = dense_load(&p.k, k, TYPE_K, row, p.seq_kv, heads_kv, d, HEAD_DIM);
                }
                dense_store(workspace + at.k + row * dense_row(HEAD_DIM), x, d, HEAD_DIM);
            }
            if (d < HEAD_DIM_V) {
                if (seen.x < seen.y) {
                    y = dense_load(&p.v, v, TYPE_V, row, p.seq_kv, heads_kv, d, HEAD_DIM_V);
                }
                dense_store(workspace + at.v + row * dense_row(HEAD_DIM_V), y, d, HEAD_DIM_V);
            }
        }
    }
}
