/* Applies the tolerances that compare.h states, and names the worst element. */
#include "compare.h"

#include <math.h>
#include <stdio.h>

static const double unit = 0x1p-24;

struct worst {
    double ratio;
    size_t index;
    double value, expected, bound;
    size_t failures;
};

/* A bound that is not finite bounds nothing: that is a failure of the check, and counts as one. */
static void see(struct worst *worst, size_t index, double value, double expected, double bound) {
    double error = value == expected ? 0 : fabs(value - expected);
    double ratio = error == 0 ? 0 : error / bound;
    if (isnan(ratio) || !isfinite(bound))
        ratio = INFINITY;
    worst->failures += ratio > 1;
    if (ratio > worst->ratio)
        *worst = (struct worst){ratio, index, value, expected, bound, worst->failures};
}

static void report(const clattn_desc *desc, const char *name, const struct worst *worst, size_t dim,
                   size_t count) {
    size_t row = worst->index / dim;
    size_t head = row / desc->seq_q;
    fprintf(stderr,
            "%s: %zu of %zu elements are out of bounds; the worst is [batch %zu, head %zu, "
            "query %zu, column %zu]: %.9g, expected %.9g, error %.3g, bound %.3g\n",
            name, worst->failures, count, head / desc->heads_q, head % desc->heads_q,
            row % desc->seq_q, worst->index % dim, worst->value, worst->expected,
            fabs(worst->value - worst->expected), worst->bound);
}

/* The relative part of a bound that is due to the sums over keys. */
static double sum_part(const struct reference_row *row) {
    return 4 * unit * (8 + sqrt(row->keys) / 8);
}

/* What a bound of o has beside the moves and the half unit. */
static double shared_part(const clattn_desc *desc, const struct reference_row *row) {
    return reference_types(desc).weights == CLATTN_F32
               ? sum_part(row) * row->max_value
               : fmax(1.25 * row->plain_error, 2 * row->weight_error);
}

bool compare_is_ill(const clattn_desc *desc, const struct reference *expected, size_t row) {
    const struct reference_row *r = &expected->rows[row];
    bool ill = false;
    for (size_t i = row * desc->head_dim_v; i < (row + 1) * desc->head_dim_v; i++)
        ill = ill || !(expected->moves_of_o[i] + shared_part(desc, r) <= r->max_value);
    return ill;
}

double compare_bound_o(const clattn_desc *desc, const struct reference *expected, size_t i) {
    const struct reference_row *row = &expected->rows[i / desc->head_dim_v];
    return row->keys ? expected->moves_of_o[i] + shared_part(desc, row) +
                           reference_ulp(reference_types(desc).o, expected->o[i]) / 2
                     : 0;
}

double compare_bound_lse(const struct reference *expected, size_t row) {
    const struct reference_row *r = &expected->rows[row];
    return r->keys
               ? r->move_of_lse + sum_part(r) + reference_ulp(CLATTN_F32, expected->lse[row]) / 2
               : 0;
}

/* Element i of an ill-conditioned row: its distance from the range of V. */
static void see_range(struct worst *worst, const clattn_desc *desc, const struct reference *r,
                      size_t i, double value) {
    const struct reference_row *row = &r->rows[i / desc->head_dim_v];
    double nearest = fmax((double)r->low[i], fmin((double)r->high[i], value));
    double bound = sum_part(row) * row->max_value;
    const clattn_type type = reference_types(desc).o;
    if (type != CLATTN_F32)
        bound += reference_ulp(type, nearest);
    see(worst, i, value, nearest, bound);
}

static void measure(const clattn_desc *desc, const struct reference *expected, const float *o,
                    const float *lse, struct worst *worst_o, struct worst *worst_lse,
                    struct compare_result *result) {
    const size_t dim = desc->head_dim_v;
    const size_t rows = (size_t)desc->batch * desc->heads_q * desc->seq_q;
    *result = (struct compare_result){.rows = rows};
    for (size_t row = 0; row < rows; row++) {
        const bool ill = compare_is_ill(desc, expected, row);
        result->ill_rows += ill;
        for (size_t i = row * dim; i < (row + 1) * dim; i++)
            if (ill)
                see_range(worst_o, desc, expected, i, (double)o[i]);
            else
                see(worst_o, i, (double)o[i], expected->o[i], compare_bound_o(desc, expected, i));
        if (lse)
            see(worst_lse, row, (double)lse[row], expected->lse[row],
                compare_bound_lse(expected, row));
    }
    result->o = worst_o->ratio;
    result->lse = worst_lse->ratio;
}

