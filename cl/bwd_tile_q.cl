/*
 * bwd_tile_q - d_q, for GPUs: tiles in local memory, plain OpenCL C 1.2; with bwd_tile_kv.
 *
 * A work-group of THREADS_M * THREADS_N work-items owns BLOCK_M query rows and meets the keys that
 * they see in blocks of BLOCK_N.  For each block
 *
 *     dP = dO V^T,  S = Q K^T,  dS from both (grad.cl),  dQ += dS K
 *
 * Head dimensions go in strips of BLOCK_D elements, padded with zeros.  Work-item (own, met) has
 *
 *     rows of S, dP, dQ    own + THREADS_M * i                    i < ROWS
 *     columns of S, dP     met + THREADS_N * j                    j < KEYS
 *     columns of dQ        4 * (met + THREADS_N * c) ... + 3      c < COLS, in each strip
 *
 * S and dP come from rows of tiles along the head; dS goes through tile_p, from which each product
 * with K reads four of its columns at once.  V comes before K, so that with one strip the K of S is
 * also that of dQ.  Between the two, dP waits in tile_p, where dS takes its place: each work-item
 * there reads and writes its own elements.
 *
 *     tile_own[OWN_RESIDENT ? strips of Q, then of dO : 1][BLOCK_M][BLOCK_D + 4]
 *     tile_met[BLOCK_N][BLOCK_D + 4]       a strip of V or of K
 *     tile_p  [BLOCK_M][P_ROW]             dP, later dS
 *     tile_lse, tile_delta [BLOCK_M]       lse (to base 2) and delta of the rows
 *
 * Grid: dimension 0 runs over blocks of rows (the longest first where a band can shorten them),
 * then heads, then batch.
 */
