/*
 * The table, and how its words are read.
 *
 * Each (type, head dims, masked, softcap, variant) is a kernel of its own and costs a
 * CPU driver over a second to compile: most cases therefore share three shapes,
 * and each odd head dim has one case.
 */
#include "cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct test_case cases_table[] = {
    /* f32, no mask: lengths, layouts, args */
    {"f32 q1 d64", "bhsd", "", NULL},
    {"f32 q0 k7 d64", "bhsd", "", NULL},
    {"f32 h2 q7 k0 d64", "bhsd", "", NULL},
    {"f32 q0 k0 d64", "padded", "", NULL},
    {"f32 b2 h4:2 q33 k65 d64", "bhsd", "", NULL},
    {"f32 b2 h4:2 q33 k65 d64", "bshd", "", NULL},
    {"f32 b2 h4:2 q65 d64", "packed", "", NULL},
    {"f32 b2 h6:2 q33 k65 d64", "padded", "", NULL},
    {"f32 b2 h4:2 q33 k65 d64", "broadcast", "", NULL},
    {"f32 h5:1 q1 k130 d64", "padded", "nolse", NULL},
    {"f32 h2 q130 k1 d64", "bshd", "", NULL},
    {"f32 h2 q70 k300 d64", "padded", "", NULL},
    {"f32 b3 h2 q33 k65 d64", "padded", "batch=2 q=20 k=31", NULL},
    {"f32 b3 h2 q33 k65 d64", "bhsd", "batch=1 q=1 k=64", NULL},
    {"f32 b3 h2 q33 k65 d64", "bshd", "batch=0", NULL},
    {"f32 b3 h2 q33 k65 d64", "packed", "k=0", NULL},
    {"f32 b3 h2 q33 k65 d64", "padded", "q=0", NULL},
    {"f32 h2 q33 k65 d64", "bshd", "scale=-0.5", NULL},
    {"f32 h2 q33 k65 d64", "bshd", "scale=0", NULL},
    {"f32 h2 q33 k65 d64", "bhsd", "scale=3", NULL},
    {"f32 h2 q65 k130 d64", "padded", "amplitude=30", NULL},
    {"f32 b2 h4:2 q33 k65 d64", "padded", "svm", NULL},
    {"f32 b2 h4:2 q65 d64", "packed", "svm unordered nolse", NULL},
    {"f32 b2 h4:2 q33 k65 d64", "bhsd", "unordered", NULL},

    /* f32, bands */
    {"f32 b2 h4:2 q65 d64 causal", "packed", "", NULL},
    {"f32 h2 q150 k300 d64 causal", "bshd", "", NULL},
    {"f32 h2 q33 k130 d64 causal start", "padded", "", NULL},
    {"f32 h2 q130 k33 d64 causal", "padded", "", NULL},
    {"f32 h2 q130 k33 d64 causal start", "bhsd", "", NULL},
    {"f32 h3:1 q1 k130 d64 causal", "padded", "", NULL},
    {"f32 h2 q33 k0 d64 causal", "bhsd", "", NULL},
    {"f32 b2 h2 q65 k130 d64 causal", "padded", "batch=1 q=17 k=90", NULL},
    {"f32 b2 h4:2 q1-65 k130 d64 causal", "padded", "batch=1 q=1 k=90", NULL},
    {"f32 b2 h4:2 q1-65 k130 d64 causal", "bshd", "q=7", NULL},
    {"f32 b2 h2 q65 k130 d64 causal", "bshd", "q=64 k=17", NULL},
    {"f32 h2 q130 d64 window0,0", "padded", "", NULL},
    {"f32 h2 q130 k200 d64 window20,0", "bshd", "", NULL},
    {"f32 h2 q130 k200 d64 window0,20 start", "padded", "", NULL},
    {"f32 h2 q130 k200 d64 window33,17", "bhsd", "", NULL},
    {"f32 h2 q150 k70 d64 window10,5", "padded", "", NULL},
    {"f32 h2 q150 k70 d64 window10,5 start", "bshd", "", NULL},
    {"f32 h2 q70 k150 d64 window-1,7 start", "padded", "", NULL},
    {"f32 h2 q70 k150 d64 window7,-1", "padded", "", NULL},
    {"f32 h2 q70 k65 d64 window1000000000,1000000000", "padded", "", NULL},
    {"f32 h2 q65 d64 causal", "bshd", "amplitude=30 unordered", NULL},
    {"f32 h2 q65 d64 causal", "broadcast", "scale=-1 svm", NULL},

    /* f16 and bf16 */
    {"f16 b2 h4:2 q33 k65 d64", "padded", "", NULL},
    {"f16 b2 h4:2 q60 d64", "packed", "unordered", NULL},
    {"f16 h2 q60 k130 d64", "bshd", "amplitude=30", NULL},
    {"f16 h2 q7 k0 d64", "bhsd", "", NULL},
    {"f16 b2 h4:2 q150 k130 d64 causal", "padded", "", NULL},
    {"f16 h2 q70 k200 d64 window33,17", "bshd", "svm", NULL},
    {"f16 h2 q65 d64 causal", "packed", "q=1", NULL},
    {"bf16 b2 h4:2 q33 k65 d40", "padded", "", NULL},
    {"bf16 b2 h4:2 q60 d40", "packed", "svm", NULL},
    {"bf16 h2 q60 k130 d40", "bhsd", "amplitude=30", NULL},
    {"bf16 b2 h4:1 q150 k130 d40 causal", "padded", "", NULL},
    {"bf16 h2 q70 k200 d40 window33,17 start", "bshd", "nolse", NULL},
    {"f16 b2 h4:2 q60 d64", "packed", "scale=-0.5", NULL},
    {"f16 h2 q60 k130 d64", "bshd", "scale=0", NULL},
    {"f16 h2 q65 d64 causal", "broadcast", "scale=-1", NULL},
    {"f16 b3 h2 q60 k130 d64", "bhsd", "batch=2 q=20 k=31", NULL},
    {"bf16 h2 q70 k33 d40 window10,5", "bshd", "", NULL},
    {"bf16 b2 h4:2 q33 k65 d40", "bhsd", "scale=-3", NULL},

    /* types that differ: ggml has q and o in f32 beside k and v in f16 */
    {"f32 kf16 b2 h4:2 q33 k65 d64", "padded", "", NULL},
    {"f32 kf16 b3 h2 q60 k130 d64", "bshd", "batch=2 q=20 k=31 unordered", NULL},
    {"f32 kf16 b2 h4:2 q60 k130 d64 causal", "bshd", "", NULL},
    {"f32 kf16 h2 q65 d64 causal", "broadcast", "amplitude=30", NULL},
    {"f32 kf16 h5:1 q1 k130 d64 causal", "padded", "nolse", NULL},
    {"f32 kbf16 b2 h4:2 q33 k65 d40:72 window33,17", "padded", "", NULL},
    {"f16 kf32 vbf16 of32 h4:1 q33 k65 d33:20 causal", "padded", "", NULL},
    {"bf16 kf16 vf32 of16 h2 q33 k130 d24:40", "bshd", "svm", NULL},
    {"f16 vbf16 of32 h2 q33 k65 d64 softcap5", "bhsd", "", NULL},
    {"f32 of16 h2 q33 k65 d16:3 window10,5", "padded", "", NULL},

    /* k and v in blocks of 32 elements */
    {"f32 kq8_0 b2 h4:2 q33 k65 d64", "padded", "v=uniform:0.001", NULL},
    {"f32 kq8_0 vq4_0 h4:2 q7 k130 d64:96 causal", "bshd", "unordered", NULL},
    {"f16 kq4_0 vq8_0 h5:1 q1 k300 d128 causal", "padded", "", NULL},
    {"bf16 vq4_0 of32 h2 q33 k65 d40:32 window33,17 softcap3 alibi", "bhsd", "svm", NULL},
    {"f32 kq4_0 vf16 b2 h2 q17 k70 d32:24 causal", "broadcast", "", NULL},

    /* softcap */
    {"f32 h4:2 q33 k65 d64 softcap5", "padded", "", NULL},
    {"f32 h2 q60 k130 d64 softcap50", "bshd", "amplitude=30", NULL},
    {"f32 h2 q60 k33 d64 causal softcap2.5", "padded", "scale=-0.5", NULL},
    {"f16 h2 q60 k130 d64 window40,3 softcap30", "padded", "amplitude=30", NULL},
    {"f16 h2 q60 k130 d64 window40,3 softcap30", "bshd", "scale=-0.5", NULL},
    {"bf16 h2 q33 k65 d40 softcap1", "padded", "", NULL},

    /* ALiBi: distances count from the opposite key, by the lengths of the enqueue */
    {"f32 b2 h4:2 q33 k65 d64 alibi", "padded", "", NULL},
    {"f32 h3 q65 d64 causal alibi", "bshd", "", NULL},
    {"f32 h2 q130 k200 d40 window33,17 alibi", "bhsd", "svm", NULL},
    {"f32 h2 q130 k33 d64 causal alibi", "padded", "", NULL},
    {"f32 b2 h4:1 q17 k70 d64 start alibi", "broadcast", "alibi=uniform:1", NULL},
    {"f32 h2 q60 k33 d40 causal softcap2.5 alibi", "padded", "scale=-0.5", NULL},
    {"f32 b2 h2 q65 k130 d64 causal alibi", "padded", "batch=1 q=17 k=90", NULL},
    {"f32 h2 q7 k0 d64 alibi", "bhsd", "", NULL},
    {"f32 b2 h2 q33 k65 d64 alibi", "packed", "alibi=value:0 unordered", NULL},
    {"f32 h2 q65 k130 d64 alibi", "bshd", "alibi=uniform:100 tight", NULL},
    {"f16 b2 h6:3 q60 k130 d64 causal alibi", "padded", "", NULL},
    {"f16 h2 q65 k150 d64 window40,9 softcap30 alibi", "bshd", "amplitude=30", NULL},
    {"f16 h2 q70 k150 d64 alibi", "bhsd", "alibi=uniform:100", NULL},
    {"f16 b2 h2 q130 k70 d40 causal alibi", "broadcast", "scale=-1 q=65", NULL},
    {"bf16 b2 h4:2 q33 k65 d40 start alibi", "padded", "alibi=uniform:1", NULL},

    /* bias, mask and sinks: "holes" hide keys from all, all keys from queries, and single pairs */
    {"f32 b2 h4:2 q33 k65 d64 bias", "padded", "", NULL},
    {"f32 b2 h2 q65 k130 d40 causal bias", "bshd", "batch=1 q=17 k=90", NULL},
    {"f32 h2 q60 k33 d64 biasf16 softcap2.5", "bhsd", "bias=lowest:1", NULL},
    {"f32 h2 q33 k65 d64 biasbf16 alibi", "bhsd", "bias=lowest:3 svm", NULL},
    {"f32 b2 h4:2 q33 k65 d40 mask", "packed", "", NULL},
    {"f32 b2 h4:2 q33 k65 d64 causal mask", "broadcast", "", NULL},
    {"f32 h2 q130 k200 d40 window33,17 mask bias sink", "padded", "", NULL},
    {"f32 h2 q7 k0 d64 bias mask sink", "bhsd", "", NULL},
    {"f32 h4:2 q130 k33 d64 causal sink", "padded", "", NULL},
    {"f32 h2 q33 k65 d40 sink", "bshd", "amplitude=30 sink=uniform:100", NULL},
    {"f16 b2 h4:2 q60 k130 d64 bias", "padded", "", NULL},
    {"f16 h2 q65 k150 d40 biasf32 softcap30", "broadcast", "amplitude=30", NULL},
    {"bf16 b2 h4:2 q33 k65 d40 causal mask sink", "padded", "", NULL},
    {"f32 kf16 b2 h8:2 q33 k65 d64 biasf16 alibi sink", "broadcast", "", NULL}, /* as ggml's */
    {"f16 h2 q70 k200 d64 window33,17 sink", "bshd", "", NULL},

    /* lengths of sequences: some keys, none, less, all (tensors.c) */
    {"f32 b5 h4:2 q33 k130 d40 causal lengths", "padded", "", NULL},
    {"f32 b3 h2 q33 k65 d64 window9,3 start lengths alibi", "bshd", "k=50 q=30", NULL},
    {"f16 b4 h4:2 q2 k300 d64 window100,0 lengths", "padded", "", NULL},
    {"bf16 b3 h8:2 q1 k1100 d40 lengths mask sink", "bshd", "k=1000", NULL},
    {"f32 b8 h4:1 q3 k600 d64 causal lengths", "broadcast", "svm", NULL},

    /* head dims */
    {"f32 h2 q33 k65 d1", "padded", "", NULL},
    {"f16 h2 q33 k65 d3 causal", "padded", "", NULL},
    {"bf16 h2 q33 k65 d33", "padded", "", NULL},
    {"f32 h2 q33 k65 d40 causal", "packed", "", NULL},
    {"f32 h2 q33 k65 d77 causal", "padded", "", NULL},
    {"f16 h2 q33 k65 d80", "bshd", "", NULL},
    {"bf16 h2 q33 k65 d96 causal", "bshd", "", NULL},
    {"f32 h4:2 q33 k130 d128 causal", "bhsd", "", NULL},
    {"f16 h4:2 q60 k70 d128", "bshd", "", NULL},
    {"bf16 h2 q60 k130 d128 causal", "padded", "", NULL},
    {"f32 h2 q33 k65 d256", "padded", "", NULL},
    {"f16 h2 q33 k65 d256 causal", "bshd", "", NULL},
    {"f32 q17 k33 d512 causal", "padded", "", NULL},
    {"bf16 q17 k33 d512", "bhsd", "", NULL},
    {"f32 h2 q33 k65 d16:128", "padded", "", NULL},
    {"f16 h2 q33 k65 d128:16 causal", "padded", "", NULL},
    {"bf16 h2 q33 k65 d40:72", "bshd", "", NULL},
    {"f32 h2 q33 k65 d75:3 causal", "padded", "", NULL},
    {"f16 q17 k33 d1:512", "padded", "", NULL},
    {"f32 q17 k33 d512:1", "padded", "", NULL},

    /* variants that no device would choose; within 32 KiB of local memory, and the small
     * ones (test_attention --small) within 32 work-items */
    {"f32 h2 q33 k65 d40 window20,5", "padded", "", "fwd_rows WORK_GROUP=1"},
    {"f32 b2 h2 q33 k65 d40 causal", "bshd", "", "fwd_rows WORK_GROUP=7"},
    {"f16 h3 q150 k130 d40", "bhsd", "", "fwd_rows WORK_GROUP=256"},
    {"f32 h4:2 q33 k65 d40 window20,5", "padded", "", "bwd_rows WORK_GROUP=1"},
    {"f16 df32 h4:2 q33 k65 d16:24 softcap3", "packed", "", "bwd_rows WORK_GROUP=8"},
    {"f32 kf16 vbf16 of16 df16 h2 q33 k65 d16 causal", "bshd", "", "bwd_rows WORK_GROUP=8"},
    {"bf16 b2 h3 q150 k130 d40 causal softcap3", "bshd", "", "bwd_rows WORK_GROUP=256"},
    {"f16 df32 h4:2 q65 k130 d40:24 window33,17", "bshd", "",
     "bwd_mma Q_WAVES=2 Q_ROW_FRAGMENTS=2 Q_BLOCK_N=32 Q_STAGES=2 KV_WAVES=2 KV_ROW_FRAGMENTS=2 "
     "KV_BLOCK_N=48 KV_STAGES=1 TOGETHER=0"},
    {"bf16 h6:2 q33 k65 d24:40 causal softcap3 alibi", "padded", "scale=-0.5",
     "bwd_mma FAST_LOADS=0 Q_WAVES=1 Q_ROW_FRAGMENTS=1 Q_BLOCK_N=16 Q_STAGES=1 KV_WAVES=1 "
     "KV_ROW_FRAGMENTS=1 KV_BLOCK_N=16 KV_STAGES=2 TOGETHER=1"},
    {"f16 h4:1 q150 k65 d33 causal", "bhsd", "",
     "bwd_mma Q_WAVES=1 Q_ROW_FRAGMENTS=3 Q_BLOCK_N=64 Q_STAGES=1 KV_WAVES=3 KV_ROW_FRAGMENTS=1 "
     "KV_BLOCK_N=16 KV_STAGES=2 TOGETHER=0"},
    {"bf16 df32 h2 q70 k150 d16:48 window7,-1", "bhsd", "q=60",
     "bwd_mma Q_WAVES=2 Q_ROW_FRAGMENTS=1 Q_BLOCK_N=32 Q_STAGES=2 KV_WAVES=1 KV_ROW_FRAGMENTS=2 "
     "KV_BLOCK_N=32 KV_STAGES=1 TOGETHER=1"},
    /* bwd_lanes: parts with many blocks of keys, with one and with none; few lanes */
    {"f32 h4:2 q70 k300 d40 window90,17", "padded", "",
     "bwd_lanes SWEEP=3 LANES=8 VECTORS=2 TILE_ROWS=16 DOT_UNROLL=4 SUM_UNROLL=4"},
    {"f16 df32 b2 h4:2 q130 k70 d64:33 causal softcap3", "bshd", "",
     "bwd_lanes SWEEP=5 LANES=16 VECTORS=1 TILE_ROWS=20 DOT_UNROLL=8 SUM_UNROLL=5"},
    {"f32 h2 q65 k150 d33:20 causal alibi", "padded", "",
     "bwd_lanes SWEEP=0 LANES=4 VECTORS=3 TILE_ROWS=13 DOT_UNROLL=5 SUM_UNROLL=3"},
    {"bf16 df16 h6:3 q33 k200 d16:24 window70,3 start", "broadcast", "",
     "bwd_lanes SWEEP=0 LANES=16 VECTORS=4 TILE_ROWS=64 DOT_UNROLL=4 SUM_UNROLL=4"},
    {"f32 h2 q100 k130 d77 softcap5 alibi", "padded", "",
     "bwd_lanes SWEEP=1 LANES=16 VECTORS=4 TILE_ROWS=64 DOT_UNROLL=4 SUM_UNROLL=4"},
    {"f32 h2 q17 k33 d10:6 causal", "padded", "",
     "bwd_tile WORK_GROUP=1 DKV_BLOCK_M=4 DKV_BLOCK_N=1 DKV_BLOCK_D=4 DKV_THREADS_M=1 "
     "DKV_THREADS_N=1 DKV_OWN_RESIDENT=0 DKV_SUMS_RESIDENT=0 DQ_BLOCK_M=1 DQ_BLOCK_N=4 "
     "DQ_BLOCK_D=4 DQ_THREADS_M=1 DQ_THREADS_N=1 DQ_OWN_RESIDENT=0 DQ_SUMS_RESIDENT=0"},
    {"f16 df32 h6:2 q33 k65 d40:24 window20,5 softcap3", "padded", "",
     "bwd_tile DKV_BLOCK_M=12 DKV_BLOCK_N=15 DKV_BLOCK_D=24 DKV_THREADS_M=6 DKV_THREADS_N=5 "
     "DKV_OWN_RESIDENT=1 DKV_SUMS_RESIDENT=0 DQ_BLOCK_M=15 DQ_BLOCK_N=12 DQ_BLOCK_D=24 "
     "DQ_THREADS_M=5 DQ_THREADS_N=6 DQ_OWN_RESIDENT=1 DQ_SUMS_RESIDENT=0 WIDE_READS=1"},
    {"bf16 h2 q130 k200 d72 causal", "bhsd", "",
     "bwd_tile DKV_BLOCK_M=64 DKV_BLOCK_N=64 DKV_BLOCK_D=32 DKV_THREADS_M=8 DKV_THREADS_N=8 "
     "DKV_OWN_RESIDENT=0 DKV_SUMS_RESIDENT=1 DQ_BLOCK_M=64 DQ_BLOCK_N=64 DQ_BLOCK_D=32 "
     "DQ_THREADS_M=8 DQ_THREADS_N=8 DQ_OWN_RESIDENT=0 DQ_SUMS_RESIDENT=1 WIDE_READS=1"},
    {"f32 h4:1 q200 k70 d64 causal", "bshd", "",
     "bwd_tile DKV_BLOCK_M=64 DKV_BLOCK_N=32 DKV_BLOCK_D=64 DKV_THREADS_M=8 DKV_THREADS_N=8 "
     "DKV_OWN_RESIDENT=0 DKV_SUMS_RESIDENT=0 DKV_STEP_UNROLL=2 DQ_BLOCK_M=16 DQ_BLOCK_N=128 "
     "DQ_BLOCK_D=64 DQ_THREADS_M=4 DQ_THREADS_N=16 DQ_OWN_RESIDENT=0 DQ_SUMS_RESIDENT=0"},
    {"f32 kf16 vbf16 of16 df16 h4:2 q33 k65 d40:75 alibi", "padded", "unordered",
     "bwd_tile DKV_BLOCK_M=16 DKV_BLOCK_N=8 DKV_BLOCK_D=16 DKV_THREADS_M=4 DKV_THREADS_N=8 "
     "DQ_BLOCK_M=8 DQ_BLOCK_N=16 DQ_BLOCK_D=16 DQ_THREADS_M=8 DQ_THREADS_N=4 WIDE_READS=1"},
    /* sums of several segments: with blocks of 8 a segment has 512 */
    {"f32 h4:2 q600 k700 d8:16", "bhsd", "",
     "bwd_tile DKV_BLOCK_M=8 DKV_BLOCK_N=32 DKV_BLOCK_D=8 DKV_THREADS_M=2 DKV_THREADS_N=8 "
     "DKV_SUMS_RESIDENT=1 DQ_BLOCK_M=32 DQ_BLOCK_N=8 DQ_BLOCK_D=8 DQ_THREADS_M=8 DQ_THREADS_N=2 "
     "DQ_SUMS_RESIDENT=0"},
    {"f32 h2 q1100 k600 d8 causal", "packed", "",
     "bwd_tile DKV_BLOCK_M=8 DKV_BLOCK_N=32 DKV_BLOCK_D=8 DKV_THREADS_M=2 DKV_THREADS_N=8 "
     "DKV_SUMS_RESIDENT=0 DQ_BLOCK_M=32 DQ_BLOCK_N=8 DQ_BLOCK_D=8 DQ_THREADS_M=8 DQ_THREADS_N=2 "
     "DQ_SUMS_RESIDENT=1"},
    {"f32 h2 q17 k33 d10:6 causal", "padded", "",
     "fwd_tile BLOCK_M=1 BLOCK_N=8 BLOCK_D=4 THREADS_M=1 THREADS_N=1 Q_RESIDENT=0"},
    {"f32 h2 q65 k130 d40 window33,17", "padded", "",
     "fwd_tile BLOCK_M=16 BLOCK_N=8 BLOCK_D=16 THREADS_M=8 THREADS_N=4 Q_RESIDENT=0"},
    {"f16 h2 q33 k65 d40 causal", "bshd", "",
     "fwd_tile BLOCK_M=12 BLOCK_N=12 BLOCK_D=24 THREADS_M=6 THREADS_N=2 Q_RESIDENT=1 "
     "PREFETCH=1"},
    {"bf16 h2 q130 k300 d64 causal", "bhsd", "",
     "fwd_tile BLOCK_M=64 BLOCK_N=32 BLOCK_D=32 THREADS_M=16 THREADS_N=8 Q_RESIDENT=1 "
     "PREFETCH=1 WIDE_READS=1"},
    {"f16 h2 q65 k130 d64", "bshd", "",
     "fwd_tile BLOCK_M=32 BLOCK_N=32 BLOCK_D=64 THREADS_M=8 THREADS_N=16 Q_RESIDENT=1 "
     "PREFETCH=1 WIDE_READS=1"},
    {"bf16 h2 q130 k300 d64 causal", "padded", "",
     "fwd_tile BLOCK_M=64 BLOCK_N=32 BLOCK_D=32 THREADS_M=16 THREADS_N=8 Q_RESIDENT=0"},
    {"f32 h2 q130 k300 d40:100", "bhsd", "",
     "fwd_tile BLOCK_M=32 BLOCK_N=32 BLOCK_D=64 THREADS_M=4 THREADS_N=16 Q_RESIDENT=0"},
    {"f32 h2 q65 k130 d40 causal softcap3", "padded", "", "fwd_tile BLOCK_N=16"},
    {"f32 h2 q65 k130 d40:24 causal", "padded", "",
     "fwd_tile BLOCK_M=8 BLOCK_N=8 BLOCK_D=16 THREADS_M=4 THREADS_N=2 THREADS_D=2 PREFETCH=1"},
    {"bf16 h2 q130 k300 d64 window40,9", "bshd", "",
     "fwd_tile BLOCK_M=32 BLOCK_N=32 BLOCK_D=64 THREADS_M=8 THREADS_N=8 THREADS_D=2 "
     "Q_RESIDENT=0 STEP_UNROLL=4"},
    {"f32 kf16 h2 q65 k130 d64 causal", "bshd", "",
     "fwd_tile BLOCK_M=32 BLOCK_N=32 BLOCK_D=32 THREADS_M=8 THREADS_N=8 Q_RESIDENT=1 "
     "PREFETCH=1 WIDE_READS=1"},
    {"f16 kbf16 vf16 of32 h2 q65 k130 d40:33 causal", "padded", "",
     "fwd_tile BLOCK_M=32 BLOCK_N=32 BLOCK_D=32 THREADS_M=8 THREADS_N=8 Q_RESIDENT=0 "
     "PREFETCH=1 WIDE_READS=1"},
    {"f16 kq8_0 vq4_0 of32 h2 q65 k130 d64:96 causal", "padded", "",
     "fwd_tile BLOCK_M=32 BLOCK_N=32 BLOCK_D=48 THREADS_M=8 THREADS_N=4 Q_RESIDENT=1 "
     "PREFETCH=1 WIDE_READS=1"},
    {"bf16 vf32 h2 q33 k65 d64 window33,17", "bhsd", "",
     "fwd_tile BLOCK_M=16 BLOCK_N=16 BLOCK_D=32 THREADS_M=4 THREADS_N=4 THREADS_D=2 "
     "WIDE_READS=1"},
    /* fwd_wgmma: work-groups that answer many tasks, some of them without a key */
    {"f16 b2 h6:3 q200 k150 d64 causal", "bhsd", "", "fwd_wgmma BLOCK_M=64 BLOCK_N=32 GROUPS=2"},
    {"f16 h4 q300 k70 d64 causal", "bshd", "", "fwd_wgmma BLOCK_M=128 BLOCK_N=48 GROUPS=1"},
    {"bf16 b2 h3 q300 k200 d72:136 window40,9", "bshd", "scale=-0.5",
     "fwd_wgmma BLOCK_M=128 BLOCK_N=48 GROUPS=2"},
    {"bf16 h2 q390 k150 d8:24 window33,17", "bhsd", "",
     "fwd_wgmma BLOCK_M=192 BLOCK_N=16 STAGES=3 GROUPS=1"},
    {"f16 b2 h2 q200 k130 d128 softcap3", "bhsd", "", "fwd_wgmma BLOCK_M=64 GROUPS=3"},
    {"f16 b2 h6:3 q200 k150 d64 causal alibi", "bhsd", "",
     "fwd_wgmma BLOCK_M=64 BLOCK_N=32 GROUPS=2"},
    {"bf16 b2 h3 q300 k200 d72:136 window40,9 softcap3 alibi", "bshd", "alibi=uniform:10",
     "fwd_wgmma BLOCK_M=128 BLOCK_N=48 GROUPS=2"},
    /* ... warpgroups that pass over many blocks, and some without a row */
    {"f16 b2 h6:3 q270 k270 d64 causal", "bhsd", "", "fwd_wgmma BLOCK_M=192 BLOCK_N=16 GROUPS=3"},
    {"bf16 h3 q210 k100 d64", "bhsd", "", "fwd_wgmma BLOCK_M=192 BLOCK_N=32 GROUPS=2"},
    /* ... and more K and V than are taken together: two heads, then one; groups of two heads */
    {"f16 h3 q130 k11000 d256 causal", "bhsd", "", "fwd_wgmma BLOCK_M=64 GROUPS=2"},
    {"f16 h4:2 q70 k20000 d256 causal", "bhsd", "", "fwd_wgmma BLOCK_M=64 GROUPS=3"},
    {"f16 h2 q65 k130 d40 window33,17", "bshd", "", "fwd_mma WAVES=2 ROW_FRAGMENTS=2 BLOCK_N=32"},
    {"bf16 h2 q33 k65 d24:40 causal", "padded", "",
     "fwd_mma WAVES=1 ROW_FRAGMENTS=1 BLOCK_N=16 FAST_LOADS=0"},
    {"f16 h2 q65 k70 d64:48 causal", "bhsd", "",
     "fwd_mma WAVES=2 ROW_FRAGMENTS=1 BLOCK_N=48 FAST_LOADS=0"},
    {"bf16 h4:2 q17 k65 d33 softcap3", "padded", "", "fwd_mma WAVES=3 ROW_FRAGMENTS=1 BLOCK_N=16"},
    {"bf16 h2 q65 k130 d40:24 window33,17 alibi", "padded", "scale=-0.5",
     "fwd_mma WAVES=2 ROW_FRAGMENTS=2 BLOCK_N=32"},
    {"f16 h2 q150 k65 d16", "bhsd", "", "fwd_mma WAVES=1 ROW_FRAGMENTS=3 BLOCK_N=64"},
    {"f32 h2 q33 k65 d40:24 causal", "padded", "",
     "fwd_lanes LANES=4 ROW_VECTORS=1 KEY_UNROLL=1 COL_UNROLL=1 BLOCK_N=8"},
    {"f16 h2 q65 k130 d40 window33,17", "bshd", "",
     "fwd_lanes LANES=8 ROW_VECTORS=2 KEY_UNROLL=4 COL_UNROLL=4 BLOCK_N=16"},
    {"bf16 h2 q150 k130 d33 causal", "padded", "",
     "fwd_lanes LANES=16 ROW_VECTORS=4 KEY_UNROLL=2 COL_UNROLL=3 BLOCK_N=10"},
    {"f32 h2 q150 k300 d64 window100,50", "bhsd", "",
     "fwd_lanes LANES=16 ROW_VECTORS=2 KEY_UNROLL=8 COL_UNROLL=8 BLOCK_N=128"},
    {"f32 h2 q65 k130 d40 causal softcap3", "padded", "", "fwd_lanes BLOCK_N=24"},
    {"f32 kf16 vf32 h2 q65 k130 d40:24 window33,17", "padded", "",
     "fwd_lanes LANES=8 ROW_VECTORS=2 KEY_UNROLL=4 COL_UNROLL=4 BLOCK_N=16"},
    {"f16 kf32 vf16 of32 h2 q33 k65 d33 causal", "bshd", "",
     "fwd_lanes LANES=4 ROW_VECTORS=1 KEY_UNROLL=2 COL_UNROLL=3 BLOCK_N=10"},
    /* dec_lanes: fewer, as many, and more rows than a work-item takes; several parts; parts and
     * blocks that a band cuts */
    {"f32 b2 h12:2 q1 k700 d64", "bhsd", "", "dec_lanes PART_N=128"},
    {"f16 h5:1 q3 k300 d40:72 causal", "padded", "",
     "dec_lanes LANES=8 ROWS=4 ROW_UNROLL=4 BLOCK_N=16 PART_N=64"},
    {"bf16 kf16 vf32 h6:2 q9 k130 d33:24 window33,17 softcap3 alibi", "bshd", "unordered",
     "dec_lanes LANES=4 ROWS=8 ROW_UNROLL=2 BLOCK_N=8 PART_N=32"},
    {"f32 h3 q33 k65 d128:17 window9,9 start", "bhsd", "",
     "dec_lanes LANES=16 ROWS=16 ROW_UNROLL=4 BLOCK_N=64 PART_N=64"},
    {"f16 kbf16 vf16 h1 q1 k5000 d128", "bhsd", "", "dec_lanes"},
    {"f32 kq4_0 vq8_0 h6:2 q3 k300 d32:160 window33,17", "padded", "",
     "dec_lanes LANES=4 ROWS=8 ROW_UNROLL=2 BLOCK_N=8 PART_N=32"},
    /* memory_efficient by another schedule than a CPU's own */
    {"f32 h2 q65 k130 d40:24 window33,17", "padded", "",
     "memory_efficient BLOCK_M=8 BLOCK_N=8 BLOCK_D=16 THREADS_M=4 THREADS_N=2 THREADS_D=2"},
    {"bf16 h2 q33 k65 d40:72 causal", "bshd", "",
     "memory_efficient BLOCK_M=16 BLOCK_N=16 BLOCK_D=32 THREADS_M=8 THREADS_N=4"},
    {"f32 kf16 h2 q33 k65 d40 causal", "padded", "",
     "memory_efficient BLOCK_M=16 BLOCK_N=16 BLOCK_D=32 THREADS_M=8 THREADS_N=4"},
    {"f16 h3 q33 k65 d40:72 causal alibi", "bshd", "",
     "memory_efficient BLOCK_M=16 BLOCK_N=16 BLOCK_D=32 THREADS_M=8 THREADS_N=4 THREADS_D=2"},
    {"f32 h2 q33 k130 d40 window33,17 alibi", "padded", "",
     "standard SOFTMAX=three_pass WORK_GROUP=16 LANES=1"},
    {"f32 h2 q33 k130 d40 causal", "padded", "",
     "standard SOFTMAX=three_pass WORK_GROUP=64 LANES=4"},
    {"f16 h2 q65 k300 d40:33 window33,17", "bshd", "unordered",
     "standard SOFTMAX=online WORK_GROUP=32 LANES=1"},
    {"bf16 h4:2 q17 k65 d24 softcap3", "bhsd", "", "standard SOFTMAX=online WORK_GROUP=2 LANES=8"},
    /* bwd_standard: blocks of 128 rows, of the last one a part; rows of 16, which are padded */
    {"f32 h4:2 q130 k300 d16:32 window33,17", "padded", "", "bwd_standard WORK_GROUP=16 LANES=1"},
    {"f16 b2 h6:2 q65 k16 d40:33 causal softcap3 alibi", "bshd", "unordered",
     "bwd_standard WORK_GROUP=32 LANES=4"},
    {"bf16 df32 h4:1 q33 k128 d128", "bhsd", "", "bwd_standard WORK_GROUP=2 LANES=8"},
};
const size_t cases_count = sizeof cases_table / sizeof *cases_table;

