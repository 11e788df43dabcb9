/*
 * mma_grads - backward on matrix engines: what bwd_mma_q and bwd_mma_kv share.
 *
 * A wave's own rows meet blocks of BLOCK_N other rows (mma.cl).  Of each pair a lane holds s, which
 * goes from q.k to P, and d, which goes from d_o.v to dS (grad.cl).  Own rows are queries for d_q,
 * keys for d_k and d_v; the lane of a pair's P and dS then holds what the next product takes as its
 * left operand (engine_weights), without a way through local memory.
 */
#ifndef STAGES
#error \
    "STAGES: blocks of the rows that go past, in local memory: one is loaded while another is used"
#endif

#define ROWS (WAVES * ROW_FRAGMENTS * ENGINE_QUERIES) /* own rows of a work-group */
#define STRIDE (WIDTH + ENGINE_PAD)
#define STRIDE_V (WIDTH_V + ENGINE_PAD)
#define COLS (WIDTH / 16)
#define COLS_V (WIDTH_V / 16)
#define SCALED (TYPE == F16) /* do dS need units? */

/* Other rows that one work-item reads numbers of. */
#define GRADS_NUMBERS ((BLOCK_N + THREADS - 1) / THREADS)

typedef float grads_block[ROW_FRAGMENTS][KEYS][ENGINE_SPLIT][ENGINE_ACC];
typedef float grads_columns[ENGINE_SPLIT][ENGINE_ACC]; /* 16 columns of a fragment's sums */

INLINE void grads_begin(grads_columns *sum, const int cols) {
    ENGINE_UNROLL
    for (int c = 0; c < ROW_FRAGMENTS * cols * ENGINE_SPLIT; c++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            sum[c / ENGINE_SPLIT][c % ENGINE_SPLIT][e] = 0.0f;
        }
    }
}

/* For a program without d_k: what is computed from d reaches nothing. */
INLINE void grads_clear(grads_block d) {
    ENGINE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * ENGINE_SPLIT; n++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            d[n / ENGINE_SPLIT / KEYS][n / ENGINE_SPLIT % KEYS][n % ENGINE_SPLIT][e] = 0.0f;
        }
    }
}

/* Takes out the pairs of a block that do not see one another.  Are the wave's own rows keys (a
 * literal)?  own: its first row, counted from the work-group's first row; within: span_within of
 * the block's first query and key; others: how many of the other rows there are. */
INLINE void grads_hide(grads_block s, grads_block d, int3 within, int own, int others,
                       const int own_are_keys, struct engine_wave w) {
    ENGINE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            const int row = own + a * ENGINE_QUERIES + engine_acc_query(w.lane, e);
            /* The row sees the others begin ... end - 1, counted from the other of this lane's
             * element in the first fragment: in the next ones it is a constant further on. */
            const int first = own_are_keys ? row - within.y : row + within.x;
            const int after = (own_are_keys ? row - within.x : row + within.y) + 1;
            const int begin = MASKED ? first - engine_acc_other(w.lane, e) : 0;
            const int end = (MASKED ? min(after, others) : others) - engine_acc_other(w.lane, e);
            ENGINE_UNROLL
            for (int n = 0; n < KEYS * ENGINE_SPLIT; n++) {
                if ((MASKED && n * ENGINE_OTHERS < begin) || n * ENGINE_OTHERS >= end) {
                    s[a][n / ENGINE_SPLIT][n % ENGINE_SPLIT][e] = -INFINITY;
                    d[a][n / ENGINE_SPLIT][n % ENGINE_SPLIT][e] = 0.0f;
                }
            }
        }
    }
}

INLINE void grads_finish(grads_block s, grads_block d) {
    ENGINE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * ENGINE_SPLIT; n++) {
        const int a = n / ENGINE_SPLIT / KEYS, k = n / ENGINE_SPLIT % KEYS, f = n % ENGINE_SPLIT;
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            grad_finish(&s[a][k][f][e], &d[a][k][f][e]);
        }
    }
}

/* Lowers the units of rows in which dS of this block would leave F16's range; rescale is what the
 * sums so far are to be multiplied by.  Any of them, in this lane? */
INLINE int grads_lower(float unit[ROW_FRAGMENTS][ENGINE_SLOTS],
                       float rescale[ROW_FRAGMENTS][ENGINE_SLOTS], grads_block d,
                       struct engine_wave w) {
    int lowered = 0;
    ENGINE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        float most[ENGINE_SLOTS];
        ENGINE_UNROLL
        for (int i = 0; i < ENGINE_SLOTS; i++) {
            most[i] = 0.0f;
        }
        ENGINE_UNROLL
        for (int n = 0; n < KEYS * ENGINE_SPLIT; n++) {
            ENGINE_UNROLL
            for (int e = 0; e < ENGINE_ACC; e++) {
                const int slot = engine_acc_slot(e);
                most[slot] = fmax(most[slot], fabs(d[a][n / ENGINE_SPLIT][n % ENGINE_SPLIT][e]));
            }
        }
        ENGINE_UNROLL
        for (int i = 0; i < ENGINE_SLOTS; i++) {
            const float whole = engine_max(most[i], w), old = unit[a][i];
            const int exceeds = grad_exceeds(whole, old);
            unit[a][i] = exceeds ? grad_unit(whole) : old;
            rescale[a][i] = unit[a][i] * grad_unit_inverse(old);
            lowered |= exceeds;
        }
    }
    return lowered;
}

