#include "blocks.h"

#include <math.h>
#include <string.h>

#include "reference.h"

enum { SCALE = 2 }; /* bytes */

bool blocks_has(clattn_type type) {
    return type == CLATTN_Q8_0 || type == CLATTN_Q4_0;
}

static size_t block_bytes(clattn_type type) {
    return SCALE + (type == CLATTN_Q8_0 ? BLOCKS_ELEMENTS : BLOCKS_ELEMENTS / 2);
}

size_t blocks_row_bytes(clattn_type type, size_t elements) {
    return blocks_has(type) ? elements / BLOCKS_ELEMENTS * block_bytes(type)
                            : elements * reference_type_size(type);
}

/* quantize_row_q8_0_ref and quantize_row_q4_0_ref of ggml, which compute in float. */
static void encode_block(clattn_type type, const double *values, unsigned char *to) {
    float most = 0;
    for (int i = 0; i < BLOCKS_ELEMENTS; i++)
        if (fabsf((float)values[i]) > fabsf(most))
            most = (float)values[i];
    const float scale = type == CLATTN_Q8_0 ? fabsf(most) / 127 : most / -8;
    const float inverse = scale != 0 ? 1 / scale : 0;
    unsigned char *integers = to + SCALE;
    reference_encode(CLATTN_F16, (double)scale, to);
    for (int i = 0; i < BLOCKS_ELEMENTS; i++) {
        const float x = (float)values[i] * inverse;
        if (type == CLATTN_Q8_0) {
            integers[i] = (unsigned char)(signed char)roundf(x);
        } else {
            const int four = (int)(x + 8.5f);
            const unsigned char bits = (unsigned char)(four < 15 ? four : 15);
            const int at = i % (BLOCKS_ELEMENTS / 2);
            integers[at] = (unsigned char)(i == at ? bits : integers[at] | bits << 4);
        }
    }
}

void blocks_encode_row(clattn_type type, const double *values, size_t count, unsigned char *to) {
    const size_t step = blocks_has(type) ? BLOCKS_ELEMENTS : 1;
    for (size_t i = 0; i < count; i += step, to += blocks_row_bytes(type, step))
        if (blocks_has(type))
            encode_block(type, values + i, to);
        else
            reference_encode(type, values[i], to);
}

double blocks_decode(clattn_type type, const unsigned char *row, size_t element) {
    if (!blocks_has(type))
        return reference_decode(type, row + element * reference_type_size(type));
    const unsigned char *block = row + element / BLOCKS_ELEMENTS * block_bytes(type);
    const size_t i = element % BLOCKS_ELEMENTS, half = BLOCKS_ELEMENTS / 2;
    const int integer = type == CLATTN_Q8_0 ? (signed char)block[SCALE + i]
                                            : (block[SCALE + i % half] >> i / half * 4 & 15) - 8;
    return reference_decode(CLATTN_F16, block) * integer;
}

void blocks_spoil(clattn_type type, double value, unsigned char *row, size_t element) {
    if (blocks_has(type))
        reference_encode(CLATTN_F16, value, row + element / BLOCKS_ELEMENTS * block_bytes(type));
    else
        reference_encode(type, value, row + element * reference_type_size(type));
}
