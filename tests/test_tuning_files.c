/*
 * Tuning files: which are read, in which order, and what becomes of those that cannot be.
 */
#define _POSIX_C_SOURCE 200809L
#include "context.h"
#include "device.h"
#include "heard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void write_file(const char *path, const char *chars) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(chars, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void set(const char *name, const char *value) {
    assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

/* The environment of one case; NULL: not set. */
static void set_all(const char *named, const char *xdg, const char *home) {
    set("CLATTN_TUNING", named);
    set("XDG_CONFIG_HOME", xdg);
    set("HOME", home);
}

/* An absolute path in the test's folder. */
static char *absolute(const char *path) {
    static char whole[4][4096];
    static size_t turn;
    char *at = whole[turn++ % 4], here[2048];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(at, sizeof whole[0], "%s/%s", here, path);
    return at;
}

/* ---- Which ---- */

static void the_files_are_read_in_their_order(void **state) {
    (void)state;
    char *xdg = absolute("xdg"), *home = absolute("home"), *nowhere = absolute("nowhere");
    static const struct {
        const char *path, *named;
        int xdg, home;          /* 0: not set, 1: has a file, 2: has none, 3: relative, 4: empty */
        const char *solvers[3]; /* of the first line of each table */
    } cases[] = {
        {"a.txt", "b.txt", 1, 1, {"a", "b", "xdg"}},  {"a.txt", "b.txt", 0, 1, {"a", "b", "home"}},
        {"a.txt", "b.txt", 3, 1, {"a", "b", "home"}}, {"a.txt", "b.txt", 4, 1, {"a", "b", "home"}},
        {"a.txt", "b.txt", 2, 1, {"a", "b", NULL}},   {NULL, "b.txt", 1, 1, {"b", "xdg", NULL}},
        {NULL, "", 1, 1, {"xdg", NULL, NULL}},        {NULL, NULL, 1, 0, {"xdg", NULL, NULL}},
        {NULL, NULL, 0, 0, {NULL, NULL, NULL}},       {NULL, NULL, 0, 2, {NULL, NULL, NULL}},
        {NULL, NULL, 0, 4, {NULL, NULL, NULL}},       {"", "b.txt", 1, 1, {NULL, NULL, NULL}},
    };
    const char *const xdgs[] = {NULL, xdg, nowhere, "xdg", ""};
    const char *const homes[] = {NULL, home, nowhere, NULL, ""};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tuning_files f = {.count = 0};
        struct text remarks = {0};
        struct status status = {0};
        set_all(cases[i].named, xdgs[cases[i].xdg], homes[cases[i].home]);
        assert_int_equal(tuning_files_read(&f, cases[i].path, &remarks, &status), CL_SUCCESS);
        assert_string_equal(text_chars(&remarks), "");
        for (size_t j = 0; j < TUNING_FILES; j++) {
            const char *solver = cases[i].solvers[j];
            if (j >= f.count ? solver != NULL
                             : !solver || strcmp(f.tables[j].text + strlen("* ; * ; "), solver)) {
                fail_msg("case %zu, table %zu: not %s", i, j, solver ? solver : "missing");
            }
        }
        tuning_files_destroy(&f);
    }
}

/* ---- What is wrong with them ---- */

static void write_large(const char *path, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < bytes; i++) {
        fputc(i % 64 == 63 ? '\n' : '#', file);
    }
    assert_int_equal(fclose(file), 0);
}

/* An unreadable file is an error where the desc names it, else a remark; a missing one at home is
 * neither. */
static void what_cannot_be_read(void **state) {
    (void)state;
    static const struct {
        const char *path, *words;
    } files[] = {
        {"missing.txt", "cannot open \""},
        {"a.txt/below_a_file.txt", "cannot open \""},
        {"folder", "is not a text of at most 4 MiB"},
        {"nul.txt", "is not a text of at most 4 MiB"},
        {"too_large.txt", "is not a text of at most 4 MiB"},
        {"just_right.txt", NULL},
        {"marked.txt", NULL},
        {"only_a_mark.txt", NULL},
        {"empty.txt", NULL},
    };
    mkdir("folder", 0700);
    write_file("marked.txt", "\xEF\xBB\xBF* ; * ; fwd_rows\n");
    write_file("only_a_mark.txt", "\xEF\xBB\xBF");
    write_file("empty.txt", "");
    write_large("just_right.txt", TUNING_LONGEST_FILE);
    write_large("too_large.txt", TUNING_LONGEST_FILE + 1);
    FILE *file = fopen("nul.txt", "wb");
    assert_non_null(file);
    assert_int_equal(fwrite("* ; * ; fwd_rows\0\n", 1, 18, file), 18);
    assert_int_equal(fclose(file), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        for (int named = 0; named < 2; named++) {
            struct tuning_files f = {.count = 0};
            struct text remarks = {0};
            struct status status = {0};
            set_all(named ? files[i].path : NULL, NULL, NULL);
            const cl_int code =
                tuning_files_read(&f, named ? NULL : files[i].path, &remarks, &status);
            const char *told = named ? text_chars(&remarks) : text_chars(&status.sentence);
            assert_int_equal(code, !named && files[i].words ? CLATTN_INVALID_TUNING : CL_SUCCESS);
            assert_int_equal(f.count, !files[i].words);
            if (files[i].words
                    ? !strstr(told, files[i].words) || !strstr(told, files[i].path) ||
                          strncmp(told, named ? "CLATTN_TUNING: " : "tuning_path: ", 13) != 0
                    : *told != '\0') {
                fail_msg("%s: \"%s\"", files[i].path, told);
            }
            tuning_files_destroy(&f);
            text_destroy(&remarks);
            status_destroy(&status);
        }
    }
    struct tuning_files f = {.count = 0};
    struct text remarks = {0};
    struct status status = {0};
    set_all(NULL, absolute("folder_at_home"), NULL);
    mkdir("folder_at_home", 0700);
    mkdir("folder_at_home/clattn", 0700);
    mkdir("folder_at_home/clattn/tuning.txt", 0700);
    assert_int_equal(tuning_files_read(&f, NULL, &remarks, &status), CL_SUCCESS);
    assert_non_null(
        strstr(text_chars(&remarks), "folder_at_home/clattn/tuning.txt\" is not a text"));
    tuning_files_destroy(&f);
    text_destroy(&remarks);
    remove("too_large.txt");
    remove("just_right.txt");
}

