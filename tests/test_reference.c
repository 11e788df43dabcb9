/*
 * The reference against what is known without it: closed forms, symmetries, bands
 * drawn by hand, and every pattern of the 16-bit types.  Then the tolerance: what
 * must not pass does not.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "compare.h"
#include "reference.h"

static double pseudo_random(size_t index) {
    return sin((double)(index * index % 977) + 0.37 * (double)index);
}

static void randomise(float *values, size_t count, size_t seed) {
    for (size_t i = 0; i < count; i++)
        values[i] = (float)pseudo_random(seed * 1009 + i);
}

static void assert_near(double value, double expected, double error) {
    if (!(fabs(value - expected) <= error))
        fail_msg("%.17g is not within %g of %.17g", value, error, expected);
}

static clattn_desc desc_of(cl_uint heads_q, cl_uint heads_kv, cl_uint seq_q, cl_uint seq_kv,
                           cl_uint head_dim, cl_uint head_dim_v) {
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.heads_q = heads_q;
    desc.heads_kv = heads_kv;
    desc.seq_q = seq_q;
    desc.seq_kv = seq_kv;
    desc.head_dim = head_dim;
    desc.head_dim_v = head_dim_v;
    return desc;
}

/* ---- Storage ---- */

struct format_facts {
    clattn_type type;
    int mantissa, bias;
    double largest, overflow; /* overflow: the tie between largest and infinity */
};
static const struct format_facts facts[] = {
    {CLATTN_F16, 10, 15, 65504, 65520},
    {CLATTN_BF16, 7, 127, 0x1.fep127, 0x1.ffp127},
};

static double decode(clattn_type type, unsigned bits) {
    cl_ushort element = (cl_ushort)bits;
    return reference_decode(type, &element);
}

static unsigned encode(clattn_type type, double value) {
    cl_ushort element;
    reference_encode(type, value, &element);
    return element;
}

static void every_pattern_decodes_by_the_definition(void **state) {
    (void)state;
    for (size_t f = 0; f < sizeof facts / sizeof *facts; f++)
        for (unsigned bits = 0; bits <= 0xffff; bits++) {
            int exponents = 1 << (15 - facts[f].mantissa);
            int biased = (int)(bits & 0x7fff) >> facts[f].mantissa;
            double fraction = (bits & ((1u << facts[f].mantissa) - 1)) / exp2(facts[f].mantissa);
            double value = decode(facts[f].type, bits);
            assert_int_equal(!!signbit(value), bits >> 15);
            if (biased == exponents - 1)
                assert_true(fraction > 0 ? isnan(value) : isinf(value));
            else if (biased == 0)
                assert_true(fabs(value) == fraction * exp2(1 - facts[f].bias));
            else
                assert_true(fabs(value) == (1 + fraction) * exp2(biased - facts[f].bias));
        }
}

static void a_bf16_is_the_upper_half_of_a_float(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        uint32_t whole = bits << 16;
        float value;
        memcpy(&value, &whole, sizeof value);
        double decoded = decode(CLATTN_BF16, bits);
        assert_true(isnan(value) ? isnan(decoded) : decoded == (double)value);
    }
}

static void every_number_encodes_to_itself(void **state) {
    (void)state;
    for (size_t f = 0; f < sizeof facts / sizeof *facts; f++)
        for (unsigned bits = 0; bits <= 0xffff; bits++) {
            double value = decode(facts[f].type, bits);
            if (isnan(value))
                assert_true(isnan(decode(facts[f].type, encode(facts[f].type, value))));
            else
                assert_int_equal(encode(facts[f].type, value), bits);
        }
}

static void between_two_numbers_the_nearest_wins_and_ties_go_to_even(void **state) {
    (void)state;
    for (size_t f = 0; f < sizeof facts / sizeof *facts; f++) {
        clattn_type type = facts[f].type;
        unsigned last = encode(type, facts[f].largest);
        for (unsigned bits = 0; bits < last; bits++) {
            double low = decode(type, bits), high = decode(type, bits + 1);
            double middle = (low + high) / 2;
            assert_int_equal(encode(type, middle), bits & 1 ? bits + 1 : bits);
            assert_int_equal(encode(type, nextafter(middle, low)), bits);
            assert_int_equal(encode(type, -nextafter(middle, high)), 0x8000 | (bits + 1));
            assert_true(reference_ulp(type, low) == high - low);
        }
        assert_int_equal(encode(type, nextafter(facts[f].overflow, 0)), last);
        assert_int_equal(encode(type, facts[f].overflow), last + 1);
        assert_int_equal(encode(type, 1e300), last + 1);
        assert_int_equal(encode(type, -INFINITY), 0x8000 | (last + 1));
        assert_int_equal(encode(type, 1e-300), 0);
        assert_int_equal(encode(type, -1e-300), 0x8000);
    }
    assert_true(reference_round(CLATTN_F32, 1 + 0x1p-24) == 1);
    assert_true(reference_ulp(CLATTN_F32, 1.5) == 0x1p-23);
}

