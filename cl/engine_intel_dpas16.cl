/*
 * engine_intel_dpas16 - Intel Xe HPC (Data Center GPU Max) and Xe 2, sub-groups of 16: dpas, by
 * intel_sub_group_f16_f16_matrix_mad_k16, ..._bf16_bf16_....
 *
 * Transposed orientation: left is the instruction's b, right its a, so that a lane has one
 * query.  Layouts after the extension cl_intel_subgroup_matrix_multiply_accumulate (Khronos
 * registry, for devices whose smallest sub-group is 16).  See engine.cl for what an engine gives.
 *
 *     lane l 0 ... 15
 *
 *     a (short8) 8 x 16: row m is component m; lane l has k l of it
 *     b (int8)  16 x 16: column l is lane l's; component i has k 2i, 2i + 1
 *     acc (float8) 8 x 16: column l is lane l's; row m is component m
 */
#define ENGINE_LANES 16
#define ENGINE_QUERIES 16
#define ENGINE_OTHERS 8
#define ENGINE_LEFT 16
#define ENGINE_RIGHT 8
#define ENGINE_ACC 8
#define ENGINE_SLOTS 1
#define ENGINE_SHARE 0
#define ENGINE_COPIES 0
#define ENGINE_HALVES 1
#if EMULATED
#define ENGINE_ATTRIBUTES
#else
#define ENGINE_ATTRIBUTES __attribute__((intel_reqd_sub_group_size(ENGINE_LANES)))
#endif

INLINE int engine_left_query(int lane, int e) {
    (void)e;
    return lane;
}

INLINE int engine_left_depth(int lane, int e) {
    (void)lane;
    return e;
}

INLINE int engine_right_other(int lane, int e) {
    (void)lane;
    return e;
}

INLINE int engine_right_depth(int lane, int e) {
    (void)e;
    return lane;
}

INLINE int engine_acc_query(int lane, int e) {
    (void)e;
    return lane;
}

INLINE int engine_acc_other(int lane, int e) {
    (void)lane;
    return e;
}

INLINE int engine_acc_slot(int e) {
    (void)e;
    return 0;
}

#if EMULATED
/* As the extension's sample multiplies: for k, a comes from lane k, b from component k / 2. */
INLINE int emulated_left_lane(int query, int depth) {
    (void)depth;
    return query;
}

INLINE int emulated_left_element(int query, int depth) {
    (void)query;
    return depth; /* half depth % 2 of component depth / 2 */
}

INLINE int emulated_right_lane(int other, int depth) {
    (void)other;
    return depth;
}

INLINE int emulated_right_element(int other, int depth) {
    (void)depth;
    return other;
}

INLINE int emulated_acc_lane(int query, int other) {
    (void)other;
    return query;
}

INLINE int emulated_acc_element(int query, int other) {
    (void)query;
    return other;
}
#else
#ifndef cl_intel_subgroup_matrix_multiply_accumulate
#error "ENGINE: this device has no cl_intel_subgroup_matrix_multiply_accumulate"
#endif
#pragma OPENCL EXTENSION cl_khr_fp16 : enable

INLINE uint engine_pack(float low, float high) {
#if TYPE == F16
    return as_uint((half2)((half)low, (half)high));
#else
    return narrow(low, TYPE) | (uint)narrow(high, TYPE) << 16;
#endif
}

/* No two lanes share a query: nobody calls it. */
INLINE float engine_exchange(float x, const int bits, struct engine_wave w) {
    (void)bits;
    (void)w;
    return x;
}

INLINE void engine_multiply(float *acc, const uint *left, const uint *right, struct engine_wave w) {
    (void)w;
    const short8 a = as_short8((uint4)(right[0], right[1], right[2], right[3]));
    const int8 b =
        as_int8((uint8)(left[0], left[1], left[2], left[3], left[4], left[5], left[6], left[7]));
    float8 c = (float8)(acc[0], acc[1], acc[2], acc[3], acc[4], acc[5], acc[6], acc[7]);
#if TYPE == F16
    c = intel_sub_group_f16_f16_matrix_mad_k16(a, b, c);
#else
    c = intel_sub_group_bf16_bf16_matrix_mad_k16(a, b, c);
#endif
    acc[0] = c.s0;
    acc[1] = c.s1;
    acc[2] = c.s2;
    acc[3] = c.s3;
    acc[4] = c.s4;
    acc[5] = c.s5;
    acc[6] = c.s6;
    acc[7] = c.s7;
}
#endif

#define ENGINE_FAST_LEFT 1
#define ENGINE_FAST_COLUMNS 1

/* A lane reads the 16 neighbours of its own row, 16 bytes at a time. */
INLINE void engine_fast_left(uint *left, __local const element *tile, const int stride, int lane) {
    ENGINE_UNROLL
    for (int half_row = 0; half_row < 2; half_row++) {
        const uint4 four = *(__local const uint4 *)(tile + lane * stride + half_row * 8);
        left[half_row * 4] = four.s0;
        left[half_row * 4 + 1] = four.s1;
        left[half_row * 4 + 2] = four.s2;
        left[half_row * 4 + 3] = four.s3;
    }
}

/* A lane's key is one row: its columns are neighbours. */
INLINE void engine_fast_columns(uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2],
                                __local const element *tile, const int stride, int lane) {
    ENGINE_UNROLL
    for (int f = 0; f < ENGINE_SPLIT; f++) {
        const uint4 four = *(__local const uint4 *)(tile + lane * stride + f * ENGINE_OTHERS);
        right[f][0] = four.s0;
        right[f][1] = four.s1;
        right[f][2] = four.s2;
        right[f][3] = four.s3;
    }
}

/* A lane has all keys of its query: those of the first fragment, then those of the second. */
INLINE void engine_weights(uint *left, const float s[ENGINE_SPLIT][ENGINE_ACC],
                           struct engine_wave w) {
    (void)w;
    ENGINE_UNROLL
    for (int i = 0; i < 8; i++) {
        left[i] = engine_pack(s[i / 4][i % 4 * 2], s[i / 4][i % 4 * 2 + 1]);
    }
}
