/*
 * Damaged texts: variants, problems, tuning tables and facts, mutated in a fixed order.
 *
 * Whatever a text says, it is read or refused in a sentence; what was read is written
 * as a text that reads the same again.  Each text lies in memory of exactly its size,
 * so that AddressSanitizer sees a reader that goes past its end.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixtures.h"
#include "choose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { MUTATIONS = 20000, LONGEST = 2000 };

static uint64_t random_state;

/* xorshift64*; below n. */
static size_t draw(size_t n) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * 0x2545F4914F6CDD1Dull >> 33) % n);
}

/* Replaces chars[at..at + gone) by what is given, as far as it fits. */
static size_t splice(char *chars, size_t length, size_t at, size_t gone, const char *given,
                     size_t given_length) {
    if (length - gone + given_length > LONGEST) {
        return length;
    }
    memmove(chars + at + given_length, chars + at + gone, length - at - gone);
    memcpy(chars + at, given, given_length);
    return length - gone + given_length;
}

/* One change to chars[0..length), which has room for LONGEST; returns the new length. */
static size_t mutate(char *chars, size_t length) {
    static const char *const words[] = {
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        ";",
        ";;",
        "#",
        "=",
        "==",
        ":",
        "-",
        "--",
        ",",
        "\"",
        "*",
        "0",
        "-1",
        "00",
        "65536",
        "%s%n%d",
        "softcap1e",
        "causal",
        "window-1,-1",
        "d1:",
        "h0",
        "e9",
        "\x80",
        "\xff",
        "\x01",
        "type gpu",
        "work_group 0\n",
        "99999999999999999999",
        "4294967296",
        "2147483648",
        "fwd_tile",
        "fwd_rows",
        "standard",
        " SOFTMAX=",
        " BLOCK_M=0",
        " X=Y",
        "local_memory 999999999999999999\n",
    };
    const size_t at = draw(length + 1), rest = length - at;
    char piece[64];
    const size_t piece_length = rest ? draw(rest < sizeof piece ? rest : sizeof piece) : 0;
    memcpy(piece, chars + at, piece_length);
    const char *word = words[draw(sizeof words / sizeof *words)];
    const size_t elsewhere = draw(length + 1);
    switch (draw(7)) {
    case 0: /* another byte, though never NUL: a text ends there */
        return rest ? (chars[at] = (char)(1 + draw(255)), length) : length;
    case 1: /* a bit less */
        return rest ? splice(chars, length, at, 1 + draw(rest < 8 ? rest : 8), "", 0) : length;
    case 2: /* the end is missing */
        return at;
    case 3: /* something twice, or elsewhere */
        return splice(chars, length, elsewhere, 0, piece, piece_length);
    case 4: /* a word instead of something */
        return splice(chars, length, at, piece_length, word, strlen(word));
    default:
        return splice(chars, length, at, 0, word, strlen(word));
    }
}

/* Mutates each of the texts, one to six times, and has it checked. */
static void each_mutation(const char *const *texts, size_t count,
                          void (*check)(const char *chars, size_t length)) {
    random_state = 0x9E3779B97F4A7C15ull;
    for (size_t i = 0; i < MUTATIONS; i++) {
        char chars[LONGEST + 1];
        size_t length = strlen(texts[i % count]);
        assert_true(length <= LONGEST);
        memcpy(chars, texts[i % count], length);
        for (size_t times = 1 + draw(6); times > 0; times--) {
            length = mutate(chars, length);
        }
        char *exact = malloc(length + 1);
        assert_non_null(exact);
        memcpy(exact, chars, length);
        exact[length] = '\0';
        check(exact, length);
        free(exact);
    }
}

static unsigned read_well, refused;

/* Mutations are worth little when all of them are refused, or none. */
static void expect_both(void) {
    if (read_well < MUTATIONS / 50 || refused < MUTATIONS / 50) {
        fail_msg("%u read, %u refused", read_well, refused);
    }
    read_well = refused = 0;
}

static void expect_sentence(cl_int code, cl_int expected, const struct status *status,
                            const char *chars) {
    if (code != expected || status->code != code || !*text_chars(&status->sentence)) {
        fail_msg("\"%s\": %s, \"%s\"", chars, clattn_status_name(code),
                 text_chars(&status->sentence));
    }
    refused++;
}

