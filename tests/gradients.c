/*
 * Row of queries by row of queries, by the definition and by the plain computation, which is given
 * lse in f32 and o in its type, as a backward pass is: scores, weights and sums in f32, p and d_s
 * rounded to the type where they are multiplied, the gradients rounded.  All but a score's sum is
 * computed in double and rounded once.
 */
#include "gradients.h"

#include <assert.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reference.h"

static const double unit = 0x1p-24;

/* Weights below the smallest normal number may count as 0.  With as much added to each weight of
 * the terms, 4 u T is that number. */
static const double flushed = 0x1p-126 / (4 * 0x1p-24);

static double single(double value) {
    return reference_stored(CLATTN_F32, value);
}

/* A gradient while it grows; all have its shape.  unrounded: plain, but of weights in f32.
 * squares: of R. */
struct growing {
    double *value, *moves, *terms, *most, *plain, *unrounded, *squares;
};

/* A pair of a query and a key that it sees.  score.plain, forward's, is not used. */
struct pair {
    cl_uint key;
    struct reference_score score;
    double bias; /* of score, from features */
    double p, log_p;
};

struct work {
    const clattn_desc *desc;
    double scale;
    const struct gradients_inputs *in;
    struct pair *pairs; /* of one query */
    double *o;          /* likewise */
    struct growing g[GRADIENTS];
};

static double *zeros(size_t count) {
    double *memory = calloc(count + 1, sizeof *memory);
    assert_non_null(memory);
    return memory;
}

/* ---- One query ---- */

/* What is known of a query before its keys. */
struct query {
    const float *q, *d_o;
    size_t row, kv; /* row of q; first row of the head's k and v */
    double lse, plain_lse;
    double delta, plain_delta;
    double delta_terms; /* sum of |d_o o|, and |d_lse| */
};

/* The definition of o and lse.  Returns the number of pairs. */
static size_t attend(struct work *w, struct query *query) {
    const clattn_desc *desc = w->desc;
    const size_t row = query->row;
    const struct reference_extras *extras = &w->in->extras;
    const cl_uint number = (cl_uint)(row % desc->seq_q);
    const size_t head = row / desc->seq_q;
    const double sink = extras->sink ? (double)extras->sink[head] : -INFINITY;
    size_t count = 0;
    double largest = sink, sum = 0;
    for (cl_uint key = 0; key < desc->seq_kv; key++)
        if (reference_head_sees(desc, extras, head, number, key)) {
            struct pair *pair = &w->pairs[count++];
            pair->key = key;
            pair->bias = reference_bias(desc, extras, head, number, key);
            reference_score(desc, w->scale, pair->bias, query->q,
                            w->in->k + (query->kv + key) * desc->head_dim, &pair->score);
            largest = fmax(largest, pair->score.exact);
        }
    for (size_t i = 0; i < count; i++)
        sum += exp(w->pairs[i].score.exact - largest);
    sum += sink > -INFINITY ? exp(sink - largest) : 0;
    query->lse = largest + log(sum);
    for (cl_uint d = 0; d < desc->head_dim_v; d++)
        w->o[d] = 0;
    for (size_t i = 0; i < count; i++) {
        struct pair *pair = &w->pairs[i];
        const float *v = w->in->v + (query->kv + pair->key) * desc->head_dim_v;
        pair->log_p = pair->score.exact - query->lse;
        pair->p = exp(pair->score.exact - largest) / sum;
        for (cl_uint d = 0; d < desc->head_dim_v; d++)
            w->o[d] += pair->p * (double)v[d];
    }
    return count;
}

static void measure_delta(const struct work *w, struct query *query) {
    const double d_lse = w->in->d_lse ? (double)w->in->d_lse[query->row] : 0;
    double sum = 0, plain = 0, terms = 0;
    for (cl_uint d = 0; d < w->desc->head_dim_v; d++) {
        const double d_o = (double)query->d_o[d];
        sum += d_o * w->o[d];
        plain += d_o * reference_stored(reference_types(w->desc).o, w->o[d]);
        terms += fabs(d_o * w->o[d]);
    }
    query->plain_lse = single(query->lse);
    query->delta = sum - d_lse;
    query->plain_delta = single(plain - d_lse);
    query->delta_terms = terms + fabs(d_lse);
}

