/*
 * finite - NaN and Inf in V where keys are hidden.
 *
 * A hidden key has the weight 0, and 0 times NaN or Inf is NaN.  So in a block of keys of which
 * some are hidden (span_is_boundary; any block, where bias or mask hide keys) NaN and Inf become 0
 * before they are multiplied.  What the rows that do see such a key lose by it is added to O at the
 * end (finite_lost), without weights: a weight changes neither NaN nor Inf.
 *
 * fwd_tile looks for NaN and Inf in each such block.  fwd_mma looks for them only where a sum is
 * NaN or Inf at the end, in a second pass over the keys.  standard looks for them when it packs V.
 *
 * Others have a scheme of their own.  In fwd_wgmma the copy engine brings V to local memory and the
 * matrix unit reads V there: no work-item that multiplies ever holds V's elements.  Three warps
 * that do nothing else look for NaN and Inf in the tile and replace them, while the others compute
 * scores; the rows get them back from global memory, as here (wgmma_rows.cl).  fwd_lanes reads
 * F32's V in place, in global memory, where nothing can be replaced.  A clean copy would lie in
 * private memory, for which OpenCL 1.2 needs the sums' code a second time; fwd_lanes has this code
 * twice as it is, and marks the weights in one.  fwd_rows reads no hidden key.
 */

/* By the bits: one driver (Rusticl 22.3) takes x times 0 for 0, whatever x is. */
INLINE int finite_float(float x) {
    return (as_uint(x) & 0x7fffffffu) < 0x7f800000u;
}

/* The same of an element of 16 bits. */
INLINE int finite_short(ushort x, const int type) {
    const ushort exponent = type == F16 ? 0x7c00 : 0x7f80;
    return (x & exponent) != exponent;
}

/* Do bias and mask let the query see the key? */
INLINE int finite_sees(const struct scene *scene, int row, int key) {
    const intn sees = score_sees(scene, (intn)(row), (intn)(key));
    return *(const int *)&sees != 0;
}

/*
 * The sum of NaN and Inf in column `col` of the keys that query `row` sees, of those blocks of
 * block_n keys that are not seen whole by all queries of its block; 0 where there is none.  v: the
 * slice's first element; span: of the block of queries, whose blocks of keys begin at span.x.
 * scene: NULL where HIDES is 0.
 */
INLINE float finite_lost(const struct band *band, const struct scene *scene,
                         __global const element_v *v, long stride, int row, int4 span,
                         const int block_n, int col) {
    const int2 keys = span_of_row(band, row);
    /* Every row sees all of the whole blocks, [whole, whole_end). */
    const int whole = span.x + (max(0, span.z - span.x) + block_n - 1) / block_n * block_n;
    const int whole_end = span.x + max(0, span.w - span.x) / block_n * block_n;
    float sum = 0.0f;
    ROLL
    for (int key = keys.x; key < keys.y; key++) {
        if (!HIDES && key == whole && whole < whole_end) {
            key = whole_end - 1;
        } else {
            const float x = load_at(v + key * stride, col, TYPE_V);
            const int lost = !finite_float(x) && (!HIDES || finite_sees(scene, row, key));
            sum += lost ? x : 0.0f;
        }
    }
    return sum;
}