static void choose(const struct problem *p, const struct device *d, const char *asked,
                   const char *table, bool must) {
    struct choice c = {0};
    struct text why = {0};
    struct status status = {0};
    const struct tuning_table user = {"the tuning file", table};
    const struct choose_question question = {
        .problem = p, .device = d, .asked = asked, .tables = &user, .table_count = table != NULL};
    const cl_int code = choose_variant(&question, &c, &status);
    if (code == CL_SUCCESS) {
        assert_string_equal(c.solver->name, c.variant.solver);
        if (!fixtures_runnable(c.solver, p, d, &c.variant, &why)) {
            fail_msg("\"%s\": %s", asked ? asked : table ? table : "", text_chars(&why));
        }
    } else if (must || !*text_chars(&status.sentence)) {
        fail_msg("\"%s\": %s", table ? table : "", text_chars(&c.description));
    }
    text_destroy(&why);
    choose_destroy(&c);
    status_destroy(&status);
}

/* ---- Variants ---- */

static void check_variant(const char *chars, size_t length) {
    static const char *const devices[] = {"a100", "pocl", "embedded_minimum"};
    struct status status = {0};
    struct text once = {0}, twice = {0};
    struct variant v, again;
    const cl_int code = variant_parse(&v, chars, length, &status);
    if (code == CL_SUCCESS) {
        read_well++;
        variant_format(&v, &once);
        assert_int_equal(variant_parse(&again, text_chars(&once), once.length, &status),
                         CL_SUCCESS);
        variant_format(&again, &twice);
        assert_string_equal(text_chars(&once), text_chars(&twice));
    } else {
        expect_sentence(code, CLATTN_INVALID_VARIANT, &status, chars);
    }
    const struct problem p = fixtures_problem("f16 h8:2 q300 d80:33 causal");
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        choose(&p, &fixtures_find(devices[i])->device, chars, NULL, false);
    }
    text_destroy(&once);
    text_destroy(&twice);
    status_destroy(&status);
}

static void damaged_variants(void **state) {
    (void)state;
    static const char *const texts[] = {
        "fwd_tile BLOCK_M=128 BLOCK_N=64 BLOCK_D=128 THREADS_M=16 THREADS_N=16 Q_RESIDENT=1",
        "fwd_tile THREADS_M=16 PREFETCH=1",
        "fwd_tile BLOCK_M=64",
        "fwd_lanes LANES=16 ROW_VECTORS=2 KEY_UNROLL=4 COL_UNROLL=4 BLOCK_N=64",
        "fwd_rows WORK_GROUP=64",
        "fwd_rows",
        "memory_efficient BLOCK_N=32",
        "standard SOFTMAX=three_pass WORK_GROUP=256 LANES=4",
        "a A=1 B=2 C=3 D=4 E=5 F=6 G=7 H=8 I=9 J=10 K=11 L=12",
    };
    each_mutation(texts, sizeof texts / sizeof *texts, check_variant);
    expect_both();
}

/* ---- Problems ---- */

static void check_problem(const char *chars, size_t length) {
    (void)length;
    clattn_desc desc, unset;
    memset(&desc, 0xAA, sizeof desc);
    desc.size = sizeof desc;
    memcpy(&unset, &desc, sizeof desc);
    struct status status = {0};
    struct problem p, again;
    struct text once = {0}, twice = {0};
    cl_int code = clattn_desc_parse(chars, &desc);
    if (code != CL_SUCCESS) {
        assert_int_equal(code, CLATTN_INVALID_TEXT);
        assert_memory_equal(&desc, &unset, sizeof desc);
        refused++;
        return;
    }
    code = problem_from_desc(&p, &desc, &status);
    if (code != CL_SUCCESS) {
        expect_sentence(code, code == CLATTN_INVALID_DESC ? code : CLATTN_UNSUPPORTED, &status,
                        chars);
        status_destroy(&status);
        return;
    }
    read_well++;
    problem_format(&p, &once);
    assert_int_equal(clattn_desc_parse(text_chars(&once), &desc), CL_SUCCESS);
    assert_int_equal(problem_from_desc(&again, &desc, &status), CL_SUCCESS);
    problem_format(&again, &twice);
    assert_string_equal(text_chars(&once), text_chars(&twice));
    choose(&p, &fixtures_find("mali_g78")->device, NULL, NULL, true);
    text_destroy(&once);
    text_destroy(&twice);
}

