/*
 * The definition in double, and beside it the plain same-type computation: scores
 * and the softmax's sum in f32, weights and o rounded to the storage type, each
 * result computed in double and rounded once.  It overflows nowhere: where f32 or
 * the type ends, their largest number stands for what is beyond.
 */
#include "reference.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double unit = 0x1p-24;

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
    return type == REFERENCE_BYTE ? 1 : type == CLATTN_F32 ? sizeof(cl_float) : sizeof(cl_ushort);
}

struct reference_types reference_types(const clattn_desc *desc) {
    struct reference_types t = {.q = desc->type, .k = desc->type_k, .v = desc->type_v};
    t.k = t.k ? t.k : t.q;
    t.v = t.v ? t.v : t.k;
    t.o = desc->type_o ? desc->type_o : t.q;
    t.weights = t.k == t.q && t.v == t.q && t.o == t.q ? t.q : CLATTN_F32;
    return t;
}

double reference_decode(clattn_type type, const void *element) {
    if (type == CLATTN_F32) {
        float value;
        memcpy(&value, element, sizeof value);
        return value;
    }
    if (type == REFERENCE_BYTE)
        return *(const unsigned char *)element != 0;
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
    if (type == REFERENCE_BYTE) {
        *(unsigned char *)element = value == -INFINITY ? 0 : value >= 0 ? 1 : 255;
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

double reference_stored(clattn_type type, double value) {
    if (type == CLATTN_F32)
        return (double)(float)fmax(-FLT_MAX, fmin(FLT_MAX, value));
    double result = reference_round(type, value);
    cl_ushort largest = (cl_ushort)(formats[type].infinity - 1);
    return isinf(result) ? copysign(reference_decode(type, &largest), value) : result;
}

double reference_ulp(clattn_type type, double value) {
    const struct format *format = &formats[type];
    return ldexp(1, binade(format, value) - format->mantissa);
}

/* ---- Attention ---- */

int64_t reference_opposite(const clattn_desc *desc, cl_uint query) {
    const bool end = desc->align == CLATTN_ALIGN_END;
    return (int64_t)query + (end ? (int64_t)desc->seq_kv - (int64_t)desc->seq_q : 0);
}

bool reference_sees(const clattn_desc *desc, cl_uint query, cl_uint key) {
    int64_t right = (int64_t)key - reference_opposite(desc, query);
    return (desc->band_left == CLATTN_UNBOUNDED || -right <= desc->band_left) &&
           (desc->band_right == CLATTN_UNBOUNDED || right <= desc->band_right);
}

static size_t pair_of(const clattn_desc *desc, size_t head, cl_uint query, cl_uint key) {
    return (head * desc->seq_q + query) * desc->seq_kv + key;
}

bool reference_head_sees(const clattn_desc *desc, const struct reference_extras *extras,
                         size_t head, cl_uint query, cl_uint key) {
    const size_t at = pair_of(desc, head, query, key);
    return reference_sees(desc, query, key) && !(extras->mask && extras->mask[at] == 0) &&
           !(extras->bias && extras->bias[at] == -INFINITY);
}

double reference_bias(const clattn_desc *desc, const struct reference_extras *extras, size_t head,
                      cl_uint query, cl_uint key) {
    const double lowest = -2.3e38; /* of clattn.h, kept times log2(e) */
    const double slope = extras->alibi ? (double)extras->alibi[head] : 0;
    const double bias = extras->bias ? (double)extras->bias[pair_of(desc, head, query, key)] : 0;
    const double distance = fabs((double)(key - reference_opposite(desc, query)));
    return (bias < lowest ? -(double)FLT_MAX / 1.4426950408889634 : bias) - slope * distance;
}

double reference_scale(const clattn_desc *desc, float scale) {
    float automatic = CLATTN_SCALE_DEFAULT;
    return memcmp(&scale, &automatic, sizeof scale) ? scale : 1 / sqrt(desc->head_dim);
}

static double single(double value) {
    return reference_stored(CLATTN_F32, value);
}

static double capped(const clattn_desc *desc, double score) {
    double cap = (double)desc->softcap;
    return cap > 0 ? cap * tanh(score / cap) : score;
}

static double capped_plainly(const clattn_desc *desc, double score) {
    double cap = (double)desc->softcap;
    return cap > 0 ? single(cap * single(tanh(single(score / cap)))) : score;
}

void reference_score(const clattn_desc *desc, double scale, double bias, const float *q,
                     const float *k, struct reference_score *score) {
    double dot = 0, terms = 0;
    for (cl_uint d = 0; d < desc->head_dim; d++) {
        double term = (double)q[d] * (double)k[d];
        dot += term;
        terms += fabs(term);
    }
    const double raw = scale * dot;
    double error = 4 * unit * fabs(scale) * terms + unit * desc->head_dim * fabs(raw) / 4;
    const double before = capped(desc, raw);
    score->exact = before + bias;
    score->plain = single(capped_plainly(desc, single(raw)) + single(bias));
    if (desc->softcap > 0) {
        double nearer = capped(desc, fabs(raw)) - capped(desc, fabs(raw) - error);
        error = fmin(error, nearer + 4 * unit * fabs(before));
    }
    score->error = error + 4 * unit * (fabs(bias) + 8);
}

/* What is known of a key that the query sees. */
struct seen {
    const float *v;
    double score, plain; /* plain: by the plain computation */
    double error;        /* e of compare.h */
    double p, log_p;     /* its share in all weights */
};

static struct seen look(const clattn_desc *desc, double scale, double bias, const float *q,
                        const float *k, const float *v) {
    struct reference_score score;
    reference_score(desc, scale, bias, q, k, &score);
    return (struct seen){v, score.exact, score.plain, score.error, 0, 0};
}

/* The definition.  Returns lse. */
static double attend(cl_uint dim, struct seen *seen, size_t count, double *o) {
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, seen[i].score);
    for (size_t i = 0; i < count; i++) {
        seen[i].p = exp(seen[i].score - largest);
        sum += seen[i].p;
    }
    const double log_sum = log(sum);
    for (size_t i = 0; i < count; i++) {
        seen[i].p /= sum;
        seen[i].log_p = seen[i].score - largest - log_sum;
        for (cl_uint d = 0; d < dim; d++)
            o[d] += seen[i].p * (double)seen[i].v[d];
    }
    return largest + log_sum;
}

static int ascending(const void *one, const void *other) {
    const double x = ((const struct seen *)one)->plain, y = ((const struct seen *)other)->plain;
    return (x > y) - (x < y);
}

/* The plain computation, from keys by ascending score.  The weights are rounded where they meet V,
 * not in their sum, as in FlashAttention and on clattn's matrix engines: an error that all weights
 * share stays.
 * Also R of compare.h, how far that can move o when the weights are rounded against other maxima.
 * A weight of 1 is exact against any.  parts holds what one cell of keys moves. */
static void attend_plainly(const clattn_desc *desc, const struct seen *seen, size_t count,
                           double *o, double *moves, double *parts) {
    const clattn_type type = reference_types(desc).weights;
    const double relative = reference_ulp(type, 1) / 2;
    const double absolute = reference_ulp(type, 0) / 2;
    const double largest = seen[count - 1].plain;
    double sum = 0, cell = seen[0].plain;
    for (cl_uint d = 0; d < desc->head_dim_v; d++)
        o[d] = moves[d] = parts[d] = 0;
    for (size_t i = 0; i < count; i++) {
        const double weight = single(exp(single(seen[i].plain - largest)));
        const double rounded = reference_round(type, weight);
        const double error = weight == 1 ? 0 : fmax(relative * weight, absolute);
        const bool begins = seen[i].plain > cell + relative;
        cell = begins ? seen[i].plain : cell;
        sum += weight;
        for (cl_uint d = 0; d < desc->head_dim_v; d++) {
            moves[d] += begins ? parts[d] * parts[d] : 0;
            parts[d] = (begins ? 0 : parts[d]) + error * fabs((double)seen[i].v[d]);
            o[d] += rounded * (double)seen[i].v[d];
        }
    }
    for (cl_uint d = 0; d < desc->head_dim_v; d++) {
        o[d] = reference_stored(type, o[d] / single(sum));
        moves[d] = sqrt(moves[d] + parts[d] * parts[d]) / sum;
    }
}

/* log(sum of p exp(e)), what the scores' errors can do to lse. */
static double move_of_lse(const struct seen *seen, size_t count) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, seen[i].log_p + seen[i].error);
    for (size_t i = 0; i < count; i++)
        sum += exp(seen[i].log_p + seen[i].error - most);
    return most + log(sum);
}

