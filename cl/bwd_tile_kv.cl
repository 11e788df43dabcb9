/*
 * bwd_tile_kv - d_k and d_v, for GPUs: tiles in local memory, plain OpenCL C 1.2; with bwd_tile_q.
 *
 * A work-group of THREADS_N * THREADS_M work-items owns BLOCK_N keys of a key head.  The query
 * heads that share it come one after the other, the queries that see the keys in blocks of BLOCK_M.
 * For each block, with keys as rows and queries as columns,
 *
 *     S = K Q^T,  P from S (grad.cl),  dV += P dO,  dP = V dO^T,  dS,  dK += dS Q
 *
 * Head dimensions go in strips of BLOCK_D elements, padded with zeros.  Work-item (own, met) has
 *
 *     rows of S, dP, dK, dV    own + THREADS_N * i                   i < ROWS
 *     columns of S, dP         met + THREADS_M * j                   j < KEYS (of queries, here)
 *     columns of dK, dV        4 * (met + THREADS_M * c) ... + 3     c < COLS, in each strip
 *
 * P, and later dS in its place, go through tile_p, from which each product reads four of its
 * columns at once.
 *
 *     tile_own[OWN_RESIDENT ? strips of K, then of V : 1][BLOCK_N][BLOCK_D + 4]
 *     tile_met[BLOCK_M][BLOCK_D + 4]            a strip of Q or of dO
 *     tile_p  [BLOCK_N][P_ROW]                  P, later dS
 *     tile_slope[SOFTCAP ? BLOCK_N : 0][P_ROW]  score_slope of the scores, from S to dS
 *     tile_lse, tile_delta [BLOCK_M]            lse (to base 2) and delta of the queries
 *
 * Grid: dimension 0 runs over blocks of keys, then heads of K and V, then batch.
 */
#define TILES (OWN_RESIDENT ? STRIPS + STRIPS_V : 1)