/* ---- Attention ---- */

static void equal_keys_give_the_mean_of_v(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 2, 5, 3, 2);
    float q[6], k[15], v[10];
    randomise(q, 6, 1);
    randomise(v, 10, 2);
    for (size_t i = 0; i < 15; i++)
        k[i] = (float)(0.5 + (double)(i % 3));
    struct reference r;
    reference_forward(&desc, 0.7f, q, k, v, &r);
    for (size_t row = 0; row < 2; row++) {
        double score = 0;
        for (size_t d = 0; d < 3; d++)
            score += (double)0.7f * (double)q[row * 3 + d] * (double)k[d];
        for (size_t d = 0; d < 2; d++) {
            double mean = 0;
            for (size_t key = 0; key < 5; key++)
                mean += (double)v[key * 2 + d] / 5;
            assert_near(r.o[row * 2 + d], mean, 1e-15);
        }
        assert_near(r.lse[row], score + log(5), 1e-14);
    }
    reference_free(&r);
}

static void one_key_gives_its_v_and_score(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 1, 4, 3);
    const float q[] = {1, 2, 3, 4}, k[] = {5, 6, 7, 8}, v[] = {-1, 0.5f, 9};
    struct reference r;
    reference_forward(&desc, CLATTN_SCALE_DEFAULT, q, k, v, &r);
    for (size_t d = 0; d < 3; d++)
        assert_true(r.o[d] == (double)v[d]);
    assert_true(r.lse[0] == 35); /* 70 / sqrt(4) */
    assert_true(r.max_score == 35 && r.max_value == 9 && r.plain_error == 0);
    assert_true(r.max_terms == 35);
    reference_free(&r);
}

static void two_keys_are_a_logistic_function(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 2, 1, 1);
    const float q[] = {1}, v[] = {1, 0};
    for (int difference = -40; difference <= 40; difference += 5) {
        const float k[] = {(float)difference, 0};
        struct reference r;
        reference_forward(&desc, 1, q, k, v, &r);
        assert_near(r.o[0], 1 / (1 + exp(-difference)), 1e-15);
        reference_free(&r);
        desc.softcap = 2;
        reference_forward(&desc, -1, q, k, v, &r);
        assert_near(r.o[0], 1 / (1 + exp(2 * tanh(difference / 2.0))), 1e-15);
        assert_true(r.max_score <= 2);
        reference_free(&r);
        desc.softcap = 0;
    }
}

static void the_order_of_keys_and_a_common_shift_change_nothing(void **state) {
    (void)state;
    enum { Q = 3, K = 7, D = 4, DV = 5 };
    clattn_desc desc = desc_of(1, 1, Q, K, D, DV);
    float q[Q * D], k[K * D], v[K * DV], k2[K * D], v2[K * DV];
    randomise(q, Q * D, 3);
    randomise(k, K * D, 4);
    randomise(v, K * DV, 5);
    for (size_t key = 0; key < K; key++) {
        size_t from = key * 3 % K;
        for (size_t d = 0; d < D; d++)
            k2[key * D + d] = k[from * D + d] + 0.25f * (float)d;
        memcpy(v2 + key * DV, v + from * DV, DV * sizeof *v);
    }
    struct reference r, r2;
    reference_forward(&desc, 2, q, k, v, &r);
    reference_forward(&desc, 2, q, k2, v2, &r2);
    for (size_t i = 0; i < Q * DV; i++)
        assert_near(r2.o[i], r.o[i], 1e-6); /* the shifted keys are rounded to float */
    for (size_t row = 0; row < Q; row++) {
        double shift = 0;
        for (size_t d = 0; d < D; d++)
            shift += 2 * (double)q[row * D + d] * 0.25 * (double)d;
        assert_near(r2.lse[row], r.lse[row] + shift, 1e-6);
    }
    reference_free(&r);
    reference_free(&r2);
}

