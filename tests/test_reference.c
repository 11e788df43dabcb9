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
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compare.h"
#include "reference.h"

static const double unit = 0x1p-24;

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
    assert_int_equal(r.rows[0].keys, 1);
    assert_true(r.rows[0].max_value == 9 && r.rows[0].plain_error == 0);
    assert_near(r.rows[0].move_of_lse, 4 * unit * (35 + 8) + unit * 35, 1e-18);
    assert_true(r.moves_of_o[0] == 0); /* whatever the score's error, the key has all the weight */
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

/* Two keys whose weights are 1 and exp(-1), V 1 and 0, and 1 and 1: o is 1 / (1 + exp(-1)), of
 * which only the output is rounded, and 1, of which the weights are. */
static void the_plain_computation_rounds_weights_and_o(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 2, 1, 2);
    const float q[] = {1}, k[] = {1, 0}, v[] = {1, 1, 0, 1};
    for (clattn_type type = CLATTN_F32; type <= CLATTN_BF16; type++) {
        desc.type = type;
        struct reference r;
        reference_forward(&desc, 1, q, k, v, &r);
        const double sum = 1 + exp(-1), rounded = (1 + reference_round(type, exp(-1))) / sum;
        const double errors[] = {fabs(reference_round(type, 1 / sum) - 1 / sum),
                                 fabs(reference_round(type, rounded) - 1)};
        assert_near(r.rows[0].plain_error, type == CLATTN_F32 ? 0 : fmax(errors[0], errors[1]),
                    1e-7); /* the sum is rounded to f32 */
        /* The first key's weight is exact, the other's as inexact as a number can be. */
        const double worst = exp(-1) / sum * reference_ulp(type, 1) / 2;
        assert_near(r.rows[0].weight_error, type == CLATTN_F32 ? 0 : worst, 1e-9);
        reference_free(&r);
    }
}

/* Keys of one score are rounded alike, others each in its own way. */
static void weights_of_one_score_are_rounded_alike(void **state) {
    (void)state;
    enum { KEYS = 65 };
    clattn_desc desc = desc_of(1, 1, 1, KEYS, 1, 1);
    float q[] = {1}, k[KEYS], v[KEYS];
    for (desc.type = CLATTN_F16; desc.type <= CLATTN_BF16; desc.type++)
        for (int alike = 0; alike < 2; alike++) {
            double sum = 0, weights = 0, squares = 0;
            for (int i = 0; i < KEYS; i++) {
                k[i] = i == KEYS / 2 ? 1 : alike ? -0.3f : -0.02f * (float)i;
                v[i] = i % 2 ? 1 : -1;
                const double weight = exp((double)k[i] - 1);
                sum += weight;
                weights += i == KEYS / 2 ? 0 : weight;
                squares += i == KEYS / 2 ? 0 : weight * weight;
            }
            struct reference r;
            reference_forward(&desc, 1, q, k, v, &r);
            const double part = reference_ulp(desc.type, 1) / 2 / sum;
            const double expected = part * (alike ? weights : sqrt(squares));
            assert_near(r.rows[0].weight_error, expected, 1e-6 * expected);
            reference_free(&r);
        }
}

static void the_plain_computation_does_not_overflow(void **state) {
    (void)state;
    enum { KEYS = 70000 };
    float *ones = malloc(KEYS * sizeof *ones), *largest = malloc(KEYS * sizeof *largest);
    float *zeros = calloc(KEYS, sizeof *zeros);
    assert_true(ones && largest && zeros);
    clattn_desc desc = desc_of(1, 1, 1, KEYS, 1, 1);
    for (clattn_type type = CLATTN_F16; type <= CLATTN_BF16; type++) {
        desc.type = type;
        for (size_t i = 0; i < KEYS; i++) {
            ones[i] = 1;
            largest[i] = type == CLATTN_F16 ? 65504 : 0x1.fep127f;
        }
        const float *const values[] = {ones, largest};
        for (size_t i = 0; i < 2; i++) {
            struct reference r;
            reference_forward(&desc, 1, zeros, zeros, values[i], &r);
            assert_near(r.o[0], (double)values[i][0], 1e-9 * (double)values[i][0]);
            assert_near(r.rows[0].plain_error, 0, 1e-9 * (double)values[i][0]);
            reference_free(&r);
        }
        /* Weights that round up take o beyond the type: exp(-1.386) is a little above 1/4. */
        const float q[] = {1}, k[] = {1.3860f, 0, 0, 0, 0, 0, 0, 0};
        desc.seq_kv = 8;
        struct reference r;
        reference_forward(&desc, 1, q, k, largest, &r);
        assert_true(r.rows[0].plain_error <= 0x1p-8 * (double)largest[0]);
        reference_free(&r);
        desc.seq_kv = KEYS;
    }
    free(ones);
    free(largest);
    free(zeros);
}

