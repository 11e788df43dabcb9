/*
 * The gradients of the reference: central differences of its forward pass for every feature, what
 * is known without them, and the tolerance, which lets nothing pass that must not.
 */
#include "gradients.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compare.h"
#include "reference.h"

enum {
    INPUT_Q,
    INPUT_K,
    INPUT_V,
    INPUT_D_O,
    INPUT_D_LSE,
    INPUT_ALIBI,
    INPUT_BIAS,
    INPUT_MASK,
    INPUT_SINK,
    INPUTS
};

struct setup {
    clattn_desc desc;
    float scale;
    float *in[INPUTS]; /* dense */
    size_t count[INPUTS];
    struct gradients_inputs inputs;
};

/* Multiples of 2^-6 in +-1.5: so are they exact in every type, and no less after a small step. */
static float number(size_t i) {
    return (float)((double)(i * 2654435761u % 193) - 96) * 0x1p-6f;
}

/* The tensor of a feature. */
static const float *of(const struct setup *s, int input, cl_ulong feature) {
    return s->desc.features & feature ? s->in[input] : NULL;
}

static void setup_make(struct setup *s, const char *problem, float scale, bool d_lse) {
    *s = (struct setup){.desc = CLATTN_DESC_INIT, .scale = scale};
    assert_int_equal(clattn_desc_parse(problem, &s->desc), CL_SUCCESS);
    clattn_desc *d = &s->desc;
    d->heads_kv = d->heads_kv ? d->heads_kv : d->heads_q;
    d->head_dim_v = d->head_dim_v ? d->head_dim_v : d->head_dim;
    const size_t rows = (size_t)d->batch * d->heads_q * d->seq_q;
    const size_t rows_kv = (size_t)d->batch * d->heads_kv * d->seq_kv;
    const size_t counts[INPUTS] = {rows * d->head_dim,
                                   rows_kv * d->head_dim,
                                   rows_kv * d->head_dim_v,
                                   rows * d->head_dim_v,
                                   rows,
                                   (size_t)d->batch * d->heads_q,
                                   rows * d->seq_kv,
                                   rows * d->seq_kv,
                                   (size_t)d->batch * d->heads_q};
    for (size_t input = 0; input < INPUTS; input++) {
        s->count[input] = counts[input];
        s->in[input] = calloc(counts[input] + 1, sizeof(float));
        assert_non_null(s->in[input]);
        for (size_t i = 0; i < counts[input]; i++)
            s->in[input][i] = number(i * INPUTS + input);
    }
    s->inputs = (struct gradients_inputs){
        s->in[INPUT_Q],
        s->in[INPUT_K],
        s->in[INPUT_V],
        s->in[INPUT_D_O],
        d_lse ? s->in[INPUT_D_LSE] : NULL,
        {of(s, INPUT_ALIBI, CLATTN_FEATURE_ALIBI), of(s, INPUT_BIAS, CLATTN_FEATURE_BIAS),
         of(s, INPUT_MASK, CLATTN_FEATURE_MASK), of(s, INPUT_SINK, CLATTN_FEATURE_SINK)}};
    for (size_t i = 0; i < s->count[INPUT_MASK]; i++) {
        s->in[INPUT_MASK][i] = i % 3 != 1;
        if (i % 7 == 2)
            s->in[INPUT_BIAS][i] = -INFINITY;
    }
}

static void setup_free(struct setup *s) {
    for (size_t input = 0; input < INPUTS; input++)
        free(s->in[input]);
}

static void assert_near(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-12))
        fail_msg("%.17g is not near %.17g", value, expected);
}

static double loss(const struct setup *s) {
    struct reference r;
    reference_forward_with(&s->desc, s->scale, s->in[INPUT_Q], s->in[INPUT_K], s->in[INPUT_V],
                           &s->inputs.extras, &r);
    double sum = 0;
    for (size_t i = 0; i < s->count[INPUT_D_O]; i++)
        sum += (double)s->in[INPUT_D_O][i] * r.o[i];
    for (size_t i = 0; s->inputs.d_lse && i < s->count[INPUT_D_LSE]; i++)
        if (isfinite(r.lse[i])) /* a query that sees nothing has no gradient */
            sum += (double)s->in[INPUT_D_LSE][i] * r.lse[i];
    reference_free(&r);
    return sum;
}

