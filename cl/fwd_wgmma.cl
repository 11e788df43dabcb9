/*
 * fwd_wgmma - Hopper's own forward main loop: matrix unit, tensor copy engine, warpgroups
 * that specialise.  F16 and BF16.
 *
 * A work-group answers BLOCK_M query rows of one head, a task, and then takes the next
 * one from a counter in global memory: as many groups as the device holds at once do all of
 * them, and the loads of a task begin during the one before: K's first block, then Q, as
 * soon as the last scores have been read off.  Its warpgroups:
 *
 *     0 ... CONSUMERS - 1   64 query rows each: scores, softmax, output, in registers
 *     CONSUMERS             warp 0, one work-item: tells the copy engine what to bring
 *                           warps 1 to 3: look through V where a key is hidden (below)
 *
 *     tile_q[SLABS][BLOCK_M][64]             64 elements of a row, 128 bytes (tile_wgmma.cl)
 *     tile_k[STAGES][SLABS][BLOCK_N][64]     a ring: one is loaded while another is used
 *     tile_v[STAGES][SLABS_V][BLOCK_N][64]
 *     tasks[2]                               the one being loaded, the one being stored
 *
 *     barrier    arrives                        then
 *     q_full     the copy engine                the task and Q can be read
 *     q_empty    all who read them              ... Q be loaded anew; the task before is stored
 *     k_full     the copy engine                K can be read
 *     k_empty    the consumers                  ... be loaded anew
 *     v_full     the copy engine                V can be looked through
 *     v_ready    the watchers                   V can be read
 *     v_empty    the consumers                  ... be loaded anew
 *
 * A consumer starts the scores of block j, then the weighted sum of block j - 1, and works
 * out the softmax of j while the matrix unit does that sum.  While accumulators are under
 * way nothing may touch them, a branch around the product included: ptxas would make
 * everything wait (its message C7514).  So the first and the last block are outside the loop.
 * Blocks behind the last one that its own 64 rows see are only passed over.
 *
 * A hidden key has weight 0, and 0 times NaN is NaN within the matrix unit.  So where a block
 * has a hidden key (span_is_boundary) the watchers replace NaN and Inf in V by 0 and leave
 * a note; at the end of a task with such a note each consumer adds, from global memory,
 * those that its rows do see.
 *
 * Large scores: rows that are far at the end of a task (state.cl) were answered inexactly, as if
 * they were near.  The consumers note them in `late`, and the producer hands the task out once
 * more, with them in `far`: then their scores are multiplied by the unit before their maximum is
 * taken, and their unit is 1.  So large scores cost twice the time, and small ones a vote per task.
 * To ask in each block costs 1 to 9% (H100, 2026-11-26, f16, D 64 most), once per task 1%. Rows
 * longer than a segment (state.cl): the row's sums wait in private memory, struct totals.
 *
 * Grid: dimension 0, at most GROUPS work-groups; tasks go by slices_together().
 */
#ifndef BLOCK_M
#error "BLOCK_M: query rows per work-group; a multiple of 64"
#endif
#ifndef STAGES
#error "STAGES: blocks of K and of V in local memory, at least 2"
#endif
#ifndef TURNS
#error "TURNS: 1 lets warpgroups take turns at the matrix unit, 0 lets them race"
#endif
#ifndef GROUPS
#error "GROUPS: work-groups of a launch, at most"
#endif

#define WARPGROUP 128
#define CONSUMERS (BLOCK_M / 64)
#define THREADS ((CONSUMERS + 1) * WARPGROUP)
#define WATCHERS 3                /* warps */
#define TASKS 2                   /* known at once: one to be loaded, one to be stored */
#define TOGETHER_BYTES (32 << 20) /* of K and V; the second-level cache has 50 MB */

#define SLABS ((HEAD_DIM + WGMMA_SLAB - 1) / WGMMA_SLAB)
#define SLABS_V (WGMMA_COLUMNS / WGMMA_SLAB)
#define STEPS ((HEAD_DIM + WGMMA_STEP - 1) / WGMMA_STEP)
#define SLAB_Q (BLOCK_M * WGMMA_ROW_BYTES) /* bytes, as are the following */
#define SLAB_KV (BLOCK_N * WGMMA_ROW_BYTES)
#define TILE_Q (SLABS * SLAB_Q)
#define TILE_K (SLABS * SLAB_KV)
#define TILE_V (SLABS_V * SLAB_KV)

