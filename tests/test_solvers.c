/*
 * What the solvers share: completing a variant, and the numbers of a launch.
 */
#include "pass.h"
#include "solvers.h"

#include <stdint.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- Completing a variant, for a solver of the test's own ---- */

enum { KIND, SIZE, DEPTH };

static const char *kind_word(size_t i) {
    static const char *const words[] = {"flat", "tall", NULL};
    return words[i];
}

static const struct solver_parameter parameters[] = {
    SOLVERS_WORD(KIND, kind_word),
    SOLVERS_NUMBER(SIZE, 1, 8),
    SOLVERS_NUMBER(DEPTH, 0, 9),
    {0},
};

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    return solvers_fitness(p->type == CLATTN_F32 ? "it takes no f32" : NULL,
                           d->type == DEVICE_CPU ? "it is slow there" : NULL, why);
}

/* Sizes 8, 4, 2, and with a depth of 3 where a size is given. */
static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *values) {
    (void)p;
    (void)d;
    values[KIND] = solvers_given(given[KIND], 0);
    values[SIZE] = 8 >> i;
    values[DEPTH] = given[SIZE] == SOLVERS_MISSING ? 1 : 3;
    return i < 3;
}

static cl_int legal(const struct problem *p, const struct device *d, const long long *values,
                    struct status *status) {
    (void)p;
    const bool too_deep = values[DEPTH] == 9, too_tall = values[KIND] == 1 && values[SIZE] == 8;
    return too_deep || too_tall ? status_set(status, CLATTN_UNSUPPORTED, "%s is not there",
                                             too_deep ? "a depth of 9" : "a tall 8")
                                : solvers_check_group(d, values[SIZE], values[DEPTH], status);
}

static const struct solver fwd_new = {.name = "fwd_new",
                                      .fits = fits,
                                      .parameters = parameters,
                                      .candidate = candidate,
                                      .legal = legal};

static const struct solver *like(const struct device *d, const struct variant *v) {
    (void)d;
    (void)v;
    return &fwd_new;
}

static void variants_are_completed(void **state) {
    (void)state;
    static const struct {
        const char *given;
        cl_ulong work_group;
        cl_int code;
        const char *answer; /* the variant, or the sentence */
        bool far;
    } cases[] = {
        {"", 8, CL_SUCCESS, "KIND=flat SIZE=8 DEPTH=1", false},
        {"", 5, CL_SUCCESS, "KIND=flat SIZE=4 DEPTH=1", false},
        {"DEPTH=1 KIND=tall", 5, CL_SUCCESS, "KIND=tall SIZE=4 DEPTH=1", false},
        {"SIZE=2", 8, CL_SUCCESS, "KIND=flat SIZE=2 DEPTH=3", false},
        {"SIZE=3", 8, CL_SUCCESS, "KIND=flat SIZE=3 DEPTH=3", true},
        {"DEPTH=2", 3, CL_SUCCESS, "KIND=flat SIZE=2 DEPTH=2", true},
        {"SIZE=3 DEPTH=0 KIND=flat", 8, CL_SUCCESS, "KIND=flat SIZE=3 DEPTH=0", false},
        {"", 1, CLATTN_INVALID_VARIANT, "8 work-items are over the device's 1", false},
        {"SIZE=5", 3, CLATTN_INVALID_VARIANT, "5 work-items are over the device's 3", false},
        {"DEPTH=5", 8, CL_SUCCESS, "KIND=flat SIZE=8 DEPTH=5", true},
        {"DEPTH=6", 8, CLATTN_INVALID_VARIANT, "6 bytes of local memory are over the device's 5",
         false},
        {"DEPTH=9", 8, CLATTN_UNSUPPORTED, "a depth of 9 is not there", false},
        {"KIND=tall", 1, CLATTN_UNSUPPORTED, "a tall 8 is not there", false}, /* the first one's */
        {"KIND=8", 8, CLATTN_INVALID_VARIANT, "KIND=8 is none of flat, tall", false},
        {"SIZE=9", 8, CLATTN_INVALID_VARIANT, "SIZE=9 is not a number from 1 to 8", false},
        {"SIZE=tall", 8, CLATTN_INVALID_VARIANT, "SIZE=tall is not a number from 1 to 8", false},
        {"SIZE=4 SIZES=4", 8, CLATTN_INVALID_VARIANT, " has no parameter SIZES", false},
    };
    const struct solver same = {.name = "fwd_same", .like = like};
    const struct solver *const solvers[] = {&fwd_new, &same};
    const struct problem p = {.type = CLATTN_F16};
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        const struct solver *solver = solvers[i % 2];
        const cl_ulong most = cases[i / 2].work_group;
        const struct device d = {
            .work_group = i % 2 ? most : 8, .work_items = i % 2 ? 8 : most, .local_memory = 5};
        struct variant v;
        struct status status = {0};
        struct text chars = {0}, answer = {0}, far = {0};
        text_printf(&chars, "%s %s", solver->name, cases[i / 2].given);
        assert_int_equal(variant_parse(&v, text_chars(&chars), chars.length, &status), CL_SUCCESS);
        assert_int_equal(solvers_complete(solver, &p, &d, &v, &far, &status), cases[i / 2].code);
        variant_format(&v, &answer);
        const char *found =
            cases[i / 2].code == CL_SUCCESS ? text_chars(&answer) : text_chars(&status.sentence);
        if (!strstr(found, cases[i / 2].answer) || (far.length != 0) != cases[i / 2].far) {
            fail_msg("\"%s\": %s %s", text_chars(&chars), found, text_chars(&far));
        }
        text_destroy(&chars);
        text_destroy(&answer);
        text_destroy(&far);
        status_destroy(&status);
    }
}

