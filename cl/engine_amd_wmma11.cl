/*
 * engine_amd_wmma11 - AMD RDNA 3 (gfx11), waves of 32: v_wmma_f32_16x16x16_f16, _bf16.
 *
 * Transposed orientation: left is the instruction's B, right its A, so that a lane has one
 * query.  Layouts after AMD's matrix instruction calculator (github.com/ROCm), --register-layout
 * for RDNA3.  See engine.cl for what an engine gives.
 *
 *     lane = 16 * h + j (h 0, 1; j 0 ... 15)
 *
 *     A 16 x 16: row j, k 0 ... 15 are elements 0 ... 15; both h hold the same
 *     B 16 x 16: column j, k 0 ... 15 likewise
 *
 *     C 16 x 16         column j
 *         row 2e + h    c_e of lane 16h + j (e 0 ... 7): rows alternate between the halves
 */
#define ENGINE_LANES 32
#define ENGINE_QUERIES 16
#define ENGINE_OTHERS 16
#define ENGINE_LEFT 16
#define ENGINE_RIGHT 16
#define ENGINE_ACC 8
#define ENGINE_SLOTS 1
#define ENGINE_SHARE 16
#define ENGINE_COPIES 16
#define ENGINE_HALVES 0
#define ENGINE_ATTRIBUTES

INLINE int engine_left_query(int lane, int e) {
    (void)e;
    return lane % 16;
}

INLINE int engine_left_depth(int lane, int e) {
    (void)lane;
    return e;
}

INLINE int engine_right_other(int lane, int e) {
    (void)e;
    return lane % 16;
}

INLINE int engine_right_depth(int lane, int e) {
    (void)lane;
    return e;
}

INLINE int engine_acc_query(int lane, int e) {
    (void)e;
    return lane % 16;
}

INLINE int engine_acc_other(int lane, int e) {
    return 2 * e + lane / 16;
}

INLINE int engine_acc_slot(int e) {
    (void)e;
    return 0;
}

#if EMULATED
/* The calculator's answer to "which register and lane has the element": of two copies the first. */
INLINE int emulated_left_lane(int query, int depth) {
    (void)depth;
    return query;
}

INLINE int emulated_left_element(int query, int depth) {
    (void)query;
    return depth; /* half depth % 2 of register depth / 2 */
}

INLINE int emulated_right_lane(int other, int depth) {
    (void)depth;
    return other;
}

INLINE int emulated_right_element(int other, int depth) {
    (void)other;
    return depth; /* half depth % 2 of register depth / 2 */
}

INLINE int emulated_acc_lane(int query, int other) {
    return query + other % 2 * 16;
}

INLINE int emulated_acc_element(int query, int other) {
    (void)query;
    return other / 2;
}
#else
#if !__has_builtin(__builtin_amdgcn_wmma_f32_16x16x16_f16_w32) || \
    !__has_builtin(__builtin_amdgcn_permlanex16)
#error "ENGINE: this device has no WMMA of gfx11 for waves of 32"
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
    const uint8 a =
        (uint8)(right[0], right[1], right[2], right[3], right[4], right[5], right[6], right[7]);
    const uint8 b = (uint8)(left[0], left[1], left[2], left[3], left[4], left[5], left[6], left[7]);
    float8 c = (float8)(acc[0], acc[1], acc[2], acc[3], acc[4], acc[5], acc[6], acc[7]);
#if TYPE == F16
    c = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(as_half16(a), as_half16(b), c);
#else
    c = __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(as_short16(a), as_short16(b), c);
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

/* 16 neighbours of a row: two reads of 16 bytes. */
INLINE void wmma11_read(uint *operand, __local const element *row) {
    const uint4 low = *(__local const uint4 *)row, high = *(__local const uint4 *)(row + 8);
    operand[0] = low.s0;
    operand[1] = low.s1;
    operand[2] = low.s2;
    operand[3] = low.s3;
    operand[4] = high.s0;
    operand[5] = high.s1;
    operand[6] = high.s2;
    operand[7] = high.s3;
}

#define ENGINE_FAST_LEFT 1
#define ENGINE_FAST_ROWS 1

INLINE void engine_fast_left(uint *left, __local const element *tile, const int stride, int lane) {
    wmma11_read(left, tile + lane % 16 * stride);
}

INLINE void engine_fast_rows(uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2],
                             __local const element *tile, const int stride, int lane) {
    wmma11_read(right[0], tile + lane % 16 * stride);
}

/* A lane has every second key of its query, its partner the others: pairs of them change places. */
INLINE void engine_weights(uint *left, const float s[ENGINE_SPLIT][ENGINE_ACC],
                           struct engine_wave w) {
    ENGINE_UNROLL
    for (int i = 0; i < 4; i++) {
        const uint mine = engine_pack(s[0][2 * i], s[0][2 * i + 1]);
        const uint other = as_uint(engine_exchange(as_float(mine), 16, w));
        const uint even = w.lane < 16 ? mine : other, odd = w.lane < 16 ? other : mine;
        left[2 * i] = (even & 0xffffu) | odd << 16;
        left[2 * i + 1] = even >> 16 | (odd & 0xffff0000u);
    }
}