#define SCORES (BLOCK_N / 2)     /* floats of a work-item */
#define SUMS (WGMMA_COLUMNS / 2) /* likewise */
#define PAIRS (BLOCK_N / 4)      /* pairs of weights, likewise */
#define NO_TASK (-1)             /* blocks of a task that ends the work */
#define NOT_YET 0xffffffffu      /* number of a turn without a task */
#define WARPS (4 * CONSUMERS)    /* of consumers */
#define FAR INT_MIN              /* full1 of a warp with far rows */

/* Registers of a work-item: 65,536 are there, in units of 8 per work-item. */
#if BLOCK_M == 64
#elif BLOCK_M == 128
#define REGISTERS_PRODUCER 40
#define REGISTERS_CONSUMER 232
#else
#define REGISTERS_PRODUCER 32
#define REGISTERS_CONSUMER 160
#endif

/* Where everything is in local memory, as PTX takes it; rings begin with stage 0. */
struct places {
    uint q, k, v;
    uint q_full, q_empty, k_full, k_empty, v_full, v_ready, v_empty;
};

/* What the 64 rows of a warpgroup see of a task: its first `blocks` blocks, and all of them
 * the keys full0 ... full1 - 1. */
struct part {
    int blocks, full0, full1;
};

/* Query rows row0 ... row0 + BLOCK_M - 1 of one head, and the blocks of keys that they see.
 * In local memory from when the producer finds it until its rows are stored. */
struct task {
    int batch, head, row0, blocks;
    int4 span;
    struct part parts[CONSUMERS];
    uint notes[WATCHERS]; /* 1 where a warp of watchers has replaced something */
    int again;            /* 1 where the task is handed out for the second time */
    uint any_late;        /* 1 where a warp has late rows */
};

/* Of the task in each place: for each warp which rows are late, and, where it is handed out for the
 * second time, which are far.  As warp_rows has them. */
struct rows_apart {
    uint late[TASKS][WARPS], far[TASKS][WARPS];
};

INLINE uint tasks_per_head(const struct params *p) {
    return (uint)(p->seq_q + BLOCK_M - 1) / BLOCK_M;
}

/*
 * Where a band makes tasks of different lengths, those of several slices (heads of a batch) stand
 * together, the longest first: a short one is left for who is early.  As many slices as share
 * the second-level cache with their K and V; of all together each K would be read from memory
 * many times.
 */
INLINE uint slices_together(const struct params *p) {
    const long bytes = (long)p->seq_kv * ((HEAD_DIM + HEAD_DIM_V) * (int)sizeof(element));
    const long heads = TOGETHER_BYTES / max(bytes, 1L);
    const int slices = p->heads_q * p->batch;
    return MASKED ? (uint)min(max(heads, 1L) * p->group, (long)slices) : 1u;
}

INLINE int blocks_until(const struct task *t, int end) {
    return (end - t->span.x + BLOCK_N - 1) / BLOCK_N;
}

/* The task of a number, NO_TASK behind the last one; together: slices_together(p). */
INLINE void task_find(const struct params *p, uint together, uint number, struct task *t) {
    const uint per_head = tasks_per_head(p), slices = (uint)(p->heads_q * p->batch);
    t->again = 0;
    t->any_late = 0;
    UNROLL
    for (int i = 0; i < WATCHERS; i++) {
        t->notes[i] = 0;
    }
    if (number >= per_head * slices) {
        t->blocks = NO_TASK;
        return;
    }
    const uint begin = number / (per_head * together) * together;
    const uint within = number - begin * per_head, width = min(together, slices - begin);
    const uint slice = begin + within % width, block = within / width;
    t->batch = (int)(slice / (uint)p->heads_q);
    t->head = (int)(slice % (uint)p->heads_q);
    t->row0 = (int)(MASKED ? per_head - 1 - block : block) * BLOCK_M;
    const int row_last = p->seq_q - 1;
    t->span = span_of_block(p, t->row0, min(t->row0 + BLOCK_M - 1, row_last));
    t->blocks = blocks_until(t, t->span.y);
    UNROLL
    for (int i = 0; i < CONSUMERS; i++) {
        const int first = t->row0 + 64 * i;
        const int4 span = span_of_block(p, first, min(first + 63, row_last));
        t->parts[i].blocks = first <= row_last ? blocks_until(t, span.y) : 0;
        t->parts[i].full0 = span.z;
        t->parts[i].full1 = span.w;
    }
}

/* A task without rows. */
INLINE void task_clear(const struct params *p, struct task *t) {
    t->batch = 0;
    t->head = 0;
    t->row0 = p->seq_q;
    t->blocks = 0;
    t->span = (int4)(0);
    UNROLL
    for (int i = 0; i < CONSUMERS; i++) {
        t->parts[i].blocks = 0;
        t->parts[i].full0 = 0;
        t->parts[i].full1 = 0;
    }
}