static void grouped_heads_are_repeated_heads(void **state) {
    (void)state;
    enum { B = 2, H = 6, HKV = 2, S = 4, D = 3 };
    clattn_desc grouped = desc_of(H, HKV, S, S, D, D), repeated = desc_of(H, H, S, S, D, D);
    grouped.batch = repeated.batch = B;
    float q[B * H * S * D], k[B * HKV * S * D], v[B * HKV * S * D];
    float k2[B * H * S * D], v2[B * H * S * D];
    randomise(q, sizeof q / sizeof *q, 6);
    randomise(k, sizeof k / sizeof *k, 7);
    randomise(v, sizeof v / sizeof *v, 8);
    for (size_t head = 0; head < B * H; head++) {
        memcpy(k2 + head * S * D, k + head / (H / HKV) * S * D, S * D * sizeof *k);
        memcpy(v2 + head * S * D, v + head / (H / HKV) * S * D, S * D * sizeof *v);
    }
    struct reference r, r2;
    reference_forward(&grouped, 1, q, k, v, &r);
    reference_forward(&repeated, 1, q, k2, v2, &r2);
    for (size_t i = 0; i < sizeof q / sizeof *q; i++)
        assert_true(r.o[i] == r2.o[i]);
    reference_free(&r);
    reference_free(&r2);
}

/* One line a query, one letter a key: x is seen. */
static const struct drawing {
    cl_uint seq_q, seq_kv;
    cl_int left, right;
    clattn_align align;
    const char *picture;
} drawings[] = {
    {3, 3, -1, 0, CLATTN_ALIGN_END, "x.. xx. xxx"},
    {2, 4, -1, 0, CLATTN_ALIGN_END, "xxx. xxxx"},
    {2, 4, -1, 0, CLATTN_ALIGN_START, "x... xx.."},
    {4, 2, -1, 0, CLATTN_ALIGN_END, ".. .. x. xx"},
    {4, 2, -1, 0, CLATTN_ALIGN_START, "x. xx xx xx"},
    {4, 4, 1, 0, CLATTN_ALIGN_END, "x... xx.. .xx. ..xx"},
    {4, 4, 0, 1, CLATTN_ALIGN_END, "xx.. .xx. ..xx ...x"},
    {3, 5, 1, 1, CLATTN_ALIGN_END, ".xxx. ..xxx ...xx"},
    {3, 5, 1, 1, CLATTN_ALIGN_START, "xx... xxx.. .xxx."},
    {5, 2, 1, -1, CLATTN_ALIGN_START, "xx xx .x .. .."},
    {5, 2, 0, 0, CLATTN_ALIGN_END, ".. .. .. x. .x"},
    {2, 3, -1, -1, CLATTN_ALIGN_END, "xxx xxx"},
};

static void the_band_is_as_drawn(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof drawings / sizeof *drawings; i++) {
        const struct drawing *drawing = &drawings[i];
        clattn_desc desc = desc_of(1, 1, drawing->seq_q, drawing->seq_kv, 1, 1);
        desc.band_left = drawing->left;
        desc.band_right = drawing->right;
        desc.align = drawing->align;
        const float q[5] = {0}, k[5] = {0}, v[5] = {1, 10, 100, 1000, 10000};
        struct reference r;
        reference_forward(&desc, 1, q, k, v, &r);
        for (cl_uint query = 0; query < desc.seq_q; query++) {
            const char *line = drawing->picture + query * (desc.seq_kv + 1);
            double sum = 0, count = 0;
            for (cl_uint key = 0; key < desc.seq_kv; key++) {
                assert_int_equal(reference_sees(&desc, query, key), line[key] == 'x');
                sum += line[key] == 'x' ? (double)v[key] : 0;
                count += line[key] == 'x';
            }
            assert_near(r.o[query], count > 0 ? sum / count : 0, 1e-11);
            assert_near(exp(r.lse[query]), count, 1e-14); /* exp(-inf) is 0 */
        }
        reference_free(&r);
    }
}

