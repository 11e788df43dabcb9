/*
 * base - vectors of LANES floats, exp2.
 */
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
#define convert_floatn convert_float
#else
typedef BASE_CONCAT(float, LANES) floatn;
typedef BASE_CONCAT(int, LANES) intn;
typedef BASE_CONCAT(uint, LANES) uintn;
#define as_floatn BASE_CONCAT(as_float, LANES)
#define as_intn BASE_CONCAT(as_int, LANES)
#define as_uintn BASE_CONCAT(as_uint, LANES)
#define convert_floatn BASE_CONCAT(convert_float, LANES)
#endif

/* first, first + 1, first + 2, ... */
INLINE intn base_count(int first) {
    intn numbers;
    int *lanes = (int *)&numbers;
    UNROLL
    for (int i = 0; i < LANES; i++) {
        lanes[i] = first + i;
    }
    return numbers;
}

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
 * 2^x for weights that are rounded to 16 bits: by the GPU's own instruction, which is exact for 0.
 * NVIDIA's native_exp2 spends three more instructions on results below 2^-126, which are 0 here; it
 * does so with -cl-denorms-are-zero, too (driver 580, read off its PTX: ex2.approx.f32).
 *
 * native_exp2 elsewhere may be less precise: on a CPU without AVX-512 that of Intel's CPU runtime
 * 2026.2 is wrong by 7e-5 for 0, and with it lse, whose sum has the weights as they are.
 */
INLINE floatn base_exp2_native(floatn x) {
#if defined(__NV_CL_C_VERSION) && LANES == 1
    float y;
    __asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#elif defined(__AMDGCN__) || defined(cl_intel_subgroup_matrix_multiply_accumulate)
    return native_exp2(x);
#else
    return base_exp2(x);
#endif
}
