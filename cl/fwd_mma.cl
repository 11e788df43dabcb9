/*
 * fwd_mma - for matrix engines: blocks of queries times blocks of keys, by the instruction of one
 * engine (engine.cl tells what an engine gives).
 *
 * A work-group of WAVES waves computes BLOCK_M = WAVES * ROW_FRAGMENTS * ENGINE_QUERIES query rows.
 * It loops over blocks of BLOCK_N keys.  Each wave computes ROW_FRAGMENTS fragments of
 * ENGINE_QUERIES rows alone: their scores, weights and sums.  The waves share the tiles of K and V.
 * The tiles, in elements:
 *
 *     tile_q[BLOCK_M][max(WIDTH, WIDTH_V) + ENGINE_PAD]     Q; after the last block O
 *     tile_k[BLOCK_N][WIDTH + ENGINE_PAD]
 *     tile_v[BLOCK_N][WIDTH_V + ENGINE_PAD]
 *
 * WIDTH is HEAD_DIM rounded up to a multiple of 16, WIDTH_V likewise HEAD_DIM_V; the additional
 * elements are 0.  While the waves compute the scores of a block, the V of this block is copied;
 * while they add weights times V to the sums, the K of the next block is copied.
 *
 * At the end of the pass over the keys a work-group may find one of two rare cases, below.  Then it
 * repeats the whole pass with more care (kept.careful), and takes about twice the time.
 *
 * NaN and Inf in V: a hidden key has the weight 0, and the engine's 0 * NaN is NaN.  If a sum is
 * NaN or Inf at the end, a hidden key may be the cause.  The second pass replaces NaN and Inf in V
 * by 0 in blocks with hidden keys, and adds them at the end to the rows that do see such a key
 * (finite.cl).  A NaN that a row does see costs its work-group the second pass, too.
 *
 * Large scores: where the maximum of a row is far from 0 (state_is_far), rounding makes the row's
 * weights inexact.  The second pass knows the maximum, and subtracts it from the row's scores
 * (mma_level): the row is then near 0.
 *
 * Where a row sees more keys than a segment has (state.cl), the row's sums over the segments before
 * wait in private memory (mma_totals).
 *
 * Grid: dimension 0 runs over blocks of rows (the longest first where a band can shorten them),
 * then heads, then batch.
 */
/* Bits of `found`, what a pass over the keys finds: a sum that is NaN or Inf; a row that is far
 * (state_is_far); a sum so large that an element of O may exceed F16's range. */
#define NOT_FINITE 1
#define FAR 2
#define LARGE 4

#define BLOCK_M (WAVES * ROW_FRAGMENTS * ENGINE_QUERIES)
#define WIDTH_Q (WIDTH > WIDTH_V ? WIDTH : WIDTH_V)
#define DEPTHS (WIDTH / 16)
#define COLS (WIDTH_V / 16)
#define COLS_FIRST (ENGINE_HALVES ? COLS / 2 : COLS)

/* Are the first and the last key that all rows of the block see read from local memory in each
 * block of keys?  Two fragments of rows leave no registers for the numbers: NVIDIA's driver 580
 * would spill 8 to 16 bytes. */
#define FULL_KEPT (ROW_FRAGMENTS > 1)

/* Products of this wave's rows, from `row` on, and the keys from key0 on become scores. */
INLINE void mma_make_whole(float s[ROW_FRAGMENTS][KEYS][ENGINE_SPLIT][ENGINE_ACC],
                           const struct params *p, const struct scene *scene, int row, int key0,
                           struct engine_wave w) {
    ENGINE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * KEYS * ENGINE_SPLIT; n++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            const int a = n / ENGINE_SPLIT / KEYS, of_keys = n % (KEYS * ENGINE_SPLIT);
            float *one = &s[a][n / ENGINE_SPLIT % KEYS][n % ENGINE_SPLIT][e];
            *one = score_at(scene, score_of_product(p, *one),
                            row + a * ENGINE_QUERIES + engine_acc_query(w.lane, e),
                            key0 + of_keys * ENGINE_OTHERS + engine_acc_other(w.lane, e));
        }
    }
}

/* Sets the scores of keys that a row does not see to -INFINITY: where `after` (a literal) is 1, of
 * the keys behind the row's last key, else of the keys before its first key.  Blocks of a causal
 * mask have only keys of the former kind to hide.
 * kept: span_first and span_last of the work-group's first row; this wave's rows begin `rows` rows
 * after that row. */
