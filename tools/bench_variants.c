#include "bench_variants.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench_machine.h"

/* Cuts the blanks off. */
static char *trim(char *text) {
    static const char blanks[] = " \t\n";
    char *begin = text + strspn(text, blanks), *end = begin + strlen(begin);
    while (end > begin && strchr(blanks, end[-1])) {
        end--;
    }
    *end = '\0';
    return begin;
}

/* "auto", "VARIANT" or "VARIANT + VARIANT": each goes to its pass, as the name of its solver tells.
 * False where two are of one pass, or one is empty. */
static bool read_one(char *part, struct bench_variant *v) {
    for (char *rest = part, *plus; rest; rest = plus) {
        plus = strchr(rest, '+');
        if (plus) {
            *plus++ = '\0';
        }
        const char *word = trim(rest);
        const char **of = &v->of[strncmp(word, "bwd_", 4) == 0 ? CLATTN_BACKWARD : CLATTN_FORWARD];
        const bool chosen = strcmp(word, "auto") == 0;
        if (*word == '\0' || (*of && !chosen)) {
            return false;
        }
        *of = chosen ? *of : word;
    }
    return true;
}

cl_int bench_variants_read(struct bench_variants *v, char *why) {
    static char only[] = "auto";
    char *rest = v->text ? v->text : only;
    v->count = 1;
    for (const char *at = rest; *at; at++) {
        v->count += *at == ';';
    }
    v->variant = calloc(v->count, sizeof *v->variant);
    if (!v->variant) {
        snprintf(why, BENCH_WHY, "out of memory");
        return CL_OUT_OF_HOST_MEMORY;
    }
    for (size_t i = 0; i < v->count; i++) {
        struct bench_variant *one = &v->variant[i];
        char *part = rest, *end = part + strcspn(part, ";");
        rest = end + (*end != '\0');
        *end = '\0';
        part = trim(part);
        snprintf(one->asked, sizeof one->asked, "%s", part);
        if (*part == '\0') {
            snprintf(why, BENCH_WHY, "variant %zu of %zu is empty", i + 1, v->count);
            return CLATTN_INVALID_VARIANT;
        }
        if (!read_one(part, one)) {
            snprintf(why, BENCH_WHY, "'%.255s' is not one variant for each pass", one->asked);
            return CLATTN_INVALID_VARIANT;
        }
    }
    return CL_SUCCESS;
}

void bench_variants_destroy(struct bench_variants *v) {
    free(v->text);
    free(v->variant);
    *v = (struct bench_variants){.count = 0};
}
