/*
 * storage - how an element becomes a float and back, for each type of storage.
 *
 * Storage and arithmetic are separate: an element is loaded into a float and stored from one, also
 * where cl_khr_fp16 is missing.  Each operand has a type of its own: TYPE_K is that of k, element_k
 * the type of an element of k in OpenCL C.  `type` is a literal in every call, load(k + d, TYPE_K),
 * so the compiler keeps one branch of each function.
 *
 * K and V may come in blocks of 32 elements, as ggml has them: a scale in F16 and 32 integers,
 * whose products are the elements.  A row is whole blocks.  element_k is then a byte, and the
 * strides of k count bytes: so rows are addressed as those of other types, but an element only by
 * its row and its number in it (load_at).
 *
 *     Q8_0  34 bytes  integers of 8 bits with a sign, in their order
 *     Q4_0  18 bytes  integers of 4 bits less 8; byte j has number j below and j + 16 above
 */
#define F32 1
#define F16 2
#define BF16 3
#define Q8_0 4
#define Q4_0 5
#define STORAGE_BLOCKED(type) ((type) >= Q8_0)

typedef float element_f32;
typedef ushort element_f16;
typedef ushort element_bf16;
typedef uchar element_q8_0;
typedef uchar element_q4_0;
typedef uchar element_u8; /* of a mask */
typedef int element_i32;  /* of lengths */

/* The element that lies `at` elements behind p; of blocks, the row that lies `at` bytes behind. */
INLINE __global const void *storage_at(__global const void *p, long at, const int type) {
    return type == F32             ? (__global const void *)((__global const float *)p + at)
           : STORAGE_BLOCKED(type) ? (__global const void *)((__global const uchar *)p + at)
                                   : (__global const void *)((__global const ushort *)p + at);
}

INLINE float load(__global const void *p, const int type) {
    return type == F32   ? *(__global const float *)p
           : type == F16 ? vload_half(0, (__global const half *)p)
                         : as_float((uint) * (__global const ushort *)p << 16);
}

/* The upper half of a float, rounded to nearest, ties to even; a NaN stays one. */
INLINE ushort storage_bf16(float x) {
    const uint bits = as_uint(x);
    const uint rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return (ushort)(isnan(x) ? bits >> 16 | 0x40u : rounded);
}

/* Rounds to nearest, ties to even, as all that follow. */
INLINE void store(__global void *p, float x, const int type) {
    if (type == F32) {
        *(__global float *)p = x;
    } else if (type == F16) {
        vstore_half_rte(x, 0, (__global half *)p);
    } else {
        *(__global ushort *)p = storage_bf16(x);
    }
}

/* ---- 16 bits in registers ---- */

INLINE float widen(ushort bits, const int type) {
    return type == F16 ? vload_half(0, (const half *)&bits) : as_float((uint)bits << 16);
}

/* Through 32-bit halves only: no device needs cl_khr_fp16 for it. */
INLINE float4 widen4(ushort4 x, const int type) {
    const ushort halves[4] = {x.x, x.y, x.z, x.w};
    return type == F16 ? vload_half4(0, (const half *)halves) : as_float4(convert_uint4(x) << 16);
}

INLINE ushort narrow(float x, const int type) {
    ushort bits;
    if (type == F16) {
        vstore_half_rte(x, 0, (half *)&bits);
    } else {
        bits = storage_bf16(x);
    }
    return bits;
}

/* ---- Four elements; aligned: p is aligned to four elements ---- */

INLINE float4 read4_f32(__global const float *p, int aligned) {
    return aligned ? *(__global const float4 *)p : vload4(0, p);
}

/* 16 bits each, as they are stored. */
INLINE ushort4 read4_16(__global const ushort *p, int aligned) {
    return aligned ? *(__global const ushort4 *)p : vload4(0, p);
}

INLINE float4 load4(__global const void *p, const int type, int aligned) {
    return type == F32 ? read4_f32((__global const float *)p, aligned)
                       : widen4(read4_16((__global const ushort *)p, aligned), type);
}

