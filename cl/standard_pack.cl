/*
 * standard_pack - q, k and v as dense floats, for matrix products.
 *
 * The workspace:
 *
 *     flag (int, 0 beforehand)
 *     q, k [batch, head, row, d]    v [block][batch, head, row of the block, d]
 *
 * each part, and each block of PRODUCT_KEYS keys of v, from a multiple of PART_FLOATS on.  A
 * product multiplies the rows of V that a query does not see by 0, and 0 * NaN is NaN.  Where a
 * band can hide keys, a NaN or Inf of V is therefore packed as 0 and sets the flag; standard_unpack
 * then adds it to the rows that do see it.
 *
 * Grid: dimension 0 runs over the rows of q, k and v.  A work-group packs
 * WORK_GROUP rows, four elements at a time, neighbours side by side.
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif
#ifndef PRODUCT_KEYS
#error "PRODUCT_KEYS: keys whose products of weight and V are summed one by one"
#endif

#define CHUNKS (((HEAD_DIM > HEAD_DIM_V ? HEAD_DIM : HEAD_DIM_V) + 3) / 4)

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
standard_pack(KERNEL_ARGUMENTS) {
    const int heads_kv = slice_heads_kv(&p);
    const long rows_q = (long)slice_rows(&p);
    const long rows_kv = (long)p.batch * heads_kv * p.seq_kv;
    __global int *flag = (__global int *)(workspace + p.workspace);
    __global float *to_q = workspace + p.workspace + PART_FLOATS;
    __global float *to_k = to_q + dense_part(rows_q * HEAD_DIM);
    __global float *to_v = to_k + dense_part(rows_kv * HEAD_DIM);

    for (int chunk = (int)get_local_id(0); chunk < WORK_GROUP * CHUNKS; chunk += WORK_GROUP) {
        const int d = chunk % CHUNKS * 4;
        long row = (long)get_group_id(0) * WORK_GROUP + chunk / CHUNKS;
        if (row < rows_q) {
            if (d < HEAD_DIM) {
                const float4 x = dense_load(&p.q, q, TYPE_Q, row, p.seq_q, p.heads_q, d, HEAD_DIM);
                dense_store(to_q + row * HEAD_DIM, x, d, HEAD_DIM);
            }
            continue;
        }
        row -= rows_q;
        if (row < rows_kv) {
            if (d < HEAD_DIM) {
                const float4 x = dense_load(&p.k, k, TYPE_K, row, p.seq_kv, heads_kv, d, HEAD_DIM);
                dense_store(to_k + row * HEAD_DIM, x, d, HEAD_DIM);
            }
            continue;
        }
        row -= rows_kv;
        if (row < rows_kv && d < HEAD_DIM_V) {
            float4 x = dense_load(&p.v, v, TYPE_V, row, p.seq_kv, heads_kv, d, HEAD_DIM_V);
            const int4 finite = isfinite(x);
            if (MASKED && !all(finite)) {
                atomic_or(flag, 1);
                x = select((float4)(0.0f), x, finite);
            }
            const int key = (int)(row % p.seq_kv), key0 = key / PRODUCT_KEYS * PRODUCT_KEYS;
            const int keys = min(PRODUCT_KEYS, p.seq_kv - key0);
            const long slices = (long)p.batch * heads_kv;
            __global float *block =
                to_v + key0 / PRODUCT_KEYS * dense_part(slices * PRODUCT_KEYS * HEAD_DIM_V);
            dense_store(block + (row / p.seq_kv * keys + key - key0) * HEAD_DIM_V, x, d,
                        HEAD_DIM_V);
        }
    }
}
