#include "verify_gradients.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "elements.h"

#define UNIT 0x1p-24

/* Of weights that may count as 0: with as much added to a weight of T, 4 u T is the smallest normal
 * number. */
#define FLUSHED (0x1p-126 / (4 * UNIT))

/* Multiply-adds that a pair costs beside its elements, and the price of one of these. */
enum { PAIR_COST = 60, ELEMENT_COST = 4 };

/* The row of a gradient, element by element: by the definition, by the plain computation, M, T, T
 * without the slope, and R squared. */
struct sums {
    double *value, *plain, *moves, *terms, *most, *squares;
};
enum { SUMS = 6 };

struct work {
    const clattn_desc *desc;
    double scale;
    const struct verify_gradients *given;
    struct verify_types types;
    float *q, *d_o, *o, *k, *v, *row; /* one row each */
    struct sums sums[2];              /* of d_q or d_k, and of d_v */
    double *memory;
    bool finite; /* all inputs that were met */
};

/* What is known of a query without its keys. */
struct query {
    double lse, delta, plain_delta, delta_terms;
    struct verify_head head;
    cl_uint row;
};

static bool all_finite(const float *row, cl_uint dim) {
    bool finite = true;
    for (cl_uint d = 0; d < dim; d++) {
        finite = finite && isfinite(row[d]);
    }
    return finite;
}

/* By bias and mask. */
static bool sees(const struct work *w, uint64_t batch, uint64_t head, cl_uint row, cl_uint key) {
    const struct verify_gradients *g = w->given;
    struct verify_head of;
    verify_head(w->desc, g->alibi, g->bias, g->mask, g->sink, batch, head, &of);
    return verify_bias(&of, row, key) != -INFINITY;
}

static void read_query(struct work *w, uint64_t batch, uint64_t head, uint64_t row,
                       struct query *query) {
    const clattn_desc *desc = w->desc;
    const struct verify_gradients *g = w->given;
    float lse, d_lse = 0;
    verify_row(w->types.q, g->q, batch, head, row, desc->head_dim, w->q);
    verify_row(w->types.o, g->d_o, batch, head, row, desc->head_dim_v, w->d_o);
    verify_row(w->types.o, g->o, batch, head, row, desc->head_dim_v, w->o);
    verify_row(CLATTN_F32, g->lse, batch, head, row, 1, &lse);
    if (g->d_lse.data) {
        verify_row(CLATTN_F32, g->d_lse, batch, head, row, 1, &d_lse);
    }
    *query = (struct query){.row = (cl_uint)row,
                            .lse = (double)lse,
                            .delta = -(double)d_lse,
                            .delta_terms = fabs((double)d_lse)};
    for (cl_uint d = 0; d < desc->head_dim_v; d++) {
        const double term = (double)w->d_o[d] * (double)w->o[d];
        query->delta += term;
        query->delta_terms += fabs(term);
    }
    verify_head(desc, g->alibi, g->bias, g->mask, g->sink, batch, head, &query->head);
    query->plain_delta = elements_single(query->delta);
    w->finite = w->finite && all_finite(w->q, desc->head_dim) &&
                all_finite(w->d_o, desc->head_dim_v) && all_finite(w->o, desc->head_dim_v) &&
                isfinite(d_lse);
}

static void read_key(struct work *w, uint64_t batch, uint64_t head, uint64_t row) {
    const clattn_desc *desc = w->desc;
    verify_row(w->types.k, w->given->k, batch, head, row, desc->head_dim, w->k);
    verify_row(w->types.v, w->given->v, batch, head, row, desc->head_dim_v, w->v);
    w->finite = w->finite && all_finite(w->k, desc->head_dim) && all_finite(w->v, desc->head_dim_v);
}

/* The score of the plain computation: one chain in f32. */
static double plain_score(const struct work *w) {
    const double cap = (double)w->desc->softcap;
    float product = 0;
    for (cl_uint d = 0; d < w->desc->head_dim; d++) {
        product = fmaf(w->q[d], w->k[d], product);
    }
    const double score = elements_single((double)product * w->scale);
    return cap > 0 ? elements_single(cap * elements_single(tanh(elements_single(score / cap))))
                   : score;
}