INLINE void mma_hide(float s[ROW_FRAGMENTS][KEYS][ENGINE_SPLIT][ENGINE_ACC],
                     __local const long *kept, int seq_kv, int rows, int key0, const int after,
                     struct engine_wave w) {
    const int3 seen = span_within_kept(kept, seq_kv, rows, key0);
    ENGINE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            const int r = a * ENGINE_QUERIES + engine_acc_query(w.lane, e);
            /* Keys are counted from the key of this lane's element in the first fragment: in the
             * other fragments that key is a constant further on. */
            const int begin = seen.x + r - engine_acc_other(w.lane, e);
            const int end =
                (MASKED ? min(seen.y + r + 1, seen.z) : seen.z) - engine_acc_other(w.lane, e);
            ENGINE_UNROLL
            for (int n = 0; n < KEYS * ENGINE_SPLIT; n++) {
                if (after ? n * ENGINE_OTHERS >= end : n * ENGINE_OTHERS < begin) {
                    s[a][n / ENGINE_SPLIT][n % ENGINE_SPLIT][e] = -INFINITY;
                }
            }
        }
    }
}

/* Raises the maxima m to those of one more block.  Its scores are in units of
 * `unit` (score.cl), m is not.  rescale is the factor for what was summed
 * before, exactly 1 where m stays. */
INLINE void mma_raise(float m[ENGINE_SLOTS], float rescale[ENGINE_SLOTS],
                      float s[KEYS][ENGINE_SPLIT][ENGINE_ACC], float unit, struct engine_wave w) {
    float most[ENGINE_SLOTS];
    ENGINE_UNROLL
    for (int i = 0; i < ENGINE_SLOTS; i++) {
        most[i] = -INFINITY;
    }
    ENGINE_UNROLL
    for (int n = 0; n < KEYS * ENGINE_SPLIT; n++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            const int slot = engine_acc_slot(e);
            most[slot] = state_max(most[slot], s[n / ENGINE_SPLIT][n % ENGINE_SPLIT][e]);
        }
    }
    ENGINE_UNROLL
    for (int i = 0; i < ENGINE_SLOTS; i++) {
        most[i] = state_max(m[i], engine_max(most[i], w) * unit);
        rescale[i] = state_weight_in(m[i], 1.0f, state_reference(most[i]));
        m[i] = most[i];
    }
}

/* Notes the maxima of this wave's rows for mma_level.  Is any of this lane's rows far? */
INLINE int mma_note(__local float *maxima, float m[ROW_FRAGMENTS][ENGINE_SLOTS],
                    struct engine_wave w) {
    int far = 0;
    ENGINE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * ENGINE_ACC; i++) {
        const int e = i % ENGINE_ACC, slot = engine_acc_slot(e);
        if (e == 0 || slot != engine_acc_slot(e - 1)) {
            far |= state_is_far(m[i / ENGINE_ACC][slot]);
            if ((w.lane & ENGINE_SHARE) == 0) {
                maxima[i / ENGINE_ACC * ENGINE_QUERIES + engine_acc_query(w.lane, e)] =
                    m[i / ENGINE_ACC][slot];
            }
        }
    }
    return far;
}

/* state_level for the scores of a block, with the maxima that mma_note has noted. */
INLINE void mma_level(float s[ROW_FRAGMENTS][KEYS][ENGINE_SPLIT][ENGINE_ACC], float unit,
                      float inverse, __local const float *maxima, struct engine_wave w) {
    ENGINE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            const float m = maxima[a * ENGINE_QUERIES + engine_acc_query(w.lane, e)];
            ENGINE_UNROLL
            for (int n = 0; n < KEYS * ENGINE_SPLIT; n++) {
                float *one = &s[a][n / ENGINE_SPLIT][n % ENGINE_SPLIT][e];
                *one = state_level(*one, unit, inverse, m);
            }
        }
    }
}

/* The maxima to begin with of ENGINE_QUERIES rows that go through mma_level. */
INLINE void mma_begin(float m[ENGINE_SLOTS], __local const float *maxima, struct engine_wave w) {
    ENGINE_UNROLL
    for (int e = 0; e < ENGINE_ACC; e++) {
        m[engine_acc_slot(e)] = state_begin(maxima[engine_acc_query(w.lane, e)]);
    }
}

