/*
 * tuning.txt: every line's variant can run where the line says that it is fastest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixtures.h"
#include "sources.h"
#include "tuning.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* "64", "33-64", "1024-": one end of it. */
static unsigned long end_of(const char *range, bool high) {
    char *dash;
    const unsigned long low = strtoul(range, &dash, 10);
    return !high || *dash != '-'              ? low
           : dash[1] >= '0' && dash[1] <= '9' ? strtoul(dash + 1, NULL, 10)
           : low < 4096                       ? 4096
                                              : low;
}

/* The text of a problem that a line's words may mean: the low or the high end of each range. */
static void mean(const char *words, bool high, struct text *problem_text) {
    bool has_q = false, has_d = false;
    const char *word;
    for (size_t length; (length = text_word(&words, &word)) > 0;) {
        char one[64] = "";
        assert_true(length < sizeof one);
        memcpy(one, word, length);
        const char *colon = strchr(one, ':');
        has_q = has_q || one[0] == 'q';
        has_d = has_d || one[0] == 'd';
        if (strcmp(one, "band") == 0) {
            text_printf(problem_text, " window8,8");
        } else if (strcmp(one, "softcap") == 0) {
            text_printf(problem_text, " softcap20");
        } else if (strcmp(one, "full") == 0 || strcmp(one, "*") == 0) {
            continue;
        } else if (strcmp(one, "causal") == 0 || strcmp(one, "bf16") == 0 || one[0] == 'f') {
            text_printf(problem_text, " %s", one);
        } else {
            text_printf(problem_text, " %c%lu", one[0], end_of(one + 1, high));
            if (colon) {
                text_printf(problem_text, ":%lu", end_of(colon + 1, high));
            }
        }
    }
    text_printf(problem_text, "%s%s", has_q ? "" : " q4096", has_d ? "" : " d64");
}

/* Does the variant run there?  Else the reason, appended. */
static bool variant_runs(const char *variant_text, const struct problem *p, const struct device *d,
                         struct text *why) {
    struct status status = {0};
    struct variant v;
    const struct solver *solver = NULL;
    if (variant_parse(&v, variant_text, strlen(variant_text), &status) == CL_SUCCESS) {
        solver = solvers_find(v.solver);
    }
    status_destroy(&status);
    if (!solver) {
        text_printf(why, "no solver");
        return false;
    }
    if (solvers_fit(solver, p, d, &v, why) == CANNOT) {
        return false;
    }
    text_destroy(why);
    if (solvers_complete(solver, p, d, &v, why, &status) != CL_SUCCESS) {
        text_printf(why, "%s", text_chars(&status.sentence));
        status_destroy(&status);
        return false;
    }
    if (!fixtures_runnable(solver, p, d, &v, why)) {
        return false;
    }
    assert_int_equal(why->length,
                     0); /* nothing was filled in that goes with none of the variants */
    return true;
}

/* The variant runs on a fixture that its line matches, for a problem that it matches; where
 * the line names one architecture or device: on all of them and for both ends. */
static void check_line(size_t number, const char *pattern, const char *words,
                       const char *variant_text) {
    int matching = 0, running = 0;
    for (size_t i = 0; i < 2 * FIXTURES; i++) {
        const struct device *d = &fixtures[i / 2].device;
        const int specificity = tuning_specificity(d, pattern, strlen(pattern));
        struct text meant = {0}, why = {0};
        const char *bad;
        mean(words, i % 2, &meant);
        const struct problem p = fixtures_problem(text_chars(&meant));
        if (specificity >= 0 && problem_matches(&p, words, &bad)) {
            matching++;
            const bool there = variant_runs(variant_text, &p, d, &why);
            running += there;
            if (!there && specificity >= 2) {
                fail_msg("tuning.txt:%zu: cannot run on %s,%s: %s", number, fixtures[i / 2].name,
                         text_chars(&meant), text_chars(&why));
            }
        }
        text_destroy(&meant);
        text_destroy(&why);
    }
    if (!matching || !running) {
        fail_msg("tuning.txt:%zu: of %d fixtures and problems that match \"%s ; %s\", the variant "
                 "runs on %d",
                 number, matching, pattern, words, running);
    }
}

static void every_line_of_ours_can_run(void **state) {
    (void)state;
    const char *at = sources_find("tuning.txt")->text;
    struct text remarks = {0};
    assert_int_equal(tuning_check(at, "tuning.txt", &remarks), 0);
    size_t lines = 0;
    for (size_t number = 1; *at; number++) {
        char line[512] = "", pattern[160], words[160], variant_text[256];
        const size_t length = strcspn(at, "\n");
        if (memchr(at, ';', length) && *at != '#') {
            assert_true(length < sizeof line);
            memcpy(line, at, length);
            line[strcspn(line, "#")] = '\0';
            assert_int_equal(
                sscanf(line, " %159[^;]; %159[^;]; %255[^;]", pattern, words, variant_text), 3);
            for (size_t end = strlen(pattern); end && pattern[end - 1] == ' '; end--) {
                pattern[end - 1] = '\0';
            }
            check_line(number, pattern, words, variant_text);
            lines++;
        }
        at += length + (at[length] == '\n');
    }
    assert_true(lines > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_of_ours_can_run),
    };
    return cmocka_run_group_tests(tests, fixtures_open, fixtures_close);
}