static double slope_of(const clattn_desc *desc, double score) {
    const double cap = (double)desc->softcap;
    return cap > 0 ? (1 - score / cap) * (1 + score / cap) : 1;
}

/* By how much at most a weight is rounded to the type. */
static double rounding(clattn_type type, double weight) {
    return type == CLATTN_F32
               ? 0
               : fmax(elements_spacing(type, 1) / 2 * fabs(weight), elements_spacing(type, 0) / 2);
}

/* What multiplies a row of the sum. */
struct weight {
    double value, plain, moves, terms, most, rounding;
};

static void add(struct sums *s, const struct weight *weight, const float *row, cl_uint dim) {
    for (cl_uint d = 0; d < dim; d++) {
        const double factor = (double)row[d], size = fabs(factor);
        s->value[d] += weight->value * factor;
        s->plain[d] += weight->plain * factor;
        s->moves[d] += weight->moves * size;
        s->terms[d] += weight->terms * size;
        s->most[d] += weight->most * size;
        s->squares[d] += weight->rounding * factor * weight->rounding * factor;
    }
}

/* The pair of the query and the key that were read: what multiplies d_o, and what k or q. */
static void weigh(const struct work *w, const struct query *query, uint64_t key,
                  struct weight *of_v, struct weight *of_s) {
    const clattn_desc *desc = w->desc;
    const clattn_type type = w->types.weights;
    const double cap = (double)desc->softcap, scale = fabs(w->scale);
    struct verify_score score;
    double d_p = 0, terms = query->delta_terms;
    const double bias = verify_bias(&query->head, query->row, (cl_uint)key);
    verify_score(desc, w->scale, bias, w->q, w->k, &score);
    const double before = score.exact - bias; /* of what slope is the derivative */
    for (cl_uint d = 0; d < desc->head_dim_v; d++) {
        const double term = (double)w->d_o[d] * (double)w->v[d];
        d_p += term;
        terms += fabs(term);
    }
    const double error = score.error + elements_spacing(CLATTN_F32, query->lse) / 2;
    const double log_p = fmin(0, score.exact - query->lse), p = exp(log_p);
    const double p_moves = fmin(1, exp(log_p + error) * -expm1(-error));
    const double capped = plain_score(w), f32 = elements_single(capped + elements_single(bias));
    const double plain_p = fmin(1, elements_single(exp(elements_single(f32 - query->lse))));
    *of_v = (struct weight){.value = p,
                            /* In units of 2^-14: or long rows would lose all bits. */
                            .plain = elements_round(type, plain_p * 0x1p14) * 0x1p-14,
                            .moves = p_moves,
                            .terms = p + FLUSHED,
                            .most = p + FLUSHED,
                            .rounding = rounding(type, p * 0x1p14) * 0x1p-14};

    const double slope = slope_of(desc, before), difference = d_p - query->delta;
    const double slope_moves =
        cap > 0 ? score.error / cap * (2 * fabs(before) + score.error) / cap : 0;
    const double drift = UNIT * desc->head_dim_v / 4 * (fabs(d_p) + fabs(query->delta));
    const double plain_s =
        elements_single(plain_p * elements_single(elements_single(d_p) - query->plain_delta)) *
        slope_of(desc, capped);
    const double most = scale * (p + FLUSHED) * terms;
    const double kept = fmax(-elements_largest(type), fmin(elements_largest(type), plain_s));
    *of_s = (struct weight){
        .value = w->scale * p * difference * slope,
        .plain = w->scale * elements_round(type, kept),
        .moves = scale * (p_moves * fabs(difference) * slope +
                          (p + p_moves) * (fabs(difference) * slope_moves + drift * slope)),
        .terms = most * slope,
        .most = most,
        .rounding = scale * rounding(type, p * difference * slope)};
}

/* ---- Verdicts ----------------------------------------------------------- */

struct worst {
    double ratio, error, bound;
};

static void note(struct worst *w, double error, double bound) {
    const double ratio = !isfinite(bound) ? INFINITY : error == 0 ? 0 : error / bound;
    if (ratio > w->ratio) {
        *w = (struct worst){ratio, error, bound};
    }
}

