/* Plans for cases, and what is skipped where. */
#include "suite.h"

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
#include "backward.h"
#include "blocks.h"
#include "clattn.h"
#include "compare.h"
#include "device.h"
#include "reference.h"

static struct suite {
    const struct suite_subject *subject;
    struct test_device device;
    clattn_context context;
    const struct cases_solver *solver;
    const char *variant; /* NULL: automatic */
    size_t ran;
    struct compare_result worst[CLATTN_BF16 + 1];
    struct compare_gradients worst_gradients[CLATTN_BF16 + 1];
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

/* The case's variant with those parameters of the suite's variant that it does not name. */
static const char *merge_variants(const char *variant, char *out, size_t capacity) {
    if (!variant)
        return suite.variant;
    snprintf(out, capacity, "%s", variant);
    char word[64], name[65];
    int length;
    for (const char *rest = suite.variant ? suite.variant + strlen(suite.solver->name) : "";
         sscanf(rest, " %63s%n", word, &length) == 1; rest += length) {
        snprintf(name, sizeof name, " %.*s", (int)strcspn(word, "=") + 1, word);
        if (!strstr(variant, name)) {
            const size_t used = strlen(out);
            snprintf(out + used, capacity - used, " %s", word);
        }
    }
    return out;
}

/* What the solver has no way to answer on any device. */
static bool is_beyond(const struct cases_solver *solver, const clattn_desc *desc) {
    const struct reference_types t = reference_types(desc);
    const bool mixed = t.k != t.q || t.v != t.q || t.o != t.q;
    const bool blocked = blocks_has(t.k) || blocks_has(t.v);
    return (blocked &&
            (solver->pass == CLATTN_BACKWARD || strcmp(solver->name, "standard") == 0)) ||
           (solver->halves && (mixed || t.q == CLATTN_F32)) || (desc->features & solver->lacks) ||
           (solver->most_dim &&
            (desc->head_dim > solver->most_dim || desc->head_dim_v > solver->most_dim));
}

static bool forward_right(const struct attention_case *given) {
    struct compare_result result, *worst = &suite.worst[given->tensors.desc.type];
    const bool ok = attention_right(given, &result);
    worst->o = fmax(worst->o, result.o);
    worst->lse = fmax(worst->lse, result.lse);
    worst->rows += result.rows;
    worst->ill_rows += result.ill_rows;
    return ok;
}

static bool gradients_right(const struct attention_case *given) {
    struct compare_gradients result, *worst = &suite.worst_gradients[given->tensors.desc.type];
    const bool ok = backward_right(given, &result);
    for (int i = 0; i < GRADIENTS; i++)
        worst->ratio[i] = fmax(worst->ratio[i], result.ratio[i]);
    worst->plain_ratio = fmax(worst->plain_ratio, result.plain_ratio);
    worst->rows += result.rows;
    worst->ill_rows += result.ill_rows;
    return ok;
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
                                   .scale = setup.scale,
                                   .demands = setup.demands};
    char merged[512];
    given.tensors.desc.pass = suite.solver->pass;
    given.tensors.desc.variant = merge_variants(test_case->variant, merged, sizeof merged);
    cl_int status = clattn_plan_create(suite.context, &given.tensors.desc, &given.plan);
    const bool driver = strstr(suite.message, "PoCL after 3.1") != NULL; /* its fault, told */
    if (status == CLATTN_UNSUPPORTED && (driver || !(suite.solver->where & suite.device.type)))
        skip_case(suite.message);
    /* A matrix engine is to be named where the device has none. */
    if (status == CLATTN_UNSUPPORTED && strstr(suite.message, "has no matrix engine") &&
        !strstr(given.tensors.desc.variant, "ENGINE="))
        skip_case(suite.message);
    const bool beyond = is_beyond(suite.solver, &given.tensors.desc);
    if (status == CLATTN_UNSUPPORTED && beyond)
        skip_case(suite.message);
    if (status == CL_SUCCESS && beyond)
        fail_msg("%s must refuse it", suite.solver->name);
    if (status != CL_SUCCESS)
        fail_msg("plan: %s: %s", clattn_status_name(status), suite.message);
    suite.ran++;
    given.tensors.workspace_svm =
        setup.tensors.svm && !strstr(suite.solver->name, "standard"); /* which takes none */
    status = clattn_plan_workspace_size(given.plan, &given.tensors.workspace);
    assert_int_equal(status, CL_SUCCESS);

