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

#include "reference.h"
#include "verify.h"

enum { Q, K, V, O, LSE, TENSORS };

struct problem {
    clattn_desc desc;
    clattn_tensor layout[TENSORS];
    size_t count[TENSORS]; /* elements */
    unsigned char *data[TENSORS];
    float *decoded[LSE]; /* [batch, heads, rows, dim], whatever the layout */
    struct reference expected;
};

static clattn_type type_of(const struct problem *p, int tensor) {
    return tensor == LSE ? CLATTN_F32 : p->desc.type;
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

/* Fills q, k, v and puts the reference's own answer, rounded to the type, in o and lse. */
static void make(struct problem *p, const char *text, bool bshd) {
    memset(p, 0, sizeof *p);
    p->desc = (clattn_desc)CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse(text, &p->desc), CL_SUCCESS);
    clattn_desc *d = &p->desc;
    d->heads_kv = d->heads_kv ? d->heads_kv : d->heads_q;
    d->head_dim_v = d->head_dim_v ? d->head_dim_v : d->head_dim;
    const size_t heads[TENSORS] = {d->heads_q, d->heads_kv, d->heads_kv, d->heads_q, d->heads_q};
    const size_t rows[TENSORS] = {d->seq_q, d->seq_kv, d->seq_kv, d->seq_q, d->seq_q};
    const size_t dims[TENSORS] = {d->head_dim, d->head_dim, d->head_dim_v, d->head_dim_v, 1};
    uint32_t random = 1;
    for (int t = 0; t < TENSORS; t++) {
        lay_out(p, t, heads[t], rows[t], dims[t], bshd && t != LSE);
        if (t == O) {
            reference_forward(d, CLATTN_SCALE_DEFAULT, p->decoded[Q], p->decoded[K], p->decoded[V],
                              &p->expected);
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
                            p->decoded[t][dense] = (float)reference_decode(d->type, to);
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

static verify_result verify(const struct problem *p) {
    verify_result result;
    verify_tensor t[TENSORS];
    for (int i = 0; i < TENSORS; i++) {
        t[i] = (verify_tensor){p->data[i], &p->layout[i]};
    }
    assert_true(verify_forward(&p->desc, 1 / sqrt(p->desc.head_dim), t[Q], t[K], t[V], t[O], t[LSE],
                               &result));
    return result;
}

static const char *const texts[] = {
    "f32 b2 h4:2 q5 k7 d6:3 causal",
    "f16 b2 h4:2 q5 k7 d6:3 causal",
    "bf16 b2 h4:2 q5 k7 d6:3 causal",
    "f32 h3 q5 k8 d3 window2,1 start softcap2.5",
    "f16 h2:1 q7 k3 d16 causal",
    "bf16 q8 k8 d4:5 window3,-1",
    "f32 q4 k0 d4",
    "f16 q0 k5 d4",
    "f32 b2 h6:3 q6 k6 d1 window0,0",
};

enum { TEXTS = sizeof texts / sizeof texts[0] };

static void the_same_bounds(void **state) {
    (void)state;
    for (int i = 0; i < 2 * TEXTS; i++) {
        struct problem p;
        make(&p, texts[i / 2], i % 2);
        verify_result result = verify(&p);
        assert_true(result.passed);
        assert_int_equal(result.checked, result.rows);
        assert_int_equal(result.rows, p.count[LSE]);
        if (p.desc.type == CLATTN_F32) {
            double bound = 0x1p-22 * (p.expected.max_score + 8) * p.expected.max_value;
            assert_true(fabs(result.bound - bound) <= 1e-9 * bound);
        } else if (p.count[O]) {
            double shared = result.bound - 1.25 * p.expected.plain_error;
            assert_true(shared >= 0 && shared <= reference_ulp(p.desc.type, 2) / 2 + 1e-12);
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
        double shared = p.desc.type == CLATTN_F32
                            ? 0x1p-22 * (p.expected.max_score + 8) * p.expected.max_value
                            : 1.25 * p.expected.plain_error;
        for (size_t at = 0; at < p.count[O]; at++) {
            unsigned char right[sizeof(float)];
            const size_t size = reference_type_size(p.desc.type);
            void *here = element(&p, O, at);
            memcpy(right, here, size);
            double value = reference_decode(p.desc.type, right);
            double far = 1.5 * shared + 2 * reference_ulp(p.desc.type, value);
            reference_encode(p.desc.type, value + far, here);
            assert_false(verify(&p).passed);
            reference_encode(p.desc.type, NAN, here);
            assert_false(verify(&p).passed);
            memcpy(here, right, size);
        }
        for (size_t at = 0; at < p.count[LSE]; at++) {
            float right, wrong;
            memcpy(&right, element(&p, LSE, at), sizeof right);
            wrong = isinf(right) ? 0 : right + 0.001f;
            memcpy(element(&p, LSE, at), &wrong, sizeof wrong);
            assert_false(verify(&p).passed);
            memcpy(element(&p, LSE, at), &right, sizeof right);
        }
        assert_true(verify(&p).passed);
        destroy(&p);
    }
}

/* With q = 0 o is the mean of v's rows, here 1024.25 and 2^-10: half a unit in the last place is
 * 1/2 and 2^-21, and the plain computation in f16 is 1/4 off at the first. */
static void the_largest_error_is_reported(void **state) {
    (void)state;
    struct problem p;
    make(&p, "f16 h1 q1 k4 d2", false);
    memset(p.data[Q], 0, 2 * p.count[Q]);
    for (size_t i = 0; i < p.count[V]; i++) {
        reference_encode(CLATTN_F16, i == 0 ? 1025 : i % 2 ? 0x1p-10 : 1024, element(&p, V, i));
    }
    const float lse = (float)log(4);
    memcpy(element(&p, LSE, 0), &lse, sizeof lse);
    /* The second element is right, but nearer to its bound than the first. */
    reference_encode(CLATTN_F16, 1024, element(&p, O, 0));
    reference_encode(CLATTN_F16, 0x1p-10, element(&p, O, 1));
    verify_result result = verify(&p);
    assert_true(result.passed);
    assert_true(result.error == 0.25);
    assert_true(result.bound == 0.5 + 1.25 * 0.25);
    /* The second is beyond its bound; the first, whose error is larger, is not. */
    reference_encode(CLATTN_F16, 1025, element(&p, O, 0));
    reference_encode(CLATTN_F16, 0.5, element(&p, O, 1));
    result = verify(&p);
    assert_false(result.passed);
    assert_true(result.error == 0.5 - 0x1p-10);
    assert_true(result.bound == 0x1p-21 + 1.25 * 0.25);
    destroy(&p);
}

/* Two equal keys: lse is the score + log 2, which f32 rounds by 0.057 near 2^20, but by less
 * than 2^-24 near 1. */
static void the_largest_error_of_lse_is_reported(void **state) {
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
    verify_result result = verify(&p);
    assert_true(result.passed);
    assert_true(fabs(result.lse_error - (0.75 - log(2))) < 1e-6);
    assert_true(result.lse_bound == 0.0625 + 0x1p-22 * (0x1p20 + 8));
    const float wrong = lse[1] + 0.5f;
    memcpy(element(&p, LSE, 1), &wrong, sizeof wrong);
    result = verify(&p);
    assert_false(result.passed);
    assert_true(fabs(result.lse_error - 0.5) < 1e-6);
    assert_true(result.lse_bound < 0.26);
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
    verify_result result = verify(&p);
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
        cmocka_unit_test(the_largest_error_is_reported),
        cmocka_unit_test(the_largest_error_of_lse_is_reported),
        cmocka_unit_test(a_long_problem_is_sampled),
    };
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
