/*
 * make_safetensors: input files for the tests of clattn-run, and its sample.
 *
 *     make_safetensors random OUT F32|F16|BF16 bhsd|bshd B HQ HKV SQ SKV D DV
 *         [SEED [alibi] [do|dlse]]
 *         (F32,F16,F16: types of q, k and v)
 *         q, k, v with pseudo-random numbers with a variance of 4/3, the same on every
 *         machine; a seed gives the same tensors in both layouts; likewise alibi [HQ], F32.  do:
 *         also do, the gradient of o; dlse: also do and dlse, which is F32
 *     make_safetensors steps OUT bhsd|bshd ROWS
 *         F32, one batch, two heads, one dimension: q and k are 0, so that every key has
 *         the same weight; v is the number of its row, in the second head ten times that
 *     make_safetensors raw OUT LENGTH HEADER DATA
 *         any header; LENGTH is what the first 8 bytes say, or - for the truth; DATA is a
 *         number of bytes 0
 *
 * It writes with its own code, so that a common error of tool and test would show.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int good, const char *what) {
    if (!good) {
        fprintf(stderr, "make_safetensors: %s\n", what);
        exit(1);
    }
}

static void put(FILE *file, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        check(fputc((int)(value >> 8 * i & 0xff), file) != EOF, "cannot write");
    }
}

static void put_header(FILE *file, const char *header, uint64_t length) {
    put(file, length, 8);
    check(fputs(header, file) != EOF, "cannot write");
}

static uint64_t number(const char *text) {
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    check(end != text && *end == '\0', "not a number");
    return value;
}

/* splitmix64: one well mixed number for each state. */
static uint64_t mix(uint64_t state) {
    state += 0x9e3779b97f4a7c15u;
    state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u;
    state = (state ^ state >> 27) * 0x94d049bb133111ebu;
    return state ^ state >> 31;
}

/* Four 14-bit numbers summed: a variance of 4/3, in steps of 2^-13, so exact in f32
 * and nothing that a C library could round its own way. */
static float normal(uint64_t seed, uint64_t index) {
    uint64_t bits = mix(mix(seed) + index);
    int sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += (int)(bits >> 16 * i & 0x3fff) - 0x2000;
    }
    return (float)sum * 0x1p-13f;
}

/* Rounds to nearest, ties to even; values here are finite and not too large. */
static uint32_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static uint32_t to_f16(float value) {
    float magnitude = value < 0 ? -value : value, step = 0x1p-24f;
    while (magnitude / step >= 2048) {
        step *= 2;
    }
    uint32_t code = (uint32_t)(magnitude / step);
    float rest = magnitude / step - (float)code;
    code += rest > 0.5f || (rest == 0.5f && (code & 1));
    for (; step > 0x1p-24f; step /= 2) {
        code += 1024;
    }
    return code | (value < 0 ? 0x8000u : 0);
}

static void put_float(FILE *file, const char *dtype, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (strcmp(dtype, "F32") == 0) {
        put(file, bits, 4);
    } else {
        put(file, strcmp(dtype, "F16") == 0 ? to_f16(value) : to_bf16(value), 2);
    }
}

enum { BATCH, HEADS, ROWS, DIM };

static float random_content(int tensor, const uint64_t at[4], const uint64_t shape[4],
                            uint64_t seed) {
    uint64_t index = at[BATCH];
    for (int i = HEADS; i <= DIM; i++) {
        index = index * shape[i] + at[i];
    }
    return normal(seed + (uint64_t)tensor, index);
}

static float step_content(int tensor, const uint64_t at[4], const uint64_t shape[4],
                          uint64_t seed) {
    (void)shape, (void)seed;
    return tensor < 2 ? 0 : (float)at[ROWS] * (at[HEADS] ? 10.0f : 1.0f);
}

enum { TENSORS = 5 };

/* The tensor's of "F32,F16,F16"; all have the same where there is no comma. */
static const char *type_of(const char *types, int tensor, char type[8]) {
    for (; tensor > 0 && strchr(types, ','); tensor--) {
        types = strchr(types, ',') + 1;
    }
    snprintf(type, 8, "%.*s", (int)strcspn(types, ","), types);
    return type;
}

/* The first `count` of q, k, v, do and dlse, of shapes given as [batch, heads, rows, dim]; dlse is
 * F32, without the last dimension, which is 1, and always [batch, heads, rows].  And `slopes` of
 * alibi. */
