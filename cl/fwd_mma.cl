/*
 * fwd_mma - for matrix engines: the tiled loop over the tile contract (tile.cl).
 *
 * A work-group of WAVES waves answers BLOCK_M = WAVES * ROW_FRAGMENTS * TILE_QUERIES rows, over
 * blocks of BLOCK_N keys.  Wave w owns ROW_FRAGMENTS fragments of TILE_QUERIES rows, and of them
 * everything: scores, weights, sums; waves share only the tiles of K and V.
 *
 *     tile_q[BLOCK_M][max(WIDTH, WIDTH_V) + TILE_PAD]    elements; at the end O on its way out
 *     tile_k[BLOCK_N][WIDTH + TILE_PAD]
 *     tile_v[BLOCK_N][WIDTH_V + TILE_PAD]
 *
 * WIDTH is HEAD_DIM up to a multiple of 16, with zeros.  While a block is scored, its V is
 * copied; while it is weighed, the next K is.
 *
 * NaN and Inf in V: a hidden key has the weight 0, which they would survive inside the
 * engine.  Sums that are not finite in the end are the sign of it: then all is done once
 * more, carefully.  Boundary blocks, where keys are hidden, get zeros for them then, and what
 * the rows that see such a key lose by it is made good at the end.  A NaN that comes by right
 * costs its work-group that second pass, too.
 *
 * Large scores: a row whose reference is far from 0 (state.cl) has its reference subtracted from
 * the scores first (mma_level).  Rows longer than a segment: the row's sums wait in private memory
 * (mma_totals).
 *
 * Grid: dimension 0 runs over blocks of rows (the longest first where a band can shorten
 * them), then heads, then batch.
 */
#ifndef BLOCK_N
#error "BLOCK_N: keys per block; a multiple of 16"
#endif
#ifndef ROW_FRAGMENTS
#error "ROW_FRAGMENTS: fragments of query rows per wave"
#endif
#ifndef Q_REGISTERS
#error "Q_REGISTERS: 1 keeps the fragments of Q in registers, 0 loads them for each block"
#endif

#define BLOCK_M (WAVES * ROW_FRAGMENTS * TILE_QUERIES)
#define WIDTH ((HEAD_DIM + 15) / 16 * 16)
#define WIDTH_V ((HEAD_DIM_V + 15) / 16 * 16)
#define WIDTH_Q (WIDTH > WIDTH_V ? WIDTH : WIDTH_V)
#define DEPTHS (WIDTH / 16)
#define DEPTHS_KEPT (Q_REGISTERS ? DEPTHS : 1)
#define KEYS (BLOCK_N / 16)
#define COLS (WIDTH_V / 16)
#define COLS_FIRST (TILE_HALVES ? COLS / 2 : COLS)

/* s = Q K^T of one block of keys. */
INLINE void mma_scores(float s[ROW_FRAGMENTS][KEYS][TILE_SPLIT][TILE_ACC],
                       uint fragments[ROW_FRAGMENTS][DEPTHS_KEPT][TILE_LEFT / 2],
                       __local const element *tile_q, __local const element *tile_k,
                       struct tile_wave w) {
    TILE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        TILE_UNROLL
        for (int n = 0; n < KEYS; n++) {
            TILE_UNROLL
            for (int f = 0; f < TILE_SPLIT; f++) {
                TILE_UNROLL
                for (int e = 0; e < TILE_ACC; e++) {
                    s[a][n][f][e] = 0.0f;
                }
            }
        }
    }
    TILE_UNROLL
    for (int k = 0; k < DEPTHS; k++) {
        TILE_UNROLL
        for (int a = 0; a < ROW_FRAGMENTS; a++) {
            if (!Q_REGISTERS) {
                tile_load_left(fragments[a][0],
                               tile_q + a * TILE_QUERIES * (WIDTH_Q + TILE_PAD) + k * 16,
                               WIDTH_Q + TILE_PAD, w.lane);
            }
        }
        TILE_UNROLL
        for (int n = 0; n < KEYS; n++) {
            uint right[TILE_SPLIT][TILE_RIGHT / 2];
            tile_load_rows(right, tile_k + n * 16 * (WIDTH + TILE_PAD) + k * 16, WIDTH + TILE_PAD,
                           w.lane);
            TILE_UNROLL
            for (int a = 0; a < ROW_FRAGMENTS; a++) {
                TILE_UNROLL
                for (int f = 0; f < TILE_SPLIT; f++) {
                    tile_multiply(s[a][n][f], fragments[a][Q_REGISTERS ? k : 0], right[f], w);
                }
            }
        }
    }
    TILE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * TILE_SPLIT; n++) {
        TILE_UNROLL
        for (int e = 0; e < TILE_ACC; e++) {
            TILE_SETTLE(s[n / TILE_SPLIT / KEYS][n / TILE_SPLIT % KEYS][n % TILE_SPLIT][e]);
        }
    }
}

