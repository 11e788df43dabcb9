/*
 * tools/safetensors and problem_file: no header, however damaged, reaches beyond its
 * file.  Mutations are drawn from a fixed seed; a round's number reproduces it.
 */
#define _XOPEN_SOURCE 700

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "outcome.h"
#include "problem_file.h"

static uint64_t random_state;

static uint64_t below(uint64_t limit) {
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % limit;
}

enum { CAPACITY = 4096 };

/* Replaces bytes[at, at + removed) by text. */
static size_t splice(unsigned char *bytes, size_t size, size_t at, size_t removed,
                     const char *text) {
    size_t added = strlen(text);
    removed = removed > size - at ? size - at : removed;
    if (size - removed + added > CAPACITY) {
        return size;
    }
    memmove(bytes + at + added, bytes + at + removed, size - at - removed);
    memcpy(bytes + at, text, added);
    return size - removed + added;
}

static size_t mutate(unsigned char *bytes, size_t size) {
    static const char *const bits[] = {"0",
                                       "1",
                                       "-1",
                                       "4294967296",
                                       "9223372036854775807",
                                       "18446744073709551616",
                                       "1e300",
                                       "2.0",
                                       "null",
                                       "[",
                                       "]",
                                       "{",
                                       "}",
                                       "\"",
                                       "\\u00",
                                       ",",
                                       ":",
                                       "\xff",
                                       "F64",
                                       "BF16"};
    size_t at = below(size);
    switch (below(5)) {
    case 0:
        bytes[at] ^= (unsigned char)(1u << below(8));
        return size;
    case 1: /* a number, if there is one */
        for (size_t tries = 0; tries < 200 && (bytes[at] < '0' || bytes[at] > '9'); tries++) {
            at = below(size);
        }
        return splice(bytes, size, at, 1 + below(3), bits[below(8)]);
    case 2:
        return splice(bytes, size, at, below(9), bits[below(sizeof bits / sizeof bits[0])]);
    case 3:
        return splice(bytes, size, at, below(40), "");
    default: /* something that already stood elsewhere */
    {
        char copy[64] = "";
        size_t from = below(size), length = below(sizeof copy);
        length = length > size - from ? size - from : length;
        memcpy(copy, bytes + from, length);
        return splice(bytes, size, at, below(2) * strlen(copy), copy);
    }
    }
}

/* What was accepted must be what the file holds: every byte of it is read. */
static uint64_t check_accepted(const struct problem_file *problem) {
    const clattn_desc *d = &problem->desc;
    const size_t size = d->type == CLATTN_F32 ? 4 : 2;
    const size_t rows_q = (size_t)d->batch * d->heads_q * d->seq_q,
                 rows_kv = (size_t)d->batch * d->heads_kv * d->seq_kv;
    const size_t expected[EXECUTE_TENSORS] = {
        rows_q * d->head_dim * size, rows_kv * d->head_dim * size, rows_kv * d->head_dim_v * size,
        rows_q * d->head_dim_v * size, rows_q * sizeof(float)};
    const size_t gradients[EXECUTE_TENSORS] = {[EXECUTE_D_O] = expected[EXECUTE_O],
                                               [EXECUTE_D_LSE] = expected[EXECUTE_LSE],
                                               [EXECUTE_D_Q] = expected[EXECUTE_Q],
                                               [EXECUTE_D_K] = expected[EXECUTE_K],
                                               [EXECUTE_D_V] = expected[EXECUTE_V]};
    uint64_t sum = 0;
    for (int i = 0; i < EXECUTE_TENSORS; i++) {
        const struct execute_tensor *t = &problem->tensors[i];
        const bool input = i <= EXECUTE_V || i == EXECUTE_D_O || i == EXECUTE_D_LSE;
        assert_int_equal(t->bytes, t->name ? expected[i] + gradients[i] : 0);
        assert_true(t->name || i >= EXECUTE_ALIBI || i == EXECUTE_D_LSE ||
                    (i > EXECUTE_LSE && !problem->backward));
        for (size_t at = 0; input && at < t->bytes; at++) {
            sum += ((const unsigned char *)problem->tensors[i].data)[at];
        }
    }
    return sum;
}

