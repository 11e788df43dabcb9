#include "verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "elements.h"

/* Multiply-adds that are spent on a check, a second or two; and the price in them of
 * what else a pair of query and key costs, exp and roundings. */
#define BUDGET 1e9
enum { EXACT_COST = 40, PLAIN_COST = 40 };

#define UNIT 0x1p-24

struct verify_types verify_types(const clattn_desc *desc) {
    const clattn_type q = desc->type, k = desc->type_k ? desc->type_k : q,
                      v = desc->type_v ? desc->type_v : k, o = desc->type_o ? desc->type_o : q;
    return (struct verify_types){q, k, v, o, k == q && v == q && o == q ? q : CLATTN_F32};
}

void verify_row(clattn_type type, struct verify_tensor t, uint64_t batch, uint64_t head,
                uint64_t row, cl_uint dim, float *to) {
    uint64_t at = batch * (uint64_t)t.layout->stride_batch +
                  head * (uint64_t)t.layout->stride_head + row * (uint64_t)t.layout->stride_row;
    for (cl_uint d = 0; d < dim; d++) {
        to[d] = elements_decode(type, t.data, at + d);
    }
}

/* The key that a query stands opposite; it need not exist. */
static int64_t opposite_of(const clattn_desc *desc, cl_uint query) {
    const bool end = desc->align == CLATTN_ALIGN_END;
    return (int64_t)query + (end ? (int64_t)desc->seq_kv - (int64_t)desc->seq_q : 0);
}

static uint64_t place_of(const struct verify_head *of, const clattn_tensor *t, cl_uint query,
                         cl_uint key) {
    return of->batch * (uint64_t)t->stride_batch + of->head * (uint64_t)t->stride_head +
           query * (uint64_t)t->stride_row + key;
}

void verify_head(const clattn_desc *desc, struct verify_tensor alibi, struct verify_tensor bias,
                 struct verify_tensor mask, struct verify_tensor sink, uint64_t batch,
                 uint64_t head, struct verify_head *result) {
    float slope = 0, of_no_key = -INFINITY;
    if (desc->features & CLATTN_FEATURE_ALIBI) {
        verify_row(CLATTN_F32, alibi, batch, head, 0, 1, &slope);
    }
    if (desc->features & CLATTN_FEATURE_SINK) {
        verify_row(CLATTN_F32, sink, batch, head, 0, 1, &of_no_key);
    }
    *result = (struct verify_head){desc, bias, mask, batch, head, (double)slope, (double)of_no_key};
}

double verify_bias(const struct verify_head *of, cl_uint query, cl_uint key) {
    const clattn_desc *desc = of->desc;
    const double lowest = -0x1.fffffep127 / 1.4426950408889634; /* as clattn.h says */
    double bias = 0;
    if (desc->features & CLATTN_FEATURE_MASK &&
        !((const unsigned char *)of->mask.data)[place_of(of, of->mask.layout, query, key)]) {
        return -INFINITY;
    }
    if (desc->features & CLATTN_FEATURE_BIAS) {
        bias = (double)elements_decode(desc->type_bias ? desc->type_bias : desc->type,
                                       of->bias.data, place_of(of, of->bias.layout, query, key));
        bias = bias < lowest && bias > -INFINITY ? lowest : bias;
    }
    const int64_t distance = (int64_t)key - opposite_of(desc, query);
    return of->slope == 0 ? bias : bias - of->slope * fabs((double)distance);
}

/* ---- Which keys, which rows --------------------------------------------- */

