/*
 * Candidates: what there is to try for a problem on a device, on devices that are not there, and
 * clattn_candidates on one that is.
 */
#include "candidates.h"
#include "choose.h"
#include "device.h"
#include "fixtures.h"
#include "heard.h"
#include "sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const problems[] = {
    "f32 h8 q4096 d64",
    "f16 h8 q4096 d128 causal",
    "bf16 b2 h32:8 q1 k4096 d128",
    "f32 q77 k300 d80:96 window16,3",
    "f16 q17 d512 softcap20",
    "f32 q0 d1",
    "f32 h4 q1024 d64 bwd causal",
    "f32 kf16 vf16 q512 d40",
};
enum { PROBLEMS = sizeof problems / sizeof *problems };

static struct candidates find(const struct problem *p, const struct device *d, const char *asked) {
    struct candidates c = {.list = NULL};
    struct status status = {0};
    if (candidates_find(p, d, asked, &c, &status) != CL_SUCCESS) {
        fail_msg("no candidates: %s", text_chars(&status.sentence));
    }
    assert_true(c.count > 0);
    return c;
}

/* The variant that the formula chooses; a name of 0 characters where there is none. */
static struct variant choice_of(const struct problem *p, const struct device *d,
                                const char *asked) {
    const struct choose_question question = {
        .problem = p, .device = d, .asked = asked, .by_formula = true};
    struct choice choice = {0};
    struct status status = {0};
    choose_variant(&question, &choice, &status);
    const struct variant v = choice.variant;
    choose_destroy(&choice);
    status_destroy(&status);
    return v;
}

static char *text_of(const struct candidate *c) {
    const struct variant v = candidates_variant(c);
    struct text chars = {0};
    variant_format(&v, &chars);
    assert_false(chars.failed);
    return chars.chars;
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* No two are equal. */
static void check_unique(const struct candidates *c) {
    char **texts = calloc(c->count, sizeof *texts);
    assert_non_null(texts);
    for (size_t i = 0; i < c->count; i++) {
        texts[i] = text_of(&c->list[i]);
    }
    qsort(texts, c->count, sizeof *texts, compare_texts);
    for (size_t i = 0; i < c->count; i++) {
        if (i > 0 && strcmp(texts[i - 1], texts[i]) == 0) {
            fail_msg("twice: %s", texts[i]);
        }
    }
    for (size_t i = 0; i < c->count; i++) {
        free(texts[i]);
    }
    free(texts);
}

/* Complete: nothing is filled in where it is asked for; legal: it is not refused. */
static void check_candidate(const struct problem *p, const struct device *d,
                            const struct candidate *c) {
    const struct variant v = candidates_variant(c);
    struct variant again = v;
    struct text why = {0};
    struct status status = {0};
    if (solvers_fit(c->solver, p, d, &v, &why) == CANNOT ||
        solvers_complete(c->solver, p, d, &again, &why, &status) != CL_SUCCESS ||
        solvers_check_arguments(c->solver, p, &v, d, &status) != CL_SUCCESS ||
        !variant_is(&v, &again)) {
        fail_msg("%s is no candidate: %s %s", text_of(c), text_chars(&why),
                 text_chars(&status.sentence));
    }
    text_destroy(&why);
}

static size_t count_of(const struct candidates *c, const char *solver) {
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        count += strcmp(c->list[i].solver->name, solver) == 0;
    }
    return count;
}

