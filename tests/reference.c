/*
 * One function, attend, is both computations: the definition when it rounds
 * nothing, and the plain same-type computation when it rounds the result of every
 * operation of
 *
 *     s = softcap * tanh(scale * (q k^T) / softcap)     p = exp(s - max s)
 *     o = (p / sum p) v
 *
 * to the storage type.  A sum is one operation, rounded once: a bf16 sum that
 * rounds each addend stands still at 256 terms, and its error would excuse any.
 */
#include "reference.h"

#include <assert.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Storage ---- */

struct format {
    int mantissa; /* stored bits */
    int exponent; /* of the smallest normal number */
    cl_ushort infinity;
};

static const struct format formats[] = {
    [CLATTN_F32] = {23, -126, 0}, /* infinity: the C library converts */
    [CLATTN_F16] = {10, -14, 0x7c00},
    [CLATTN_BF16] = {7, -126, 0x7f80},
};

static int binade(const struct format *format, double value) {
    int exponent = value == 0 ? format->exponent : ilogb(value);
    return exponent < format->exponent ? format->exponent : exponent;
}

size_t reference_type_size(clattn_type type) {
    return type == CLATTN_F32 ? sizeof(cl_float) : sizeof(cl_ushort);
}

double reference_decode(clattn_type type, const void *element) {
    if (type == CLATTN_F32) {
        float value;
        memcpy(&value, element, sizeof value);
        return value;
    }
    const struct format *format = &formats[type];
    cl_ushort bits;
    memcpy(&bits, element, sizeof bits);
    int magnitude = bits & 0x7fff;
    int biased = magnitude >> format->mantissa;
    int fraction = magnitude & ((1 << format->mantissa) - 1);
    double value;
    if (magnitude > format->infinity)
        value = NAN;
    else if (magnitude == format->infinity)
        value = INFINITY;
    else if (biased == 0)
        value = ldexp(fraction, format->exponent - format->mantissa);
    else
        value = ldexp(fraction + (1 << format->mantissa),
                      biased - 1 + format->exponent - format->mantissa);
    return bits & 0x8000 ? -value : value;
}

void reference_encode(clattn_type type, double value, void *element) {
    if (type == CLATTN_F32) {
        float single = (float)value;
        memcpy(element, &single, sizeof single);
        return;
    }
    const struct format *format = &formats[type];
    long magnitude;
    if (isnan(value)) {
        magnitude = format->infinity | 1 << (format->mantissa - 1);
    } else if (isinf(value)) {
        magnitude = format->infinity;
    } else {
        /* The significand with its leading bit: added to the exponent field, that
         * bit raises it by one, and so does a carry out of the rounding. */
        int exponent = binade(format, value);
        double significand = nearbyint(ldexp(fabs(value), format->mantissa - exponent));
        magnitude = exponent > 127 ? format->infinity
                                   : ((long)(exponent - format->exponent) << format->mantissa) +
                                         (long)significand;
        if (magnitude > format->infinity)
            magnitude = format->infinity;
    }
    cl_ushort bits = (cl_ushort)(magnitude | (signbit(value) ? 0x8000 : 0));
    memcpy(element, &bits, sizeof bits);
}

double reference_round(clattn_type type, double value) {
    unsigned char element[sizeof(cl_float)];
    reference_encode(type, value, element);
    return reference_decode(type, element);
}

double reference_ulp(clattn_type type, double value) {
    const struct format *format = &formats[type];
    return ldexp(1, binade(format, value) - format->mantissa);
}

/* ---- Attention ---- */

bool reference_sees(const clattn_desc *desc, cl_uint query, cl_uint key) {
    int64_t opposite = (int64_t)query;
    if (desc->align == CLATTN_ALIGN_END)
        opposite += (int64_t)desc->seq_kv - (int64_t)desc->seq_q;
    int64_t right = (int64_t)key - opposite;
    return (desc->band_left == CLATTN_UNBOUNDED || -right <= desc->band_left) &&
           (desc->band_right == CLATTN_UNBOUNDED || right <= desc->band_right);
}

double reference_scale(const clattn_desc *desc, float scale) {
    float automatic = CLATTN_SCALE_DEFAULT;
    return memcmp(&scale, &automatic, sizeof scale) ? scale : 1 / sqrt(desc->head_dim);
}

static double rounded(bool plain, const clattn_desc *desc, double value) {
    return plain ? reference_round(desc->type, value) : value;
}

static double score(bool plain, const clattn_desc *desc, double scale, const float *q,
                    const float *k) {
    double dot = 0;
    for (cl_uint d = 0; d < desc->head_dim; d++)
        dot += (double)q[d] * (double)k[d];
    double s = rounded(plain, desc, scale * rounded(plain, desc, dot));
    if (desc->softcap > 0) {
        double cap = (double)desc->softcap;
        double bent = rounded(plain, desc, tanh(rounded(plain, desc, s / cap)));
        s = rounded(plain, desc, cap * bent);
    }
    return s;
}

