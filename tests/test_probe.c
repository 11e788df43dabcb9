/*
 * The trial of a device's matrix engines is built as a program is.
 */
#include "engines.h"
#include "solvers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void trials_are_built_as_programs_are(void **state) {
    (void)state;
    const struct solver *solver = solvers_find("fwd_mma");
    const struct problem p = {.type = CLATTN_F16, .head_dim = 64, .head_dim_v = 64};
    for (size_t i = 0; i < ENGINES; i++) {
        struct variant v = {.solver = "fwd_mma"};
        struct text tried = {0}, composed = {0}, options = {0}, map = {0};
        struct status status = {0};
        variant_set_word(&v, "ENGINE", engines_table[i].name);
        assert_int_equal(
            program_compose(solver->recipe(&v, 0), &p, &v, &composed, &options, &map, &status),
            CL_SUCCESS);
        engines_probe_options(&engines_table[i], &tried);
        assert_string_equal(text_chars(&tried), text_chars(&options));
        text_destroy(&tried);
        text_destroy(&composed);
        text_destroy(&options);
        text_destroy(&map);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trials_are_built_as_programs_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
