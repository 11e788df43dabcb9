/*
 * fwd_tile - for GPUs: tiles in local memory, plain OpenCL C 1.2.
 *
 * A work-group of THREADS_M * THREADS_N * THREADS_D work-items computes BLOCK_M query rows,
 * over blocks of BLOCK_N keys.  Head dimensions go in strips of BLOCK_D elements, padded
 * with zeros, so any of them fits any local memory.  Work-item (td, tm, tn) sums, over its
 * part td of a strip,
 *
 *     rows of S        tm + THREADS_M * i                i < ROWS
 *     columns of S     tn + THREADS_N * j                j < KEYS
 *
 * and then owns OWN = ROWS / THREADS_D of these rows.  With THREADS_D 2 each half of the work-group
 * has partial sums of all these rows: each half passes to the other, through tile_p, the sums of
 * the rows that the other half owns.
 *
 * For O the work-items are numbered anew, with THREADS_O = THREADS_N * THREADS_D of them along the
 * columns; work-item (om, on) owns
 *
 *     rows of O        om + THREADS_M * i                i < ROWS
 *     columns of O     4 * (on + THREADS_O * c) ... + 3  c < COLS, in each strip
 *
 * Tiles lie in local memory row by row, as the tensors do in global memory; no tile is transposed.
 * A row is 4 floats longer than its contents.  Work-items of neighbouring tn read 16 bytes each, at
 * the same column of neighbouring rows; the 4 floats put these reads into different banks of local
 * memory.
 *
 *     tile_q [Q_RESIDENT ? all strips : 1][BLOCK_M][BLOCK_D + 4]
 *     tile_kv[BLOCK_N][BLOCK_D + 4]           one strip of K, later one of V
 *     tile_p [BLOCK_M][P_ROW]                 weights; before, sums for the other half
 *     tile_m [BLOCK_M][THREADS_N]             maxima of each work-item
 *     tile_r [BLOCK_M]                        factors of the sums of O
 *     tile_odd                                1 where NaN or Inf of V became 0 (finite.cl)
 *
 * Where rows are longer than a segment (state.cl), each work-item keeps the row's sums in private
 * memory (tile_totals); tile_r then also carries their factors.
 *
 * NaN and Inf in V: where a block has, or may have, a hidden key, they become 0 on their way to
 * tile_kv, and O gets them back at the end (finite.cl).
 *
 * Rows that are read count as aligned when those of q, k and v all are (OPERANDS_TOGETHER), and a
 * store of o looks at its address.  With a flag for each tensor AMD's compiler keeps more scalars
 * through the loops and spills them (offline, 2026-11-27, all 36 programs together: gfx90a 114
 * spills, 123 with a flag for o, 176 with four flags; gfx942 77, 79 and 105).
 *
 * Grid: dimension 0 runs over blocks of rows (the longest first where a band can
 * shorten them), then heads, then batch.
 */