static void check_all(const struct fixture *f, const char *words, const char *asked) {
    const struct problem p = fixtures_problem(words);
    const struct variant first = choice_of(&p, &f->device, asked);
    struct candidates c = {.list = NULL};
    struct status status = {0};
    const cl_int code = candidates_find(&p, &f->device, asked, &c, &status);
    if (!first.solver[0]) {
        assert_int_not_equal(code, CL_SUCCESS);
        assert_int_equal(code, status.code);
        assert_int_equal(c.count, 0);
        status_destroy(&status);
        return;
    }
    if (code != CL_SUCCESS) {
        fail_msg("%s, %s: %s", f->name, words, text_chars(&status.sentence));
    }
    const struct variant own = candidates_variant(&c.list[0]);
    assert_true(variant_is(&own, &first));
    for (size_t i = 0; i < c.count; i++) {
        const struct solver *solver = c.list[i].solver;
        check_candidate(&p, &f->device, &c.list[i]);
        assert_true(c.list[i].cost >= (i > 1 ? c.list[i - 1].cost : 0));
        assert_true(asked ? strcmp(solver->name, own.solver) == 0 : !solver->baseline);
    }
    for (size_t i = 0; i < SOLVERS; i++) {
        assert_true(count_of(&c, solvers_table[i]->name) <= CANDIDATES_KEPT);
    }
    check_unique(&c);
    candidates_destroy(&c);
}

/* Each fixture has half of the problems. */
static void every_candidate_can_run(void **state) {
    (void)state;
    for (size_t f = 0; f < FIXTURES; f++) {
        for (size_t i = f % 2; i < PROBLEMS; i += 2) {
            check_all(&fixtures[f], problems[i], NULL);
        }
    }
}

static void what_is_asked_for_stays(void **state) {
    (void)state;
    static const struct {
        const char *fixture, *problem, *asked;
        size_t least, most; /* candidates */
    } cases[] = {
        {"pocl", "q512 d64", "fwd_lanes", 100, 1024},
        {"pocl", "q512 d64", "fwd_lanes BLOCK_N=40", 100, 400},
        {"pocl", "q512 d64", "fwd_lanes COL_UNROLL=3 LANES=8 ROW_VECTORS=2 KEY_UNROLL=4 BLOCK_N=32",
         1, 1},
        {"h200", "f16 q512 d64", "fwd_mma WAVES=7", 10, 1024},
        {"h200", "f16 q512 d64", "fwd_wgmma GROUPS=5", 10, 1024},
        {"pocl", "f16 q512 d64", "fwd_mma ENGINE=plain", 10, 1024},
        {"a100", "q512 d64", "memory_efficient BLOCK_M=32", 100, 1024},
        {"pocl", "q512 d64", "memory_efficient", 100, 1024},
        {"pocl", "q512 d64 bwd", "bwd_rows", 5, 20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct fixture *f = fixtures_find(cases[i].fixture);
        const struct problem p = fixtures_problem(cases[i].problem);
        struct status status = {0};
        struct variant asked;
        assert_int_equal(variant_parse(&asked, cases[i].asked, strlen(cases[i].asked), &status),
                         CL_SUCCESS);
        check_all(f, cases[i].problem, cases[i].asked);
        struct candidates c = find(&p, &f->device, cases[i].asked);
        if (c.count < cases[i].least || c.count > cases[i].most) {
            fail_msg("%s: %zu candidates", cases[i].asked, c.count);
        }
        for (size_t j = 0; j < c.count; j++) {
            const struct variant v = candidates_variant(&c.list[j]);
            assert_string_equal(v.solver, asked.solver);
            for (size_t k = 0; k < asked.count; k++) {
                assert_string_equal(variant_find(&v, asked.parameters[k].name),
                                    asked.parameters[k].value);
            }
        }
        candidates_destroy(&c);
    }
}

static void what_cannot_be_fails_as_the_choice_does(void **state) {
    (void)state;
    static const struct {
        const char *asked, *words;
        cl_int code;
    } cases[] = {
        {"fwd_lanes LANES=5", "none of 4, 8, 16", CLATTN_INVALID_VARIANT},
        {"fwd_lanes LANES", "NAME=VALUE", CLATTN_INVALID_VARIANT},
        {"fwd_new", "no solver", CLATTN_INVALID_VARIANT},
        {"bwd_rows", "backward pass", CLATTN_INVALID_VARIANT},
        {"fwd_mma", "f32", CLATTN_UNSUPPORTED},
        {"fwd_wgmma", "9.0", CLATTN_UNSUPPORTED},
    };
    const struct problem p = fixtures_problem("q512 d64");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct candidates c = {.list = NULL};
        struct status status = {0};
        assert_int_equal(
            candidates_find(&p, &fixtures_find("pocl")->device, cases[i].asked, &c, &status),
            cases[i].code);
        if (!strstr(text_chars(&status.sentence), cases[i].words)) {
            fail_msg("%s: %s", cases[i].asked, text_chars(&status.sentence));
        }
        assert_int_equal(c.count, 0);
        status_destroy(&status);
    }
}