/* ---- Tolerance ---- */

static bool passes(const clattn_desc *desc, const struct reference *r, double o, double lse) {
    const float result[] = {(float)o, (float)r->o[1]}, result_lse[] = {(float)lse};
    struct compare_result ratio;
    bool ok = compare_forward(desc, r, result, result_lse, &ratio);
    assert_int_equal(ok, ratio.o <= 1 && ratio.lse <= 1);
    assert_int_equal(ratio.rows, 1);
    return ok;
}

/* 64 keys; the first element can be moved by 2^-18, the second not at all. */
struct by_hand {
    double o[2], lse[1], moves[2];
    float low[2], high[2];
    struct reference_row row;
};
static const struct by_hand by_hand = {{0.5, 2}, {8},      {0x1p-18, 0},
                                       {-1, 2},  {1.5, 2}, {64, 2, 0x1p-17, 0x1p-8, 0}};

static struct reference reference_of(struct by_hand *h) {
    return (struct reference){h->o, h->lse, h->moves, h->low, h->high, &h->row};
}

static void a_result_passes_up_to_its_bound(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 64, 1, 2);
    struct by_hand h = by_hand;
    struct reference r = reference_of(&h);
    const double sum = 4 * unit * 9;
    double bound_o = 0x1p-18 + sum * 2 + 0x1p-25, bound_lse = 0x1p-17 + sum + 0x1p-21;
    assert_true(passes(&desc, &r, 0.5, 8));
    assert_true(passes(&desc, &r, 0.5 + 0.99 * bound_o, 8 - 0.97 * bound_lse));
    assert_false(passes(&desc, &r, 0.5 - 1.02 * bound_o, 8));
    assert_false(passes(&desc, &r, 0.5, 8 + 1.1 * bound_lse));
    assert_false(passes(&desc, &r, NAN, 8));
    assert_false(passes(&desc, &r, INFINITY, 8));
    assert_false(passes(&desc, &r, 0.5, NAN));
    assert_false(passes(&desc, &r, 0.5, -INFINITY));

    for (desc.type = CLATTN_F16; desc.type <= CLATTN_BF16; desc.type++) {
        double bound = 0x1p-18 + 1.25 * 0x1p-8 + (desc.type == CLATTN_F16 ? 0x1p-12 : 0x1p-9);
        h.row.weight_error = 0;
        assert_true(passes(&desc, &r, 0.5 + 0.999 * bound, 8));
        assert_false(passes(&desc, &r, 0.5 - 1.01 * bound, 8));
        h.row.weight_error = (1.25 * 0x1p-8 + 0x1p-10) / 2;
        bound += 0x1p-10;
        assert_true(passes(&desc, &r, 0.5 + 0.999 * bound, 8));
        assert_false(passes(&desc, &r, 0.5 - 1.01 * bound, 8));
        assert_false(passes(&desc, &r, NAN, 8));
    }
}

static void an_ill_conditioned_row_is_counted_and_stays_in_range(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 64, 1, 2);
    struct by_hand h = by_hand;
    struct reference r = reference_of(&h);
    for (clattn_type type = CLATTN_F32; type <= CLATTN_BF16; type++)
        for (unsigned i = 0; i < 2; i++) {
            desc.type = type;
            h.moves[0] = i ? INFINITY : 1.9999999;
            const double ulp = type == CLATTN_F32 ? 0 : reference_ulp(type, 1.5);
            const double slack = ulp + 4 * unit * 9 * 2;
            const float o[] = {-0.25f, 2}, lse[] = {8};
            struct compare_result ratio;
            assert_true(compare_forward(&desc, &r, o, lse, &ratio));
            assert_int_equal(ratio.ill_rows, 1);
            assert_true(passes(&desc, &r, 1.5 + 0.99 * slack, 8));
            assert_true(passes(&desc, &r, -1 - 0.99 * 4 * unit * 9 * 2, 8));
            assert_false(passes(&desc, &r, 1.5 + 1.1 * slack, 8));
            assert_false(passes(&desc, &r, -1 - 1.1 * slack, 8));
            assert_false(passes(&desc, &r, NAN, 8));
            assert_false(passes(&desc, &r, INFINITY, 8));
            assert_false(passes(&desc, &r, 0, NAN));
            assert_false(passes(&desc, &r, 0, 8.1));
        }
}

static void a_bound_that_is_not_finite_passes_nothing(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 64, 1, 2);
    struct by_hand h = by_hand;
    struct reference r = reference_of(&h);
    h.row.move_of_lse = INFINITY;
    assert_false(passes(&desc, &r, 0.5, 8));
    h = by_hand;
    h.row.max_value = h.moves[0] = INFINITY;
    assert_false(passes(&desc, &r, 0.5, 8));
}

