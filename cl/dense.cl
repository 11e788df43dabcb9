/*
 * dense - tensors as dense floats, for matrix products of the baselines standard and bwd_standard:
 * into the workspace, and out of it.
 *
 * Rows go four elements at a time, neighbours side by side.  Each part of the workspace begins at a
 * multiple of PART_FLOATS.
 */
#ifndef PART_FLOATS
#error "PART_FLOATS: a part of the workspace begins at a multiple of it"
#endif
#ifndef ROW_FLOATS
#error "ROW_FLOATS: a row of the scores begins at a multiple of it; LANES divides it"
#endif

INLINE long dense_part(long floats) {
    return (floats + PART_FLOATS - 1) / PART_FLOATS * PART_FLOATS;
}

/* Elements d ... d + 3 of row `row` of all of a tensor's; beyond dim they are 0. */
INLINE float4 dense_load(const struct strides *t, __global const void *from, const int type,
                         long row, int seq, int heads, int d, const int dim) {
    from = storage_at(from, slice_row_begin(t, heads, seq, row) + d, type);
    if (d + 4 <= dim) { /* as a vector: some CPU drivers convert a single half in software */
        return load4(from, type, 0);
    }
    return (float4)(load(from, type), d + 1 < dim ? load(storage_at(from, 1, type), type) : 0.0f,
                    d + 2 < dim ? load(storage_at(from, 2, type), type) : 0.0f, 0.0f);
}

/* x: elements d ... d + 3 of the row `to`; those beyond dim are left out. */
INLINE void dense_store(__global float *to, float4 x, int d, const int dim) {
    if (d + 4 <= dim) {
        vstore4(x, 0, to + d);
        return;
    }
    to[d] = x.x;
    if (d + 1 < dim) {
        to[d + 1] = x.y;
    }
    if (d + 2 < dim) {
        to[d + 2] = x.z;
    }
}

/* The sum of the parts, one for each segment, of elements d ... d + 3 of row `row` of a product. */
INLINE float4 dense_sum(__global const float *product, long row, int segments, int d,
                        const int dim) {
    const int last = dim - 1 - d;
    float4 x = (float4)(0.0f);
    ROLL
    for (int segment = 0; segment < segments; segment++) {
        /* Beyond the last column: the last one again, not stored. */
        __global const float *from = product + (row * segments + segment) * dim + d;
        x += (float4)(from[0], from[min(1, last)], from[min(2, last)], from[min(3, last)]);
    }
    return x;
}

/* Elements of a row of a tensor, of which `last` more follow the first one, at `to`. */
INLINE void dense_unpack(__global void *to, float4 x, int last, const int type, int aligned) {
    if (last >= 3) {
        store4(to, x, type, aligned);
        return;
    }
    store(to, x.x, type);
    if (last >= 1) {
        store((__global void *)storage_at(to, 1, type), x.y, type);
    }
    if (last >= 2) {
        store((__global void *)storage_at(to, 2, type), x.z, type);
    }
}

/* Is the lane's key, the first one's being `key`, one of keys? */
INLINE intn dense_sees(int key, int2 keys) {
    intn at;
    int *lanes = (int *)&at;
    UNROLL
    for (int i = 0; i < LANES; i++) {
        lanes[i] = -(int)(key + i >= keys.x && key + i < keys.y);
    }
    return at;
}
