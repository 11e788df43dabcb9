/*
 * span - which keys a query sees, and so a block of queries; which queries see a key, and so a
 * block of keys.
 *
 * A query sees one interval of keys, [begin, end); both ends grow with the query,
 * so a block of queries sees [begin of its first, end of its last), and a block of
 * keys is full (seen by all of them) inside [begin of the last, end of the first).
 * With queries and keys exchanged the same is true.
 */

/* The first and the last key of a query's band; the sequence may end before. */
INLINE long span_first(const struct band *b, long row) {
    return row + b->diagonal - b->left;
}

INLINE long span_last(const struct band *b, long row) {
    return row + b->diagonal + b->right;
}

/* The part of [first, last] that lies in [0, length), as [x, y). */
INLINE int2 span_clamp(long first, long last, int length) {
    const long begin = clamp(first, 0L, (long)length);
    const long end = clamp(last + 1, begin, (long)length);
    return (int2)((int)begin, (int)end);
}

/* Keys [x, y) that query `row` sees; x <= y, both within [0, seq_kv]. */
INLINE int2 span_of_row(const struct band *b, int row) {
    return MASKED ? span_clamp(span_first(b, row), span_last(b, row), b->seq_kv)
                  : (int2)(0, b->seq_kv);
}

/* Queries [x, y) that see key `key`; x <= y, both within [0, seq_q]. */
INLINE int2 span_of_key(const struct band *b, int key) {
    const long opposite = (long)key - b->diagonal;
    return MASKED ? span_clamp(opposite - b->right, opposite + b->left, b->seq_q)
                  : (int2)(0, b->seq_q);
}

/* Keys of the queries first ... last: (x, y) is what any of them sees, (z, w) what all see. */
INLINE int4 span_of_rows(const struct band *b, int first, int last) {
    const int2 low = span_of_row(b, first), high = span_of_row(b, last);
    return (int4)(low.x, high.y, high.x, low.y);
}

/* Queries of the keys first ... last: (x, y) see any of them, (z, w) see all. */
INLINE int4 span_of_keys(const struct band *b, int first, int last) {
    const int2 low = span_of_key(b, first), high = span_of_key(b, last);
    return (int4)(low.x, high.y, high.x, low.y);
}

/* Of a block's span, (z, w): do not all see all of [begin, begin + count)? */
INLINE int span_is_boundary(int4 span, int begin, int count) {
    return begin < span.z || begin + count > span.w;
}

/* A distance in keys, clamped: beyond the length of any block one value is as good as another. */
INLINE int span_near(long keys) {
    const long far = 1L << 30;
    return (int)clamp(keys, -far, far);
}

/*
 * For span_sees(within, r, k): does query row0 + r see key key0 + k?  r and k are small.  The
 * answer depends on k - r and on where the keys end, so that nothing has to be kept for each query.
 */
INLINE int3 span_within(const struct band *b, int row0, int key0) {
    const long row = (long)row0 - key0;
    return (int3)(MASKED ? span_near(span_first(b, row)) : 0,
                  MASKED ? span_near(span_last(b, row)) : 0, b->seq_kv - key0);
}

/* The same, from kept: span_first and span_last of the row row0 - rows, in local memory. */
INLINE int3 span_within_kept(__local const long *kept, int seq_kv, int rows, int key0) {
    return (int3)(MASKED ? span_near(kept[0] + (rows - key0)) : 0,
                  MASKED ? span_near(kept[1] + (rows - key0)) : 0, seq_kv - key0);
}

INLINE int span_sees(int3 within, int r, int k) {
    if (MASKED) {
        return k < within.z && k - r >= within.x && k - r <= within.y;
    }
    return k < within.z;
}
