#include "verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Multiply-adds that are spent on a check, a second or two; and the price in them of
 * what else a pair of query and key costs, exp and roundings. */
#define BUDGET 1e9
enum { EXACT_COST = 32, PLAIN_COST = 200 };

#define UNIT 0x1p-24

/* ---- Storage ------------------------------------------------------------ */

typedef struct format {
    int mantissa; /* stored bits */
    int smallest; /* exponent of the smallest normal number */
    double largest;
} format;

static format format_of(clattn_type type) {
    static const format f32 = {23, -126, 0x1.fffffep127};
    static const format f16 = {10, -14, 65504};
    static const format bf16 = {7, -126, 0x1.fep127};
    return type == CLATTN_F32 ? f32 : type == CLATTN_F16 ? f16 : bf16;
}

/* The distance between neighbours of value. */
static double spacing(clattn_type type, double value) {
    format f = format_of(type);
    int exponent = value != 0 && isfinite(value) ? ilogb(value) : f.smallest;
    return ldexp(1, (exponent > f.smallest ? exponent : f.smallest) - f.mantissa);
}

/* To nearest, ties to even. */
static double round_to(clattn_type type, double value) {
    if (!isfinite(value)) {
        return value;
    }
    double step = spacing(type, value), rounded = nearbyint(value / step) * step;
    return fabs(rounded) > format_of(type).largest ? copysign(INFINITY, value) : rounded;
}

