/*
 * rows - products of two rows in memory, element by element, and weighted sums of rows: for kernels
 * with a work-item for each row, fwd_rows and bwd_rows.
 */

/* a.b, of n elements each. */
INLINE float rows_product(__global const void *a, const int type_a, __global const void *b,
                          const int type_b, const int n) {
    float product = 0.0f;
    for (int d = 0; d < n; d++) {
        product = fma(load_at(a, d, type_a), load_at(b, d, type_b), product);
    }
    return product;
}

INLINE float rows_score(const struct params *p, __global const element_q *q,
                        __global const element_k *k) {
    return score_of_product(p, rows_product(q, TYPE_Q, k, TYPE_K, HEAD_DIM));
}

/* ---- Sums of backward: of a segment, and of the segments before it ---- */

INLINE void rows_begin(float *sum, float *total, const int width) {
    for (int d = 0; d < width; d++) {
        sum[d] = 0.0f;
        total[d] = 0.0f;
    }
}

/* Adds a block of `count` rows, each times its weight; `rows` is the first one's first element. */
INLINE void rows_add(const float *weights, __global const void *rows, const int type, long stride,
                     int count, float *sum, const int width) {
    for (int d = 0; d < width; d++) {
        float block = 0.0f;
        for (int j = 0; j < count; j++) {
            const float x = load(storage_at(rows, j * stride + d, type), type);
            const float more = fma(weights[j], x, block);
            block = HIDES && weights[j] == 0.0f ? block : more;
        }
        sum[d] += block;
    }
}

/* Ends a segment. */
INLINE void rows_close_segment(float *sum, float *total, const int width) {
    for (int d = 0; d < width; d++) {
        total[d] += sum[d];
        sum[d] = 0.0f;
    }
}
