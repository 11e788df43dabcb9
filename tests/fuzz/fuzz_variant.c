/*
 * Variants: read or refused in a sentence; what is read is written as a text that reads the same,
 * and what is completed is complete and legal.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "choose.h"

static void check_text(const char *chars) {
    struct variant v, again;
    struct status status = {0};
    struct text once = {0}, twice = {0};
    if (variant_parse(&v, chars, strlen(chars), &status) == CL_SUCCESS) {
        variant_format(&v, &once);
        FUZZ_CHECK(variant_parse(&again, text_chars(&once), once.length, &status) == CL_SUCCESS);
        FUZZ_CHECK(variant_is(&v, &again));
        variant_format(&again, &twice);
        FUZZ_CHECK(strcmp(text_chars(&once), text_chars(&twice)) == 0);
    } else {
        FUZZ_CHECK(status.code == CLATTN_INVALID_VARIANT && status.sentence.length > 0);
    }
    text_destroy(&once);
    text_destroy(&twice);
    status_destroy(&status);
}

static void check_choice(const char *chars, const struct problem *p, const struct device *d) {
    const struct choose_question question = {.problem = p, .device = d, .asked = chars};
    struct choice c = {0};
    struct status status = {0};
    if (choose_variant(&question, &c, &status) == CL_SUCCESS) {
        struct variant again = c.variant;
        struct text far = {0};
        long long values[VARIANT_PARAMETERS];
        solvers_decode(c.solver, &c.variant, values);
        FUZZ_CHECK(solvers_complete(c.solver, p, d, &again, &far, &status) == CL_SUCCESS);
        FUZZ_CHECK(variant_is(&again, &c.variant) && far.length == 0);
        text_destroy(&far);
    } else {
        FUZZ_CHECK(status.sentence.length > 0);
    }
    choose_destroy(&c);
    status_destroy(&status);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char *const words[] = {"f16 h8:2 q300 d80:33 causal", "f32 q77 d64 bwd"};
    char *chars = fuzz_string(bytes, size);
    check_text(chars);
    for (size_t i = 0; i < 2 * FUZZ_DEVICES; i++) {
        const struct problem p = fuzz_problem(words[i % 2]);
        check_choice(chars, &p, fuzz_device(i / 2));
    }
    free(chars);
    return 0;
}
