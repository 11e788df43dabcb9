/*
 * The tuner's search, against tables of times in the place of a device: the variants of two
 * solvers in the order of a model that is wrong by a factor, and true times that hold valleys,
 * failures and noise.
 */
/* strdup */
#define _POSIX_C_SOURCE 200809L

#include "tune_search.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { M = 6, N = 6, UNROLL = 4, THREADS = 6, WIDE = 2, OTHERS = 40 };
enum { MOST = M * N * UNROLL * THREADS * WIDE + OTHERS, SEEDS = 11 };

struct table {
    struct tune_candidate candidates[MOST];
    double seconds[MOST]; /* negative: -outcome */
    size_t count, asked, stop_after;
    bool twice;
};

/* A number in [0, 1) made from a and b. */
static double hash(uint64_t a, uint64_t b) {
    uint64_t x = (a + 1) * 0x9e3779b97f4a7c15u ^ (b + 7) * 0xd6e8feb86659fd93u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return (double)(x >> 11) * 0x1p-53;
}

static int by_cost(const void *a, const void *b) {
    const double x = ((const struct tune_candidate *)a)->cost,
                 y = ((const struct tune_candidate *)b)->cost;
    return (x > y) - (x < y);
}

static void add(struct table *t, const char *variant, double seconds, double doubt) {
    assert_true(t->count < MOST);
    struct tune_candidate *c = &t->candidates[t->count];
    *c = (struct tune_candidate){
        .variant = strdup(variant), .cost = fabs(seconds) * doubt, .seconds = seconds};
    assert_non_null(c->variant);
    t->count++;
}

/* The optimum lies at (best_m, best_n, ...) of the seed.  The model orders by the true time times a
 * factor of up to `error`. */
static void make(struct table *t, uint64_t seed, double error) {
    *t = (struct table){.stop_after = SIZE_MAX};
    char variant[128];
    const double best[] = {
        hash(seed, 1) * M,
        hash(seed, 2) * N,
        hash(seed, 3) * UNROLL,
        hash(seed, 4) * THREADS
    };
    for (int i = 0; i < M * N * UNROLL * THREADS * WIDE; i++) {
        const uint64_t place = (uint64_t)i;
        const int at[] = { i % M, i / M % N, i / M / N % UNROLL, i / M / N / UNROLL % THREADS };
        const int wide = i / M / N / UNROLL
        / THREADS;
        double seconds = 1e-3 * (1 + 0.3 * (wide ? 0 : 1)) * (1 + 0.04 * hash(seed + 1000, place));
        for (int k = 0; k < 4; k++) {
            const double away = at[k] + 0.5 - best[k];
            seconds *= 1 + 0.15 * away * away;
        }
        snprintf(variant, sizeof variant, "tile BLOCK_M=%d BLOCK_N=%d UNROLL=%d THREADS=%d WIDE=%d",
                 8 << at[0], 8 << at[1], 1 << at[2], 16 << at[3], wide);
        add(t, variant, hash(seed + 7, place) < 0.05 ? -seconds : seconds,
            exp(log(error) * hash(seed + 77, place)));
    }
    for (int i = 0; i < OTHERS; i++) {
        snprintf(variant, sizeof variant, "rows WORK_GROUP=%d", i + 1);
        add(t, variant, 5e-3 * (1 + hash(seed + 9, (uint64_t)i)), 8);
    }
    qsort(t->candidates, t->count, sizeof *t->candidates, by_cost);
    for (size_t i = 0; i < t->count; i++) {
        t->seconds[i] = t->candidates[i].seconds;
        t->candidates[i].seconds = 0;
    }
}

static void unmake(struct table *t) {
    for (size_t i = 0; i < t->count; i++) {
        free(t->candidates[i].variant);
    }
}