/* The sum of p (exp(e + move of lse) - 1) |v - o|, what they can do to o.  o and v are taken
 * relative to the v of the likeliest key, so that a difference of 0 is 0, by whatever it is
 * multiplied; the factor is written so that it overflows only where the product does. */
static void moves_of_o(cl_uint dim, const struct seen *seen, size_t count, double move_of_lse,
                       double *centre, double *moves) {
    size_t best = 0;
    for (size_t i = 0; i < count; i++)
        best = seen[i].score > seen[best].score ? i : best;
    const float *anchor = seen[best].v;
    for (cl_uint d = 0; d < dim; d++)
        centre[d] = 0;
    for (size_t i = 0; i < count; i++) {
        for (cl_uint d = 0; d < dim; d++)
            centre[d] += seen[i].p * ((double)seen[i].v[d] - (double)anchor[d]);
    }
    for (size_t i = 0; i < count; i++) {
        const double error = seen[i].error + move_of_lse;
        const double factor = exp(seen[i].log_p + error) * -expm1(-error);
        for (cl_uint d = 0; d < dim; d++) {
            const double distance = fabs((double)seen[i].v[d] - (double)anchor[d] - centre[d]);
            moves[d] += distance > 0 ? factor * distance : 0;
        }
    }
}

static void measure_values(cl_uint dim, const struct seen *seen, size_t count,
                           struct reference_row *row, float *low, float *high) {
    for (size_t i = 0; i < count; i++)
        for (cl_uint d = 0; d < dim; d++) {
            const float value = seen[i].v[d];
            low[d] = i && low[d] < value ? low[d] : value;
            high[d] = i && high[d] > value ? high[d] : value;
            row->max_value = fmax(row->max_value, fabs((double)value));
        }
}

