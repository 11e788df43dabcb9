/*
 * The tolerance and its two users, compare.c and --verify's tools/verify.c, judged: errors that
 * are planted in o and lse show, and no right result is refused.
 *
 *     test_planted [RESULTS]      random right results, 10000 by default
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"
#include "compare.h"
#include "subject.h"
#include "verify.h"

static unsigned results = 10000;

/* ---- Both judges ---- */

static clattn_tensor layout_of(cl_uint heads, cl_uint rows, cl_uint dim) {
    clattn_tensor dense = CLATTN_TENSOR_BHSD(NULL, heads, rows, dim);
    return dense;
}

static void *encode(clattn_type type, const float *values, size_t count) {
    const size_t size = reference_type_size(type);
    unsigned char *stored = calloc(count + 1, size);
    assert_non_null(stored);
    for (size_t i = 0; i < count; i++)
        reference_encode(type, (double)values[i], stored + i * size);
    return stored;
}

static verify_result verify(const struct subject *s, const float *o, const float *lse,
                            double operations) {
    const clattn_desc *d = &s->desc;
    const clattn_tensor q = layout_of(d->heads_q, d->seq_q, d->head_dim),
                        k = layout_of(d->heads_kv, d->seq_kv, d->head_dim),
                        v = layout_of(d->heads_kv, d->seq_kv, d->head_dim_v),
                        to = layout_of(d->heads_q, d->seq_q, d->head_dim_v),
                        sum = layout_of(d->heads_q, d->seq_q, 1);
    void *in[SUBJECT_INPUTS], *out = encode(d->type, o, s->rows * d->head_dim_v);
    for (int i = 0; i < SUBJECT_INPUTS; i++)
        in[i] = encode(d->type, s->in[i], subject_count(s, i));
    verify_result result;
    assert_true(verify_sample(d, reference_scale(d, s->scale), (verify_tensor){in[SUBJECT_Q], &q},
                              (verify_tensor){in[SUBJECT_K], &k},
                              (verify_tensor){in[SUBJECT_V], &v}, (verify_tensor){out, &to},
                              (verify_tensor){lse, &sum}, operations, &result));
    for (int i = 0; i < SUBJECT_INPUTS; i++)
        free(in[i]);
    free(out);
    return result;
}

/* ---- The plants ---- */

struct plot {
    const struct subject *s;
    float *o, *lse; /* right, to be spoilt */
    size_t row;     /* one that is checked */
    size_t column;
};

static float *row_of(const struct plot *p, size_t row) {
    return p->o + row * p->s->desc.head_dim_v;
}

static size_t elements(const struct plot *p) {
    return p->s->rows * p->s->desc.head_dim_v;
}

static float at_type(const struct plot *p, double value) {
    return (float)reference_round(p->s->desc.type, value);
}

static void swap(float *x, float *y, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const float kept = x[i];
        x[i] = y[i];
        y[i] = kept;
    }
}

static size_t neighbour(const struct plot *p) {
    return p->row ? p->row - 1 : p->s->rows - 1;
}

static void one_nan(struct plot *p) {
    row_of(p, p->row)[p->column] = NAN;
}

static void one_inf(struct plot *p) {
    row_of(p, p->row)[p->column] = -INFINITY;
}

static void all_nan(struct plot *p) {
    for (size_t i = 0; i < elements(p); i++)
        p->o[i] = NAN;
}

static void a_row_of_zeros(struct plot *p) {
    memset(row_of(p, p->row), 0, p->s->desc.head_dim_v * sizeof *p->o);
}

static void all_zeros(struct plot *p) {
    memset(p->o, 0, elements(p) * sizeof *p->o);
}

static void half_zeros(struct plot *p) {
    memset(p->o, 0, p->s->rows / 2 * p->s->desc.head_dim_v * sizeof *p->o);
}

static void four_bounds(struct plot *p) {
    const size_t i = p->row * p->s->desc.head_dim_v + p->column;
    p->o[i] =
        at_type(p, p->s->expected.o[i] + 4 * compare_bound_o(&p->s->desc, &p->s->expected, i));
}