/* The row that has been summed, against what was given.  Returns whether it is ill-conditioned. */
static bool judge(const struct work *w, const struct sums *s, clattn_type own, const float *given,
                  cl_uint dim, struct worst *worst) {
    const clattn_type type = w->desc->type_d ? w->desc->type_d : own;
    double terms = 0, most = 0, moves = 0, rounded = 0;
    for (cl_uint d = 0; d < dim; d++) {
        const double plain = elements_round(type, elements_single(s->plain[d]));
        terms = fmax(terms, s->terms[d]);
        most = fmax(most, s->most[d]);
        moves = fmax(moves, s->moves[d]);
        if (w->types.weights != CLATTN_F32) {
            rounded = fmax(rounded, fmax(fabs(plain - s->value[d]), sqrt(s->squares[d])));
        }
    }
    const bool ill = moves > most;
    for (cl_uint d = 0; d < dim; d++) {
        const double value = (double)given[d], right = s->value[d];
        if (!isfinite(value)) {
            /* Of an input that is not finite, or a gradient beyond the type. */
            const bool excused = !w->finite || fabs(right) + s->moves[d] >= elements_largest(type);
            note(worst, excused ? 0 : INFINITY, 1);
        } else if (w->finite && !ill) {
            note(worst, fabs(value - right),
                 terms == 0 ? 0
                            : s->moves[d] + 4 * UNIT * terms + 2 * rounded +
                                  elements_spacing(type, right) / 2);
        }
    }
    return ill;
}

static void begin(struct work *w) {
    memset(w->memory, 0,
           SUMS * ((size_t)w->desc->head_dim + w->desc->head_dim_v) * sizeof *w->memory);
    w->finite = true;
}

static bool check_query(struct work *w, uint64_t index, struct worst worst[VERIFY_GRADIENTS]) {
    const clattn_desc *desc = w->desc;
    const uint64_t row = index % desc->seq_q, head = index / desc->seq_q % desc->heads_q;
    const uint64_t batch = index / desc->seq_q / desc->heads_q;
    struct query query;
    cl_uint first, last, seen = 0;
    begin(w);
    read_query(w, batch, head, row, &query);
    verify_span(desc, (cl_uint)row, &first, &last);
    for (cl_uint key = first; key < last; key++) {
        struct weight of_v, of_s;
        if (verify_bias(&query.head, query.row, key) == -INFINITY) {
            continue;
        }
        seen++;
        read_key(w, batch, head / (desc->heads_q / desc->heads_kv), key);
        weigh(w, &query, key, &of_v, &of_s);
        add(&w->sums[0], &of_s, w->k, desc->head_dim);
    }
    if (seen == 0) {
        w->finite = true; /* what sees nothing has gradients of 0, whatever the row holds */
    }
    verify_row(desc->type_d ? desc->type_d : w->types.q, w->given->gradients[VERIFY_D_Q], batch,
               head, row, desc->head_dim, w->row);
    return judge(w, &w->sums[0], w->types.q, w->row, desc->head_dim, &worst[VERIFY_D_Q]);
}

static unsigned check_key(struct work *w, uint64_t index, struct worst worst[VERIFY_GRADIENTS]) {
    const clattn_desc *desc = w->desc;
    const uint64_t key = index % desc->seq_kv, head_kv = index / desc->seq_kv % desc->heads_kv;
    const uint64_t batch = index / desc->seq_kv / desc->heads_kv;
    const uint64_t group = desc->heads_q / desc->heads_kv;
    begin(w);
    for (uint64_t head = head_kv * group; head < (head_kv + 1) * group; head++) {
        for (cl_uint row = 0; row < desc->seq_q; row++) {
            struct query query;
            struct weight of_v, of_s;
            cl_uint first, last;
            verify_span(desc, row, &first, &last);
            if (key >= first && key < last && sees(w, batch, head, row, (cl_uint)key)) {
                read_key(w, batch, head_kv, key);
                read_query(w, batch, head, row, &query);
                weigh(w, &query, key, &of_v, &of_s);
                add(&w->sums[0], &of_s, w->q, desc->head_dim);
                add(&w->sums[1], &of_v, w->d_o, desc->head_dim_v);
            }
        }
    }
    const struct verify_tensor *g = w->given->gradients;
    verify_row(desc->type_d ? desc->type_d : w->types.k, g[VERIFY_D_K], batch, head_kv, key,
               desc->head_dim, w->row);
    unsigned ill = judge(w, &w->sums[0], w->types.k, w->row, desc->head_dim, &worst[VERIFY_D_K]);
    verify_row(desc->type_d ? desc->type_d : w->types.v, g[VERIFY_D_V], batch, head_kv, key,
               desc->head_dim_v, w->row);
    return ill + judge(w, &w->sums[1], w->types.v, w->row, desc->head_dim_v, &worst[VERIFY_D_V]);
}