/* Which of a warp's rows: bits 4 i and 4 i + 1 are those of work-items 4 i ... 4 i + 3. */
INLINE uint warp_rows(const int *which) {
    return (warp_ballot(which[0]) & 0x11111111u) | (warp_ballot(which[1]) & 0x22222222u);
}
INLINE int warp_row(uint rows, int r) {
    return (int)(rows >> (get_local_id(0) % 32 / 4 * 4 + r) & 1u);
}

/* The place of block `count` (of a work-group's life) in a ring, and the parity of its turn. */
INLINE uint ring_stage(uint count) {
    return count % STAGES;
}
INLINE uint ring_parity(uint count) {
    return count / STAGES & 1u;
}

/* ---- The producer: one work-item ---- */

/* Rows from row0 on come to a tile, slab after slab. */
INLINE void load_tile(uint tile, __global const uchar *map, const uint slabs, const uint slab_bytes,
                      int row0, int head, int batch, uint full) {
    mbarrier_arrive_expecting(full, slabs * slab_bytes);
    for (uint i = 0; i < slabs; i++) {
        copy_slab(tile + i * slab_bytes, map, (int)i * WGMMA_SLAB, row0, head, batch, full);
    }
}

/* Block j of a task comes to its place in a ring of K or V, as soon as that is free. */
INLINE void load_block(uint ring, __global const uchar *map, const uint slabs, const struct task *t,
                       int head_kv, int j, uint count, uint full, uint empty) {
    const uint stage = ring_stage(count);
    mbarrier_wait(empty + 8 * stage, ring_parity(count) ^ 1u);
    load_tile(ring + stage * slabs * SLAB_KV, map, slabs, SLAB_KV, t->span.x + j * BLOCK_N, head_kv,
              t->batch, full + 8 * stage);
}

/* The late rows of the task in a place are those that are far when it is handed out next, to
 * place `to`. */
INLINE void late_to_far(__local struct rows_apart *apart, uint from, uint to) {
    ROLL
    for (int i = 0; i < WARPS; i++) {
        apart->far[to][i] = apart->late[from][i];
        apart->late[from][i] = 0;
    }
}

/* The task of turn n takes the place of that of turn n - 2, whose rows are stored then: if some are
 * late, it is handed out again, as the next one, or at once where there is no other. */
INLINE void produce(const struct params *p, __global const uchar *maps,
                    volatile __global uint *given_out, const struct places *at,
                    __local struct task *tasks, __local struct rows_apart *apart) {
    __global const uchar *map_q = maps, *map_k = maps + 128, *map_v = maps + 256;
    const uint together = slices_together(p);
    uint number = (uint)get_group_id(0), count = 0;
    uint before[2] = {NOT_YET, NOT_YET}; /* numbers of the turns before */
    int again = 0;
    copy_acquire(map_q);
    copy_acquire(map_k);
    copy_acquire(map_v);
    for (uint turn = 0;; turn++) {
        const uint place = turn % TASKS;
        struct task t;
        task_find(p, together, number, &t);
        int head_kv = t.head / p->group;
        if (t.blocks > 0) {
            load_block(at->k, map_k, SLABS, &t, head_kv, 0, count, at->k_full, at->k_empty);
        }
        mbarrier_wait(at->q_empty, ~turn & 1u);
        const int late = before[1] != NOT_YET && tasks[place].any_late;
        const int idle = t.blocks == NO_TASK;
        if (late && idle) {
            late_to_far(apart, place, place);
            task_find(p, together, before[1], &t);
            head_kv = t.head / p->group;
            load_block(at->k, map_k, SLABS, &t, head_kv, 0, count, at->k_full, at->k_empty);
        } else if (late) {
            late_to_far(apart, place, (turn + 1) % TASKS);
        } else if (idle && before[0] != NOT_YET) {
            task_clear(p, &t);
        }
        t.again = again || (late && idle);
        tasks[place] = t;
        if (t.blocks > 0) {
            load_tile(at->q, map_q, SLABS, SLAB_Q, t.row0, t.head, t.batch, at->q_full);
        } else {
            mbarrier_arrive(at->q_full);
        }
        if (t.blocks == NO_TASK) {
            return;
        }
        again = late && !idle;
        const uint next = again ? before[1] : idle ? number : GROUPS + atomic_inc(given_out);
        before[1] = before[0];
        before[0] = idle && !late ? NOT_YET : number;
        number = next;
        for (int j = 0; j < t.blocks; j++, count++) {
            load_block(at->v, map_v, SLABS_V, &t, head_kv, j, count, at->v_full, at->v_empty);
            if (j + 1 < t.blocks) {
                load_block(at->k, map_k, SLABS, &t, head_kv, j + 1, count + 1, at->k_full,
                           at->k_empty);
            }
        }
    }
}