/* One query row, from the keys that it sees; scratch holds 3 head_dim_v numbers. */
static void measure(const clattn_desc *desc, struct seen *seen, size_t count, double *scratch,
                    struct reference *result, size_t row) {
    const cl_uint dim = desc->head_dim_v;
    const size_t at = row * dim;
    double *o = result->o + at;
    struct reference_row *r = &result->rows[row];
    r->keys = (cl_uint)count;
    result->lse[row] = -INFINITY;
    if (!count)
        return;
    result->lse[row] = attend(dim, seen, count, o);
    r->move_of_lse = move_of_lse(seen, count);
    moves_of_o(dim, seen, count, r->move_of_lse, scratch, result->moves_of_o + at);
    measure_values(dim, seen, count, r, result->low + at, result->high + at);
    if (reference_types(desc).weights == CLATTN_F32)
        return;
    qsort(seen, count, sizeof *seen, ascending);
    attend_plainly(desc, seen, count, scratch, scratch + dim, scratch + 2 * (size_t)dim);
    for (cl_uint d = 0; d < dim; d++) {
        r->plain_error = fmax(r->plain_error, fabs(scratch[d] - o[d]));
        r->weight_error = fmax(r->weight_error, scratch[dim + d]);
    }
}

void reference_forward(const clattn_desc *desc, float scale, const float *q, const float *k,
                       const float *v, struct reference *result) {
    reference_forward_with(desc, scale, q, k, v, &(struct reference_extras){0}, result);
}

void reference_forward_with(const clattn_desc *desc, float given_scale, const float *q,
                            const float *k, const float *v, const struct reference_extras *extras,
                            struct reference *result) {
    assert(!(desc->features & CLATTN_FEATURE_ALIBI) || extras->alibi);
    assert(!(desc->features & CLATTN_FEATURE_BIAS) || extras->bias);
    assert(!(desc->features & CLATTN_FEATURE_MASK) || extras->mask);
    assert(!(desc->features & CLATTN_FEATURE_SINK) || extras->sink);
    assert(desc->heads_kv > 0 && desc->heads_q % desc->heads_kv == 0 && desc->head_dim_v > 0);
    const double scale = reference_scale(desc, given_scale);
    const size_t rows = (size_t)desc->batch * desc->heads_q * desc->seq_q;
    const size_t elements = rows * desc->head_dim_v;
    *result = (struct reference){.o = calloc(elements + 1, sizeof *result->o),
                                 .lse = calloc(rows + 1, sizeof *result->lse),
                                 .moves_of_o = calloc(elements + 1, sizeof *result->moves_of_o),
                                 .low = calloc(elements + 1, sizeof *result->low),
                                 .high = calloc(elements + 1, sizeof *result->high),
                                 .rows = calloc(rows + 1, sizeof *result->rows)};
    struct seen *seen = calloc((size_t)desc->seq_kv + 1, sizeof *seen);
    double *scratch = calloc(3 * (size_t)desc->head_dim_v, sizeof *scratch);
    float *no_value = calloc(desc->head_dim_v, sizeof *no_value);
    assert_true(no_value && result->o && result->lse && result->moves_of_o && result->low &&
                result->high && result->rows && seen && scratch);

    for (size_t row = 0; row < rows; row++) {
        size_t head = row / desc->seq_q, batch = head / desc->heads_q, count = 0;
        size_t head_kv =
            batch * desc->heads_kv + head % desc->heads_q / (desc->heads_q / desc->heads_kv);
        const float *k_row = k + head_kv * desc->seq_kv * desc->head_dim;
        const float *v_row = v + head_kv * desc->seq_kv * desc->head_dim_v;
        const cl_uint query = (cl_uint)(row % desc->seq_q);
        for (cl_uint key = 0; key < desc->seq_kv; key++) {
            if (reference_head_sees(desc, extras, head, query, key))
                seen[count++] = look(desc, scale, reference_bias(desc, extras, head, query, key),
                                     q + row * desc->head_dim, k_row, v_row);
            k_row += desc->head_dim;
            v_row += desc->head_dim_v;
        }
        if (extras->sink && extras->sink[head] != -INFINITY) { /* as a key whose v is 0 */
            const double sink = (double)extras->sink[head];
            seen[count++] =
                (struct seen){no_value, sink, single(sink), 4 * unit * (fabs(sink) + 8), 0, 0};
        }
        measure(desc, seen, count, scratch, result, row);
    }
    free(seen);
    free(scratch);
    free(no_value);
}

void reference_free(struct reference *result) {
    free(result->o);
    free(result->lse);
    free(result->moves_of_o);
    free(result->low);
    free(result->high);
    free(result->rows);
    *result = (struct reference){0};
}
