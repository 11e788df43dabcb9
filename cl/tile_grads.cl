/*
 * tile_grads - what bwd_tile_q and bwd_tile_kv do with their tiles: products of dS or P and the
 * rows that are met, sums of gradients, their levels, and stores.
 */
#ifndef OWN_RESIDENT
#error "OWN_RESIDENT: 1 keeps what a work-group owns in local memory, 0 reloads it for each block"
#endif
#ifndef SUMS_RESIDENT
#error "SUMS_RESIDENT: 1 keeps sums of gradients in registers, 0 in private memory"
#endif

/* Met rows whose products are summed one by one. */
#define PART_ROWS (BLOCK_MET % GRAD_BLOCK == 0 ? GRAD_BLOCK : BLOCK_MET)
/* float4s of a work-item's sums in one strip. */
#define SUMS (ROWS * COLS)

/*
 * Sums of a gradient over met rows have levels (grad.cl).  Those of a block are in registers, those
 * of a segment in `near` where SUMS_RESIDENT is 1, else in `segment`, those of all segments before
 * in `total`.  Both are volatile so that they stay in private memory: a compiler would otherwise
 * use registers for them.
 */
#define SEGMENT_SUMS(strips) (SUMS_RESIDENT ? 1 : (strips)*SUMS)
#define TOTAL_SUMS(strips) (SEGMENT ? (strips)*SUMS : 1)

INLINE void grads_begin(float4 near[][ROWS][COLS], volatile float4 *segment, volatile float4 *total,
                        const int strips) {
    UNROLL
    for (int z = 0; z < (SUMS_RESIDENT ? strips : 0); z++) {
        UNROLL
        for (int i = 0; i < SUMS; i++) {
            near[z][i / COLS][i % COLS] = (float4)(0.0f);
        }
    }
    ROLL
    for (int i = 0; i < (SUMS_RESIDENT ? 0 : strips * SUMS); i++) {
        segment[i] = (float4)(0.0f);
    }
    ROLL
    for (int i = 0; i < (SEGMENT ? strips * SUMS : 0); i++) {
        total[i] = (float4)(0.0f);
    }
}

/* The segment's sums go to those of the segments before. */
INLINE void grads_close(float4 near[][ROWS][COLS], volatile float4 *segment, volatile float4 *total,
                        const int strips) {
    UNROLL
    for (int z = 0; z < (SUMS_RESIDENT ? strips : 0); z++) {
        UNROLL
        for (int i = 0; i < SUMS; i++) {
            total[z * SUMS + i] += near[z][i / COLS][i % COLS];
            near[z][i / COLS][i % COLS] = (float4)(0.0f);
        }
    }
    ROLL
    for (int i = 0; i < (SUMS_RESIDENT ? 0 : strips * SUMS); i++) {
        total[i] += segment[i];
        segment[i] = (float4)(0.0f);
    }
}

/* The finished sums i of strip z; with segments, after grads_close. */
INLINE float4 grads_sum(float4 near[][ROWS][COLS], volatile float4 *segment, volatile float4 *total,
                        const int z, const int i) {
    return SEGMENT         ? total[z * SUMS + i]
           : SUMS_RESIDENT ? near[z][i / COLS][i % COLS]
                           : segment[z * SUMS + i];
}

/* The products of a block of weights and strip z of the met rows, added to the segment's sums. */
INLINE void grads_add(float4 near[ROWS][COLS], volatile float4 *segment,
                      __local const float *weights, __local const float *x) {
    for (int begin = 0; begin < BLOCK_MET; begin += PART_ROWS) {
        float4 part[ROWS][COLS];
        UNROLL
        for (int i = 0; i < SUMS; i++) {
            part[i / COLS][i % COLS] = (float4)(0.0f);
        }
        UNROLL_TIMES(STEP_UNROLL)
        for (int row = begin; row < begin + PART_ROWS; row += 4) {
            tile_accumulate_four(part, weights + row, x + row * TILE_ROW);
        }
        UNROLL
        for (int i = 0; i < SUMS; i++) {
            if (SUMS_RESIDENT) {
                near[i / COLS][i % COLS] += part[i / COLS][i % COLS];
            } else {
                segment[i] += part[i / COLS][i % COLS];
            }
        }
    }
}

