/*
 * standard_softmax - products q.k become weights, in place, in global memory.
 *
 * Three sweeps over the keys that a row sees (maximum, sum, weights; SOFTMAX ==
 * three_pass) or two (maximum and sum by one running state, block by block, weights; online).  A
 * key that the row does not see gets the weight 0 exactly.  Row r of the products, of all batches
 * and query heads, begins at float r * stride of the workspace, stride being seq_kv rounded up to
 * ROW_FLOATS.
 *
 * Grid: dimension 0, a work-group of WORK_GROUP work-items a row, each of them with
 * every WORK_GROUP-th vector of LANES keys; local memory: WORK_GROUP floats.
 */
#ifndef WORK_GROUP
#error "WORK_GROUP: work-items in a work-group, a power of two"
#endif
#ifndef SOFTMAX
#error "SOFTMAX: three_pass or online"
#endif

#define SUM 0
#define MAXIMUM 1

/* One number of all lanes of all work-items, for each of them; in a fixed order. */
INLINE float softmax_reduce(floatn x, __local float *partial, const int what) {
    const float *lanes = (const float *)&x;
    float result = lanes[0];
    UNROLL
    for (int i = 1; i < LANES; i++) {
        result = what == SUM ? result + lanes[i] : fmax(result, lanes[i]);
    }
    if (WORK_GROUP > 1) {
        const int id = (int)get_local_id(0);
        partial[id] = result;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int half_size = WORK_GROUP / 2; half_size > 0; half_size /= 2) {
            if (id < half_size) {
                const float other = partial[id + half_size];
                partial[id] = what == SUM ? partial[id] + other : fmax(partial[id], other);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        result = partial[0];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return result;
}

/* Scores of a query and the keys from `key` on, a multiple of LANES; -inf for those not seen. */
INLINE floatn softmax_scores(const struct params *p, const struct scene *scene, int query,
                             __global const float *row, int key, int2 keys) {
    const floatn product = *(__global const floatn *)(row + key);
    const floatn score =
        score_at(scene, score_of_product(p, product), (intn)(query), base_count(key));
    if (key >= keys.x && key + LANES <= keys.y) {
        return score;
    }
    return select((floatn)(-INFINITY), score, dense_sees(key, keys));
}

__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
standard_softmax(KERNEL_ARGUMENTS) {
    __local float partial[WORK_GROUP];
    const int id = (int)get_local_id(0), step = WORK_GROUP * LANES;
    int query;
    struct slice s;
    slice_of_row(&p, get_group_id(0), &query, &s);
    struct scene scene;
    score_scene(&p, &s, &scene EXTRA_ARGUMENTS);
    const long stride = ((long)p.seq_kv + ROW_FLOATS - 1) / ROW_FLOATS * ROW_FLOATS;
    __global float *row = workspace + p.workspace + (long)get_group_id(0) * stride;
    const int2 keys = span_of_row(&s.band, query);
    const int first = keys.x / LANES * LANES + id * LANES;

    floatn m = (floatn)(-INFINITY), m_total = m, l = (floatn)(0.0f), total = l;
    if (SOFTMAX == three_pass) {
        for (int key = first; key < keys.y; key += step) {
            m = state_max(m, softmax_scores(&p, &scene, query, row, key, keys));
        }
        m = (floatn)(softmax_reduce(m, partial, MAXIMUM));
    }
    int blocks = 0;
    for (int begin = first; begin < keys.y; begin += STATE_KEYS * step) {
        const int end = min(begin + STATE_KEYS * step, keys.y);
        floatn m_new = m, block = (floatn)(0.0f);
        for (int key = begin; key < (SOFTMAX == online ? end : begin); key += step) {
            m_new = state_max(m_new, softmax_scores(&p, &scene, query, row, key, keys));
        }
        const floatn reference = state_reference(m_new);
        for (int key = begin; key < end; key += step) {
            block += state_weight(softmax_scores(&p, &scene, query, row, key, keys), reference);
        }
        l = fma(l, state_weight(m, reference), block);
        m = m_new;
        if (++blocks % STATE_KEYS == 0 || end == keys.y) { /* a segment of this lane's keys */
            state_join(&m_total, &total, m, l);
            l = (floatn)(0.0f);
        }
    }
    const float m_row = softmax_reduce(m, partial, MAXIMUM);
    const floatn reference = state_reference((floatn)(m_row));
    total *= state_weight(m, reference);
    float l_row = softmax_reduce(total, partial, SUM);
    const floatn normaliser =
        (floatn)(state_finish(m_row, &l_row, keys.x < keys.y, (p.given & OPERAND_LSE) && id == 0,
                              lse + slice_begin(&p.lse, &s) + query * p.lse.row, scene.sink));
    for (int key = id * LANES; key < p.seq_kv; key += step) {
        floatn weight = (floatn)(0.0f);
        if (key + LANES > keys.x && key < keys.y) {
            weight = state_weight(softmax_scores(&p, &scene, query, row, key, keys), reference) *
                     normaliser;
            if (key < keys.x || key + LANES > keys.y) { /* 0 even where the row's sum is NaN */
                weight = select((floatn)(0.0f), weight, dense_sees(key, keys));
            }
        }
        *(__global floatn *)(row + key) = weight;
    }
}
