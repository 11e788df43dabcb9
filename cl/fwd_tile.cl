/*
 * fwd_tile - for GPUs: tiles in local memory, plain OpenCL C 1.2.
 *
 * A work-group of THREADS_M * THREADS_N * THREADS_D work-items answers BLOCK_M query rows,
 * over blocks of BLOCK_N keys.  Head dimensions go in slices of BLOCK_D elements, padded
 * with zeros, so any of them fits any local memory.  Work-item (td, tm, tn) sums, over its
 * part td of a slice,
 *
 *     rows of S        tm + THREADS_M * i                i < ROWS
 *     columns of S     tn + THREADS_N * j                j < KEYS
 *
 * and then owns OWN = ROWS / THREADS_D of these rows; with THREADS_D 2 the halves of the
 * work-group give each other, through tile_p, the sums of the rows that the other owns.
 * For O the work-items are THREADS_O = THREADS_N * THREADS_D wide; (om, on) owns
 *
 *     rows of O        om + THREADS_M * i                i < ROWS
 *     columns of O     4 * (on + THREADS_O * c) ... + 3  c < COLS, in each slice
 *
 * All tiles lie in local memory as in global memory, row by row, each row 4 floats
 * longer than its contents: work-items of neighbouring tn read 16 bytes each from
 * neighbouring rows without a bank conflict, and nothing needs to be transposed.
 *
 *     tile_q [Q_RESIDENT ? all slices : 1][BLOCK_M][BLOCK_D + 4]
 *     tile_kv[BLOCK_N][BLOCK_D + 4]           one slice of K, later one of V
 *     tile_p [BLOCK_M][P_ROW]                 weights; before, sums for the other half
 *     tile_m [BLOCK_M][THREADS_N]             maxima of each work-item
 *     tile_r [BLOCK_M]                        what sums of O are to be multiplied by
 *     tile_odd[2]                             the last slice of V with NaN or Inf
 *
 * Where rows are longer than a segment (state.cl), each work-item keeps the row's sums in private
 * memory (tile_totals); tile_r then also carries their factors.
 *
 * Grid: dimension 0 runs over blocks of rows (the longest first where a band can
 * shorten them), then heads, then batch.
 */
#ifndef BLOCK_M
#error "BLOCK_M: query rows per work-group; a multiple of THREADS_M * THREADS_D"
#endif
#ifndef BLOCK_N
#error "BLOCK_N: keys per block; a multiple of 4 and of THREADS_N * (THREADS_D == 2 ? 4 : 1)"
#endif
#ifndef BLOCK_D
#error "BLOCK_D: elements per slice of a head; a multiple of 4 * THREADS_N * THREADS_D"
#endif
#ifndef THREADS_M
#error "THREADS_M: work-items along query rows"
#endif
#ifndef THREADS_N
#error "THREADS_N: work-items along keys and columns"
#endif
#ifndef THREADS_D
#error "THREADS_D: work-items along the head while scores are summed: 1 or 2"
#endif
#ifndef Q_RESIDENT
#error "Q_RESIDENT: 1 keeps all slices of Q in local memory, 0 reloads them for each block"
#endif

#ifndef PREFETCH
#error "PREFETCH: 1 reads the next slice of K or V into registers during the work on this one"
#endif
#ifndef STEP_UNROLL
#error "STEP_UNROLL: steps of four elements that the loops of the products take at a time"
#endif
#ifndef WIDE_READS
#error "WIDE_READS: 1 moves four elements at once where rows begin at multiples of 16 bytes"
#endif
#ifndef PASS
#error "PASS: 0 whole; 1 only m and l of each row, to workspace; 2 only O, with them"
#endif

