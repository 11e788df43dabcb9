/*
 * bwd_mma_q - d_q by matrix engines, with bwd_mma_kv: blocks of queries times blocks of keys, by
 * the instruction of one engine (engine.cl tells what an engine gives).
 *
 * A work-group of WAVES waves has ROWS = WAVES * ROW_FRAGMENTS * ENGINE_QUERIES queries, whose sums
 * stay in registers.  Of the keys that a query of the block sees come BLOCK_N at a time:
 *
 *     S = Q K^T,  dP = d_o V^T,  then dS in place,  d_q += dS K
 *
 * Tiles in local memory, in elements (WIDTH: HEAD_DIM rounded up to a multiple of 16; the
 * additional elements are 0):
 *
 *     tile_q[ROWS][WIDTH + ENGINE_PAD], tile_d_o[ROWS][WIDTH_V + ENGINE_PAD]
 *     tile_k[STAGES][BLOCK_N][WIDTH + ENGINE_PAD], tile_v[STAGES][BLOCK_N][WIDTH_V + ENGINE_PAD]
 *
 * With two stages the next keys are on their way during all products of a block, and each block has
 * one barrier.
 *
 * NaN: a key of a block is seen by some query of the work-group; a query that sees nothing is a row
 * of its own in all products, and its pairs are taken out.  So what is hidden from all reaches
 * nothing.
 *
 * Grid: dimension 0 runs over blocks of rows (the longest first where a band can shorten them),
 * then heads, then batch.
 */

/* d of the wave's rows and the block's keys before their products are added. */
INLINE void q_begin(grads_block d, float delta[ROW_FRAGMENTS][ENGINE_SLOTS]) {
    ENGINE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * ENGINE_SPLIT; n++) {
        const int a = n / ENGINE_SPLIT / KEYS, k = n / ENGINE_SPLIT % KEYS, f = n % ENGINE_SPLIT;
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            d[a][k][f][e] = -delta[a][engine_acc_slot(e)];
        }
    }
}

/* grad_prepare for the wave's rows, from row0 on, and the keys from key0 on. */
INLINE void q_prepare(grads_block s, grads_block d, const struct params *p,
                      const struct scene *scene, float reference[ROW_FRAGMENTS][ENGINE_SLOTS],
                      int row0, int key0, struct engine_wave w) {
    ENGINE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * ENGINE_SPLIT; n++) {
        const int a = n / ENGINE_SPLIT / KEYS, of_keys = n % (KEYS * ENGINE_SPLIT);
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            grad_prepare(p, scene, &s[a][of_keys / ENGINE_SPLIT][n % ENGINE_SPLIT][e],
                         &d[a][of_keys / ENGINE_SPLIT][n % ENGINE_SPLIT][e],
                         reference[a][engine_acc_slot(e)],
                         row0 + a * ENGINE_QUERIES + engine_acc_query(w.lane, e),
                         key0 + of_keys * ENGINE_OTHERS + engine_acc_other(w.lane, e));
        }
    }
}