/* Where is a variant in the list?  Fails where it is not there. */
static size_t place_of(const struct candidates *c, const char *variant) {
    for (size_t i = 0; i < c->count; i++) {
        char *chars = text_of(&c->list[i]);
        const bool same = strcmp(chars, variant) == 0;
        free(chars);
        if (same) {
            return i;
        }
    }
    fail_msg("not a candidate: %s", variant);
    return 0;
}

/* What is known to be good is found, and what cannot be good comes late. */
static void the_order_knows_what_hurts(void **state) {
    (void)state;
    struct problem p = fixtures_problem("f32 h32 q4096 d64");
    struct candidates c = find(&p, &fixtures_find("h200")->device, NULL);
    /* tuning.txt, measured */
    place_of(&c, "fwd_tile BLOCK_M=128 BLOCK_N=64 BLOCK_D=64 THREADS_M=16 THREADS_N=8 THREADS_D=1 "
                 "Q_RESIDENT=1 PREFETCH=0 STEP_UNROLL=4 WIDE_READS=1");
    assert_true(place_of(&c, "fwd_rows WORK_GROUP=64") > c.count / 2);
    candidates_destroy(&c);

    /* One row: blocks of many rows are waste.  Many rows: one vector reads too often. */
    for (int many = 0; many < 2; many++) {
        p = fixtures_problem(many ? "h8 q2048 d64" : "h8 q1 k2048 d64");
        c = find(&p, &fixtures_find("pocl")->device, "fwd_lanes LANES=16 BLOCK_N=64");
        const size_t low =
            place_of(&c, "fwd_lanes LANES=16 ROW_VECTORS=1 KEY_UNROLL=4 COL_UNROLL=4 BLOCK_N=64");
        const size_t high =
            place_of(&c, "fwd_lanes LANES=16 ROW_VECTORS=4 KEY_UNROLL=4 COL_UNROLL=4 BLOCK_N=64");
        const size_t spills =
            place_of(&c, "fwd_lanes LANES=16 ROW_VECTORS=8 KEY_UNROLL=16 COL_UNROLL=16 BLOCK_N=64");
        assert_int_equal(low < high, !many);
        assert_true(spills > low && spills > high);
        candidates_destroy(&c);
    }

    /* What a CPU has no use for comes behind what is made for it. */
    p = fixtures_problem("h8 q1024 d64 bwd");
    c = find(&p, &fixtures_find("pocl")->device, NULL);
    for (size_t i = 0; i < 20; i++) {
        assert_string_equal(c.list[i].solver->name, "bwd_lanes");
    }
    candidates_destroy(&c);

    /* The matrix engine goes before what has none. */
    p = fixtures_problem("f16 h16 q4096 d128");
    c = find(&p, &fixtures_find("a100")->device, NULL);
    size_t first = 0;
    while (strcmp(c.list[first].solver->name, "fwd_tile") != 0) {
        first++;
    }
    assert_true(first > 10);
    candidates_destroy(&c);
}

/* ---- On a device that is there ---- */

static struct test_device tested;
static struct heard heard;
static clattn_context context;

struct listener {
    char first[512];
    size_t count, stop; /* stop: after so many */
    double last;
};