#define HIDING (CLATTN_FEATURE_BIAS | CLATTN_FEATURE_MASK)
/* But ALiBi, which every solver offers. */
#define EVERY_FEATURE (HIDING | CLATTN_FEATURE_SINK | CLATTN_FEATURE_LENGTHS)

const struct cases_solver cases_solvers[] = {
    {"auto", NULL, CL_DEVICE_TYPE_ALL, false, false, 0, CLATTN_FORWARD, 0},
    {"fwd_rows", "fwd_rows", CL_DEVICE_TYPE_ALL, false, false, 0, CLATTN_FORWARD, 0},
    {"fwd_wgmma", "fwd_wgmma", 0, false, true, 256, CLATTN_FORWARD, EVERY_FEATURE},
    {"fwd_mma", "fwd_mma", CL_DEVICE_TYPE_ALL, false, true, 256, CLATTN_FORWARD,
     CLATTN_FEATURE_LENGTHS},
    {"fwd_tile", "fwd_tile", CL_DEVICE_TYPE_ALL, false, false, 0, CLATTN_FORWARD, 0},
    {"fwd_lanes", "fwd_lanes", CL_DEVICE_TYPE_CPU, false, false, 0, CLATTN_FORWARD, 0},
    {"dec_lanes", "dec_lanes", CL_DEVICE_TYPE_CPU, false, false, 0, CLATTN_FORWARD, 0},
    {"memory_efficient", "memory_efficient", CL_DEVICE_TYPE_ALL, true, false, 0, CLATTN_FORWARD,
     EVERY_FEATURE},
    {"standard", "standard", CL_DEVICE_TYPE_ALL, true, false, 0, CLATTN_FORWARD, EVERY_FEATURE},
    {"bwd_standard", "bwd_standard", CL_DEVICE_TYPE_ALL, true, false, 0, CLATTN_BACKWARD,
     EVERY_FEATURE},
    {"bwd", NULL, CL_DEVICE_TYPE_ALL, false, false, 0, CLATTN_BACKWARD, CLATTN_FEATURE_LENGTHS},
    {"bwd_mma", "bwd_mma", CL_DEVICE_TYPE_ALL, false, true, 256, CLATTN_BACKWARD,
     HIDING | CLATTN_FEATURE_LENGTHS},
    {"bwd_lanes", "bwd_lanes", CL_DEVICE_TYPE_CPU, false, false, 0, CLATTN_BACKWARD,
     CLATTN_FEATURE_LENGTHS},
    {"bwd_tile", "bwd_tile", CL_DEVICE_TYPE_ALL, false, false, 0, CLATTN_BACKWARD,
     CLATTN_FEATURE_LENGTHS},
    {"bwd_rows", "bwd_rows", CL_DEVICE_TYPE_ALL, false, false, 0, CLATTN_BACKWARD,
     CLATTN_FEATURE_LENGTHS},
};
const size_t cases_solver_count = sizeof cases_solvers / sizeof *cases_solvers;