/* (loss(x + h) - loss(x - h)) / 2h, which is off by about h^2. */
static double slope(const struct setup *s, float *x, float h) {
    const float before = *x;
    *x = before + h;
    const double high = loss(s);
    *x = before - h;
    const double low = loss(s);
    *x = before;
    return (high - low) / (2 * (double)h);
}

/* ---- Central differences ---- */

static const struct difference {
    const char *problem;
    float scale;
    bool d_lse;
} differences[] = {
    {"f32 q3 k5 d4", CLATTN_SCALE_DEFAULT, false},
    {"f32 q3 k5 d4", 0.7f, true},
    {"f32 q3 k4 d3:5", -0.6f, true},
    {"f32 q2 k3 d5:1", 0, true},
    {"f32 b2 h4:2 q3 k4 d2", CLATTN_SCALE_DEFAULT, true},
    {"f32 h3:1 q4 d3 causal", CLATTN_SCALE_DEFAULT, true},
    {"f32 q3 k5 d3 causal", CLATTN_SCALE_DEFAULT, false},
    {"f32 q3 k5 d3 causal start", CLATTN_SCALE_DEFAULT, true},
    {"f32 q5 k2 d3 causal", CLATTN_SCALE_DEFAULT, true},
    {"f32 h2 q5 k6 d3 window1,1", CLATTN_SCALE_DEFAULT, true},
    {"f32 q6 k3 d2 window2,0 start", CLATTN_SCALE_DEFAULT, true},
    {"f32 q3 k4 d3 softcap1.5", 2, true},
    {"f32 h2:1 q4 d3:2 causal softcap0.75", -1.5f, true},
    {"f32 q2 k1 d3", CLATTN_SCALE_DEFAULT, true},
    {"f32 b2 h4:2 q4 k5 d3 alibi", 0.7f, true},
    {"f32 h2 q4 k5 d3 causal start softcap1.5 alibi", 2, true},
    {"f32 b2 h4:2 q4 k5 d3 bias mask", 0.7f, true},
    {"f32 h2 q4 k5 d3 causal softcap1.5 bias sink", 2, true},
    {"f32 h2 q6 k3 d2 window0,0 sink", 1, true}, /* queries that see nothing but the sink */
};

/* Four times a difference by h, less one by 2h, leave an error of about h^4. */
static void is_difference(const struct setup *s, const char *what, size_t i, float *x,
                          double value) {
    const float h = 0x1p-7f;
    const double wide = slope(s, x, 2 * h), found = (4 * slope(s, x, h) - wide) / 3;
    if (!(fabs(found - value) <= 2e-7 * (1 + fabs(found))))
        fail_msg("%s, element %zu: %.12g, and by differences %.12g", what, i, value, found);
}

static void gradients_are_central_differences(void **state) {
    const struct difference *difference = *state;
    struct setup s;
    struct gradient g[GRADIENTS];
    static const char *const names[] = {"d_q", "d_k", "d_v"};
    struct gradients_extras extras;
    setup_make(&s, difference->problem, difference->scale, difference->d_lse);
    gradients_make(&s.desc, s.scale, &s.inputs, g);
    for (int name = 0; name < GRADIENTS; name++) {
        assert_int_equal(g[name].count, s.count[name]);
        for (size_t i = 0; i < g[name].count; i++) {
            is_difference(&s, names[name], i, &s.in[name][i], g[name].value[i]);
        }
    }
    gradients_make_extras(&s.desc, s.scale, &s.inputs, &extras);
    for (size_t i = 0; s.inputs.extras.bias && i < s.count[INPUT_BIAS]; i++)
        if (s.in[INPUT_BIAS][i] > -INFINITY)
            is_difference(&s, "d_bias", i, &s.in[INPUT_BIAS][i], extras.bias[i]);
    for (size_t i = 0; s.inputs.extras.sink && i < s.count[INPUT_SINK]; i++)
        is_difference(&s, "d_sink", i, &s.in[INPUT_SINK][i], extras.sink[i]);
    gradients_free_extras(&extras);
    gradients_free(g);
    setup_free(&s);
}

