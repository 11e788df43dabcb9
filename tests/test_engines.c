/*
 * Planted layout errors: does an emulated engine notice a wrong map?
 *
 * Emulation multiplies by the vendor's map from a matrix to lanes and registers, which each
 * engine writes down apart from its own, inverse maps (cl/engine.cl).  Here one of an engine's
 * maps at a time is altered in the composed text, and the plan runs that instead: a result
 * that is still right fails the test.  The altered program lies in the context's cache
 * under the text of the unaltered one.
 */
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "attention.h"
#include "cases.h"
#include "context.h"
#include "device.h"
#include "engines.h"
#include "heard.h"
#include "solvers.h"

static const struct test_case the_case = {"f16 q17 k33 d32:24", "bhsd", "", NULL};

/* In the named function (NULL: wherever it is first), `from` becomes `to`. */
struct mutation {
    const char *function, *from, *to;
    bool fast; /* FAST_LOADS=1, else 0 */
};

/* Of all engines: where the result of the map ends. */
static const struct mutation of_all[] = {
    {"engine_left_query(", ";", " ^ 1;", false},  {"engine_left_depth(", ";", " ^ 1;", false},
    {"engine_right_other(", ";", " ^ 1;", false}, {"engine_right_depth(", ";", " ^ 1;", false},
    {"engine_acc_query(", ";", " ^ 1;", false},   {"engine_acc_other(", ";", " ^ 1;", false},
};

static const struct {
    const char *engine;
    struct mutation mutations[6];
} of_engine[] = {
    {"nv80",
     {{NULL, "#define ENGINE_SHARE 3", "#define ENGINE_SHARE 1", false},
      {"engine_acc_slot(int", "e / 2", "e % 2", false},
      {"engine_weights(", "s[0][2], s[0][3]", "s[1][0], s[1][1]", false}}},
    {"amd_wmma11",
     {{NULL, "#define ENGINE_SHARE 16", "#define ENGINE_SHARE 0", false},
      /* Right for lanes 0 ... 15, which are all that the product reads; not for the copies. */
      {"engine_left_query(", "lane % 16", "(lane + lane / 16) % 16", false},
      {"engine_right_other(", "lane % 16", "(lane + lane / 16) % 16", false},
      {"engine_weights(", "w.lane < 16", "w.lane >= 16", false},
      {"engine_fast_left(", "lane % 16", "(lane ^ 1) % 16", true},
      {"engine_fast_rows(", "lane % 16", "(lane ^ 1) % 16", true}}},
    {"amd_wmma12",
     {{NULL, "#define ENGINE_SHARE 16", "#define ENGINE_SHARE 0", false},
      {"engine_weights(", "s[0][0], s[0][1]", "s[0][1], s[0][0]", false},
      {"engine_fast_left(", "lane / 16", "(1 - lane / 16)", true},
      {"engine_fast_rows(", "lane / 16", "(1 - lane / 16)", true}}},
    {"amd_mfma",
     {{NULL, "#define ENGINE_SHARE 48", "#define ENGINE_SHARE 16", false},
      {"engine_weights(", "s[0][0], s[0][1]", "s[0][1], s[0][0]", false},
      {"engine_fast_left(", "lane / 16", "(3 - lane / 16)", true},
      {"engine_fast_rows(", "lane / 16", "(3 - lane / 16)", true}}},
    {"intel_dpas8",
     {{"engine_weights(", "s[i / 4][i % 4 * 2]", "s[1 - i / 4][i % 4 * 2]", false},
      {"engine_fast_left(", "four, half_row", "four, 1 - half_row", true},
      {"engine_fast_rows(", "lane * 2", "(lane ^ 1) * 2", true},
      {"engine_fast_columns(", "first.s1", "second.s1", true}}},
    {"intel_dpas16",
     {{"engine_weights(", "s[i / 4][i % 4 * 2]", "s[1 - i / 4][i % 4 * 2]", false},
      {"engine_fast_left(", "four.s1", "four.s2", true},
      {"engine_fast_columns(", "four.s1", "four.s2", true}}},
};
enum { OF_ALL = sizeof of_all / sizeof *of_all, OF_ENGINE = 6 };

static struct test_device tested;

static void mutate(const char *chars, const struct mutation *m, struct text *out) {
    const char *start = m->function ? strstr(chars, m->function) : chars;
    /* A map's unused arguments are cast to void before it returns. */
    if (start && m->from[0] == ';') {
        start = strstr(start, "return ");
    }
    const char *at = start ? strstr(start, m->from) : NULL;
    const char *end = start && m->function ? strstr(start, "\n}\n") : NULL;
    if (!at || (end && at > end)) {
        fail_msg("there is no \"%s\" in %s", m->from, m->function ? m->function : "the text");
    } else if (m->from[0] == ';') {
        const char *value = start + strlen("return ");
        text_printf(out, "%.*s(%.*s)%s%s", (int)(value - chars), chars, (int)(at - value), value,
                    m->to, at + 1);
    } else {
        text_printf(out, "%.*s%s%s", (int)(at - chars), chars, m->to, at + strlen(m->from));
    }
    assert_false(out->failed);
}

