/*
 * standard_unpack - the product of weights and V, into o.
 *
 * The workspace, each part from a multiple of PART_FLOATS on:
 *
 *     weights [batch, head_q, query, key]    product [batch, head_q, query, segment, d]
 *     flags [batch, head_kv]
 *
 * The product comes in one part for each SEGMENT of keys: o is their sum.
 * Where a key head is flagged, NaN and Inf were left out of its V (standard_pack):
 * they are added here, times their weights, for the keys that a query sees.
 *
 * Grid: dimension 0 runs over the rows of o.  A work-group unpacks WORK_GROUP rows,
 * four elements at a time, neighbours side by side.
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif
#ifndef PART_FLOATS
#error "PART_FLOATS: a part of the workspace begins at a multiple of it"
#endif
#ifndef ROW_FLOATS
#error "ROW_FLOATS: a row of the weights begins at a multiple of it"
#endif

#define CHUNKS ((HEAD_DIM_V + 3) / 4)

INLINE long unpack_part(long floats) {
    return (floats + PART_FLOATS - 1) / PART_FLOATS * PART_FLOATS;
}

/* What the elements of V (v: column d of the first key) that are no numbers add to x. */
INLINE float unpack_add(float x, __global const float *weights, __global const element_v *v,
                        long v_stride, int2 keys) {
    for (int key = keys.x; key < keys.y; key++) {
        const float value = load(v + key * v_stride, TYPE_V);
        if (!isfinite(value)) {
            x = fma(weights[key], value, x);
        }
    }
    return x;
}

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
standard_unpack(KERNEL_ARGUMENTS) {
    const long rows = (long)slice_rows(&p);
    const long stride = ((long)p.seq_kv + ROW_FLOATS - 1) / ROW_FLOATS * ROW_FLOATS;
    const long segments = SEGMENT ? (p.seq_kv + SEGMENT - 1L) / max(SEGMENT, 1) : 1L;
    __global const float *weights = workspace + p.workspace;
    __global const float *product = weights + unpack_part(rows * stride);
    __global const int *flags =
        (__global const int *)(product + unpack_part(rows * segments * HEAD_DIM_V));

    for (int chunk = (int)get_local_id(0); chunk < WORK_GROUP * CHUNKS; chunk += WORK_GROUP) {
        const int d = chunk % CHUNKS * 4, last = HEAD_DIM_V - 1 - d;
        const long row = (long)get_group_id(0) * WORK_GROUP + chunk / CHUNKS;
        if (row >= rows) {
            return;
        }
        int query;
        struct slice s;
        slice_of_row(&p, (ulong)row, &query, &s);
        float4 x = (float4)(0.0f);
        for (long segment = 0; segment < (p.seq_kv > 0 ? segments : 0); segment++) {
            /* Beyond the last column: the last one again, not stored. */
            __global const float *from = product + (row * segments + segment) * HEAD_DIM_V + d;
            x += (float4)(from[0], from[min(1, last)], from[min(2, last)], from[min(3, last)]);
        }
        if (MASKED && p.seq_kv > 0 && flags[s.number_kv]) {
            const int2 keys = span_of_row(&s.band, query);
            __global const float *w = weights + row * stride;
            __global const element_v *from = v + slice_begin_kv(&p.v, &s) + d;
            x.x = unpack_add(x.x, w, from, p.v.row, keys);
            x.y = unpack_add(x.y, w, from + min(1, last), p.v.row, keys);
            x.z = unpack_add(x.z, w, from + min(2, last), p.v.row, keys);
            x.w = unpack_add(x.w, w, from + min(3, last), p.v.row, keys);
        }
        __global element_o *to = o + slice_begin(&p.o, &s) + query * p.o.row + d;
        if (last >= 3) {
            store4(to, x, TYPE_O, p.aligned & OPERAND_O);
            continue;
        }
        store(to, x.x, TYPE_O);
        if (last >= 1) {
            store(to + 1, x.y, TYPE_O);
        }
        if (last >= 2) {
            store(to + 2, x.z, TYPE_O);
        }
    }
}