/*
 * s += A B^T over a strip: a is what is owned, b what is met.
 *
 * The loops of tile_scores, to and fro, with their places changed: here the elements of what is
 * owned wait in registers, and in half of these rows the elements of each pair have changed places.
 * What is met is then stored as it is.  In grads_add its elements meet sums of the same column, and
 * so always lie in the same bank, the sums in the other one; with swapped rows they would not.
 */
INLINE void grads_scores(float s[ROWS][KEYS], __local const float *a, __local const float *b) {
    UNROLL_TIMES(STEP_UNROLL)
    for (int d = 0; d < BLOCK_D; d += 4) {
        float4 a4[ROWS];
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            a4[i] = vload4(0, a + i * THREADS_OWN * TILE_ROW + d);
            a4[i] = i % 2 ? a4[i].yxwz : a4[i];
        }
        UNROLL
        for (int j = 0; j < KEYS; j++) {
            const float4 b4 = vload4(0, b + j * THREADS_MET * TILE_ROW + d);
            UNROLL
            for (int i = 0; i < ROWS; i++) {
                s[i][j] = fma(b4.x, a4[i].x, s[i][j]);
            }
            UNROLL
            for (int i = ROWS - 1; i >= 0; i--) {
                s[i][j] = fma(b4.y, a4[i].y, s[i][j]);
            }
            UNROLL
            for (int i = 0; i < ROWS; i++) {
                s[i][j] = fma(b4.z, a4[i].z, s[i][j]);
            }
            UNROLL
            for (int i = ROWS - 1; i >= 0; i--) {
                s[i][j] = fma(b4.w, a4[i].w, s[i][j]);
            }
        }
    }
}

/* grad_clean of the tile of the rows that are met, whose contents all work-items know then. */
INLINE void grads_clean(__local float *tile) {
    for (int i = (int)get_local_id(0); i < BLOCK_MET * TILE_ROW; i += THREADS) {
        tile[i] = grad_clean(tile[i]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

INLINE void grads_zero(float s[ROWS][KEYS]) {
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        UNROLL
        for (int j = 0; j < KEYS; j++) {
            s[i][j] = 0.0f;
        }
    }
}

/* The lse (to base 2) and delta of the queries first ... first + rows - 1, past `last` the last
 * one's again.  Both are the slice's. */
INLINE void grads_load_rows(__local float *tile_lse, __local float *tile_delta,
                            __global const float *lse, long stride, __global const float *delta,
                            int first, int last, const int rows) {
    for (int i = (int)get_local_id(0); i < rows; i += THREADS) {
        const int row = min(first + i, last);
        tile_lse[i] = grad_reference(lse[row * stride]);
        tile_delta[i] = delta[row];
    }
}

/* Stores the sums of a work-item's rows, from `first` on every THREADS_OWN-th one up to `last`, at
 * the columns of work-item `met`.  to: the slice's. */
INLINE void grads_store(__global void *to, const int type, const int dim, long stride, int first,
                        int last, int met, float scale, float4 near[][ROWS][COLS],
                        volatile float4 *segment, volatile float4 *total) {
    const int bytes = 4 * (type == F32 ? 4 : 2);
    UNROLL
    for (int z = 0; z < (dim + BLOCK_D - 1) / BLOCK_D; z++) {
        UNROLL
        for (int i = 0; i < SUMS; i++) {
            const int row = first + THREADS_OWN * (i / COLS);
            const int d = z * BLOCK_D + (met + THREADS_MET * (i % COLS)) * 4;
            if (row <= last) {
                __global void *at = (__global void *)storage_at(to, row * stride + d, type);
                tile_store(at, type, dim, grads_sum(near, segment, total, z, i) * scale, dim - d,
                           ((uint)(size_t)at & (bytes - 1)) == 0);
            }
        }
    }
}