/* Scores of 16 keys become weights, which are added to l. */
INLINE void mma_weigh(float s[ENGINE_SPLIT][ENGINE_ACC], float l[ENGINE_SLOTS],
                      const float m[ENGINE_SLOTS], float unit) {
    ENGINE_UNROLL
    for (int f = 0; f < ENGINE_SPLIT; f++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            const int slot = engine_acc_slot(e);
            s[f][e] = state_weight_in(s[f][e], unit, state_reference(m[slot]));
            l[slot] += s[f][e];
        }
    }
}

/* Does any row's maximum rise? */
INLINE int mma_rises(float rescale[ROW_FRAGMENTS][ENGINE_SLOTS]) {
    int rises = 0;
    ENGINE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * ENGINE_SLOTS; i++) {
        rises |= rescale[i / ENGINE_SLOTS][i % ENGINE_SLOTS] != 1.0f;
    }
    return rises;
}

/* o += P V of one block of keys, with the weights of the scores s. */
INLINE void mma_accumulate(float o[ROW_FRAGMENTS][COLS][ENGINE_SPLIT][ENGINE_ACC],
                           float l[ROW_FRAGMENTS][ENGINE_SLOTS],
                           float s[ROW_FRAGMENTS][KEYS][ENGINE_SPLIT][ENGINE_ACC],
                           float m[ROW_FRAGMENTS][ENGINE_SLOTS], float unit,
                           __local const element *tile_v, struct engine_wave w) {
    float part[ROW_FRAGMENTS][ENGINE_SLOTS]; /* sums by blocks are more precise than by keys */
    ENGINE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * ENGINE_SLOTS; i++) {
        part[i / ENGINE_SLOTS][i % ENGINE_SLOTS] = 0.0f;
    }
    ENGINE_UNROLL
    for (int n = 0; n < KEYS; n++) {
        uint left[ROW_FRAGMENTS][ENGINE_LEFT / 2];
        ENGINE_UNROLL
        for (int a = 0; a < ROW_FRAGMENTS; a++) {
            mma_weigh(s[a][n], part[a], m[a], unit);
            engine_weights(left[a], s[a][n], w);
        }
        __local const element *rows = tile_v + n * 16 * (WIDTH_V + ENGINE_PAD);
        mma_columns(o[0], COLS, left, rows, WIDTH_V + ENGINE_PAD, 0, COLS_FIRST, w);
        mma_columns(o[0], COLS, left, rows, WIDTH_V + ENGINE_PAD, COLS_FIRST, COLS, w);
    }
    ENGINE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * ENGINE_SLOTS; i++) {
        l[i / ENGINE_SLOTS][i % ENGINE_SLOTS] += part[i / ENGINE_SLOTS][i % ENGINE_SLOTS];
    }
}

/* The row's sums up to the current segment; volatile, or a compiler would want
 * registers for them.
 */
struct mma_totals {
    volatile float o[ROW_FRAGMENTS * COLS * ENGINE_SPLIT * ENGINE_ACC];
    volatile float m[ROW_FRAGMENTS * ENGINE_SLOTS], l[ROW_FRAGMENTS * ENGINE_SLOTS];
};

INLINE void mma_totals_begin(struct mma_totals *t) {
    ROLL
    for (int i = 0; i < ROW_FRAGMENTS * COLS * ENGINE_SPLIT * ENGINE_ACC; i++) {
        t->o[i] = 0.0f;
    }
    ROLL
    for (int i = 0; i < ROW_FRAGMENTS * ENGINE_SLOTS; i++) {
        t->m[i] = -INFINITY;
        t->l[i] = 0.0f;
    }
}

/* Adds the segment's sums to the row's.  Afterwards o and l are the row's where
 * `back` (a literal), else 0. */
