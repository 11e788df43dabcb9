/*
 * tile_sums - the products of fwd_tile and bwd_tile, on tiles in local memory: scores, and weighted
 * sums of rows that are met.
 *
 * Which rows and columns a work-item owns is drawn in fwd_tile.cl.
 */
#ifndef STEP_UNROLL
#error "STEP_UNROLL: steps of four elements that the loops of the products take at a time"
#endif

#define STRIPS ((HEAD_DIM + BLOCK_D - 1) / BLOCK_D)
#define STRIPS_V ((HEAD_DIM_V + BLOCK_D - 1) / BLOCK_D)
/* A work-item's part of a block of scores, and of a strip of sums. */
#define ROWS (BLOCK_OWN / THREADS_OWN)
#define OWN (ROWS / THREADS_D)
#define KEYS (BLOCK_MET / THREADS_MET)
#define THREADS_O (THREADS_MET * THREADS_D) /* along columns of sums */
#define COLS (BLOCK_D / THREADS_O / 4)
/* A row of tile_p is longer than its contents, by 4 floats, or by 8 where 8 work-items lie along
 * it: there 32 work-items, which run as one SIMD group, write to four rows at a time, 8
 * floats to each, and a difference of 8 floats puts the four rows into different banks of local
 * memory. */
#define P_ROW (BLOCK_MET + (THREADS_MET == 8 ? 8 : 4))

#define UNROLL_PRAGMA(text) _Pragma(#text)
#define UNROLL_TIMES(n) UNROLL_PRAGMA(unroll n)

/*
 * s += Q K^T over this work-item's part of a strip, where q is what is owned and k what is met. The
 * rows i < OWN begin at q, the other rows at rest.
 *
 * The order of the multiply-adds and the swapped pairs of K suit GPUs whose register file has two
 * banks and gives one operand from each in a clock.  A multiply-add has three operands, and runs at
 * full speed if one of them is the operand that the multiply-add before had in the same place (here
 * q's element), and the other two (k's element and the sum) lie in different banks.  The bank of
 * k's register depends on the place that the element had in the float4 that was read.  For half of
 * the keys tile_put therefore swaps the elements of each pair: the elements of k then come from
 * both banks equally often.
 *
 * (H200, 2026-11-21: multiply-adds on registers alone reach 36 to 56 of 65 TFLOP/s, depending on
 * their order; these loops are no faster when all reads of local memory are left out.)
 */
INLINE void tile_scores(float s[ROWS][KEYS], __local const float *q, __local const float *rest,
                        __local const float *k) {
    UNROLL_TIMES(STEP_UNROLL)
    for (int d = 0; d < BLOCK_D / THREADS_D; d += 4) {
        float4 k4[KEYS];
        UNROLL
        for (int j = 0; j < KEYS; j++) {
            k4[j] = vload4(0, k + j * THREADS_MET * TILE_ROW + d);
            k4[j] = j % 2 ? k4[j].yxwz : k4[j];
        }
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            const float4 q4 =
                vload4(0, (i < OWN ? q : rest) + i % OWN * THREADS_OWN * TILE_ROW + d);
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                s[i][j] = fma(q4.x, k4[j].x, s[i][j]);
            }
            UNROLL
            for (int j = KEYS - 1; j >= 0; j--) {
                s[i][j] = fma(q4.y, k4[j].y, s[i][j]);
            }
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                s[i][j] = fma(q4.z, k4[j].z, s[i][j]);
            }
            UNROLL
            for (int j = KEYS - 1; j >= 0; j--) {
                s[i][j] = fma(q4.w, k4[j].w, s[i][j]);
            }
        }
    }
}

/* o += P V over four rows of V. */
INLINE void tile_accumulate_four(float4 o[ROWS][COLS], __local const float *weights,
                                 __local const float *v) {
    float4 v4[4][COLS];
    UNROLL
    for (int j = 0; j < 4; j++) {
        UNROLL
        for (int c = 0; c < COLS; c++) {
            v4[j][c] = vload4(0, v + j * TILE_ROW + c * THREADS_O * 4);
        }
    }
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const float4 w4 = vload4(0, weights + i * THREADS_OWN * P_ROW);
        UNROLL
        for (int c = 0; c < COLS; c++) {
            o[i][c] = fma((float4)(w4.x), v4[0][c], o[i][c]);
            o[i][c] = fma((float4)(w4.y), v4[1][c], o[i][c]);
            o[i][c] = fma((float4)(w4.z), v4[2][c], o[i][c]);
            o[i][c] = fma((float4)(w4.w), v4[3][c], o[i][c]);
        }
    }
}