#define THREADS (THREADS_M * THREADS_N * THREADS_D)
#define THREADS_O (THREADS_N * THREADS_D) /* along columns of O */
#define ROWS (BLOCK_M / THREADS_M)
#define OWN (ROWS / THREADS_D)
#define KEYS (BLOCK_N / THREADS_N)
#define COLS (BLOCK_D / THREADS_O / 4)
#define SLICES ((HEAD_DIM + BLOCK_D - 1) / BLOCK_D)
#define SLICES_V ((HEAD_DIM_V + BLOCK_D - 1) / BLOCK_D)
#define TILE_ROW (BLOCK_D + 4)
/* Eight work-items along keys: four rows of a SIMD of 32 then write to different banks. */
#define P_ROW (BLOCK_N + (THREADS_N == 8 ? 8 : 4))

#define UNROLL_PRAGMA(text) _Pragma(#text)
#define UNROLL_TIMES(n) UNROLL_PRAGMA(unroll n)

/* Chunks of four elements that one work-item moves of a slice of `rows` rows. */
#define CHUNKS(rows) (((rows) * (BLOCK_D / 4) + THREADS - 1) / THREADS)

/* Where chunk i of this work-item lies; false past the end of the slice. */
INLINE int tile_chunk(int i, const int rows, int *row, int *d) {
    const int row_chunks = BLOCK_D / 4;
    const int id = (int)get_local_id(0);
    const int at = id + i * THREADS;
    const int whole = THREADS % row_chunks == 0; /* then i moves by whole rows */
    *row = whole ? id / row_chunks + i * (THREADS / row_chunks) : at / row_chunks;
    *d = (whole ? id : at) % row_chunks * 4;
    return rows * row_chunks % THREADS == 0 || at < rows * row_chunks;
}

/*
 * Reads rows `first` ... first + rows - 1 (past `last`: the last one again) of the slice
 * that begins at element d0; elements past `dim` become 0.  `aligned` is a literal: with
 * a branch in the loop each read would wait for the one before.
 */
INLINE void tile_read(element4 *chunks, __global const element *from, long stride, int first,
                      int last, const int rows, int d0, const int dim, const int aligned) {
    UNROLL
    for (int i = 0; i < CHUNKS(rows); i++) {
        int row, d;
        const int inside = tile_chunk(i, rows, &row, &d);
        const int count = inside ? dim - d0 - d : 0;
        __global const element *p = from + min(first + row, last) * stride + d0 + d;
        chunks[i] = (element4)(0);
        if (count >= 4) {
            chunks[i] = read4(p, aligned);
        } else if (dim % 4 != 0) {
            chunks[i].x = count > 0 ? p[0] : (element)0;
            chunks[i].y = count > 1 ? p[1] : (element)0;
            chunks[i].z = count > 2 ? p[2] : (element)0;
        }
    }
}

INLINE void tile_fetch(element4 *chunks, __global const element *from, long stride, int first,
                       int last, const int rows, int d0, const int dim, int aligned) {
    if (WIDE_READS ? aligned : 0) {
        tile_read(chunks, from, stride, first, last, rows, d0, dim, 1);
    } else {
        tile_read(chunks, from, stride, first, last, rows, d0, dim, 0);
    }
}

/*
 * Writes what was fetched, as floats, into tile[rows][TILE_ROW].  With `swap`
 * (for K: see tile_scores) the elements of each pair change places in every other
 * THREADS_N rows.
 */
INLINE void tile_put(__local float *tile, const element4 *chunks, const int rows, const int swap) {
    UNROLL
    for (int i = 0; i < CHUNKS(rows); i++) {
        int row, d;
        if (tile_chunk(i, rows, &row, &d)) {
            const float4 x = convert4(chunks[i]);
            const int odd = swap ? row / THREADS_N % 2 : 0;
            vstore4(odd != 0 ? x.yxwz : x, 0, tile + row * TILE_ROW + d);
        }
    }
}

/* Is a NaN or an Inf among what was fetched?  By their bits: one driver (Rusticl 22.3) takes
 * x times 0 for 0, whatever x is. */
INLINE int tile_is_odd(const element4 *chunks) {
    uint4 most = (uint4)(0u);
    UNROLL
    for (int i = 0; i < CHUNKS(BLOCK_N); i++) {
        most = max(most, as_uint4(convert4(chunks[i])) & 0x7fffffffu);
    }
    return max(max(most.x, most.y), max(most.z, most.w)) >= 0x7f800000u;
}

