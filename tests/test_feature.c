/*
 * What follows the table of features, with a table of this test's own: the library has no feature
 * that every build could test.
 */
#include "feature.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "choose.h"
#include "fixtures.h"
#include "operand.h"
#include "program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define DUMMY ((cl_ulong)1 << 39)
#define OTHER ((cl_ulong)1 << 40)

const struct feature features_table[] = {
    {DUMMY, "dummy", .scored = false}, {OTHER, "other", .scored = false}, {0}};

/* ---- Problems ---- */

static void words_are_read_and_written(void **state) {
    (void)state;
    static const struct {
        const char *read, *written;
        cl_ulong features;
    } texts[] = {
        {"q7 d3", "f32 q7 d3", 0},
        {"q7 d3 dummy", "f32 q7 d3 dummy", DUMMY},
        {"other q7 d3 causal", "f32 q7 d3 causal other", OTHER},
        {"other dummy softcap2 q7 d3", "f32 q7 d3 softcap2 dummy other", DUMMY | OTHER},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        clattn_desc desc = CLATTN_DESC_INIT;
        char written[64];
        assert_int_equal(clattn_desc_parse(texts[i].read, &desc), CL_SUCCESS);
        assert_true(desc.features == texts[i].features);
        assert_true(fixtures_problem(texts[i].read).features == texts[i].features);
        assert_int_equal(clattn_desc_format(&desc, written, sizeof written, NULL), CL_SUCCESS);
        assert_string_equal(written, texts[i].written);
    }
    static const char *const wrong[] = {"q7 d3 dumm", "q7 d3 dummy1", "q7 d3 dummy dummy",
                                        "q7 d3 dummy,other", "q7 d3 Dummy"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        clattn_desc desc = CLATTN_DESC_INIT;
        assert_int_equal(clattn_desc_parse(wrong[i], &desc), CLATTN_INVALID_TEXT);
    }
}

/* A desc of a header without features. */
static void an_older_desc_has_no_feature(void **state) {
    (void)state;
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.size = offsetof(clattn_desc, features);
    desc.features = DUMMY; /* not the desc's, but what lies behind it */
    assert_int_equal(clattn_desc_parse("q7 d3 dummy", &desc), CLATTN_INVALID_DESC);
    assert_int_equal(clattn_desc_parse("q7 d3", &desc), CL_SUCCESS);
    struct problem p;
    struct status status = {0};
    assert_int_equal(problem_from_desc(&p, &desc, &status), CL_SUCCESS);
    assert_true(p.features == 0);
}

static void unknown_bits_are_refused(void **state) {
    (void)state;
    clattn_desc desc = CLATTN_DESC_INIT;
    struct problem p;
    struct status status = {0};
    assert_int_equal(clattn_desc_parse("q7 d3 dummy other", &desc), CL_SUCCESS);
    desc.features |= (cl_ulong)1 << 63 | 1;
    assert_int_equal(problem_from_desc(&p, &desc, &status), CLATTN_INVALID_DESC);
    assert_non_null(strstr(text_chars(&status.sentence), " 0x8000000000000001,"));
    status_destroy(&status);
}

static void words_of_tuning_lines_match(void **state) {
    (void)state;
    static const struct {
        const char *problem, *words;
        bool matches;
    } cases[] = {
        {"q7 d3 dummy", "dummy", true},
        {"q7 d3 dummy other", "dummy", true},
        {"q7 d3 dummy", "*", true},
        {"q7 d3", "dummy", false},
        {"q7 d3 other", "dummy", false},
        {"q7 d3 dummy", "dummy other", false},
        {"q7 d3 dummy", "dummy causal", false},
        {"q7 d3 other", "d3 other f32", true},
    };
    const char *bad;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct problem p = fixtures_problem(cases[i].problem);
        assert_int_equal(problem_matches(&p, cases[i].words, &bad), cases[i].matches);
        assert_null(bad);
    }
    const struct problem p = fixtures_problem("q7 d3 dummy");
    assert_false(problem_matches(&p, "dummy dummyx", &bad));
    assert_string_equal(bad, "dummyx");
}