/* ---- What is known ---- */

static void what_sees_nothing_has_no_gradient(void **state) {
    (void)state;
    struct setup s;
    struct gradient g[GRADIENTS];
    setup_make(&s, "f32 q5 k3 d2 window1,0", 1, true);
    gradients_make(&s.desc, s.scale, &s.inputs, g);
    for (cl_uint query = 0; query < 5; query++)
        for (cl_uint d = 0; d < 2; d++)
            if (query < 2)
                assert_true(g[GRADIENT_Q].value[query * 2 + d] == 0);
            else if (query > 2) /* query 2 sees one key, whose weight is 1 */
                assert_true(g[GRADIENT_Q].value[query * 2 + d] != 0);
    assert_true(g[GRADIENT_Q].rows[1].terms == 0 && g[GRADIENT_Q].rows[3].terms > 0);
    gradients_free(g);
    setup_free(&s);
    setup_make(&s, "f32 q2 k4 d2 causal start", 1, true);
    gradients_make(&s.desc, s.scale, &s.inputs, g);
    for (cl_uint i = 0; i < 8; i++) {
        assert_true((g[GRADIENT_V].value[i] == 0) == (i >= 4));
        assert_true(i < 4 || g[GRADIENT_K].value[i] == 0);
    }
    gradients_free(g);
    setup_free(&s);
}

/* One key has the weight 1, which rounds to itself: d_v is d_o, and a score has no gradient but
 * that of lse. */
static void one_key_takes_all(void **state) {
    (void)state;
    struct setup s;
    struct gradient g[GRADIENTS];
    setup_make(&s, "f16 q1 k1 d3", 2, true);
    gradients_make(&s.desc, s.scale, &s.inputs, g);
    for (size_t d = 0; d < 3; d++) {
        const double d_lse = (double)s.in[INPUT_D_LSE][0];
        assert_true(g[GRADIENT_V].value[d] == (double)s.in[INPUT_D_O][d]);
        assert_near(g[GRADIENT_Q].value[d], 2 * d_lse * (double)s.in[INPUT_K][d]);
        assert_near(g[GRADIENT_K].value[d], 2 * d_lse * (double)s.in[INPUT_Q][d]);
    }
    assert_true(g[GRADIENT_V].rows[0].plain_error <= 0x1p-20);
    assert_true(g[GRADIENT_V].rows[0].rounding_error > 0);
    gradients_free(g);
    setup_free(&s);
}

/* ---- Tolerance ---- */

/* The plain computation's own roundings of an output are within bounds, twice them are not. */
static void a_gradient_passes_up_to_its_bound(void **state) {
    (void)state;
    static const char *const problems[] = {"f32 h2:1 q5 k7 d4:3 causal", "f16 h2:1 q5 k7 d4:3",
                                           "bf16 q5 k7 d4 softcap2"};
    for (clattn_type type = CLATTN_F32; type <= CLATTN_BF16; type++) {
        struct setup s;
        struct gradient g[GRADIENTS];
        struct compare_gradients result;
        float *given[GRADIENTS];
        setup_make(&s, problems[type - 1], 1, true);
        gradients_make(&s.desc, s.scale, &s.inputs, g);
        for (int name = 0; name < GRADIENTS; name++) {
            given[name] = calloc(g[name].count + 1, sizeof(float));
            assert_non_null(given[name]);
            for (size_t i = 0; i < g[name].count; i++)
                given[name][i] = (float)g[name].value[i];
        }
        const float *const same[GRADIENTS] = {given[0], given[1], given[2]};
        assert_true(compare_backward(g, same, &result));
        assert_true(result.ill_rows == 0 && result.rows == g[0].row_count + 2 * g[1].row_count);
        for (int name = 0; name < GRADIENTS; name++)
            for (size_t i = 0; i < g[name].count; i += 3) {
                const double bound = compare_bound_gradient(&g[name], i);
                const float before = given[name][i];
                assert_true(bound > 0 && bound < 0.1);
                given[name][i] = (float)(g[name].value[i] + 0.9 * bound);
                assert_true(compare_backward(g, same, &result));
                given[name][i] = (float)(g[name].value[i] - 1.1 * bound);
                assert_false(compare_backward(g, same, &result));
                assert_true(result.ratio[name] > 1 && result.ratio[(name + 1) % GRADIENTS] < 1);
                given[name][i] = NAN;
                assert_false(compare_backward(g, same, &result));
                given[name][i] = before;
            }
        for (int name = 0; name < GRADIENTS; name++)
            free(given[name]);
        gradients_free(g);
        setup_free(&s);
    }
}