/* How many of `rows` rows, with so many pairs each, can be checked. */
static uint64_t affordable(const clattn_desc *desc, uint64_t rows, double pairs,
                           double operations) {
    const double elements = (double)desc->head_dim + (double)desc->head_dim_v;
    const double count = operations / ((pairs + 1) * (ELEMENT_COST * elements + PAIR_COST));
    const uint64_t least = rows < 2 ? rows : 2;
    return count >= (double)rows ? rows : count < (double)least ? least : (uint64_t)count;
}

static void check(struct work *w, double operations, struct verify_gradients_result *result) {
    const clattn_desc *desc = w->desc;
    const uint64_t queries = (uint64_t)desc->batch * desc->heads_q * desc->seq_q;
    const uint64_t keys = (uint64_t)desc->batch * desc->heads_kv * desc->seq_kv;
    const double group = (double)desc->heads_q / desc->heads_kv;
    const double pairs = (double)verify_pairs(desc);
    const uint64_t some_queries =
        affordable(desc, queries, queries ? pairs / desc->seq_q : 0, operations / 2);
    const uint64_t some_keys =
        affordable(desc, keys, keys ? group * pairs / desc->seq_kv : 0, operations / 2);
    struct worst worst[VERIFY_GRADIENTS] = {{-1, 0, 0}, {-1, 0, 0}, {-1, 0, 0}};
    result->rows = queries + 2 * keys;
    result->checked = some_queries + 2 * some_keys;
    for (uint64_t i = 0; i < some_queries; i++) {
        result->ill_rows += check_query(w, verify_place(queries, some_queries, i), worst);
    }
    for (uint64_t i = 0; i < some_keys; i++) {
        result->ill_rows += check_key(w, verify_place(keys, some_keys, i), worst);
    }
    result->passed = true;
    for (int i = 0; i < VERIFY_GRADIENTS; i++) {
        result->error[i] = worst[i].error;
        result->bound[i] = worst[i].bound;
        result->passed = result->passed && worst[i].ratio <= 1;
    }
}

bool verify_gradients(const clattn_desc *desc, double scale, const struct verify_gradients *given,
                      double operations, struct verify_gradients_result *result) {
    const size_t dim = desc->head_dim, dim_v = desc->head_dim_v, wide = dim > dim_v ? dim : dim_v;
    struct work w = {.desc = desc, .scale = scale, .given = given, .types = verify_types(desc)};
    float *rows = calloc(2 * dim + 3 * dim_v + wide, sizeof *rows);
    *result = (struct verify_gradients_result){.rows = 0};
    w.memory = calloc(SUMS * (dim + dim_v), sizeof *w.memory);
    const bool enough = rows && w.memory;
    if (enough) {
        w.q = rows;
        w.k = w.q + dim;
        w.v = w.k + dim;
        w.o = w.v + dim_v;
        w.d_o = w.o + dim_v;
        w.row = w.d_o + dim_v;
        for (int i = 0; i < 2; i++) {
            double *at = w.memory + (i ? SUMS * dim : 0);
            const size_t step = i ? dim_v : dim;
            w.sums[i] = (struct sums){
                at, at + step, at + 2 * step, at + 3 * step, at + 4 * step, at + 5 * step};
        }
        check(&w, operations, result);
    }
    free(rows);
    free(w.memory);
    return enough;
}