static void damaged_problems(void **state) {
    (void)state;
    static const char *const texts[] = {
        "f16 b2 h32:8 q4096 k4096 d128:64 causal",
        "bf16 q77 d33 window128,0 start",
        "f32 q1 d512:1 softcap30",
        "q0 k7 d3 window-1,2 end",
        "f32 q1073741823 d1 softcap0.125",
        "b0 h1 q5 d64 softcap3e-05",
        "f32 kf16 vbf16 of16 df32 q5 d64",
    };
    each_mutation(texts, sizeof texts / sizeof *texts, check_problem);
    expect_both();
}

/* ---- Tables ---- */

static void check_table(const char *chars, size_t length) {
    (void)length;
    struct text remarks = {0};
    const size_t bad = tuning_check(chars, "table", &remarks);
    size_t told = 0;
    for (const char *at = text_chars(&remarks); *at; at = strchr(at, '\n') + 1) {
        unsigned line = 0;
        told++;
        assert_true(told > TUNING_REMARKS || (sscanf(at, "table:%u: ", &line) == 1 && line >= 1));
    }
    assert_int_equal(told, bad > TUNING_REMARKS ? TUNING_REMARKS + 1 : bad);
    *(bad ? &refused : &read_well) += 1;
    text_destroy(&remarks);
    const struct problem p = fixtures_problem("f16 h8:2 q2048 d64 causal");
    const struct device *d = &fixtures_find("a100")->device;
    size_t steps = 0;
    struct tuning_walk line = {.rest = NULL};
    while (tuning_next(&line, chars, &p, d)) {
        const struct variant *v = &line.variant;
        assert_true(line.line >= 1 && ++steps <= LONGEST);
        assert_true(v->solver[0] && memchr(v->solver, '\0', sizeof v->solver));
        assert_non_null(memchr(line.driver, '\0', sizeof line.driver));
    }
    choose(&p, d, NULL, chars, true);
}

static void damaged_tables(void **state) {
    (void)state;
    static const char *const texts[] = {
        "# comment\n* ; * ; fwd_rows WORK_GROUP=64\n",
        "nvidia/8.0 ; f16 d33-64 q1024- causal ; fwd_tile BLOCK_M=64 BLOCK_N=32\n"
        "nvidia ; h8:2 ; fwd_rows\r\ncpu/16 ; * ; fwd_lanes\n",
        "\"NVIDIA A100-SXM4-80GB\" ; d64:1-64 k1-9999 ; fwd_rows WORK_GROUP=32 # best\n\n"
        "\"PoCL\" ; full ; standard SOFTMAX=online",
        "* ; band softcap ; memory_efficient\n* ; bf16 ; x Y=Z\n* ; f16 ; fwd_tile BLOCK_D=64",
        "* ; f16 ; fwd_tile ; driver=\"580.1 (a; b) # \\\"c\\\"\" gain=1.2 date=2026-11-27 "
        "error=3e-4\n",
    };
    each_mutation(texts, sizeof texts / sizeof *texts, check_table);
    expect_both();
}

/* ---- Facts ---- */

static void check_facts(const char *chars, size_t length) {
    (void)length;
    struct device d, again;
    if (!device_parse(&d, chars)) {
        refused++;
        return;
    }
    read_well++;
    struct text once = {0}, twice = {0};
    device_format(&d, &once);
    if (!device_parse(&again, text_chars(&once))) {
        fail_msg("\"%s\" was read, but not what it was written as:\n%s", chars, text_chars(&once));
    }
    device_format(&again, &twice);
    assert_string_equal(text_chars(&once), text_chars(&twice));
    /* As device_read leaves them. */
    d.work_group = d.work_group ? d.work_group : 1;
    d.work_items = d.work_items ? d.work_items : 1;
    const struct problem p = fixtures_problem("f32 q300 d80:33 window7,7");
    choose(&p, &d, NULL, NULL, false);
    text_destroy(&once);
    text_destroy(&twice);
}

static void damaged_facts(void **state) {
    (void)state;
    const char *texts[FIXTURES];
    for (size_t i = 0; i < FIXTURES; i++) {
        texts[i] = fixtures[i].facts;
    }
    each_mutation(texts, FIXTURES, check_facts);
    expect_both();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_variants),
        cmocka_unit_test(damaged_problems),
        cmocka_unit_test(damaged_tables),
        cmocka_unit_test(damaged_facts),
    };
    return cmocka_run_group_tests(tests, fixtures_open, fixtures_close);
}
