/*
 * engine_amd_wmma12 - AMD RDNA 4 (gfx12), waves of 32: v_wmma_f32_16x16x16_f16, _bf16.
 *
 * Transposed orientation: left is the instruction's B, right its A, so that a lane has one
 * query.  Layouts after AMD's matrix instruction calculator (github.com/ROCm), --register-layout
 * for RDNA4.  See engine.cl for what an engine gives.
 *
 *     lane = 16 * h + j (h 0, 1; j 0 ... 15)
 *
 *     A 16 x 16    k 0 ... 3    k 4 ... 7    k 8 ... 11   k 12 ... 15
 *         row j    a0-3, h 0    a0-3, h 1    a4-7, h 0    a4-7, h 1       B: column j, likewise
 *
 *     C 16 x 16    column j
 *     row 8h + e   c_e of lane 16h + j (e 0 ... 7)
 *
 * The instruction sums over k, so which depth is called which k is free as long as A and B
 * agree.  Here elements 0 ... 7 of half h are depths 8h ... 8h + 7: neighbours in memory, and
 * the place that the weights have as scores, in C.
 */
#define ENGINE_LANES 32
#define ENGINE_QUERIES 16
#define ENGINE_OTHERS 16
#define ENGINE_LEFT 8
#define ENGINE_RIGHT 8
#define ENGINE_ACC 8
#define ENGINE_SLOTS 1
#define ENGINE_SHARE 16
#define ENGINE_COPIES 0
#define ENGINE_HALVES 0
#define ENGINE_ATTRIBUTES

INLINE int engine_left_query(int lane, int e) {
    (void)e;
    return lane % 16;
}

INLINE int engine_left_depth(int lane, int e) {
    return 8 * (lane / 16) + e;
}

INLINE int engine_right_other(int lane, int e) {
    (void)e;
    return lane % 16;
}

INLINE int engine_right_depth(int lane, int e) {
    return 8 * (lane / 16) + e;
}

INLINE int engine_acc_query(int lane, int e) {
    (void)e;
    return lane % 16;
}

INLINE int engine_acc_other(int lane, int e) {
    return 8 * (lane / 16) + e;
}

INLINE int engine_acc_slot(int e) {
    (void)e;
    return 0;
}

#if EMULATED
/* The calculator's answer to "which register and lane has the element"; k as the vendor counts. */
INLINE int emulated_left_lane(int query, int k) {
    return query + k / 4 % 2 * 16;
}

INLINE int emulated_left_element(int query, int k) {
    (void)query;
    return (k / 8 * 2 + k / 2 % 2) * 2 + k % 2;
}

INLINE int emulated_right_lane(int other, int k) {
    return other + k / 4 % 2 * 16;
}

INLINE int emulated_right_element(int other, int k) {
    (void)other;
    return (k / 8 * 2 + k / 2 % 2) * 2 + k % 2;
}

INLINE int emulated_acc_lane(int query, int other) {
    return query + other / 8 * 16;
}

INLINE int emulated_acc_element(int query, int other) {
    (void)query;
    return other % 8;
}
#else
#if !__has_builtin(__builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12) || \
    !__has_builtin(__builtin_amdgcn_permlanex16)
#error "ENGINE: this device has no WMMA of gfx12 for waves of 32"
#endif
#pragma OPENCL EXTENSION cl_khr_fp16 : enable

/* To clang the builtin is a pure function: it would multiply where the scores are used, past the
 * barrier, and keep all of K in registers until then. */
#define ENGINE_SETTLE(x) __asm volatile("" : "+v"(x))

INLINE uint engine_pack(float low, float high) {
#if TYPE == F16
    return as_uint((half2)((half)low, (half)high));
#else
    return narrow(low, TYPE) | (uint)narrow(high, TYPE) << 16;
#endif
}

/* bits is 16: each lane takes what the same lane of the other row of 16 has. */
INLINE float engine_exchange(float x, const int bits, struct engine_wave w) {
    (void)bits;
    (void)w;
    return as_float(__builtin_amdgcn_permlanex16(as_uint(x), as_uint(x), 0x76543210u, 0xfedcba98u,
                                                 false, false));
}

INLINE void engine_multiply(float *acc, const uint *left, const uint *right, struct engine_wave w) {
    (void)w;
    const uint4 a = (uint4)(right[0], right[1], right[2], right[3]);
    const uint4 b = (uint4)(left[0], left[1], left[2], left[3]);
    float8 c = (float8)(acc[0], acc[1], acc[2], acc[3], acc[4], acc[5], acc[6], acc[7]);
#if TYPE == F16
    c = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(as_half8(a), as_half8(b), c);
#else
    c = __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32_gfx12(as_short8(a), as_short8(b), c);
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

/* 8 neighbours of a row: one read of 16 bytes. */
INLINE void wmma12_read(uint *operand, __local const element *row) {
    const uint4 four = *(__local const uint4 *)row;
    operand[0] = four.s0;
    operand[1] = four.s1;
    operand[2] = four.s2;
    operand[3] = four.s3;
}

#define ENGINE_FAST_LEFT 1
#define ENGINE_FAST_ROWS 1

INLINE void engine_fast_left(uint *left, __local const element *tile, const int stride, int lane) {
    wmma12_read(left, tile + lane % 16 * stride + lane / 16 * 8);
}

INLINE void engine_fast_rows(uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2],
                             __local const element *tile, const int stride, int lane) {
    wmma12_read(right[0], tile + lane % 16 * stride + lane / 16 * 8);
}

/* The weights are where they belong. */
INLINE void engine_weights(uint *left, const float s[ENGINE_SPLIT][ENGINE_ACC],
                           struct engine_wave w) {
    (void)w;
    left[0] = engine_pack(s[0][0], s[0][1]);
    left[1] = engine_pack(s[0][2], s[0][3]);
    left[2] = engine_pack(s[0][4], s[0][5]);
    left[3] = engine_pack(s[0][6], s[0][7]);
}
