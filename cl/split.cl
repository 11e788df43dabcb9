/*
 * split - the keys of a row in parts, each of which another work-item attends to; fwd_merge joins
 * their results.
 *
 * Part n has the keys n * PART_N ... (n + 1) * PART_N - 1, whatever the batch and the other rows
 * are.  Its result for a row lies in the workspace, row by row, part by part: SPLIT_COLS floats of
 * o, weighted sums of V against the part's maximum; then m, the maximum, and l, the sum of weights
 * (state.cl).  A row that sees no key of the part has l = 0, m = -inf and o = 0.
 */
#ifndef PART_N
#error "PART_N: keys of a part, a multiple of BLOCK_N"
#endif

#define SPLIT_COLS ((HEAD_DIM_V + 15) / 16 * 16)
#define SPLIT_FLOATS (SPLIT_COLS + 16) /* results begin at multiples of 64 bytes */
#define SPLIT_VECTORS ((HEAD_DIM_V + LANES - 1) / LANES)

/* How many parts the longest sequence has. */
INLINE int split_parts(const struct params *p) {
    return (p->seq_kv + PART_N - 1) / PART_N;
}

/* Floats of the workspace before the result of part `part` for query `row` of the slice. */
INLINE long split_at(const struct params *p, const struct slice *s, int row, int part) {
    return p->workspace + ((s->rows_before + row) * split_parts(p) + part) * SPLIT_FLOATS;
}

/* Of the keys [x, y) those in part `part`. */
INLINE int2 split_keys(int2 keys, int part) {
    const int begin = part * PART_N;
    const int first = max(keys.x, begin);
    return (int2)(first, max(first, min(keys.y, begin + PART_N)));
}
