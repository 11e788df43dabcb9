/*
 * wgmma - Hopper's matrix unit and tensor copy engine (NVIDIA, compute capability
 * 9.0), as inline PTX.
 *
 * A tile is rows of 64 elements, 128 bytes each: the copy engine brings it from global
 * memory, wgmma reads it from local memory, a warpgroup (128 work-items) holds the result.
 * Wider heads are slabs of such tiles, one after the other:
 *
 *     tile[slab][row][64 elements]     slab begins at a multiple of 1024 bytes
 *
 * Within 8 rows (1024 bytes) the 16-byte chunks are swizzled: chunk c of row r lies at place
 * c ^ (r % 8).  The copy engine writes and the matrix unit reads in that order.
 *
 * "//@90a " before an instruction: the driver's front end knows only what all chips have.
 * It passes a comment on, and src/ptx.c takes the marker away.
 */
#ifndef BLOCK_N
#error "BLOCK_N: keys per block; a multiple of 16, at most 256"
#endif

#define WGMMA_SLAB 64       /* elements of a row of a tile */
#define WGMMA_ROW_BYTES 128 /* bytes of it */
#define WGMMA_STEP 16       /* elements along which one instruction sums */

#define WGMMA_STRING(x) #x
#define WGMMA_TEXT(x) WGMMA_STRING(x)

/* The unit multiplies elements of one type: q, k, v and o have that of k. */
#define TYPE TYPE_K
typedef element_k element;

#if TYPE == F16
#define WGMMA_TYPES "f32.f16.f16"
#elif TYPE == BF16
#define WGMMA_TYPES "f32.bf16.bf16"
#else
#error "TYPE_K: wgmma multiplies F16 and BF16"
#endif

/* Columns of O: what HEAD_DIM_V needs, in whole slabs. */
#if HEAD_DIM_V <= 64
#define WGMMA_COLUMNS 64
#elif HEAD_DIM_V <= 128
#define WGMMA_COLUMNS 128
#elif HEAD_DIM_V <= 192
#define WGMMA_COLUMNS 192
#else
#define WGMMA_COLUMNS 256
#endif

/*
 * The accumulators of a 64 x n product: n / 2 floats in each of 128 work-items.
 * WGMMA_NAMES_n names them in the instruction, WGMMA_FLOATS_n(x) binds them to array x.
 */
#define WGMMA_NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7"
#define WGMMA_NAMES_32 WGMMA_NAMES_16 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_NAMES_48 WGMMA_NAMES_32 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define WGMMA_NAMES_64 WGMMA_NAMES_48 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_NAMES_80 WGMMA_NAMES_64 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define WGMMA_NAMES_96 WGMMA_NAMES_80 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_NAMES_112 WGMMA_NAMES_96 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define WGMMA_NAMES_128 WGMMA_NAMES_112 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_NAMES_144 WGMMA_NAMES_128 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define WGMMA_NAMES_160 WGMMA_NAMES_144 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define WGMMA_NAMES_176 WGMMA_NAMES_160 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define WGMMA_NAMES_192 WGMMA_NAMES_176 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_NAMES_208 WGMMA_NAMES_192 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define WGMMA_NAMES_224 WGMMA_NAMES_208 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define WGMMA_NAMES_240 WGMMA_NAMES_224 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define WGMMA_NAMES_256 WGMMA_NAMES_240 ", %120, %121, %122, %123, %124, %125, %126, %127"

