/*
 * Attention as every solver computes it, against the reference.
 *
 *     test_attention --solver NAME|auto [--small]
 *     test_attention --solver ROW --problem TEXT [--layout NAME] [--with WORDS]
 *
 * The first form runs the table of cases.c (--small: what a device can do whose
 * loops end at 65535 rounds); the second runs one problem, and is what a failure
 * prints.  What is checked: attention.h.  Exit codes: 1 failed, 2 usage, 4 no
 * device, 77 all skipped.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attention.h"
#include "cases.h"
#include "clattn.h"
#include "compare.h"
#include "device.h"

static struct suite {
    struct test_device device;
    clattn_context context;
    const struct cases_solver *solver;
    const char *row; /* NULL: automatic */
    size_t ran;
    struct compare_result worst[CLATTN_BF16 + 1];
    char message[8192]; /* the library's last sentence */
} suite;

static void CL_CALLBACK notify(cl_int status, const char *message, void *user_data) {
    (void)user_data;
    snprintf(suite.message, sizeof suite.message, "%s", message);
    if (status == CL_SUCCESS)
        fprintf(stderr, "remark: %s\n", message);
}

/* ---- One case ---- */

static void skip_case(const char *why) {
    print_message("skipped: %s\n", why);
    skip();
}

/* The case's row with those parameters of the suite's row that it does not name. */
static const char *merge_rows(const char *row, char *out, size_t capacity) {
    if (!row)
        return suite.row;
    snprintf(out, capacity, "%s", row);
    char word[64], name[65];
    int length;
    for (const char *rest = suite.row ? suite.row + strlen(suite.solver->name) : "";
         sscanf(rest, " %63s%n", word, &length) == 1; rest += length) {
        snprintf(name, sizeof name, " %.*s", (int)strcspn(word, "=") + 1, word);
        if (!strstr(row, name)) {
            const size_t used = strlen(out);
            snprintf(out + used, capacity - used, " %s", word);
        }
    }
    return out;
}

/* What the solver has no way to answer on any device. */
static bool is_beyond(const struct cases_solver *solver, const clattn_desc *desc) {
    return (solver->halves && desc->type == CLATTN_F32) ||
           (solver->most_dim &&
            (desc->head_dim > solver->most_dim || desc->head_dim_v > solver->most_dim));
}

static void check_case(void **state) {
    const struct test_case *test_case = *state;
    struct case_setup setup;
    assert_true(cases_parse(test_case, &setup));
    if (setup.tensors.svm && !suite.device.svm)
        skip_case("the device has no shared virtual memory");
    if (setup.unordered && !suite.device.unordered)
        skip_case("the device has no out-of-order queues");

    struct attention_case given = {.context = suite.device.context,
                                   .queue = setup.unordered ? suite.device.unordered
                                                            : suite.device.queue,
                                   .tensors = setup.tensors,
                                   .scale = setup.scale};
    char merged[512];
    given.tensors.desc.row = merge_rows(test_case->row, merged, sizeof merged);
    cl_int status = clattn_plan_create(suite.context, &given.tensors.desc, &given.plan);
    const bool driver = strstr(suite.message, "PoCL after 3.1") != NULL; /* its fault, told */
    if (status == CLATTN_UNSUPPORTED && (driver || !(suite.solver->where & suite.device.type)))
        skip_case(suite.message);
    /* A matrix engine is to be named where the device has none. */
    if (status == CLATTN_UNSUPPORTED && strstr(suite.message, "has no matrix engine") &&
        !strstr(given.tensors.desc.row, "ENGINE="))
        skip_case(suite.message);
    const bool beyond = is_beyond(suite.solver, &given.tensors.desc);
    if (status == CLATTN_UNSUPPORTED && beyond)
        skip_case(suite.message);
    if (status == CL_SUCCESS && beyond)
        fail_msg("%s must refuse it", suite.solver->name);
    if (status != CL_SUCCESS)
        fail_msg("plan: %s: %s", clattn_status_name(status), suite.message);
    suite.ran++;
    status = clattn_plan_workspace_size(given.plan, &given.tensors.workspace);
    assert_int_equal(status, CL_SUCCESS);

    struct compare_result result, *worst = &suite.worst[given.tensors.desc.type];
    bool ok = attention_right(&given, &result);
    worst->o = fmax(worst->o, result.o);
    worst->lse = fmax(worst->lse, result.lse);
    if (!ok)
        fprintf(stderr,
                "reproduce: test_attention --solver \"%s\" --problem \"%s\" --layout %s --with "
                "\"%s\"\n",
                clattn_plan_row(given.plan), test_case->problem, test_case->layout,
                test_case->with);
    clattn_plan_destroy(given.plan);
    assert_true(ok);
}