static bool look_up(void *user, struct tune_candidate *c) {
    struct table *t = user;
    const size_t i = (size_t)(c - t->candidates);
    if (t->asked == t->stop_after) {
        return false;
    }
    t->twice = t->twice || c->outcome != TUNE_UNTRIED;
    t->asked++;
    c->outcome = t->seconds[i] > 0 ? TUNE_OK : i % 2 ? TUNE_WRONG : TUNE_CRASHED;
    c->seconds = t->seconds[i] > 0 ? t->seconds[i] : 1e-9; /* fast, and wrong */
    return true;
}

static double optimum(const struct table *t) {
    double best = (double)INFINITY;
    for (size_t i = 0; i < t->count; i++) {
        best = t->seconds[i] > 0 ? fmin(best, t->seconds[i]) : best;
    }
    return best;
}

static struct tune_search search_of(struct table *t, unsigned long long seed) {
    return (struct tune_search){.candidates = t->candidates,
                                .count = t->count,
                                .seed = seed,
                                .evaluate = look_up,
                                .user = t};
}

static double best_of(const struct tune_search *s) {
    size_t best;
    return tune_search_best(s, 1, &best) ? s->candidates[best].seconds : (double)INFINITY;
}

static struct table t; /* too large for a stack */

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A model that is off by up to 40: within 3% of the optimum after 15% of the evaluations, in the
 * median over seeds. */
static void it_is_near_the_optimum_soon(void **state) {
    (void)state;
    for (uint64_t problem = 0; problem < 6; problem++) {
        double ratio[SEEDS];
        for (int seed = 0; seed < SEEDS; seed++) {
            make(&t, problem * 31, 40);
            struct tune_search s = search_of(&t, (unsigned long long)seed);
            assert_true(tune_search_run(&s));
            assert_false(t.twice);
            assert_true((double)t.asked <= 0.15 * (double)t.count);
            ratio[seed] = best_of(&s) / optimum(&t);
            unmake(&t);
        }
        qsort(ratio, SEEDS, sizeof *ratio, ascending);
        print_message("problem %u: %.3f x the optimum, worst %.3f\n", (unsigned)problem,
                      ratio[SEEDS / 2], ratio[SEEDS - 1]);
        assert_true(ratio[SEEDS / 2] <= 1.03);
    }
}

/* A model that is right: the first one stays, after few others. */
static void a_right_model_ends_it_early(void **state) {
    (void)state;
    make(&t, 5, 1);
    for (size_t i = 0; i < t.count; i++) {
        t.seconds[i] = fabs(t.seconds[i]);
    }
    struct tune_search s = search_of(&t, 0);
    s.patience = 8;
    s.lots = 2;
    assert_true(tune_search_run(&s));
    size_t best;
    assert_int_equal(tune_search_best(&s, 1, &best), 1);
    assert_int_equal(best, 0);
    assert_true(t.asked < 60);
    unmake(&t);
}

/* A solver that the model takes for the worst, and that is the best. */
static void each_solver_is_asked(void **state) {
    (void)state;
    size_t best;
    make(&t, 4, 1);
    for (size_t i = 0; i < t.count; i++) {
        if (strncmp(t.candidates[i].variant, "rows", 4) == 0) {
            t.seconds[i] = 1e-6 * (1 + (double)(i % 7));
        }
    }
    struct tune_search s = search_of(&t, 0);
    s.lots = 1;
    assert_true(tune_search_run(&s));
    assert_int_equal(tune_search_best(&s, 1, &best), 1);
    assert_memory_equal(s.candidates[best].variant, "rows", 4);
    assert_true(s.candidates[best].seconds == 1e-6);
    unmake(&t);
}

static void exhaustive_tries_each_once(void **state) {
    (void)state;
    make(&t, 9, 4);
    struct tune_search s = search_of(&t, 0);
    s.exhaustive = true;
    assert_true(tune_search_run(&s));
    assert_false(t.twice);
    assert_int_equal(t.asked, t.count);
    assert_true(best_of(&s) == optimum(&t));
    unmake(&t);
}