INLINE void grads_rescale(grads_columns *sum, const int cols,
                          float rescale[ROW_FRAGMENTS][ENGINE_SLOTS]) {
    ENGINE_UNROLL
    for (int c = 0; c < ROW_FRAGMENTS * cols * ENGINE_SPLIT; c++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            sum[c / ENGINE_SPLIT][c % ENGINE_SPLIT][e] *=
                rescale[c / ENGINE_SPLIT / cols][engine_acc_slot(e)];
        }
    }
}

/* dS of this block, in their rows' units; the sums so far follow. */
INLINE void grads_scale(grads_columns *sum, const int cols, float unit[ROW_FRAGMENTS][ENGINE_SLOTS],
                        grads_block d, struct engine_wave w) {
    float rescale[ROW_FRAGMENTS][ENGINE_SLOTS];
    if (grads_lower(unit, rescale, d, w)) {
        grads_rescale(sum, cols, rescale);
    }
    ENGINE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * ENGINE_SPLIT; n++) {
        const int a = n / ENGINE_SPLIT / KEYS, k = n / ENGINE_SPLIT % KEYS, f = n % ENGINE_SPLIT;
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            d[a][k][f][e] *= unit[a][engine_acc_slot(e)];
        }
    }
}

/* P in units in which F16 rounds them well. */
INLINE void grads_scale_weights(grads_block s) {
    ENGINE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * ENGINE_SPLIT; n++) {
        const int a = n / ENGINE_SPLIT / KEYS, k = n / ENGINE_SPLIT % KEYS, f = n % ENGINE_SPLIT;
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            s[a][k][f][e] *= GRAD_WEIGHT_UNIT;
        }
    }
}

/* sum += what a block's pairs weigh, times its other rows. */
INLINE void grads_add(grads_columns *sum, const int cols, grads_block weights,
                      __local const element *tile, const int stride, struct engine_wave w) {
    const int middle = ENGINE_HALVES ? cols / 2 : cols;
    ENGINE_UNROLL
    for (int n = 0; n < KEYS; n++) {
        uint left[ROW_FRAGMENTS][ENGINE_LEFT / 2];
        ENGINE_UNROLL
        for (int a = 0; a < ROW_FRAGMENTS; a++) {
            engine_weights(left[a], weights[a][n], w);
        }
        mma_columns(sum, cols, left, tile + n * 16 * stride, stride, 0, middle, w);
        mma_columns(sum, cols, left, tile + n * 16 * stride, stride, middle, cols, w);
    }
}

/* 1 / unit of each row where sums have units, else 1. */
INLINE void grads_undo(float factor[ROW_FRAGMENTS][ENGINE_SLOTS],
                       float unit[ROW_FRAGMENTS][ENGINE_SLOTS], const int scaled) {
    ENGINE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * ENGINE_SLOTS; i++) {
        float *to = &factor[i / ENGINE_SLOTS][i % ENGINE_SLOTS];
        *to = scaled ? grad_unit_inverse(unit[i / ENGINE_SLOTS][i % ENGINE_SLOTS]) : 1.0f;
    }
}

/* A segment's end (state.cl): its sums times factor join those of the segments before, which wait
 * in private memory; volatile, or a compiler would want registers for them.  Afterwards sum is the
 * total where `back` (a literal), else 0. */
INLINE void grads_close(volatile float *total, grads_columns *sum, const int cols,
                        float factor[ROW_FRAGMENTS][ENGINE_SLOTS], const int back) {
    ENGINE_UNROLL
    for (int c = 0; c < ROW_FRAGMENTS * cols * ENGINE_SPLIT; c++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            float *one = &sum[c / ENGINE_SPLIT][c % ENGINE_SPLIT][e];
            const float whole = fma(*one, factor[c / ENGINE_SPLIT / cols][engine_acc_slot(e)],
                                    total[c * ENGINE_ACC + e]);
            total[c * ENGINE_ACC + e] = whole;
            *one = back ? whole : 0.0f;
        }
    }
}

/* Stores columns first * 16 ... end * 16 - 1 of the wave's rows. */
INLINE void grads_store_columns(__global void *out, const int type, long stride, int rows,
                                const int dim, grads_columns *sum, const int cols,
                                float factor[ROW_FRAGMENTS][ENGINE_SLOTS], float scale,
                                const int first, const int end, struct engine_wave w) {
    ENGINE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        ENGINE_UNROLL
        for (int c = first * ENGINE_SPLIT; c < end * ENGINE_SPLIT; c++) {
            ENGINE_UNROLL
            for (int e = 0; e < ENGINE_ACC; e++) {
                const int row = a * ENGINE_QUERIES + engine_acc_query(w.lane, e);
                const int col = c * ENGINE_OTHERS + engine_acc_other(w.lane, e);
                const float one = sum[a * cols + c / ENGINE_SPLIT][c % ENGINE_SPLIT][e];
                if (row < rows && col < dim) {
                    store((__global void *)storage_at(out, row * stride + col, type),
                          one * factor[a][engine_acc_slot(e)] * scale, type);
                }
            }
        }
    }
}

/* Stores the wave's rows, of which there are `rows`, and which begin at `out`: sum * factor *
 * scale. */
INLINE void grads_store(__global void *out, const int type, long stride, int rows, const int dim,
                        grads_columns *sum, const int cols,
                        float factor[ROW_FRAGMENTS][ENGINE_SLOTS], float scale,
                        struct engine_wave w) {
    const int middle = ENGINE_HALVES ? cols / 2 : cols;
    grads_store_columns(out, type, stride, rows, dim, sum, cols, factor, scale, 0, middle, w);
    grads_store_columns(out, type, stride, rows, dim, sum, cols, factor, scale, middle, cols, w);
}