/* ---- Solvers ---- */

static void one_sentence_names_what_a_solver_lacks(void **state) {
    (void)state;
    struct solver offers = *solvers_find("fwd_rows");
    offers.features = DUMMY;
    static const struct {
        const char *problem, *sentence;
    } cases[] = {
        {"q7 d3", ""},
        {"q7 d3 dummy", ""},
        {"q7 d3 other", "fwd_rows does not offer other"},
        {"q7 d3 other dummy", "fwd_rows does not offer other"},
    };
    const struct device *d = &fixtures_find("pocl")->device;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct problem p = fixtures_problem(cases[i].problem);
        struct text why = {0};
        assert_int_equal(solvers_fit(&offers, &p, d, NULL, &why) == CANNOT,
                         *cases[i].sentence != '\0');
        assert_string_equal(text_chars(&why), cases[i].sentence);
        text_destroy(&why);
    }
    offers.features = 0;
    const struct problem p = fixtures_problem("q7 d3 other dummy");
    struct text why = {0};
    assert_int_equal(solvers_fit(&offers, &p, d, NULL, &why), CANNOT);
    assert_string_equal(text_chars(&why), "fwd_rows does not offer dummy other");
    text_destroy(&why);
}

/* What is chosen for a problem with the tuning table, on a CPU. */
static cl_int choose(const char *problem, const char *asked, const char *table, struct choice *c,
                     struct status *status) {
    const struct problem p = fixtures_problem(problem);
    const struct tuning_table user = {"the tuning file", table};
    const struct choose_question question = {.problem = &p,
                                             .device = &fixtures_find("pocl")->device,
                                             .asked = asked,
                                             .tables = &user,
                                             .table_count = 1};
    *c = (struct choice){0};
    assert_int_equal(tuning_check(table, "t", &c->remarks), 0);
    return choose_variant(&question, c, status);
}

/* No solver of today offers the test's features. */
static void a_solver_without_the_feature_is_not_chosen(void **state) {
    (void)state;
    static const char *const asked[] = {NULL, "fwd_rows", "standard", "fwd_rows WORK_GROUP=4"};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        struct status status = {0};
        struct choice c;
        assert_int_equal(choose("q7 d3 dummy", asked[i], "", &c, &status), CLATTN_UNSUPPORTED);
        assert_null(c.solver);
        assert_non_null(strstr(text_chars(&status.sentence), " does not offer dummy"));
        assert_non_null(strstr(text_chars(&c.description),
                               "fwd_rows refused: fwd_rows does not offer dummy\n"));
        choose_destroy(&c);
        status_destroy(&status);
    }
}

static void a_line_whose_solver_lacks_the_feature_is_skipped(void **state) {
    (void)state;
    static const char table[] = "* ; dummy ; fwd_rows WORK_GROUP=1\n"
                                "* ; * ; fwd_rows WORK_GROUP=2\n";
    struct status status = {0};
    struct choice c;
    assert_int_equal(choose("q7 d3", NULL, table, &c, &status), CL_SUCCESS);
    assert_int_equal(variant_number(&c.variant, "WORK_GROUP", 0), 2);
    choose_destroy(&c);
    assert_int_equal(choose("q7 d3 dummy", NULL, table, &c, &status), CLATTN_UNSUPPORTED);
    assert_string_equal(text_chars(&c.remarks), "");
    choose_destroy(&c);
    status_destroy(&status);
}

/* ---- Programs ---- */

static void programs_are_told_the_features(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"q7 d3", "#define DUMMY 0\n#define OTHER 0\n"},
        {"q7 d3 other", "#define DUMMY 0\n#define OTHER 1\n"},
        {"q7 d3 other dummy", "#define DUMMY 1\n#define OTHER 1\n"},
    };
    const struct program_recipe recipe = {
        .kernel = "k", .parts = {"params.h"}, .reads = "q", .writes = "o", .constants = ""};
    const struct variant v = {.solver = "fwd_rows"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct problem p = fixtures_problem(cases[i][0]);
        struct text composed = {0}, options = {0}, map = {0};
        struct status status = {0};
        assert_int_equal(program_compose(&recipe, &p, &v, &composed, &options, &map, &status),
                         CL_SUCCESS);
        assert_non_null(strstr(text_chars(&composed), cases[i][1]));
        text_destroy(&composed);
        text_destroy(&options);
        text_destroy(&map);
    }
}

