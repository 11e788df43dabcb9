/*
 * The program cache, and what a plan says of itself: how long a first and a second
 * plan take, CLATTN_DUMP, descriptions, and the message of a failed build.
 */
#define _POSIX_C_SOURCE 200809L /* setenv, mkdir, a clock that never goes back */
#include "context.h"
#include "device.h"
#include "dumped.h"
#include "heard.h"
#include "program.h"
#include "solvers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
#else
enum { SANITIZED = 0 };
#endif

static struct test_device tested;
static struct heard heard;
static clattn_context context;

static const char problem_text[] = "f16 b2 h8:2 q200 k300 d64 causal";

static clattn_desc desc_of(const char *words, const char *asked) {
    clattn_desc desc = CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse(words, &desc), CL_SUCCESS);
    desc.variant = asked;
    return desc;
}

static clattn_plan open_plan(const char *words, const char *asked) {
    const clattn_desc desc = desc_of(words, asked);
    clattn_plan plan = NULL;
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CL_SUCCESS);
    return plan;
}

static double seconds(void) {
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Must come first: the process has compiled nothing yet, and PoCL's own cache is
 * empty.  Other work on the machine lengthens the elapsed time, not the
 * processor's: the bound holds for the smaller. */
static void plans_are_made_in_time(void **state) {
    (void)state;
    const clock_t processor_start = clock();
    const double start = seconds();
    clattn_plan first = open_plan(problem_text, NULL);
    const double elapsed = seconds() - start;
    const double processor = (double)(clock() - processor_start) / CLOCKS_PER_SEC;
    print_message("%s: %s\nfirst plan: %.3f s elapsed, %.3f s of processor\n", tested.name,
                  clattn_plan_variant(first), elapsed, processor);

    enum { ROUNDS = 31 };
    double again[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        const double begin = seconds();
        clattn_plan plan = open_plan(problem_text, NULL);
        again[i] = seconds() - begin;
        assert_string_equal(clattn_plan_variant(plan), clattn_plan_variant(first));
        clattn_plan_destroy(plan);
    }
    qsort(again, ROUNDS, sizeof again[0], ascending);
    print_message("the same plan again: median %.1f us, of %d\n", 1e6 * again[ROUNDS / 2], ROUNDS);

    clattn_plan_destroy(first); /* the context keeps the program all the same */
    const double begin = seconds();
    clattn_plan_destroy(open_plan(problem_text, NULL));
    print_message("and after the last was destroyed: %.1f us\n", 1e6 * (seconds() - begin));
    if (SANITIZED || !strstr(tested.name, "Portable Computing Language")) {
        print_message("no bounds under a sanitizer, nor on a device but PoCL's\n");
        return;
    }
    assert_true(elapsed < 2 || processor < 2);
    assert_true(again[ROUNDS / 2] < 1e-3);
}

static char *describe(clattn_plan plan) {
    size_t needed = 0, again = 0;
    assert_int_equal(clattn_plan_describe(plan, NULL, 0, &needed), CL_SUCCESS);
    assert_true(needed > 1);
    char *const chars = malloc(needed);
    assert_non_null(chars);
    assert_int_equal(clattn_plan_describe(plan, chars, needed, &again), CL_SUCCESS);
    assert_int_equal(again, needed);
    assert_int_equal(strlen(chars), needed - 1);
    return chars;
}

/* The rest of the line that begins with a solver's name. */
static const char *line_of(const char *description, const char *solver) {
    for (const char *line = description; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, solver, strlen(solver)) == 0 && line[strlen(solver)] == ' ') {
            return line + strlen(solver) + 1;
        }
    }
    fail_msg("no line about %s in:\n%s", solver, description);
    return NULL;
}

static void plans_say_why(void **state) {
    (void)state;
    static const char *const solvers[] = {"fwd_lanes", "fwd_wgmma", "fwd_mma", "fwd_tile",
                                          "fwd_rows"};
    clattn_plan plan = open_plan(problem_text, NULL);
    char *description = describe(plan);
    print_message("%s", description);
    assert_non_null(strstr(description, problem_text));
    assert_non_null(strstr(description, clattn_plan_variant(plan)));
    int chosen = 0;
    for (size_t i = 0; i < sizeof solvers / sizeof solvers[0]; i++) {
        const char *const line = line_of(description, solvers[i]);
        assert_true(strcspn(line, "\n") > strlen("chosen: ")); /* a reason, not a word */
        chosen += strncmp(line, "chosen: ", strlen("chosen: ")) == 0;
    }
    assert_int_equal(chosen, 1);
    free(description);
    clattn_plan_destroy(plan);

    plan = open_plan(problem_text, "fwd_rows WORK_GROUP=16");
    assert_string_equal(clattn_plan_variant(plan), "fwd_rows WORK_GROUP=16");
    description = describe(plan);
    assert_int_equal(strncmp(line_of(description, "fwd_rows"), "chosen: ", 8), 0);
    assert_non_null(strstr(line_of(description, "fwd_rows"), "the caller"));
    free(description);
    clattn_plan_destroy(plan);
}

static void contexts_tell_their_facts(void **state) {
    (void)state;
    size_t needed = 0;
    assert_int_equal(clattn_context_describe(context, NULL, 0, &needed), CL_SUCCESS);
    char *const facts = malloc(needed);
    assert_non_null(facts);
    assert_int_equal(clattn_context_describe(context, facts, needed, NULL), CL_SUCCESS);
    cl_ulong local = 0;
    char line[64];
    clGetDeviceInfo(tested.id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof local, &local, NULL);
    snprintf(line, sizeof line, "local_memory_reported %llu\n", (unsigned long long)local);
    assert_non_null(strstr(facts, line));
    free(facts);
}

/* ---- CLATTN_DUMP ---- */