INLINE void mma_cap(float s[ROW_FRAGMENTS][KEYS][TILE_SPLIT][TILE_ACC], const struct params *p) {
    TILE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * TILE_SPLIT; n++) {
        TILE_UNROLL
        for (int e = 0; e < TILE_ACC; e++) {
            float *one = &s[n / TILE_SPLIT / KEYS][n / TILE_SPLIT % KEYS][n % TILE_SPLIT][e];
            *one = score_of_product(p, *one);
        }
    }
}

/* The lane and the wave, for where they are seldom needed: computed anew, they keep no register
 * from the loop.  Unsigned, which the loop's own are not, or a compiler would see that they are
 * the same. */
#define MMA_LANE ((int)((uint)get_local_id(0) % TILE_LANES))
#define MMA_WAVE ((int)((uint)get_local_id(0) / TILE_LANES))

/* -INFINITY for keys that a row does not see, those before what it sees or those after: a causal
 * block has one kind.  band: span_first and span_last of a row, this wave's first is `rows`
 * after it. */
INLINE void mma_hide(float s[ROW_FRAGMENTS][KEYS][TILE_SPLIT][TILE_ACC], const struct params *p,
                     __local const long *band, int rows, int key0, const int after,
                     struct tile_wave w) {
    const int3 seen = span_within_band(p, band, rows, key0);
    TILE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        TILE_UNROLL
        for (int e = 0; e < TILE_ACC; e++) {
            const int r = a * TILE_QUERIES + tile_acc_query(w.lane, e);
            /* As seen from the first fragment's element: the others are constants away. */
            const int begin = seen.x + r - tile_acc_other(w.lane, e);
            const int end =
                (MASKED ? min(seen.y + r + 1, seen.z) : seen.z) - tile_acc_other(w.lane, e);
            TILE_UNROLL
            for (int n = 0; n < KEYS * TILE_SPLIT; n++) {
                if (after ? n * TILE_OTHERS >= end : n * TILE_OTHERS < begin) {
                    s[a][n / TILE_SPLIT][n % TILE_SPLIT][e] = -INFINITY;
                }
            }
        }
    }
}

/* m of one more block of scores, in units of `unit`; rescale is for what was summed before.  m
 * is in base-2 units, so that it rescales by exactly 1 as long as it stays. */
INLINE void mma_raise(float m[TILE_SLOTS], float rescale[TILE_SLOTS],
                      float s[KEYS][TILE_SPLIT][TILE_ACC], float unit, struct tile_wave w) {
    float most[TILE_SLOTS];
    TILE_UNROLL
    for (int i = 0; i < TILE_SLOTS; i++) {
        most[i] = -INFINITY;
    }
    TILE_UNROLL
    for (int n = 0; n < KEYS * TILE_SPLIT; n++) {
        TILE_UNROLL
        for (int e = 0; e < TILE_ACC; e++) {
            const int slot = tile_acc_slot(e);
            most[slot] = state_max(most[slot], s[n / TILE_SPLIT][n % TILE_SPLIT][e]);
        }
    }
    TILE_UNROLL
    for (int i = 0; i < TILE_SLOTS; i++) {
        most[i] = state_max(m[i], tile_max(most[i], w) * unit);
        rescale[i] = state_weight_in(m[i], 1.0f, state_reference(most[i]));
        m[i] = most[i];
    }
}

