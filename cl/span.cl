/*
 * span - which keys a query sees, and so a block of queries.
 *
 * A query sees one interval of keys, [begin, end); both ends grow with the query,
 * so a block of queries sees [begin of its first, end of its last), and a block of
 * keys is full (seen by all of them) inside [begin of the last, end of the first).
 */

/* The first and the last key of a query's band; the sequence may end before. */
INLINE long span_first(const struct params *p, long row) {
    return row + p->diagonal - p->band_left;
}

INLINE long span_last(const struct params *p, long row) {
    return row + p->diagonal + p->band_right;
}

/* Keys [x, y) that query `row` sees; x <= y, both within [0, seq_kv]. */
INLINE int2 span_of_row(const struct params *p, int row) {
    if (!MASKED) {
        return (int2)(0, p->seq_kv);
    }
    long begin = clamp(span_first(p, row), 0L, (long)p->seq_kv);
    long end = clamp(span_last(p, row) + 1, begin, (long)p->seq_kv);
    return (int2)((int)begin, (int)end);
}

/* Keys of the queries first ... last: (x, y) is what any of them sees, (z, w) what all see. */
INLINE int4 span_of_block(const struct params *p, int first, int last) {
    int2 low = span_of_row(p, first), high = span_of_row(p, last);
    return (int4)(low.x, high.y, high.x, low.y);
}

/* Does any query miss a key of [begin, begin + keys)? */
INLINE int span_is_boundary(int4 span, int begin, int keys) {
    return begin < span.z || begin + keys > span.w;
}

/* How many keys away, where more than any block has is all the same. */
INLINE int span_near(long keys) {
    const long far = 1L << 30;
    return (int)clamp(keys, -far, far);
}

/*
 * Which keys of a few the queries of a few see, without anything kept for each query: of
 * the keys key0 + k and the queries row0 + r, k and r small, span_sees tells by k - r
 * and by where the keys end.
 */
INLINE int3 span_within(const struct params *p, int row0, int key0) {
    const long row = (long)row0 - key0;
    return (int3)(MASKED ? span_near(span_first(p, row)) : 0,
                  MASKED ? span_near(span_last(p, row)) : 0, p->seq_kv - key0);
}

/* The same, where span_first and span_last of the row row0 - rows wait in local memory. */
INLINE int3 span_within_band(const struct params *p, __local const long *band, int rows, int key0) {
    return (int3)(MASKED ? span_near(band[0] + (rows - key0)) : 0,
                  MASKED ? span_near(band[1] + (rows - key0)) : 0, p->seq_kv - key0);
}

INLINE int span_sees(int3 within, int r, int k) {
    if (MASKED) {
        return k < within.z && k - r >= within.x && k - r <= within.y;
    }
    return k < within.z;
}