static void four_bounds_below(struct plot *p) {
    const size_t i = p->row * p->s->desc.head_dim_v + p->column;
    p->o[i] =
        at_type(p, p->s->expected.o[i] - 4 * compare_bound_o(&p->s->desc, &p->s->expected, i));
}

static void one_sign(struct plot *p) {
    row_of(p, p->row)[p->column] *= -1;
}

static void all_signs(struct plot *p) {
    for (size_t i = 0; i < elements(p); i++)
        p->o[i] = -p->o[i];
}

static void rows_swapped(struct plot *p) {
    swap(row_of(p, p->row), row_of(p, neighbour(p)), p->s->desc.head_dim_v);
}

static void one_head_repeated(struct plot *p) {
    const size_t head = (size_t)p->s->desc.seq_q * p->s->desc.head_dim_v;
    for (size_t i = head; i < elements(p); i++)
        p->o[i] = p->o[i % head];
}

static void columns_rotated(struct plot *p) {
    const size_t dim = p->s->desc.head_dim_v;
    for (size_t row = 0; row < p->s->rows; row++)
        for (size_t d = 0; d + 1 < dim; d++)
            swap(&row_of(p, row)[d], &row_of(p, row)[d + 1], 1);
}

static void of_the_previous_batch(struct plot *p) {
    const size_t batch = elements(p) / p->s->desc.batch;
    for (size_t i = elements(p); i-- > batch;)
        p->o[i] = p->o[i - batch];
}

static void o_in_fewer_bits(struct plot *p) {
    const clattn_type type = p->s->desc.type == CLATTN_F32 ? CLATTN_F16 : CLATTN_BF16;
    for (size_t i = 0; i < elements(p); i++)
        p->o[i] = at_type(p, reference_round(type, (double)p->o[i]) * (1 + 0x1p-9));
}

static void lse_in_base_2(struct plot *p) {
    for (size_t i = 0; i < p->s->rows; i++)
        p->lse[i] *= 1.44269504f;
}

static void lse_off_by_log_2(struct plot *p) {
    p->lse[p->row] += 0.693147181f;
}

static void lse_four_bounds(struct plot *p) {
    p->lse[p->row] =
        (float)(p->s->expected.lse[p->row] + 4 * compare_bound_lse(&p->s->expected, p->row));
}

static void lse_nan(struct plot *p) {
    p->lse[p->row] = NAN;
}

static void lse_of_no_key(struct plot *p) {
    p->lse[p->row] = -INFINITY;
}

static void lse_without_the_sum(struct plot *p) {
    for (size_t i = 0; i < p->s->rows; i++)
        p->lse[i] -= (float)log(p->s->expected.rows[i].keys + 1.0);
}

static void lse_of_the_neighbour(struct plot *p) {
    swap(&p->lse[p->row], &p->lse[neighbour(p)], 1);
}

/* Computed once more, and not as it should be. */
static void again(struct plot *p, const struct honest *how, const clattn_desc *desc, float scale) {
    float *const *in = p->s->in;
    honest_forward(how, desc, scale, in[SUBJECT_Q], in[SUBJECT_K], in[SUBJECT_V], p->o, p->lse);
}

static void causal_off_by_one(struct plot *p) {
    clattn_desc desc = p->s->desc;
    desc.band_right += desc.band_right >= 0;
    again(p, &p->s->how, &desc, p->s->scale);
}

static void scale_ignored(struct plot *p) {
    again(p, &p->s->how, &p->s->desc, 1);
}

static void softcap_ignored(struct plot *p) {
    clattn_desc desc = p->s->desc;
    desc.softcap = 0;
    again(p, &p->s->how, &desc, p->s->scale);
}