#define WGMMA_4(x, i) "+f"(x[i]), "+f"(x[i + 1]), "+f"(x[i + 2]), "+f"(x[i + 3])
#define WGMMA_8(x, i) WGMMA_4(x, i), WGMMA_4(x, i + 4)
#define WGMMA_FLOATS_16(x) WGMMA_8(x, 0)
#define WGMMA_FLOATS_32(x) WGMMA_FLOATS_16(x), WGMMA_8(x, 8)
#define WGMMA_FLOATS_48(x) WGMMA_FLOATS_32(x), WGMMA_8(x, 16)
#define WGMMA_FLOATS_64(x) WGMMA_FLOATS_48(x), WGMMA_8(x, 24)
#define WGMMA_FLOATS_80(x) WGMMA_FLOATS_64(x), WGMMA_8(x, 32)
#define WGMMA_FLOATS_96(x) WGMMA_FLOATS_80(x), WGMMA_8(x, 40)
#define WGMMA_FLOATS_112(x) WGMMA_FLOATS_96(x), WGMMA_8(x, 48)
#define WGMMA_FLOATS_128(x) WGMMA_FLOATS_112(x), WGMMA_8(x, 56)
#define WGMMA_FLOATS_144(x) WGMMA_FLOATS_128(x), WGMMA_8(x, 64)
#define WGMMA_FLOATS_160(x) WGMMA_FLOATS_144(x), WGMMA_8(x, 72)
#define WGMMA_FLOATS_176(x) WGMMA_FLOATS_160(x), WGMMA_8(x, 80)
#define WGMMA_FLOATS_192(x) WGMMA_FLOATS_176(x), WGMMA_8(x, 88)
#define WGMMA_FLOATS_208(x) WGMMA_FLOATS_192(x), WGMMA_8(x, 96)
#define WGMMA_FLOATS_224(x) WGMMA_FLOATS_208(x), WGMMA_8(x, 104)
#define WGMMA_FLOATS_240(x) WGMMA_FLOATS_224(x), WGMMA_8(x, 112)
#define WGMMA_FLOATS_256(x) WGMMA_FLOATS_240(x), WGMMA_8(x, 120)

#define WGMMA_S_NAMES BASE_CONCAT(WGMMA_NAMES_, BLOCK_N)
#define WGMMA_S_FLOATS BASE_CONCAT(WGMMA_FLOATS_, BLOCK_N)
#define WGMMA_O_NAMES BASE_CONCAT(WGMMA_NAMES_, WGMMA_COLUMNS)
#define WGMMA_O_FLOATS BASE_CONCAT(WGMMA_FLOATS_, WGMMA_COLUMNS)

/* A pointer to local memory as PTX takes it. */
INLINE uint wgmma_address(__local const void *p) {
    return (uint)(size_t)p;
}

/*
 * How wgmma finds a tile in local memory (PTX: "matrix descriptor"):
 *
 *     bits  0-13  address / 16
 *     bits 16-29  leading offset / 16: from slab to slab, where the tile is read as its
 *                 transpose (V: rows are keys, which are summed along); else unused
 *     bits 32-45  stride offset / 16: from 8 rows to the next 8, 1024 bytes
 *     bits 62-63  1: swizzled over 128 bytes
 */
INLINE ulong wgmma_descriptor(uint address, uint slab_bytes) {
    return (ulong)(address >> 4 & 0x3fffu) | (ulong)(slab_bytes >> 4) << 16 | (ulong)64 << 32 |
           (ulong)1 << 62;
}

/*
 * wgmma.mma_async m64nNk16: D[64][N] += A[64][16] B[16][N].  Of D, and of A where it is
 * in registers, work-item i of the warpgroup (warp w = i / 32, g = i % 32 / 4, j = i % 4) has
 *
 *              column  8c + 2j   8c + 2j + 1                     k = 2j, 2j+1   8 + 2j, + 1
 *     row 16w + g      d[4c]     d[4c + 1]         row 16w + g       a[0]          a[2]
 *     row 16w + g + 8  d[4c + 2] d[4c + 3]         row 16w + g + 8   a[1]          a[3]
 *
 * so that D, rounded to 16 bits and packed in pairs, is the A of a product along its columns.
 */

/* s = Q K^T of 16 elements of the heads, or s += where `sum`: a literal. */
INLINE void wgmma_scores_step(float *s, ulong q, ulong k, const int sum) {
    if (sum) {
        __asm volatile("//@90a wgmma.mma_async.sync.aligned.m64n" WGMMA_TEXT(
                           BLOCK_N) "k16." WGMMA_TYPES " {" WGMMA_S_NAMES
                                    "}, %[q], %[k], 1, 1, 1, 0, 0;"
                       : WGMMA_S_FLOATS(s)
                       : [q] "l"(q), [k] "l"(k));
    } else {
        __asm volatile("//@90a wgmma.mma_async.sync.aligned.m64n" WGMMA_TEXT(
                           BLOCK_N) "k16." WGMMA_TYPES " {" WGMMA_S_NAMES
                                    "}, %[q], %[k], 0, 1, 1, 0, 0;"
                       : WGMMA_S_FLOATS(s)
                       : [q] "l"(q), [k] "l"(k));
    }
}