/* A warp has done with what a barrier guards. */
INLINE void release(uint barrier_at) {
    if (get_local_id(0) % 32 == 0) {
        mbarrier_arrive(barrier_at);
    }
}

/* ---- The watchers: WATCHERS warps ---- */

/* Replaces NaN and Inf by 0. */
INLINE void clean(__local uint *pair) {
    const uint bad = wgmma_pair_bad(*pair);
    *pair &= (bad & 0x8000u ? 0u : 0xffffu) | (bad & 0x80000000u ? 0u : 0xffff0000u);
}

INLINE uint any_bad(uint4 x) {
    return wgmma_pair_bad(x.x) | wgmma_pair_bad(x.y) | wgmma_pair_bad(x.z) | wgmma_pair_bad(x.w);
}

/* Cleans a tile of V, work-item by work-item; true, for all of a warp, where one of it found
 * something. */
INLINE int clean_tile(__local uint *tile, uint item) {
    const uint step = WATCHERS * 32 * 4; /* pairs */
    uint bad = 0;
    for (uint i = item * 4; i < TILE_V / 4; i += 4 * step) {
        uint4 x[4]; /* four reads under way at once */
        UNROLL
        for (uint j = 0; j < 4; j++) {
            const uint from = i + j * step;
            x[j] = from < TILE_V / 4 ? *(__local const uint4 *)(tile + from) : (uint4)(0);
        }
        const uint found = any_bad(x[0]) | any_bad(x[1]) | any_bad(x[2]) | any_bad(x[3]);
        if (found) {
            ROLL
            for (uint j = 0; j < 16; j++) {
                const uint from = i + j / 4 * step + j % 4;
                if (from < TILE_V / 4) {
                    clean(tile + from);
                }
            }
        }
        bad |= found;
    }
    return warp_any(bad != 0);
}

INLINE void watch(const struct places *at, __local struct task *tasks, __local uint *tile_v) {
    const uint item = (uint)get_local_id(0) - (CONSUMERS * WARPGROUP + 32), lane = item % 32u;
    uint count = 0;
    for (uint turn = 0;; turn++) {
        mbarrier_wait(at->q_full, turn & 1u);
        __local struct task *t = tasks + turn % TASKS;
        const int blocks = t->blocks;
        const int4 span = t->span;
        if (blocks == NO_TASK) {
            return;
        }
        warp_sync();
        release(at->q_empty);
        for (int j = 0; j < blocks; j++, count++) {
            const uint stage = ring_stage(count);
            mbarrier_wait(at->v_full + 8 * stage, ring_parity(count));
            if (span_is_boundary(span, span.x + j * BLOCK_N, BLOCK_N) &&
                clean_tile(tile_v + stage * (TILE_V / 4), item)) {
                copy_publish();
                if (lane == 0) {
                    t->notes[item / 32u] = 1;
                }
            }
            warp_sync();
            release(at->v_ready + 8 * stage);
        }
    }
}

/* ---- The consumers: a warpgroup each ---- */

/* Of work-item i of the warpgroup: rows[0] and rows[0] + 8, columns 8c + 2 (i % 4) + 0, 1. */
struct rows {
    float m[2], l[2]; /* m: base 2; l: of this work-item's own columns */
    float unit[2];    /* of the scores: score_unit, or 1 where the row is far (scale_far) */
    int2 keys[2];     /* that each row sees */
};

INLINE void turn_begin(uint group) {
    if (TURNS * (CONSUMERS - 1) > 0) {
        bar_sync(1u + group, 2 * WARPGROUP);
    }
}
INLINE void turn_end(uint group) {
    if (TURNS * (CONSUMERS - 1) > 0) {
        bar_arrive(1u + (group + 1u) % CONSUMERS, 2 * WARPGROUP);
    }
}

INLINE void start_scores(float *s, uint q, uint k) {
    UNROLL
    for (int i = 0; i < STEPS; i++) {
        const uint slab = (uint)i / 4u, within = (uint)i % 4u * (2 * WGMMA_STEP);
        wgmma_scores_step(s, wgmma_descriptor(q + slab * SLAB_Q + within, 16),
                          wgmma_descriptor(k + slab * SLAB_KV + within, 16), i != 0);
    }
    wgmma_commit();
}

INLINE void start_sums(float *o, const uint *weights, uint v) {
    UNROLL
    for (int i = 0; i < BLOCK_N / WGMMA_STEP; i++) {
        wgmma_weigh_step(o, weights + 4 * i,
                         wgmma_descriptor(v + (uint)i * (WGMMA_STEP * WGMMA_ROW_BYTES), SLAB_KV));
    }
    wgmma_commit();
}