static void the_plain_computation_rounds_by_its_type(void **state) {
    (void)state;
    /* Three equal weights: 1/3 in the type, times 1. */
    clattn_desc desc = desc_of(1, 1, 1, 3, 1, 1);
    const float q[] = {0}, k[] = {1, 2, 3}, v[] = {0, 1, 0};
    const double third[] = {[CLATTN_F32] = 0, [CLATTN_F16] = 1365, [CLATTN_BF16] = 171};
    const double scale[] = {[CLATTN_F32] = 0, [CLATTN_F16] = 4096, [CLATTN_BF16] = 512};
    for (clattn_type type = CLATTN_F32; type <= CLATTN_BF16; type++) {
        desc.type = type;
        struct reference r;
        reference_forward(&desc, 1, q, k, v, &r);
        assert_near(r.o[0], 1.0 / 3, 1e-16);
        double expected = type == CLATTN_F32 ? 0 : fabs(third[type] / scale[type] - 1.0 / 3);
        assert_near(r.plain_error, expected, 1e-16);
        reference_free(&r);
    }
}

/* ---- Tolerance ---- */

static bool passes(const clattn_desc *desc, const struct reference *r, double o, double lse) {
    const float result[] = {(float)o, (float)r->o[1]}, result_lse[] = {(float)lse};
    struct compare_result ratio;
    bool ok = compare_forward(desc, r, result, result_lse, &ratio);
    assert_int_equal(ok, ratio.o <= 1 && ratio.lse <= 1);
    return ok;
}

static void a_result_passes_up_to_its_bound(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 1, 1, 2);
    double o[] = {0.5, 2}, lse[] = {8};
    struct reference r = {o, lse, 8, 24, 2, 0x1p-8};
    double bound_o = 4 * 0x1p-24 * 16 * 2, bound_lse = 4 * 0x1p-24 * 32 + 0x1p-21;
    assert_true(passes(&desc, &r, 0.5, 8));
    assert_true(passes(&desc, &r, 0.5 + bound_o, 8 - bound_lse));
    assert_false(passes(&desc, &r, 0.5 - 1.1 * bound_o, 8));
    assert_false(passes(&desc, &r, 0.5, 8 + 1.3 * bound_lse));
    assert_false(passes(&desc, &r, NAN, 8));
    assert_false(passes(&desc, &r, INFINITY, 8));
    assert_false(passes(&desc, &r, 0.5, NAN));
    assert_false(passes(&desc, &r, 0.5, -INFINITY));

    desc.type = CLATTN_F16;
    double bound = 1.25 * 0x1p-8 + 0x1p-12;
    assert_true(passes(&desc, &r, 0.5 + bound, 8));
    assert_false(passes(&desc, &r, 0.5 + 1.01 * bound, 8));
    desc.type = CLATTN_BF16;
    bound = 1.25 * 0x1p-8 + 0x1p-9;
    assert_true(passes(&desc, &r, 0.5 - bound, 8));
    assert_false(passes(&desc, &r, 0.5 - 1.01 * bound, 8));
    assert_false(passes(&desc, &r, NAN, 8));
}

static void a_query_that_sees_nothing_has_no_tolerance(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 1, 1, 2);
    double o[] = {0, 0}, lse[] = {-INFINITY};
    struct reference r = {o, lse, 100, 100, 100, 1};
    for (clattn_type type = CLATTN_F32; type <= CLATTN_BF16; type++) {
        desc.type = type;
        assert_true(passes(&desc, &r, 0, -INFINITY));
        assert_false(passes(&desc, &r, 0x1p-120, -INFINITY));
        assert_false(passes(&desc, &r, NAN, -INFINITY));
        assert_false(passes(&desc, &r, 0, INFINITY));
        assert_false(passes(&desc, &r, 0, -1e30));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_decodes_by_the_definition),
        cmocka_unit_test(a_bf16_is_the_upper_half_of_a_float),
        cmocka_unit_test(every_number_encodes_to_itself),
        cmocka_unit_test(between_two_numbers_the_nearest_wins_and_ties_go_to_even),
        cmocka_unit_test(equal_keys_give_the_mean_of_v),
        cmocka_unit_test(one_key_gives_its_v_and_score),
        cmocka_unit_test(two_keys_are_a_logistic_function),
        cmocka_unit_test(the_order_of_keys_and_a_common_shift_change_nothing),
        cmocka_unit_test(grouped_heads_are_repeated_heads),
        cmocka_unit_test(the_band_is_as_drawn),
        cmocka_unit_test(the_plain_computation_rounds_by_its_type),
        cmocka_unit_test(a_result_passes_up_to_its_bound),
        cmocka_unit_test(a_query_that_sees_nothing_has_no_tolerance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
