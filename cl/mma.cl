/*
 * mma - products of tiles in local memory by a matrix engine: what fwd_mma and bwd_mma share.
 *
 * A wave has ROW_FRAGMENTS fragments of ENGINE_QUERIES rows, its own; they meet BLOCK_N other rows,
 * which all waves of the work-group share.  In forward, and where backward computes d_q, the wave's
 * rows are queries and the others keys; where backward computes d_k and d_v it is the other way
 * round, and what engine.cl calls a query is a key.
 *
 *     mma_products      s[row][other]  = sum over the elements of a row of own[row] * other[other]
 *     mma_add_products  s[row][other] += the same
 *     mma_columns       o[row][column] += sum over 16 others of weight[row][other] * other[column]
 */
#ifndef BLOCK_N
#error "BLOCK_N: keys per block; a multiple of 16"
#endif
#ifndef ROW_FRAGMENTS
#error "ROW_FRAGMENTS: fragments of query rows per wave"
#endif

#define WIDTH ((HEAD_DIM + 15) / 16 * 16)
#define WIDTH_V ((HEAD_DIM_V + 15) / 16 * 16)
#define KEYS (BLOCK_N / 16)

/* The numbers of this work-item's lane and wave, for code that seldom runs.  The macros compute
 * them anew at each use, so that no register holds them through the loop over the keys.  The kernel
 * computes the lane and the wave of the loop in signed arithmetic, the macros use unsigned
 * arithmetic: from two equal expressions a compiler would make one value and keep it in a
 * register. */
#define MMA_LANE ((int)((uint)get_local_id(0) % ENGINE_LANES))
#define MMA_WAVE ((int)((uint)get_local_id(0) / ENGINE_LANES))

/* own: the first of the wave's rows; rows of the tiles are own_stride and stride elements apart,
 * and 16 * depths elements long. */
INLINE void mma_add_products(float s[ROW_FRAGMENTS][KEYS][ENGINE_SPLIT][ENGINE_ACC],
                             __local const element *own, const int own_stride,
                             __local const element *tile, const int stride, const int depths,
                             struct engine_wave w) {
    ENGINE_UNROLL
    for (int k = 0; k < depths; k++) {
        uint left[ROW_FRAGMENTS][ENGINE_LEFT / 2];
        ENGINE_UNROLL
        for (int a = 0; a < ROW_FRAGMENTS; a++) {
            engine_load_left(left[a], own + a * ENGINE_QUERIES * own_stride + k * 16, own_stride,
                             w.lane);
        }
        ENGINE_UNROLL
        for (int n = 0; n < KEYS; n++) {
            uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2];
            engine_load_rows(right, tile + n * 16 * stride + k * 16, stride, w.lane);
            ENGINE_UNROLL
            for (int a = 0; a < ROW_FRAGMENTS; a++) {
                ENGINE_UNROLL
                for (int f = 0; f < ENGINE_SPLIT; f++) {
                    engine_multiply(s[a][n][f], left[a], right[f], w);
                }
            }
        }
    }
    ENGINE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * ENGINE_SPLIT; n++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            ENGINE_SETTLE(s[n / ENGINE_SPLIT / KEYS][n / ENGINE_SPLIT % KEYS][n % ENGINE_SPLIT][e]);
        }
    }
}

INLINE void mma_products(float s[ROW_FRAGMENTS][KEYS][ENGINE_SPLIT][ENGINE_ACC],
                         __local const element *own, const int own_stride,
                         __local const element *tile, const int stride, const int depths,
                         struct engine_wave w) {
    ENGINE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        ENGINE_UNROLL
        for (int n = 0; n < KEYS; n++) {
            ENGINE_UNROLL
            for (int f = 0; f < ENGINE_SPLIT; f++) {
                ENGINE_UNROLL
                for (int e = 0; e < ENGINE_ACC; e++) {
                    s[a][n][f][e] = 0.0f;
                }
            }
        }
    }
    mma_add_products(s, own, own_stride, tile, stride, depths, w);
}

/* Of o, whose rows have 16 * cols columns, columns first * 16 ... end * 16 - 1.  left: the weights
 * of 16 others, which begin at `others`. */
INLINE void mma_columns(float (*o)[ENGINE_SPLIT][ENGINE_ACC], const int cols,
                        uint left[ROW_FRAGMENTS][ENGINE_LEFT / 2], __local const element *others,
                        const int stride, const int first, const int end, struct engine_wave w) {
    ENGINE_UNROLL
    for (int c = first; c < end; c++) {
        uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2];
        engine_load_columns(right, others + c * 16, stride, w.lane);
        ENGINE_UNROLL
        for (int a = 0; a < ROW_FRAGMENTS; a++) {
            ENGINE_UNROLL
            for (int f = 0; f < ENGINE_SPLIT; f++) {
                engine_multiply(o[a * cols + c][f], left[a], right[f], w);
            }
        }
    }
}
