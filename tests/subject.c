#include "subject.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

double subject_random(uint64_t *seed) {
    *seed += 0x9e3779b97f4a7c15u;
    uint64_t x = (*seed ^ *seed >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (double)((x ^ x >> 31) >> 11) * 0x1p-53;
}

static double between(uint64_t *seed, double low, double high) {
    return low * pow(high / low, subject_random(seed));
}

cl_uint subject_random_size(uint64_t *seed, cl_uint low, cl_uint high) {
    const double x = between(seed, low, high + 1.0);
    return x < high ? (cl_uint)x : high;
}

/* ---- Memory ---- */

size_t subject_count(const struct subject *s, int input) {
    const clattn_desc *d = &s->desc;
    const size_t rows[] = {(size_t)d->heads_q * d->seq_q, (size_t)d->heads_kv * d->seq_kv,
                           (size_t)d->heads_kv * d->seq_kv};
    const size_t dims[] = {d->head_dim, d->head_dim, d->head_dim_v};
    return d->batch * rows[input] * dims[input];
}

void subject_make(struct subject *s, const clattn_desc *desc, float scale) {
    *s = (struct subject){.desc = *desc, .scale = scale, .how = {.block = 32, .base2 = true}};
    s->rows = (size_t)desc->batch * desc->heads_q * desc->seq_q;
    s->o = calloc(s->rows * desc->head_dim_v + 1, sizeof *s->o);
    s->lse = calloc(s->rows + 1, sizeof *s->lse);
    assert_true(s->o && s->lse);
    if (desc->features & CLATTN_FEATURE_ALIBI) {
        s->alibi = calloc((size_t)desc->batch * desc->heads_q, sizeof *s->alibi);
        assert_non_null(s->alibi);
    }
    for (int i = 0; i < SUBJECT_INPUTS; i++) {
        s->in[i] = calloc(subject_count(s, i) + 1, sizeof(float));
        assert_non_null(s->in[i]);
    }
}

void *subject_encode(clattn_type type, const float *values, size_t count) {
    const size_t size = reference_type_size(type);
    unsigned char *stored = calloc(count + 1, size);
    assert_non_null(stored);
    for (size_t i = 0; i < count; i++)
        reference_encode(type, (double)values[i], stored + i * size);
    return stored;
}

void subject_compute(struct subject *s) {
    const struct reference_types t = reference_types(&s->desc);
    const clattn_type types[SUBJECT_INPUTS] = {t.q, t.k, t.v};
    for (int input = 0; input < SUBJECT_INPUTS; input++) {
        const size_t count = subject_count(s, input), size = reference_type_size(types[input]);
        s->stored[input] = subject_encode(types[input], s->in[input], count);
        for (size_t i = 0; i < count; i++)
            s->in[input][i] =
                (float)reference_decode(types[input], (unsigned char *)s->stored[input] + i * size);
    }
    const float *q = s->in[SUBJECT_Q], *k = s->in[SUBJECT_K], *v = s->in[SUBJECT_V];
    const struct reference_extras extras = {.alibi = s->alibi};
    reference_forward_with(&s->desc, s->scale, q, k, v, &extras, &s->expected);
    honest_forward(&s->how, &s->desc, s->scale, q, k, v, &extras, s->o, s->lse);
}

void subject_free(struct subject *s) {
    for (int i = 0; i < SUBJECT_INPUTS; i++) {
        free(s->in[i]);
        free(s->stored[i]);
    }
    free(s->alibi);
    free(s->o);
    free(s->lse);
    reference_free(&s->expected);
    *s = (struct subject){0};
}

/* ---- What is drawn ---- */

enum shape { SIGNED, POSITIVE, CONSTANT, PLUS_MINUS, ALTERNATING, EQUAL_ROWS, BETWEEN, LARGEST };

/* Of an input: how large its numbers are, drawn anew for each problem. */
struct numbers {
    enum shape shape;
    double low, high;
};

static const struct kind {
    const char *name;
    struct numbers in[SUBJECT_INPUTS];
} kinds[] = {
    {"ordinary", {{SIGNED, 2, 2}, {SIGNED, 2, 2}, {SIGNED, 1, 1}}},
    {"any scale", {{SIGNED, 1e-3, 30}, {SIGNED, 1e-3, 30}, {SIGNED, 1e-3, 1e3}}},
    {"positive", {{POSITIVE, 0.1, 4}, {POSITIVE, 0.1, 4}, {POSITIVE, 1, 1}}},
    {"constants", {{CONSTANT, 0.05, 4}, {CONSTANT, 0.05, 4}, {CONSTANT, 0.01, 100}}},
    {"constant q and k", {{CONSTANT, 0.05, 4}, {CONSTANT, 0.05, 4}, {SIGNED, 1, 1}}},
    {"equal keys", {{SIGNED, 1, 4}, {EQUAL_ROWS, 1, 4}, {SIGNED, 1, 1}}},
    {"equal keys between two", {{SIGNED, 0.05, 2}, {BETWEEN, 1, 2}, {SIGNED, 1, 1}}},
    {"equal keys between two, and v", {{SIGNED, 0.05, 2}, {BETWEEN, 1, 2}, {BETWEEN, 1, 1}}},
    {"close scores", {{SIGNED, 1e-4, 0.5}, {SIGNED, 1, 1}, {POSITIVE, 1, 1}}},
    {"equal weights, constant v", {{CONSTANT, 0, 0}, {SIGNED, 1, 4}, {CONSTANT, 0.01, 100}}},
    {"cancelling terms", {{CONSTANT, 1, 100}, {ALTERNATING, 1, 100}, {SIGNED, 1, 1}}},
    {"large scores", {{SIGNED, 30, 10000}, {SIGNED, 30, 10000}, {SIGNED, 1, 1}}},
    {"entries of 20000", {{PLUS_MINUS, 20000, 20000}, {PLUS_MINUS, 20000, 20000}, {SIGNED, 1, 1}}},
    {"largest v", {{SIGNED, 2, 2}, {SIGNED, 2, 2}, {LARGEST, 1, 1}}},
    {"v up to the largest", {{SIGNED, 2, 2}, {SIGNED, 2, 2}, {LARGEST, 0.5, 1}}},
    {"small v", {{SIGNED, 2, 2}, {SIGNED, 2, 2}, {SIGNED, 1e-6, 1e-3}}},
};

static double largest_of(const clattn_desc *desc) {
    static const double largest[] = {
        [CLATTN_F32] = 0x1.fffffep127, [CLATTN_F16] = 65504, [CLATTN_BF16] = 0x1.fep127};
    const struct reference_types t = reference_types(desc);
    const double of_v = largest[t.v] / (t.v == CLATTN_F16 ? 1 : 1.01 * desc->seq_kv);
    return t.o == t.v ? of_v : fmin(of_v, 0.99 * largest[t.o]); /* o may be as large as v */
}

static void fill(struct subject *s, int input, const struct numbers *n, uint64_t *seed) {
    const size_t dim = input == SUBJECT_V ? s->desc.head_dim_v : s->desc.head_dim;
    const double most = n->high > 0 ? between(seed, n->low, n->high) : 0;
    float *to = s->in[input];
    const size_t all = dim * (input == SUBJECT_Q ? s->desc.seq_q : s->desc.seq_kv);
    for (size_t i = 0; i < subject_count(s, input); i++) {
        const size_t at = i % all; /* of a head */
        const double x = subject_random(seed), sign = x < 0.5 ? -1 : 1;
        const double values[] = {
            [SIGNED] = most * (2 * x - 1),
            [POSITIVE] = most * x,
            [CONSTANT] = most,
            [PLUS_MINUS] = most * sign,
            [ALTERNATING] = (i % dim % 2 ? -1 : 1) * most + 0.01 * x,
            [EQUAL_ROWS] = i < dim ? most * (2 * x - 1) : (double)to[i % dim],
            [BETWEEN] = at < 2 * dim || at + dim >= all ? most * (2 * x - 1) : (double)to[i - dim],
            [LARGEST] = largest_of(&s->desc) * (most < 1 ? 2 * x - 1 : 1),
        };
        to[i] = (float)values[n->shape];
    }
}

static clattn_desc draw_desc(uint64_t *seed) {
    clattn_desc d = CLATTN_DESC_INIT;
    const bool is_long = subject_random(seed) < 0.005;
    d.type = CLATTN_F32 + (clattn_type)(3 * subject_random(seed));
    if (subject_random(seed) < 0.2) {
        d.type_k = (clattn_type)(4 * subject_random(seed));
        d.type_v = (clattn_type)(4 * subject_random(seed));
        d.type_o = (clattn_type)(4 * subject_random(seed));
    }
    d.batch = is_long ? 1 : subject_random_size(seed, 1, 2);
    d.heads_kv = is_long ? 1 : subject_random_size(seed, 1, 2);
    d.heads_q = d.heads_kv * (is_long ? 1 : subject_random_size(seed, 1, 3));
    d.seq_q = subject_random_size(seed, 1, is_long ? 2 : 8);
    d.seq_kv = is_long ? subject_random_size(seed, 2000, 70000) : subject_random_size(seed, 1, 300);
    d.head_dim = subject_random_size(seed, 1, is_long ? 8 : 512);
    d.head_dim_v = subject_random_size(seed, 1, is_long ? 8 : 512);
    const double mask = subject_random(seed);
    d.band_right = mask < 0.6   ? CLATTN_UNBOUNDED
                   : mask < 0.8 ? 0
                                : (cl_int)(20 * subject_random(seed));
    d.band_left = mask < 0.8 ? CLATTN_UNBOUNDED : (cl_int)(100 * subject_random(seed));
    d.align = subject_random(seed) < 0.8 ? CLATTN_ALIGN_END : CLATTN_ALIGN_START;
    d.softcap = subject_random(seed) < 0.8 ? 0 : (float)between(seed, 0.5, 50);
    return d;
}

void subject_fill_alibi(struct subject *s, double most, uint64_t *seed) {
    const size_t heads = s->alibi ? (size_t)s->desc.batch * s->desc.heads_q : 0;
    for (size_t i = 0; i < heads; i++)
        s->alibi[i] = (float)(most * (2 * subject_random(seed) - 1));
}

void subject_draw(struct subject *s, uint64_t *seed) {
    clattn_desc desc = draw_desc(seed);
    uint64_t own = ~*seed; /* so that what else is drawn does not depend on features */
    desc.features = subject_random(&own) < 0.2 ? CLATTN_FEATURE_ALIBI : 0;
    const double x = subject_random(seed), sign = subject_random(seed) < 0.5 ? -1 : 1;
    const float scale = x < 0.6 ? CLATTN_SCALE_DEFAULT : (float)(sign * between(seed, 0.01, 2));
    const size_t kind = (size_t)(subject_random(seed) * (sizeof kinds / sizeof *kinds));
    subject_make(s, &desc, scale);
    subject_fill_alibi(s, between(&own, 1e-3, 3), &own);
    s->kind = kinds[kind].name;
    s->how.block = subject_random_size(seed, 8, 64);
    s->how.base2 = subject_random(seed) < 0.7;
    s->how.rounded = reference_types(&desc).weights != CLATTN_F32 && subject_random(seed) < 0.7;
    for (int i = 0; i < SUBJECT_INPUTS; i++)
        fill(s, i, &kinds[kind].in[i], seed);
    subject_compute(s);
}

void subject_print(const struct subject *s) {
    char text[256];
    clattn_desc_format(&s->desc, text, sizeof text, NULL);
    fprintf(stderr, "%s scale %g, %s; blocks of %u, base %s, weights %s\n", text, (double)s->scale,
            s->kind, s->how.block, s->how.base2 ? "2" : "e", s->how.rounded ? "rounded" : "in f32");
}