/* One query row.  k and v are those of its head; weight holds seq_kv numbers. */
static double attend(bool plain, const clattn_desc *desc, double scale, cl_uint query,
                     const float *q, const float *k, const float *v, double *weight, double *o) {
    double largest = -INFINITY, sum = 0;
    for (cl_uint key = 0; key < desc->seq_kv; key++) {
        weight[key] = 0;
        if (reference_sees(desc, query, key)) {
            weight[key] = score(plain, desc, scale, q, k + (size_t)key * desc->head_dim);
            largest = fmax(largest, weight[key]);
        }
    }
    for (cl_uint key = 0; key < desc->seq_kv; key++)
        if (reference_sees(desc, query, key)) {
            double distance = rounded(plain, desc, weight[key] - largest);
            weight[key] = rounded(plain, desc, exp(distance));
            sum += weight[key];
        }
    sum = rounded(plain, desc, sum);
    for (cl_uint d = 0; d < desc->head_dim_v; d++)
        o[d] = 0;
    for (cl_uint key = 0; key < desc->seq_kv; key++)
        if (reference_sees(desc, query, key)) {
            double share = rounded(plain, desc, weight[key] / sum);
            for (cl_uint d = 0; d < desc->head_dim_v; d++)
                o[d] += share * (double)v[(size_t)key * desc->head_dim_v + d];
        }
    for (cl_uint d = 0; d < desc->head_dim_v; d++)
        o[d] = rounded(plain, desc, o[d]);
    return sum > 0 ? largest + log(sum) : -INFINITY;
}

/* The largest magnitudes of one row, for the tolerance. */
static void measure(const clattn_desc *desc, double scale, cl_uint query, const float *q,
                    const float *k, const float *v, struct reference *result) {
    for (cl_uint key = 0; key < desc->seq_kv; key++) {
        if (!reference_sees(desc, query, key))
            continue;
        const float *k_row = k + (size_t)key * desc->head_dim;
        double s = score(false, desc, scale, q, k_row), terms = 0;
        for (cl_uint d = 0; d < desc->head_dim; d++)
            terms += fabs(scale * (double)q[d] * (double)k_row[d]);
        result->max_score = fmax(result->max_score, fabs(s));
        result->max_terms = fmax(result->max_terms, terms);
        for (cl_uint d = 0; d < desc->head_dim_v; d++)
            result->max_value =
                fmax(result->max_value, fabs((double)v[(size_t)key * desc->head_dim_v + d]));
    }
}

void reference_forward(const clattn_desc *desc, float given_scale, const float *q, const float *k,
                       const float *v, struct reference *result) {
    assert(desc->heads_kv > 0 && desc->heads_q % desc->heads_kv == 0 && desc->head_dim_v > 0);
    double scale = reference_scale(desc, given_scale);
    size_t heads = (size_t)desc->batch * desc->heads_q;
    size_t rows = heads * desc->seq_q;
    *result = (struct reference){0};
    result->o = calloc(rows * desc->head_dim_v + 1, sizeof *result->o);
    result->lse = calloc(rows + 1, sizeof *result->lse);
    double *weight = calloc((size_t)desc->seq_kv + 1, sizeof *weight);
    double *plain = calloc(desc->head_dim_v, sizeof *plain);
    assert_true(result->o && result->lse && weight && plain);

    for (size_t row = 0; row < rows; row++) {
        size_t head = row / desc->seq_q;
        cl_uint query = (cl_uint)(row % desc->seq_q);
        size_t batch = head / desc->heads_q;
        size_t head_kv =
            batch * desc->heads_kv + head % desc->heads_q / (desc->heads_q / desc->heads_kv);
        const float *q_row = q + row * desc->head_dim;
        const float *k_head = k + head_kv * desc->seq_kv * desc->head_dim;
        const float *v_head = v + head_kv * desc->seq_kv * desc->head_dim_v;
        double *o = result->o + row * desc->head_dim_v;
        result->lse[row] = attend(false, desc, scale, query, q_row, k_head, v_head, weight, o);
        measure(desc, scale, query, q_row, k_head, v_head, result);
        if (desc->type == CLATTN_F32)
            continue;
        attend(true, desc, scale, query, q_row, k_head, v_head, weight, plain);
        for (cl_uint d = 0; d < desc->head_dim_v; d++)
            result->plain_error = fmax(result->plain_error, fabs(plain[d] - o[d]));
    }
    free(weight);
    free(plain);
}

void reference_free(struct reference *result) {
    free(result->o);
    free(result->lse);
    *result = (struct reference){0};
}
