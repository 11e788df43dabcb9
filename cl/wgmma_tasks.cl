/*
 * wgmma_tasks - who computes which rows in fwd_wgmma, and the loads: tasks, rings of blocks, and
 * the warpgroup that loads for the others, the consumers.
 *
 * A task is BLOCK_M query rows of one head.  A work-group computes one task after another; a
 * counter in global memory tells the next one.  The last warpgroup works ahead of the consumers:
 *
 *     warp 0, one work-item   the producer: tells the copy engine what to bring
 *     warps 1 to 3            the watchers: look for NaN and Inf in V where a key is hidden
 *
 * A hidden key has the weight 0, and the matrix unit's 0 * NaN is NaN.  So where a block
 * has a hidden key (span_is_boundary) the watchers replace NaN and Inf in V by 0 and set a
 * note of the task; at the end of a task with a note each consumer adds those NaN and Inf, from
 * global memory, that its rows do see.
 *
 * A task with late rows (fwd_wgmma.cl) is handed out a second time, by the producer of the same
 * work-group.
 *
 * The barriers and rings are drawn in fwd_wgmma.cl.
 */
#ifndef BLOCK_M
#error "BLOCK_M: query rows per work-group; a multiple of 64"
#endif
#ifndef STAGES
#error "STAGES: blocks of K and of V in local memory, at least 2"
#endif
#ifndef GROUPS
#error "GROUPS: work-groups of a launch, at most"
#endif

#define WARPGROUP 128
#define CONSUMERS (BLOCK_M / 64)
#define WARPS (4 * CONSUMERS)     /* of consumers */
#define WATCHERS 3                /* warps */
#define TASKS 2                   /* places: a task being loaded, a task being stored */
#define TOGETHER_BYTES (32 << 20) /* of K and V; the second-level cache has 50 MB */

#define SLABS ((HEAD_DIM + WGMMA_SLAB - 1) / WGMMA_SLAB)
#define SLABS_V (WGMMA_COLUMNS / WGMMA_SLAB)
#define SLAB_Q (BLOCK_M * WGMMA_ROW_BYTES) /* bytes, as are the following */
#define SLAB_KV (BLOCK_N * WGMMA_ROW_BYTES)
#define TILE_Q (SLABS * SLAB_Q)
#define TILE_K (SLABS * SLAB_KV)
#define TILE_V (SLABS_V * SLAB_KV)

#define NO_TASK (-1)        /* task.blocks where no task is left: the end of the kernel */
#define NOT_YET 0xffffffffu /* instead of a number: that turn had no task */

/* Addresses in local memory, as PTX takes them; of a ring that of stage 0. */
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
 * It stays in local memory from the begin of its turn until its rows are stored. */
struct task {
    int batch, head, row0, blocks;
    int4 span;
    struct part parts[CONSUMERS];
    uint notes[WATCHERS]; /* 1 where that warp of watchers has replaced a NaN or Inf */
    int again;            /* 1 where the task is handed out for the second time */
    uint any_late;        /* 1 where a warp has late rows */
};

/* For the task in each place and each warp of consumers a mask of rows (warp_rows).  late: rows
 * that were found far at the task's end, after weights that were not exact.  far: where the task is
 * handed out for the second time, its late rows of the first time. */
struct rows_apart {
    uint late[TASKS][WARPS], far[TASKS][WARPS];
};

/*
 * Where a band makes tasks of different lengths, the tasks of several slices (slice.cl) are mixed,
 * the longest first: the short ones at the end fill the gaps.  Mixed are as many slices as fit the
 * second-level cache with their K and V; with more, K and V would be read from memory many times.
 */
INLINE uint slices_together(const struct params *p) {
    const long bytes = (long)slice_seq_kv(p) * ((HEAD_DIM + HEAD_DIM_V) * (int)sizeof(element));
    const long heads = TOGETHER_BYTES / max(bytes, 1L);
    return MASKED ? (uint)min(max(heads, 1L) * slice_sharing(p), (long)slice_count(p)) : 1u;
}

INLINE int blocks_until(const struct task *t, int end) {
    return (end - t->span.x + BLOCK_N - 1) / BLOCK_N;
}

/* The task with that number; NO_TASK where there are fewer.  together: slices_together(p). */
INLINE void task_find(const struct params *p, uint together, uint number, struct task *t) {
    const uint blocks = (uint)slice_blocks(p, BLOCK_M), slices = slice_count(p);
    t->again = 0;
    t->any_late = 0;
    UNROLL
    for (int i = 0; i < WATCHERS; i++) {
        t->notes[i] = 0;
    }
    if (number >= blocks * slices) {
        t->blocks = NO_TASK;
        return;
    }
    const uint begin = number / (blocks * together) * together;
    const uint within = number - begin * blocks, width = min(together, slices - begin);
    struct slice s;
    slice_of_number(p, begin + within % width, &s);
    t->batch = s.batch;
    t->head = s.head;
    t->row0 = slice_row0(p, within / width, BLOCK_M);
    const int row_last = s.band.seq_q - 1;
    t->span = span_of_rows(&s.band, t->row0, min(t->row0 + BLOCK_M - 1, row_last));
    t->blocks = blocks_until(t, t->span.y);
    UNROLL
    for (int i = 0; i < CONSUMERS; i++) {
        const int first = t->row0 + 64 * i;
        const int4 span = span_of_rows(&s.band, first, min(first + 63, row_last));
        t->parts[i].blocks = first <= row_last ? blocks_until(t, span.y) : 0;
        t->parts[i].full0 = span.z;
        t->parts[i].full1 = span.w;
    }
}

