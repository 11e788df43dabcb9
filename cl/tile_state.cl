/*
 * tile_state - what fwd_tile alone does with its tiles: sums shared by the halves of a work-group,
 * NaN and Inf of V (finite.cl), sums of a block rescaled, sums of a segment.
 */
#ifndef PASS
#error "PASS: 0 whole; 1 only m and l of each row, to workspace; 2 only O, with them"
#endif

/* Is a NaN or an Inf in the fetched chunks of V? */
INLINE int tile_is_odd(const chunk *chunks) {
    uint4 most = (uint4)(0u);
    UNROLL
    for (int i = 0; i < CHUNKS(BLOCK_N); i++) {
        most = max(most, as_uint4(chunk_floats(chunks[i], TYPE_V)) & 0x7fffffffu);
    }
    return !finite_float(as_float(max(max(most.x, most.y), max(most.z, most.w))));
}

/* Replaces NaN and Inf by 0 in the chunks of BLOCK_N rows that this work-item has put. */
INLINE void tile_clean(__local float *tile) {
    ROLL
    for (int i = 0; i < CHUNKS(BLOCK_N); i++) {
        int row, d;
        if (tile_chunk(i, BLOCK_N, &row, &d)) {
            ROLL
            for (int j = 0; j < 4; j++) {
                __local float *one = tile + row * TILE_ROW + d + j;
                *one = finite_float(*one) ? *one : 0.0f;
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
