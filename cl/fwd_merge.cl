/*
 * fwd_merge - joins the results of a row's parts (split.cl) in their order, and writes o and lse.
 *
 * Grid: dimension 0 runs over rows, then heads, then batch.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void fwd_merge(KERNEL_ARGUMENTS) {
    int row;
    struct slice s;
    slice_of_row(&p, get_global_id(0), &row, &s);
    struct scene scene;
    score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
    const int2 keys = span_of_row(&s.band, row);
    floatn sum[SPLIT_VECTORS], m = (floatn)(-INFINITY), l = (floatn)(0.0f);
    for (int i = 0; i < SPLIT_VECTORS; i++) {
        sum[i] = (floatn)(0.0f);
    }
    for (int part = keys.x / PART_N; part * (long)PART_N < keys.y; part++) {
        __global const float *from = workspace + split_at(&p, &s, row, part);
        const floatn m_part = (floatn)(from[SPLIT_COLS]), m_new = state_max(m, m_part);
        const floatn weight = state_weight(m_part, state_reference(m_new));
        const floatn factor = state_join(&m, &l, m_new, from[SPLIT_COLS + 1] * weight);
        for (int i = 0; i < SPLIT_VECTORS; i++) {
            sum[i] = fma(sum[i], factor, BASE_CONCAT(vload, LANES)(i, from) * weight);
        }
    }
    float l_row = ((const float *)&l)[0];
    const float normaliser =
        state_finish(((const float *)&m)[0], &l_row, keys.x < keys.y, p.given & OPERAND_LSE,
                     lse + slice_begin(&p.lse, &s) + row * p.lse.row, scene.sink);
    o += slice_begin(&p.o, &s) + row * p.o.row;
    for (int i = 0; i < HEAD_DIM_V / LANES; i++) {
        storen(o + i * LANES, sum[i] * normaliser, TYPE_O);
    }
    for (int d = HEAD_DIM_V / LANES * LANES; d < HEAD_DIM_V; d++) {
        store(o + d, ((const float *)sum)[d] * normaliser, TYPE_O);
    }
}
