/*
 * base - storage types, vectors of LANES floats, exp2.
 *
 * Storage and arithmetic are separate: an element (F32, F16 or BF16) is loaded
 * into a float and stored from one, also where cl_khr_fp16 is missing.
 */
#ifndef TYPE
#error "TYPE: storage of q, k, v and o: F32 (1), F16 (2) or BF16 (3)"
#endif
#ifndef LANES
#error "LANES: floats in a floatn: 1, 4, 8 or 16"
#endif
#ifndef HEAD_DIM
#error "HEAD_DIM: elements of a row of q and k"
#endif
#ifndef HEAD_DIM_V
#error "HEAD_DIM_V: elements of a row of v and o"
#endif
#ifndef MASKED
#error "MASKED: 1 where a band can hide keys, else 0"
#endif

/* Fused multiply-adds are written out, fma(a, b, c).  If a compiler fused product * factor with the
 * subtraction of a reference that was rounded, the best key's weight would not be 1: see state.cl.
 */
#pragma OPENCL FP_CONTRACT OFF

#define F32 1
#define F16 2
#define BF16 3

#define UNROLL _Pragma("unroll")
#define ROLL _Pragma("unroll 1") /* what seldom runs is to stay small */
/* A program uses some functions of a part and not others. */
#define INLINE static inline __attribute__((always_inline, unused))

#define BASE_PASTE(a, b) a##b
#define BASE_CONCAT(a, b) BASE_PASTE(a, b)

#if LANES == 1
typedef float floatn;
typedef int intn;
#define as_floatn as_float
#define as_intn as_int
#else
typedef BASE_CONCAT(float, LANES) floatn;
typedef BASE_CONCAT(int, LANES) intn;
typedef BASE_CONCAT(uint, LANES) uintn;
#define as_floatn BASE_CONCAT(as_float, LANES)
#define as_intn BASE_CONCAT(as_int, LANES)
#define as_uintn BASE_CONCAT(as_uint, LANES)
#endif

#if TYPE == F32
typedef float element;
typedef float4 element4;
#else
typedef ushort element;
typedef ushort4 element4;
#endif

INLINE float load(__global const element *p) {
#if TYPE == F32
    return *p;
#elif TYPE == F16
    return vload_half(0, (__global const half *)p);
#else
    return as_float((uint)*p << 16);
#endif
}

/* Four elements as they are stored; aligned is a promise that p is a multiple of four. */
INLINE element4 read4(__global const element *p, int aligned) {
    return aligned ? *(__global const element4 *)p : vload4(0, p);
}

/* Through 32-bit halves only: no device needs cl_khr_fp16 for it. */
INLINE float4 convert4(element4 x) {
#if TYPE == F32
    return x;
#elif TYPE == F16
    const ushort halves[4] = {x.x, x.y, x.z, x.w};
    return vload_half4(0, (const half *)halves);
#else
    return as_float4(convert_uint4(x) << 16);
#endif
}

/* The upper half of a float, rounded to nearest, ties to even; a NaN stays one. */
INLINE ushort base_bf16(float x) {
    const uint bits = as_uint(x);
    const uint rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return (ushort)(isnan(x) ? bits >> 16 | 0x40u : rounded);
}

INLINE void store(__global element *p, float x) {
#if TYPE == F32
    *p = x;
#elif TYPE == F16
    vstore_half_rte(x, 0, (__global half *)p);
#else
    *p = base_bf16(x);
#endif
}

#if TYPE != F32
/* To and from 16 bits in registers; nearest, ties to even. */
INLINE ushort narrow(float x) {
#if TYPE == F16
    ushort bits;
    vstore_half_rte(x, 0, (half *)&bits);
    return bits;
#else
    return base_bf16(x);
#endif
}

INLINE float widen(ushort bits) {
#if TYPE == F16
    return vload_half(0, (const half *)&bits);
#else
    return as_float((uint)bits << 16);
#endif
}
#endif

/* Four elements; aligned as in read4. */
INLINE void store4(__global element *p, float4 x, int aligned) {
    if (!aligned) {
        store(p, x.x);
        store(p + 1, x.y);
        store(p + 2, x.z);
        store(p + 3, x.w);
        return;
    }
#if TYPE == F32
    *(__global float4 *)p = x;
#elif TYPE == F16
    vstorea_half4_rte(x, 0, (__global half *)p);
#else
    *(__global ushort4 *)p =
        (ushort4)(base_bf16(x.x), base_bf16(x.y), base_bf16(x.z), base_bf16(x.w));
#endif
}

#if LANES > 1
/* LANES elements, wherever they lie. */
INLINE floatn loadn(__global const element *p) {
#if TYPE == F32
    return BASE_CONCAT(vload, LANES)(0, p);
#elif TYPE == F16
    return BASE_CONCAT(vload_half, LANES)(0, (__global const half *)p);
#else
    return as_floatn(BASE_CONCAT(convert_uint, LANES)(BASE_CONCAT(vload, LANES)(0, p)) << 16);
#endif
}

INLINE void storen(__global element *p, floatn x) {
#if TYPE == F32
    BASE_CONCAT(vstore, LANES)(x, 0, p);
#elif TYPE == F16
    BASE_CONCAT(BASE_CONCAT(vstore_half, LANES), _rte)(x, 0, (__global half *)p);
#else
    const uintn bits = as_uintn(x);
    const uintn rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const uintn kept = x == x ? rounded : (bits >> 16 | 0x40u);
    BASE_CONCAT(vstore, LANES)(BASE_CONCAT(convert_ushort, LANES)(kept), 0, p);
#endif
}
#endif

/*
 * 2^x for x <= 0 and NaN: error under 2 units in the last place, 0 below -126.5.
 *
 * For vectors (CPU devices) a polynomial of our own, after Cody and Waite: adding
 * 1.5 * 2^23 rounds x to an integer n in the low mantissa bits, where a shift makes
 * 2^n of it; 2^(x-n) on [-1/2, 1/2] is a minimax polynomial.  The product (rather
 * than an addition to the exponent) keeps NaN a NaN, whatever its payload.  The
 * comparison that clamps is written so that NaN passes.
 */
INLINE floatn base_exp2(floatn x) {
#if LANES == 1
    return exp2(x);
#else
    const floatn magic = (floatn)(12582912.0f + 127.0f);
    x = x < (floatn)(-127.0f) ? (floatn)(-127.0f) : x;
    floatn n = x + magic;
    floatn f = x - (n - magic);
    floatn power = fma(f, (floatn)(1.32647047e-3f), (floatn)(9.67151045e-3f));
    power = fma(power, f, (floatn)(5.55073378e-2f));
    power = fma(power, f, (floatn)(2.40222421e-1f));
    power = fma(power, f, (floatn)(6.93146978e-1f));
    power = fma(power, f, (floatn)(1.0f));
    return power * as_floatn(as_intn(n) << 23);
#endif
}

/*
 * 2^x by the device's own instruction, for weights that are rounded to 16 bits.  NVIDIA's
 * native_exp2 spends three more instructions on results below 2^-126, which are 0 here; it
 * does so with -cl-denorms-are-zero, too (driver 580, read off its PTX: ex2.approx.f32).
 */
INLINE floatn base_exp2_native(floatn x) {
#if defined(__NV_CL_C_VERSION) && LANES == 1
    float y;
    __asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return native_exp2(x);
#endif
}
