/*
 * fwd_wgmma - for NVIDIA Hopper: matrix unit, tensor copy engine, warpgroups with different work.
 * F16 and BF16.
 *
 * A work-group computes BLOCK_M query rows of one head, a task, and then takes the next task
 * (wgmma_tasks.cl): as many work-groups as the device holds at once compute all of them.  The loads
 * of a task begin during the task before: K's first block, then Q, as soon as the last scores of
 * the task before are there.  The warpgroups of a work-group:
 *
 *     0 ... CONSUMERS - 1   64 query rows each: scores, softmax, output, in registers
 *     CONSUMERS             brings Q, K and V, and looks through V (wgmma_tasks.cl)
 *
 *     tile_q[SLABS][BLOCK_M][64]             64 elements of a row, 128 bytes (wgmma.cl)
 *     tile_k[STAGES][SLABS][BLOCK_N][64]     a ring: one is loaded while another is used
 *     tile_v[STAGES][SLABS_V][BLOCK_N][64]
 *     tasks[2]                               the one being loaded, the one being stored
 *
 *     barrier    arrives                        then
 *     q_full     the copy engine                the task and Q can be read
 *     q_empty    all who read them              Q can be loaded anew; the task before is stored
 *     k_full     the copy engine                K can be read
 *     k_empty    the consumers                  K can be loaded anew
 *     v_full     the copy engine                V can be looked through
 *     v_ready    the watchers                   V can be read
 *     v_empty    the consumers                  V can be loaded anew
 *
 * A consumer starts the scores of block j, then the weighted sum of block j - 1, and computes the
 * softmax of block j while the matrix unit computes that sum.  Until a product is complete no
 * instruction may touch its accumulators, and no branch may go around it: ptxas would serialise all
 * products (its message C7514).  So the first and the last block are outside the loop.  For blocks
 * behind the last one that its own 64 rows see a consumer computes nothing (pass_over).
 *
 * The softmax and the end of a row: wgmma_rows.cl.
 *
 * Large scores: whether a row is far (state.cl) is known when its task ends.  The weights of a far
 * row were not exact then: the row is late, its warp notes it in rows_apart.late, and the producer
 * hands the task out again, with the row in rows_apart.far.  The second time the scores of far rows
 * are multiplied by the unit before the maximum is taken, and the rows' unit is 1, so that all
 * their weights are exact; the other rows get the same results again.  So a task with a far row
 * takes twice the time, and any other task one vote.  To ask in each block cost 1 to 9% (H100,
 * 2026-11-26, f16; D 64 most); as it is, exact weights cost 1% (2026-11-27; BENCHMARKS.md).
 *
 * Rows longer than a segment (state.cl): the row's sums wait in private memory, struct totals.
 *
 * Grid: dimension 0, at most GROUPS work-groups; tasks go by slices_together().
 */
#ifndef TURNS
#error "TURNS: 1 lets warpgroups take turns at the matrix unit, 0 lets them race"
#endif

#define THREADS ((CONSUMERS + 1) * WARPGROUP)
#define STEPS ((HEAD_DIM + WGMMA_STEP - 1) / WGMMA_STEP)

/* Registers of a work-item, a multiple of 8; a multiprocessor has 65,536. */
#if BLOCK_M == 64
#elif BLOCK_M == 128
#define REGISTERS_PRODUCER 40
#define REGISTERS_CONSUMER 232
#else
#define REGISTERS_PRODUCER 32
#define REGISTERS_CONSUMER 160
#endif

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

/* Block `count` holds no key that this warpgroup's rows see: the warpgroup only takes its turn and
 * releases the block, since others wait for both. */
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
                    __global element *o, __global float *lse EXTRA_PARAMETERS) {
    const uint group = (uint)get_local_id(0) / WARPGROUP, lane = (uint)get_local_id(0) % 32u;
    const int first =
        (int)(group * 64u + (uint)get_local_id(0) % WARPGROUP / 32u * 16u + lane / 4u);
    const uint tile_q = at->q + group * (64 * WGMMA_ROW_BYTES);
    const float sign = score_sign(p), unit = score_unit(p);
    struct band band;
    slice_band(p, &band);
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
        struct scene scene = {0};
        if (SCORED) {
            struct slice slice;
            slice_of_head(p, t->batch, t->head, &slice);
            score_scene(p, &slice, &scene EXTRA_ARGUMENTS);
        }
        struct rows rows;
        UNROLL
        for (int r = 0; r < 2; r++) {
            rows.m[r] = -INFINITY;
            rows.l[r] = 0.0f;
            rows.keys[r] = span_of_row(&band, row + 8 * r);
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
            /* block 0: scores, no sum yet */
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
            soften(p, &scene, s, &rows, rescale, row, begin, &part, sign, unit);
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
                soften(p, &scene, s, &rows, rescale, row, begin + j * BLOCK_N, &part, sign, unit);
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

            /* the sum of the last block */
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

    (void)q; /* q and k are read by the copy engine, through their maps */
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
        consume(&p, &at, tasks, &apart, v, o, lse EXTRA_ARGUMENTS);
    }
}