/* Scores of a block's keys that a row does not see become -inf: those behind its last key, or
 * those before its first one; two instructions for each score. */
INLINE void hide(float *s, const struct rows *rows, int key0, const int behind) {
    UNROLL
    for (int r = 0; r < 2; r++) {
        const int edge =
            (behind ? rows->keys[r].y : rows->keys[r].x) - key0 - 2 * (int)(get_local_id(0) % 4);
        UNROLL
        for (int i = 0; i < SCORES / 2; i++) {
            const int key = i / 2 * 8 + i % 2, at = i / 2 * 4 + 2 * r + i % 2;
            s[at] = (key >= edge) == behind ? -INFINITY : s[at];
        }
    }
}

/* Scores of rows that are far, times the unit. */
INLINE void scale_far(float *s, const struct rows *rows, float unit) {
    UNROLL
    for (int i = 0; i < SCORES; i++) {
        s[i] *= rows->unit[i / 2 % 2] == unit ? 1.0f : unit;
    }
}

/*
 * Products become weights, in place; rescale is for what was summed before.  sign and unit: see
 * score.cl.  Where the warp has a far row all blocks count as boundary blocks, full1 is FAR: to ask
 * for far rows costs other blocks nothing.
 */
INLINE void soften(const struct params *p, float *s, struct rows *rows, float *rescale, int key0,
                   const struct part *part, float sign, float unit) {
    if (sign != 1.0f) {
        UNROLL
        for (int i = 0; i < SCORES; i++) {
            s[i] *= sign;
        }
    }
    if (SOFTCAP) {
        UNROLL
        for (int i = 0; i < SCORES; i++) {
            s[i] = score_of_product(p, s[i]);
        }
    }
    if (MASKED && key0 < part->full0) {
        hide(s, rows, key0, 0);
    }
    if (key0 + BLOCK_N > part->full1) {
        if (part->full1 == FAR) {
            scale_far(s, rows, unit);
        }
        hide(s, rows, key0, 1);
    }
    UNROLL
    for (int r = 0; r < 2; r++) {
        float most[2] = {-INFINITY, -INFINITY};
        UNROLL
        for (int c = 0; c < SCORES / 4; c++) {
            most[c % 2] = state_max(most[c % 2], state_max(s[4 * c + 2 * r], s[4 * c + 2 * r + 1]));
        }
        float m = state_max(most[0], most[1]);
        m = state_max(m, as_float(warp_exchange(as_uint(m), 1)));
        m = state_max(m, as_float(warp_exchange(as_uint(m), 2)));
        m = state_max(rows->m[r], wgmma_multiply_up(m, rows->unit[r]));
        const float reference = state_reference(m);
        rescale[r] = state_weight(rows->m[r], reference);
        rows->m[r] = m;
        float sum[2] = {0.0f, 0.0f};
        UNROLL
        for (int c = 0; c < SCORES / 4; c++) {
            s[4 * c + 2 * r] = state_weight_in(s[4 * c + 2 * r], rows->unit[r], reference);
            s[4 * c + 2 * r + 1] = state_weight_in(s[4 * c + 2 * r + 1], rows->unit[r], reference);
            sum[c % 2] += s[4 * c + 2 * r] + s[4 * c + 2 * r + 1];
        }
        rows->l[r] = fma(rows->l[r], rescale[r], sum[0] + sum[1]);
    }
}

INLINE void pack_weights(uint *weights, const float *s) {
    UNROLL
    for (int i = 0; i < PAIRS; i++) {
        weights[i] = wgmma_pack(s[2 * i], s[2 * i + 1]);
    }
}

INLINE void rescale_sums(float *o, const float *rescale) {
    UNROLL
    for (int i = 0; i < SUMS; i++) {
        o[i] *= rescale[i / 2 % 2];
    }
}

/* Sums of the row, which wait in memory while those of a segment grow: volatile, or the compiler
 * would want registers for them. */
struct totals {
    volatile float o[SUMS], m[2], l[2];
};

INLINE void totals_begin(struct totals *t) {
    ROLL
    for (int i = 0; i < SUMS; i++) {
        t->o[i] = 0.0f;
    }
    ROLL
    for (int r = 0; r < 2; r++) {
        t->m[r] = -INFINITY;
        t->l[r] = 0.0f;
    }
}

