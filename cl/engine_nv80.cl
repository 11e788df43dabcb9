/*
 * engine_nv80 - NVIDIA, compute capability 8.0 and later: mma.sync, ldmatrix, cp.async.
 *
 * Inline PTX: OpenCL C has no word for these.  Plain orientation: left is the instruction's
 * A, right its B.  See engine.cl for what an engine gives.
 *
 *     mma.sync.aligned.m16n8k16, lane = 4 * g + t (g 0 ... 7, t 0 ... 3), registers of two:
 *
 *     A 16 x 16    k 2t, +1    k 2t+8, +9      B 16 x 8      column g
 *     row g        a0          a2              k 2t, +1      b0
 *     row g + 8    a1          a3              k 2t+8, +9    b1
 *
 *     C 16 x 8     columns 2t, +1
 *     row g        c0, c1
 *     row g + 8    c2, c3
 */
#define ENGINE_LANES 32
#define ENGINE_QUERIES 16
#define ENGINE_OTHERS 8
#define ENGINE_LEFT 8
#define ENGINE_RIGHT 4
#define ENGINE_ACC 4
#define ENGINE_SLOTS 2
#define ENGINE_SHARE 3
#define ENGINE_COPIES 0
#define ENGINE_HALVES 0
#define ENGINE_ATTRIBUTES

INLINE int engine_left_query(int lane, int e) {
    return lane / 4 + 8 * (e / 2 % 2);
}

INLINE int engine_left_depth(int lane, int e) {
    return 2 * (lane % 4) + e % 2 + 8 * (e / 4);
}

INLINE int engine_right_other(int lane, int e) {
    (void)e;
    return lane / 4;
}

INLINE int engine_right_depth(int lane, int e) {
    return 2 * (lane % 4) + e % 2 + 8 * (e / 2);
}

INLINE int engine_acc_query(int lane, int e) {
    return lane / 4 + 8 * (e / 2);
}

INLINE int engine_acc_other(int lane, int e) {
    return 2 * (lane % 4) + e % 2;
}

INLINE int engine_acc_slot(int e) {
    return e / 2;
}

#if EMULATED
/* PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": where an element is. */
INLINE int emulated_left_lane(int query, int depth) {
    return query % 8 * 4 + depth % 8 / 2;
}

INLINE int emulated_left_element(int query, int depth) {
    return (depth >= 8 ? 4 : 0) + (query >= 8 ? 2 : 0) + (depth & 1);
}

INLINE int emulated_right_lane(int other, int depth) {
    return other * 4 + depth % 8 / 2;
}

INLINE int emulated_right_element(int other, int depth) {
    return (depth >= 8 ? 2 : 0) + (depth & 1);
}

INLINE int emulated_acc_lane(int query, int other) {
    return query % 8 * 4 + other / 2;
}

INLINE int emulated_acc_element(int query, int other) {
    return (query >= 8 ? 2 : 0) + (other & 1);
}
#else

INLINE uint engine_pack(float low, float high) {
    uint both;
#if TYPE == F16
    __asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
#else
    __asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
#endif
    return both;
}

INLINE float engine_exchange(float x, const int bits, struct engine_wave w) {
    float other;
    (void)w;
    __asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;"
                   : "=f"(other)
                   : "f"(x), "r"(bits));
    return other;
}

#if TYPE == F16
#define NV80_MMA "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
#else
#define NV80_MMA "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#endif

INLINE void engine_multiply(float *acc, const uint *left, const uint *right, struct engine_wave w) {
    (void)w;
    __asm volatile(NV80_MMA "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
                   : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]),
                     "r"(right[1]));
}

/*
 * ldmatrix reads up to four matrices of 8 x 8; lane 8 * i + r says where row r of the i-th
 * begins, and register i of lane 4 * g + t gets elements 2t, 2t + 1 of its row g (with .trans:
 * of its column g).  The rows are 16 bytes apart modulo 128 (ENGINE_PAD): no bank conflict.
 */
INLINE uint nv80_address(__local const element *p) {
    return (uint)(size_t)p;
}

INLINE void nv80_load(uint *r, uint address) {
    __asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                   : "r"(address)
                   : "memory");
}

INLINE void nv80_load_transposed(uint *r, uint address) {
    __asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                   : "r"(address)
                   : "memory");
}

#define ENGINE_FAST_LEFT 1
#define ENGINE_FAST_ROWS 1
#define ENGINE_FAST_COLUMNS 1

/* Matrices: rows 0-7 and 8-15, then both of the next 8 elements. */
INLINE void engine_fast_left(uint *left, __local const element *tile, const int stride, int lane) {
    nv80_load(left, nv80_address(tile + lane % 16 * stride + lane / 16 * 8));
}

/* Matrices: of rows 0-7 both halves, of rows 8-15 both halves. */
INLINE void engine_fast_rows(uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2],
                             __local const element *tile, const int stride, int lane) {
    uint r[4];
    nv80_load(r, nv80_address(tile + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8));
    right[0][0] = r[0];
    right[0][1] = r[1];
    right[1][0] = r[2];
    right[1][1] = r[3];
}

/* Matrices: of columns 0-7 rows 0-7 and 8-15, then both of columns 8-15. */
INLINE void engine_fast_columns(uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2],
                                __local const element *tile, const int stride, int lane) {
    uint r[4];
    nv80_load_transposed(r, nv80_address(tile + lane % 16 * stride + lane / 16 * 8));
    right[0][0] = r[0];
    right[0][1] = r[1];
    right[1][0] = r[2];
    right[1][1] = r[3];
}

#define ENGINE_FAST_COPY 1

/* Under way until engine_copied; what is missing of eight elements becomes 0. */
INLINE void engine_copy8(__local element *to, __global const element *from, int count) {
    __asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                   :
                   : "r"(nv80_address(to)), "l"(from), "r"(2 * count)
                   : "memory");
}

INLINE void engine_copied(void) {
    __asm volatile("cp.async.wait_all;" : : : "memory");
}
#endif

/* Two fragments of scores are the four registers of A, in their order. */
INLINE void engine_weights(uint *left, const float s[ENGINE_SPLIT][ENGINE_ACC],
                           struct engine_wave w) {
    (void)w;
    left[0] = engine_pack(s[0][0], s[0][1]);
    left[1] = engine_pack(s[0][2], s[0][3]);
    left[2] = engine_pack(s[1][0], s[1][1]);
    left[3] = engine_pack(s[1][2], s[1][3]);
}