/* 8 bytes length, the header, and data that counts 0, 1, 2... */
static size_t compose(unsigned char *bytes, const char *header, size_t data) {
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(length >> 8 * i);
    }
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++) {
        bytes[8 + length + i] = (unsigned char)i;
    }
    return 8 + length + data;
}

/* Run under the address sanitizer where the compiler has it (CMakeLists.txt). */
static void no_mutation_reaches_beyond_the_file(void **state) {
    (void)state;
    static const char *const headers[] = {
        "{\"q\":{\"dtype\":\"F32\",\"shape\":[1,2,3,4],\"data_offsets\":[0,96]},"
        "\"k\":{\"dtype\":\"F32\",\"shape\":[1,1,2,4],\"data_offsets\":[96,128]},"
        "\"v\":{\"dtype\":\"F32\",\"shape\":[1,1,2,1],\"data_offsets\":[128,136]}}",
        "{\"__metadata__\":{\"a\":\"b\"},"
        "\"v\":{\"dtype\":\"F16\",\"shape\":[2,0,1,8],\"data_offsets\":[0,0]},"
        "\"k\":{\"dtype\":\"F16\",\"shape\":[2,0,1,3],\"data_offsets\":[0,0]},"
        "\"q\":{\"dtype\":\"F16\",\"shape\":[2,2,2,3],\"data_offsets\":[0,48]}}    ",
        "{\"q\":{\"dtype\":\"F32\",\"shape\":[1,2,1,2],\"data_offsets\":[0,16]},"
        "\"k\":{\"dtype\":\"F32\",\"shape\":[1,1,2,2],\"data_offsets\":[16,32]},"
        "\"v\":{\"dtype\":\"F32\",\"shape\":[1,1,2,1],\"data_offsets\":[32,40]},"
        "\"do\":{\"dtype\":\"F32\",\"shape\":[1,2,1,1],\"data_offsets\":[40,48]},"
        "\"dlse\":{\"dtype\":\"F32\",\"shape\":[1,2,1],\"data_offsets\":[48,56]}}",
    };
    static const size_t data_bytes[] = {136, 48, 56};
    enum { HEADERS = sizeof headers / sizeof headers[0] };
    enum { ROUNDS = 12000 };
    int accepted = 0, refused = 0;
    uint64_t sum = 0;
    /* One file that stays open: filesystems flush a file that is truncated and closed. */
    char path[] = "damaged-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char bytes[CAPACITY];
        random_state = (uint64_t)round;
        size_t size = compose(bytes, headers[round % HEADERS], data_bytes[round % HEADERS]);
        size_t header = 8 + strlen(headers[round % HEADERS]), data = size - header;
        for (uint64_t i = below(3); i < 3; i++) {
            header = mutate(bytes + 8, header - 8) + 8;
        }
        /* Mostly the length is mended, or few would come to be parsed. */
        unsigned char mended[CAPACITY + 256];
        bytes[header] = '\0';
        size = compose(mended, (const char *)bytes + 8, data);
        if (below(8) == 0) {
            mended[below(8)] ^= (unsigned char)(1u << below(8));
        }
        if (below(8) == 0) {
            size -= below(size);
        }
        assert_int_equal(pwrite(file, mended, size, 0), size);
        assert_int_equal(ftruncate(file, (off_t)size), 0);
        struct problem_file problem = {.bshd = below(2) == 0};
        char why[PROBLEM_FILE_WHY] = "";
        int outcome = problem_file_load(&problem, path, why);
        if (outcome == OUTCOME_DONE) {
            accepted++;
            sum += check_accepted(&problem);
        } else {
            refused++;
            assert_true(outcome == OUTCOME_WRONG_FILE || outcome == OUTCOME_UNSUPPORTED);
            assert_true(strlen(why) > 0);
        }
        problem_file_destroy(&problem);
    }
    close(file);
    unlink(path);
    print_message("%d accepted, %d refused, bytes sum to %llu\n", accepted, refused,
                  (unsigned long long)sum);
    assert_true(accepted >= 20 && refused > ROUNDS / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_mutation_reaches_beyond_the_file)};
    return cmocka_run_group_tests_name("damaged", tests, NULL, NULL);
}