static void a_query_that_sees_nothing_has_no_tolerance(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 1, 1, 2);
    struct by_hand h = {.lse = {-INFINITY}};
    struct reference r = reference_of(&h);
    for (clattn_type type = CLATTN_F32; type <= CLATTN_BF16; type++) {
        desc.type = type;
        assert_true(passes(&desc, &r, 0, -INFINITY));
        assert_false(passes(&desc, &r, 0x1p-120, -INFINITY));
        assert_false(passes(&desc, &r, NAN, -INFINITY));
        assert_false(passes(&desc, &r, 0, INFINITY));
        assert_false(passes(&desc, &r, 0, -1e30));
    }
}

/* The errors of the scores move o by what they do when they are largest and opposed, and hardly
 * less is allowed.  Scores a and -a, v 1 and -1: o = tanh(a). */
static void the_moves_are_those_of_the_scores(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 2, 1, 1);
    for (int i = -8; i <= 14; i++) {
        const float a = ldexpf(1, i), q[] = {1}, k[] = {a, -a}, v[] = {1, -1};
        const double error = 4 * unit * ((double)a + 8) + unit * (double)a / 4;
        struct reference r;
        reference_forward(&desc, 1, q, k, v, &r);
        const double moved = tanh((double)a) - tanh((double)a - error);
        assert_true(r.moves_of_o[0] >= moved);
        assert_true(r.moves_of_o[0] <= 2.01 * moved + 1e-12);
        assert_near(r.rows[0].move_of_lse, error, 1e-6 * error);
        reference_free(&r);
    }
}

/* A sum of terms of one sign drifts with their number; where they cancel it does not grow. */
static void the_error_of_a_score_knows_how_far_its_sum_grows(void **state) {
    (void)state;
    enum { LONGEST = 512 };
    float ones[LONGEST], signs[LONGEST], v[] = {1};
    for (int d = 0; d < LONGEST; d++) {
        ones[d] = 1;
        signs[d] = d % 2 ? 1 : -1;
    }
    for (cl_uint dim = 64; dim <= LONGEST; dim *= 2) {
        clattn_desc desc = desc_of(1, 1, 1, 1, dim, 1);
        const double terms = dim / 8.0, error = 4 * unit * (terms + 8);
        struct reference r;
        reference_forward(&desc, 0.125f, ones, signs, v, &r);
        assert_near(r.rows[0].move_of_lse, error, 1e-6 * error);
        reference_free(&r);
        for (int sign = -1; sign <= 1; sign += 2) {
            const double drift = unit * dim / 4 * terms;
            reference_forward(&desc, 0.125f * (float)sign, ones, ones, v, &r);
            assert_near(r.rows[0].move_of_lse, error + drift, 1e-6 * error);
            reference_free(&r);
        }
    }
}

/* A key that has no weight spoils no bound, however inexact its score is; nor do equal v. */
static void the_moves_know_weights_and_values(void **state) {
    (void)state;
    clattn_desc desc = desc_of(1, 1, 1, 3, 1, 2);
    const float q[] = {1}, k[] = {1, 0.5f, -1e30f}, v[] = {1, 7, 2, 7, 3, 7};
    struct reference r;
    reference_forward(&desc, 1, q, k, v, &r);
    assert_true(r.moves_of_o[0] > 0 && r.moves_of_o[0] < 16 * 9 * unit);
    assert_true(r.moves_of_o[1] == 0);
    assert_true(r.rows[0].move_of_lse < 4 * 9.1 * unit);
    reference_free(&r);
    /* Nor what overflows, when it is multiplied by 0: 3 keys share the v of o. */
    const float large[] = {1e30f, 1e30f, -1e30f};
    reference_forward(&desc, 1, q, large, v, &r);
    assert_true(isinf(r.moves_of_o[0]));
    assert_true(r.moves_of_o[1] == 0);
    reference_free(&r);
    /* Softcap bounds what an inexact score can do. */
    desc.softcap = 4;
    reference_forward(&desc, 1, q, large, v, &r);
    assert_true(r.moves_of_o[0] < 16 * 12 * unit);
    assert_near(r.rows[0].move_of_lse, 4 * 12 * unit, 1e-9);
    reference_free(&r);
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
        cmocka_unit_test(the_plain_computation_rounds_weights_and_o),
        cmocka_unit_test(weights_of_one_score_are_rounded_alike),
        cmocka_unit_test(the_plain_computation_does_not_overflow),
        cmocka_unit_test(the_moves_are_those_of_the_scores),
        cmocka_unit_test(the_error_of_a_score_knows_how_far_its_sum_grows),
        cmocka_unit_test(the_moves_know_weights_and_values),
        cmocka_unit_test(a_result_passes_up_to_its_bound),
        cmocka_unit_test(an_ill_conditioned_row_is_counted_and_stays_in_range),
        cmocka_unit_test(a_bound_that_is_not_finite_passes_nothing),
        cmocka_unit_test(a_query_that_sees_nothing_has_no_tolerance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