INLINE void mma_total(struct mma_totals *t, float o[ROW_FRAGMENTS][COLS][ENGINE_SPLIT][ENGINE_ACC],
                      float m[ROW_FRAGMENTS][ENGINE_SLOTS], float l[ROW_FRAGMENTS][ENGINE_SLOTS],
                      const int back) {
    ENGINE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        float rescale[ENGINE_SLOTS];
        ENGINE_UNROLL
        for (int i = 0; i < ENGINE_SLOTS; i++) {
            const int at = a * ENGINE_SLOTS + i;
            float m_row = t->m[at], sum = t->l[at];
            rescale[i] = state_join(&m_row, &sum, m[a][i], l[a][i]);
            t->m[at] = m_row;
            t->l[at] = sum;
            l[a][i] = back ? sum : 0.0f;
        }
        ENGINE_UNROLL
        for (int n = 0; n < COLS; n++) {
            float before[ENGINE_SPLIT][ENGINE_ACC]; /* all under way at once */
            volatile float *of = t->o + (a * COLS + n) * ENGINE_SPLIT * ENGINE_ACC;
            ENGINE_UNROLL
            for (int i = 0; i < ENGINE_SPLIT * ENGINE_ACC; i++) {
                before[i / ENGINE_ACC][i % ENGINE_ACC] = of[i];
            }
            ENGINE_UNROLL
            for (int i = 0; i < ENGINE_SPLIT * ENGINE_ACC; i++) {
                float *part = &o[a][n][i / ENGINE_ACC][i % ENGINE_ACC];
                const float sum = fma(before[i / ENGINE_ACC][i % ENGINE_ACC],
                                      rescale[engine_acc_slot(i % ENGINE_ACC)], *part);
                of[i] = sum;
                *part = back ? sum : 0.0f;
            }
        }
    }
}

/* Columns first * 16 ... end * 16 - 1: sums times the normaliser, limited to
 * F16's range. */
INLINE void mma_limit(float sum[COLS][ENGINE_SPLIT][ENGINE_ACC],
                      const float normaliser[ENGINE_SLOTS], const int first, const int end) {
    ENGINE_UNROLL
    for (int c = first * ENGINE_SPLIT; c < end * ENGINE_SPLIT; c++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            float *one = &sum[c / ENGINE_SPLIT][c % ENGINE_SPLIT][e];
            *one = state_output(*one * normaliser[engine_acc_slot(e)]);
        }
    }
}

/* The same columns of fragment a of O to where Q was. */
INLINE void mma_put(__local element *rows, float sum[COLS][ENGINE_SPLIT][ENGINE_ACC],
                    const float normaliser[ENGINE_SLOTS], const int a, const int first,
                    const int end, struct engine_wave w) {
    ENGINE_UNROLL
    for (int c = first * ENGINE_SPLIT; c < end * ENGINE_SPLIT; c++) {
        const float *four = sum[c / ENGINE_SPLIT][c % ENGINE_SPLIT];
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e += 2) {
            const int at =
                (a * ENGINE_QUERIES + engine_acc_query(w.lane, e)) * (WIDTH_Q + ENGINE_PAD) +
                c * ENGINE_OTHERS;
            const int second = engine_acc_query(w.lane, e + 1) - engine_acc_query(w.lane, e);
            const uint two = engine_pack(four[e] * normaliser[engine_acc_slot(e)],
                                         four[e + 1] * normaliser[engine_acc_slot(e + 1)]);
            rows[at + engine_acc_other(w.lane, e)] = (element)two;
            rows[at + second * (WIDTH_Q + ENGINE_PAD) + engine_acc_other(w.lane, e + 1)] =
                (element)(two >> 16);
        }
    }
}

/* The sum of the magnitudes of this lane's sums. */
INLINE float mma_magnitude(float o[ROW_FRAGMENTS][COLS][ENGINE_SPLIT][ENGINE_ACC]) {
    float sum = 0.0f;
    ENGINE_UNROLL
    for (int n = 0; n < ROW_FRAGMENTS * COLS * ENGINE_SPLIT; n++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            sum += fabs(o[n / ENGINE_SPLIT / COLS][n / ENGINE_SPLIT % COLS][n % ENGINE_SPLIT][e]);
        }
    }
    return sum;
}

