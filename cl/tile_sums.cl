/*
 * tile_sums - the products of fwd_tile, on tiles in local memory: scores, weighted sums of V, and
 * what becomes of a segment's sums.
 *
 * Which rows and columns a work-item owns is drawn in fwd_tile.cl.
 */
#ifndef STEP_UNROLL
#error "STEP_UNROLL: steps of four elements that the loops of the products take at a time"
#endif
#ifndef PASS
#error "PASS: 0 whole; 1 only m and l of each row, to workspace; 2 only O, with them"
#endif

#define THREADS_O (THREADS_N * THREADS_D) /* along columns of O */
#define ROWS (BLOCK_M / THREADS_M)
#define OWN (ROWS / THREADS_D)
#define KEYS (BLOCK_N / THREADS_N)
#define COLS (BLOCK_D / THREADS_O / 4)
#define STRIPS_V ((HEAD_DIM_V + BLOCK_D - 1) / BLOCK_D)
/* A row of tile_p is longer than its contents, by 4 floats, or by 8 where 8 work-items lie along
 * the keys: there 32 work-items, which run as one SIMD group, write to four rows at a time, 8
 * floats to each, and a difference of 8 floats puts the four rows into different banks of local
 * memory. */
#define P_ROW (BLOCK_N + (THREADS_N == 8 ? 8 : 4))

#define UNROLL_PRAGMA(text) _Pragma(#text)
#define UNROLL_TIMES(n) UNROLL_PRAGMA(unroll n)

/*
 * s += Q K^T over this work-item's part of a strip.  The rows i < OWN begin at q, the other rows at
 * rest.
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
            k4[j] = vload4(0, k + j * THREADS_N * TILE_ROW + d);
            k4[j] = j % 2 ? k4[j].yxwz : k4[j];
        }
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            const float4 q4 = vload4(0, (i < OWN ? q : rest) + i % OWN * THREADS_M * TILE_ROW + d);
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

/* Writes the sums of the rows that the other half of the work-group owns, for that half to read. */
INLINE void tile_send(__local float *exchange, float s[ROWS][KEYS]) {
    UNROLL
    for (int i = OWN; i < ROWS; i++) {
        UNROLL
        for (int j = 0; j < KEYS / 4 * 4; j += 4) {
            vstore4((float4)(s[i][j], s[i][j + 1], s[i][j + 2], s[i][j + 3]),
                    ((i - OWN) * (KEYS / 4) + j / 4) * THREADS + (int)get_local_id(0), exchange);
        }
    }
}

INLINE void tile_receive(float s[ROWS][KEYS], __local const float *exchange) {
    const int other = ((int)get_local_id(0) + THREADS / THREADS_D) % THREADS;
    UNROLL
    for (int i = 0; i < OWN; i++) {
        UNROLL
        for (int j = 0; j < KEYS / 4 * 4; j += 4) {
            const float4 more = vload4((i * (KEYS / 4) + j / 4) * THREADS + other, exchange);
            s[i][j] += more.x;
            s[i][j + 1] += more.y;
            s[i][j + 2] += more.z;
            s[i][j + 3] += more.w;
        }
    }
}

/* o += P V over four keys. */
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
        const float4 w4 = vload4(0, weights + i * THREADS_M * P_ROW);
        UNROLL
        for (int c = 0; c < COLS; c++) {
            o[i][c] = fma((float4)(w4.x), v4[0][c], o[i][c]);
            o[i][c] = fma((float4)(w4.y), v4[1][c], o[i][c]);
            o[i][c] = fma((float4)(w4.z), v4[2][c], o[i][c]);
            o[i][c] = fma((float4)(w4.w), v4[3][c], o[i][c]);
        }
    }
}

/* o = o * rescale + P V over one strip.  The block has sums of its own, in the registers that the
 * scores leave. */
INLINE void tile_accumulate(float4 o[ROWS][COLS], __local const float *rescale,
                            __local const float *weights, __local const float *v) {
    float4 part[ROWS][COLS];
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        UNROLL
        for (int c = 0; c < COLS; c++) {
            part[i][c] = (float4)(0.0f);
        }
    }
    UNROLL_TIMES(STEP_UNROLL)
    for (int key = 0; key < BLOCK_N; key += 4) {
        tile_accumulate_four(part, weights + key, v + key * TILE_ROW);
    }
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const float4 factor = (float4)(rescale[THREADS_M * i]);
        UNROLL
        for (int c = 0; c < COLS; c++) {
            o[i][c] = fma(o[i][c], factor, part[i][c]);
        }
    }
}

/*
 * The sums of each row over the segments before this one.  They are volatile so that they stay in
 * private memory: a compiler would otherwise use registers for them.
 */
struct tile_totals {
    volatile float4 o[STRIPS_V * ROWS * COLS];
    volatile float m[OWN], l[OWN];
};

INLINE void tile_totals_begin(struct tile_totals *t) {
    ROLL
    for (int i = 0; i < STRIPS_V * ROWS * COLS; i++) {
        t->o[i] = (float4)(0.0f);
    }
    ROLL
    for (int i = 0; i < OWN; i++) {
        t->m[i] = -INFINITY;
        t->l[i] = 0.0f;
    }
}

/*
 * Adds the segment's sums to the row's.  Afterwards o and l are the row's where `back` (a literal),
 * else 0.  `own` is tile_r from this work-item's first row of S on where the work-item writes
 * there, else NULL; `of_o` is tile_r from its first row of O on.
 */
INLINE void tile_total(struct tile_totals *t, float4 o[STRIPS_V][ROWS][COLS], const float m[OWN],
                       float l[OWN], __local float *own, __local const float *of_o,
                       const int back) {
    barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with the last factors */
    UNROLL
    for (int i = 0; i < OWN; i++) {
        float m_row = t->m[i], sum = t->l[i];
        const float factor = state_join(&m_row, &sum, m[i], l[i]);
        t->m[i] = m_row;
        t->l[i] = sum;
        l[i] = back ? sum : 0.0f;
        if (own) {
            own[THREADS_M * i] = factor;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int z = 0; z < (PASS == 1 ? 0 : STRIPS_V); z++) {
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            const float4 factor = (float4)(of_o[THREADS_M * i]);
            UNROLL
            for (int c = 0; c < COLS; c++) {
                volatile float4 *one = &t->o[(z * ROWS + i) * COLS + c];
                const float4 sum = fma(*one, factor, o[z][i][c]);
                *one = sum;
                o[z][i][c] = back ? sum : (float4)(0.0f);
            }
        }
    }
}