/* The score of the plain computation, whose sum is one chain in f32: in backward nothing takes its
 * error out of a weight again, as the maximum and the normaliser do in forward. */
static double plain_score(const struct work *w, const float *q, const float *k) {
    const double cap = (double)w->desc->softcap;
    float product = 0;
    for (cl_uint d = 0; d < w->desc->head_dim; d++)
        product = fmaf(q[d], k[d], product);
    const double score = single((double)product * w->scale);
    return cap > 0 ? single(cap * single(tanh(single(score / cap)))) : score;
}

/* The derivative of the score for the product, over the scale, from the score. */
static double slope_of(const clattn_desc *desc, double score) {
    const double cap = (double)desc->softcap;
    return cap > 0 ? (1 - score / cap) * (1 + score / cap) : 1;
}

/* A weight in [0, 1] rounded to the type.  A type of few exponents has it in units of 2^-14, or
 * long rows would lose all bits of their weights. */
static double rounded_p(clattn_type type, double p) {
    return reference_stored(type, p * 0x1p14) * 0x1p-14;
}

/* A weight rounded to the type: by how much at most. */
static double rounding(clattn_type type, double weight) {
    return type == CLATTN_F32 || weight == 0
               ? 0
               : fmax(reference_ulp(type, 1) / 2 * fabs(weight), reference_ulp(type, 0) / 2);
}

/* Of a product of a weight and an element: the weight as it is, as the plain computation has it,
 * what moves it, its |terms|, as many without the slope, and its rounding. */
struct weight {
    double value, plain, unrounded, moves, terms, most, rounding;
};

static void add(struct growing *g, size_t at, const struct weight *weight, double factor) {
    const double rounding = weight->rounding * factor;
    g->value[at] += weight->value * factor;
    g->plain[at] += weight->plain * factor;
    g->unrounded[at] += weight->unrounded * factor;
    g->moves[at] += weight->moves * fabs(factor);
    g->terms[at] += weight->terms * fabs(factor);
    g->most[at] += weight->most * fabs(factor);
    g->squares[at] += rounding * rounding;
}

static void add_pair(struct work *w, const struct query *query, const struct pair *pair) {
    const clattn_desc *desc = w->desc;
    const clattn_type type = reference_types(desc).weights;
    const size_t dim = desc->head_dim, dim_v = desc->head_dim_v, kv = query->kv + pair->key;
    const float *k = w->in->k + kv * dim, *v = w->in->v + kv * dim_v;
    double d_p = 0, d_p_terms = 0;
    for (size_t d = 0; d < dim_v; d++) {
        d_p += (double)query->d_o[d] * (double)v[d];
        d_p_terms += fabs((double)query->d_o[d] * (double)v[d]);
    }
    /* A weight is at most 1, and moves no further. */
    const double error = pair->score.error + reference_ulp(CLATTN_F32, query->lse) / 2;
    const double p_moves = fmin(1, exp(pair->log_p + error) * -expm1(-error));
    const double plain_capped = plain_score(w, query->q, k);
    const double plain = single(plain_capped + single(pair->bias));
    const double before = pair->score.exact - pair->bias; /* of what slope is the derivative */
    const double plain_p = fmin(1, single(exp(single(plain - query->plain_lse))));
    const struct weight weight_v = {.value = pair->p,
                                    .plain = rounded_p(type, plain_p),
                                    .unrounded = plain_p,
                                    .moves = p_moves,
                                    .terms = pair->p + flushed,
                                    .most = pair->p + flushed,
                                    .rounding = rounding(type, pair->p * 0x1p14) * 0x1p-14};

    const double cap = (double)desc->softcap, scale = fabs(w->scale);
    const double slope = slope_of(desc, before);
    const double slope_moves =
        cap > 0 ? pair->score.error / cap * (2 * fabs(before) + pair->score.error) / cap : 0;
    const double difference = d_p - query->delta;
    /* The sums over head_dim_v drift as those of a score do. */
    const double drift = unit * (double)dim_v / 4 * (fabs(d_p) + fabs(query->delta));
    const double plain_s = single(single(plain_p * single(single(d_p) - query->plain_delta)) *
                                  single(slope_of(desc, plain_capped)));
    const double most = scale * (pair->p + flushed) * (d_p_terms + query->delta_terms);
    const struct weight weight_s = {
        .value = w->scale * pair->p * difference * slope,
        .plain = w->scale * reference_stored(type, plain_s),
        .unrounded = w->scale * plain_s,
        .moves = scale * (p_moves * fabs(difference) * slope +
                          (pair->p + p_moves) * (fabs(difference) * slope_moves + drift * slope)),
        .terms = most * slope,
        .most = most,
        .rounding = scale * rounding(type, pair->p * difference * slope)};
    for (size_t d = 0; d < dim; d++) {
        add(&w->g[GRADIENT_Q], query->row * dim + d, &weight_s, (double)k[d]);
        add(&w->g[GRADIENT_K], kv * dim + d, &weight_s, (double)query->q[d]);
    }
    for (size_t d = 0; d < dim_v; d++)
        add(&w->g[GRADIENT_V], kv * dim_v + d, &weight_v, (double)query->d_o[d]);
}

