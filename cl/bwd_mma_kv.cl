/*
 * bwd_mma_kv - d_k and d_v by matrix engines, with bwd_mma_q: blocks of keys times blocks of
 * queries, by the instruction of one engine (engine.cl tells what an engine gives).
 *
 * A work-group of WAVES waves has ROWS = WAVES * ROW_FRAGMENTS * ENGINE_QUERIES keys, whose sums
 * stay in registers.  The query heads that share the keys come one after the other, of each the
 * queries that see a key of the block, BLOCK_N at a time:
 *
 *     S^T = K Q^T,  dP^T = V d_o^T,  then P^T and dS^T in place,  d_v += P^T d_o,  d_k += dS^T Q
 *
 * PASS 1 leaves d_k out and PASS 2 d_v, where registers do not hold both: S is then computed twice.
 * Tiles in local memory, in elements (WIDTH: HEAD_DIM rounded up to a multiple of 16; the
 * additional elements are 0):
 *
 *     tile_k[ROWS][WIDTH + ENGINE_PAD], tile_v[ROWS][WIDTH_V + ENGINE_PAD]
 *     tile_q[STAGES][BLOCK_N][WIDTH + ENGINE_PAD], tile_d_o[STAGES][BLOCK_N][WIDTH_V + ENGINE_PAD]
 *
 * and of each query lse to base 2 and delta.  With two stages the next queries are on their way
 * during all products of a block, and each block has one barrier.
 *
 * NaN: a query of a block sees some key of the work-group; a key that nobody sees is a row of its
 * own in all products, and its pairs are taken out.  So what is hidden from all reaches nothing.
 *
 * Grid: dimension 0 runs over blocks of keys, then heads of K and V, then batch.
 */
#ifndef PASS
#error "PASS: 0: d_k and d_v; 1: d_v alone; 2: d_k alone"
#endif

/* What this program does not compute takes no room. */
#define HAS_K (PASS != 1)
#define HAS_V (PASS != 2)

/* Where row `to_row` goes, its type and stride.  A program lacks what it does not compute. */
#ifdef OPERAND_D_K
#define KV_GIVEN_K OPERAND_D_K
#define KV_TO_K(to_row) \
    d_k + slice_begin_kv(&p.d_k, &slice) + (to_row)*p.d_k.row, TYPE_D_K, p.d_k.row
#else
#define KV_GIVEN_K 0
#define KV_TO_K(to_row) 0, F32, (to_row)
#endif
#ifdef OPERAND_D_V
#define KV_GIVEN_V OPERAND_D_V
#define KV_TO_V(to_row) \
    d_v + slice_begin_kv(&p.d_v, &slice) + (to_row)*p.d_v.row, TYPE_D_V, p.d_v.row
#else
#define KV_GIVEN_V 0
#define KV_TO_V(to_row) 0, F32, (to_row)
#endif

/* d of the wave's keys and the block's queries before their products are added. */
INLINE void kv_begin(grads_block d, __local const float *deltas, struct engine_wave w) {
    ENGINE_UNROLL
    for (int n = 0; n < KEYS * ENGINE_SPLIT; n++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            const float delta = deltas[n * ENGINE_OTHERS + engine_acc_other(w.lane, e)];
            ENGINE_UNROLL
            for (int a = 0; a < ROW_FRAGMENTS; a++) {
                d[a][n / ENGINE_SPLIT][n % ENGINE_SPLIT][e] = -delta;
            }
        }
    }
}

/* grad_prepare for the wave's keys, from key0 on, and the queries from row0 on. */
INLINE void kv_prepare(grads_block s, grads_block d, const struct params *p,
                       const struct scene *scene, __local const float *references, int row0,
                       int key0, struct engine_wave w) {
    ENGINE_UNROLL
    for (int n = 0; n < KEYS * ENGINE_SPLIT; n++) {
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_ACC; e++) {
            const int query = n * ENGINE_OTHERS + engine_acc_other(w.lane, e);
            const float reference = references[query];
            ENGINE_UNROLL
            for (int a = 0; a < ROW_FRAGMENTS; a++) {
                grad_prepare(p, scene, &s[a][n / ENGINE_SPLIT][n % ENGINE_SPLIT][e],
                             &d[a][n / ENGINE_SPLIT][n % ENGINE_SPLIT][e], reference, row0 + query,
                             key0 + a * ENGINE_QUERIES + engine_acc_query(w.lane, e));
            }
        }
    }
}