/* Is any row's reference far from 0? */
INLINE int mma_far(float reference[ROW_FRAGMENTS][TILE_SLOTS]) {
    int far = 0;
    TILE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * TILE_SLOTS; i++) {
        far |= state_is_far(reference[i / TILE_SLOTS][i % TILE_SLOTS]);
    }
    return far;
}

/* Subtracts from the scores of far rows their reference (state_level), and sets that reference to
 * 0. */
INLINE void mma_level(float s[ROW_FRAGMENTS][KEYS][TILE_SPLIT][TILE_ACC], float unit,
                      float reference[ROW_FRAGMENTS][TILE_SLOTS]) {
    TILE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        TILE_UNROLL
        for (int n = 0; n < KEYS * TILE_SPLIT; n++) {
            TILE_UNROLL
            for (int e = 0; e < TILE_ACC; e++) {
                float *one = &s[a][n / TILE_SPLIT][n % TILE_SPLIT][e];
                *one = state_level(*one, unit, reference[a][tile_acc_slot(e)]);
            }
        }
        TILE_UNROLL
        for (int i = 0; i < TILE_SLOTS; i++) {
            reference[a][i] = state_is_far(reference[a][i]) ? 0.0f : reference[a][i];
        }
    }
}

/* Scores of 16 keys to weights, and their sums to l. */
INLINE void mma_weigh(float s[TILE_SPLIT][TILE_ACC], float l[TILE_SLOTS],
                      const float reference[TILE_SLOTS], float unit) {
    TILE_UNROLL
    for (int f = 0; f < TILE_SPLIT; f++) {
        TILE_UNROLL
        for (int e = 0; e < TILE_ACC; e++) {
            const int slot = tile_acc_slot(e);
            s[f][e] = state_weight_in(s[f][e], unit, reference[slot]);
            l[slot] += s[f][e];
        }
    }
}

/* Does any row's maximum rise? */
INLINE int mma_rises(float rescale[ROW_FRAGMENTS][TILE_SLOTS]) {
    int rises = 0;
    TILE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * TILE_SLOTS; i++) {
        rises |= rescale[i / TILE_SLOTS][i % TILE_SLOTS] != 1.0f;
    }
    return rises;
}

/* o += P V of 16 keys and the columns first * 16 ... end * 16 - 1. */
INLINE void mma_columns(float o[ROW_FRAGMENTS][COLS][TILE_SPLIT][TILE_ACC],
                        uint left[ROW_FRAGMENTS][TILE_LEFT / 2], __local const element *rows,
                        const int first, const int end, struct tile_wave w) {
    TILE_UNROLL
    for (int c = first; c < end; c++) {
        uint right[TILE_SPLIT][TILE_RIGHT / 2];
        tile_load_columns(right, rows + c * 16, WIDTH_V + TILE_PAD, w.lane);
        TILE_UNROLL
        for (int a = 0; a < ROW_FRAGMENTS; a++) {
            TILE_UNROLL
            for (int f = 0; f < TILE_SPLIT; f++) {
                tile_multiply(o[a][c][f], left[a], right[f], w);
            }
        }
    }
}

