/*
 * engine_amd_mfma - AMD CDNA 2 and later (gfx90a, gfx942), waves of 64:
 * v_mfma_f32_16x16x16_f16, v_mfma_f32_16x16x16_bf16 (on CDNA 2 named ..._16x16x16f16 and
 * ..._16x16x16bf16_1k).
 *
 * Transposed orientation: left is the instruction's B, right its A, so that a lane has one
 * query.  Layouts after AMD's matrix instruction calculator (github.com/ROCm), --register-layout
 * for CDNA2 and CDNA3.  See engine.cl for what an engine gives.
 *
 *     lane = 16 * h + j (h 0 ... 3; j 0 ... 15)
 *
 *     A 16 x 16: row j, k 4h ... 4h + 3 are elements 0 ... 3      B: column j, likewise
 *
 *     C 16 x 16    column j
 *     row 4h + e   c_e of lane 16h + j (e 0 ... 3)
 */
#define ENGINE_LANES 64
#define ENGINE_QUERIES 16
#define ENGINE_OTHERS 16
#define ENGINE_LEFT 4
#define ENGINE_RIGHT 4
#define ENGINE_ACC 4
#define ENGINE_SLOTS 1
#define ENGINE_SHARE 48
#define ENGINE_COPIES 0
#define ENGINE_HALVES 0
#define ENGINE_ATTRIBUTES

INLINE int engine_left_query(int lane, int e) {
    (void)e;
    return lane % 16;
}

INLINE int engine_left_depth(int lane, int e) {
    return 4 * (lane / 16) + e;
}

INLINE int engine_right_other(int lane, int e) {
    (void)e;
    return lane % 16;
}

INLINE int engine_right_depth(int lane, int e) {
    return 4 * (lane / 16) + e;
}

INLINE int engine_acc_query(int lane, int e) {
    (void)e;
    return lane % 16;
}

INLINE int engine_acc_other(int lane, int e) {
    return 4 * (lane / 16) + e;
}

INLINE int engine_acc_slot(int e) {
    (void)e;
    return 0;
}

#if EMULATED
/* The calculator's answer to "which register and lane has the element". */
INLINE int emulated_left_lane(int query, int depth) {
    return query + depth / 4 * 16;
}

INLINE int emulated_left_element(int query, int depth) {
    (void)query;
    return depth % 4; /* half depth % 2 of register depth / 2 % 2 */
}

INLINE int emulated_right_lane(int other, int depth) {
    return other + depth / 4 * 16;
}

INLINE int emulated_right_element(int other, int depth) {
    (void)other;
    return depth % 4; /* half depth % 2 of register depth / 2 % 2 */
}

INLINE int emulated_acc_lane(int query, int other) {
    return query + other / 4 * 16;
}

INLINE int emulated_acc_element(int query, int other) {
    (void)query;
    return other % 4;
}
#else
#if !__has_builtin(__builtin_amdgcn_mfma_f32_16x16x16f16) || \
    !__has_builtin(__builtin_amdgcn_mfma_f32_16x16x16bf16_1k)
#error "ENGINE: this device has no MFMA of gfx90a"
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

INLINE float engine_exchange(float x, const int bits, struct engine_wave w) {
    return as_float(__builtin_amdgcn_ds_bpermute((w.lane ^ bits) * 4, as_int(x)));
}

INLINE void engine_multiply(float *acc, const uint *left, const uint *right, struct engine_wave w) {
    (void)w;
    const uint2 a = (uint2)(right[0], right[1]), b = (uint2)(left[0], left[1]);
    float4 c = (float4)(acc[0], acc[1], acc[2], acc[3]);
#if TYPE == F16
    c = __builtin_amdgcn_mfma_f32_16x16x16f16(as_half4(a), as_half4(b), c, 0, 0, 0);
#else
    c = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(as_short4(a), as_short4(b), c, 0, 0, 0);
#endif
    acc[0] = c.s0;
    acc[1] = c.s1;
    acc[2] = c.s2;
    acc[3] = c.s3;
}
#endif

/* 4 neighbours of a row: one read of 8 bytes. */
INLINE void mfma_read(uint *operand, __local const element *row) {
    const uint2 two = *(__local const uint2 *)row;
    operand[0] = two.s0;
    operand[1] = two.s1;
}

#define ENGINE_FAST_LEFT 1
#define ENGINE_FAST_ROWS 1

INLINE void engine_fast_left(uint *left, __local const element *tile, const int stride, int lane) {
    mfma_read(left, tile + lane % 16 * stride + lane / 16 * 4);
}

INLINE void engine_fast_rows(uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2],
                             __local const element *tile, const int stride, int lane) {
    mfma_read(right[0], tile + lane % 16 * stride + lane / 16 * 4);
}

/* The weights are where they belong. */
INLINE void engine_weights(uint *left, const float s[ENGINE_SPLIT][ENGINE_ACC],
                           struct engine_wave w) {
    (void)w;
    left[0] = engine_pack(s[0][0], s[0][1]);
    left[1] = engine_pack(s[0][2], s[0][3]);
}