/* Adds a segment's sums, which then are those of the row where `back` (a literal), else 0. */
INLINE void totals_add(struct totals *t, float *sums, struct rows *rows, const int back) {
    float rescale[2];
    UNROLL
    for (int r = 0; r < 2; r++) {
        rescale[r] = state_weight(t->m[r], state_reference(rows->m[r]));
        const float sum = fma(t->l[r], rescale[r], rows->l[r]);
        t->m[r] = rows->m[r];
        t->l[r] = sum;
        rows->l[r] = back ? sum : 0.0f;
    }
    UNROLL
    for (int i = 0; i < SUMS; i += 32) {
        float before[32]; /* all under way at once */
        UNROLL
        for (int j = 0; j < 32; j++) {
            before[j] = t->o[i + j];
        }
        UNROLL
        for (int j = 0; j < 32; j++) {
            const float sum = fma(before[j], rescale[j / 2 % 2], sums[i + j]);
            t->o[i + j] = sum;
            sums[i + j] = back ? sum : 0.0f;
        }
    }
}

/* Adds the NaN and Inf of V that the watchers took out and that the rows see. */
INLINE void restore(const struct params *p, float *o, __local const struct task *t, int row,
                    __global const element *v) {
    const int4 span = t->span;
    const int2 keys[2] = {span_of_row(p, row), span_of_row(p, row + 8)};
    v += p->v.offset + t->batch * p->v.batch + t->head / p->group * p->v.head;
    ROLL
    for (int key0 = span.x; key0 < span.y; key0 += BLOCK_N) {
        if (!span_is_boundary(span, key0, BLOCK_N)) {
            continue;
        }
        ROLL
        for (int key = key0; key < min(key0 + BLOCK_N, span.y); key++) {
            UNROLL
            for (int i = 0; i < SUMS / 2; i++) {
                const int d = i / 2 * 8 + i % 2 + 2 * (int)(get_local_id(0) % 4);
                const float x = d < HEAD_DIM_V ? load(v + key * p->v.row + d) : 0.0f;
                UNROLL
                for (int r = 0; r < 2; r++) {
                    const int seen = key >= keys[r].x && key < keys[r].y;
                    o[i / 2 * 4 + 2 * r + i % 2] += seen && !isfinite(x) ? x : 0.0f;
                }
            }
        }
    }
}

/* Four work-items with four chunks of a row in pairs: each gets one chunk, whole. */
INLINE void gather_chunk(uint *x) {
    const int odd = (int)get_local_id(0) & 1, high = (int)get_local_id(0) & 2;
    UNROLL
    for (int i = 0; i < 4; i += 2) {
        const uint a = x[i], b = x[i + 1], got = warp_exchange(odd ? a : b, 1);
        x[i] = odd ? got : a;
        x[i + 1] = odd ? b : got;
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        const uint a = x[i], b = x[i + 2], got = warp_exchange(high ? a : b, 2);
        x[i] = high ? got : a;
        x[i + 2] = high ? b : got;
    }
}

/* A row of O: its sums times its normaliser; within F16's range where `within` (a literal). Returns
 * products and those of its pairs, for wgmma_not_finite. */
INLINE uint put_row(const float *sums, const int r, float normaliser, __global element *to,
                    int live, uint products, const int within) {
    const int quarter = (int)(get_local_id(0) % 4);
    UNROLL
    for (int c = 0; c < WGMMA_COLUMNS / 32; c++) {
        uint x[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            const float *pair = sums + (4 * c + i) * 4 + 2 * r;
            const float low = pair[0] * normaliser, high = pair[1] * normaliser;
            x[i] =
                within ? wgmma_pack(state_output(low), state_output(high)) : wgmma_pack(low, high);
        }
        products = wgmma_add_products(x[0], x[1], wgmma_add_products(x[2], x[3], products));
        gather_chunk(x);
        const int d = (4 * c + quarter) * 8;
        if (live && d < HEAD_DIM_V) {
            *(__global uint4 *)(to + d) = (uint4)(x[0], x[1], x[2], x[3]);
        }
    }
    return products;
}

/* What happens seldom is asked at the end, in one vote: is a row late, and has an element of o
 * overflowed? */