/* o += P V of one block of keys, with the weights of the scores s. */
INLINE void mma_accumulate(float o[ROW_FRAGMENTS][COLS][TILE_SPLIT][TILE_ACC],
                           float l[ROW_FRAGMENTS][TILE_SLOTS],
                           float s[ROW_FRAGMENTS][KEYS][TILE_SPLIT][TILE_ACC],
                           float reference[ROW_FRAGMENTS][TILE_SLOTS], float unit,
                           __local const element *tile_v, struct tile_wave w) {
    float part[ROW_FRAGMENTS][TILE_SLOTS]; /* sums by blocks are more precise than by keys */
    TILE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * TILE_SLOTS; i++) {
        part[i / TILE_SLOTS][i % TILE_SLOTS] = 0.0f;
    }
    TILE_UNROLL
    for (int n = 0; n < KEYS; n++) {
        uint left[ROW_FRAGMENTS][TILE_LEFT / 2];
        TILE_UNROLL
        for (int a = 0; a < ROW_FRAGMENTS; a++) {
            mma_weigh(s[a][n], part[a], reference[a], unit);
            tile_weights(left[a], s[a][n], w);
        }
        __local const element *rows = tile_v + n * 16 * (WIDTH_V + TILE_PAD);
        mma_columns(o, left, rows, 0, COLS_FIRST, w);
        mma_columns(o, left, rows, COLS_FIRST, COLS, w);
    }
    TILE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * TILE_SLOTS; i++) {
        l[i / TILE_SLOTS][i % TILE_SLOTS] += part[i / TILE_SLOTS][i % TILE_SLOTS];
    }
}

/* The row's sums up to the current segment; volatile, or a compiler would want registers for them.
 */
struct mma_totals {
    volatile float o[ROW_FRAGMENTS * COLS * TILE_SPLIT * TILE_ACC];
    volatile float m[ROW_FRAGMENTS * TILE_SLOTS], l[ROW_FRAGMENTS * TILE_SLOTS];
};

INLINE void mma_totals_begin(struct mma_totals *t) {
    ROLL
    for (int i = 0; i < ROW_FRAGMENTS * COLS * TILE_SPLIT * TILE_ACC; i++) {
        t->o[i] = 0.0f;
    }
    ROLL
    for (int i = 0; i < ROW_FRAGMENTS * TILE_SLOTS; i++) {
        t->m[i] = -INFINITY;
        t->l[i] = 0.0f;
    }
}

/* Adds the segment's sums to the row's.  Afterwards o and l are the row's where `back` (a literal),
 * else 0. */
INLINE void mma_total(struct mma_totals *t, float o[ROW_FRAGMENTS][COLS][TILE_SPLIT][TILE_ACC],
                      float m[ROW_FRAGMENTS][TILE_SLOTS], float l[ROW_FRAGMENTS][TILE_SLOTS],
                      const int back) {
    TILE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        float rescale[TILE_SLOTS];
        TILE_UNROLL
        for (int i = 0; i < TILE_SLOTS; i++) {
            const int at = a * TILE_SLOTS + i;
            rescale[i] = state_weight(t->m[at], state_reference(m[a][i]));
            const float sum = fma(t->l[at], rescale[i], l[a][i]);
            t->m[at] = m[a][i];
            t->l[at] = sum;
            l[a][i] = back ? sum : 0.0f;
        }
        TILE_UNROLL
        for (int n = 0; n < COLS; n++) {
            float before[TILE_SPLIT][TILE_ACC]; /* all under way at once */
            volatile float *of = t->o + (a * COLS + n) * TILE_SPLIT * TILE_ACC;
            TILE_UNROLL
            for (int i = 0; i < TILE_SPLIT * TILE_ACC; i++) {
                before[i / TILE_ACC][i % TILE_ACC] = of[i];
            }
            TILE_UNROLL
            for (int i = 0; i < TILE_SPLIT * TILE_ACC; i++) {
                float *part = &o[a][n][i / TILE_ACC][i % TILE_ACC];
                const float sum = fma(before[i / TILE_ACC][i % TILE_ACC],
                                      rescale[tile_acc_slot(i % TILE_ACC)], *part);
                of[i] = sum;
                *part = back ? sum : 0.0f;
            }
        }
    }
}

