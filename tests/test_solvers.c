/*
 * What the solvers share: completing a variant.
 */
#include "solvers.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static bool is_legal(const struct problem *p, const struct device *d, const struct variant *v,
                     struct text *why) {
    (void)p;
    (void)d;
    (void)v;
    (void)why;
    return true;
}

/* A parameter that is a word has no candidates: who forgets it hears of it. */
static void a_missing_word_is_refused(void **state) {
    (void)state;
    static const struct solver_parameter parameters[] = {{"KIND", 1, 0}, {"SIZE", 1, 8}};
    static const long long candidates[] = {0, 4};
    const struct problem p = {.type = CLATTN_F32};
    const struct device d = {.work_group = 1};
    struct variant v = {.solver = "fwd_new"};
    struct text why = {0};
    assert_false(solvers_complete(&p, &d, &v, parameters, 2, candidates, 1, is_legal, &why));
    assert_string_equal(text_chars(&why), "fwd_new needs the parameter KIND");
    assert_int_equal(v.count, 0);
    text_destroy(&why);
    variant_set_word(&v, "KIND", "tall");
    assert_true(solvers_complete(&p, &d, &v, parameters, 2, candidates, 1, is_legal, &why));
    assert_int_equal(why.length, 0);
    assert_string_equal(variant_find(&v, "KIND"), "tall");
    assert_int_equal(variant_number(&v, "SIZE", 0), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_word_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
