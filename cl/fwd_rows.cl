/*
 * fwd_rows - one work-item per query row: the reference among the kernels.
 *
 * Online softmax over blocks of STATE_KEYS keys; no local memory, no barriers, any head dim.
 * Grid: dimension 0 runs over rows, then heads, then batch (the last group may
 * hold idle work-items).
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

/* Stands for the weight of a key that bias or mask hide: 0 times NaN is NaN. */
#define HIDDEN (-1.0f)

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void fwd_rows(KERNEL_ARGUMENTS) {
    const size_t index = get_global_id(0);
    if (index >= slice_rows(&p)) {
        return;
    }
    int row;
    struct slice s;
    slice_of_row(&p, index, &row, &s);
    SLICE_LENGTHS(&p, &s);
    struct scene scene;
    score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
    q += slice_begin(&p.q, &s) + row * p.q.row;
    k += slice_begin_kv(&p.k, &s);
    v += slice_begin_kv(&p.v, &s);
    o += slice_begin(&p.o, &s) + row * p.o.row;

    /* m, l and the sums of V: of the segment, and of the row before it. */
    float sum[HEAD_DIM_V], total[HEAD_DIM_V], weights[STATE_KEYS];
    float m = -INFINITY, m_total = -INFINITY, l = 0.0f, l_total = 0.0f;
    for (int d = 0; d < HEAD_DIM_V; d++) {
        sum[d] = 0.0f;
        total[d] = 0.0f;
    }
    const int2 keys = span_of_row(&s.band, row);
    for (int key0 = keys.x; key0 < keys.y; key0 += STATE_KEYS) {
        const int count = min(STATE_KEYS, keys.y - key0);
        __global const element_k *k_rows = k + key0 * p.k.row;
        __global const element_v *v_rows = v + key0 * p.v.row;
        float m_new = m;
        for (int j = 0; j < count; j++) {
            weights[j] = score_at(&scene, rows_score(&p, q, k_rows + j * p.k.row), row, key0 + j);
            m_new = state_max(m_new, weights[j]);
        }
        const float reference = state_reference(m_new);
        const float rescale = state_weight(m, reference);
        m = m_new;
        float l_block = 0.0f;
        for (int j = 0; j < count; j++) {
            const int hidden = HIDES && weights[j] == -INFINITY;
            const float weight = state_weight(weights[j], reference);
            l_block += weight;
            weights[j] = hidden ? HIDDEN : weight;
        }
        l = fma(l, rescale, l_block);
        for (int d = 0; d < HEAD_DIM_V; d++) {
            float block = 0.0f;
            for (int j = 0; j < count; j++) {
                const float sum_j =
                    fma(weights[j], load_at(v_rows + j * p.v.row, d, TYPE_V), block);
                block = HIDES && weights[j] == HIDDEN ? block : sum_j;
            }
            sum[d] = fma(sum[d], rescale, block);
        }
        if (state_segment_ends(key0 - keys.x, STATE_KEYS) || key0 + STATE_KEYS >= keys.y) {
            const float rescale_total = state_join(&m_total, &l_total, m, l);
            l = 0.0f;
            for (int d = 0; d < HEAD_DIM_V; d++) {
                total[d] = fma(total[d], rescale_total, sum[d]);
                sum[d] = 0.0f;
            }
        }
    }
    const float normaliser =
        state_finish(m, &l_total, keys.x < keys.y, (p.given & OPERAND_LSE),
                     lse + slice_begin(&p.lse, &s) + row * p.lse.row, scene.sink);
    for (int d = 0; d < HEAD_DIM_V; d++) {
        store(o + d, total[d] * normaliser, TYPE_O);
    }
}