/* One slice of Q in one go: it is read once, or by a device short of local memory. */
INLINE void tile_load_q(__local float *tile, __global const element *q, const struct params *p,
                        int row0, int row_last, int d0) {
    element4 chunks[CHUNKS(BLOCK_M)];
    tile_fetch(chunks, q, p->q.row, row0, row_last, BLOCK_M, d0, HEAD_DIM, p->aligned & OPERAND_Q);
    tile_put(tile, chunks, BLOCK_M, 0);
}

/*
 * s += Q K^T over this work-item's part of a slice.  Rows i < OWN begin at q, others at rest.
 *
 * GPUs whose register file serves two operands a clock, one from each of two banks, need
 * one of a multiply-add's three to stay where it was in the one before (q does here) and
 * the other two to lie in different banks.  A register's bank follows from where the
 * element lay in the float4 that was read, so that in half of the keys pairs are
 * swapped: both banks then have as much to do.  (H200, 2026-11-21: multiply-adds on
 * registers alone run at 36-56 of 65 TFLOP/s, depending on their order, and these loops
 * no faster without any local read.)
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

/* Leaves the sums of rows that the other half of the work-items owns for it. */
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

/* o = o * rescale + P V over one slice.  The block has sums of its own, in the registers that the
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

/* The same where V holds NaN or Inf, which a weight of 0 would not keep out: hidden keys are passed
 * over.  Seldom needed: small rather than fast, row by row. */
INLINE void tile_accumulate_seen(float4 o[ROWS][COLS], __local const float *rescale,
                                 __local const float *weights, __local const float *v, int3 seen) {
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        float4 part[COLS];
        UNROLL
        for (int c = 0; c < COLS; c++) {
            part[c] = (float4)(0.0f);
        }
        ROLL
        for (int key = 0; key < BLOCK_N; key++) {
            const int sees = span_sees(seen, THREADS_M * i, key);
            const float4 weight = (float4)(weights[i * THREADS_M * P_ROW + key]);
            UNROLL
            for (int c = 0; c < COLS; c++) {
                const float4 v4 = vload4(0, v + key * TILE_ROW + c * THREADS_O * 4);
                part[c] = sees ? fma(weight, v4, part[c]) : part[c];
            }
        }
        const float4 factor = (float4)(rescale[THREADS_M * i]);
        UNROLL
        for (int c = 0; c < COLS; c++) {
            o[i][c] = fma(o[i][c], factor, part[c]);
        }
    }
}

/*
 * The sums of the row up to the segment, which wait in memory: volatile, or a compiler would want
 * registers for them.
 */
struct tile_totals {
    volatile float4 o[SLICES_V * ROWS * COLS];
    volatile float m[OWN], l[OWN];
};

INLINE void tile_totals_begin(struct tile_totals *t) {
    ROLL
    for (int i = 0; i < SLICES_V * ROWS * COLS; i++) {
        t->o[i] = (float4)(0.0f);
    }
    ROLL
    for (int i = 0; i < OWN; i++) {
        t->m[i] = -INFINITY;
        t->l[i] = 0.0f;
    }
}

/*
 * Adds the segment's sums to those of the row.  After it they are those of the row where `back`,
 * else 0.  `own` is tile_r from this work-item's first row of S on where the work-item writes
 * there, else NULL; `of_o` is tile_r from its first row of O on.
 */