/* ---- Extras ---- */

/* Tensors by features, as clattn_extras will have them. */
struct extras {
    size_t size;
    const clattn_tensor *bias, *sink, *d_bias;
};

enum { Q, BIAS, SINK, D_BIAS, TENSORS };

static const struct operand operands[TENSORS] = {
    [Q] = {.name = "q"},
    [BIAS] = {.name = "bias", .feature = DUMMY, .extra = offsetof(struct extras, bias)},
    [SINK] = {.name = "sink", .feature = OTHER, .extra = offsetof(struct extras, sink)},
    [D_BIAS] = {.name = "d_bias",
                .optional = true,
                .feature = DUMMY,
                .extra = offsetof(struct extras, d_bias)},
};

static void extras_are_those_of_the_features(void **state) {
    (void)state;
    static const clattn_tensor t[TENSORS];
    static const struct {
        cl_ulong features;
        struct extras extras;
        const char *sentence; /* NULL: taken */
    } cases[] = {
        {0, {0}, NULL},
        {DUMMY, {.bias = &t[BIAS]}, NULL},
        {DUMMY, {.bias = &t[BIAS], .d_bias = &t[D_BIAS]}, NULL},
        {OTHER, {.sink = &t[SINK]}, NULL},
        {DUMMY | OTHER, {.bias = &t[BIAS], .sink = &t[SINK]}, NULL},
        {DUMMY, {0}, "args: extras: bias is NULL, but the plan was made with the feature dummy"},
        {DUMMY | OTHER,
         {.bias = &t[BIAS]},
         "args: extras: sink is NULL, but the plan was made with the feature other"},
        {0,
         {.bias = &t[BIAS]},
         "args: extras: bias is given, but the plan was made without the feature dummy"},
        {OTHER,
         {.sink = &t[SINK], .d_bias = &t[D_BIAS]},
         "args: extras: d_bias is given, but the plan was made without the feature dummy"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct extras *const e = &cases[i].extras;
        const clattn_tensor *given[TENSORS] = {&t[Q]};
        cl_uint taken = 99;
        struct status status = {0};
        const cl_int code =
            operand_take_extras(operands, TENSORS, cases[i].features, e, given, &taken, &status);
        if (cases[i].sentence) {
            assert_int_equal(code, CLATTN_INVALID_ARGS);
            assert_string_equal(text_chars(&status.sentence), cases[i].sentence);
        } else {
            assert_int_equal(code, CL_SUCCESS);
            assert_ptr_equal(given[Q], &t[Q]);
            assert_ptr_equal(given[BIAS], e->bias);
            assert_ptr_equal(given[SINK], e->sink);
            assert_ptr_equal(given[D_BIAS], e->d_bias);
            assert_int_equal(taken, (e->bias ? OPERAND_BIT(BIAS) : 0) |
                                        (e->sink ? OPERAND_BIT(SINK) : 0) |
                                        (e->d_bias ? OPERAND_BIT(D_BIAS) : 0));
        }
        status_destroy(&status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_read_and_written),
        cmocka_unit_test(an_older_desc_has_no_feature),
        cmocka_unit_test(unknown_bits_are_refused),
        cmocka_unit_test(words_of_tuning_lines_match),
        cmocka_unit_test(one_sentence_names_what_a_solver_lacks),
        cmocka_unit_test(a_solver_without_the_feature_is_not_chosen),
        cmocka_unit_test(a_line_whose_solver_lacks_the_feature_is_skipped),
        cmocka_unit_test(programs_are_told_the_features),
        cmocka_unit_test(extras_are_those_of_the_features),
    };
    return cmocka_run_group_tests(tests, fixtures_open, fixtures_close);
}
