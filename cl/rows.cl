/*
 * rows - products of two rows in memory, element by element: for kernels with a row for each
 * work-item, fwd_rows and bwd_rows.
 */

/* d_o.v */
INLINE float rows_product_v(__global const element *d_o, __global const element *v) {
    float product = 0.0f;
    for (int d = 0; d < HEAD_DIM_V; d++) {
        product = fma(load(d_o + d), load(v + d), product);
    }
    return product;
}

INLINE float rows_score(const struct params *p, __global const element *q,
                        __global const element *k) {
    float product = 0.0f;
    for (int d = 0; d < HEAD_DIM; d++) {
        product = fma(load(q + d), load(k + d), product);
    }
    return score_of_product(p, product);
}
