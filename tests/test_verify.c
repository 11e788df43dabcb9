/*
 * tools/verify against tests/reference.c: the oracle of clattn-run --verify, written
 * apart, passes the right result and says where a wrong one leaves its bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compare.h"
#include "reference.h"
#include "verify.h"

enum { Q, K, V, ALIBI, O, LSE, TENSORS };

struct problem {
    clattn_desc desc;
    clattn_tensor layout[TENSORS];
    size_t count[TENSORS]; /* elements */
    unsigned char *data[TENSORS];
    float *decoded[LSE]; /* [batch, heads, rows, dim], whatever the layout */
    struct reference expected;
};

static clattn_type type_of(const struct problem *p, int tensor) {
    const struct reference_types t = reference_types(&p->desc);
    const clattn_type types[TENSORS] = {t.q, t.k, t.v, CLATTN_F32, t.o, CLATTN_F32};
    return types[tensor];
}

static void *element(const struct problem *p, int tensor, size_t index) {
    return p->data[tensor] + index * reference_type_size(type_of(p, tensor));
}

/* Where element [batch, head, row, d] lies. */
static size_t place(const struct problem *p, int tensor, size_t b, size_t h, size_t r, size_t d) {
    const clattn_tensor *t = &p->layout[tensor];
    return b * (size_t)t->stride_batch + h * (size_t)t->stride_head + r * (size_t)t->stride_row + d;
}

static void lay_out(struct problem *p, int tensor, size_t heads, size_t rows, size_t dim,
                    bool bshd) {
    clattn_tensor bhsd_layout = CLATTN_TENSOR_BHSD(NULL, heads, rows, dim);
    clattn_tensor bshd_layout = CLATTN_TENSOR_BSHD(NULL, heads, rows, dim);
    p->layout[tensor] = bshd ? bshd_layout : bhsd_layout;
    p->count[tensor] = p->desc.batch * heads * rows * dim;
    p->data[tensor] = calloc(p->count[tensor] + 1, sizeof(float));
    assert_non_null(p->data[tensor]);
}

/* Fills the inputs and puts the reference's own answer, rounded to the type, in o and lse. */
static void make(struct problem *p, const char *text, bool bshd) {
    memset(p, 0, sizeof *p);
    p->desc = (clattn_desc)CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse(text, &p->desc), CL_SUCCESS);
    clattn_desc *d = &p->desc;
    d->heads_kv = d->heads_kv ? d->heads_kv : d->heads_q;
    d->head_dim_v = d->head_dim_v ? d->head_dim_v : d->head_dim;
    const bool alibi = d->features & CLATTN_FEATURE_ALIBI;
    const size_t heads[TENSORS] = {d->heads_q,         d->heads_kv, d->heads_kv,
                                   alibi * d->heads_q, d->heads_q,  d->heads_q};
    const size_t rows[TENSORS] = {d->seq_q, d->seq_kv, d->seq_kv, 1, d->seq_q, d->seq_q};
    const size_t dims[TENSORS] = {d->head_dim, d->head_dim, d->head_dim_v, 1, d->head_dim_v, 1};
    uint32_t random = 1;
    for (int t = 0; t < TENSORS; t++) {
        lay_out(p, t, heads[t], rows[t], dims[t], bshd && t != LSE);
        if (t == O) {
            const struct reference_extras extras = {.alibi = p->decoded[ALIBI]};
            reference_forward_with(d, CLATTN_SCALE_DEFAULT, p->decoded[Q], p->decoded[K],
                                   p->decoded[V], &extras, &p->expected);
        } else if (t < O) {
            p->decoded[t] = calloc(p->count[t] + 1, sizeof(float));
            assert_non_null(p->decoded[t]);
        }
        size_t dense = 0;
        for (size_t b = 0; b < d->batch; b++) {
            for (size_t h = 0; h < heads[t]; h++) {
                for (size_t r = 0; r < rows[t]; r++) {
                    for (size_t i = 0; i < dims[t]; i++, dense++) {
                        random = random * 1664525u + 1013904223u;
                        double value = t == O     ? p->expected.o[dense]
                                       : t == LSE ? p->expected.lse[dense]
                                                  : (double)(random >> 8) * 0x1p-22 - 2;
                        void *to = element(p, t, place(p, t, b, h, r, i));
                        reference_encode(type_of(p, t), value, to);
                        if (t < O) {
                            p->decoded[t][dense] = (float)reference_decode(type_of(p, t), to);
                        }
                    }
                }
            }
        }
    }
}

static void destroy(struct problem *p) {
    for (int t = 0; t < TENSORS; t++) {
        free(p->data[t]);
    }
    for (int t = 0; t < O; t++) {
        free(p->decoded[t]);
    }
    reference_free(&p->expected);
}

