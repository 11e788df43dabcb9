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
#include "plants.h"
#include "subject.h"
#include "verify.h"

static unsigned results = 10000;

/* ---- Both judges ---- */

static clattn_tensor layout_of(cl_uint heads, cl_uint rows, cl_uint dim) {
    clattn_tensor dense = CLATTN_TENSOR_BHSD(NULL, heads, rows, dim);
    return dense;
}

static struct verify_result verify(const struct subject *s, const float *o, const float *lse,
                                   double operations) {
    const clattn_desc *d = &s->desc;
    const clattn_tensor q = layout_of(d->heads_q, d->seq_q, d->head_dim),
                        k = layout_of(d->heads_kv, d->seq_kv, d->head_dim),
                        v = layout_of(d->heads_kv, d->seq_kv, d->head_dim_v),
                        to = layout_of(d->heads_q, d->seq_q, d->head_dim_v),
                        sum = layout_of(d->heads_q, d->seq_q, 1),
                        slopes = layout_of(d->heads_q, 1, 1);
    void *out = subject_encode(reference_types(d).o, o, s->rows * d->head_dim_v);
    struct verify_result result;
    const struct verify_tensors tensors = {.q = {s->stored[SUBJECT_Q], &q},
                                           .k = {s->stored[SUBJECT_K], &k},
                                           .v = {s->stored[SUBJECT_V], &v},
                                           .alibi = {s->alibi, &slopes},
                                           .o = {out, &to},
                                           .lse = {lse, &sum}};
    assert_true(verify_sample(d, reference_scale(d, s->scale), &tensors, operations, &result));
    free(out);
    return result;
}

/* ---- The plants ---- */

