/*
 * rows - products of two rows in memory, element by element: for backward kernels with a
 * row for each work-item, bwd_rows.
 */

/* d_o.v */
INLINE float rows_product_v(__global const element_d_o *d_o, __global const element_v *v) {
    float product = 0.0f;
    for (int d = 0; d < HEAD_DIM_V; d++) {
        product = fma(load(d_o + d, TYPE_D_O), load(v + d, TYPE_V), product);
    }
    return product;
}

INLINE float rows_score(const struct params *p, __global const element_q *q,
                        __global const element_k *k) {
    float product = 0.0f;
    for (int d = 0; d < HEAD_DIM; d++) {
        product = fma(load(q + d, TYPE_Q), load(k + d, TYPE_K), product);
    }
    return score_of_product(p, product);
}