__kernel ENGINE_ATTRIBUTES __attribute__((reqd_work_group_size(THREADS, 1, 1))) void
bwd_mma_q(KERNEL_ARGUMENTS) {
    __local element tile_q[ROWS * STRIDE] __attribute__((aligned(16)));
    __local element tile_d_o[ROWS * STRIDE_V] __attribute__((aligned(16)));
    __local element tile_k[STAGES * BLOCK_N * STRIDE] __attribute__((aligned(16)));
    __local element tile_v[STAGES * BLOCK_N * STRIDE_V] __attribute__((aligned(16)));
    __local float scratch[WAVES * ENGINE_SCRATCH];

    const int wave = (int)get_local_id(0) / ENGINE_LANES;
    const struct engine_wave w = {(int)get_local_id(0) % ENGINE_LANES,
                                  scratch + wave * ENGINE_SCRATCH};
    const size_t blocks = slice_blocks(&p, ROWS);
    struct slice slice;
    slice_of_number(&p, (uint)(get_group_id(0) / blocks), &slice);
    const int row0 = slice_row0(&p, (uint)(get_group_id(0) % blocks), ROWS);
    const int row_last = min(row0 + ROWS, slice.band.seq_q) - 1;
    const int own = wave * ROW_FRAGMENTS * ENGINE_QUERIES;
    __local const element *own_q = tile_q + own * STRIDE, *own_d_o = tile_d_o + own * STRIDE_V;
    struct scene scene;
    score_scene(&p, &slice, &scene EXTRA_ARGUMENTS);
    k += slice_begin_kv(&p.k, &slice);
    v += slice_begin_kv(&p.v, &slice);

    const int4 span = span_of_rows(&slice.band, row0, row_last);
    const int last = span.y - 1;
    engine_copy(tile_q, q + slice_begin(&p.q, &slice), p.q.row, row0, row_last, ROWS, HEAD_DIM,
                WIDTH, WIDTH, p.aligned & OPERAND_Q);
    engine_copy(tile_d_o, d_o + slice_begin(&p.d_o, &slice), p.d_o.row, row0, row_last, ROWS,
                HEAD_DIM_V, WIDTH_V, WIDTH_V, p.aligned & OPERAND_D_O);
    if (span.x < span.y) {
        engine_copy(tile_k, k, p.k.row, span.x, last, BLOCK_N, HEAD_DIM, WIDTH, WIDTH,
                    p.aligned & OPERAND_K);
        engine_copy(tile_v, v, p.v.row, span.x, last, BLOCK_N, HEAD_DIM_V, WIDTH_V, WIDTH_V,
                    p.aligned & OPERAND_V);
    }

    grads_columns sum[ROW_FRAGMENTS * COLS];
    volatile float total[SEGMENT ? ROW_FRAGMENTS * COLS * ENGINE_SPLIT * ENGINE_ACC : 1];
    float reference[ROW_FRAGMENTS][ENGINE_SLOTS], delta[ROW_FRAGMENTS][ENGINE_SLOTS];
    float unit[ROW_FRAGMENTS][ENGINE_SLOTS], factor[ROW_FRAGMENTS][ENGINE_SLOTS];
    ENGINE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * ENGINE_ACC; i++) {
        const int a = i / ENGINE_ACC, e = i % ENGINE_ACC, slot = engine_acc_slot(e);
        if (e == 0 || slot != engine_acc_slot(e - 1)) {
            const int row =
                min(row0 + own + a * ENGINE_QUERIES + engine_acc_query(w.lane, e), row_last);
            reference[a][slot] = grad_reference(lse[slice_begin(&p.lse, &slice) + row * p.lse.row]);
            delta[a][slot] = workspace[grad_delta_at(&p, &slice, row)];
            unit[a][slot] = GRAD_UNIT_FIRST;
        }
    }
    grads_begin(sum, COLS);
    ROLL
    for (int i = 0; SEGMENT && i < ROW_FRAGMENTS * COLS * ENGINE_SPLIT * ENGINE_ACC; i++) {
        total[i] = 0.0f;
    }

    int slot = 0;
    for (int key0 = span.x; key0 < span.y; key0 += BLOCK_N) {
        const int next = key0 + BLOCK_N, next_slot = STAGES == 1 ? 0 : 1 - slot;
        __local const element *block_k = tile_k + slot * BLOCK_N * STRIDE;
        __local const element *block_v = tile_v + slot * BLOCK_N * STRIDE_V;
        engine_copied();
        barrier(CLK_LOCAL_MEM_FENCE); /* the block is there; everybody has done with the last */
        if (STAGES > 1 && next < span.y) {
            engine_copy(tile_k + next_slot * BLOCK_N * STRIDE, k, p.k.row, next, last, BLOCK_N,
                        HEAD_DIM, WIDTH, WIDTH, p.aligned & OPERAND_K);
            engine_copy(tile_v + next_slot * BLOCK_N * STRIDE_V, v, p.v.row, next, last, BLOCK_N,
                        HEAD_DIM_V, WIDTH_V, WIDTH_V, p.aligned & OPERAND_V);
        }
        grads_block s, d;
        q_begin(d, delta);
        mma_add_products(d, own_d_o, STRIDE_V, block_v, STRIDE_V, COLS_V, w);
        mma_products(s, own_q, STRIDE, block_k, STRIDE, COLS, w);
        q_prepare(s, d, &p, &scene, reference, row0 + own, key0, w);
        if (span_is_boundary(span, key0, BLOCK_N)) {
            grads_hide(s, d, span_within(&slice.band, row0, key0), own, slice.band.seq_kv - key0, 0,
                       w);
        }
        grads_finish(s, d);
        if (SCALED) {
            grads_scale(sum, COLS, unit, d, w);
        }
        grads_add(sum, COLS, d, block_k, STRIDE, w);
        if (SEGMENT && state_segment_ends(key0 - span.x, BLOCK_N)) {
            grads_undo(factor, unit, SCALED);
            grads_close(total, sum, COLS, factor, 0);
        }
        if (STAGES == 1) {
            barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with the block */
        }
        if (STAGES == 1 && next < span.y) {
            engine_copy(tile_k, k, p.k.row, next, last, BLOCK_N, HEAD_DIM, WIDTH, WIDTH,
                        p.aligned & OPERAND_K);
            engine_copy(tile_v, v, p.v.row, next, last, BLOCK_N, HEAD_DIM_V, WIDTH_V, WIDTH_V,
                        p.aligned & OPERAND_V);
        }
        slot = next_slot;
    }
    engine_copied(); /* of a work-group without a pair, its own tiles */

    grads_undo(factor, unit, SCALED);
    if (SEGMENT) {
        grads_close(total, sum, COLS, factor, 1);
        grads_undo(factor, unit, 0);
    }
    /* Lane and wave anew (mma.cl): no register holds what only the stores need. */
    const struct engine_wave here = {MMA_LANE, w.scratch};
    const int to_row = row0 + MMA_WAVE * ROW_FRAGMENTS * ENGINE_QUERIES;
    grads_store(d_q + slice_begin(&p.d_q, &slice) + to_row * p.d_q.row, TYPE_D_Q, p.d_q.row,
                slice.band.seq_q - to_row, HEAD_DIM, sum, COLS, factor, score_scale(&p), here);
}
