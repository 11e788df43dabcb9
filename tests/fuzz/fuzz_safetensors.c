/*
 * Headers of safetensors files: the file is read as clattn-run reads it, or refused in a sentence.
 */
#define _XOPEN_SOURCE 700
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "outcome.h"
#include "problem_file.h"

/* Every byte of an input that was accepted is there. */
static void read_all(const struct problem_file *problem) {
    for (int i = 0; i < EXECUTE_TENSORS; i++) {
        const struct execute_tensor *t = &problem->tensors[i];
        const bool input = i <= EXECUTE_V || i == EXECUTE_D_O || i == EXECUTE_D_LSE;
        for (size_t at = 0; input && t->name && at < t->bytes; at++) {
            (void)((const volatile unsigned char *)t->data)[at];
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static char path[] = "fuzz-XXXXXX"; /* one file, which stays open */
    static int file = -1;
    if (file < 0) {
        file = mkstemp(path);
        FUZZ_CHECK(file >= 0);
    }
    FUZZ_CHECK(ftruncate(file, 0) == 0 && pwrite(file, bytes, size, 0) == (ssize_t)size);
    for (int bshd = 0; bshd < 2; bshd++) {
        struct problem_file problem = {.bshd = bshd == 1};
        char why[PROBLEM_FILE_WHY] = "";
        const int outcome = problem_file_load(&problem, path, why);
        if (outcome == OUTCOME_DONE) {
            read_all(&problem);
        } else {
            FUZZ_CHECK(why[0] && memchr(why, '\0', sizeof why));
            for (const char *at = why; *at; at++) {
                FUZZ_CHECK(*at >= ' ' && *at < 0x7F);
            }
        }
        problem_file_destroy(&problem);
    }
    return 0;
}