INLINE void tile_total(struct tile_totals *t, float4 o[SLICES_V][ROWS][COLS], const float m[OWN],
                       float l[OWN], __local float *own, __local const float *of_o,
                       const int back) {
    barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with the last factors */
    UNROLL
    for (int i = 0; i < OWN; i++) {
        const float factor = state_weight(t->m[i], state_reference(m[i]));
        const float sum = fma(t->l[i], factor, l[i]);
        t->m[i] = m[i];
        t->l[i] = sum;
        l[i] = back ? sum : 0.0f;
        if (own) {
            own[THREADS_M * i] = factor;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int z = 0; z < (PASS == 1 ? 0 : SLICES_V); z++) {
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

/* The first `count` (below 1: none, over 4: all) of four elements. */
INLINE void tile_store(__global element *p, float4 x, const int count, int aligned) {
    if (count >= 4) {
        store4(p, x, WIDE_READS ? aligned : 0);
    } else if (HEAD_DIM_V % 4 != 0) {
        if (count > 0) {
            store(p, x.x);
        }
        if (count > 1) {
            store(p + 1, x.y);
        }
        if (count > 2) {
            store(p + 2, x.z);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void fwd_tile(KERNEL_ARGUMENTS) {
    __local float tile_q[(Q_RESIDENT ? SLICES : 1) * BLOCK_M * TILE_ROW]
        __attribute__((aligned(16)));
    __local float tile_kv[BLOCK_N * TILE_ROW] __attribute__((aligned(16)));
    __local float tile_p[BLOCK_M * P_ROW] __attribute__((aligned(16)));
    __local float tile_m[BLOCK_M * THREADS_N] __attribute__((aligned(16)));
    __local float tile_r[BLOCK_M];
    __local int tile_odd[2];

    const int id = (int)get_local_id(0);
    const int td = id / (THREADS_M * THREADS_N);
    const int tm = id / THREADS_N % THREADS_M;
    const int tn = id % THREADS_N;
    const int first = td * OWN * THREADS_M + tm; /* of the rows of S that it owns */
    const int rest = (THREADS_D - 1 - td) * OWN * THREADS_M + tm;
    const int om = id / THREADS_O;
    const int on = id % THREADS_O;
    const size_t blocks = (size_t)(p.seq_q + BLOCK_M - 1) / BLOCK_M;
    const size_t slice = get_group_id(0) / blocks;
    const int block = (int)(get_group_id(0) % blocks);
    const int row0 = (MASKED ? (int)blocks - 1 - block : block) * BLOCK_M;
    const int row_last = min(row0 + BLOCK_M, p.seq_q) - 1;
    const long batch = (long)(slice / (size_t)p.heads_q);
    const long head = (long)(slice % (size_t)p.heads_q);
    const long head_kv = head / p.group;
    q += p.q.offset + batch * p.q.batch + head * p.q.head;
    k += p.k.offset + batch * p.k.batch + head_kv * p.k.head;
    v += p.v.offset + batch * p.v.batch + head_kv * p.v.head;
    o += p.o.offset + batch * p.o.batch + head * p.o.head;

    workspace += p.workspace + 2 * (long)slice * p.seq_q;

    float4 sum[SLICES_V][ROWS][COLS];
    UNROLL
    for (int z = 0; z < SLICES_V; z++) {
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            UNROLL
            for (int c = 0; c < COLS; c++) {
                sum[z][i][c] = (float4)(0.0f);
            }
        }
    }
    float m[OWN], l[OWN]; /* l: of this work-item's own columns */
    UNROLL
    for (int i = 0; i < OWN; i++) {
        const int row = min(row0 + first + THREADS_M * i, row_last);
        m[i] = PASS == 2 ? workspace[2 * row] : -INFINITY;
        l[i] = 0.0f;
    }
    if (Q_RESIDENT) {
        for (int z = 0; z < SLICES; z++) {
            tile_load_q(tile_q + z * BLOCK_M * TILE_ROW, q, &p, row0, row_last, z * BLOCK_D);
        }
    }
    if (id < 2) {
        tile_odd[id] = -1;
    }
    struct tile_totals totals;
    if (SEGMENT) {
        tile_totals_begin(&totals);
    }

    const int4 span = span_of_block(&p, row0, row_last);
    const int last = span.y - 1;
    element4 next[CHUNKS(BLOCK_N)];
    if (PREFETCH ? span.x < span.y : 0) {
        tile_fetch(next, k, p.k.row, span.x, last, BLOCK_N, 0, HEAD_DIM, p.aligned & OPERAND_K);
    }
    int number = 0; /* of slices of V until now */
    for (int key0 = span.x; key0 < span.y; key0 += BLOCK_N) {
        const int boundary = span_is_boundary(span, key0, BLOCK_N);
        const int3 seen = span_within(&p, row0 + first, key0 + tn);

        float s[ROWS][KEYS];
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                s[i][j] = 0.0f;
            }
        }
        for (int z = 0; z < SLICES; z++) {
            barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with the last contents */
            if (!PREFETCH) {
                tile_fetch(next, k, p.k.row, key0, last, BLOCK_N, z * BLOCK_D, HEAD_DIM,
                           p.aligned & OPERAND_K);
            }
            tile_put(tile_kv, next, BLOCK_N, 1);
            if (!Q_RESIDENT) {
                tile_load_q(tile_q, q, &p, row0, row_last, z * BLOCK_D);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            if (!PREFETCH) {
                /* nothing is under way */
            } else if (z + 1 < SLICES) {
                tile_fetch(next, k, p.k.row, key0, last, BLOCK_N, (z + 1) * BLOCK_D, HEAD_DIM,
                           p.aligned & OPERAND_K);
            } else if (PASS != 1) {
                tile_fetch(next, v, p.v.row, key0, last, BLOCK_N, 0, HEAD_DIM_V,
                           p.aligned & OPERAND_V);
            } else {
                tile_fetch(next, k, p.k.row, key0 + BLOCK_N, last, BLOCK_N, 0, HEAD_DIM,
                           p.aligned & OPERAND_K);
            }
            const int d = td * (BLOCK_D / THREADS_D);
            __local const float *part = tile_q + (Q_RESIDENT ? z * BLOCK_M * TILE_ROW : 0) + d;
            tile_scores(s, part + first * TILE_ROW, part + rest * TILE_ROW,
                        tile_kv + tn * TILE_ROW + d);
        }
        if (THREADS_D == 2) {
            tile_send(tile_p, s);
            barrier(CLK_LOCAL_MEM_FENCE);
            tile_receive(s, tile_p);
            if (PASS == 2) {
                barrier(CLK_LOCAL_MEM_FENCE); /* before tile_p is written again */
            }
        }
        UNROLL
        for (int i = 0; i < OWN; i++) {
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                s[i][j] = score_of_product(&p, s[i][j]);
            }
        }
        if (boundary) {
            UNROLL
            for (int i = 0; i < OWN; i++) {
                UNROLL
                for (int j = 0; j < KEYS; j++) {
                    s[i][j] = span_sees(seen, THREADS_M * i, THREADS_N * j) ? s[i][j] : -INFINITY;
                }
            }
        }
        UNROLL
        for (int i = 0; i < (PASS == 2 ? 0 : OWN); i++) {
            float most = -INFINITY;
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                most = state_max(most, s[i][j]);
            }
            tile_m[(first + THREADS_M * i) * THREADS_N + tn] = most;
        }
        if (PASS != 2) {
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        UNROLL
        for (int i = 0; i < OWN; i++) {
            const int row = first + THREADS_M * i;
            float most = m[i];
            UNROLL
            for (int t = 0; t < (PASS == 2 ? 0 : THREADS_N / 4 * 4); t += 4) {
                const float4 four = vload4(0, tile_m + row * THREADS_N + t);
                most = state_max(most,
                                 state_max(state_max(four.x, four.y), state_max(four.z, four.w)));
            }
            UNROLL
            for (int t = THREADS_N / 4 * 4; t < (PASS == 2 ? 0 : THREADS_N); t++) {
                most = state_max(most, tile_m[row * THREADS_N + t]);
            }
            const float reference = state_reference(most);
            const float rescale = PASS == 2 ? 1.0f : state_weight(m[i], reference);
            m[i] = most;
            float l_block = 0.0f;
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                const float weight = state_weight(s[i][j], reference);
                l_block += weight;
                if (PASS != 1) {
                    tile_p[row * P_ROW + tn + THREADS_N * j] = weight;
                }
            }
            l[i] = fma(l[i], rescale, l_block);
            if (tn == 0) {
                tile_r[row] = rescale;
            }
        }

        UNROLL
        for (int z = 0; z < (PASS == 1 ? 0 : SLICES_V); z++) {
            barrier(CLK_LOCAL_MEM_FENCE); /* done with K or the slice before; tile_p is written */
            if (!PREFETCH) {
                tile_fetch(next, v, p.v.row, key0, last, BLOCK_N, z * BLOCK_D, HEAD_DIM_V,
                           p.aligned & OPERAND_V);
            }
            tile_put(tile_kv, next, BLOCK_N, 0);
            number++;
            if (boundary && tile_is_odd(next)) {
                atomic_xchg(tile_odd + number % 2, number);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            if (!PREFETCH) {
                /* nothing is under way */
            } else if (z + 1 < SLICES_V) {
                tile_fetch(next, v, p.v.row, key0, last, BLOCK_N, (z + 1) * BLOCK_D, HEAD_DIM_V,
                           p.aligned & OPERAND_V);
            } else {
                tile_fetch(next, k, p.k.row, key0 + BLOCK_N, last, BLOCK_N, 0, HEAD_DIM,
                           p.aligned & OPERAND_K);
            }
            __local const float *weights = tile_p + om * P_ROW;
            if (boundary && tile_odd[number % 2] == number) {
                tile_accumulate_seen(sum[z], tile_r + om, weights, tile_kv + on * 4,
                                     span_within(&p, row0 + om, key0));
            } else {
                tile_accumulate(sum[z], tile_r + om, weights, tile_kv + on * 4);
            }
        }
        if (state_segment_ends(key0 - span.x, BLOCK_N)) {
            tile_total(&totals, sum, m, l, tn == 0 ? tile_r + first : NULL, tile_r + om, 0);
        }
    }
    if (SEGMENT) {
        tile_total(&totals, sum, m, l, tn == 0 ? tile_r + first : NULL, tile_r + om, 1);
    }

    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int i = 0; i < OWN; i++) {
        tile_m[(first + THREADS_M * i) * THREADS_N + tn] = l[i];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int i = 0; i < OWN; i++) {
        const int row = row0 + first + THREADS_M * i;
        float l_row = 0.0f;
        for (int t = 0; t < THREADS_N; t++) {
            l_row += tile_m[(first + THREADS_M * i) * THREADS_N + t];
        }
        if (tn != 0) {
            continue;
        }
        const int2 keys = span_of_row(&p, row);
        l_row = PASS == 2 ? workspace[2 * min(row, row_last) + 1]
                          : state_sum(m[i], l_row, keys.x < keys.y);
        tile_r[first + THREADS_M * i] = state_normaliser(l_row);
        if (PASS == 1 ? row <= row_last : 0) {
            workspace[2 * row] = m[i];
            workspace[2 * row + 1] = l_row;
        }
        /* Pass 1 writes only to workspace: a refused pass 2 leaves the caller's tensors alone. */
        if (PASS == 1 ? 0 : (p.written & OPERAND_LSE) && row <= row_last) {
            lse[p.lse.offset + batch * p.lse.batch + head * p.lse.head + row * p.lse.row] =
                state_lse(m[i], l_row);
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const int row = row0 + om + THREADS_M * i;
        const float normaliser = tile_r[om + THREADS_M * i];
        UNROLL
        for (int z = 0; z < (PASS == 1 ? 0 : row > row_last ? 0 : SLICES_V); z++) {
            UNROLL
            for (int c = 0; c < COLS; c++) {
                const int d = z * BLOCK_D + (on + THREADS_O * c) * 4;
                /* A row that saw nothing: Rusticl 22.3 has 0 * x + 0 as -0 where x is negative. */
                const float4 x = normaliser == 0.0f ? (float4)(0.0f) : sum[z][i][c] * normaliser;
                tile_store(o + row * p.o.row + d, x, HEAD_DIM_V - d, p.aligned & OPERAND_O);
            }
        }
    }
}
