/*
 * Types of q, k, v and o that differ: which lines of a tuning table match them, which solvers
 * refuse them, and what an older header's desc means.
 */
#include "choose.h"
#include "fixtures.h"

#include <stddef.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* A desc of a header without types for each tensor. */
static void an_older_desc_has_one_type(void **state) {
    (void)state;
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.size = offsetof(clattn_desc, type_k);
    desc.type_k = desc.type_o = 77; /* not the desc's, but what lies behind it */
    assert_int_equal(clattn_desc_parse("f32 kf16 q7 d3", &desc), CLATTN_INVALID_DESC);
    assert_int_equal(clattn_desc_parse("f16 q7 d3", &desc), CL_SUCCESS);
    assert_int_equal(desc.type_k, 77);
    struct problem p;
    struct status status = {0};
    assert_int_equal(problem_from_desc(&p, &desc, &status), CL_SUCCESS);
    assert_int_equal(p.type_k, CLATTN_F16);
    assert_int_equal(p.type_v, CLATTN_F16);
    assert_int_equal(p.type_o, CLATTN_F16);
    assert_false(problem_mixed(&p));
}

/* The words of types in a line stand for all types of the problem. */
static void words_of_tuning_lines_match(void **state) {
    (void)state;
    static const struct {
        const char *problem, *words;
        bool matches;
    } cases[] = {
        {"f16 q7 d3", "f16", true},
        {"f16 q7 d3", "f16 kf16 vf16 of16", true},
        {"f16 q7 d3", "kf16", true},
        {"f16 q7 d3", "f16 kbf16", false},
        {"f16 q7 d3", "of32", false},
        {"f16 q7 d3", "f32", false},
        {"f16 q7 d3", "f32 f16", false},
        {"f16 kbf16 q7 d3", "f16", false},
        {"f16 of32 q7 d3", "f16", false},
        {"f16 of32 q7 d3", "f16 of32", true},
        {"f32 kf16 q7 d3", "f32 kf16", true},
        {"f32 kf16 q7 d3", "kf16", true},
        {"f32 kf16 q7 d3", "kf16 vf16 d3", true},
        {"f32 kf16 q7 d3", "f32", false},
        {"f32 kf16 q7 d3", "f16", false},
        {"f32 kf16 q7 d3", "f32 kf16 vf32", false},
        {"f32 kf16 q7 d3", "f32 kf16 d4", false},
        {"f32 kf16 q7 d3", "*", true},
        {"f32 kf16 q7 d3", "d3", true},
        {"f32 vf16 q7 d3", "f32 kf16", false},
        {"f32 kf16 vf32 q7 d3", "kf16", false},
        {"f32 kf16 of16 q7 d3", "f32 kf16", false},
        {"f32 df16 q7 d3 bwd", "f32", true},
        {"f32 df16 q7 d3 bwd", "f32 df16", true},
        {"f32 q7 d3 bwd", "f32 df16", false},
    };
    const char *bad;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct problem p = fixtures_problem(cases[i].problem);
        if (problem_matches(&p, cases[i].words, &bad) != cases[i].matches || bad) {
            fail_msg("%s ; %s", cases[i].problem, cases[i].words);
        }
    }
    const struct problem p = fixtures_problem("q7 d3");
    assert_false(problem_matches(&p, "f32 kf64", &bad));
    assert_string_equal(bad, "kf64");
}

static void one_sentence_names_the_types(void **state) {
    (void)state;
    struct solver solver = *solvers_find("fwd_rows");
    const struct device *d = &fixtures_find("pocl")->device;
    static const char *const sentences[][2] = {
        {"f32 kf16 q7 d3", "fwd_rows takes q, k, v and o of one type, not f32 kf16"},
        {"bf16 of32 q7 d3", "fwd_rows takes q, k, v and o of one type, not bf16 of32"},
        {"f16 vf32 of32 q7 d3", "fwd_rows takes q, k, v and o of one type, not f16 vf32 of32"},
        {"f16 q7 d3", ""},
        {"f16 df32 q7 d3", ""},
    };
    for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++) {
        const struct problem p = fixtures_problem(sentences[i][0]);
        struct text why = {0};
        solver.mixed = false;
        const enum fitness fitness = solvers_fit(&solver, &p, d, NULL, &why);
        assert_int_equal(fitness == CANNOT, *sentences[i][1] != '\0');
        assert_string_equal(text_chars(&why), sentences[i][1]);
        text_destroy(&why);
        solver.mixed = true;
        assert_int_not_equal(solvers_fit(&solver, &p, d, NULL, &why), CANNOT);
    }
}

/* What is chosen, with a tuning table. */
static void expect(const char *fixture, const char *problem, const char *table,
                   const char *solver) {
    const struct problem p = fixtures_problem(problem);
    const struct tuning_table user = {"the tuning file", table};
    const struct choose_question question = {.problem = &p,
                                             .device = &fixtures_find(fixture)->device,
                                             .tables = &user,
                                             .table_count = 1};
    struct choice c = {0};
    struct status status = {0};
    assert_int_equal(tuning_check(table, "t", &c.remarks), 0);
    assert_int_equal(choose_variant(&question, &c, &status), CL_SUCCESS);
    assert_string_equal(c.solver->name, solver);
    assert_string_equal(text_chars(&c.remarks), "");
    choose_destroy(&c);
}

/* Engines multiply numbers of one type: the others answer, and a line that names an engine's
 * solver is skipped without a remark. */
static void engines_leave_mixed_types_to_others(void **state) {
    (void)state;
    static const char *const problems[] = {"f32 kf16 h8 q512 d64", "f32 kbf16 h8 q512 d64",
                                           "f16 of32 h8 q512 d64", "bf16 vf16 h8 q512 d64"};
    expect("h200", "f16 h8 q512 d64", "* ; d64 ; fwd_mma", "fwd_mma");
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        expect("h200", problems[i], "* ; d64 ; fwd_mma\n* ; * ; fwd_wgmma", "fwd_tile");
        expect("pocl", problems[i], "", "fwd_lanes");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_desc_has_one_type),
        cmocka_unit_test(words_of_tuning_lines_match),
        cmocka_unit_test(one_sentence_names_the_types),
        cmocka_unit_test(engines_leave_mixed_types_to_others),
    };
    return cmocka_run_group_tests(tests, fixtures_open, fixtures_close);
}
