/*
 * rows - products of two rows in memory, element by element: for kernels with a row for each
 * work-item, fwd_rows and bwd_rows.
 */

/* a.b, of n elements each. */
INLINE float rows_product(__global const void *a, const int type_a, __global const void *b,
                          const int type_b, const int n) {
    float product = 0.0f;
    for (int d = 0; d < n; d++) {
        product = fma(load(storage_at(a, d, type_a), type_a),
                      load(storage_at(b, d, type_b), type_b), product);
    }
    return product;
}

INLINE float rows_score(const struct params *p, __global const element_q *q,
                        __global const element_k *k) {
    return score_of_product(p, rows_product(q, TYPE_Q, k, TYPE_K, HEAD_DIM));
}