/* Sums become elements of O. */
INLINE void mma_normalise(float sum[COLS][TILE_SPLIT][TILE_ACC],
                          const float normaliser[TILE_SLOTS]) {
    float total[2] = {0.0f, 0.0f};
    TILE_UNROLL
    for (int n = 0; n < COLS * TILE_SPLIT; n++) {
        TILE_UNROLL
        for (int e = 0; e < TILE_ACC; e++) {
            float *one = &sum[n / TILE_SPLIT][n % TILE_SPLIT][e];
            *one *= normaliser[tile_acc_slot(e)];
            total[e % 2] += fabs(*one);
        }
    }
    if (state_may_overflow(total[0] + total[1])) {
        TILE_UNROLL
        for (int n = 0; n < COLS * TILE_SPLIT; n++) {
            TILE_UNROLL
            for (int e = 0; e < TILE_ACC; e++) {
                float *one = &sum[n / TILE_SPLIT][n % TILE_SPLIT][e];
                *one = state_output(*one);
            }
        }
    }
}

/* Columns first * 16 ... end * 16 - 1 of fragment a of O to where Q was. */
INLINE void mma_put(__local element *rows, float sum[COLS][TILE_SPLIT][TILE_ACC], const int a,
                    const int first, const int end, struct tile_wave w) {
    TILE_UNROLL
    for (int c = first * TILE_SPLIT; c < end * TILE_SPLIT; c++) {
        const float *four = sum[c / TILE_SPLIT][c % TILE_SPLIT];
        TILE_UNROLL
        for (int e = 0; e < TILE_ACC; e += 2) {
            const int at = (a * TILE_QUERIES + tile_acc_query(w.lane, e)) * (WIDTH_Q + TILE_PAD) +
                           c * TILE_OTHERS;
            const int second = tile_acc_query(w.lane, e + 1) - tile_acc_query(w.lane, e);
            const uint two = tile_pack(four[e], four[e + 1]);
            rows[at + tile_acc_other(w.lane, e)] = (element)two;
            rows[at + second * (WIDTH_Q + TILE_PAD) + tile_acc_other(w.lane, e + 1)] =
                (element)(two >> 16);
        }
    }
}

/* Is none of this lane's sums NaN or Inf? */
INLINE int mma_finite(float o[ROW_FRAGMENTS][COLS][TILE_SPLIT][TILE_ACC]) {
    float sum = 0.0f;
    TILE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * COLS * TILE_SPLIT; n++) {
        TILE_UNROLL
        for (int e = 0; e < TILE_ACC; e++) {
            sum += fabs(o[n / TILE_SPLIT / COLS][n / TILE_SPLIT % COLS][n % TILE_SPLIT][e]);
        }
    }
    return sum < INFINITY;
}

/* What the keys of boundary blocks that the row sees have of NaN and Inf in this column. */
INLINE float mma_not_finite(const struct params *p, __global const element *v, int row, int4 span,
                            int col) {
    const int2 keys = span_of_row(p, row);
    /* Every row sees all of the whole blocks, [whole, whole_end). */
    const int whole = span.x + (max(0, span.z - span.x) + BLOCK_N - 1) / BLOCK_N * BLOCK_N;
    const int whole_end = span.x + max(0, span.w - span.x) / BLOCK_N * BLOCK_N;
    float sum = 0.0f;
    ROLL
    for (int key = keys.x; key < keys.y; key++) {
        if (key == whole && whole < whole_end) {
            key = whole_end - 1;
        } else {
            const float x = load(v + key * p->v.row + col);
            sum += fabs(x) < INFINITY ? 0.0f : x;
        }
    }
    return sum;
}