#ifndef Q_RESIDENT
#error "Q_RESIDENT: 1 keeps all strips of Q in local memory, 0 reloads them for each block"
#endif
#ifndef PREFETCH
#error "PREFETCH: 1 reads the next strip of K or V into registers during the work on this one"
#endif

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void fwd_tile(KERNEL_ARGUMENTS) {
    __local float tile_q[(Q_RESIDENT ? STRIPS : 1) * BLOCK_M * TILE_ROW]
        __attribute__((aligned(16)));
    __local float tile_kv[BLOCK_N * TILE_ROW] __attribute__((aligned(16)));
    __local float tile_p[BLOCK_M * P_ROW] __attribute__((aligned(16)));
    __local float tile_m[BLOCK_M * THREADS_N] __attribute__((aligned(16)));
    __local float tile_r[BLOCK_M];
    __local int tile_odd;

    const int id = (int)get_local_id(0);
    const int td = id / (THREADS_M * THREADS_N);
    const int tm = id / THREADS_N % THREADS_M;
    const int tn = id % THREADS_N;
    const int first = td * OWN * THREADS_M + tm; /* of the rows of S that this work-item owns */
    const int rest = (THREADS_D - 1 - td) * OWN * THREADS_M + tm;
    const int om = id / THREADS_O;
    const int on = id % THREADS_O;
    const size_t blocks = slice_blocks(&p, BLOCK_M);
    struct slice slice;
    slice_of_number(&p, (uint)(get_group_id(0) / blocks), &slice);
    struct scene scene;
    score_scene(&p, &slice, &scene EXTRA_ARGUMENTS);
    const int row0 = slice_row0(&p, (uint)(get_group_id(0) % blocks), BLOCK_M);
    const int row_last = min(row0 + BLOCK_M, slice.band.seq_q) - 1;
    q += slice_begin(&p.q, &slice);
    k += slice_begin_kv(&p.k, &slice);
    v += slice_begin_kv(&p.v, &slice);
    o += slice_begin(&p.o, &slice);
    workspace += p.workspace + 2 * slice.rows_before;

    float4 sum[STRIPS_V][ROWS][COLS];
    UNROLL
    for (int z = 0; z < STRIPS_V; z++) {
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
        for (int z = 0; z < STRIPS; z++) {
            tile_load_own(tile_q + z * BLOCK_M * TILE_ROW, q, TYPE_Q, p.q.row, row0, row_last,
                          z * BLOCK_D, HEAD_DIM, p.aligned & OPERANDS_TOGETHER, 0);
        }
    }
    if (id == 0) {
        tile_odd = 0;
    }
    struct tile_totals totals;
    if (SEGMENT) {
        tile_totals_begin(&totals);
    }

    const int4 span = span_of_rows(&slice.band, row0, row_last);
    const int last = span.y - 1;
    chunk next[CHUNKS(BLOCK_N)];
    if (PREFETCH ? span.x < span.y : 0) {
        tile_fetch(next, k, TYPE_K, p.k.row, span.x, last, BLOCK_N, 0, HEAD_DIM,
                   p.aligned & OPERANDS_TOGETHER);
    }
    for (int key0 = span.x; key0 < span.y; key0 += BLOCK_N) {
        const int boundary = span_is_boundary(span, key0, BLOCK_N);
        const int3 seen = span_within(&slice.band, row0 + first, key0 + tn);

        float s[ROWS][KEYS];
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            UNROLL
            for (int j = 0; j < KEYS; j++) {
                s[i][j] = 0.0f;
            }
        }
        for (int z = 0; z < STRIPS; z++) {
            barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with the last contents */
            if (!PREFETCH) {
                tile_fetch(next, k, TYPE_K, p.k.row, key0, last, BLOCK_N, z * BLOCK_D, HEAD_DIM,
                           p.aligned & OPERANDS_TOGETHER);
            }
            tile_put(tile_kv, next, TYPE_K, BLOCK_N, THREADS_N);
            if (!Q_RESIDENT) {
                tile_load_own(tile_q, q, TYPE_Q, p.q.row, row0, row_last, z * BLOCK_D, HEAD_DIM,
                              p.aligned & OPERANDS_TOGETHER, 0);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            if (!PREFETCH) {
                /* nothing is under way */
            } else if (z + 1 < STRIPS) {
                tile_fetch(next, k, TYPE_K, p.k.row, key0, last, BLOCK_N, (z + 1) * BLOCK_D,
                           HEAD_DIM, p.aligned & OPERANDS_TOGETHER);
            } else if (PASS != 1) {
                tile_fetch(next, v, TYPE_V, p.v.row, key0, last, BLOCK_N, 0, HEAD_DIM_V,
                           p.aligned & OPERANDS_TOGETHER);
            } else {
                tile_fetch(next, k, TYPE_K, p.k.row, key0 + BLOCK_N, last, BLOCK_N, 0, HEAD_DIM,
                           p.aligned & OPERANDS_TOGETHER);
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
                s[i][j] = score_at(&scene, score_of_product(&p, s[i][j]),
                                   row0 + first + THREADS_M * i, key0 + tn + THREADS_N * j);
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
        for (int z = 0; z < (PASS == 1 ? 0 : STRIPS_V); z++) {
            barrier(CLK_LOCAL_MEM_FENCE); /* done with K or the strip before; tile_p is written */
            if (!PREFETCH) {
                tile_fetch(next, v, TYPE_V, p.v.row, key0, last, BLOCK_N, z * BLOCK_D, HEAD_DIM_V,
                           p.aligned & OPERANDS_TOGETHER);
            }
            tile_put(tile_kv, next, TYPE_V, BLOCK_N, 0);
            if ((HIDES || boundary) && tile_is_odd(next)) {
                tile_clean(tile_kv);
                atomic_xchg(&tile_odd, 1);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            if (!PREFETCH) {
                /* nothing is under way */
            } else if (z + 1 < STRIPS_V) {
                tile_fetch(next, v, TYPE_V, p.v.row, key0, last, BLOCK_N, (z + 1) * BLOCK_D,
                           HEAD_DIM_V, p.aligned & OPERANDS_TOGETHER);
            } else {
                tile_fetch(next, k, TYPE_K, p.k.row, key0 + BLOCK_N, last, BLOCK_N, 0, HEAD_DIM,
                           p.aligned & OPERANDS_TOGETHER);
            }
            __local const float *weights = tile_p + om * P_ROW;
            tile_accumulate(sum[z], tile_r + om, weights, tile_kv + on * 4);
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
        const int2 keys = span_of_row(&slice.band, row);
        l_row = PASS == 2 ? workspace[2 * min(row, row_last) + 1] : l_row;
        /* Pass 1 writes only to workspace: a refused pass 2 leaves the caller's tensors alone. */
        tile_r[first + THREADS_M * i] =
            state_finish(m[i], &l_row, keys.x < keys.y,
                         PASS == 1 ? 0 : (p.given & OPERAND_LSE) && row <= row_last,
                         lse + slice_begin(&p.lse, &slice) + row * p.lse.row, scene.sink);
        if (PASS == 1 ? row <= row_last : 0) {
            workspace[2 * row] = m[i];
            workspace[2 * row + 1] = l_row;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const int row = row0 + om + THREADS_M * i;
        const float normaliser = tile_r[om + THREADS_M * i];
        UNROLL
        for (int z = 0; z < (PASS == 1 ? 0 : row > row_last ? 0 : STRIPS_V); z++) {
            UNROLL
            for (int c = 0; c < COLS; c++) {
                const int d = z * BLOCK_D + (on + THREADS_O * c) * 4;
                /* 0 for a row that sees no key: Rusticl 22.3 gives -0 for 0 * x + 0 where x < 0. */
                const float4 x = normaliser == 0.0f ? (float4)(0.0f) : sum[z][i][c] * normaliser;
                __global element_o *to = o + row * p.o.row + d;
                tile_store(to, TYPE_O, HEAD_DIM_V, x, HEAD_DIM_V - d,
                           ((uint)(size_t)to & (4 * sizeof *to - 1)) == 0);
            }
        }
    }
    if (PASS == 1 ? 0 : tile_odd) {
        ROLL
        for (int i = 0; i < ROWS * STRIPS_V * COLS * 4; i++) {
            const int row = row0 + om + THREADS_M * (i / (STRIPS_V * COLS * 4));
            const int chunk = i / 4 % (STRIPS_V * COLS);
            const int d = chunk / COLS * BLOCK_D + (on + THREADS_O * (chunk % COLS)) * 4 + i % 4;
            if (row <= row_last && d < HEAD_DIM_V) {
                __global element_o *to = o + row * p.o.row + d;
                const float lost =
                    finite_lost(&slice.band, &scene, v, p.v.row, row, span, BLOCK_N, d);
                if (lost != 0.0f) {
                    store(to, load(to, TYPE_O) + lost, TYPE_O);
                }
            }
        }
    }
}
