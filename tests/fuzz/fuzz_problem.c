/*
 * Problem texts: read or refused; what is read and checked is written as a text that means the
 * same, and every device has a variant for it or refuses it in a sentence.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "choose.h"

static void check_choice(const struct problem *p, const struct device *d) {
    const struct choose_question question = {.problem = p, .device = d};
    struct choice c = {0};
    struct status status = {0};
    const cl_int code = choose_variant(&question, &c, &status);
    FUZZ_CHECK(code == CL_SUCCESS);
    choose_destroy(&c);
    status_destroy(&status);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char *chars = fuzz_string(bytes, size);
    clattn_desc desc, unset;
    struct status status = {0};
    struct problem p, again;
    memset(&desc, 0xAA, sizeof desc);
    desc.size = sizeof desc;
    memcpy(&unset, &desc, sizeof desc);
    const cl_int code = clattn_desc_parse(chars, &desc);
    if (code != CL_SUCCESS) {
        FUZZ_CHECK(code == CLATTN_INVALID_TEXT && memcmp(&desc, &unset, sizeof desc) == 0);
    } else if (problem_from_desc(&p, &desc, &status) != CL_SUCCESS) {
        FUZZ_CHECK(status.sentence.length > 0);
    } else {
        char once[512], twice[512];
        size_t needed = 0;
        FUZZ_CHECK(clattn_desc_format(&desc, once, sizeof once, &needed) == CL_SUCCESS);
        FUZZ_CHECK(needed <= sizeof once);
        FUZZ_CHECK(clattn_desc_parse(once, &desc) == CL_SUCCESS);
        FUZZ_CHECK(problem_from_desc(&again, &desc, &status) == CL_SUCCESS);
        FUZZ_CHECK(clattn_desc_format(&desc, twice, sizeof twice, NULL) == CL_SUCCESS);
        FUZZ_CHECK(strcmp(once, twice) == 0);
        FUZZ_CHECK(memcmp(&p.softcap, &again.softcap, sizeof p.softcap) == 0);
        for (size_t i = 0; i < FUZZ_DEVICES; i++) {
            check_choice(&p, fuzz_device(i));
        }
    }
    status_destroy(&status);
    free(chars);
    return 0;
}
