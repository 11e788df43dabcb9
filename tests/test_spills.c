/*
 * What the driver's own compiler spills of fwd_mma's built-in variants: nothing.
 *
 * NVIDIA's tells it in the build log with -cl-nv-verbose; no other driver is known to, and
 * there the test is skipped (the offline tests look at other compilers).  The text is that
 * of CLATTN_DUMP.  The driver's cache is off: for a program in it there is no log.
 */
#define _POSIX_C_SOURCE 200809L /* setenv, mkdir */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clattn.h"
#include "device.h"
#include "dumped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static const char folder[] = "dumped";
static struct test_device tested;
static clattn_context context;

/* Bytes spilled, stores and loads, of all functions that a log tells of; -1: it tells nothing. */
static long spilled(const char *log) {
    static const char *const words[] = {" bytes spill stores", " bytes spill loads"};
    long bytes = 0;
    bool told = false;
    for (int i = 0; i < 2; i++) {
        for (const char *at = log; (at = strstr(at, words[i])) != NULL; at++) {
            const char *digit = at;
            while (digit > log && digit[-1] >= '0' && digit[-1] <= '9') {
                digit--;
            }
            bytes += strtol(digit, NULL, 10);
            told = true;
        }
    }
    return told ? bytes : -1;
}

static void logs_are_read(void **state) {
    (void)state;
    assert_int_equal(spilled(""), -1);
    assert_int_equal(spilled("ptxas info    : 0 bytes gmem\n"), -1);
    assert_int_equal(spilled("ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 "
                             "bytes spill loads\n"),
                     0);
    assert_int_equal(spilled("    16 bytes stack frame, 16 bytes spill stores, 24 bytes spill "
                             "loads\n 8 bytes stack frame, 8 bytes spill stores, 8 bytes spill "
                             "loads\n"),
                     56);
}

/* The options in the text's second line, and the one that makes the driver talk. */
static void read_options(const char *chars, char *options, size_t capacity) {
    static const char begin[] = "/* options ";
    const char *from = strstr(chars, begin), *end = from ? strstr(from, " */") : NULL;
    assert_non_null(end);
    from += strlen(begin);
    snprintf(options, capacity, "%.*s -cl-nv-verbose", (int)(end - from), from);
}

static long build(const char *chars) {
    char options[512];
    read_options(chars, options, sizeof options);
    cl_int status;
    cl_program program = clCreateProgramWithSource(tested.context, 1, &chars, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    assert_int_equal(clBuildProgram(program, 1, &tested.id, options, NULL, NULL), CL_SUCCESS);
    size_t size = 0;
    assert_int_equal(
        clGetProgramBuildInfo(program, tested.id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size),
        CL_SUCCESS);
    char *const log = calloc(1, size + 1);
    assert_non_null(log);
    assert_int_equal(
        clGetProgramBuildInfo(program, tested.id, CL_PROGRAM_BUILD_LOG, size, log, NULL),
        CL_SUCCESS);
    const long bytes = spilled(log);
    free(log);
    clReleaseProgram(program);
    return bytes;
}

static void built_in_variants_keep_to_registers(void **state) {
    (void)state;
    static const char *const types[] = {"f16", "bf16"};
    static const int dims[] = {64, 128, 256};
    static const char *const masks[] = {"", " causal"};
    int wrong = 0;
    if (!strstr(tested.name, "NVIDIA")) {
        skip();
    }
    mkdir(folder, 0700);
    for (int i = 0; i < 12; i++) {
        char words[64], *chars;
        clattn_desc desc = CLATTN_DESC_INIT;
        clattn_plan plan = NULL;
        snprintf(words, sizeof words, "%s h16 q4096 d%d%s", types[i / 6], dims[i / 2 % 3],
                 masks[i % 2]);
        assert_int_equal(clattn_desc_parse(words, &desc), CL_SUCCESS);
        desc.variant = "fwd_mma";
        setenv("CLATTN_DUMP", folder, 1);
        const cl_int status = clattn_plan_create(context, &desc, &plan);
        unsetenv("CLATTN_DUMP");
        if (status == CLATTN_UNSUPPORTED) {
            print_message("no matrix engine\n");
            skip();
        }
        assert_int_equal(status, CL_SUCCESS);
        chars = dumped_take(folder, "fwd_mma");
        const long bytes = build(chars);
        print_message("%s: %s: %ld bytes spilled\n", words, clattn_plan_variant(plan), bytes);
        wrong += bytes != 0;
        free(chars);
        clattn_plan_destroy(plan);
    }
    assert_int_equal(wrong, 0);
}

static int open_context(void **state) {
    (void)state;
    setenv("CUDA_CACHE_DISABLE", "1", 1);
    if (!test_device_open(&tested)) {
        return -1;
    }
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = tested.context;
    desc.device = tested.id;
    return clattn_context_create(&desc, &context) == CL_SUCCESS ? 0 : -1;
}

static int close_context(void **state) {
    (void)state;
    clattn_context_destroy(context);
    test_device_close(&tested);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_are_read),
        cmocka_unit_test(built_in_variants_keep_to_registers),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