/* A task without rows: gives the consumers time to store the task before, see produce. */
INLINE void task_clear(const struct params *p, struct task *t) {
    t->batch = 0;
    t->head = 0;
    t->row0 = slice_seq_q(p);
    t->blocks = 0;
    t->span = (int4)(0);
    UNROLL
    for (int i = 0; i < CONSUMERS; i++) {
        t->parts[i].blocks = 0;
        t->parts[i].full0 = 0;
        t->parts[i].full1 = 0;
    }
}

/* A mask of a warp's rows, by a ballot: bits 4 i and 4 i + 1 are the rows 0 and 1 (which[0],
 * which[1]) of the work-items 4 i ... 4 i + 3, which share them.  warp_row: the bit of this
 * work-item's row r. */
INLINE uint warp_rows(const int *which) {
    return (warp_ballot(which[0]) & 0x11111111u) | (warp_ballot(which[1]) & 0x22222222u);
}
INLINE int warp_row(uint rows, int r) {
    return (int)(rows >> (get_local_id(0) % 32 / 4 * 4 + r) & 1u);
}

/* The stage of a ring that holds block `count`, and the parity of its barriers' phase.  A
 * work-group counts the blocks of all its tasks, those of K and of V alike. */
INLINE uint ring_stage(uint count) {
    return count % STAGES;
}
INLINE uint ring_parity(uint count) {
    return count / STAGES & 1u;
}

/* The warp no longer needs what the barrier guards: one of its work-items arrives. */
INLINE void release(uint barrier_at) {
    if (get_local_id(0) % 32 == 0) {
        mbarrier_arrive(barrier_at);
    }
}

/* ---- The producer: one work-item ---- */

/* Starts the copies of a tile's rows, from row0 on, slab after slab; they arrive at `full`. */
INLINE void load_tile(uint tile, __global const uchar *map, const uint slabs, const uint slab_bytes,
                      int row0, int head, int batch, uint full) {
    mbarrier_arrive_expecting(full, slabs * slab_bytes);
    for (uint i = 0; i < slabs; i++) {
        copy_slab(tile + i * slab_bytes, map, (int)i * WGMMA_SLAB, row0, head, batch, full);
    }
}

/* Starts the copies of block j of a task to its stage in a ring of K or V, once that is free. */
INLINE void load_block(uint ring, __global const uchar *map, const uint slabs, const struct task *t,
                       int head_kv, int j, uint count, uint full, uint empty) {
    const uint stage = ring_stage(count);
    mbarrier_wait(empty + 8 * stage, ring_parity(count) ^ 1u);
    load_tile(ring + stage * slabs * SLAB_KV, map, slabs, SLAB_KV, t->span.x + j * BLOCK_N, head_kv,
              t->batch, full + 8 * stage);
}

/* The task in place `from` will be handed out again in place `to`: its late rows are the far rows
 * there. */
INLINE void late_to_far(__local struct rows_apart *apart, uint from, uint to) {
    ROLL
    for (int i = 0; i < WARPS; i++) {
        apart->far[to][i] = apart->late[from][i];
        apart->late[from][i] = 0;
    }
}

/*
 * Turn n hands out one task.  Its place was that of turn n - 2, whose rows are stored by then: if
 * some are late, that task is handed out again, in turn n + 1, or in turn n where no other task is
 * left.  Where no task is left but that of turn n - 1 is not stored yet, turn n is a task without
 * rows, so that turn n + 1 can ask for its late rows.  A task has late rows only the first time.
 */
INLINE void produce(const struct params *p, __global const uchar *maps,
                    volatile __global uint *given_out, const struct places *at,
                    __local struct task *tasks, __local struct rows_apart *apart) {
    __global const uchar *map_q = maps, *map_k = maps + 128, *map_v = maps + 256;
    const uint together = slices_together(p);
    uint number = (uint)get_group_id(0), count = 0;
    uint before[2] = {NOT_YET, NOT_YET}; /* numbers of the tasks one and two turns ago */
    int again = 0;
    copy_acquire(map_q);
    copy_acquire(map_k);
    copy_acquire(map_v);
    for (uint turn = 0;; turn++) {
        const uint place = turn % TASKS;
        struct task t;
        task_find(p, together, number, &t);
        int head_kv = slice_head_kv(p, t.head);
        if (t.blocks > 0) {
            load_block(at->k, map_k, SLABS, &t, head_kv, 0, count, at->k_full, at->k_empty);
        }
        mbarrier_wait(at->q_empty, ~turn & 1u);
        const int late = before[1] != NOT_YET && tasks[place].any_late;
        const int idle = t.blocks == NO_TASK;
        if (late && idle) {
            late_to_far(apart, place, place);
            task_find(p, together, before[1], &t);
            head_kv = slice_head_kv(p, t.head);
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
        before[0] = t.again || (idle && !late) ? NOT_YET : number;
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

/* ---- The watchers: WATCHERS warps ---- */

/* Replaces NaN and Inf in a pair of elements by 0. */
INLINE void clean(__local uint *pair) {
    const uint bad = wgmma_pair_bad(*pair);
    *pair &= (bad & 0x8000u ? 0u : 0xffffu) | (bad & 0x80000000u ? 0u : 0xffff0000u);
}

INLINE uint any_bad(uint4 x) {
    return wgmma_pair_bad(x.x) | wgmma_pair_bad(x.y) | wgmma_pair_bad(x.z) | wgmma_pair_bad(x.w);
}

/* Replaces NaN and Inf in a tile of V; `item` is the number among all watchers.  By a vote true in
 * all work-items of a warp where one of them found any. */
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