    const bool backward = given.tensors.desc.pass == CLATTN_BACKWARD;
    const bool ok = backward ? gradients_right(&given) : forward_right(&given);
    if (!ok)
        fprintf(stderr,
                "reproduce: %s --solver \"%s\" --problem \"%s\" --layout %s --with \"%s\"\n",
                suite.subject->program, clattn_plan_variant(given.plan), test_case->problem,
                test_case->layout, test_case->with);
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
    const bool backward = suite.solver->pass == CLATTN_BACKWARD;
    for (clattn_type type = CLATTN_F32; backward && type <= CLATTN_BF16; type++) {
        const struct compare_gradients *worst = &suite.worst_gradients[type];
        print_message("%s: largest error / bound: d_q %.3f, d_k %.3f, d_v %.3f; by the plain "
                      "computation %.3f; ill-conditioned: %zu of %zu rows\n",
                      types[type], worst->ratio[GRADIENT_Q], worst->ratio[GRADIENT_K],
                      worst->ratio[GRADIENT_V], worst->plain_ratio, worst->ill_rows, worst->rows);
    }
    for (clattn_type type = CLATTN_F32; !backward && type <= CLATTN_BF16; type++)
        print_message("%s: largest error / bound: o %.3f, lse %.3f; ill-conditioned: %zu of %zu "
                      "rows\n",
                      types[type], suite.worst[type].o, suite.worst[type].lse,
                      suite.worst[type].ill_rows, suite.worst[type].rows);
    clattn_context_destroy(suite.context);
    return 0;
}

/* Does the table's case run here?  One that is malformed does, and says what is wrong. */
static bool is_chosen(const struct test_case *test_case, const char *variant, bool small) {
    struct case_setup setup;
    if (test_case->variant && cases_solver_of(test_case->variant) != suite.solver)
        return false;
    if (!cases_parse(test_case, &setup))
        return true;
    const clattn_desc *desc = &setup.tensors.desc;
    const size_t elements = (size_t)desc->seq_kv * (desc->head_dim + desc->head_dim_v);
    return (!small || elements <= 8400) &&
           (!suite.subject->affords || suite.subject->affords(variant, suite.device.type, desc));
}

static int run_cases(const struct test_case *const *cases, size_t count) {
    struct CMUnitTest *tests = calloc(count + 1, sizeof *tests);
    char(*names)[256] = calloc(count + 1, sizeof *names);
    if (!tests || !names)
        return EXIT_FAILURE;
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof *names, "%s | %s %s | %s", cases[i]->problem, cases[i]->layout,
                 cases[i]->with, cases[i]->variant ? cases[i]->variant : suite.solver->name);
        tests[i] = (struct CMUnitTest){names[i], check_case, NULL, NULL, NULL};
        tests[i].initial_state = (void *)(uintptr_t)cases[i];
    }
    int failed = _cmocka_run_group_tests(suite.solver->name, tests, count, open_suite, close_suite);
    free(tests);
    free(names);
    return failed ? EXIT_FAILURE : suite.ran ? EXIT_SUCCESS : 77;
}

/* Every part.y-th case, from the part.x-th one on. */
struct part {
    unsigned x, y;
};

static int run_table(const char *variant, bool small, struct part part) {
    const struct suite_subject *subject = suite.subject;
    const bool backward = subject->backward && suite.solver->pass == CLATTN_BACKWARD;
    const struct test_case *cases = backward ? subject->backward : subject->cases;
    const size_t cases_of_pass = backward ? subject->backward_count : subject->count;
    const struct test_case **chosen = calloc(cases_of_pass + 1, sizeof *chosen);
    size_t count = 0, all = 0;
    if (!chosen)
        return EXIT_FAILURE;
    for (size_t i = 0; i < cases_of_pass; i++)
        if (is_chosen(&cases[i], variant, small) && ++all % part.y == part.x % part.y)
            chosen[count++] = &cases[i];
    if (!count)
        printf("skipped: no case of %s is for this device and %s\n", subject->program, variant);
    int result = count ? run_cases(chosen, count) : 77;
    free(chosen);
    return result;
}

int suite_main(int argc, char **argv, const struct suite_subject *subject) {
    struct test_case single = {NULL, "bhsd", "", NULL};
    const struct test_case *only = &single;
    const char *solver = NULL;
    const char *some = "1/1";
    struct part part;
    bool small = false, understood = true;
    const struct {
        const char *name;
        const char **value;
    } options[] = {{"--solver", &solver},
                   {"--part", &some},
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
    suite.subject = subject;
    suite.solver = solver ? cases_solver_of(solver) : NULL;
    understood = understood && sscanf(some, "%u/%u", &part.x, &part.y) == 2 && part.y > 0;
    if (!understood || !suite.solver) {
        fprintf(stderr,
                "usage: %s --solver auto|VARIANT [--small] [--part X/Y]\n"
                "       %s --solver auto|VARIANT --problem TEXT [--layout NAME] [--with WORDS]\n"
                "--part: every Y-th case of the table, from the X-th one on\n",
                subject->program, subject->program);
        return 2;
    }
    suite.variant = suite.solver->variant ? solver : NULL;
    if (!test_device_open(&suite.device))
        return 4;
    int result = single.problem ? run_cases(&only, 1) : run_table(solver, small, part);
    test_device_close(&suite.device);
    return result;
}