bool compare_silently(const clattn_desc *desc, const struct reference *expected, const float *o,
                      const float *lse, struct compare_result *result) {
    struct worst worst_o = {0}, worst_lse = {0};
    measure(desc, expected, o, lse, &worst_o, &worst_lse, result);
    return !worst_o.failures && !worst_lse.failures;
}

bool compare_forward(const clattn_desc *desc, const struct reference *expected, const float *o,
                     const float *lse, struct compare_result *result) {
    struct worst worst_o = {0}, worst_lse = {0};
    measure(desc, expected, o, lse, &worst_o, &worst_lse, result);
    if (worst_o.failures)
        report(desc, "o", &worst_o, desc->head_dim_v, result->rows * desc->head_dim_v);
    if (worst_lse.failures)
        report(desc, "lse", &worst_lse, 1, result->rows);
    return !worst_o.failures && !worst_lse.failures;
}

/* ---- Gradients ---- */

bool compare_gradient_is_ill(const struct gradient *expected, size_t row) {
    bool ill = false;
    for (size_t i = row * expected->dim; i < (row + 1) * expected->dim; i++)
        ill = ill || !(expected->moves[i] <= expected->rows[row].most);
    return ill;
}

double compare_bound_gradient(const struct gradient *expected, size_t i) {
    const struct gradients_row *row = &expected->rows[i / expected->dim];
    const double rounded = expected->rounded ? fmax(row->plain_error, row->rounding_error) : 0;
    return row->most == 0 ? 0
                          : expected->moves[i] + 2 * rounded + 4 * unit * row->terms +
                                reference_ulp(expected->type, expected->value[i]) / 2;
}

static void see_gradient(const struct gradient *expected, const float *given, struct worst *worst,
                         struct compare_gradients *result) {
    double plain = 0, terms = 0;
    for (size_t row = 0; row < expected->row_count; row++) {
        plain = fmax(plain, expected->rows[row].plain_error);
        terms = fmax(terms, expected->rows[row].terms);
    }
    for (size_t i = 0; i < expected->count; i++) {
        const double value = (double)given[i], right = expected->value[i];
        const bool ill = compare_gradient_is_ill(expected, i / expected->dim);
        result->rows += i % expected->dim == 0;
        result->ill_rows += ill && i % expected->dim == 0;
        if (ill) {
            see(worst, i, value, isfinite(value) ? value : right, 0);
            continue;
        }
        see(worst, i, value, right, compare_bound_gradient(expected, i));
        if (value != right)
            result->plain_ratio =
                fmax(result->plain_ratio,
                     fabs(value - right) /
                         (2 * plain + 4 * unit * terms + reference_ulp(expected->type, right) / 2));
    }
}

bool compare_backward(const struct gradient expected[GRADIENTS],
                      const float *const given[GRADIENTS], struct compare_gradients *result) {
    static const char *const names[GRADIENTS] = {"d_q", "d_k", "d_v"};
    bool right = true;
    *result = (struct compare_gradients){0};
    for (int i = 0; i < GRADIENTS; i++) {
        struct worst worst = {0};
        if (!given[i])
            continue;
        see_gradient(&expected[i], given[i], &worst, result);
        result->ratio[i] = worst.ratio;
        if (worst.failures)
            fprintf(stderr,
                    "%s: %zu of %zu elements are out of bounds; the worst is column %zu of row %zu "
                    "of all heads: %.9g, expected %.9g, error %.3g, bound %.3g\n",
                    names[i], worst.failures, expected[i].count, worst.index % expected[i].dim,
                    worst.index / expected[i].dim, worst.value, worst.expected,
                    fabs(worst.value - worst.expected), worst.bound);
        right = right && !worst.failures;
    }
    return right;
}