/* In how many problems each made an element leave its bound. */
enum { MOST_PLANTS = 64 };
static unsigned spoilt_by[MOST_PLANTS];

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
    const struct verify_result right = verify(s, s->o, s->lse, OPERATIONS);
    if (!right.passed || !compare_silently(&s->desc, &s->expected, s->o, s->lse, &ratio) ||
        right.ill_rows || ratio.ill_rows) {
        subject_print(s);
        compare_forward(&s->desc, &s->expected, s->o, s->lse, &ratio);
        fail_msg("a right result is refused, or ill-conditioned");
    }
    const bool all = right.checked == right.rows;
    for (size_t i = 0; i < plants_count && s->rows; i++) {
        struct plot p = {
            .s = s, .o = calloc(s->rows * dim, sizeof *p.o), .lse = calloc(s->rows, sizeof *p.lse)};
        assert_true(p.o && p.lse);
        memcpy(p.o, s->o, s->rows * dim * sizeof *p.o);
        memcpy(p.lse, s->lse, s->rows * sizeof *p.lse);
        /* The last row is always checked. */
        p.row = all ? (size_t)(subject_random(seed) * (double)s->rows) : s->rows - 1;
        p.column = (size_t)(subject_random(seed) * (double)dim);
        plants_table[i].spoil(&p);
        bool spoilt = row_has_left(&p, 0) || row_has_left(&p, s->rows - 1);
        for (size_t row = 0; all && row < s->rows && !spoilt; row++)
            spoilt = row_has_left(&p, row);
        spoilt_by[i] += spoilt;
        if (spoilt && (verify(s, p.o, p.lse, OPERATIONS).passed ||
                       compare_silently(&s->desc, &s->expected, p.o, p.lse, &ratio))) {
            subject_print(s);
            fail_msg("it does not show that %s", plants_table[i].what);
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
    while (desc.seq_q > 1 && (double)desc.seq_q * desc.seq_kv > (double)PAIRS)
        desc.seq_q /= 2;
    subject_make(s, &desc, setup->scale);
    s->kind = "of the table";
    s->how.rounded = reference_types(&desc).weights != CLATTN_F32;
    for (int input = 0; input < SUBJECT_INPUTS; input++)
        for (size_t i = 0; i < subject_count(s, input); i++)
            s->in[input][i] = (float)(t->input[input].size * (2 * subject_random(seed) - 1));
    subject_fill_alibi(s, t->input[TENSOR_ALIBI].size, seed);
    subject_compute(s);
}

static void every_plant_shows(void **state) {
    (void)state;
    uint64_t seed = 1;
    assert_in_range(plants_count, 20, MOST_PLANTS);
    for (size_t i = 0; i < cases_count; i++) {
        struct case_setup setup;
        struct subject s;
        assert_true(cases_parse(&cases_table[i], &setup));
        const clattn_desc *desc = &setup.tensors.desc;
        if (desc->features & ~CLATTN_FEATURE_ALIBI || desc->type_k > CLATTN_BF16 ||
            desc->type_v > CLATTN_BF16) {
            continue; /* a subject has no tensors of these */
        }
        of_case(&s, &setup, &seed);
        plant_all(&s, &seed);
        subject_free(&s);
    }
    for (size_t i = 0; i < plants_count; i++) {
        print_message("%3u of %zu problems: %s\n", spoilt_by[i], cases_count, plants_table[i].what);
        assert_in_range(spoilt_by[i], 5, cases_count);
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
        const struct verify_result checked = verify(&s, s.o, s.lse, 1e9);
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

/* Constant inputs, all keys seen: o is v, lse the score + log(keys).  o is off by so much in parts
 * of v, and lse absolutely and in bounds. */
static const struct example {
    clattn_type type;
    cl_uint keys, dim;
    float q, k, v;
    double o_off, lse_off, lse_bounds;
    bool right;
} examples[] = {
    /* The yardstick overflowed: the bound was infinite. */
    {CLATTN_F16, 64, 64, 1, 1, 65504, NAN, 0, 0, false},
    {CLATTN_F16, 64, 64, 1, 1, 65504, -1, 0, 0, false},
    {CLATTN_F16, 64, 64, 1, 1, 65504, 0, 0, 0, true},
    {CLATTN_F16, 64, 64, 1, 1, 65504, -0x1p-11, 0, 0, false}, /* the number before */
    {CLATTN_F16, 70000, 1, 0, 1, 1, -1, 0, 0, false},
    {CLATTN_F16, 70000, 1, 0, 1, 1, 0x1p-9, 0, 0, false},
    {CLATTN_F16, 70000, 1, 0, 1, 1, 0, 0, 0, true},
    {CLATTN_BF16, 70000, 1, 0, 1, 1, -1, 0, 0, false},
    {CLATTN_BF16, 1000, 1, 0, 1, 1e35f, NAN, 0, 0, false},
    {CLATTN_BF16, 1000, 1, 0, 1, 1e35f, 0, 0, 0, true},
    {CLATTN_F32, 1000, 1, 0, 1, 1e35f, 0, 0, 0, true},
    {CLATTN_F32, 1000, 1, 0, 1, 1e35f, INFINITY, 0, 0, false},
    /* Right results whose lse was refused: these are the errors that were seen. */
    {CLATTN_F32, 65, 64, 1.3f, 1.3f, 1.3f, 0, 6.25e-6, 0, true},
    {CLATTN_F32, 65, 64, 1.3f, 1.3f, 1.3f, 0, -6.25e-6, 0, true},
    {CLATTN_F32, 65, 64, 1.3f, 1.3f, 1.3f, 0, 0, 4, false},
    {CLATTN_F32, 65, 64, 1.3f, 1.3f, 1.3f, 0, 0, -1.1, false},
    {CLATTN_F32, 65, 64, 1.3f, 1.3f, 1.3f, 0, 1e-4, 0, false},
    {CLATTN_F32, 65, 512, 0.3f, 0.3f, 0.3f, 0, 2.91e-6, 0, true},
    {CLATTN_F32, 65, 512, 0.3f, 0.3f, 0.3f, 0, 0, 4, false},
    /* Sums of many keys in one chain (V = 0.1, 262,144 keys), as fwd_tile had them. */
    {CLATTN_F32, 262144, 1, 0, 1, 0.1f, 2.5e-3, 0, 0, false},
    {CLATTN_F32, 262144, 1, 0, 1, 0.1f, 1e-5, 0, 0, true},
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
        s.lse[0] = (float)(s.expected.lse[0] + e->lse_off +
                           e->lse_bounds * compare_bound_lse(&s.expected, 0));
        const struct verify_result checked = verify(&s, s.o, s.lse, 1e9);
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
