/*
 * fuzz_seeds TARGET FOLDER: writes what the fuzz targets begin with, a file for each.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "sources.h"
#include "text.h"
#include "tuning.h"

static const char *folder;
static unsigned written;

static void put(const void *bytes, size_t size) {
    struct text path = {0};
    text_printf(&path, "%s/%04u", folder, written++);
    FILE *file = fopen(text_chars(&path), "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        fprintf(stderr, "fuzz_seeds: cannot write %s\n", text_chars(&path));
        exit(1);
    }
    text_destroy(&path);
}

static void put_text(const char *chars) {
    put(chars, strlen(chars));
}

static void put_problems(void) {
    for (size_t i = 0; i < cases_count; i++) {
        put_text(cases_table[i].problem);
    }
    put_text("f32 kf16 vbf16 of16 df32 q5 d64 bwd alibi aligned");
    put_text("bf16 b0 h1073741823 q1073741823 k0 d512:1 window-1,2 start softcap3e-05");
}

/* With as many parameters as there may be. */
static void append_longest(struct text *variant) {
    text_printf(variant, "fwd_rows");
    for (int i = 0; i < VARIANT_PARAMETERS; i++) {
        text_printf(variant, " P%d=1", i);
    }
}

static void put_variants(void) {
    struct text longest = {0};
    append_longest(&longest);
    put_text(text_chars(&longest));
    text_destroy(&longest);
    for (size_t i = 0; i < cases_count; i++) {
        if (cases_table[i].variant) {
            put_text(cases_table[i].variant);
        }
    }
    for (size_t i = 0; i < cases_solver_count; i++) {
        if (cases_solvers[i].variant) {
            put_text(cases_solvers[i].variant);
        }
    }
}

/* A line as long as there may be one. */
static void put_longest_line(void) {
    struct text variant = {0}, problem = {0}, value = {0}, line = {0};
    append_longest(&variant);
    while (problem.length + 4 <= TUNING_LONGEST_PROBLEM) {
        text_printf(&problem, "b1- ");
    }
    while (value.length < TUNING_LONGEST_VALUE) {
        text_printf(&value, "1");
    }
    text_printf(&line, "* ; %s ; %s ; driver=%s\n", text_chars(&problem), text_chars(&variant),
                text_chars(&value));
    put_text(text_chars(&line));
    text_destroy(&variant);
    text_destroy(&problem);
    text_destroy(&value);
    text_destroy(&line);
}

static void put_tables(void) {
    put_longest_line();
    put_text(sources_find("tuning.txt")->text);
    for (size_t i = 0; i < cases_count; i++) {
        struct text line = {0};
        const char *variant = cases_table[i].variant ? cases_table[i].variant : "fwd_rows";
        static const char *const devices[] = {"*", "cpu", "nvidia/9.0", "\"NVIDIA H200\""};
        static const char *const froms[] = {"", " ; driver=580.159 date=2026-11-27 gain=1.2",
                                            " ; driver=\"3.1 (a; \\\"b\\\") #\" error=3e-4",
                                            " # x"};
        text_printf(&line, "%s ; %s ; %s%s\n", devices[i % 4], cases_table[i].problem, variant,
                    froms[i / 4 % 4]);
        put_text(text_chars(&line));
        text_destroy(&line);
    }
}

/* A file of a header and as many bytes of data. */
static void put_tensors(const char *header, size_t data) {
    unsigned char bytes[4096] = {0};
    const size_t length = strlen(header);
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)((uint64_t)length >> 8 * i);
    }
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++) {
        bytes[8 + length + i] = (unsigned char)i;
    }
    put(bytes, 8 + length + data);
}

static void put_files(void) {
    put_tensors("{\"q\":{\"dtype\":\"F32\",\"shape\":[1,2,3,4],\"data_offsets\":[0,96]},"
                "\"k\":{\"dtype\":\"F32\",\"shape\":[1,1,2,4],\"data_offsets\":[96,128]},"
                "\"v\":{\"dtype\":\"F32\",\"shape\":[1,1,2,1],\"data_offsets\":[128,136]}}",
                136);
    put_tensors("{\"__metadata__\":{\"a\":\"b\"},"
                "\"v\":{\"dtype\":\"F16\",\"shape\":[2,0,1,8],\"data_offsets\":[0,0]},"
                "\"k\":{\"dtype\":\"BF16\",\"shape\":[2,0,1,3],\"data_offsets\":[0,0]},"
                "\"q\":{\"dtype\":\"F16\",\"shape\":[2,2,2,3],\"data_offsets\":[0,48]}}    ",
                48);
    put_tensors("{\"q\":{\"dtype\":\"F32\",\"shape\":[1,2,1,2],\"data_offsets\":[0,16]},"
                "\"k\":{\"dtype\":\"F32\",\"shape\":[1,1,2,2],\"data_offsets\":[16,32]},"
                "\"v\":{\"dtype\":\"F32\",\"shape\":[1,1,2,1],\"data_offsets\":[32,40]},"
                "\"do\":{\"dtype\":\"F32\",\"shape\":[1,2,1,1],\"data_offsets\":[40,48]},"
                "\"dlse\":{\"dtype\":\"F32\",\"shape\":[1,2,1],\"data_offsets\":[48,56]},"
                "\"alibi\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[56,64]},"
                "\"mask\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[64,72]}}",
                72);
    put_tensors("{}", 0);
}

int main(int argc, char **argv) {
    static const struct {
        const char *target;
        void (*put)(void);
    } targets[] = {{"problem", put_problems},
                   {"variant", put_variants},
                   {"tuning", put_tables},
                   {"safetensors", put_files}};
    folder = argc == 3 ? argv[2] : "";
    for (size_t i = 0; argc == 3 && i < sizeof targets / sizeof *targets; i++) {
        if (strcmp(argv[1], targets[i].target) == 0) {
            targets[i].put();
            return 0;
        }
    }
    fprintf(stderr, "usage: fuzz_seeds problem|variant|tuning|safetensors FOLDER\n");
    return 1;
}
