/*
 * Tuning tables: each line is used or remarked, and whatever they say there is a variant.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "choose.h"

/* What the walk finds is a line that the check has nothing against. */
static void check_line(const char *table, const struct tuning_walk *found) {
    struct text line = {0}, remarks = {0};
    for (size_t i = 1; i < found->line; i++) {
        table = strchr(table, '\n') + 1;
    }
    text_append(&line, table, strcspn(table, "\n"));
    FUZZ_CHECK(tuning_check(text_chars(&line), "line", &remarks) == 0);
    FUZZ_CHECK(found->variant.solver[0] != '\0');
    for (const char *at = found->driver; *at; at++) {
        FUZZ_CHECK((unsigned char)*at >= ' ');
    }
    text_destroy(&line);
    text_destroy(&remarks);
}

static void check_choice(const struct tuning_table *table, const struct problem *p,
                         const struct device *d) {
    const struct choose_question question = {
        .problem = p, .device = d, .tables = table, .table_count = 1};
    struct choice c = {0};
    struct status status = {0};
    FUZZ_CHECK(choose_variant(&question, &c, &status) == CL_SUCCESS);
    FUZZ_CHECK(!c.solver->baseline);
    choose_destroy(&c);
    status_destroy(&status);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    enum { LINES = 200 };
    char *chars = fuzz_string(bytes, size);
    const struct tuning_table table = {"table", chars};
    const struct problem p = fuzz_problem("f16 h8:2 q2048 d64 causal");
    struct text remarks = {0};
    const size_t bad = tuning_check(chars, "table", &remarks);
    size_t told = 0;
    for (const char *at = text_chars(&remarks); *at; at = strchr(at, '\n') + 1) {
        FUZZ_CHECK(strncmp(at, "table:", 6) == 0);
        told++;
    }
    FUZZ_CHECK(told == (bad > TUNING_REMARKS ? TUNING_REMARKS + 1 : bad));
    for (const char *at = text_chars(&remarks); *at; at++) {
        FUZZ_CHECK(*at == '\n' || ((unsigned char)*at >= ' ' && *at != 0x7F));
    }
    for (size_t i = 0; i < 2; i++) {
        struct tuning_walk walk = {.rest = NULL};
        size_t lines = 0;
        while (tuning_next(&walk, chars, &p, fuzz_device(i)) && lines++ < LINES) {
            check_line(chars, &walk);
        }
        check_choice(&table, &p, fuzz_device(i));
    }
    text_destroy(&remarks);
    free(chars);
    return 0;
}