/* ---- All of it ---- */

/* result has its shape, and takes what has grown. */
static void finish(struct growing *g, struct gradient *result) {
    result->value = g->value;
    result->moves = g->moves;
    result->rows = calloc(result->row_count + 1, sizeof *result->rows);
    assert_non_null(result->rows);
    for (size_t i = 0; i < result->count; i++) {
        struct gradients_row *row = &result->rows[i / result->dim];
        const double plain = reference_stored(result->type, single(g->plain[i]));
        const double unrounded = reference_stored(result->type, single(g->unrounded[i]));
        row->terms = fmax(row->terms, g->terms[i]);
        row->most = fmax(row->most, g->most[i]);
        row->plain_error =
            fmax(row->plain_error, fmax(fabs(plain - g->value[i]), fabs(unrounded - g->value[i])));
        row->rounding_error = fmax(row->rounding_error, sqrt(g->squares[i]));
    }
    free(g->terms);
    free(g->most);
    free(g->plain);
    free(g->unrounded);
    free(g->squares);
}

void gradients_make(const clattn_desc *desc, float given_scale, const struct gradients_inputs *in,
                    struct gradient result[GRADIENTS]) {
    assert(desc->heads_kv > 0 && desc->heads_q % desc->heads_kv == 0 && desc->head_dim_v > 0);
    const size_t heads = (size_t)desc->batch * desc->heads_q,
                 group = desc->heads_q / desc->heads_kv;
    const size_t rows = heads * desc->seq_q, rows_kv = heads / group * desc->seq_kv;
    const struct reference_types types = reference_types(desc);
    const clattn_type own[GRADIENTS] = {types.q, types.k, types.v};
    struct work w = {.desc = desc, .scale = reference_scale(desc, given_scale), .in = in};
    w.pairs = calloc((size_t)desc->seq_kv + 1, sizeof *w.pairs);
    w.o = zeros(desc->head_dim_v);
    assert_non_null(w.pairs);
    for (int i = 0; i < GRADIENTS; i++) {
        const cl_uint dim = i == GRADIENT_V ? desc->head_dim_v : desc->head_dim;
        const size_t count = (i == GRADIENT_Q ? rows : rows_kv) * dim;
        result[i] =
            (struct gradient){.type = desc->type_d ? desc->type_d : own[i],
                              .rounded = types.weights != CLATTN_F32 || types.o != CLATTN_F32,
                              .dim = dim,
                              .count = count,
                              .row_count = count / dim};
        w.g[i] = (struct growing){zeros(count), zeros(count), zeros(count), zeros(count),
                                  zeros(count), zeros(count), zeros(count)};
    }
    for (size_t row = 0; row < rows; row++) {
        struct query query = {.q = in->q + row * desc->head_dim,
                              .d_o = in->d_o + row * desc->head_dim_v,
                              .row = row,
                              .kv = row / desc->seq_q / group * desc->seq_kv};
        const size_t count = attend(&w, &query);
        measure_delta(&w, &query);
        for (size_t i = 0; i < count; i++)
            add_pair(&w, &query, &w.pairs[i]);
    }
    for (int i = 0; i < GRADIENTS; i++)
        finish(&w.g[i], &result[i]);
    free(w.pairs);
    free(w.o);
}

