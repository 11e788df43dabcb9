#include "elements.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

struct format {
    int mantissa; /* stored bits */
    int smallest; /* exponent of the smallest normal number */
    double largest;
};

static struct format format_of(clattn_type type) {
    static const struct format f32 = {23, -126, 0x1.fffffep127};
    static const struct format f16 = {10, -14, 65504};
    static const struct format bf16 = {7, -126, 0x1.fep127};
    return type == CLATTN_F32 ? f32 : type == CLATTN_F16 ? f16 : bf16;
}

double elements_spacing(clattn_type type, double value) {
    struct format f = format_of(type);
    int exponent = value != 0 && isfinite(value) ? ilogb(value) : f.smallest;
    return ldexp(1, (exponent > f.smallest ? exponent : f.smallest) - f.mantissa);
}

double elements_round(clattn_type type, double value) {
    if (!isfinite(value)) {
        return value;
    }
    double step = elements_spacing(type, value), rounded = nearbyint(value / step) * step;
    return fabs(rounded) > elements_largest(type) ? copysign(INFINITY, value) : rounded;
}

enum { BLOCK = ELEMENTS_BLOCK, HALF_BLOCK = BLOCK / 2, SCALE_BYTES = 2 };

bool elements_blocked(clattn_type type) {
    return type == CLATTN_Q8_0 || type == CLATTN_Q4_0;
}

static size_t block_bytes(clattn_type type) {
    return SCALE_BYTES + (type == CLATTN_Q8_0 ? BLOCK : HALF_BLOCK);
}

size_t elements_bytes(clattn_type type, size_t count) {
    return elements_blocked(type) ? count / BLOCK * block_bytes(type)
                                  : count * (type == CLATTN_F32 ? 4 : 2);
}

static float decode_blocked(clattn_type type, const unsigned char *data, size_t index) {
    const unsigned char *block = data + index / BLOCK * block_bytes(type);
    const size_t at = index % BLOCK;
    uint16_t scale;
    memcpy(&scale, block, sizeof scale);
    const int integer =
        type == CLATTN_Q8_0
            ? (signed char)block[SCALE_BYTES + at]
            : (block[SCALE_BYTES + at % HALF_BLOCK] >> at / HALF_BLOCK * 4 & 15) - 8;
    return elements_decode(CLATTN_F16, &scale, 0) * (float)integer;
}

float elements_decode(clattn_type type, const void *data, size_t index) {
    if (elements_blocked(type)) {
        return decode_blocked(type, data, index);
    }
    if (type == CLATTN_F32) {
        return ((const float *)data)[index];
    }
    uint32_t bits = ((const uint16_t *)data)[index];
    if (type == CLATTN_BF16) {
        bits <<= 16;
    } else {
        /* The exponent's bias is mended by a multiplication, which is exact and
         * normalises subnormal numbers; infinity and NaN get a full exponent. */
        uint32_t magnitude = (bits & 0x7fff) << 13;
        float value;
        memcpy(&value, &magnitude, sizeof value);
        value *= 0x1p112f;
        memcpy(&magnitude, &value, sizeof value);
        bits = (bits & 0x8000) << 16 | magnitude | ((bits & 0x7c00) == 0x7c00 ? 0x7f800000 : 0);
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double elements_largest(clattn_type type) {
    return format_of(type).largest;
}

double elements_single(double value) {
    return isfinite(value) ? (double)(float)fmax(-FLT_MAX, fmin(FLT_MAX, value)) : value;
}