INLINE void finish(const struct params *p, const float *sums, const struct rows *rows,
                   __local struct task *t, __local uint *late_rows, int row, __global element *o,
                   __global float *lse) {
    float normaliser[2];
    uint products = 0;
    o += p->o.offset + t->batch * p->o.batch + t->head * p->o.head;
    lse += p->lse.offset + t->batch * p->lse.batch + t->head * p->lse.head;
    UNROLL
    for (int r = 0; r < 2; r++) {
        float l = rows->l[r];
        l += as_float(warp_exchange(as_uint(l), 1));
        l += as_float(warp_exchange(as_uint(l), 2));
        l = state_sum(rows->m[r], l, rows->keys[r].x < rows->keys[r].y);
        const int to = row + 8 * r, live = to < p->seq_q;
        normaliser[r] = state_normaliser(l);
        products = put_row(sums, r, normaliser[r], o + to * p->o.row, live, products, 0);
        if (live && get_local_id(0) % 4 == 0 && (p->written & OPERAND_LSE)) {
            lse[to * p->lse.row] = state_lse(rows->m[r], l);
        }
    }
    const int late[2] = {rows->unit[0] != 1.0f && state_is_far(rows->m[0]),
                         rows->unit[1] != 1.0f && state_is_far(rows->m[1])};
    const int overflowed = TYPE == F16 && wgmma_not_finite(products);
    if (warp_any(overflowed || late[0] || late[1])) {
        const uint rows_late = warp_rows(late);
        UNROLL
        for (int r = 0; r < 2 * (TYPE == F16); r++) {
            const int to = row + 8 * r;
            put_row(sums, r, normaliser[r], o + to * p->o.row, to < p->seq_q, 0, 1);
        }
        if (get_local_id(0) % 32 == 0) {
            late_rows[get_local_id(0) / 32] = rows_late;
            atomic_or(&t->any_late, (uint)(rows_late != 0));
        }
    }
}

/* Block `count` holds no key that this warpgroup's rows see: its turn is ended and the block given
 * back, as others wait for both. */
INLINE void pass_over(const struct places *at, uint group, uint count) {
    const uint stage = ring_stage(count), parity = ring_parity(count);
    mbarrier_wait(at->k_full + 8 * stage, parity);
    turn_begin(group);
    turn_end(group);
    warp_sync(); /* all of the warp have left the wait */
    release(at->k_empty + 8 * stage);
    mbarrier_wait(at->v_ready + 8 * stage, parity);
    warp_sync();
    release(at->v_empty + 8 * stage);
}