/* What failed is never the best, however fast it says it is. */
static void failures_are_no_answers(void **state) {
    (void)state;
    size_t best[3];
    make(&t, 2, 4);
    for (size_t i = 0; i < t.count; i++) {
        t.seconds[i] = -fabs(t.seconds[i]);
    }
    t.seconds[40] = 3;
    struct tune_search s = search_of(&t, 0);
    s.exhaustive = true;
    assert_true(tune_search_run(&s));
    assert_int_equal(tune_search_best(&s, 3, best), 1);
    assert_int_equal(best[0], 40);
    unmake(&t);

    make(&t, 2, 4);
    for (size_t i = 0; i < t.count; i++) {
        t.seconds[i] = -1;
    }
    s = search_of(&t, 0);
    assert_true(tune_search_run(&s));
    assert_int_equal(tune_search_best(&s, 3, best), 0);
    unmake(&t);
}

static void it_ends_when_it_is_told_to(void **state) {
    (void)state;
    for (size_t after = 0; after < 200; after += 13) {
        make(&t, 3, 4);
        struct tune_search s = search_of(&t, 0);
        t.stop_after = after;
        const bool whole = tune_search_run(&s);
        assert_true(whole ? t.asked < after : t.asked == after);
        unmake(&t);
    }
    struct tune_search none = {.evaluate = look_up, .user = &t};
    assert_true(tune_search_run(&none));
}

static void the_best_stand_in_order(void **state) {
    (void)state;
    struct tune_candidate candidates[9];
    static const double seconds[9] = {5, 3, 9, 1, 7, 2, 8, 4, 6};
    for (size_t i = 0; i < 9; i++) {
        candidates[i] = (struct tune_candidate){.outcome = i == 5 ? TUNE_WRONG : TUNE_OK,
                                                .seconds = seconds[i]};
    }
    const struct tune_search s = {.candidates = candidates, .count = 9};
    size_t best[9];
    assert_int_equal(tune_search_best(&s, 4, best), 4);
    const size_t four[] = {3, 1, 7, 0};
    assert_memory_equal(best, four, sizeof four);
    assert_int_equal(tune_search_best(&s, 9, best), 8);
    const size_t all[] = {3, 1, 7, 0, 8, 4, 6, 2};
    assert_memory_equal(best, all, sizeof all);
}

static void neighbours_differ_in_one_value(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool are;
    } cases[] = {
        {"tile A=1 B=2", "tile A=1 B=4", true},
        {"tile A=1 B=2", "tile A=8 B=2", true},
        {"tile A=1 B=2", "tile A=1 B=2", false},
        {"tile A=1 B=2", "tile A=2 B=4", false},
        {"tile A=1 B=2", "rows A=1 B=4", false},
        {"tile A=1 B=2", "tile A=1 C=2", false},
        {"tile A=1 B=2", "tile A=1", false},
        {"tile A=1", "tile A=1 B=2", false},
        {"tile A=1 B=2", "tile A=1 B=22", true},
        {"tile A=1", "tile A=12", true},
        {"tile", "tile", false},
        {"tile", "rows", false},
        {"tile A=1 B=2", "tile B=2 A=1", false},
        {"tile KIND=x A=1", "tile KIND=yz A=1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(tune_search_neighbours(cases[i].a, cases[i].b), cases[i].are);
        assert_int_equal(tune_search_neighbours(cases[i].b, cases[i].a), cases[i].are);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_near_the_optimum_soon),
        cmocka_unit_test(a_right_model_ends_it_early),
        cmocka_unit_test(each_solver_is_asked),
        cmocka_unit_test(exhaustive_tries_each_once),
        cmocka_unit_test(failures_are_no_answers),
        cmocka_unit_test(it_ends_when_it_is_told_to),
        cmocka_unit_test(the_best_stand_in_order),
        cmocka_unit_test(neighbours_differ_in_one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