__kernel ENGINE_ATTRIBUTES __attribute__((reqd_work_group_size(THREADS, 1, 1))) void
fwd_mma(KERNEL_ARGUMENTS) {
    __local element tile_q[BLOCK_M * (WIDTH_Q + ENGINE_PAD)] __attribute__((aligned(16)));
    __local element tile_k[BLOCK_N * (WIDTH + ENGINE_PAD)] __attribute__((aligned(16)));
    __local element tile_v[BLOCK_N * (WIDTH_V + ENGINE_PAD)] __attribute__((aligned(16)));
    __local float scratch[WAVES * ENGINE_SCRATCH];
    __local float maxima[SCORE_WHOLE ? 1 : BLOCK_M]; /* of the rows, after the first pass */
    __local int found;                               /* NOT_FINITE, FAR, LARGE */
    /* Values that are seldom needed: in local memory, as no register is left for them.  At most 72
     * bytes with `found` and padding, which src/solver_fwd_mma.c counts as `rest`. */
    __local struct {
        long band[2];    /* span_first and span_last of row0 */
        long v, o, lse;  /* where their slices begin */
        int careful;     /* is this the second pass? */
        int row0, begin; /* the first row and key */
        int full[2];     /* keys that all rows see */
        float inverse;   /* 1 / score_unit, where MASKED is 0 */
    } kept;

    const int wave = (int)get_local_id(0) / ENGINE_LANES;
    const struct engine_wave w = {(int)get_local_id(0) % ENGINE_LANES,
                                  scratch + wave * ENGINE_SCRATCH};
    const size_t blocks = slice_blocks(&p, BLOCK_M);
    struct slice slice;
    slice_of_number(&p, (uint)(get_group_id(0) / blocks), &slice);
    const int row0 = slice_row0(&p, (uint)(get_group_id(0) % blocks), BLOCK_M);
    const int row_last = min(row0 + BLOCK_M, slice.band.seq_q) - 1;
    struct scene scene;
    score_scene(&p, &slice, &scene EXTRA_ARGUMENTS);
    q += slice_begin(&p.q, &slice);
    k += slice_begin_kv(&p.k, &slice);

    const int4 span = span_of_rows(&slice.band, row0, row_last);
    const int last = span.y - 1;
    engine_copy(tile_q, q, p.q.row, row0, row_last, BLOCK_M, HEAD_DIM, WIDTH, WIDTH_Q,
                p.aligned & OPERAND_Q);
    if (get_local_id(0) == 0) {
        found = 0;
        kept.o = slice_begin(&p.o, &slice);
        kept.lse = slice_begin(&p.lse, &slice);
        kept.v = slice_begin_kv(&p.v, &slice);
        kept.row0 = row0;
        kept.begin = span.x;
        kept.full[0] = span.z;
        kept.full[1] = span.w;
        kept.careful = 0;
        if (!MASKED) {
            kept.inverse = 1.0f / score_unit(&p);
        }
        kept.band[0] = span_first(&slice.band, row0);
        kept.band[1] = span_last(&slice.band, row0);
    }
    const int wave_row = wave * ROW_FRAGMENTS * ENGINE_QUERIES;
    __local element *rows = tile_q + wave_row * (WIDTH_Q + ENGINE_PAD);
    const float unit = score_unit(&p);
    float sum[ROW_FRAGMENTS][COLS][ENGINE_SPLIT][ENGINE_ACC];
    float m[ROW_FRAGMENTS][ENGINE_SLOTS],
        l[ROW_FRAGMENTS][ENGINE_SLOTS]; /* l: of this lane's keys */
    int again, begin = span.x;
    if (score_sign(&p) != 1.0f) { /* here, so that Q's address waits in no register, either */
        engine_copied();
        engine_turn(tile_q, BLOCK_M, WIDTH, WIDTH_Q, score_sign(&p));
    }
    do {
        if (begin < span.y) {
            engine_copy(tile_k, k, p.k.row, begin, last, BLOCK_N, HEAD_DIM, WIDTH, WIDTH,
                        p.aligned & OPERAND_K);
        }
        engine_copied();
        barrier(CLK_LOCAL_MEM_FENCE);
        ENGINE_UNROLL
        for (int a = 0; a < ROW_FRAGMENTS; a++) {
            ENGINE_UNROLL
            for (int i = 0; i < ENGINE_SLOTS; i++) {
                m[a][i] = -INFINITY;
                l[a][i] = 0.0f;
            }
            if (!SCORE_WHOLE && kept.careful) {
                const struct engine_wave here = {MMA_LANE, w.scratch};
                mma_begin(m[a],
                          maxima + MMA_WAVE * ROW_FRAGMENTS * ENGINE_QUERIES + a * ENGINE_QUERIES,
                          here);
            }
            ENGINE_UNROLL
            for (int c = 0; c < COLS; c++) {
                ENGINE_UNROLL
                for (int f = 0; f < ENGINE_SPLIT; f++) {
                    ENGINE_UNROLL
                    for (int e = 0; e < ENGINE_ACC; e++) {
                        sum[a][c][f][e] = 0.0f;
                    }
                }
            }
        }

        struct mma_totals totals;
        if (SEGMENT) {
            mma_totals_begin(&totals);
        }

        /* Blocks of keys that end up to here have no hidden key, and nothing else that is rare: in
         * the second pass there is no such block. */
        const int plain_end = !FULL_KEPT && kept.careful ? begin : span.w;
        for (int key0 = begin; key0 < span.y; key0 += BLOCK_N) {
            float s[ROW_FRAGMENTS][KEYS][ENGINE_SPLIT][ENGINE_ACC];
            engine_copied();
            barrier(CLK_LOCAL_MEM_FENCE); /* K is there; everybody has done with the
                                             last V */
            engine_copy(tile_v, v + kept.v, p.v.row, key0, last, BLOCK_N, HEAD_DIM_V, WIDTH_V,
                        WIDTH_V, p.aligned & OPERAND_V);
            mma_products(s, rows, WIDTH_Q + ENGINE_PAD, tile_k, WIDTH + ENGINE_PAD, DEPTHS, w);
            engine_copied();
            if ((HIDES || FULL_KEPT || (MASKED && key0 < span.z) || key0 + BLOCK_N > plain_end) &&
                kept.careful && (HIDES || key0 < kept.full[0] || key0 + BLOCK_N > kept.full[1])) {
                engine_make_finite(tile_v, BLOCK_N, WIDTH_V);
            }
            barrier(CLK_LOCAL_MEM_FENCE); /* V is there; everybody has done with K */
            if (key0 + BLOCK_N < span.y) {
                engine_copy(tile_k, k, p.k.row, key0 + BLOCK_N, last, BLOCK_N, HEAD_DIM, WIDTH,
                            WIDTH, p.aligned & OPERAND_K);
            }

            if (SCORE_WHOLE) {
                mma_make_whole(s, &p, &scene, kept.row0 + wave_row, key0, w);
            }
            const int hides_first = MASKED && key0 < (FULL_KEPT ? kept.full[0] : span.z);
            const int hides_last =
                key0 + BLOCK_N > (FULL_KEPT && MASKED ? kept.full[1] : plain_end);
            if (hides_first | hides_last | (FULL_KEPT && kept.careful)) {
                const struct engine_wave here = {MMA_LANE, w.scratch};
                /* The row's number is wave_row, or is computed anew where wave_row would cost a
                 * register too many.  Likewise 1 / unit: read from local memory, or computed.  With
                 * these choices ptxas 13.0 spills nothing on sm_80, sm_86 and sm_90. */
                const int here_row = FULL_KEPT && (MASKED ? COLS <= 4 : COLS > 4)
                                         ? MMA_WAVE * ROW_FRAGMENTS * ENGINE_QUERIES
                                         : wave_row;
                if (!SCORE_WHOLE && kept.careful) {
                    mma_level(s, unit, MASKED ? native_recip(unit) : kept.inverse,
                              maxima + here_row, here);
                }
                if (hides_first) {
                    mma_hide(s, kept.band, slice.band.seq_kv, here_row, key0, 0, here);
                }
                if (hides_last) {
                    mma_hide(s, kept.band, slice.band.seq_kv, here_row, key0, 1, here);
                }
            }
            float rescale[ROW_FRAGMENTS][ENGINE_SLOTS];
            ENGINE_UNROLL
            for (int a = 0; a < ROW_FRAGMENTS; a++) {
                mma_raise(m[a], rescale[a], s[a], unit, w);
            }
            /* A maximum rises ever more seldom, the longer the rows.  With one
             * fragment the engine has so much to do that the branch costs more than
             * the multiplications by rescale (H200, f16, S 4096, 2026-11-21, TFLOP/s:
             * D 256 314 without it, 287 with it; with two fragments and D 128 301 and
             * 281, causal). */
            if (ROW_FRAGMENTS == 1 || mma_rises(rescale)) {
                ENGINE_UNROLL
                for (int a = 0; a < ROW_FRAGMENTS; a++) {
                    ENGINE_UNROLL
                    for (int i = 0; i < ENGINE_SLOTS; i++) {
                        l[a][i] *= rescale[a][i];
                    }
                    ENGINE_UNROLL
                    for (int c = 0; c < COLS * ENGINE_SPLIT; c++) {
                        ENGINE_UNROLL
                        for (int e = 0; e < ENGINE_ACC; e++) {
                            sum[a][c / ENGINE_SPLIT][c % ENGINE_SPLIT][e] *=
                                rescale[a][engine_acc_slot(e)];
                        }
                    }
                }
            }
            mma_accumulate(sum, l, s, m, unit, tile_v, w);
            if (state_segment_ends(key0 - kept.begin, BLOCK_N)) {
                mma_total(&totals, sum, m, l, 0);
            }
        }
        if (SEGMENT) {
            mma_total(&totals, sum, m, l, 1);
        }
        const float magnitude = mma_magnitude(sum);
        int here_found = (magnitude < INFINITY ? 0 : NOT_FINITE) |
                         /* l is at least 1 but for rounding, and so o not larger than sums. */
                         (TYPE == F16 && !(magnitude < 65000.0f) ? LARGE : 0);
        if (!SCORE_WHOLE && !kept.careful) {
            const struct engine_wave here = {MMA_LANE, w.scratch};
            here_found |=
                mma_note(maxima + MMA_WAVE * ROW_FRAGMENTS * ENGINE_QUERIES, m, here) ? FAR : 0;
        }
        if (here_found) {
            atomic_or(&found, here_found);
        }
        barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with Q: its place takes O */
        begin = kept.begin;
        again = (found & (NOT_FINITE | FAR)) && !kept.careful;
        barrier(CLK_LOCAL_MEM_FENCE); /* everybody has read found and kept */
        if (get_local_id(0) == 0) {
            kept.careful = again;
        }
    } while (again);
    o += kept.o;
    lse += kept.lse;
    const int to_row = kept.row0, to_last = min(to_row + BLOCK_M, slice.band.seq_q) - 1;
    const struct engine_wave here = {MMA_LANE, w.scratch};
    const int here_row = MMA_WAVE * ROW_FRAGMENTS * ENGINE_QUERIES;

    ENGINE_UNROLL
    for (int a = 0; a < ROW_FRAGMENTS; a++) {
        float normaliser[ENGINE_SLOTS];
        ENGINE_UNROLL
        for (int i = 0; i < ENGINE_SLOTS; i++) {
            l[a][i] = engine_sum(l[a][i], here);
        }
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            const int slot = engine_acc_slot(e);
            if (e == 0 || slot != engine_acc_slot(e - 1)) {
                const int row =
                    to_row + here_row + a * ENGINE_QUERIES + engine_acc_query(here.lane, e);
                const int2 keys = span_of_row(&slice.band, row);
                const int at = here_row + a * ENGINE_QUERIES + engine_acc_query(here.lane, e);
                const float m_row = SCORE_WHOLE ? m[a][slot] : maxima[at];
                normaliser[slot] = state_finish(m_row, &l[a][slot], keys.x < keys.y,
                                                (p.given & OPERAND_LSE) && row <= to_last &&
                                                    (here.lane & ENGINE_SHARE) == 0,
                                                lse + row * p.lse.row, scene.sink);
            }
        }
        if (TYPE == F16 && (found & LARGE)) {
            mma_limit(sum[a], normaliser, 0, COLS_FIRST);
            mma_limit(sum[a], normaliser, COLS_FIRST, COLS);
            ENGINE_UNROLL
            for (int i = 0; i < ENGINE_SLOTS; i++) {
                normaliser[i] = 1.0f;
            }
        }
        __local element *to = tile_q + here_row * (WIDTH_Q + ENGINE_PAD);
        mma_put(to, sum[a], normaliser, a, 0, COLS_FIRST, here);
        mma_put(to, sum[a], normaliser, a, COLS_FIRST, COLS, here);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    ROLL
    for (int i = 0; i < ENGINE_CHUNKS(BLOCK_M, WIDTH_V); i++) {
        int row, d;
        if (engine_chunk(i, BLOCK_M, WIDTH_V, &row, &d) && to_row + row <= to_last &&
            d < HEAD_DIM_V) {
            __local element *from = tile_q + row * (WIDTH_Q + ENGINE_PAD) + d;
            __global element *to = o + (to_row + row) * p.o.row + d;
            if (found & NOT_FINITE) {
                ROLL
                for (int j = 0; j < min(8, HEAD_DIM_V - d); j++) {
                    const float more =
                        finite_lost(&slice.band, &scene, v + kept.v, p.v.row, to_row + row,
                                    span_of_rows(&slice.band, to_row, to_last), BLOCK_N, d + j);
                    from[j] = more == 0.0f
                                  ? from[j]
                                  : (element)engine_pack(widen(from[j], TYPE) + more, 0.0f);
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
