/*
 * The tools' check of gradients: what the tests' own reference calls right passes, and a gradient
 * that is wrong in one element does not.
 */
#include "verify_gradients.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gradients.h"
#include "reference.h"
#include "subject.h"

enum { Q, K, V, O, LSE, D_O, D_LSE, D_Q, D_K, D_V, TENSORS };

struct problem {
    clattn_desc desc;
    clattn_tensor layouts[TENSORS];
    float *values[TENSORS];
    void *stored[TENSORS];
    size_t count[TENSORS];
    struct verify_gradients given;
};

static clattn_type type_of(const struct problem *p, int tensor) {
    return tensor == LSE || tensor == D_LSE ? CLATTN_F32 : p->desc.type;
}

static void store(struct problem *p, int tensor) {
    free(p->stored[tensor]);
    p->stored[tensor] = subject_encode(type_of(p, tensor), p->values[tensor], p->count[tensor]);
    const size_t size = reference_type_size(type_of(p, tensor));
    for (size_t i = 0; i < p->count[tensor]; i++)
        p->values[tensor][i] = (float)reference_decode(
            type_of(p, tensor), (unsigned char *)p->stored[tensor] + i * size);
}

static void point(struct problem *p) {
    struct verify_tensor t[TENSORS];
    for (int i = 0; i < TENSORS; i++)
        t[i] = (struct verify_tensor){p->stored[i], &p->layouts[i]};
    p->given = (struct verify_gradients){.q = t[Q],
                                         .k = t[K],
                                         .v = t[V],
                                         .o = t[O],
                                         .lse = t[LSE],
                                         .d_o = t[D_O],
                                         .d_lse = t[D_LSE],
                                         .gradients = {t[D_Q], t[D_K], t[D_V]}};
}

/* With gradients that the reference computes in double, rounded. */
static void make(struct problem *p, const char *text, float scale) {
    uint64_t seed = 7;
    *p = (struct problem){.desc = CLATTN_DESC_INIT};
    clattn_desc *d = &p->desc;
    assert_int_equal(clattn_desc_parse(text, d), CL_SUCCESS);
    d->heads_kv = d->heads_kv ? d->heads_kv : d->heads_q;
    d->head_dim_v = d->head_dim_v ? d->head_dim_v : d->head_dim;
    for (int i = 0; i < TENSORS; i++) {
        const bool keys = i == K || i == V || i == D_K || i == D_V;
        const bool wide = i == Q || i == K || i == D_Q || i == D_K;
        const cl_uint dim = i == LSE || i == D_LSE ? 1 : wide ? d->head_dim : d->head_dim_v;
        const cl_uint heads = keys ? d->heads_kv : d->heads_q, rows = keys ? d->seq_kv : d->seq_q;
        p->layouts[i] = (clattn_tensor)CLATTN_TENSOR_BHSD(NULL, heads, rows, dim);
        p->count[i] = (size_t)d->batch * heads * rows * dim;
        p->values[i] = calloc(p->count[i] + 1, sizeof(float));
        assert_non_null(p->values[i]);
        for (size_t at = 0; at < p->count[i]; at++)
            p->values[i][at] = (float)(2 * subject_random(&seed) - 1);
        store(p, i);
    }
    struct reference r;
    struct gradient g[GRADIENTS];
    const struct gradients_inputs in = {.q = p->values[Q],
                                        .k = p->values[K],
                                        .v = p->values[V],
                                        .d_o = p->values[D_O],
                                        .d_lse = p->values[D_LSE]};
    reference_forward(d, scale, p->values[Q], p->values[K], p->values[V], &r);
    gradients_make(d, scale, &in, g);
    for (size_t i = 0; i < p->count[O]; i++)
        p->values[O][i] = (float)r.o[i];
    for (size_t i = 0; i < p->count[LSE]; i++)
        p->values[LSE][i] = (float)r.lse[i];
    for (int i = 0; i < GRADIENTS; i++)
        for (size_t at = 0; at < p->count[D_Q + i]; at++)
            p->values[D_Q + i][at] = (float)g[i].value[at];
    for (int i = O; i < TENSORS; i++)
        store(p, i);
    gradients_free(g);
    reference_free(&r);
    point(p);
}

