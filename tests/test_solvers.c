/*
 * What the solvers share: completing a variant, and the numbers of a launch.
 */
#include "solvers.h"

#include <stdint.h>
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

/* The most rows that there may be: their number fits 64 bits, that of their work-items may not. */
static void grids_do_not_wrap(void **state) {
    (void)state;
    enum { MOST = (1 << 30) - 1 };
    const struct params most = {
        .batch = 1, .heads_q = MOST, .group = 1, .seq_q = MOST, .seq_kv = MOST};
    const double rows = (double)MOST * (double)MOST;
    static const struct {
        const char *variant;
        double items; /* for each row, at least */
    } variants[] = {
        {"fwd_rows WORK_GROUP=1", 1},
        {"fwd_rows WORK_GROUP=1024", 1},
        {"fwd_lanes LANES=16 ROW_VECTORS=8", 1.0 / 128},
        {"fwd_tile BLOCK_M=2 THREADS_M=1 THREADS_N=256 THREADS_D=2", 256},
        {"fwd_mma ENGINE=nv80 WAVES=1 ROW_FRAGMENTS=1", 2},
        {"fwd_mma ENGINE=amd_mfma WAVES=1 ROW_FRAGMENTS=1", 4},
        {"standard WORK_GROUP=1024", 1},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        struct variant v;
        struct status status = {0};
        const char *chars = variants[i].variant;
        assert_int_equal(variant_parse(&v, chars, strlen(chars), &status), CL_SUCCESS);
        const struct solver *solver = solvers_find(v.solver);
        for (size_t kernel = 0; kernel < solver->kernels; kernel++) {
            const struct ndrange range = solver->ndrange(&v, &most, kernel);
            const double items = (double)range.global[0] * (double)range.global[1];
            const double expected = rows * variants[i].items;
            if (range.global[0] != UINT64_MAX && items < expected) {
                fail_msg("%s, kernel %zu: %g work-items, not %g", chars, kernel, items, expected);
            }
        }
    }
}

static void too_many_work_items_are_refused(void **state) {
    (void)state;
    static const struct {
        struct ndrange range;
        cl_ulong limit;
        bool fits;
    } cases[] = {
        {{{UINT32_MAX - 63, 1}, {64, 1}}, UINT32_MAX, true},
        {{{1, UINT32_MAX - 63}, {1, 64}}, UINT32_MAX, true},
        {{{(cl_ulong)UINT32_MAX + 1, 1}, {64, 1}}, UINT32_MAX, false}, /* 0 in 32 bits */
        {{{(cl_ulong)UINT32_MAX + 65, 1}, {64, 1}}, UINT32_MAX, false},
        {{{64, (cl_ulong)UINT32_MAX + 1}, {64, 1}}, UINT32_MAX, false},
        {{{(cl_ulong)UINT32_MAX + 1, 1}, {64, 1}}, UINT64_MAX, true},
        {{{UINT64_MAX, 1}, {64, 1}}, UINT64_MAX, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status status = {0};
        const cl_int code = launch_check(&cases[i].range, cases[i].limit, "fwd_new", &status);
        assert_int_equal(code, cases[i].fits ? CL_SUCCESS : CLATTN_UNSUPPORTED);
        assert_int_equal(strstr(text_chars(&status.sentence), "fwd_new") != NULL, !cases[i].fits);
        status_destroy(&status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_word_is_refused),
        cmocka_unit_test(grids_do_not_wrap),
        cmocka_unit_test(too_many_work_items_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