static void write_tensors(FILE *file, const char *types, const char *layout, int count,
                          const uint64_t shapes[][4], uint64_t slopes,
                          float (*content)(int tensor, const uint64_t at[4],
                                           const uint64_t shape[4], uint64_t seed),
                          uint64_t seed) {
    static const char *const names[TENSORS] = {"q", "k", "v", "do", "dlse"};
    const int bshd = strcmp(layout, "bshd") == 0;
    check(bshd || strcmp(layout, "bhsd") == 0, "not a layout");
    char header[1024], dtype[8];
    int length = 0;
    uint64_t offset = 0;
    for (int t = 0; t < count; t++) {
        const int lse = t == 4, outer = bshd && !lse ? ROWS : HEADS,
                  inner = bshd && !lse ? HEADS : ROWS;
        const char *type = lse ? "F32" : type_of(types, t == 3 ? 0 : t, dtype);
        const uint64_t size = strcmp(type, "F32") == 0 ? 4 : 2;
        const uint64_t *s = shapes[t], end = offset + s[0] * s[1] * s[2] * s[3] * size;
        char last[32] = "";
        if (!lse) {
            snprintf(last, sizeof last, ",%llu", (unsigned long long)s[DIM]);
        }
        length += snprintf(header + length, sizeof header - (size_t)length,
                           "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%llu,%llu,%llu%s],"
                           "\"data_offsets\":[%llu,%llu]}",
                           t ? "," : "{", names[t], type, (unsigned long long)s[BATCH],
                           (unsigned long long)s[outer], (unsigned long long)s[inner], last,
                           (unsigned long long)offset, (unsigned long long)end);
        offset = end;
    }
    if (slopes > 0) {
        length += snprintf(header + length, sizeof header - (size_t)length,
                           ",\"alibi\":{\"dtype\":\"F32\",\"shape\":[%llu],"
                           "\"data_offsets\":[%llu,%llu]}",
                           (unsigned long long)slopes, (unsigned long long)offset,
                           (unsigned long long)(offset + 4 * slopes));
    }
    snprintf(header + length, sizeof header - (size_t)length, "}");
    put_header(file, header, strlen(header));
    for (int t = 0; t < count; t++) {
        const int lse = t == 4, outer = bshd && !lse ? ROWS : HEADS,
                  inner = bshd && !lse ? HEADS : ROWS;
        const uint64_t *s = shapes[t];
        uint64_t at[4];
        type_of(types, t == 3 ? 0 : t, dtype);
        for (at[BATCH] = 0; at[BATCH] < s[BATCH]; at[BATCH]++) {
            for (at[outer] = 0; at[outer] < s[outer]; at[outer]++) {
                for (at[inner] = 0; at[inner] < s[inner]; at[inner]++) {
                    for (at[DIM] = 0; at[DIM] < s[DIM]; at[DIM]++) {
                        put_float(file, lse ? "F32" : dtype, content(t, at, s, seed));
                    }
                }
            }
        }
    }
    for (uint64_t h = 0; h < slopes; h++) {
        put_float(file, "F32", normal(seed + 3, h) / 8);
    }
}

int main(int argc, char **argv) {
    check(argc > 2, "see the head of make_safetensors.c");
    FILE *file = fopen(argv[2], "wb");
    check(file != NULL, "cannot write");
    if (strcmp(argv[1], "random") == 0 && argc >= 12) {
        uint64_t n[7];
        for (int i = 0; i < 7; i++) {
            n[i] = number(argv[5 + i]);
        }
        const uint64_t shapes[TENSORS][4] = {{n[0], n[1], n[3], n[5]},
                                             {n[0], n[2], n[4], n[5]},
                                             {n[0], n[2], n[4], n[6]},
                                             {n[0], n[1], n[3], n[6]},
                                             {n[0], n[1], n[3], 1}};
        const int alibi = argc > 13 && strcmp(argv[13], "alibi") == 0;
        const char *gradients = argc > 13 + alibi ? argv[13 + alibi] : "";
        const int count = !*gradients ? 3 : strcmp(gradients, "dlse") == 0 ? 5 : 4;
        write_tensors(file, argv[3], argv[4], count, shapes, alibi ? n[1] : 0, random_content,
                      argc > 12 ? number(argv[12]) : 1);
    } else if (strcmp(argv[1], "steps") == 0 && argc == 5) {
        const uint64_t rows = number(argv[4]);
        const uint64_t shapes[3][4] = {{1, 2, rows, 1}, {1, 2, rows, 1}, {1, 2, rows, 1}};
        write_tensors(file, "F32", argv[3], 3, shapes, 0, step_content, 0);
    } else if (strcmp(argv[1], "raw") == 0 && argc == 6) {
        put_header(file, argv[4], strcmp(argv[3], "-") ? number(argv[3]) : strlen(argv[4]));
        for (uint64_t left = number(argv[5]); left > 0; left--) {
            put(file, 0, 1);
        }
    } else {
        check(0, "see the head of make_safetensors.c");
    }
    check(fclose(file) == 0, "cannot write");
    return 0;
}