__kernel TILE_ATTRIBUTES __attribute__((reqd_work_group_size(THREADS, 1, 1))) void
fwd_mma(KERNEL_ARGUMENTS) {
    __local element tile_q[BLOCK_M * (WIDTH_Q + TILE_PAD)] __attribute__((aligned(16)));
    __local element tile_k[BLOCK_N * (WIDTH + TILE_PAD)] __attribute__((aligned(16)));
    __local element tile_v[BLOCK_N * (WIDTH_V + TILE_PAD)] __attribute__((aligned(16)));
    __local float scratch[WAVES * TILE_SCRATCH];
    __local int bad; /* some sum was not finite */
    /* Needed seldom, and so not kept in registers, of which none is left over.  At most 72 bytes
     * with bad and padding: `rest` in src/solver_fwd_mma.c. */
    __local struct {
        long band[2];    /* span_first and span_last of row0 */
        long v, o, lse;  /* where their slices begin */
        int careful;     /* is this the second pass? */
        int row0, begin; /* the first row and key */
        int full[2];     /* keys that all rows see */
    } kept;

    const int wave = (int)get_local_id(0) / TILE_LANES;
    const struct tile_wave w = {(int)get_local_id(0) % TILE_LANES, scratch + wave * TILE_SCRATCH};
    const size_t blocks = (size_t)(p.seq_q + BLOCK_M - 1) / BLOCK_M;
    const size_t slice = get_group_id(0) / blocks;
    const int block = (int)(get_group_id(0) % blocks);
    const int row0 = (MASKED ? (int)blocks - 1 - block : block) * BLOCK_M;
    const int row_last = min(row0 + BLOCK_M, p.seq_q) - 1;
    const int batch = (int)(slice / (size_t)p.heads_q);
    const int head = (int)(slice % (size_t)p.heads_q);
    const int head_kv = head / p.group;
    q += p.q.offset + batch * p.q.batch + head * p.q.head;
    k += p.k.offset + batch * p.k.batch + head_kv * p.k.head;

    const int4 span = span_of_block(&p, row0, row_last);
    const int last = span.y - 1;
    tile_copy(tile_q, q, p.q.row, row0, row_last, BLOCK_M, HEAD_DIM, WIDTH, WIDTH_Q,
              p.aligned & OPERAND_Q);
    if (get_local_id(0) == 0) {
        bad = 0;
        kept.o = p.o.offset + batch * p.o.batch + head * p.o.head;
        kept.lse = p.lse.offset + batch * p.lse.batch + head * p.lse.head;
        kept.v = p.v.offset + batch * p.v.batch + head_kv * p.v.head;
        kept.row0 = row0;
        kept.begin = span.x;
        kept.full[0] = span.z;
        kept.full[1] = span.w;
        kept.careful = 0;
        kept.band[0] = span_first(&p, row0);
        kept.band[1] = span_last(&p, row0);
    }
    const int wave_row = wave * ROW_FRAGMENTS * TILE_QUERIES;
    __local element *rows = tile_q + wave_row * (WIDTH_Q + TILE_PAD);
    const float unit = score_unit(&p);
    uint fragments[ROW_FRAGMENTS][DEPTHS_KEPT][TILE_LEFT / 2];
    float sum[ROW_FRAGMENTS][COLS][TILE_SPLIT][TILE_ACC];
    float m[ROW_FRAGMENTS][TILE_SLOTS], l[ROW_FRAGMENTS][TILE_SLOTS]; /* l: of this lane's keys */
    int again = 0, begin = span.x;
    if (score_sign(&p) != 1.0f) { /* here, so that Q's address waits in no register, either */
        tile_copied();
        tile_turn(tile_q, BLOCK_M, WIDTH, WIDTH_Q, score_sign(&p));
    }
    do {
        if (begin < span.y) {
            tile_copy(tile_k, k, p.k.row, begin, last, BLOCK_N, HEAD_DIM, WIDTH, WIDTH,
                      p.aligned & OPERAND_K);
        }
        tile_copied();
        barrier(CLK_LOCAL_MEM_FENCE);
        TILE_UNROLL
        for (int a = 0; a < ROW_FRAGMENTS; a++) {
            TILE_UNROLL
            for (int i = 0; i < TILE_SLOTS; i++) {
                m[a][i] = -INFINITY;
                l[a][i] = 0.0f;
            }
            TILE_UNROLL
            for (int c = 0; c < COLS; c++) {
                TILE_UNROLL
                for (int f = 0; f < TILE_SPLIT; f++) {
                    TILE_UNROLL
                    for (int e = 0; e < TILE_ACC; e++) {
                        sum[a][c][f][e] = 0.0f;
                    }
                }
            }
            TILE_UNROLL
            for (int d = 0; d < (Q_REGISTERS ? DEPTHS : 0); d++) {
                tile_load_left(fragments[a][d],
                               rows + a * TILE_QUERIES * (WIDTH_Q + TILE_PAD) + d * 16,
                               WIDTH_Q + TILE_PAD, w.lane);
            }
        }

        struct mma_totals totals;
        if (SEGMENT) {
            mma_totals_begin(&totals);
        }

        for (int key0 = begin; key0 < span.y; key0 += BLOCK_N) {
            float s[ROW_FRAGMENTS][KEYS][TILE_SPLIT][TILE_ACC];
            tile_copied();
            barrier(CLK_LOCAL_MEM_FENCE); /* K is there; everybody has done with the last V */
            tile_copy(tile_v, v + kept.v, p.v.row, key0, last, BLOCK_N, HEAD_DIM_V, WIDTH_V,
                      WIDTH_V, p.aligned & OPERAND_V);
            mma_scores(s, fragments, rows, tile_k, w);
            tile_copied();
            if (kept.careful &&
                (key0 < kept.full[0] || key0 + BLOCK_N > (MASKED ? kept.full[1] : span.w))) {
                tile_make_finite(tile_v, BLOCK_N, WIDTH_V);
            }
            barrier(CLK_LOCAL_MEM_FENCE); /* V is there; everybody has done with K */
            if (key0 + BLOCK_N < span.y) {
                tile_copy(tile_k, k, p.k.row, key0 + BLOCK_N, last, BLOCK_N, HEAD_DIM, WIDTH, WIDTH,
                          p.aligned & OPERAND_K);
            }

            if (SOFTCAP) {
                mma_cap(s, &p);
            }
            if (MASKED && key0 < kept.full[0]) {
                const struct tile_wave here = {MMA_LANE, w.scratch};
                mma_hide(s, &p, kept.band, wave_row, key0, 0, here);
            }
            if (key0 + BLOCK_N > (MASKED ? kept.full[1] : span.w)) {
                const struct tile_wave here = {MMA_LANE, w.scratch};
                mma_hide(s, &p, kept.band, wave_row, key0, 1, here);
            }
            float rescale[ROW_FRAGMENTS][TILE_SLOTS];
            TILE_UNROLL
            for (int a = 0; a < ROW_FRAGMENTS; a++) {
                mma_raise(m[a], rescale[a], s[a], unit, w);
            }
            /* Ever more seldom, the longer the rows.  With one fragment the engine has so much to
             * do that the branch costs more than the products (H200, D 256: 314 without it, 287
             * with it, TFLOP/s; with two and D 128 301 and 281, causal; f16, S 4096, 2026-11-21).
             */
            if (ROW_FRAGMENTS == 1 || mma_rises(rescale)) {
                TILE_UNROLL
                for (int a = 0; a < ROW_FRAGMENTS; a++) {
                    TILE_UNROLL
                    for (int i = 0; i < TILE_SLOTS; i++) {
                        l[a][i] *= rescale[a][i];
                    }
                    TILE_UNROLL
                    for (int c = 0; c < COLS * TILE_SPLIT; c++) {
                        TILE_UNROLL
                        for (int e = 0; e < TILE_ACC; e++) {
                            sum[a][c / TILE_SPLIT][c % TILE_SPLIT][e] *=
                                rescale[a][tile_acc_slot(e)];
                        }
                    }
                }
            }
            float reference[ROW_FRAGMENTS][TILE_SLOTS];
            TILE_UNROLL
            for (int i = 0; i < ROW_FRAGMENTS * TILE_SLOTS; i++) {
                reference[i / TILE_SLOTS][i % TILE_SLOTS] =
                    state_reference(m[i / TILE_SLOTS][i % TILE_SLOTS]);
            }
            if (!SOFTCAP && mma_far(reference)) {
                mma_level(s, unit, reference);
            }
            mma_accumulate(sum, l, s, reference, unit, tile_v, w);
            if (state_segment_ends(key0 - kept.begin, BLOCK_N)) {
                mma_total(&totals, sum, m, l, 0);
            }
        }
        if (SEGMENT) {
            mma_total(&totals, sum, m, l, 1);
        }
        if (!mma_finite(sum)) {
            atomic_or(&bad, 1); /* other work-items may, too */
        }
        barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with Q: its place takes O */
        begin = kept.begin;
        again = bad && !kept.careful;
        barrier(CLK_LOCAL_MEM_FENCE); /* everybody knows it */
        if (get_local_id(0) == 0) {
            kept.careful = bad;
        }
    } while (again);
    o += kept.o;
    lse += kept.lse;
    const int to_row = kept.row0, to_last = min(to_row + BLOCK_M, p.seq_q) - 1;
    const struct tile_wave here = {MMA_LANE, w.scratch};
    const int here_row = MMA_WAVE * ROW_FRAGMENTS * TILE_QUERIES;

    TILE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        float normaliser[TILE_SLOTS];
        TILE_UNROLL
        for (int i = 0; i < TILE_SLOTS; i++) {
            l[a][i] = tile_sum(l[a][i], here);
        }
        TILE_UNROLL
        for (int e = 0; e < TILE_ACC; e++) {
            const int slot = tile_acc_slot(e);
            if (e == 0 || slot != tile_acc_slot(e - 1)) {
                const int row = to_row + here_row + a * TILE_QUERIES + tile_acc_query(here.lane, e);
                const int2 keys = span_of_row(&p, row);
                const float sum = state_sum(m[a][slot], l[a][slot], keys.x < keys.y);
                normaliser[slot] = state_normaliser(sum);
                if ((p.written & OPERAND_LSE) && row <= to_last && (here.lane & TILE_SHARE) == 0) {
                    lse[row * p.lse.row] = state_lse(m[a][slot], sum);
                }
            }
        }
        mma_normalise(sum[a], normaliser);
        __local element *to = tile_q + here_row * (WIDTH_Q + TILE_PAD);
        mma_put(to, sum[a], a, 0, COLS_FIRST, here);
        mma_put(to, sum[a], a, COLS_FIRST, COLS, here);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    ROLL
    for (int i = 0; i < TILE_CHUNKS(BLOCK_M, WIDTH_V); i++) {
        int row, d;
        if (tile_chunk(i, BLOCK_M, WIDTH_V, &row, &d) && to_row + row <= to_last &&
            d < HEAD_DIM_V) {
            __local element *from = tile_q + row * (WIDTH_Q + TILE_PAD) + d;
            __global element *to = o + (to_row + row) * p.o.row + d;
            if (bad) {
                ROLL
                for (int j = 0; j < min(8, HEAD_DIM_V - d); j++) {
                    const float more = mma_not_finite(&p, v + kept.v, to_row + row,
                                                      span_of_block(&p, to_row, to_last), d + j);
                    from[j] =
                        more == 0.0f ? from[j] : (element)tile_pack(widen(from[j]) + more, 0.0f);
                }
            }
            if ((p.aligned & OPERAND_O) && d + 8 <= HEAD_DIM_V) {
                *(__global ushort8 *)to = *(__local const ushort8 *)from;
            } else {
                for (int j = 0; j < min(8, HEAD_DIM_V - d); j++) {
                    to[j] = from[j];
                }
            }
        }
    }
}