/* o += P V of 16 keys; p: four pairs of weights. */
INLINE void wgmma_weigh_step(float *o, const uint *p, ulong v) {
    __asm volatile("//@90a wgmma.mma_async.sync.aligned.m64n" WGMMA_TEXT(
                       WGMMA_COLUMNS) "k16." WGMMA_TYPES " {" WGMMA_O_NAMES
                                      "}, {%[p0], %[p1], %[p2], %[p3]}, %[v], 1, 1, 1, 1;"
                   : WGMMA_O_FLOATS(o)
                   : [p0] "r"(p[0]), [p1] "r"(p[1]), [p2] "r"(p[2]), [p3] "r"(p[3]), [v] "l"(v));
}

/* The compiler believes that these are written here: reads stay behind it, writes before. */
INLINE void wgmma_pin_scores(float *s) {
    __asm volatile("" : WGMMA_S_FLOATS(s)::"memory");
}
INLINE void wgmma_pin_output(float *o) {
    __asm volatile("" : WGMMA_O_FLOATS(o)::"memory");
}

/* wgmma.fence: registers that were written by ordinary instructions may now be used. */
INLINE void wgmma_begin(void) {
    __asm volatile("//@90a wgmma.fence.sync.aligned;" ::: "memory");
}

/* wgmma.commit_group: what was started since the last one is a group. */
INLINE void wgmma_commit(void) {
    __asm volatile("//@90a wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* wgmma.wait_group: until at most `left`, a literal 0 or 1, groups are under way. */
INLINE void wgmma_wait(const int left) {
    if (left) {
        __asm volatile("//@90a wgmma.wait_group.sync.aligned 1;" ::: "memory");
    } else {
        __asm volatile("//@90a wgmma.wait_group.sync.aligned 0;" ::: "memory");
    }
}

/* setmaxnreg: the warpgroup gives registers away, or waits until it has got more.
 * A multiple of 8, from 24 to 240, the same word for all warps of the warpgroup. */
#define WGMMA_GIVE_REGISTERS(n) \
    __asm volatile("//@90a setmaxnreg.dec.sync.aligned.u32 " WGMMA_TEXT(n) ";" ::: "memory")
#define WGMMA_TAKE_REGISTERS(n) \
    __asm volatile("//@90a setmaxnreg.inc.sync.aligned.u32 " WGMMA_TEXT(n) ";" ::: "memory")

/* ---- Barriers in local memory (mbarrier) ----
 *
 * A barrier counts arrivals, and bytes that the copy engine is still to bring; when none is
 * missing, its phase is complete and the next one begins.  A wait names the phase by its
 * parity: 0 for the first. */

INLINE void mbarrier_init(uint at, uint arrivals) {
    __asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory");
}

/* Makes the initialised barriers visible to the copy engine; once, after the last init, by the same
 * work-item. */
INLINE void mbarrier_publish(void) {
    __asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

INLINE void mbarrier_arrive(uint at) {
    __asm volatile("{ .reg .b64 state; mbarrier.arrive.shared::cta.b64 state, [%0]; }" ::"r"(at)
                   : "memory");
}

/* Arrives, and makes the phase wait for `bytes` of the copy engine. */
INLINE void mbarrier_arrive_expecting(uint at, uint bytes) {
    __asm volatile(
        "{ .reg .b64 state; mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1; }" ::"r"(at),
        "r"(bytes)
        : "memory");
}

INLINE void mbarrier_wait(uint at, uint parity) {
    uint done;
    do {
        __asm volatile("{ .reg .pred done; mbarrier.try_wait.parity.shared::cta.b64 done, [%1], "
                       "%2; selp.u32 %0, 1, 0, done; }"
                       : "=r"(done)
                       : "r"(at), "r"(parity)
                       : "memory");
    } while (!done);
}

/* ---- Barriers of the work-group (bar), for whole warps ---- */

INLINE void bar_sync(uint name, uint work_items) {
    __asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(work_items) : "memory");
}

INLINE void bar_arrive(uint name, uint work_items) {
    __asm volatile("bar.arrive %0, %1;" ::"r"(name), "r"(work_items) : "memory");
}

/* ---- The tensor copy engine ---- */

/* Makes what an earlier kernel wrote to a tensor map visible to the copy engine. */
INLINE void copy_acquire(__global const void *map) {
    __asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
}

/* cp.async.bulk.tensor.4d: one slab of a tile, from element `d` of row `row` on; what lies
 * outside the tensor becomes 0.  Its bytes arrive at the barrier. */
INLINE void copy_slab(uint to, __global const void *map, int d, int row, int head, int batch,
                      uint barrier_at) {
    __asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::"
                   "bytes [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to),
                   "l"(map), "r"(d), "r"(row), "r"(head), "r"(batch), "r"(barrier_at)
                   : "memory");
}

/* Makes ordinary writes to local memory visible to wgmma and the copy engine. */
INLINE void copy_publish(void) {
    __asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* ---- Within a warp ---- */

/* The value of the work-item whose number differs in the bits of `mask`. */
INLINE uint warp_exchange(uint x, int mask) {
    uint y;
    __asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(y) : "r"(x), "r"(mask));
    return y;
}

/* Vote: 1 in every work-item of the warp where x is not 0 in any; also a barrier of the warp. */
INLINE int warp_any(int x) {
    int any;
    __asm volatile("{ .reg .pred one, any; setp.ne.s32 one, %1, 0; vote.sync.any.pred any, one, "
                   "0xffffffff; selp.s32 %0, 1, 0, any; }"
                   : "=r"(any)
                   : "r"(x)
                   : "memory");
    return any;
}

/* Ballot: bit i is set where x is not 0 in work-item i of the warp. */
INLINE uint warp_ballot(int x) {
    uint bits;
    __asm volatile("{ .reg .pred one; setp.ne.s32 one, %1, 0; vote.sync.ballot.b32 %0, one, "
                   "0xffffffff; }"
                   : "=r"(bits)
                   : "r"(x)
                   : "memory");
    return bits;
}

/* A barrier of the warp. */
INLINE void warp_sync(void) {
    __asm volatile("bar.warp.sync 0xffffffff;" ::: "memory");
}

/* Two floats as a pair of elements, rounded to nearest even, `low` at the lower address. */
INLINE uint wgmma_pack(float low, float high) {
    uint pair;
#if TYPE == F16
    __asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#else
    __asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#endif
    return pair;
}

/* sum + a * b, each a pair of F16; nothing for BF16. */
INLINE uint wgmma_add_products(uint a, uint b, uint sum) {
#if TYPE == F16
    __asm("fma.rn.f16x2 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
#else
    (void)a;
    (void)b;
#endif
    return sum;
}

/* Is a sum of wgmma_add_products Inf or NaN?  It is where any factor is; it is not where all
 * factors of 32 products are below 45. */
INLINE int wgmma_not_finite(uint sum) {
    return (sum & 0x7c00u) == 0x7c00u || (sum & 0x7c000000u) == 0x7c000000u;
}

/* a * b, rounded upwards. */
INLINE float wgmma_multiply_up(float a, float b) {
    float product;
    __asm("mul.rp.f32 %0, %1, %2;" : "=f"(product) : "f"(a), "f"(b));
    return product;
}

/* Of a pair of elements: the bits that are set where one is NaN or Inf. */
INLINE uint wgmma_pair_bad(uint pair) {
    const uint exponent = TYPE == F16 ? 0x7c007c00u : 0x7f807f80u;
    const uint one = TYPE == F16 ? 0x04000400u : 0x00800080u;
    return ((pair & exponent) + one) & 0x80008000u;
}