/* ---- The suite ---- */

static int open_suite(void **state) {
    (void)state;
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = suite.device.context;
    desc.device = suite.device.id;
    desc.notify = notify;
    cl_int status = clattn_context_create(&desc, &suite.context);
    if (status != CL_SUCCESS)
        fprintf(stderr, "%s: %s\n", clattn_status_name(status), suite.message);
    return status == CL_SUCCESS ? 0 : -1;
}

static int close_suite(void **state) {
    (void)state;
    static const char *const types[] = {[CLATTN_F32] = "f32", [CLATTN_F16] = "f16", "bf16"};
    for (clattn_type type = CLATTN_F32; type <= CLATTN_BF16; type++)
        print_message("%s: largest error / bound: o %.3f, lse %.3f\n", types[type],
                      suite.worst[type].o, suite.worst[type].lse);
    clattn_context_destroy(suite.context);
    return 0;
}

static bool is_small(const struct test_case *test_case) {
    struct case_setup setup;
    if (!cases_parse(test_case, &setup))
        return true; /* the case itself says what is wrong */
    const clattn_desc *desc = &setup.tensors.desc;
    return (size_t)desc->seq_kv * (desc->head_dim + desc->head_dim_v) <= 8400;
}

static int run_cases(const struct test_case *cases, size_t count, bool small) {
    struct CMUnitTest *tests = calloc(count, sizeof *tests);
    char(*names)[256] = calloc(count, sizeof *names);
    size_t chosen = 0;
    if (!tests || !names)
        return EXIT_FAILURE;
    for (size_t i = 0; i < count; i++) {
        const struct test_case *test_case = &cases[i];
        if ((test_case->row && cases_solver_of(test_case->row) != suite.solver) ||
            (small && !is_small(test_case)))
            continue;
        snprintf(names[chosen], sizeof *names, "%s | %s %s | %s", test_case->problem,
                 test_case->layout, test_case->with,
                 test_case->row ? test_case->row : suite.solver->name);
        struct CMUnitTest test = {names[chosen], check_case, NULL, NULL, NULL};
        test.initial_state = (void *)(uintptr_t)test_case;
        tests[chosen++] = test;
    }
    int failed =
        _cmocka_run_group_tests(suite.solver->name, tests, chosen, open_suite, close_suite);
    free(tests);
    free(names);
    return failed ? EXIT_FAILURE : suite.ran ? EXIT_SUCCESS : 77;
}

int main(int argc, char **argv) {
    struct test_case single = {NULL, "bhsd", "", NULL};
    const char *solver = NULL;
    bool small = false, understood = true;
    const struct {
        const char *name;
        const char **value;
    } options[] = {{"--solver", &solver},
                   {"--problem", &single.problem},
                   {"--layout", &single.layout},
                   {"--with", &single.with}};
    for (int i = 1; i < argc; i++) {
        size_t o = 0;
        while (o < sizeof options / sizeof *options && strcmp(argv[i], options[o].name) != 0)
            o++;
        if (strcmp(argv[i], "--small") == 0)
            small = true;
        else if (o < sizeof options / sizeof *options && i + 1 < argc)
            *options[o].value = argv[++i];
        else
            understood = false;
    }
    suite.solver = solver ? cases_solver_of(solver) : NULL;
    if (!understood || !suite.solver) {
        fprintf(stderr, "usage: test_attention --solver auto|ROW [--small | --problem TEXT "
                        "[--layout NAME] [--with WORDS]]\n");
        return 2;
    }
    suite.row = suite.solver->row ? solver : NULL;
    if (!test_device_open(&suite.device))
        return 4;
    int result =
        single.problem ? run_cases(&single, 1, false) : run_cases(cases_table, cases_count, small);
    test_device_close(&suite.device);
    return result;
}