static cl_int build(void *data, const char *composed, const char *options, cl_program *program,
                    struct status *status) {
    (void)composed;
    (void)status;
    const char *chars = text_chars(data);
    cl_int code;
    *program = clCreateProgramWithSource(tested.context, 1, &chars, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    code = clBuildProgram(*program, 1, &tested.id, options, NULL, NULL);
    if (code != CL_SUCCESS) {
        fail_msg("an altered program does not build: %s", clattn_status_name(code));
    }
    return code;
}

/* Is the answer right, with that mutation (NULL: none)? */
static bool right(const char *engine, const struct mutation *m) {
    struct case_setup setup;
    assert_true(cases_parse(&the_case, &setup));
    char variant_chars[128];
    snprintf(variant_chars, sizeof variant_chars, "fwd_mma ENGINE=%s EMULATED=1 FAST_LOADS=%d",
             engine, m && m->fast);
    setup.tensors.desc.variant = variant_chars;
    clattn_context context;
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = tested.context;
    desc.device = tested.id;
    assert_int_equal(clattn_context_create(&desc, &context), CL_SUCCESS);

    struct status status = {0};
    struct text why = {0}, composed = {0}, options = {0}, map = {0}, altered = {0};
    const struct solver *solver = solvers_find("fwd_mma");
    struct problem p;
    struct variant v;
    cl_program program = NULL;
    assert_int_equal(problem_from_desc(&p, &setup.tensors.desc, &status), CL_SUCCESS);
    assert_int_equal(variant_parse(&v, variant_chars, strlen(variant_chars), &status), CL_SUCCESS);
    struct stage stages[STAGES];
    assert_int_equal(solvers_complete(solver, &p, &context->device, &v, &why, &status), CL_SUCCESS);
    solver->stages(&v, stages);
    assert_int_equal(program_compose(&stages[0].recipe, &p, &v, &composed, &options, &map, &status),
                     CL_SUCCESS);
    if (m) {
        mutate(text_chars(&composed), m, &altered);
        assert_int_equal(cache_get(&context->programs, text_chars(&composed), text_chars(&options),
                                   &(struct cache_builder){build, &altered}, &program, &status),
                         CL_SUCCESS);
    }
    struct attention_case given = {.context = tested.context,
                                   .queue = tested.queue,
                                   .tensors = setup.tensors,
                                   .scale = setup.scale};
    assert_int_equal(clattn_plan_create(context, &setup.tensors.desc, &given.plan), CL_SUCCESS);
    struct compare_result result;
    const bool is_right = attention_right(&given, &result);
    clattn_plan_destroy(given.plan);
    if (program) {
        clReleaseProgram(program);
    }
    struct text *const texts[] = {&why, &composed, &options, &map, &altered};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        text_destroy(texts[i]);
    }
    status_destroy(&status);
    clattn_context_destroy(context);
    return is_right;
}

static void check_killed(const char *engine, const struct mutation *m) {
    if (right(engine, m)) {
        fail_msg("%s: the result is right with \"%s\" for \"%s\" in %s", engine, m->to, m->from,
                 m->function ? m->function : "its text");
    }
}

static void planted_errors_show(void **state) {
    const char *name = *state;
    fprintf(stderr, "%s: what is wrong in the next lines is meant to be\n", name);
    for (size_t i = 0; i < OF_ALL; i++) {
        check_killed(name, &of_all[i]);
    }
    for (size_t e = 0; e < sizeof of_engine / sizeof *of_engine; e++) {
        const struct mutation *mutations = of_engine[e].mutations;
        for (size_t i = 0; i < OF_ENGINE && mutations[i].from; i++) {
            if (strcmp(of_engine[e].engine, name) == 0) {
                check_killed(name, &mutations[i]);
            }
        }
    }
    assert_true(right(name, NULL)); /* so that it is the mutations that are wrong */
}

static void errors_are_of_engines_that_there_are(void **state) {
    (void)state;
    for (size_t e = 0; e < sizeof of_engine / sizeof *of_engine; e++) {
        assert_non_null(engines_find(of_engine[e].engine, strlen(of_engine[e].engine)));
    }
}

static int open_device(void **state) {
    (void)state;
    return test_device_open(&tested) ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    test_device_close(&tested);
    return 0;
}

int main(void) {
    const struct CMUnitTest common[] = {
        cmocka_unit_test(errors_are_of_engines_that_there_are),
    };
    int failed = cmocka_run_group_tests(common, open_device, close_device);
    for (const struct engine *engine = engines_table; engine->name; engine++) {
        const struct CMUnitTest planted[] = {
            {engine->name, planted_errors_show, NULL, NULL, (void *)engine->name}};
        if (engine->architectures) {
            failed += cmocka_run_group_tests_name(engine->name, planted, open_device, close_device);
        }
    }
    return failed;
}