static void last_key_dropped(struct plot *p) {
    struct honest how = p->s->how;
    how.drops_last_key = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

static void first_key_twice(struct plot *p) {
    struct honest how = p->s->how;
    how.sees_first_key_twice = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

static void not_normalised(struct plot *p) {
    struct honest how = p->s->how;
    how.does_not_normalise = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

static void one_key_head(struct plot *p) {
    struct honest how = p->s->how;
    how.one_key_head = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

static void stale_block(struct plot *p) {
    struct honest how = p->s->how;
    how.stale_block = true;
    again(p, &how, &p->s->desc, p->s->scale);
}

static struct plant {
    const char *what;
    void (*spoil)(struct plot *p);
    unsigned spoilt, hidden; /* problems in which an element left its bound, and none did */
} plants[] = {
    {"one NaN in o", one_nan, 0, 0},
    {"one Inf in o", one_inf, 0, 0},
    {"o is all NaN", all_nan, 0, 0},
    {"a row of zeros", a_row_of_zeros, 0, 0},
    {"o is all zeros", all_zeros, 0, 0},
    {"half of the rows are zeros", half_zeros, 0, 0},
    {"one element is four bounds above", four_bounds, 0, 0},
    {"one element is four bounds below", four_bounds_below, 0, 0},
    {"one element has the other sign", one_sign, 0, 0},
    {"all of o has the other sign", all_signs, 0, 0},
    {"a row is swapped with its neighbour", rows_swapped, 0, 0},
    {"one head is repeated", one_head_repeated, 0, 0},
    {"the columns are rotated", columns_rotated, 0, 0},
    {"o is that of the previous batch", of_the_previous_batch, 0, 0},
    {"o has lost bits", o_in_fewer_bits, 0, 0},
    {"lse is to base 2", lse_in_base_2, 0, 0},
    {"lse is off by log(2)", lse_off_by_log_2, 0, 0},
    {"lse is off by four bounds", lse_four_bounds, 0, 0},
    {"lse of a row is NaN", lse_nan, 0, 0},
    {"lse of a row is that of no key", lse_of_no_key, 0, 0},
    {"lse lacks the sum", lse_without_the_sum, 0, 0},
    {"lse is that of the neighbour", lse_of_the_neighbour, 0, 0},
    {"causal is off by one", causal_off_by_one, 0, 0},
    {"the scale is ignored", scale_ignored, 0, 0},
    {"softcap is ignored", softcap_ignored, 0, 0},
    {"the last key is dropped", last_key_dropped, 0, 0},
    {"the first key is seen twice", first_key_twice, 0, 0},
    {"o is not normalised", not_normalised, 0, 0},
    {"all heads have the keys of the first", one_key_head, 0, 0},
    {"v is that of the block before", stale_block, 0, 0},
};

enum { PLANTS = sizeof plants / sizeof *plants };

/* Has this value moved by more than its bound, away from where it was right? */
static bool has_left(double value, double right, double expected, double bound) {
    return !(fabs(value - right) <= bound + fabs(right - expected)) && value != right;
}

static bool row_has_left(const struct plot *p, size_t row) {
    const struct subject *s = p->s;
    const size_t dim = s->desc.head_dim_v;
    bool left = has_left((double)p->lse[row], (double)s->lse[row], s->expected.lse[row],
                         compare_bound_lse(&s->expected, row));
    for (size_t i = row * dim; i < (row + 1) * dim; i++)
        left = left || has_left((double)p->o[i], (double)s->o[i], s->expected.o[i],
                                compare_bound_o(&s->desc, &s->expected, i));
    return left;
}

static void plant_all(const struct subject *s, uint64_t *seed) {
    enum { OPERATIONS = 1000000 }; /* for each plant */
    struct compare_result ratio;
    const size_t dim = s->desc.head_dim_v;
    const verify_result right = verify(s, s->o, s->lse, OPERATIONS);
    if (!right.passed || !compare_silently(&s->desc, &s->expected, s->o, s->lse, &ratio) ||
        right.ill_rows || ratio.ill_rows) {
        subject_print(s);
        compare_forward(&s->desc, &s->expected, s->o, s->lse, &ratio);
        fail_msg("a right result is refused, or ill-conditioned");
    }
    const bool all = right.checked == right.rows;
    for (size_t i = 0; i < PLANTS && s->rows; i++) {
        struct plot p = {
            .s = s, .o = calloc(s->rows * dim, sizeof *p.o), .lse = calloc(s->rows, sizeof *p.lse)};
        assert_true(p.o && p.lse);
        memcpy(p.o, s->o, s->rows * dim * sizeof *p.o);
        memcpy(p.lse, s->lse, s->rows * sizeof *p.lse);
        /* The last row is always checked. */
        p.row = all ? (size_t)(subject_random(seed) * (double)s->rows) : s->rows - 1;
        p.column = (size_t)(subject_random(seed) * (double)dim);
        plants[i].spoil(&p);
        bool spoilt = row_has_left(&p, 0) || row_has_left(&p, s->rows - 1);
        for (size_t row = 0; all && row < s->rows && !spoilt; row++)
            spoilt = row_has_left(&p, row);
        *(spoilt ? &plants[i].spoilt : &plants[i].hidden) += 1;
        if (spoilt && (verify(s, p.o, p.lse, OPERATIONS).passed ||
                       compare_silently(&s->desc, &s->expected, p.o, p.lse, &ratio))) {
            subject_print(s);
            fail_msg("it does not show that %s", plants[i].what);
        }
        free(p.o);
        free(p.lse);
    }
}

/* Fills the inputs as tensors.h says, and keeps the longest problems short: fewer queries. */
static void of_case(struct subject *s, const struct case_setup *setup, uint64_t *seed) {
    enum { PAIRS = 10000 };
    const struct tensors_desc *t = &setup->tensors;
    clattn_desc desc = t->desc;
    desc.batch = t->batch;
    desc.seq_q = t->seq_q;
    desc.seq_kv = t->seq_kv;
    while (desc.seq_q > 1 && (double)desc.seq_q * desc.seq_kv > PAIRS)
        desc.seq_q /= 2;
    subject_make(s, &desc, setup->scale);
    s->kind = "of the table";
    s->how.rounded = desc.type != CLATTN_F32;
    const double most[] = {2 * (double)t->amplitude, 2, 1};
    for (int input = 0; input < SUBJECT_INPUTS; input++)
        for (size_t i = 0; i < subject_count(s, input); i++)
            s->in[input][i] = (float)(most[input] * (2 * subject_random(seed) - 1));
    subject_compute(s);
}

static void every_plant_shows(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (size_t i = 0; i < cases_count; i++) {
        struct case_setup setup;
        struct subject s;
        assert_true(cases_parse(&cases_table[i], &setup));
        of_case(&s, &setup, &seed);
        plant_all(&s, &seed);
        subject_free(&s);
    }
    for (size_t i = 0; i < PLANTS; i++) {
        print_message("%4u of %4u problems spoilt: %s\n", plants[i].spoilt,
                      plants[i].spoilt + plants[i].hidden, plants[i].what);
        assert_in_range(plants[i].spoilt, 5, cases_count);
    }
}

/* ---- Right results ---- */

static void no_right_result_is_refused(void **state) {
    (void)state;
    uint64_t seed = 2;
    size_t rows = 0, ill_rows = 0, refused = 0;
    double o = 0, lse = 0;
    for (unsigned i = 0; i < results; i++) {
        struct subject s;
        struct compare_result ratio;
        subject_draw(&s, &seed);
        const bool right = compare_silently(&s.desc, &s.expected, s.o, s.lse, &ratio);
        const verify_result checked = verify(&s, s.o, s.lse, 1e9);
        if (!right || !checked.passed) {
            subject_print(&s);
            compare_forward(&s.desc, &s.expected, s.o, s.lse, &ratio);
            refused++;
        }
        assert_int_equal(checked.ill_rows, ratio.ill_rows);
        assert_true(isfinite(checked.bound) && isfinite(checked.lse_bound));
        rows += ratio.rows;
        ill_rows += ratio.ill_rows;
        o = fmax(o, ratio.o);
        lse = fmax(lse, ratio.lse);
        subject_free(&s);
    }
    print_message("%u results, %zu rows, %zu of them ill-conditioned; largest error / bound: "
                  "o %.3f, lse %.3f; %zu refused\n",
                  results, rows, ill_rows, o, lse, refused);
    assert_int_equal(refused, 0);
}

/* ---- Results that were judged wrongly once ---- */

/* Constant inputs, all keys seen: o is v, lse the score + log(keys).  o and lse are off by so much,
 * in parts of v and absolutely. */
static const struct example {
    clattn_type type;
    cl_uint keys, dim;
    float q, k, v;
    double o_off, lse_off;
    bool right;
} examples[] = {
    /* The yardstick overflowed: the bound was infinite. */
    {CLATTN_F16, 64, 64, 1, 1, 65504, NAN, 0, false},
    {CLATTN_F16, 64, 64, 1, 1, 65504, -1, 0, false},
    {CLATTN_F16, 64, 64, 1, 1, 65504, 0, 0, true},
    {CLATTN_F16, 64, 64, 1, 1, 65504, -0x1p-11, 0, false}, /* the number before */
    {CLATTN_F16, 70000, 1, 0, 1, 1, -1, 0, false},
    {CLATTN_F16, 70000, 1, 0, 1, 1, 0x1p-9, 0, false},
    {CLATTN_F16, 70000, 1, 0, 1, 1, 0, 0, true},
    {CLATTN_BF16, 70000, 1, 0, 1, 1, -1, 0, false},
    {CLATTN_BF16, 1000, 1, 0, 1, 1e35f, NAN, 0, false},
    {CLATTN_BF16, 1000, 1, 0, 1, 1e35f, 0, 0, true},
    {CLATTN_F32, 1000, 1, 0, 1, 1e35f, 0, 0, true},
    {CLATTN_F32, 1000, 1, 0, 1, 1e35f, INFINITY, 0, false},
    /* Right results whose lse was refused: these are the errors that were seen. */
    {CLATTN_F32, 65, 64, 1.3f, 1.3f, 1.3f, 0, 6.25e-6, true},
    {CLATTN_F32, 65, 64, 1.3f, 1.3f, 1.3f, 0, -6.25e-6, true},
    {CLATTN_F32, 65, 64, 1.3f, 1.3f, 1.3f, 0, 2e-5, false},
    {CLATTN_F32, 65, 512, 0.3f, 0.3f, 0.3f, 0, 2.91e-6, true},
    {CLATTN_F32, 65, 512, 0.3f, 0.3f, 0.3f, 0, 1e-5, false},
    /* Sums of many keys in one chain (V = 0.1, 262,144 keys), as fwd_tile had them. */
    {CLATTN_F32, 262144, 1, 0, 1, 0.1f, 2.5e-3, 0, false},
    {CLATTN_F32, 262144, 1, 0, 1, 0.1f, 1e-5, 0, true},
};

static void examples_are_judged_rightly(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const struct example *e = &examples[i];
        clattn_desc desc = CLATTN_DESC_INIT;
        desc.type = e->type;
        desc.heads_kv = 1;
        desc.seq_q = 1;
        desc.seq_kv = e->keys;
        desc.head_dim = desc.head_dim_v = e->dim;
        struct subject s;
        struct compare_result ratio;
        subject_make(&s, &desc, CLATTN_SCALE_DEFAULT);
        s.kind = "an example";
        const float values[] = {e->q, e->k, e->v};
        for (int input = 0; input < SUBJECT_INPUTS; input++)
            for (size_t at = 0; at < subject_count(&s, input); at++)
                s.in[input][at] = values[input];
        subject_compute(&s);
        for (size_t d = 0; d < e->dim; d++)
            s.o[d] = (float)reference_round(e->type, s.expected.o[d] * (1 + e->o_off));
        s.lse[0] = (float)(s.expected.lse[0] + e->lse_off);
        const verify_result checked = verify(&s, s.o, s.lse, 1e9);
        if (checked.passed != e->right ||
            compare_silently(&desc, &s.expected, s.o, s.lse, &ratio) != e->right) {
            subject_print(&s);
            fail_msg("example %zu is not judged as %s", i, e->right ? "right" : "wrong");
        }
        assert_int_equal(checked.ill_rows, 0);
        assert_int_equal(ratio.ill_rows, 0);
        assert_true(isfinite(checked.bound) && isfinite(checked.lse_bound));
        subject_free(&s);
    }
}

int main(int argc, char **argv) {
    results = argc > 1 ? (unsigned)atoi(argv[1]) : results;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_judged_rightly),
        cmocka_unit_test(every_plant_shows),
        cmocka_unit_test(no_right_result_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