static float decode(clattn_type type, const void *data, size_t index) {
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

static void decode_row(clattn_type type, verify_tensor t, uint64_t batch, uint64_t head,
                       uint64_t row, cl_uint dim, float *to) {
    uint64_t at = batch * (uint64_t)t.layout->stride_batch +
                  head * (uint64_t)t.layout->stride_head + row * (uint64_t)t.layout->stride_row;
    for (cl_uint d = 0; d < dim; d++) {
        to[d] = decode(type, t.data, at + d);
    }
}

/* ---- Which keys, which rows --------------------------------------------- */

void verify_span(const clattn_desc *desc, cl_uint query, cl_uint *begin, cl_uint *end) {
    int64_t opposite = query, keys = desc->seq_kv;
    if (desc->align == CLATTN_ALIGN_END) {
        opposite += keys - (int64_t)desc->seq_q;
    }
    int64_t first = desc->band_left < 0 ? 0 : opposite - desc->band_left;
    int64_t last = desc->band_right < 0 ? keys : opposite + desc->band_right + 1;
    first = first < 0 ? 0 : first;
    last = last > keys ? keys : last;
    *begin = first < last ? (cl_uint)first : 0;
    *end = first < last ? (cl_uint)last : 0;
}

uint64_t verify_pairs(const clattn_desc *desc) {
    uint64_t pairs = 0;
    for (cl_uint query = 0; query < desc->seq_q; query++) {
        cl_uint begin, end;
        verify_span(desc, query, &begin, &end);
        pairs += end - begin;
    }
    return pairs;
}

/* One row of each of `count` equal parts of `rows`: the first, the last, and
 * between them places that do not repeat with any block size. */
static uint64_t sample(uint64_t rows, uint64_t count, uint64_t index) {
    if (count == rows || index == 0) {
        return index;
    }
    if (index == count - 1) {
        return rows - 1;
    }
    uint64_t step = rows / count, mixed = (index + 1) * 0x9e3779b97f4a7c15u;
    return index * step + (mixed >> 32) % step;
}

/* ---- Attention ---------------------------------------------------------- */

typedef struct work {
    const clattn_desc *desc;
    double scale;
    float *q, *k, *v; /* one row; all rows of one key head */
    double *weight, *exact, *plain;
    double max_score, max_terms, max_value, plain_error;
} work;

static double rounded(const work *w, bool plain, double value) {
    return plain ? round_to(w->desc->type, value) : value;
}

static double score(work *w, bool plain, const float *k) {
    double dot = 0, terms = 0, cap = (double)w->desc->softcap;
    for (cl_uint d = 0; d < w->desc->head_dim; d++) {
        double term = (double)w->q[d] * (double)k[d];
        dot += term;
        terms += fabs(term);
    }
    terms *= fabs(w->scale);
    if (isfinite(terms) && terms > w->max_terms) {
        w->max_terms = terms;
    }
    double s = rounded(w, plain, w->scale * rounded(w, plain, dot));
    if (cap > 0) {
        s = rounded(w, plain, tanh(rounded(w, plain, s / cap)));
        s = rounded(w, plain, cap * s);
    }
    return s;
}

/* The definition: o = sum of p v / sum of p, p = exp(s - max s).  When plain, every
 * result is rounded to the storage type, a sum once: this is the yardstick of what
 * the type can do.  Returns lse. */
static double attend(work *w, bool plain, cl_uint begin, cl_uint end, double *o) {
    const cl_uint dim = w->desc->head_dim, dim_v = w->desc->head_dim_v;
    double largest = -INFINITY, sum = 0;
    for (cl_uint key = begin; key < end; key++) {
        double s = score(w, plain, w->k + (size_t)key * dim);
        w->weight[key] = s;
        largest = s > largest ? s : largest;
        if (!plain && isfinite(s)) {
            w->max_score = fmax(w->max_score, fabs(s));
        }
    }
    for (cl_uint key = begin; key < end; key++) {
        w->weight[key] = rounded(w, plain, exp(rounded(w, plain, w->weight[key] - largest)));
        sum += w->weight[key];
    }
    sum = rounded(w, plain, sum);
    memset(o, 0, dim_v * sizeof *o);
    for (cl_uint key = begin; key < end; key++) {
        const float *v = w->v + (size_t)key * dim_v;
        double share = rounded(w, plain, w->weight[key] / sum);
        for (cl_uint d = 0; d < dim_v; d++) {
            o[d] += share * (double)v[d];
        }
    }
    for (cl_uint d = 0; d < dim_v; d++) {
        o[d] = rounded(w, plain, o[d]);
    }
    return begin < end ? largest + log(sum) : -INFINITY;
}

static void measure_values(work *w, cl_uint begin, cl_uint end) {
    const size_t dim = w->desc->head_dim_v;
    for (size_t i = begin * dim; i < end * dim; i++) {
        double value = fabs((double)w->v[i]);
        if (isfinite(value) && value > w->max_value) {
            w->max_value = value;
        }
    }
}

/* 0 where both are the same NaN or infinity, infinite where only one is. */
static double difference(double got, double expected) {
    if ((isnan(got) && isnan(expected)) || got == expected) {
        return 0;
    }
    return isfinite(got) && isfinite(expected) ? fabs(got - expected) : INFINITY;
}

typedef struct deviation {
    double error, own; /* own: the element's share of the bound, half a unit in the last place */
} deviation;

/* The largest error is what is reported of a result that passed.  But what decides is the
 * error that lies furthest above, or least below, its element's own share. */
typedef struct worst {
    deviation largest, nearest;
} worst;

static const worst none = {{-1, 0}, {-INFINITY, 0}};

static void note(worst *w, double error, double own) {
    const deviation d = {error, own};
    if (error > w->largest.error) {
        w->largest = d;
    }
    if (error - own > w->nearest.error - w->nearest.own) {
        w->nearest = d;
    }
}

/* Whether every element keeps its own share and the one that all share. */
static bool judge(const worst *w, double shared, double *error, double *bound) {
    const bool passed = w->nearest.error <= w->nearest.own + shared;
    const deviation d = passed ? w->largest : w->nearest;
    *error = fmax(d.error, 0);
    *bound = d.own + shared;
    return passed;
}

static void check_row(work *w, cl_uint query, const float *o, float lse, worst *worst_o,
                      worst *worst_lse) {
    const clattn_desc *desc = w->desc;
    cl_uint begin, end;
    verify_span(desc, query, &begin, &end);
    double exact_lse = attend(w, false, begin, end, w->exact);
    note(worst_lse, difference((double)lse, exact_lse), spacing(CLATTN_F32, exact_lse) / 2);
    measure_values(w, begin, end);
    if (desc->type != CLATTN_F32) {
        attend(w, true, begin, end, w->plain);
    }
    for (cl_uint d = 0; d < desc->head_dim_v; d++) {
        double error = difference((double)o[d], w->exact[d]), own = 0;
        if (begin == end) {
            error = o[d] == 0 ? 0 : INFINITY;
        } else if (desc->type != CLATTN_F32) {
            own = spacing(desc->type, w->exact[d]) / 2;
            w->plain_error = fmax(w->plain_error, fabs(w->plain[d] - w->exact[d]));
        }
        note(worst_o, error, own);
    }
}

static void check_rows(work *w, verify_tensor q, verify_tensor k, verify_tensor v, verify_tensor o,
                       verify_tensor lse, float *row_o, verify_result *result) {
    const clattn_desc *desc = w->desc;
    uint64_t group = desc->heads_q / desc->heads_kv, loaded = UINT64_MAX;
    worst worst_o = none, worst_lse = none;
    for (uint64_t i = 0; i < result->checked; i++) {
        uint64_t row = sample(result->rows, result->checked, i);
        uint64_t query = row % desc->seq_q, head = row / desc->seq_q % desc->heads_q;
        uint64_t batch = row / desc->seq_q / desc->heads_q;
        if (loaded != row / desc->seq_q / group) {
            loaded = row / desc->seq_q / group;
            for (size_t key = 0; key < desc->seq_kv; key++) {
                decode_row(desc->type, k, batch, head / group, key, desc->head_dim,
                           w->k + key * desc->head_dim);
                decode_row(desc->type, v, batch, head / group, key, desc->head_dim_v,
                           w->v + key * desc->head_dim_v);
            }
        }
        float row_lse;
        decode_row(desc->type, q, batch, head, query, desc->head_dim, w->q);
        decode_row(desc->type, o, batch, head, query, desc->head_dim_v, row_o);
        decode_row(CLATTN_F32, lse, batch, head, query, 1, &row_lse);
        check_row(w, (cl_uint)query, row_o, row_lse, &worst_o, &worst_lse);
    }
    double shared = desc->type == CLATTN_F32 ? 4 * UNIT * (w->max_score + 8) * w->max_value
                                             : 1.25 * w->plain_error;
    const bool o_passed = judge(&worst_o, shared, &result->error, &result->bound);
    const bool lse_passed =
        judge(&worst_lse, 4 * UNIT * (w->max_terms + 8), &result->lse_error, &result->lse_bound);
    result->passed = o_passed && lse_passed;
}

bool verify_forward(const clattn_desc *desc, double scale, verify_tensor q, verify_tensor k,
                    verify_tensor v, verify_tensor o, verify_tensor lse, verify_result *result) {
    return verify_sample(desc, scale, q, k, v, o, lse, BUDGET, result);
}

bool verify_sample(const clattn_desc *desc, double scale, verify_tensor q, verify_tensor k,
                   verify_tensor v, verify_tensor o, verify_tensor lse, double operations,
                   verify_result *result) {
    const size_t keys = (size_t)desc->seq_kv + 1, dim = desc->head_dim, dim_v = desc->head_dim_v;
    *result = (verify_result){.rows = (uint64_t)desc->batch * desc->heads_q * desc->seq_q};
    double pairs = desc->seq_q ? (double)verify_pairs(desc) / desc->seq_q : 0;
    double pair_cost = (double)(dim + dim_v) + EXACT_COST;
    if (desc->type != CLATTN_F32) {
        pair_cost += (double)(dim + dim_v) + PLAIN_COST;
    }
    double affordable = operations / ((pairs + 1) * pair_cost);
    result->checked = result->rows;
    if (affordable < (double)result->rows) {
        const uint64_t least = result->rows < 2 ? result->rows : 2;
        result->checked = affordable < (double)least ? least : (uint64_t)affordable;
    }
    work w = {.desc = desc, .scale = scale};
    w.q = calloc(dim, sizeof *w.q);
    w.k = calloc(keys * dim, sizeof *w.k);
    w.v = calloc(keys * dim_v, sizeof *w.v);
    w.weight = calloc(keys, sizeof *w.weight);
    w.exact = calloc(dim_v, sizeof *w.exact);
    w.plain = calloc(dim_v, sizeof *w.plain);
    float *row_o = calloc(dim_v, sizeof *row_o);
    bool enough = w.q && w.k && w.v && w.weight && w.exact && w.plain && row_o;
    if (enough) {
        check_rows(&w, q, k, v, o, lse, row_o, result);
    }
    free(w.q);
    free(w.k);
    free(w.v);
    free(w.weight);
    free(w.exact);
    free(w.plain);
    free(row_o);
    return enough;
}