#define TILES (OWN_RESIDENT ? STRIPS + STRIPS_V : 1)

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void bwd_tile_q(KERNEL_ARGUMENTS) {
    __local float tile_own[TILES * BLOCK_M * TILE_ROW] __attribute__((aligned(16)));
    __local float tile_met[BLOCK_N * TILE_ROW] __attribute__((aligned(16)));
    __local float tile_p[BLOCK_M * P_ROW] __attribute__((aligned(16)));
    __local float tile_lse[BLOCK_M], tile_delta[BLOCK_M];

    const int own = (int)get_local_id(0) / THREADS_N;
    const int met = (int)get_local_id(0) % THREADS_N;
    const size_t blocks = slice_blocks(&p, BLOCK_M);
    struct slice slice;
    slice_of_number(&p, (uint)(get_group_id(0) / blocks), &slice);
    struct scene scene;
    score_scene(&p, &slice, &scene EXTRA_ARGUMENTS);
    const int row0 = slice_row0(&p, (uint)(get_group_id(0) % blocks), BLOCK_M);
    const int row_last = min(row0 + BLOCK_M, slice.band.seq_q) - 1;
    q += slice_begin(&p.q, &slice);
    k += slice_begin_kv(&p.k, &slice);
    v += slice_begin_kv(&p.v, &slice);
    d_o += slice_begin(&p.d_o, &slice);
    const int aligned = p.aligned & OPERANDS_TOGETHER, d_o_aligned = p.aligned & OPERAND_D_O;

    /* Read anew where it is needed: what follows from it would be kept in registers, or spilled,
     * through the loops. */
    volatile const int first = row0;
    float4 near[STRIPS][ROWS][COLS];
    volatile float4 segment[SEGMENT_SUMS(STRIPS)], total[TOTAL_SUMS(STRIPS)];
    grads_begin(near, segment, total, STRIPS);
    for (int z = 0; z < (OWN_RESIDENT ? STRIPS : 0); z++) {
        tile_load_own(tile_own + z * BLOCK_M * TILE_ROW, q, TYPE_Q, p.q.row, row0, row_last,
                      z * BLOCK_D, HEAD_DIM, aligned, THREADS_OWN);
    }
    for (int z = 0; z < (OWN_RESIDENT ? STRIPS_V : 0); z++) {
        tile_load_own(tile_own + (STRIPS + z) * BLOCK_M * TILE_ROW, d_o, TYPE_D_O, p.d_o.row, row0,
                      row_last, z * BLOCK_D, HEAD_DIM_V, d_o_aligned, THREADS_OWN);
    }
    grads_load_rows(tile_lse, tile_delta, lse + slice_begin(&p.lse, &slice), p.lse.row,
                    workspace + grad_delta_at(&p, &slice, 0), row0, row_last, BLOCK_M);

    __local const float *const row = tile_own + own * TILE_ROW;
    __local const float *const key = tile_met + met * TILE_ROW;
    __local float *const mine = tile_p + own * P_ROW + met;
    const int4 span = span_of_rows(&slice.band, row0, row_last);
    const int last = span.y - 1;
    for (int key0 = span.x; key0 < span.y; key0 += BLOCK_N) {
        float s[ROWS][KEYS];
        grads_zero(s);
        for (int z = 0; z < STRIPS_V; z++) {
            barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with the last contents */
            tile_load_met(tile_met, v, TYPE_V, p.v.row, key0, last, z * BLOCK_D, HEAD_DIM_V,
                          aligned);
            if (!OWN_RESIDENT) {
                tile_load_own(tile_own, d_o, TYPE_D_O, p.d_o.row, first, row_last, z * BLOCK_D,
                              HEAD_DIM_V, d_o_aligned, THREADS_OWN);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            __local const float *of_z =
                row + (OWN_RESIDENT ? (STRIPS + z) * BLOCK_M * TILE_ROW : 0);
            grads_scores(s, of_z, key);
        }
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                mine[THREADS_M * i * P_ROW + THREADS_N * j] = s[i][j];
            }
        }
        grads_zero(s);
        for (int z = 0; z < STRIPS; z++) {
            barrier(CLK_LOCAL_MEM_FENCE);
            tile_load_met(tile_met, k, TYPE_K, p.k.row, key0, last, z * BLOCK_D, HEAD_DIM, aligned);
            if (!OWN_RESIDENT) {
                tile_load_own(tile_own, q, TYPE_Q, p.q.row, first, row_last, z * BLOCK_D, HEAD_DIM,
                              aligned, THREADS_OWN);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            __local const float *of_z = row + (OWN_RESIDENT ? z * BLOCK_M * TILE_ROW : 0);
            grads_scores(s, of_z, key);
        }
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            const float reference = tile_lse[own + THREADS_M * i];
            const float delta = tile_delta[own + THREADS_M * i];
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                const float score = score_of_product(&p, s[i][j]);
                const float at =
                    score_at(&scene, score, row0 + own + THREADS_M * i, key0 + met + THREADS_N * j);
                s[i][j] = grad_of_score(grad_weight(at, reference),
                                        mine[THREADS_M * i * P_ROW + THREADS_N * j], delta,
                                        score_slope(&p, score));
            }
        }
        if (span_is_boundary(span, key0, BLOCK_N)) {
            const int3 seen = span_within(&slice.band, row0 + own, key0 + met);
            UNROLL
            for (int i = 0; i < ROWS; i++) {
                UNROLL
                for (int j = 0; j < KEYS; j++) {
                    s[i][j] = span_sees(seen, THREADS_M * i, THREADS_N * j) ? s[i][j] : 0.0f;
                }
            }
        }
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                mine[THREADS_M * i * P_ROW + THREADS_N * j] = s[i][j];
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (HIDES) {
            grads_clean(tile_met);
        }
        /* The last strip first: it is there. */
        grads_add(near[STRIPS - 1], segment + (SUMS_RESIDENT ? 0 : (STRIPS - 1) * SUMS),
                  tile_p + own * P_ROW, tile_met + met * 4);
        UNROLL
        for (int z = STRIPS - 2; z >= 0; z--) {
            barrier(CLK_LOCAL_MEM_FENCE);
            tile_load_met(tile_met, k, TYPE_K, p.k.row, key0, last, z * BLOCK_D, HEAD_DIM, aligned);
            barrier(CLK_LOCAL_MEM_FENCE);
            if (HIDES) {
                grads_clean(tile_met);
            }
            grads_add(near[z], segment + (SUMS_RESIDENT ? 0 : z * SUMS), tile_p + own * P_ROW,
                      tile_met + met * 4);
        }
        if (state_segment_ends(key0 - span.x, BLOCK_N)) {
            grads_close(near, segment, total, STRIPS);
        }
    }
    if (SEGMENT) {
        grads_close(near, segment, total, STRIPS);
    }
    grads_store(d_q + slice_begin(&p.d_q, &slice), TYPE_D_Q, HEAD_DIM, p.d_q.row, first + own,
                row_last, met, score_scale(&p), near, segment, total);
}