static void drop(struct problem *p) {
    for (int i = 0; i < TENSORS; i++) {
        free(p->values[i]);
        free(p->stored[i]);
    }
}

static const char *const problems[] = {
    "f32 b2 h4:2 q9 k13 d6:5 causal",
    "f16 h2 q20 k30 d16 softcap2",
    "bf16 h3:1 q17 k9 d8:12 window3,1",
    "f32 q5 k0 d3",
    "f16 q20 k3 d8 causal",
};

static bool passes(const struct problem *p, struct verify_gradients_result *result) {
    assert_true(verify_gradients(&p->desc, 0.5, &p->given, 1e9, result));
    return result->passed;
}

static void right_gradients_pass_and_wrong_ones_do_not(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        struct problem p;
        struct verify_gradients_result result;
        make(&p, problems[i], 0.5f);
        if (!passes(&p, &result))
            fail_msg("%s: dq %g/%g, dk %g/%g, dv %g/%g", problems[i], result.error[0],
                     result.bound[0], result.error[1], result.bound[1], result.error[2],
                     result.bound[2]);
        assert_int_equal(result.checked, result.rows);
        assert_int_equal(result.ill_rows, 0);
        for (int tensor = D_Q; tensor <= D_V; tensor++)
            for (size_t at = 0; at < p.count[tensor]; at += 7) {
                const float before = p.values[tensor][at];
                const float wrong[] = {before + 0.25f * (fabsf(before) + 0.25f), NAN, INFINITY};
                for (int w = 0; w < 3; w++) {
                    p.values[tensor][at] = wrong[w];
                    store(&p, tensor);
                    point(&p);
                    assert_false(passes(&p, &result));
                    assert_true(result.error[tensor - D_Q] > result.bound[tensor - D_Q] ||
                                result.bound[tensor - D_Q] == 1);
                }
                p.values[tensor][at] = before;
                store(&p, tensor);
                point(&p);
            }
        drop(&p);
    }
}

/* The inputs of another problem, or gradients of heads taken for one another. */
static void gradients_of_something_else_do_not_pass(void **state) {
    (void)state;
    struct problem p;
    struct verify_gradients_result result;
    make(&p, "f16 h4:2 q9 k13 d6:5 causal", 0.5f);
    p.desc.band_right = 1;
    assert_false(passes(&p, &result));
    p.desc.band_right = 0;
    p.desc.softcap = 1;
    assert_false(passes(&p, &result));
    p.desc.softcap = 0;
    p.given.d_lse.data = NULL;
    assert_false(passes(&p, &result));
    point(&p);
    p.given.gradients[VERIFY_D_K].data = p.stored[K];
    assert_false(passes(&p, &result));
    point(&p);
    assert_true(passes(&p, &result));
    drop(&p);
}

/* A budget that is too small still has two rows of each gradient, the first and the last. */
static void few_rows_are_a_sample(void **state) {
    (void)state;
    struct problem p;
    struct verify_gradients_result result;
    make(&p, "f32 h2 q40 k50 d8", 0.5f);
    assert_true(verify_gradients(&p.desc, 0.5, &p.given, 1, &result));
    assert_true(result.passed && result.checked == 6 && result.rows == 80 + 2 * 100);
    p.values[D_V][p.count[D_V] - 1] += 1;
    store(&p, D_V);
    point(&p);
    assert_true(verify_gradients(&p.desc, 0.5, &p.given, 1, &result));
    assert_false(result.passed);
    drop(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_gradients_pass_and_wrong_ones_do_not),
        cmocka_unit_test(gradients_of_something_else_do_not_pass),
        cmocka_unit_test(few_rows_are_a_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