/* What is dumped is all that the driver needs. */
static void dumped_texts_are_complete(void **state) {
    (void)state;
    static const char folder[] = "dumped";
    mkdir(folder, 0700);
    setenv("CLATTN_DUMP", folder, 1);
    clattn_plan_destroy(open_plan("f32 q9 d5", "fwd_rows WORK_GROUP=8"));
    unsetenv("CLATTN_DUMP");
    char *const chars = dumped_take(folder, "fwd_rows");
    assert_non_null(strstr(chars, "fwd_rows WORK_GROUP=8"));
    cl_int status;
    const char *whole = chars;
    cl_program program = clCreateProgramWithSource(tested.context, 1, &whole, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    assert_int_equal(clBuildProgram(program, 1, &tested.id, "-cl-std=CL1.2", NULL, NULL),
                     CL_SUCCESS);
    cl_kernel kernel = clCreateKernel(program, "fwd_rows", &status);
    assert_int_equal(status, CL_SUCCESS);
    clReleaseKernel(kernel);
    clReleaseProgram(program);
    free(chars);

    setenv("CLATTN_DUMP", "no/such/folder", 1); /* is no error */
    heard.remarks = 0;
    clattn_plan_destroy(open_plan("f32 q9 d6", "fwd_rows WORK_GROUP=8"));
    unsetenv("CLATTN_DUMP");
    assert_int_equal(heard.remarks, 1);
    assert_non_null(strstr(heard.message, "CLATTN_DUMP: no/such/folder/fwd_rows-"));
}

/* ---- A build that fails ---- */

static struct program_recipe rows_recipe(void) {
    struct stage stages[STAGES];
    solvers_find("fwd_rows")->stages(NULL, stages);
    return stages[0].recipe;
}

static void failed_builds_carry_log_and_map(void **state) {
    (void)state;
    static const char constants[] = "#define LANES 1\n#error planted in the parameters\n";
    struct program_recipe recipe = rows_recipe();
    recipe.constants = constants;
    struct status status = {0};
    struct text remarks = {0};
    struct problem p;
    struct variant v;
    cl_program program = NULL;
    const clattn_desc desc = desc_of("q9 d5", NULL);
    assert_int_equal(problem_from_desc(&p, &desc, &status), CL_SUCCESS);
    assert_int_equal(variant_parse(&v, "fwd_rows WORK_GROUP=8", 21, &status), CL_SUCCESS);
    for (int i = 0; i < 2; i++) { /* a failure is not cached */
        assert_int_equal(program_get(&recipe, &p, &v, &context->programs, tested.context, tested.id,
                                     &program, &remarks, &status),
                         CL_BUILD_PROGRAM_FAILURE);
        assert_null(program);
    }
    const char *const message = text_chars(&status.sentence);
    print_message("%s", message);
    assert_non_null(strstr(message, "planted in the parameters"));
    unsigned first = 0, last = 0, line = 1;
    const char *at = strstr(message, "lines ");
    for (; at; at = strstr(at + 1, "\nlines ") ? strstr(at + 1, "\nlines ") + 1 : NULL) {
        assert_int_equal(sscanf(at, "lines %u-%u: ", &first, &last), 2);
        assert_int_equal(first, line); /* no gap */
        assert_true(last >= first);
        line = last + 1;
    }
    assert_non_null(strstr(message, ": fwd_rows.cl"));
    assert_true(line > 100);
    status_destroy(&status);
}

/* ---- A program that goes through PTX ---- */

/* Also in a context of several devices the text of the one is found; here it is no PTX, or PTX of
 * a kernel without marks. */
static void the_binary_of_the_device_is_taken(void **state) {
    (void)state;
    struct program_recipe recipe = rows_recipe();
    recipe.sm_90a = true;
    cl_device_id ids[64];
    cl_uint count = 0;
    cl_int code;
    assert_int_equal(clGetDeviceIDs(tested.platform, CL_DEVICE_TYPE_ALL, 64, ids, &count),
                     CL_SUCCESS);
    const cl_context whole = clCreateContext(NULL, count, ids, NULL, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    const cl_context contexts[] = {tested.context, whole};
    struct problem p;
    struct variant v;
    struct status status = {0};
    struct text remarks = {0};
    const clattn_desc desc = desc_of("q9 d5", NULL);
    assert_int_equal(problem_from_desc(&p, &desc, &status), CL_SUCCESS);
    assert_int_equal(variant_parse(&v, "fwd_rows WORK_GROUP=8", 21, &status), CL_SUCCESS);
    for (size_t i = 0; i < 2; i++) {
        cl_program program = NULL;
        assert_int_equal(program_get(&recipe, &p, &v, &context->programs, contexts[i], tested.id,
                                     &program, &remarks, &status),
                         CL_INVALID_BINARY);
        assert_null(program);
        print_message("%zu of %u devices: %s\n", i ? (size_t)count : (size_t)1, count,
                      text_chars(&status.sentence));
        assert_int_equal(strncmp(text_chars(&status.sentence), "ptx: ", 5), 0);
    }
    status_destroy(&status);
    clReleaseContext(whole);
}

static int open_context(void **state) {
    (void)state;
    if (!test_device_open(&tested)) {
        return -1;
    }
    context = heard_context(tested.context, tested.id, &heard);
    return context ? 0 : -1;
}

static int close_context(void **state) {
    (void)state;
    clattn_context_destroy(context);
    test_device_close(&tested);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_made_in_time),
        cmocka_unit_test(plans_say_why),
        cmocka_unit_test(contexts_tell_their_facts),
        cmocka_unit_test(dumped_texts_are_complete),
        cmocka_unit_test(failed_builds_carry_log_and_map),
        cmocka_unit_test(the_binary_of_the_device_is_taken),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