INLINE void store4(__global void *p, float4 x, const int type, int aligned) {
    if (!aligned) {
        store(p, x.x, type);
        store((__global void *)storage_at(p, 1, type), x.y, type);
        store((__global void *)storage_at(p, 2, type), x.z, type);
        store((__global void *)storage_at(p, 3, type), x.w, type);
    } else if (type == F32) {
        *(__global float4 *)p = x;
    } else if (type == F16) {
        vstorea_half4_rte(x, 0, (__global half *)p);
    } else {
        *(__global ushort4 *)p =
            (ushort4)(storage_bf16(x.x), storage_bf16(x.y), storage_bf16(x.z), storage_bf16(x.w));
    }
}

/* ---- Element `d` of a row, and those behind it, in any type ---- */

/* The block of element d of a row. */
INLINE __global const uchar *storage_block(__global const void *row, int d, const int type) {
    return (__global const uchar *)row + d / 32 * (type == Q8_0 ? 34 : 18);
}

INLINE float storage_scale(__global const uchar *block) {
    return vload_half(0, (__global const half *)block);
}

/* Integer i of a block, and, of n that lie in one half of the block, all. */
INLINE float storage_integer(__global const uchar *block, int i, const int type) {
    return type == Q8_0 ? convert_float(((__global const char *)block)[2 + i])
                        : convert_float((block[2 + i % 16] >> i / 16 * 4) & 15) - 8.0f;
}
#define STORAGE_INTEGERS(name, n)                                                                  \
    INLINE BASE_CONCAT(float, n) name(__global const uchar *block, int i, const int type) {        \
        __global const uchar *bits = block + 2 + (type == Q8_0 ? i : i % 16);                      \
        const BASE_CONCAT(uchar, n) x = BASE_CONCAT(vload, n)(0, bits);                            \
        const BASE_CONCAT(uchar, n) four = (x >> (BASE_CONCAT(uchar, n))(i / 16 * 4)) & (uchar)15; \
        return type == Q8_0 ? BASE_CONCAT(convert_float, n)(BASE_CONCAT(as_char, n)(x))            \
                            : BASE_CONCAT(convert_float, n)(four) - 8.0f;                          \
    }
STORAGE_INTEGERS(storage_integers4, 4)

INLINE float load_at(__global const void *row, int d, const int type) {
    if (STORAGE_BLOCKED(type)) {
        __global const uchar *block = storage_block(row, d, type);
        return storage_scale(block) * storage_integer(block, d % 32, type);
    }
    return load(storage_at(row, d, type), type);
}

/* Four elements from d on, a multiple of 4, of a row in blocks. */
INLINE float4 load4_blocked(__global const void *row, int d, const int type) {
    __global const uchar *block = storage_block(row, d, type);
    return storage_scale(block) * storage_integers4(block, d % 32, type);
}

#if LANES > 1
/* ---- LANES elements, wherever they lie ---- */

INLINE floatn loadn(__global const void *p, const int type) {
    return type == F32   ? BASE_CONCAT(vload, LANES)(0, (__global const float *)p)
           : type == F16 ? BASE_CONCAT(vload_half, LANES)(0, (__global const half *)p)
                         : as_floatn(BASE_CONCAT(convert_uint, LANES)(
                                         BASE_CONCAT(vload, LANES)(0, (__global const ushort *)p))
                                     << 16);
}

INLINE void storen(__global void *p, floatn x, const int type) {
    if (type == F32) {
        BASE_CONCAT(vstore, LANES)(x, 0, (__global float *)p);
    } else if (type == F16) {
        BASE_CONCAT(BASE_CONCAT(vstore_half, LANES), _rte)(x, 0, (__global half *)p);
    } else {
        const uintn bits = as_uintn(x);
        const uintn rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
        const uintn kept = x == x ? rounded : (bits >> 16 | 0x40u);
        BASE_CONCAT(vstore, LANES)
        (BASE_CONCAT(convert_ushort, LANES)(kept), 0, (__global ushort *)p);
    }
}

/* LANES elements from d on, a multiple of LANES. */
STORAGE_INTEGERS(storage_integersn, LANES)
INLINE floatn loadn_at(__global const void *row, int d, const int type) {
    if (STORAGE_BLOCKED(type)) {
        __global const uchar *block = storage_block(row, d, type);
        return storage_scale(block) * storage_integersn(block, d % 32, type);
    }
    return loadn(storage_at(row, d, type), type);
}
#endif