static struct verify_result verify(const struct problem *p) {
    struct verify_result result;
    struct verify_tensor t[TENSORS];
    for (int i = 0; i < TENSORS; i++) {
        t[i] = (struct verify_tensor){p->data[i], &p->layout[i]};
    }
    const struct verify_tensors tensors = {
        .q = t[Q], .k = t[K], .v = t[V], .alibi = t[ALIBI], .o = t[O], .lse = t[LSE]};
    assert_true(verify_forward(&p->desc, 1 / sqrt(p->desc.head_dim), &tensors, &result));
    return result;
}

static const char *const texts[] = {
    "f32 b2 h4:2 q5 k7 d6:3 causal",
    "f16 b2 h4:2 q5 k7 d6:3 causal",
    "bf16 b2 h4:2 q5 k7 d6:3 causal",
    "f32 h3 q5 k8 d3 window2,1 start softcap2.5",
    "f16 h2:1 q7 k3 d16 causal",
    "f32 kf16 h4:2 q5 k7 d6:3 causal",
    "bf16 kf16 vf32 of16 q8 k8 d4:5",
    "bf16 q8 k8 d4:5 window3,-1",
    "f32 q4 k0 d4",
    "f16 q0 k5 d4",
    "f32 b2 h6:3 q6 k6 d1 window0,0",
    "f32 b2 h6:3 q6 k9 d4 causal alibi",
    "f16 b2 h2 q9 k6 d8 start softcap2.5 alibi",
};

enum { TEXTS = sizeof texts / sizeof texts[0] };

/* The result as compare_forward sees it. */
static bool compare(const struct problem *p, struct compare_result *result) {
    float *o = calloc(p->count[O] + 1, sizeof *o), *lse = calloc(p->count[LSE] + 1, sizeof *lse);
    assert_true(o && lse);
    const clattn_desc *d = &p->desc;
    size_t dense = 0;
    for (size_t b = 0; b < d->batch; b++)
        for (size_t h = 0; h < d->heads_q; h++)
            for (size_t r = 0; r < d->seq_q; r++) {
                memcpy(&lse[dense / d->head_dim_v], element(p, LSE, place(p, LSE, b, h, r, 0)),
                       sizeof *lse);
                for (size_t i = 0; i < d->head_dim_v; i++, dense++)
                    o[dense] = (float)reference_decode(type_of(p, O),
                                                       element(p, O, place(p, O, b, h, r, i)));
            }
    const bool right = compare_forward(d, &p->expected, o, lse, result);
    free(o);
    free(lse);
    return right;
}

static void assert_near(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-6 * fabs(expected))) {
        fail_msg("%.17g is not %.17g", value, expected);
    }
}

/* Two programs of one definition: they find the same element, and the same share of its bound. */
static void the_same_bounds(void **state) {
    (void)state;
    for (int i = 0; i < 2 * TEXTS; i++) {
        struct problem p;
        struct compare_result expected;
        make(&p, texts[i / 2], i % 2);
        struct verify_result result = verify(&p);
        assert_true(result.passed);
        assert_true(compare(&p, &expected));
        assert_int_equal(result.checked, result.rows);
        assert_int_equal(result.rows, p.count[LSE]);
        assert_int_equal(result.rows, expected.rows);
        assert_int_equal(result.ill_rows, 0);
        assert_int_equal(expected.ill_rows, 0);
        if (p.count[O] && p.desc.seq_kv) {
            assert_near(result.error / result.bound, expected.o);
            assert_near(result.lse_error / result.lse_bound, expected.lse);
        }
        destroy(&p);
    }
}

/* Each element in turn leaves its bound by a little, and by a NaN. */
static void every_element_is_seen(void **state) {
    (void)state;
    for (int i = 0; i < 2 * TEXTS; i++) {
        struct problem p;
        make(&p, texts[i / 2], i % 2);
        const clattn_desc *d = &p.desc;
        const clattn_type type = type_of(&p, O);
        const size_t size = reference_type_size(type);
        for (size_t dense = 0; dense < p.count[O]; dense++) {
            const size_t row = dense / d->head_dim_v, head = row / d->seq_q;
            void *here = element(&p, O,
                                 place(&p, O, head / d->heads_q, head % d->heads_q, row % d->seq_q,
                                       dense % d->head_dim_v));
            unsigned char right[sizeof(float)];
            memcpy(right, here, size);
            const double value = p.expected.o[dense];
            const double bound = compare_bound_o(d, &p.expected, dense);
            reference_encode(type, value + 1.01 * bound + reference_ulp(type, value), here);
            assert_false(verify(&p).passed);
            reference_encode(type, NAN, here);
            assert_false(verify(&p).passed);
            memcpy(here, right, size);
        }
        for (size_t at = 0; at < p.count[LSE]; at++) {
            const float right = (float)p.expected.lse[at];
            float wrong =
                isinf(right) ? 0 : right + 1.2f * (float)compare_bound_lse(&p.expected, at);
            memcpy(element(&p, LSE, at), &wrong, sizeof wrong);
            assert_false(verify(&p).passed);
            memcpy(element(&p, LSE, at), &right, sizeof right);
        }
        assert_true(verify(&p).passed);
        destroy(&p);
    }
}

