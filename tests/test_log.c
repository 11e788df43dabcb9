/*
 * CLATTN_LOG: the problems of a process, each once, from several threads and processes.
 */
#define _POSIX_C_SOURCE 200809L
#include "device.h"
#include "heard.h"
#include "log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct test_device device;
static struct heard heard;
static clattn_context context;

static void plan_for(const char *words, const char *variant) {
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_plan plan = NULL;
    assert_int_equal(clattn_desc_parse(words, &desc), CL_SUCCESS);
    desc.variant = variant;
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CL_SUCCESS);
    clattn_plan_destroy(plan);
}

/* The file's text; "" where there is no file. */
static const char *contents(const char *path) {
    static char chars[1 << 20];
    FILE *file = fopen(path, "rb");
    const size_t length = file ? fread(chars, 1, sizeof chars - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    chars[length] = '\0';
    return chars;
}

static void each_problem_is_logged_once(void **state) {
    (void)state;
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_plan plans[2];
    heard = (struct heard){0};
    remove("log.txt");
    plan_for("q5 d8", "fwd_rows"); /* nobody asks */
    setenv("CLATTN_LOG", "log.txt", 1);
    assert_string_equal(contents("log.txt"), "");
    plan_for("q5 d8", "fwd_rows");
    plan_for("q5 d8", "fwd_rows WORK_GROUP=2");
    plan_for("q5 k5 d8:8 window-1,4", "fwd_rows"); /* the same in other words */
    plan_for("f32 q6 d8 causal", "fwd_rows");
    assert_int_equal(clattn_desc_parse("q7 d8", &desc), CL_SUCCESS);
    desc.variant = "fwd_rows";
    assert_int_equal(clattn_supports(context, &desc, NULL, 0, NULL), CL_SUCCESS); /* no plan */
    assert_int_equal(clattn_desc_parse("q8 d8 aligned", &desc), CL_SUCCESS);
    desc.variant = "fwd_rows";
    for (int i = 0; i < 2; i++) {
        assert_int_equal(clattn_plan_find(context, &desc, &plans[i]), CL_SUCCESS);
    }
    clattn_plan_destroy(plans[0]);
    clattn_plan_destroy(plans[1]);
    desc.variant = "fwd_new";
    assert_int_not_equal(clattn_plan_create(context, &desc, &plans[0]), CL_SUCCESS);
    assert_string_equal(contents("log.txt"), "f32 q5 d8\nf32 q6 d8 causal\nf32 q8 d8 aligned\n");
    assert_int_equal(heard.remarks, 0);

    setenv("CLATTN_LOG", "another.txt", 1);
    plan_for("q5 d8", "fwd_rows");
    assert_string_equal(contents("another.txt"), "f32 q5 d8\n");
    setenv("CLATTN_LOG", "", 1);
    plan_for("q9 d8", "fwd_rows");
    unsetenv("CLATTN_LOG");
    remove("log.txt");
    remove("another.txt");
}

static void what_cannot_be_written_is_remarked(void **state) {
    (void)state;
    static const char *const paths[] = {"no/such/folder/log.txt", ".", "/dev/full"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        heard = (struct heard){0};
        setenv("CLATTN_LOG", paths[i], 1);
        plan_for("q5 d8", "fwd_rows");
        plan_for("q5 d8", "fwd_rows");
        unsetenv("CLATTN_LOG");
        assert_int_equal(heard.failures, 0);
        assert_int_equal(heard.remarks, 1);
        assert_int_equal(strncmp(heard.message, "CLATTN_LOG: ", 12), 0);
        assert_non_null(strstr(heard.message, paths[i]));
    }
}

/* ---- Together ---- */

enum { PROCESSES = 4, THREADS = 4, PROBLEMS = 50 };

static void *log_many(void *data) {
    (void)data;
    for (cl_uint i = 1; i <= PROBLEMS; i++) {
        struct text remarks = {0};
        const struct problem p = {.type = CLATTN_F32,
                                  .type_k = CLATTN_F32,
                                  .type_v = CLATTN_F32,
                                  .type_o = CLATTN_F32,
                                  .batch = 1,
                                  .heads_q = 1,
                                  .heads_kv = 1,
                                  .seq_q = i,
                                  .seq_kv = i,
                                  .head_dim = 8,
                                  .head_dim_v = 8,
                                  .band_left = CLATTN_UNBOUNDED,
                                  .band_right = CLATTN_UNBOUNDED};
        log_problem(&p, &remarks);
        if (remarks.length) {
            _exit(1);
        }
    }
    return NULL;
}

/* Each line is whole and there as often as there are processes. */
static void lines_do_not_mix(void **state) {
    (void)state;
    pid_t children[PROCESSES];
    remove("together.txt");
    setenv("CLATTN_LOG", "together.txt", 1);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            pthread_t threads[THREADS];
            for (int j = 0; j < THREADS; j++) {
                if (pthread_create(&threads[j], NULL, log_many, NULL) != 0) {
                    _exit(1);
                }
            }
            for (int j = 0; j < THREADS; j++) {
                pthread_join(threads[j], NULL);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    unsetenv("CLATTN_LOG");
    unsigned counts[PROBLEMS + 1] = {0};
    for (const char *at = contents("together.txt"); *at; at = strchr(at, '\n') + 1) {
        unsigned rows = 0;
        char line[32];
        assert_int_equal(sscanf(at, "f32 q%u d8", &rows), 1);
        assert_true(rows >= 1 && rows <= PROBLEMS);
        snprintf(line, sizeof line, "f32 q%u d8\n", rows);
        assert_int_equal(strncmp(at, line, strlen(line)), 0);
        counts[rows]++;
    }
    for (int i = 1; i <= PROBLEMS; i++) {
        assert_int_equal(counts[i], PROCESSES);
    }
    remove("together.txt");
}

static int open_all(void **state) {
    (void)state;
    if (!test_device_open(&device)) {
        return -1;
    }
    context = heard_context(device.context, device.id, &heard);
    return context ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    clattn_context_destroy(context);
    test_device_close(&device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_problem_is_logged_once),
        cmocka_unit_test(what_cannot_be_written_is_remarked),
        cmocka_unit_test(lines_do_not_mix),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