const struct cases_solver *cases_solver_of(const char *variant) {
    size_t length = strcspn(variant, " ");
    for (size_t i = 0; i < cases_solver_count; i++)
        if (strncmp(variant, cases_solvers[i].name, length) == 0 && !cases_solvers[i].name[length])
            return &cases_solvers[i];
    return NULL;
}

static bool read_number(const char *text, double *number) {
    char *end;
    *number = strtod(text, &end);
    return end != text && !*end;
}

/* "k=signs:1000", "alibi=value:0.5".  False when it is none. */
static bool read_input(const char *word, struct tensors_input *inputs) {
    static const char *const names[TENSOR_COUNT] = {
        [TENSOR_Q] = "q=",       [TENSOR_K] = "k=",         [TENSOR_V] = "v=",
        [TENSOR_D_O] = "d_o=",   [TENSOR_D_LSE] = "d_lse=", [TENSOR_ALIBI] = "alibi=",
        [TENSOR_BIAS] = "bias=", [TENSOR_MASK] = "mask=",   [TENSOR_SINK] = "sink="};
    int name = TENSOR_Q, kind = 0;
    while (name < TENSOR_COUNT &&
           (!names[name] || strncmp(word, names[name], strlen(names[name])) != 0))
        name++;
    if (name == TENSOR_COUNT)
        return false;
    const char *rest = word + strlen(names[name]);
    size_t length = strcspn(rest, ":");
    while (kind < KIND_COUNT && (strncmp(rest, tensors_kind_names[kind], length) != 0 ||
                                 tensors_kind_names[kind][length]))
        kind++;
    inputs[name].kind = (enum tensors_kind)kind;
    return kind < KIND_COUNT && (kind != KIND_MATCH || name == TENSOR_Q) && rest[length] == ':' &&
           read_number(rest + length + 1, &inputs[name].size);
}