/* 0 for hidden pairs, and for queries from `rows` on, which are not there. */
INLINE void grads_hide(float s[ROWS][KEYS], int3 seen, int rows) {
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        UNROLL
        for (int j = 0; j < KEYS; j++) {
            const int sees = span_sees(seen, THREADS_M * j, THREADS_N * i) && THREADS_M * j < rows;
            s[i][j] = sees ? s[i][j] : 0.0f;
        }
    }
}

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void bwd_tile_kv(KERNEL_ARGUMENTS) {
    __local float tile_own[TILES * BLOCK_N * TILE_ROW] __attribute__((aligned(16)));
    __local float tile_met[BLOCK_M * TILE_ROW] __attribute__((aligned(16)));
    __local float tile_p[BLOCK_N * P_ROW] __attribute__((aligned(16)));
    __local float tile_slope[SOFTCAP ? BLOCK_N * P_ROW : 1];
    __local float tile_lse[BLOCK_M], tile_delta[BLOCK_M];

    const int own = (int)get_local_id(0) / THREADS_M;
    const int met = (int)get_local_id(0) % THREADS_M;
    const size_t blocks = slice_blocks_of_keys(&p, BLOCK_N);
    struct slice slice;
    slice_of_number_kv(&p, (uint)(get_group_id(0) / blocks), &slice);
    const int key0 = (int)(get_group_id(0) % blocks) * BLOCK_N;
    const int key_last = min(key0 + BLOCK_N, slice.band.seq_kv) - 1;
    k += slice_begin_kv(&p.k, &slice);
    v += slice_begin_kv(&p.v, &slice);
    const int aligned = p.aligned & OPERANDS_TOGETHER, d_o_aligned = p.aligned & OPERAND_D_O;

    /* Read anew where it is needed: what follows from it would be kept in registers, or spilled,
     * through the loops. */
    volatile const int first = key0;
    float4 near_k[STRIPS][ROWS][COLS], near_v[STRIPS_V][ROWS][COLS];
    volatile float4 segment_k[SEGMENT_SUMS(STRIPS)], total_k[TOTAL_SUMS(STRIPS)];
    volatile float4 segment_v[SEGMENT_SUMS(STRIPS_V)], total_v[TOTAL_SUMS(STRIPS_V)];
    grads_begin(near_k, segment_k, total_k, STRIPS);
    grads_begin(near_v, segment_v, total_v, STRIPS_V);
    for (int z = 0; z < (OWN_RESIDENT ? STRIPS : 0); z++) {
        tile_load_own(tile_own + z * BLOCK_N * TILE_ROW, k, TYPE_K, p.k.row, key0, key_last,
                      z * BLOCK_D, HEAD_DIM, aligned, THREADS_OWN);
    }
    for (int z = 0; z < (OWN_RESIDENT ? STRIPS_V : 0); z++) {
        tile_load_own(tile_own + (STRIPS + z) * BLOCK_N * TILE_ROW, v, TYPE_V, p.v.row, key0,
                      key_last, z * BLOCK_D, HEAD_DIM_V, aligned, THREADS_OWN);
    }

    __local const float *const key = tile_own + own * TILE_ROW;
    __local const float *const row = tile_met + met * TILE_ROW;
    __local float *const mine = tile_p + own * P_ROW + met;
    __local float *const slopes = tile_slope + (SOFTCAP ? own * P_ROW + met : 0);
    const int4 span = span_of_keys(&slice.band, key0, key_last);
    const int last = span.y - 1, first_head = slice.head;
    int before = 0; /* queries met since the segment began, of all heads */
    for (int head = first_head; head < first_head + slice_sharing(&p); head++) {
        slice_of_head(&p, slice.batch, head, &slice);
        struct scene scene;
        score_scene(&p, &slice, &scene EXTRA_ARGUMENTS);
        __global const element_q *const q_head = q + slice_begin(&p.q, &slice);
        __global const element_d_o *const d_o_head = d_o + slice_begin(&p.d_o, &slice);
        __global const float *const lse_head = lse + slice_begin(&p.lse, &slice);
        __global const float *const delta_head = workspace + grad_delta_at(&p, &slice, 0);
        for (int row0 = span.x; row0 < span.y; row0 += BLOCK_M) {
            float s[ROWS][KEYS];
            grads_zero(s);
            for (int z = 0; z < STRIPS; z++) {
                barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with the last contents */
                tile_load_met(tile_met, q_head, TYPE_Q, p.q.row, row0, last, z * BLOCK_D, HEAD_DIM,
                              aligned);
                if (!OWN_RESIDENT) {
                    tile_load_own(tile_own, k, TYPE_K, p.k.row, first, key_last, z * BLOCK_D,
                                  HEAD_DIM, aligned, THREADS_OWN);
                }
                if (z == 0) {
                    grads_load_rows(tile_lse, tile_delta, lse_head, p.lse.row, delta_head, row0,
                                    last, BLOCK_M);
                }
                barrier(CLK_LOCAL_MEM_FENCE);
                __local const float *of_z = key + (OWN_RESIDENT ? z * BLOCK_N * TILE_ROW : 0);
                grads_scores(s, of_z, row);
            }
            UNROLL
            for (int i = 0; i < ROWS; i++) {
                UNROLL
                for (int j = 0; j < KEYS; j++) {
                    const float score = score_of_product(&p, s[i][j]);
                    if (SOFTCAP) {
                        slopes[THREADS_N * i * P_ROW + THREADS_M * j] = score_slope(&p, score);
                    }
                    const float at = score_at(&scene, score, row0 + met + THREADS_M * j,
                                              key0 + own + THREADS_N * i);
                    s[i][j] = grad_weight(at, tile_lse[met + THREADS_M * j]);
                }
            }
            const int boundary = span_is_boundary(span, row0, BLOCK_M);
            const int3 seen = span_within(&slice.band, row0 + met, key0 + own);
            const int rows = span.y - row0 - met; /* of this work-item's, those that there are */
            if (boundary) {
                grads_hide(s, seen, rows);
            }
            UNROLL
            for (int i = 0; i < ROWS; i++) {
                UNROLL
                for (int j = 0; j < KEYS; j++) {
                    mine[THREADS_N * i * P_ROW + THREADS_M * j] = s[i][j];
                }
            }
            grads_zero(s);
            /* With one strip the dO of dV is also that of dP. */
            UNROLL
            for (int z = 0; z < STRIPS_V; z++) {
                barrier(CLK_LOCAL_MEM_FENCE);
                tile_load_met(tile_met, d_o_head, TYPE_D_O, p.d_o.row, row0, last, z * BLOCK_D,
                              HEAD_DIM_V, d_o_aligned);
                if (!OWN_RESIDENT && STRIPS_V == 1) {
                    tile_load_own(tile_own, v, TYPE_V, p.v.row, first, key_last, 0, HEAD_DIM_V,
                                  aligned, THREADS_OWN);
                }
                barrier(CLK_LOCAL_MEM_FENCE);
                if (HIDES) {
                    grads_clean(tile_met);
                }
                grads_add(near_v[z], segment_v + (SUMS_RESIDENT ? 0 : z * SUMS),
                          tile_p + own * P_ROW, tile_met + met * 4);
            }
            for (int z = STRIPS_V - 1; z >= 0; z--) {
                if (STRIPS_V > 1) {
                    barrier(CLK_LOCAL_MEM_FENCE);
                    tile_load_met(tile_met, d_o_head, TYPE_D_O, p.d_o.row, row0, last, z * BLOCK_D,
                                  HEAD_DIM_V, d_o_aligned);
                    if (!OWN_RESIDENT) {
                        tile_load_own(tile_own, v, TYPE_V, p.v.row, first, key_last, z * BLOCK_D,
                                      HEAD_DIM_V, aligned, THREADS_OWN);
                    }
                    barrier(CLK_LOCAL_MEM_FENCE);
                }
                __local const float *of_z =
                    key + (OWN_RESIDENT ? (STRIPS + z) * BLOCK_N * TILE_ROW : 0);
                grads_scores(s, of_z, row);
            }
            UNROLL
            for (int i = 0; i < ROWS; i++) {
                UNROLL
                for (int j = 0; j < KEYS; j++) {
                    const int at = THREADS_N * i * P_ROW + THREADS_M * j;
                    s[i][j] = grad_of_score(mine[at], s[i][j], tile_delta[met + THREADS_M * j],
                                            SOFTCAP ? slopes[at] : 1.0f);
                }
            }
            if (boundary) { /* again: 0 times NaN is NaN */
                grads_hide(s, seen, rows);
            }
            barrier(CLK_LOCAL_MEM_FENCE); /* everybody has read P */
            UNROLL
            for (int i = 0; i < ROWS; i++) {
                UNROLL
                for (int j = 0; j < KEYS; j++) {
                    mine[THREADS_N * i * P_ROW + THREADS_M * j] = s[i][j];
                }
            }
            UNROLL
            for (int z = 0; z < STRIPS; z++) {
                barrier(CLK_LOCAL_MEM_FENCE);
                tile_load_met(tile_met, q_head, TYPE_Q, p.q.row, row0, last, z * BLOCK_D, HEAD_DIM,
                              aligned);
                barrier(CLK_LOCAL_MEM_FENCE);
                if (HIDES) {
                    grads_clean(tile_met);
                }
                grads_add(near_k[z], segment_k + (SUMS_RESIDENT ? 0 : z * SUMS),
                          tile_p + own * P_ROW, tile_met + met * 4);
            }
            if (state_segment_ends(before, BLOCK_M)) {
                grads_close(near_k, segment_k, total_k, STRIPS);
                grads_close(near_v, segment_v, total_v, STRIPS_V);
                before = 0;
            } else {
                before += BLOCK_M;
            }
        }
    }
    if (SEGMENT) {
        grads_close(near_k, segment_k, total_k, STRIPS);
        grads_close(near_v, segment_v, total_v, STRIPS_V);
    }
    if (p.given & OPERAND_D_K) {
        grads_store(d_k + slice_begin_kv(&p.d_k, &slice), TYPE_D_K, HEAD_DIM, p.d_k.row,
                    first + own, key_last, met, score_scale(&p), near_k, segment_k, total_k);
    }
    if (p.given & OPERAND_D_V) {
        grads_store(d_v + slice_begin_kv(&p.d_v, &slice), TYPE_D_V, HEAD_DIM_V, p.d_v.row,
                    first + own, key_last, met, 1.0f, near_v, segment_v, total_v);
    }
}
