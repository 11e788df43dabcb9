/* Applies the tolerances that compare.h states, and names the worst element. */
#include "compare.h"

#include <math.h>
#include <stdio.h>

static const double unit = 0x1p-24;

struct worst {
    double ratio;
    size_t index;
    double error, bound;
    size_t failures;
};

static void see(struct worst *worst, size_t index, double value, double expected, double bound) {
    double error = value == expected ? 0 : fabs(value - expected);
    double ratio = error == 0 ? 0 : error / bound;
    if (isnan(ratio))
        ratio = INFINITY;
    worst->failures += ratio > 1;
    if (ratio > worst->ratio)
        *worst = (struct worst){ratio, index, error, bound, worst->failures};
}

static void report(const clattn_desc *desc, const char *name, const struct worst *worst, size_t dim,
                   size_t count, double value, double expected) {
    size_t row = worst->index / dim;
    size_t head = row / desc->seq_q;
    fprintf(stderr,
            "%s: %zu of %zu elements are out of bounds; the worst is [batch %zu, head %zu, "
            "query %zu, column %zu]: %.9g, expected %.9g, error %.3g, bound %.3g\n",
            name, worst->failures, count, head / desc->heads_q, head % desc->heads_q,
            row % desc->seq_q, worst->index % dim, value, expected, worst->error, worst->bound);
}

bool compare_forward(const clattn_desc *desc, const struct reference *expected, const float *o,
                     const float *lse, struct compare_result *result) {
    struct worst worst_o = {0}, worst_lse = {0};
    size_t dim = desc->head_dim_v;
    size_t rows = (size_t)desc->batch * desc->heads_q * desc->seq_q;

    for (size_t i = 0; i < rows * dim; i++) {
        double bound = 4 * unit * (expected->max_score + 8) * expected->max_value;
        if (desc->type != CLATTN_F32)
            bound = 1.25 * expected->plain_error + reference_ulp(desc->type, expected->o[i]) / 2;
        if (isinf(expected->lse[i / dim]))
            bound = 0;
        see(&worst_o, i, (double)o[i], expected->o[i], bound);
    }
    for (size_t i = 0; lse && i < rows; i++) {
        double bound = 0;
        if (!isinf(expected->lse[i]))
            bound = 4 * unit * (expected->max_terms + 8) +
                    reference_ulp(CLATTN_F32, expected->lse[i]) / 2;
        see(&worst_lse, i, (double)lse[i], expected->lse[i], bound);
    }

    if (worst_o.failures)
        report(desc, "o", &worst_o, dim, rows * dim, (double)o[worst_o.index],
               expected->o[worst_o.index]);
    if (worst_lse.failures)
        report(desc, "lse", &worst_lse, 1, rows, (double)lse[worst_lse.index],
               expected->lse[worst_lse.index]);
    *result = (struct compare_result){worst_o.ratio, worst_lse.ratio};
    return !worst_o.failures && !worst_lse.failures;
}