/* One word of "with".  False when it is none. */
static bool read_word(const char *word, struct case_setup *setup) {
    struct tensors_desc *tensors = &setup->tensors;
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"svm", &tensors->svm},           {"tight", &tensors->tight},
        {"unordered", &setup->unordered}, {"exact", &setup->demands.exact},
        {"once", &setup->demands.once},   {"overflow", &setup->demands.overflow},
    };
    const struct {
        const char *name;
        cl_uint *value, limit;
    } lengths[] = {{"batch=", &tensors->batch, tensors->desc.batch},
                   {"q=", &tensors->seq_q, tensors->desc.seq_q},
                   {"k=", &tensors->seq_kv, tensors->desc.seq_kv},
                   {"seed=", &tensors->seed, 1000000},
                   {"ill=", &setup->demands.ill_rows, 1000000}};
    double number;

    if (strcmp(word, "nolse") == 0) {
        tensors->lse = false;
        return true;
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(word, flags[i].name) == 0)
            return *flags[i].flag = true;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t length = strlen(lengths[i].name);
        if (strncmp(word, lengths[i].name, length) == 0 && read_number(word + length, &number) &&
            number >= 0 && number <= lengths[i].limit) {
            *lengths[i].value = (cl_uint)number;
            return true;
        }
    }
    if (strncmp(word, "scale=", 6) == 0 && read_number(word + 6, &number)) {
        setup->scale = (float)number;
        return true;
    }
    if (strncmp(word, "amplitude=", 10) == 0 && read_number(word + 10, &number)) {
        tensors->input[TENSOR_Q].size *= number;
        return true;
    }
    return read_input(word, tensors->input);
}