/* One query, q = 0 and so equal weights, of which there are four. */
static void make_mean(struct problem *p, const double *v, const double *o) {
    make(p, "f16 h1 q1 k4 d2", false);
    memset(p->data[Q], 0, 2 * p->count[Q]);
    for (size_t i = 0; i < p->count[V]; i++) {
        reference_encode(CLATTN_F16, v[i], element(p, V, i));
    }
    for (size_t i = 0; i < 2; i++) {
        reference_encode(CLATTN_F16, o[i], element(p, O, i));
    }
    const float lse = (float)log(4);
    memcpy(element(p, LSE, 0), &lse, sizeof lse);
}

/* o is 1024.25, of which the plain computation in f16 keeps 1024, and 2^-10; half a unit in the
 * last place is 1/2 and 2^-21.  The scores move o by their share of what v differs by. */
static void the_element_nearest_to_its_bound_is_reported(void **state) {
    (void)state;
    struct problem p;
    const double v[] = {1025, 0x1p-10, 1024, 0x1p-10, 1024, 0x1p-10, 1024, 0x1p-10};
    const double nearer[] = {1025, 0.25};
    make_mean(&p, v, nearer);
    struct verify_result result = verify(&p);
    assert_true(result.passed);
    assert_true(result.error == 0.75);
    assert_near(result.bound, 0.5 + 1.25 * 0.25 + 2 * 0x1p-22 * 8 * 0.375);
    destroy(&p);
    /* The second is beyond its bound; the first, whose error is larger, is not. */
    const double beyond[] = {1025, 0.5};
    make_mean(&p, v, beyond);
    result = verify(&p);
    assert_false(result.passed);
    assert_true(result.error == 0.5 - 0x1p-10);
    assert_near(result.bound, 0x1p-21 + 1.25 * 0.25);
    destroy(&p);
}

/* Two equal keys: lse is the score + log 2, which f32 rounds by 0.057 near 2^20, but by less
 * than 2^-24 near 1. */
static void each_row_has_its_own_bound_of_lse(void **state) {
    (void)state;
    struct problem p;
    make(&p, "f32 h1 q2 k2 d1", false);
    const float q[2] = {0x1p20f, 1}, ones[2] = {1, 1},
                lse[2] = {0x1p20f + 0.75f, 1 + (float)log(2)};
    memcpy(p.data[Q], q, sizeof q);
    memcpy(p.data[K], ones, sizeof ones);
    memcpy(p.data[V], ones, sizeof ones);
    memcpy(p.data[O], ones, sizeof ones);
    memcpy(p.data[LSE], lse, sizeof lse);
    struct verify_result result = verify(&p);
    const double sums = 0x1p-22 * (8 + sqrt(2) / 8);
    assert_true(result.passed);
    assert_true(fabs(result.lse_error - (0.75 - log(2))) < 1e-6);
    assert_near(result.lse_bound, 0.0625 + 0x1p-22 * (0x1p20 + 8) + 0x1p-26 * 0x1p20 + sums);
    /* An error that the first row may have is one of the second. */
    const float wrong = lse[1] + 0x1p-10f;
    memcpy(element(&p, LSE, 1), &wrong, sizeof wrong);
    result = verify(&p);
    assert_false(result.passed);
    assert_true(fabs(result.lse_error - 0x1p-10) < 1e-6);
    assert_near(result.lse_bound, 0x1p-24 + 0x1p-22 * (1 + 8) + 0x1p-26 + sums);
    destroy(&p);
}

/* Too long to check in full: rows are drawn from all over, first and last included. */
static void a_long_problem_is_sampled(void **state) {
    (void)state;
    struct problem p = {.desc = CLATTN_DESC_INIT};
    p.desc.seq_q = p.desc.seq_kv = 20000;
    p.desc.head_dim = p.desc.head_dim_v = 1;
    p.desc.heads_kv = 1;
    const size_t rows = p.desc.seq_q;
    for (int t = 0; t < TENSORS; t++) {
        lay_out(&p, t, 1, rows, 1, false);
    }
    /* q = k = v = 0: every weight is 1 / rows and lse is log(rows). */
    float lse = (float)log((double)rows), wrong = 1;
    for (size_t i = 0; i < rows; i++) {
        memcpy(element(&p, LSE, i), &lse, sizeof lse);
    }
    struct verify_result result = verify(&p);
    assert_true(result.passed);
    assert_int_equal(result.rows, rows);
    assert_in_range(result.checked, 1000, rows - 1);
    for (int last = 0; last < 2; last++) {
        memcpy(element(&p, O, last ? rows - 1 : 0), &wrong, sizeof wrong);
        assert_false(verify(&p).passed);
        memset(element(&p, O, last ? rows - 1 : 0), 0, sizeof wrong);
    }
    destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bounds),
        cmocka_unit_test(every_element_is_seen),
        cmocka_unit_test(the_element_nearest_to_its_bound_is_reported),
        cmocka_unit_test(each_row_has_its_own_bound_of_lse),
        cmocka_unit_test(a_long_problem_is_sampled),
    };
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