void gradients_free(struct gradient result[GRADIENTS]) {
    for (int i = 0; i < GRADIENTS; i++) {
        free(result[i].value);
        free(result[i].moves);
        free(result[i].rows);
        result[i] = (struct gradient){0};
    }
}

/* ---- Gradients of features ---- */

static void add_extras(struct work *w, const struct query *query, size_t count,
                       struct gradients_extras *to) {
    const clattn_desc *desc = w->desc;
    const size_t dim_v = desc->head_dim_v, head = query->row / desc->seq_q;
    const double of_lse = reference_ulp(CLATTN_F32, query->lse) / 2;
    for (size_t i = 0; i < count; i++) {
        const struct pair *pair = &w->pairs[i];
        const size_t at = query->row * desc->seq_kv + pair->key;
        const float *v = w->in->v + (query->kv + pair->key) * dim_v;
        double d_p = 0, terms = query->delta_terms;
        for (size_t d = 0; d < dim_v; d++) {
            d_p += (double)query->d_o[d] * (double)v[d];
            terms += fabs((double)query->d_o[d] * (double)v[d]);
        }
        const double error = pair->score.error + of_lse;
        const double p_moves = fmin(1, exp(pair->log_p + error) * -expm1(-error));
        const double drift = unit * (double)dim_v / 4 * (fabs(d_p) + fabs(query->delta));
        const double rounded = fabs(query->plain_delta - query->delta); /* o has a type */
        to->bias[at] = pair->p * (d_p - query->delta);
        to->bias_moves[at] =
            p_moves * fabs(d_p - query->delta) + (pair->p + p_moves) * (drift + rounded);
        to->bias_terms[at] = (pair->p + flushed) * terms;
    }
    if (w->in->extras.sink && w->in->extras.sink[head] > -INFINITY) {
        const double sink = (double)w->in->extras.sink[head], log_p = sink - query->lse;
        const double error = 4 * unit * (fabs(sink) + 8) + of_lse, p = exp(log_p);
        to->sink[head] -= p * query->delta;
        to->sink_moves[head] += fmin(1, p * expm1(error)) * fabs(query->delta) +
                                p * (fabs(query->plain_delta - query->delta) +
                                     unit * (double)dim_v / 4 * fabs(query->delta));
        to->sink_terms[head] += (p + flushed) * query->delta_terms;
    }
}

void gradients_make_extras(const clattn_desc *desc, float given_scale,
                           const struct gradients_inputs *in, struct gradients_extras *result) {
    const size_t heads = (size_t)desc->batch * desc->heads_q,
                 group = desc->heads_q / desc->heads_kv;
    const size_t rows = heads * desc->seq_q, pairs = rows * desc->seq_kv;
    struct work w = {.desc = desc, .scale = reference_scale(desc, given_scale), .in = in};
    w.pairs = calloc((size_t)desc->seq_kv + 1, sizeof *w.pairs);
    w.o = zeros(desc->head_dim_v);
    assert_non_null(w.pairs);
    *result = (struct gradients_extras){zeros(pairs), zeros(pairs), zeros(pairs),
                                        zeros(heads), zeros(heads), zeros(heads)};
    for (size_t row = 0; row < rows; row++) {
        struct query query = {.q = in->q + row * desc->head_dim,
                              .d_o = in->d_o + row * desc->head_dim_v,
                              .row = row,
                              .kv = row / desc->seq_q / group * desc->seq_kv};
        const size_t count = attend(&w, &query);
        measure_delta(&w, &query);
        add_extras(&w, &query, count, result);
    }
    free(w.pairs);
    free(w.o);
}

void gradients_free_extras(struct gradients_extras *result) {
    free(result->bias);
    free(result->bias_moves);
    free(result->bias_terms);
    free(result->sink);
    free(result->sink_moves);
    free(result->sink_terms);
    *result = (struct gradients_extras){0};
}