/* Scores of 2^16 move weights by no more than they allow; what f32 cannot hold is ill-conditioned,
 * and its gradients are only finite. */
static void large_scores_are_right_up_to_the_limit(void **state) {
    (void)state;
    const float exponents[] = {16, 40};
    for (int i = 0; i < 2; i++) {
        struct setup s;
        struct gradient g[GRADIENTS];
        struct compare_gradients result;
        setup_make(&s, "f32 q1 k3 d1", ldexpf(1, (int)exponents[i]), false);
        s.in[INPUT_Q][0] = s.in[INPUT_D_O][0] = 1;
        const float k[] = {1, 1 - 0x1p-23f, 1 - 0x1p-22f};
        memcpy(s.in[INPUT_K], k, sizeof k);
        gradients_make(&s.desc, s.scale, &s.inputs, g);
        float values[GRADIENTS][3] = {{0}};
        for (int name = 0; name < GRADIENTS; name++)
            for (size_t j = 0; j < g[name].count; j++)
                values[name][j] = (float)g[name].value[j];
        const float *const given[GRADIENTS] = {values[0], values[1], values[2]};
        assert_true(compare_backward(g, given, &result));
        assert_true((result.ill_rows > 0) == (i == 1));
        values[GRADIENT_K][1] += (float)(2 * compare_bound_gradient(&g[GRADIENT_K], 1));
        assert_true(compare_backward(g, given, &result) == (i == 1));
        values[GRADIENT_K][1] = INFINITY;
        assert_false(compare_backward(g, given, &result));
        gradients_free(g);
        setup_free(&s);
    }
}

static void a_row_without_terms_is_zero(void **state) {
    (void)state;
    struct setup s;
    struct gradient g[GRADIENTS];
    struct compare_gradients result;
    setup_make(&s, "f16 q3 k1 d1 causal", 1, true);
    gradients_make(&s.desc, s.scale, &s.inputs, g);
    float d_q[3] = {0, 0, (float)g[GRADIENT_Q].value[2]};
    const float *const given[GRADIENTS] = {d_q, NULL, NULL};
    assert_true(compare_backward(g, given, &result));
    d_q[1] = 0x1p-24f;
    assert_false(compare_backward(g, given, &result));
    gradients_free(g);
    setup_free(&s);
}

int main(void) {
    enum { DIFFERENCES = sizeof differences / sizeof *differences };
    struct CMUnitTest tests[DIFFERENCES + 5];
    for (size_t i = 0; i < DIFFERENCES; i++) {
        tests[i] = (struct CMUnitTest){differences[i].problem, gradients_are_central_differences,
                                       NULL, NULL, NULL};
        tests[i].initial_state = (void *)(uintptr_t)&differences[i];
    }
    const struct CMUnitTest others[] = {
        cmocka_unit_test(what_sees_nothing_has_no_gradient),
        cmocka_unit_test(one_key_takes_all),
        cmocka_unit_test(a_gradient_passes_up_to_its_bound),
        cmocka_unit_test(large_scores_are_right_up_to_the_limit),
        cmocka_unit_test(a_row_without_terms_is_zero),
    };
    memcpy(tests + DIFFERENCES, others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
