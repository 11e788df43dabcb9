/*
 * fwd_rows - one work-item per query row: the reference among the kernels.
 *
 * Online softmax, one key at a time; no local memory, no barriers, any head dim.
 * Grid: dimension 0 runs over rows, then heads, then batch (the last group may
 * hold idle work-items).
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group"
#endif

#define KEYS 64

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
fwd_rows(const struct params p, __global const element *restrict q,
         __global const element *restrict k, __global const element *restrict v,
         __global element *restrict o, __global float *restrict lse,
         __global float *restrict workspace) {
    (void)workspace;
    const size_t index = get_global_id(0);
    const size_t slice = index / (size_t)p.seq_q;
    if (slice >= (size_t)p.batch * (size_t)p.heads_q) {
        return;
    }
    const int row = (int)(index % (size_t)p.seq_q);
    const long batch = (long)(slice / (size_t)p.heads_q);
    const long head = (long)(slice % (size_t)p.heads_q);
    const long head_kv = head / p.group;
    q += p.q.offset + batch * p.q.batch + head * p.q.head + row * p.q.row;
    k += p.k.offset + batch * p.k.batch + head_kv * p.k.head;
    v += p.v.offset + batch * p.v.batch + head_kv * p.v.head;
    o += p.o.offset + batch * p.o.batch + head * p.o.head + row * p.o.row;

    float sum[HEAD_DIM_V], block[HEAD_DIM_V];
    for (int d = 0; d < HEAD_DIM_V; d++) {
        sum[d] = 0.0f;
        block[d] = 0.0f;
    }
    float m = -INFINITY, l = 0.0f, l_block = 0.0f;
    const int2 keys = span_of_row(&p, row);
    for (int key = keys.x; key < keys.y; key++) {
        __global const element *k_row = k + key * p.k.row;
        __global const element *v_row = v + key * p.v.row;
        float product = 0.0f;
        for (int d = 0; d < HEAD_DIM; d++) {
            product = fma(load(q + d), load(k_row + d), product);
        }
        const float s = score_of_product(&p, product);
        const float m_new = state_max(m, s);
        const float reference = state_reference(m_new);
        const float rescale = state_weight(m, reference);
        const float weight = state_weight(s, reference);
        m = m_new;
        /* Sums of KEYS keys are a block's own before they join the row's: that way
         * rounding grows with the number of blocks, not of keys. */
        const int ends = (key - keys.x) % KEYS == KEYS - 1 || key + 1 == keys.y;
        l_block = fma(l_block, rescale, weight);
        l = ends ? fma(l, rescale, l_block) : l * rescale;
        l_block = ends ? 0.0f : l_block;
        for (int d = 0; d < HEAD_DIM_V; d++) {
            const float x = fma(weight, load(v_row + d), block[d] * rescale);
            sum[d] = ends ? fma(sum[d], rescale, x) : sum[d] * rescale;
            block[d] = ends ? 0.0f : x;
        }
    }
    const float normaliser = state_normaliser(l);
    for (int d = 0; d < HEAD_DIM_V; d++) {
        store(o + d, sum[d] * normaliser);
    }
    if (p.write_lse) {
        lse[p.lse.offset + batch * p.lse.batch + head * p.lse.head + row * p.lse.row] =
            state_lse(m, l);
    }
}
