/*
 * lanes_parts - for bwd_lanes: d_q's sums in the workspace, behind delta.
 *
 * SWEEP copies of [batch, heads_q, seq_q][PARTS_ROW] without gaps, one for each work-item that has
 * a part of the keys; where a part has more keys than a segment (lanes_parts_totalled), SWEEP
 * copies more for the sums of the segments before.  The workspace grows with the queries, not with
 * the keys.
 */
#ifndef SWEEP
#error "SWEEP: work-items that share the keys of a head"
#endif

#define PARTS_VECTORS ((HEAD_DIM + LANES - 1) / LANES)
#define PARTS_ROW (PARTS_VECTORS * LANES)

/* Can a part have more keys than a segment? */
INLINE int lanes_parts_totalled(int seq_kv) {
    const int blocks = (seq_kv + BLOCK - 1) / BLOCK;
    return (blocks + SWEEP - 1) / SWEEP * BLOCK > GRAD_SEGMENT;
}

/* Floats of the workspace before the first row of the slice in a copy. */
INLINE long lanes_parts_begin(const struct params *p, const struct slice *s, int copy) {
    const long rows = (long)slice_rows(p);
    return p->workspace + rows + (copy * rows + s->rows_before) * PARTS_ROW;
}

INLINE floatn lanes_parts_read(__global const float *at) {
    return BASE_CONCAT(vload, LANES)(0, at);
}
INLINE void lanes_parts_write(__global float *at, floatn x) {
    BASE_CONCAT(vstore, LANES)(x, 0, at);
}