static cl_int CL_CALLBACK listen(const char *variant, double cost, void *user_data) {
    struct listener *l = user_data;
    if (l->count == 0) {
        snprintf(l->first, sizeof l->first, "%s", variant);
    }
    assert_true(l->count < 2 || cost >= l->last);
    l->last = cost;
    return ++l->count == l->stop;
}

static void the_first_is_what_a_plan_takes(void **state) {
    (void)state;
    static const struct {
        const char *problem, *variant;
    } asked[] = {
        {"q100 d64", NULL},
        {"f16 b2 h8:2 q100 k300 d64 causal", NULL},
        {"bf16 q17 d512 window3,3 softcap20", NULL},
        {"q100 d64 bwd", NULL},
        {"q0 k7 d3", NULL},
        {"q100 d64", "fwd_rows"},
        {"q100 d64", "memory_efficient"},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        clattn_desc desc = CLATTN_DESC_INIT;
        struct listener all = {.count = 0}, some = {.stop = 3};
        char text[1 << 14];
        assert_int_equal(clattn_desc_parse(asked[i].problem, &desc), CL_SUCCESS);
        desc.variant = asked[i].variant;
        heard = (struct heard){0};
        assert_int_equal(clattn_candidates(context, &desc, listen, &all), CL_SUCCESS);
        assert_int_equal(clattn_candidates(context, &desc, listen, &some), CL_SUCCESS);
        assert_true(all.count > 3);
        assert_int_equal(some.count, 3);
        assert_string_equal(all.first, some.first);
        assert_int_equal(clattn_supports(context, &desc, text, sizeof text, NULL), CL_SUCCESS);
        assert_non_null(strstr(text, all.first));
        assert_int_equal(heard.failures + heard.remarks, 0);
    }
}

static void misuse_is_refused(void **state) {
    (void)state;
    clattn_desc desc = CLATTN_DESC_INIT;
    struct listener l = {.count = 0};
    assert_int_equal(clattn_desc_parse("q100 d64", &desc), CL_SUCCESS);
    assert_int_equal(clattn_candidates(NULL, &desc, listen, &l), CL_INVALID_VALUE);
    heard = (struct heard){0};
    assert_int_equal(clattn_candidates(context, NULL, listen, &l), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "candidates desc NULL", "no desc"));
    heard = (struct heard){0};
    assert_int_equal(clattn_candidates(context, &desc, NULL, NULL), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "candidates callback NULL", "no callback"));
    const clattn_desc garbage = {.size = 0};
    heard = (struct heard){0};
    assert_int_equal(clattn_candidates(context, &garbage, listen, &l), CLATTN_INVALID_DESC);
    assert_true(heard_failure(&heard, CLATTN_INVALID_DESC, "CLATTN_DESC_INIT", "no size"));
    desc.head_dim = 513;
    heard = (struct heard){0};
    assert_int_equal(clattn_candidates(context, &desc, listen, &l), CLATTN_UNSUPPORTED);
    assert_true(heard_failure(&heard, CLATTN_UNSUPPORTED, "head_dim", "513"));
    desc.head_dim = 64;
    desc.variant = "fwd_new";
    heard = (struct heard){0};
    assert_int_equal(clattn_candidates(context, &desc, listen, &l), CLATTN_INVALID_VARIANT);
    assert_true(heard_failure(&heard, CLATTN_INVALID_VARIANT, "fwd_new", "no solver"));
    assert_int_equal(l.count, 0);
}

static int open_all(void **state) {
    fixtures_open(state);
    if (!test_device_open(&tested)) {
        return -1;
    }
    context = heard_context(tested.context, tested.id, &heard);
    return context ? 0 : -1;
}

static int close_all(void **state) {
    clattn_context_destroy(context);
    test_device_close(&tested);
    return fixtures_close(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_candidate_can_run),
        cmocka_unit_test(what_is_asked_for_stays),
        cmocka_unit_test(what_cannot_be_fails_as_the_choice_does),
        cmocka_unit_test(the_order_knows_what_hurts),
        cmocka_unit_test(the_first_is_what_a_plan_takes),
        cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
