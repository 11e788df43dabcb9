#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_check(int what, const char *text, const char *file, int line) {
    if (!what) {
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, text);
        abort();
    }
}

char *fuzz_string(const uint8_t *bytes, size_t size) {
    const uint8_t *nul = size ? memchr(bytes, 0, size) : NULL;
    const size_t length = nul ? (size_t)(nul - bytes) : size;
    char *chars = malloc(length + 1);
    FUZZ_CHECK(chars != NULL);
    if (length) {
        memcpy(chars, bytes, length);
    }
    chars[length] = '\0';
    return chars;
}

const struct device *fuzz_device(size_t i) {
    static const char *const names[FUZZ_DEVICES] = {"h200", "pocl", "mali_g78", "arc_a770"};
    static struct device devices[FUZZ_DEVICES];
    static int ready[FUZZ_DEVICES];
    if (!ready[i]) {
        char path[4096], facts[1 << 14] = "";
        snprintf(path, sizeof path, "%s/fixtures/%s.txt", CLATTN_TEST_DATA, names[i]);
        FILE *file = fopen(path, "rb");
        FUZZ_CHECK(file && fread(facts, 1, sizeof facts - 1, file) > 0);
        fclose(file);
        FUZZ_CHECK(device_parse(&devices[i], facts));
        ready[i] = 1;
    }
    return &devices[i];
}

struct problem fuzz_problem(const char *words) {
    clattn_desc desc = CLATTN_DESC_INIT;
    struct status status = {0};
    struct problem p = {.type = CLATTN_F32};
    FUZZ_CHECK(clattn_desc_parse(words, &desc) == CL_SUCCESS);
    FUZZ_CHECK(problem_from_desc(&p, &desc, &status) == CL_SUCCESS);
    return p;
}