INLINE void consume(const struct params *p, const struct places *at, __local struct task *tasks,
                    __local struct rows_apart *apart, __global const element *v,
                    __global element *o, __global float *lse) {
    const uint group = (uint)get_local_id(0) / WARPGROUP, lane = (uint)get_local_id(0) % 32u;
    const int first =
        (int)(group * 64u + (uint)get_local_id(0) % WARPGROUP / 32u * 16u + lane / 4u);
    const uint tile_q = at->q + group * (64 * WGMMA_ROW_BYTES);
    const float sign = score_sign(p), unit = score_unit(p);
    float s[SCORES], sums[SUMS], rescale[2];
    uint weights[PAIRS];
    uint count = 0;

    if (group + 1u == CONSUMERS) {
        turn_end(group);
    }
    for (uint turn = 0;; turn++) {
        mbarrier_wait(at->q_full, turn & 1u);
        __local struct task *t = tasks + turn % TASKS;
        const int all_blocks = t->blocks, begin = t->span.x, row = t->row0 + first;
        if (all_blocks == NO_TASK) {
            break;
        }
        struct part part = t->parts[group];
        struct rows rows;
        UNROLL
        for (int r = 0; r < 2; r++) {
            rows.m[r] = -INFINITY;
            rows.l[r] = 0.0f;
            rows.keys[r] = span_of_row(p, row + 8 * r);
            rows.unit[r] = unit;
        }
        if (t->again) {
            const uint far = apart->far[turn % TASKS][get_local_id(0) / 32];
            rows.unit[0] = warp_row(far, 0) ? 1.0f : unit;
            rows.unit[1] = warp_row(far, 1) ? 1.0f : unit;
            part.full1 = far ? FAR : part.full1;
        }
        UNROLL
        for (int i = 0; i < SUMS; i++) {
            sums[i] = 0.0f;
        }
        struct totals totals;
        if (SEGMENT) {
            totals_begin(&totals);
        }
        if (part.blocks > 0) {
            /* block 0: scores alone */
            uint stage = ring_stage(count);
            mbarrier_wait(at->k_full + 8 * stage, ring_parity(count));
            turn_begin(group);
            wgmma_pin_scores(s);
            wgmma_begin();
            start_scores(s, tile_q, at->k + stage * TILE_K);
            turn_end(group);
            wgmma_wait(0);
            wgmma_pin_scores(s);
            release(at->k_empty + 8 * stage);
            if (part.blocks == 1) {
                release(at->q_empty);
            }
            soften(p, s, &rows, rescale, begin, &part, sign, unit);
            pack_weights(weights, s);

            mbarrier_wait(at->v_ready + 8 * stage, ring_parity(count));

            for (int j = 1; j < part.blocks; j++) {
                const uint before = stage;
                count++;
                stage = ring_stage(count);
                mbarrier_wait(at->k_full + 8 * stage, ring_parity(count));
                turn_begin(group);
                wgmma_pin_scores(s);
                wgmma_pin_output(sums);
                wgmma_begin();
                start_scores(s, tile_q, at->k + stage * TILE_K);
                start_sums(sums, weights, at->v + before * TILE_V);
                turn_end(group);
                wgmma_wait(1);
                wgmma_pin_scores(s);
                release(at->k_empty + 8 * stage);
                if (j + 1 == part.blocks) {
                    release(at->q_empty);
                }
                soften(p, s, &rows, rescale, begin + j * BLOCK_N, &part, sign, unit);
                wgmma_pin_scores(s);
                /* The loop of this wait is also what keeps ptxas from putting the next one before
                 * the softmax, which would then not run during the product. */
                mbarrier_wait(at->v_ready + 8 * stage, ring_parity(count));
                wgmma_wait(0);
                wgmma_pin_output(sums);
                release(at->v_empty + 8 * before);
                pack_weights(weights, s);
                rescale_sums(sums, rescale);
                if (state_segment_ends(j * BLOCK_N, BLOCK_N)) {
                    totals_add(&totals, sums, &rows, 0);
                }
            }

            /* the last block: its sum alone */
            wgmma_pin_output(sums);
            wgmma_begin();
            start_sums(sums, weights, at->v + stage * TILE_V);
            wgmma_wait(0);
            wgmma_pin_output(sums);
            release(at->v_empty + 8 * stage);
            count++;
            if (SEGMENT) {
                totals_add(&totals, sums, &rows, 1);
            }
        } else {
            warp_sync();
            release(at->q_empty);
        }
        for (int j = part.blocks; j < all_blocks; j++, count++) {
            pass_over(at, group, count);
        }
        if (t->notes[0] | t->notes[1] | t->notes[2]) {
            restore(p, sums, t, row, v);
        }
        finish(p, sums, &rows, t, apart->late[turn % TASKS], row, o, lse);
    }
    if (group == 0) {
        turn_begin(group);
    }
}

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void fwd_wgmma(KERNEL_ARGUMENTS) {
    __local uint tile_q[TILE_Q / 4] __attribute__((aligned(1024)));
    __local uint tile_k[STAGES * TILE_K / 4] __attribute__((aligned(1024)));
    __local uint tile_v[STAGES * TILE_V / 4] __attribute__((aligned(1024)));
    __local ulong barriers[2 + 5 * STAGES];
    __local struct task tasks[TASKS];
    __local struct rows_apart apart;

    (void)q; /* the copy engine has their maps */
    (void)k;
    const uint b = wgmma_address(barriers);
    const struct places at = {
        .q = wgmma_address(tile_q),
        .k = wgmma_address(tile_k),
        .v = wgmma_address(tile_v),
        .q_full = b,
        .q_empty = b + 8,
        .k_full = b + 16,
        .k_empty = b + 16 + 8 * STAGES,
        .v_full = b + 16 + 16 * STAGES,
        .v_ready = b + 16 + 24 * STAGES,
        .v_empty = b + 16 + 32 * STAGES,
    };
    const uint item = (uint)get_local_id(0);
    if (item == 0) {
        mbarrier_init(at.q_full, 1);
        mbarrier_init(at.q_empty, 4 * CONSUMERS + WATCHERS);
        UNROLL
        for (uint i = 0; i < 8 * STAGES; i += 8) {
            mbarrier_init(at.k_full + i, 1);
            mbarrier_init(at.k_empty + i, 4 * CONSUMERS);
            mbarrier_init(at.v_full + i, 1);
            mbarrier_init(at.v_ready + i, WATCHERS);
            mbarrier_init(at.v_empty + i, 4 * CONSUMERS);
        }
        UNROLL
        for (int i = 0; i < TASKS * WARPS; i++) {
            apart.late[i / WARPS][i % WARPS] = 0;
        }
        mbarrier_publish();
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    __global uchar *maps = (__global uchar *)(workspace + p.workspace);
    if (item >= CONSUMERS * WARPGROUP) {
#ifdef REGISTERS_PRODUCER
        WGMMA_GIVE_REGISTERS(REGISTERS_PRODUCER);
#endif
        if (item >= CONSUMERS * WARPGROUP + 32) {
            watch(&at, tasks, tile_v);
        } else if (item == CONSUMERS * WARPGROUP) {
            produce(&p, maps, (volatile __global uint *)(maps + 384), &at, tasks, &apart);
        }
    } else {
#ifdef REGISTERS_CONSUMER
        WGMMA_TAKE_REGISTERS(REGISTERS_CONSUMER);
#endif
        consume(&p, &at, tasks, &apart, v, o, lse);
    }
}