/* ---- A context with them ---- */

static struct test_device device;
static struct heard heard;

/* Makes a context, and counts what notify hears on the way; NULL where there is none. */
static clattn_context make(const char *path) {
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    clattn_context made = NULL;
    desc.context = device.context;
    desc.device = device.id;
    desc.notify = heard_notify;
    desc.user_data = &heard;
    desc.tuning_path = path;
    heard = (struct heard){0};
    assert_int_equal(clattn_context_create(&desc, &made), CL_SUCCESS);
    return made;
}

static void bad_lines_cost_a_remark_each(void **state) {
    (void)state;
    static const char chars[] = "nonsense\n* ; * ; fwd_rows WORK_GROUP=2 ; driver=\"other; one\"\n"
                                "* ; f99 ; fwd_rows\n";
    char place[64];
    mkdir("wrong", 0700);
    mkdir("wrong/clattn", 0700);
    write_file("wrong/clattn/tuning.txt", chars);
    for (int way = 0; way < 3; way++) {
        set_all(way == 1 ? "wrong/clattn/tuning.txt" : NULL, way == 2 ? absolute("wrong") : NULL,
                NULL);
        clattn_context made = make(way == 0 ? "wrong/clattn/tuning.txt" : NULL);
        assert_int_equal(heard.failures, 0);
        assert_int_equal(heard.remarks, 2);
        assert_non_null(strstr(heard.message, "wrong/clattn/tuning.txt:3: \"f99\" is no word"));

        clattn_desc desc = CLATTN_DESC_INIT;
        char text[1 << 14];
        assert_int_equal(clattn_desc_parse("q100 d64", &desc), CL_SUCCESS);
        assert_int_equal(clattn_supports(made, &desc, text, sizeof text, NULL), CL_SUCCESS);
        snprintf(place, sizeof place,
                 "wrong/clattn/tuning.txt:2, measured with driver other; one)");
        assert_non_null(strstr(text, "chosen: fwd_rows WORK_GROUP=2 (from the tuning file "));
        assert_non_null(strstr(text, place));
        clattn_context_destroy(made);
    }
}

static void an_empty_path_turns_them_off(void **state) {
    (void)state;
    clattn_desc desc = CLATTN_DESC_INIT;
    char text[1 << 14];
    set_all("rows.txt", absolute("xdg"), NULL);
    write_file("rows.txt", "* ; * ; fwd_rows WORK_GROUP=2\n");
    assert_int_equal(clattn_desc_parse("q100 d64", &desc), CL_SUCCESS);
    for (int off = 0; off < 2; off++) {
        clattn_context made = make(off ? "" : NULL);
        assert_int_equal(clattn_supports(made, &desc, text, sizeof text, NULL), CL_SUCCESS);
        assert_int_equal(strstr(text, "(from the tuning file rows.txt:1)") != NULL, !off);
        clattn_context_destroy(made);
    }
}

static int open_all(void **state) {
    (void)state;
    write_file("a.txt", "* ; * ; a");
    write_file("b.txt", "* ; * ; b");
    mkdir("xdg", 0700);
    mkdir("xdg/clattn", 0700);
    write_file("xdg/clattn/tuning.txt", "* ; * ; xdg");
    mkdir("home", 0700);
    mkdir("home/.config", 0700);
    mkdir("home/.config/clattn", 0700);
    write_file("home/.config/clattn/tuning.txt", "* ; * ; home");
    return test_device_open(&device) ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    test_device_close(&device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_files_are_read_in_their_order),
        cmocka_unit_test(what_cannot_be_read),
        cmocka_unit_test(bad_lines_cost_a_remark_each),
        cmocka_unit_test(an_empty_path_turns_them_off),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
