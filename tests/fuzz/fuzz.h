/*
 * What the fuzz targets share.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "problem.h"

/* libFuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Ends the process unless it is true: a finding. */
#define FUZZ_CHECK(what) fuzz_check(what, #what, __FILE__, __LINE__)
void fuzz_check(int what, const char *text, const char *file, int line);

/* The bytes up to the first NUL as a string of exactly that size, to be freed. */
char *fuzz_string(const uint8_t *bytes, size_t size);

/* The device of a fixture (tests/fixtures), read once. */
enum { FUZZ_DEVICES = 4 };
const struct device *fuzz_device(size_t i);

struct problem fuzz_problem(const char *words);

#endif