static void a_fitness_has_its_sentence(void **state) {
    (void)state;
    static const struct {
        clattn_type type;
        cl_ulong device;
        enum fitness fitness;
        const char *why;
    } cases[] = {
        {CLATTN_F16, DEVICE_GPU, SHOULD, ""},
        {CLATTN_F16, DEVICE_CPU, COULD, "it is slow there"},
        {CLATTN_F32, DEVICE_GPU, CANNOT, "it takes no f32"},
        {CLATTN_F32, DEVICE_CPU, CANNOT, "it takes no f32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct problem p = {.type = cases[i].type};
        problem_fill_types(&p);
        const struct device d = {.type = cases[i].device};
        struct text why = {0};
        assert_int_equal(solvers_fit(&fwd_new, &p, &d, NULL, &why), cases[i].fitness);
        assert_string_equal(text_chars(&why), cases[i].why);
        text_destroy(&why);
    }
}

/* A solver has kernels that are given each tensor of its pass and of the features that it offers.
 */
static void features_tensors_are_read(void **state) {
    (void)state;
    for (size_t i = 0; i < SOLVERS; i++) {
        const struct solver *solver = solvers_table[i];
        const struct problem p = {.type = CLATTN_F16, .features = solver->features};
        struct variant v = {.count = 0};
        struct stage stages[STAGES];
        cl_uint given = 0;
        variant_add(&v, "THREADS_M", "1"); /* which tells memory_efficient its schedule */
        const size_t count = solvers_stages(solver, &p, &v, stages);
        for (size_t j = 0; j < count; j++) {
            given |= program_operands(&stages[j].recipe, &p);
        }
        const struct pass *pass = &passes_table[solver->pass];
        const cl_uint needed =
            operand_set(pass->reads) | operand_set(pass->writes) |
            (operand_set_of_features(solver->features) & ~operand_set_of_features(0));
        const cl_uint spared = solver->pass == CLATTN_BACKWARD ? 0 : operand_gradients();
        if (needed & ~given & ~spared) {
            fail_msg("%s", solver->name);
        }
    }
}

/* The values are what the variant's text says. */
static void every_parameter_is_decoded(void **state) {
    (void)state;
    static const char *const variants[] = {
        "fwd_new KIND=tall SIZE=7 DEPTH=0",
        "fwd_new DEPTH=0 SIZE=7 KIND=tall",
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        struct variant v;
        struct status status = {0};
        long long values[VARIANT_PARAMETERS];
        assert_int_equal(variant_parse(&v, variants[i], strlen(variants[i]), &status), CL_SUCCESS);
        solvers_decode(&fwd_new, &v, values);
        assert_int_equal(values[KIND], 1);
        assert_int_equal(values[SIZE], 7);
        assert_int_equal(values[DEPTH], 0);
    }
}

/* ---- Launches ---- */

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
        long long values[VARIANT_PARAMETERS];
        struct stage stages[STAGES];
        const size_t count = solver->stages(&v, stages);
        solvers_decode(solver, &v, values);
        for (size_t kernel = 0; kernel < count; kernel++) {
            const struct ndrange range = launch_range(&stages[kernel], values, &most);
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
        cmocka_unit_test(variants_are_completed),
        cmocka_unit_test(a_fitness_has_its_sentence),
        cmocka_unit_test(features_tensors_are_read),
        cmocka_unit_test(every_parameter_is_decoded),
        cmocka_unit_test(grids_do_not_wrap),
        cmocka_unit_test(too_many_work_items_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