bool cases_parse(const struct test_case *test_case, struct case_setup *setup) {
    const struct case_setup initial = {.scale = CLATTN_SCALE_DEFAULT,
                                       .tensors = {.input = {[TENSOR_Q] = {KIND_UNIFORM, 2},
                                                             [TENSOR_K] = {KIND_UNIFORM, 2},
                                                             [TENSOR_V] = {KIND_UNIFORM, 1},
                                                             [TENSOR_D_O] = {KIND_UNIFORM, 1},
                                                             [TENSOR_D_LSE] = {KIND_UNIFORM, 1},
                                                             [TENSOR_ALIBI] = {KIND_UNIFORM, 0.1},
                                                             [TENSOR_BIAS] = {KIND_HOLES, 2},
                                                             [TENSOR_MASK] = {KIND_HOLES, 1},
                                                             [TENSOR_SINK] = {KIND_UNIFORM, 3}},
                                                   .lse = true}};
    *setup = initial;
    struct tensors_desc *tensors = &setup->tensors;
    clattn_desc desc = CLATTN_DESC_INIT;
    cl_int status = clattn_desc_parse(test_case->problem, &desc);
    if (status != CL_SUCCESS) {
        fprintf(stderr, "not a problem: \"%s\" (%s)\n", test_case->problem,
                clattn_status_name(status));
        return false;
    }
    if (!desc.heads_kv)
        desc.heads_kv = desc.heads_q;
    if (!desc.head_dim_v)
        desc.head_dim_v = desc.head_dim;
    tensors->desc = desc;
    tensors->batch = desc.batch;
    tensors->seq_q = desc.seq_q;
    tensors->seq_kv = desc.seq_kv;

    tensors->layout = LAYOUT_BHSD;
    while (tensors->layout < LAYOUT_COUNT &&
           strcmp(test_case->layout, tensors_layout_names[tensors->layout]) != 0)
        tensors->layout++;
    if (tensors->layout == LAYOUT_COUNT) {
        fprintf(stderr, "not a layout: \"%s\"\n", test_case->layout);
        return false;
    }

    char word[64];
    int length;
    for (const char *rest = test_case->with; sscanf(rest, " %63s%n", word, &length) == 1;
         rest += length)
        if (!read_word(word, setup)) {
            fprintf(stderr, "not a word of \"with\", or out of range: \"%s\"\n", word);
            return false;
        }
    return true;
}