void verify_span(const clattn_desc *desc, cl_uint query, cl_uint *begin, cl_uint *end) {
    const int64_t opposite = opposite_of(desc, query), keys = desc->seq_kv;
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

uint64_t verify_place(uint64_t rows, uint64_t count, uint64_t index) {
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

struct score {
    const float *v;
    double exact, f32; /* by the definition, and as f32 has it */
    double error;      /* what the exact one may be off by */
    double p, log_p;   /* the key's share in all weights */
};

struct work {
    const clattn_desc *desc;
    struct verify_types types;
    double scale;
    float *q, *k, *v;        /* one row; all rows of one key head */
    cl_uint begin, end;      /* of scores: of the keys that the row sees, and of its sink */
    struct verify_head head; /* of the row */
    struct score *scores;
    double *exact, *plain, *unlucky, *cell, *centre, *moves; /* of o, one row */
    double largest_value, lse, lse_moves;
};

void verify_score(const clattn_desc *desc, double scale, double bias, const float *q,
                  const float *k, struct verify_score *score) {
    const double cap = (double)desc->softcap;
    double dot = 0, terms = 0;
    for (cl_uint d = 0; d < desc->head_dim; d++) {
        double term = (double)q[d] * (double)k[d];
        dot += term;
        terms += fabs(term);
    }
    struct verify_score s = {.exact = scale * dot};
    s.error = UNIT * (4 * fabs(scale) * terms + desc->head_dim * fabs(s.exact) / 4);
    s.f32 = elements_single(s.exact);
    if (cap > 0) {
        /* The cap flattens errors: most of all on the side that is farther from 0. */
        const double raw = fabs(s.exact);
        const double passed_on =
            isfinite(raw) ? cap * (tanh(raw / cap) - tanh((raw - s.error) / cap)) : 0;
        s.f32 = elements_single(cap * elements_single(tanh(elements_single(s.f32 / cap))));
        s.exact = cap * tanh(s.exact / cap);
        s.error = fmin(s.error, passed_on + 4 * UNIT * fabs(s.exact));
    }
    s.exact += bias;
    s.f32 = elements_single(s.f32 + elements_single(bias));
    s.error += 4 * UNIT * fabs(bias);
    /* A score of -infinity has no weight, and its error moves nothing. */
    s.error = s.exact == -INFINITY ? 0 : s.error + 4 * UNIT * 8;
    *score = s;
}

/* The keys of the band that bias and mask do not hide, and a sink as a key whose v is 0. */
static void score_keys(struct work *w, cl_uint query, cl_uint begin, cl_uint end) {
    const size_t dim = w->desc->head_dim, dim_v = w->desc->head_dim_v;
    w->begin = w->end = 0;
    for (cl_uint key = begin; key < end; key++) {
        struct verify_score s;
        const double bias = verify_bias(&w->head, query, key);
        if (bias > -INFINITY || isnan(bias)) {
            verify_score(w->desc, w->scale, bias, w->q, w->k + key * dim, &s);
            w->scores[w->end++] = (struct score){
                .v = w->v + key * dim_v, .exact = s.exact, .f32 = s.f32, .error = s.error};
        }
    }
    const double sink = w->head.sink;
    if (sink > -INFINITY || isnan(sink)) {
        w->scores[w->end++] = (struct score){.v = w->v + w->desc->seq_kv * dim_v,
                                             .exact = sink,
                                             .f32 = sink,
                                             .error = 4 * UNIT * (fabs(sink) + 8)};
    }
}

/* The definition: o = sum of p v, p = exp(s - max s) / their sum. */
static void attend(struct work *w) {
    const cl_uint dim_v = w->desc->head_dim_v;
    double largest = -INFINITY, sum = 0;
    for (cl_uint key = w->begin; key < w->end; key++) {
        largest = w->scores[key].exact > largest ? w->scores[key].exact : largest;
    }
    for (cl_uint key = w->begin; key < w->end; key++) {
        w->scores[key].p = exp(w->scores[key].exact - largest);
        sum += w->scores[key].p;
    }
    const double log_sum = log(sum);
    memset(w->exact, 0, dim_v * sizeof *w->exact);
    for (cl_uint key = w->begin; key < w->end; key++) {
        struct score *s = &w->scores[key];
        s->p /= sum;
        s->log_p = s->exact - largest - log_sum;
        for (cl_uint d = 0; d < dim_v; d++) {
            w->exact[d] += s->p * (double)w->scores[key].v[d];
        }
    }
    w->lse = w->begin < w->end ? largest + log_sum : -INFINITY;
}

/* Ascending, and NaN last. */
static int by_score(const void *a, const void *b) {
    const double x = ((const struct score *)a)->f32, y = ((const struct score *)b)->f32;
    return isnan(x) || isnan(y) ? isnan(x) - isnan(y) : (x > y) - (x < y);
}

/* Weights of keys with nearly the same score are rounded alike: their errors add up, and those of
 * others as their squares do. */
static void close_cell(struct work *w) {
    for (cl_uint d = 0; d < w->desc->head_dim_v; d++) {
        w->unlucky[d] += w->cell[d] * w->cell[d];
        w->cell[d] = 0;
    }
}

/* The plain computation: scores and the sum of weights in f32, weights and o rounded to the type,
 * a sum once.  As on matrix engines, the weights are summed before they are rounded.  Returns what
 * the row's o may be off by: 1.25 times the largest error of that computation, or what weights can
 * do that are rounded against other maxima, if that is more.  A weight of 1 is exact.  Afterwards
 * the keys' order is that of their scores. */
static double attend_plainly(struct work *w) {
    const clattn_type type = w->types.weights;
    const cl_uint dim_v = w->desc->head_dim_v;
    const double relative = elements_spacing(type, 1) / 2, least = elements_spacing(type, 0) / 2;
    double largest = -INFINITY, sum = 0, error = 0, worst = 0, lowest = -INFINITY;
    qsort(w->scores + w->begin, w->end - w->begin, sizeof *w->scores, by_score);
    for (cl_uint key = w->begin; key < w->end; key++) {
        largest = fmax(largest, w->scores[key].f32);
    }
    memset(w->plain, 0, dim_v * sizeof *w->plain);
    memset(w->unlucky, 0, dim_v * sizeof *w->unlucky);
    memset(w->cell, 0, dim_v * sizeof *w->cell);
    for (cl_uint key = w->begin; key < w->end; key++) {
        const struct score *s = &w->scores[key];
        const double weight = elements_single(exp(elements_single(s->f32 - largest)));
        const double rounded = elements_round(type, weight);
        const double inexact = weight == 1 ? 0 : fmax(relative * weight, least);
        if (s->f32 > lowest + relative) {
            close_cell(w);
            lowest = s->f32;
        }
        sum += weight;
        for (cl_uint d = 0; d < dim_v; d++) {
            w->plain[d] += rounded * (double)s->v[d];
            w->cell[d] += inexact * fabs((double)s->v[d]);
        }
    }
    close_cell(w);
    for (cl_uint d = 0; d < dim_v; d++) {
        /* Weights that round up may take o past the type's end, where the answer is not. */
        const double most = elements_largest(type), o = w->plain[d] / elements_single(sum);
        error = fmax(error, fabs(elements_round(type, fmax(-most, fmin(most, o))) - w->exact[d]));
        worst = isfinite(w->unlucky[d]) ? fmax(worst, sqrt(w->unlucky[d]) / sum) : worst;
    }
    return fmax(1.25 * error, 2 * worst);
}

/* What the errors of the scores can do.  With errors e of them lse moves by log(sum of p exp(e))
 * at most, and o by the sum of p (exp(e + that) - 1) |v - o|. */
static void measure_moves(struct work *w) {
    const cl_uint dim_v = w->desc->head_dim_v;
    double most = -INFINITY, sum = 0;
    cl_uint best = w->begin;
    for (cl_uint key = w->begin; key < w->end; key++) {
        best = w->scores[key].log_p > w->scores[best].log_p ? key : best;
        most = fmax(most, w->scores[key].log_p + w->scores[key].error);
    }
    for (cl_uint key = w->begin; key < w->end; key++) {
        sum += exp(w->scores[key].log_p + w->scores[key].error - most);
    }
    w->lse_moves = most + log(sum);
    /* Distances from o are differences of distances from the v of the best key: 0 where they
     * should be, since in large scores the factor of a rounding error is without limit. */
    const float *origin = w->scores[best].v;
    memset(w->centre, 0, dim_v * sizeof *w->centre);
    memset(w->moves, 0, dim_v * sizeof *w->moves);
    for (cl_uint key = w->begin; key < w->end; key++) {
        const double p = w->scores[key].p;
        for (cl_uint d = 0; d < dim_v; d++) {
            w->centre[d] += p * ((double)w->scores[key].v[d] - (double)origin[d]);
        }
    }
    for (cl_uint key = w->begin; key < w->end; key++) {
        const double error = w->scores[key].error + w->lse_moves;
        const double factor = exp(w->scores[key].log_p + error) * -expm1(-error);
        for (cl_uint d = 0; d < dim_v; d++) {
            const double v = (double)w->scores[key].v[d] - (double)origin[d];
            const double distance = fabs(v - w->centre[d]);
            w->moves[d] += distance == 0 ? 0 : factor * distance;
        }
    }
}

static void measure_values(struct work *w) {
    const size_t dim_v = w->desc->head_dim_v;
    w->largest_value = 0;
    for (size_t i = w->begin * dim_v; i < w->end * dim_v; i++) {
        double value = fabs((double)w->scores[i / dim_v].v[i % dim_v]);
        if (isfinite(value) && value > w->largest_value) {
            w->largest_value = value;
        }
    }
}

/* ---- Verdicts ----------------------------------------------------------- */

/* 0 where both are the same NaN or infinity, infinite where only one is. */
static double difference(double got, double expected) {
    if ((isnan(got) && isnan(expected)) || got == expected) {
        return 0;
    }
    return isfinite(got) && isfinite(expected) ? fabs(got - expected) : INFINITY;
}

/* The element that lies furthest beyond its bound, or else nearest to it. */
struct worst {
    double ratio, error, bound;
};

static const struct worst none = {-1, 0, 0};

/* A bound that is not finite bounds nothing: that is an error of the check. */
static void note(struct worst *w, double error, double bound) {
    const double ratio = !isfinite(bound) ? INFINITY : error == 0 ? 0 : error / bound;
    if (ratio > w->ratio) {
        *w = (struct worst){ratio, error, bound};
    }
}

/* An element of a row whose scores f32 does not determine: inside the range of its column of V,
 * up to `slack` and, in 16 bits, a unit in the last place. */
static void note_range(const struct work *w, cl_uint d, double o, double slack,
                       struct worst *worst_o) {
    double low = INFINITY, high = -INFINITY;
    for (cl_uint key = w->begin; key < w->end; key++) {
        low = fmin(low, (double)w->scores[key].v[d]);
        high = fmax(high, (double)w->scores[key].v[d]);
    }
    const double nearest = o < low ? low : o > high ? high : o;
    const clattn_type type = w->types.o;
    note(worst_o, isfinite(o) ? fabs(o - nearest) : INFINITY,
         slack + (type == CLATTN_F32 ? 0 : elements_spacing(type, nearest)));
}

/* Returns whether the row is ill-conditioned. */
static bool check_row(struct work *w, const float *o, double lse, struct worst *worst_o,
                      struct worst *worst_lse) {
    const cl_uint dim_v = w->desc->head_dim_v;
    attend(w);
    if (w->begin == w->end) {
        note(worst_lse, difference(lse, -INFINITY), 0);
        for (cl_uint d = 0; d < dim_v; d++) {
            note(worst_o, difference((double)o[d], 0), 0);
        }
        return false;
    }
    measure_moves(w);
    measure_values(w);
    const double sums = 4 * UNIT * (8 + sqrt(w->end - w->begin) / 8);
    const double shared =
        w->types.weights == CLATTN_F32 ? sums * w->largest_value : attend_plainly(w);
    bool ill = false;
    for (cl_uint d = 0; d < dim_v; d++) {
        ill = ill || (isfinite(w->exact[d]) && !(w->moves[d] + shared <= w->largest_value));
    }
    note(worst_lse, difference(lse, w->lse),
         isfinite(w->lse) ? w->lse_moves + sums + elements_spacing(CLATTN_F32, w->lse) / 2 : 0);
    for (cl_uint d = 0; d < dim_v; d++) {
        if (!isfinite(w->exact[d])) {
            note(worst_o, difference((double)o[d], w->exact[d]), 0);
        } else if (ill) {
            note_range(w, d, (double)o[d], sums * w->largest_value, worst_o);
        } else {
            note(worst_o, difference((double)o[d], w->exact[d]),
                 w->moves[d] + shared + elements_spacing(w->types.o, w->exact[d]) / 2);
        }
    }
    return ill;
}

static void check_rows(struct work *w, const struct verify_tensors *t, float *row_o,
                       struct verify_result *result) {
    const clattn_desc *desc = w->desc;
    uint64_t group = desc->heads_q / desc->heads_kv, loaded = UINT64_MAX;
    struct worst worst_o = none, worst_lse = none;
    for (uint64_t i = 0; i < result->checked; i++) {
        uint64_t row = verify_place(result->rows, result->checked, i);
        uint64_t query = row % desc->seq_q, head = row / desc->seq_q % desc->heads_q;
        uint64_t batch = row / desc->seq_q / desc->heads_q;
        if (loaded != row / desc->seq_q / group) {
            loaded = row / desc->seq_q / group;
            for (size_t key = 0; key < desc->seq_kv; key++) {
                verify_row(w->types.k, t->k, batch, head / group, key, desc->head_dim,
                           w->k + key * desc->head_dim);
                verify_row(w->types.v, t->v, batch, head / group, key, desc->head_dim_v,
                           w->v + key * desc->head_dim_v);
            }
        }
        float row_lse;
        cl_uint begin, end;
        verify_row(w->types.q, t->q, batch, head, query, desc->head_dim, w->q);
        verify_row(w->types.o, t->o, batch, head, query, desc->head_dim_v, row_o);
        verify_row(CLATTN_F32, t->lse, batch, head, query, 1, &row_lse);
        verify_head(desc, t->alibi, t->bias, t->mask, t->sink, batch, head, &w->head);
        verify_span(desc, (cl_uint)query, &begin, &end);
        score_keys(w, (cl_uint)query, begin, end);
        result->ill_rows += check_row(w, row_o, (double)row_lse, &worst_o, &worst_lse);
    }
    result->error = worst_o.error;
    result->bound = worst_o.bound;
    result->lse_error = worst_lse.error;
    result->lse_bound = worst_lse.bound;
    result->passed = worst_o.ratio <= 1 && worst_lse.ratio <= 1;
}

bool verify_forward(const clattn_desc *desc, double scale, const struct verify_tensors *tensors,
                    struct verify_result *result) {
    return verify_sample(desc, scale, tensors, BUDGET, result);
}

bool verify_sample(const clattn_desc *desc, double scale, const struct verify_tensors *tensors,
                   double operations, struct verify_result *result) {
    const size_t keys = (size_t)desc->seq_kv + 1, dim = desc->head_dim, dim_v = desc->head_dim_v;
    *result = (struct verify_result){.rows = (uint64_t)desc->batch * desc->heads_q * desc->seq_q};
    double pairs = desc->seq_q ? (double)verify_pairs(desc) / desc->seq_q : 0;
    double pair_cost = (double)dim + 3 * (double)dim_v + (double)EXACT_COST;
    const struct verify_types types = verify_types(desc);
    if (types.weights != CLATTN_F32) {
        pair_cost += (double)dim_v + (double)PLAIN_COST;
    }
    double affordable = operations / ((pairs + 1) * pair_cost);
    result->checked = result->rows;
    if (affordable < (double)result->rows) {
        const uint64_t least = result->rows < 2 ? result->rows : 2;
        result->checked = affordable < (double)least ? least : (uint64_t)affordable;
    }
    struct work w = {.desc = desc, .types = types, .scale = scale};
    w.q = calloc(dim, sizeof *w.q);
    w.k = calloc(keys * dim, sizeof *w.k);
    w.v = calloc(keys * dim_v, sizeof *w.v);
    w.scores = calloc(keys, sizeof *w.scores);
    w.exact = calloc(6 * dim_v, sizeof *w.exact);
    float *row_o = calloc(dim_v, sizeof *row_o);
    bool enough = w.q && w.k && w.v && w.scores && w.exact && row_o;
    if (enough) {
        w.plain = w.exact + dim_v;
        w.unlucky = w.plain + dim_v;
        w.cell = w.unlucky + dim_v;
        w.centre = w.cell + dim_v;
        w.moves = w.centre + dim_v;
        check_rows(&w, tensors, row_o, result);
    }
    free(w.q);
    free(w.k);
    free(w.v);
    free(w.scores);
    free(w.exact);
    free(row_o);
    return enough;
}