/* lse to base 2 and delta of the queries from row0 on, past `last` the last one's: each work-item
 * has every THREADS-th. */
INLINE void kv_read(float2 mine[GRADS_NUMBERS], const struct params *p, const struct slice *slice,
                    __global const float *lse, __global const float *deltas, int row0, int last) {
    lse += slice_begin(&p->lse, slice);
    ENGINE_UNROLL
    for (int i = 0; i < GRADS_NUMBERS; i++) {
        const int row = min(row0 + (int)get_local_id(0) + i * THREADS, last);
        mine[i] =
            (float2)(grad_reference(lse[row * p->lse.row]), deltas[grad_delta_at(p, slice, row)]);
    }
}

INLINE void kv_note(__local float *references, __local float *deltas,
                    const float2 mine[GRADS_NUMBERS]) {
    ENGINE_UNROLL
    for (int i = 0; i < GRADS_NUMBERS; i++) {
        const int at = (int)get_local_id(0) + i * THREADS;
        if (BLOCK_N % THREADS == 0 || at < BLOCK_N) {
            references[at] = mine[i].x;
            deltas[at] = mine[i].y;
        }
    }
}

__kernel ENGINE_ATTRIBUTES __attribute__((reqd_work_group_size(THREADS, 1, 1))) void
bwd_mma_kv(KERNEL_ARGUMENTS) {
    __local element tile_k[ROWS * STRIDE] __attribute__((aligned(16)));
    __local element tile_v[HAS_K ? ROWS * STRIDE_V : 8] __attribute__((aligned(16)));
    __local element tile_q[STAGES * BLOCK_N * STRIDE] __attribute__((aligned(16)));
    __local element tile_d_o[STAGES * BLOCK_N * STRIDE_V] __attribute__((aligned(16)));
    __local float references[STAGES * BLOCK_N], deltas[STAGES * BLOCK_N];
    __local float scratch[WAVES * ENGINE_SCRATCH];

    const int wave = (int)get_local_id(0) / ENGINE_LANES;
    const struct engine_wave w = {(int)get_local_id(0) % ENGINE_LANES,
                                  scratch + wave * ENGINE_SCRATCH};
    const uint blocks = (uint)slice_blocks_of_keys(&p, ROWS);
    const uint number = (uint)(get_group_id(0) / blocks);
    const int key0 = (int)(get_group_id(0) % blocks) * ROWS;
    struct slice slice;
    slice_of_number_kv(&p, number, &slice);
    const int key_last = min(key0 + ROWS, slice.band.seq_kv) - 1;
    const int own = wave * ROW_FRAGMENTS * ENGINE_QUERIES;
    __local const element *own_k = tile_k + own * STRIDE;
    __local const element *own_v = tile_v + (HAS_K ? own * STRIDE_V : 0);
    struct scene scene;
    score_scene(&p, &slice, &scene EXTRA_ARGUMENTS);

    const int4 span = span_of_keys(&slice.band, key0, key_last);
    const int last = span.y - 1, head_end = slice.head + slice_sharing(&p);
    engine_copy(tile_k, k + slice_begin_kv(&p.k, &slice), p.k.row, key0, key_last, ROWS, HEAD_DIM,
                WIDTH, WIDTH, p.aligned & OPERAND_K);
    if (HAS_K) {
        engine_copy(tile_v, v + slice_begin_kv(&p.v, &slice), p.v.row, key0, key_last, ROWS,
                    HEAD_DIM_V, WIDTH_V, WIDTH_V, p.aligned & OPERAND_V);
    }

    grads_columns sum_k[HAS_K ? ROW_FRAGMENTS * COLS : 1];
    grads_columns sum_v[HAS_V ? ROW_FRAGMENTS * COLS_V : 1];
    volatile float total_k[SEGMENT && HAS_K ? ROW_FRAGMENTS * COLS * ENGINE_SPLIT * ENGINE_ACC : 1];
    volatile float
        total_v[SEGMENT && HAS_V ? ROW_FRAGMENTS * COLS_V * ENGINE_SPLIT * ENGINE_ACC : 1];
    float unit[ROW_FRAGMENTS][ENGINE_SLOTS], factor[ROW_FRAGMENTS][ENGINE_SLOTS];
    float one[ROW_FRAGMENTS][ENGINE_SLOTS];
    ENGINE_UNROLL
    for (int i = 0; i < ROW_FRAGMENTS * ENGINE_SLOTS; i++) {
        unit[i / ENGINE_SLOTS][i % ENGINE_SLOTS] = GRAD_UNIT_FIRST;
    }
    grads_undo(one, unit, 0);
    if (HAS_K) {
        grads_begin(sum_k, COLS);
    }
    if (HAS_V) {
        grads_begin(sum_v, COLS_V);
    }
    ROLL
    for (int i = 0; SEGMENT && HAS_K && i < ROW_FRAGMENTS * COLS * ENGINE_SPLIT * ENGINE_ACC; i++) {
        total_k[i] = 0.0f;
    }
    ROLL
    for (int i = 0; SEGMENT && HAS_V && i < ROW_FRAGMENTS * COLS_V * ENGINE_SPLIT * ENGINE_ACC;
         i++) {
        total_v[i] = 0.0f;
    }

    /* The block in local memory begins with query row0; slice is the head that is read next. */
    int row0 = span.x, slot = 0;
    int head = span.x < span.y ? slice.head : head_end; /* of the block */
    float2 mine[GRADS_NUMBERS];
    if (head < head_end) {
        kv_read(mine, &p, &slice, lse, workspace, row0, last);
        engine_copy(tile_q, q + slice_begin(&p.q, &slice), p.q.row, row0, last, BLOCK_N, HEAD_DIM,
                    WIDTH, WIDTH, p.aligned & OPERAND_Q);
        engine_copy(tile_d_o, d_o + slice_begin(&p.d_o, &slice), p.d_o.row, row0, last, BLOCK_N,
                    HEAD_DIM_V, WIDTH_V, WIDTH_V, p.aligned & OPERAND_D_O);
    }
    while (head < head_end) {
        const int wraps = row0 + BLOCK_N >= span.y;
        const int next_row0 = wraps ? span.x : row0 + BLOCK_N, next_head = head + wraps;
        const int next_slot = STAGES == 1 ? 0 : 1 - slot;
        __local const element *block_q = tile_q + slot * BLOCK_N * STRIDE;
        __local const element *block_d_o = tile_d_o + slot * BLOCK_N * STRIDE_V;
        kv_note(references + slot * BLOCK_N, deltas + slot * BLOCK_N, mine);
        engine_copied();
        barrier(CLK_LOCAL_MEM_FENCE); /* the block is there; everybody has done with the last */
        if (SCORED && row0 == span.x) {
            slice_of_head(&p, slice.batch, head, &slice);
            score_scene(&p, &slice, &scene EXTRA_ARGUMENTS);
        }
        grads_block s, d;
        if (STAGES > 1 && next_head < head_end) {
            slice_of_head(&p, slice.batch, next_head, &slice);
            kv_read(mine, &p, &slice, lse, workspace, next_row0, last);
            engine_copy(tile_q + next_slot * BLOCK_N * STRIDE, q + slice_begin(&p.q, &slice),
                        p.q.row, next_row0, last, BLOCK_N, HEAD_DIM, WIDTH, WIDTH,
                        p.aligned & OPERAND_Q);
            engine_copy(tile_d_o + next_slot * BLOCK_N * STRIDE_V,
                        d_o + slice_begin(&p.d_o, &slice), p.d_o.row, next_row0, last, BLOCK_N,
                        HEAD_DIM_V, WIDTH_V, WIDTH_V, p.aligned & OPERAND_D_O);
        }
        if (HAS_K) {
            kv_begin(d, deltas + slot * BLOCK_N, w);
            mma_add_products(d, own_v, STRIDE_V, block_d_o, STRIDE_V, COLS_V, w);
        } else {
            grads_clear(d);
        }
        mma_products(s, own_k, STRIDE, block_q, STRIDE, COLS, w);
        kv_prepare(s, d, &p, &scene, references + slot * BLOCK_N, row0, key0 + own, w);
        if (span_is_boundary(span, row0, BLOCK_N)) {
            grads_hide(s, d, span_within(&slice.band, row0, key0), own, span.y - row0, 1, w);
        }
        grads_finish(s, d);
        if (HAS_V) {
            if (SCALED) {
                grads_scale_weights(s);
            }
            grads_add(sum_v, COLS_V, s, block_d_o, STRIDE_V, w);
        }
        if (HAS_K) {
            if (SCALED) {
                grads_scale(sum_k, COLS, unit, d, w);
            }
            grads_add(sum_k, COLS, d, block_q, STRIDE, w);
        }
        if (SEGMENT && (wraps || state_segment_ends(row0 - span.x, BLOCK_N))) {
            if (HAS_K) {
                grads_undo(factor, unit, SCALED);
                grads_close(total_k, sum_k, COLS, factor, 0);
            }
            if (HAS_V) {
                grads_close(total_v, sum_v, COLS_V, one, 0);
            }
        }
        if (STAGES == 1) {
            barrier(CLK_LOCAL_MEM_FENCE); /* everybody has done with the block */
        }
        if (STAGES == 1 && next_head < head_end) {
            slice_of_head(&p, slice.batch, next_head, &slice);
            kv_read(mine, &p, &slice, lse, workspace, next_row0, last);
            engine_copy(tile_q, q + slice_begin(&p.q, &slice), p.q.row, next_row0, last, BLOCK_N,
                        HEAD_DIM, WIDTH, WIDTH, p.aligned & OPERAND_Q);
            engine_copy(tile_d_o, d_o + slice_begin(&p.d_o, &slice), p.d_o.row, next_row0, last,
                        BLOCK_N, HEAD_DIM_V, WIDTH_V, WIDTH_V, p.aligned & OPERAND_D_O);
        }
        row0 = next_row0;
        head = next_head;
        slot = next_slot;
    }
    engine_copied(); /* of a work-group without a pair, its own tiles */

    /* Lane and wave anew (mma.cl): no register holds what only the stores need.  A gradient that
     * nobody wants has no rows to store: with a branch around the store instead, Intel's compiler
     * (IGC of ocloc 22.43) spills 2.5 KB of sums at D 128. */
    const struct engine_wave here = {MMA_LANE, w.scratch};
    /* The compiler cannot know it: IGC also spills where F16 is stored without a product. */
    const float scale_v = p.group > 0 ? (SCALED ? 1.0f / GRAD_WEIGHT_UNIT : 1.0f) : 0.0f;
    const int to_row = key0 + MMA_WAVE * ROW_FRAGMENTS * ENGINE_QUERIES;
    const int rows = slice.band.seq_kv - to_row;
    if (HAS_K) {
        grads_undo(factor, unit, SCALED);
        if (SEGMENT) {
            grads_close(total_k, sum_k, COLS, factor, 1);
        }
        grads_store(KV_TO_K(to_row), p.given & KV_GIVEN_K ? rows : 0, HEAD_DIM, sum_k, COLS,
                    SEGMENT ? one : factor, score_scale(&p), here);
    }
    if (HAS_V) {
        if (SEGMENT) {
            grads_close(total_v, sum_v, COLS_V, one, 1);
        }
        grads_store(KV_TO_V(to_row), p.given & KV_GIVEN_V ? rows : 0, HEAD_DIM_V, sum_v, COLS_V,
                    one, scale_v, here);
    }
}
