/*
 * standard_unpack - the product of weights and V, into o.
 *
 * The workspace, each part from a multiple of PART_FLOATS on:
 *
 *     weights [batch, head_q, query, key]    product [batch, head_q, query, segment, d]    flag
 *
 * The product comes in one part for each SEGMENT keys: o is their sum.
 * Where the flag is set, NaN and Inf were left out of V (standard_pack): they are added here
 * (finite_lost).
 *
 * Grid: dimension 0 runs over the rows of o.  A work-group unpacks WORK_GROUP rows,
 * four elements at a time, neighbours side by side.
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif
#define CHUNKS ((HEAD_DIM_V + 3) / 4)

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
standard_unpack(KERNEL_ARGUMENTS) {
    const long rows = (long)slice_rows(&p);
    const long stride = ((long)p.seq_kv + ROW_FLOATS - 1) / ROW_FLOATS * ROW_FLOATS;
    const int segments = SEGMENT ? (p.seq_kv + SEGMENT - 1L) / max(SEGMENT, 1) : p.seq_kv > 0;
    __global const float *product = workspace + p.workspace + dense_part(rows * stride);
    __global const int *flag =
        (__global const int *)(product + dense_part(rows * segments * HEAD_DIM_V));

    for (int chunk = (int)get_local_id(0); chunk < WORK_GROUP * CHUNKS; chunk += WORK_GROUP) {
        const int d = chunk % CHUNKS * 4, last = HEAD_DIM_V - 1 - d;
        const long row = (long)get_group_id(0) * WORK_GROUP + chunk / CHUNKS;
        if (row >= rows) {
            return;
        }
        int query;
        struct slice s;
        slice_of_row(&p, (ulong)row, &query, &s);
        float4 x = dense_sum(product, row, segments, d, HEAD_DIM_V);
        if (MASKED && segments > 0 && *flag) {
            __global const element_v *from = v + slice_begin_kv(&p.v, &s) + d;
            const int2 keys = span_of_row(&s.band, query);
            const int4 span = (int4)(keys.x, keys.y, keys.y, keys.x); /* no block counts as whole */
            x.x += finite_lost(&s.band, 0, from, p.v.row, query, span, 1, 0);
            x.y += finite_lost(&s.band, 0, from, p.v.row, query, span, 1, min(1, last));
            x.z += finite_lost(&s.band, 0, from, p.v.row, query, span, 1, min(2, last));
            x.w += finite_lost(&s.band, 0, from, p.v.row, query, span, 1, min(3, last));
        }
        __global element_o *to = o + slice_begin(&p.o, &s) + query * p.o.row + d;
        dense_unpack(to, x, last, TYPE_O, p.aligned & OPERAND_O);
    }
}
