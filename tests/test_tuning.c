/*
 * Tuning tables: which line goes first, what becomes of lines that do not fit, and what
 * is malformed.  (Files: test_tuning_files.c.)
 */
#include "tuning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixtures.h"
#include "choose.h"
#include "sources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Chooses on a fixture; *variant_text and *description are to be destroyed. */
static cl_int choose(const char *fixture, const char *words, const char *asked, const char *table,
                     struct text *variant_text, struct text *description) {
    const struct problem p = fixtures_problem(words);
    const struct tuning_table user = {"the tuning file", table};
    const struct choose_question question = {.problem = &p,
                                             .device = &fixtures_find(fixture)->device,
                                             .asked = asked,
                                             .tables = &user,
                                             .table_count = table != NULL};
    struct choice c = {0};
    struct status status = {0};
    const cl_int code = choose_variant(&question, &c, &status);
    if (code == CL_SUCCESS) {
        variant_format(&c.variant, variant_text);
    }
    text_printf(description, "%s%s", text_chars(&c.description), text_chars(&c.remarks));
    choose_destroy(&c);
    status_destroy(&status);
    return code;
}

/* The variant that is chosen begins with `begin`, and the description says where from. */
static void expect(const char *fixture, const char *words, const char *asked, const char *table,
                   const char *begin, const char *origin) {
    struct text variant_text = {0}, description = {0}, from = {0};
    assert_int_equal(choose(fixture, words, asked, table, &variant_text, &description), CL_SUCCESS);
    text_printf(&from, "chosen: %s (from %s)\n", text_chars(&variant_text), origin);
    if (strncmp(text_chars(&variant_text), begin, strlen(begin)) != 0 ||
        !strstr(text_chars(&description), text_chars(&from))) {
        fail_msg("%s, %s: expected %s from %s, but:\n%s", fixture, words, begin, origin,
                 text_chars(&description));
    }
    text_destroy(&variant_text);
    text_destroy(&description);
    text_destroy(&from);
}

/* ---- The order ---- */

static void the_most_specific_line_goes_first(void **state) {
    (void)state;
    static const char table[] = "# the least specific one first\n"
                                "* ; * ; fwd_rows WORK_GROUP=1\n"
                                "nvidia ; * ; fwd_rows WORK_GROUP=2\n"
                                "nvidia/8.0 ; * ; fwd_rows WORK_GROUP=4\n"
                                "\n"
                                "\"NVIDIA A100-SXM4-80GB\" ; * ; fwd_rows WORK_GROUP=8\n"
                                "cpu ; * ; fwd_rows WORK_GROUP=16\n"
                                "amd/gfx90a ; * ; fwd_rows WORK_GROUP=32 # also with a comment\n"
                                "intel;*;fwd_rows WORK_GROUP=64\r\n";
    static const struct {
        const char *fixture, *variant;
        unsigned line;
    } expected[] = {
        {"a100", "fwd_rows WORK_GROUP=8", 6},      {"h200", "fwd_rows WORK_GROUP=2", 3},
        {"t4", "fwd_rows WORK_GROUP=2", 3},        {"pocl", "fwd_rows WORK_GROUP=16", 7},
        {"mi250", "fwd_rows WORK_GROUP=32", 8},    {"mi300x", "fwd_rows WORK_GROUP=1", 2},
        {"arc_a770", "fwd_rows WORK_GROUP=64", 9}, {"mali_g78", "fwd_rows WORK_GROUP=1", 2},
    };
    struct text remarks = {0};
    assert_int_equal(tuning_check(table, "t", &remarks), 0);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char origin[40];
        snprintf(origin, sizeof origin, "the tuning file:%u", expected[i].line);
        expect(expected[i].fixture, "f32 q4096 d64", NULL, table, expected[i].variant, origin);
    }
}

static void how_specific_a_pattern_is(void **state) {
    (void)state;
    static const struct {
        const char *fixture, *pattern;
        int specificity;
    } expected[] = {
        {"a100", "*", 0},
        {"a100", "nvidia", 1},
        {"a100", "nvidia/8.0", 2},
        {"a100", "\"NVIDIA A100-SXM4-80GB\"", 3},
        {"a100", "NVIDIA A100-SXM4-80GB", -1}, /* a name needs its quotes */
        {"a100", "\"NVIDIA A100\"", -1},       /* and to be whole */
        {"a100", "\"", -1},
        {"a100", "\"\"", -1},
        {"a100", "", -1},
        {"a100", "nvidia/8", -1},
        {"a100", "nvidia/8.00", -1},
        {"a100", "nvidi", -1},
        {"a100", "nvidia/", -1},
        {"a100", "cpu", -1},
        {"a100", "**", -1},
        {"pocl", "cpu", 1},
        {"pocl", "cpu/16", 2},
        {"pocl", "cpu/1", -1},
        {"arc_a770", "intel", 2}, /* the architecture is no more than that */
        {"mali_g78", "", -1},     /* no architecture is known */
        {"mali_g78", "\"Mali-G78\"", 3},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct fixture *f = fixtures_find(expected[i].fixture);
        const char *pattern = expected[i].pattern;
        if (tuning_specificity(&f->device, pattern, strlen(pattern)) != expected[i].specificity) {
            fail_msg("%s, %s: not %d", f->name, pattern, expected[i].specificity);
        }
    }
}

static void equals_keep_their_order(void **state) {
    (void)state;
    static const char table[] = "nvidia ; f16 ; fwd_rows WORK_GROUP=1\n"
                                "nvidia ; d33-64 causal q1024- ; fwd_rows WORK_GROUP=2\n"
                                "nvidia ; d64 ; fwd_rows WORK_GROUP=4\n"
                                "nvidia ; * ; fwd_rows WORK_GROUP=8";
    const char *const from[] = {"the tuning file:1", "the tuning file:2", "the tuning file:3",
                                "the tuning file:4"};
    expect("a100", "f16 q4096 d64 causal", NULL, table, "fwd_rows WORK_GROUP=1", from[0]);
    expect("a100", "f32 q4096 d64 causal", NULL, table, "fwd_rows WORK_GROUP=2", from[1]);
    expect("a100", "f32 q4096 d64", NULL, table, "fwd_rows WORK_GROUP=4", from[2]);
    expect("a100", "f32 q1023 d64 causal", NULL, table, "fwd_rows WORK_GROUP=4", from[2]);
    expect("a100", "f32 q4096 d64:65 causal", NULL, table, "fwd_rows WORK_GROUP=8", from[3]);
}

/* tuning.txt's own line for the H200, by its number. */
static void name_our_line(char *origin, size_t capacity) {
    const struct problem p = fixtures_problem("f32 h32 q4096 d64");
    struct tuning_walk line = {.rest = NULL};
    assert_true(
        tuning_next(&line, sources_find("tuning.txt")->text, &p, &fixtures_find("h200")->device));
    snprintf(origin, capacity, "tuning.txt:%zu", line.line);
}

static void caller_then_user_then_ours_then_formula(void **state) {
    (void)state;
    static const char words[] = "f32 h32 q4096 d64", users[] = "* ; * ; fwd_rows WORK_GROUP=32";
    static const char for_others[] = "cpu ; * ; fwd_rows\n* ; bf16 ; fwd_rows\n";
    char ours[40];
    name_our_line(ours, sizeof ours);
    expect("h200", words, "fwd_rows WORK_GROUP=2", users, "fwd_rows WORK_GROUP=2", "the caller");
    expect("h200", words, NULL, users, "fwd_rows WORK_GROUP=32", "the tuning file:1");
    expect("h200", words, NULL, for_others, "fwd_tile", ours);
    expect("h200", words, NULL, "", "fwd_tile", ours);
    expect("h200", words, NULL, NULL, "fwd_tile", ours);
    expect("a100", words, NULL, for_others, "fwd_tile", "the device's facts");
    expect("a100", words, NULL, NULL, "fwd_tile", "the device's facts");
    expect("pocl", words, NULL, NULL, "fwd_lanes", "the device's facts");
}

/* A variant that is completed to what clattn would never choose is worth a remark with what was
 * filled in; one that is complete, or that a variant of the solver's own has, is not. */
static void odd_completions_are_remarked(void **state) {
    (void)state;
    static const struct {
        const char *fixture, *variant, *remark; /* NULL: none */
    } variants[] = {
        {"mi250", "fwd_tile BLOCK_M=7",
         "variant from the caller: fwd_tile BLOCK_M=7: fwd_tile itself would choose no variant "
         "with these "
         "values; filled in: BLOCK_N=8 BLOCK_D=4 THREADS_M=1 "},
        {"mi250", "fwd_tile BLOCK_M=64 BLOCK_N=33", NULL}, /* refused */
        {"mi250", "fwd_tile", NULL},
        {"mi250", "fwd_tile BLOCK_M=64", NULL},
        {"mi250", "fwd_rows WORK_GROUP=3", NULL}, /* complete */
        {"pocl", "fwd_lanes LANES=16", NULL},
        {"pocl", "fwd_lanes BLOCK_N=127", "filled in: LANES=16 ROW_VECTORS="},
        {"pocl", "memory_efficient BLOCK_N=127", "filled in: LANES=16 ROW_VECTORS="},
        {"a100", "fwd_mma WAVES=3", "filled in: ENGINE=nv80 ROW_FRAGMENTS="},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        struct text variant_text = {0}, description = {0};
        choose(variants[i].fixture, "f16 q4096 d64", variants[i].variant, NULL, &variant_text,
               &description);
        const char *remark = strstr(text_chars(&description), "filled in");
        if (variants[i].remark ? !strstr(text_chars(&description), variants[i].remark) : !!remark) {
            fail_msg("%s: %s:\n%s", variants[i].fixture, variants[i].variant,
                     text_chars(&description));
        }
        text_destroy(&variant_text);
        text_destroy(&description);
    }
}

/* ---- Lines that do not fit ---- */

static void variants_that_cannot_be_are_passed_over(void **state) {
    (void)state;
    static const struct {
        const char *variant, *reason; /* of a solver that the formula would not choose there */
    } lines[] = {
        {"fwd_rows WORK_GROUP=4096", "fwd_rows refused: WORK_GROUP=4096 is not a number from"},
        {"fwd_rows WORK_GROUP=512", "fwd_rows refused: 512 work-items are over the device's 256"},
        {"fwd_rows WORK_GROUP=many", "fwd_rows refused: WORK_GROUP=many is not a number from"},
        {"fwd_rows WORK_GROUP=-1", "fwd_rows refused: WORK_GROUP=-1 is not a number from"},
        {"fwd_rows BLOCK_M=64", "fwd_rows refused: fwd_rows has no parameter BLOCK_M"},
        {"fwd_lanes LANES=16", "fwd_lanes refused: it is for CPU devices"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct text table = {0}, variant_text = {0}, description = {0};
        text_printf(&table, "# passed over\n* ; * ; %s\n", lines[i].variant);
        assert_int_equal(
            choose("mi250", "f32 q4096 d64", NULL, text_chars(&table), &variant_text, &description),
            CL_SUCCESS);
        assert_int_equal(strncmp(text_chars(&variant_text), "fwd_tile ", 9), 0);
        const char *reason = strstr(text_chars(&description), lines[i].reason);
        if (!reason) {
            fail_msg("\"%s\" is not in\n%s", lines[i].reason, text_chars(&description));
        }
        if (i < 5) {
            assert_non_null(strstr(reason, "(variant from the tuning file:2)\n"));
        }
        text_printf(&table, "* ; * ; fwd_rows WORK_GROUP=16\n");
        expect("mi250", "f32 q4096 d64", NULL, text_chars(&table), "fwd_rows WORK_GROUP=16",
               "the tuning file:3");
        text_destroy(&table);
        text_destroy(&variant_text);
        text_destroy(&description);
    }
}

static void the_choice_goes_on_after_them(void **state) {
    (void)state;
    static const char *const variants[] = {
        "no_such_solver",
        "no_such_solver BLOCK_M=64",
        "fwd_tile BLOCK_M=7 THREADS_M=2",
        "fwd_tile BLOCK_M=512 BLOCK_N=512 BLOCK_D=512",
        "fwd_tile WORK_GROUP=64",
        "fwd_tile BLOCK_M=99999999999999999999",
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        char table[256];
        snprintf(table, sizeof table, "* ; * ; %s\n", variants[i]);
        expect("mi250", "f32 q4096 d64", NULL, table, "fwd_tile", "the device's facts");
        snprintf(table, sizeof table, "* ; * ; %s\n* ; * ; fwd_rows\n", variants[i]);
        expect("mi250", "f32 q4096 d64", NULL, table, "fwd_rows", "the tuning file:2");
    }
}

/* ---- Malformed tables ---- */

/* A malformed line is never used, a sound one is. */
static void check_used(const char *table, bool used) {
    const struct problem p = {.type = CLATTN_F32};
    const struct device d = {.name = "a \\device", .architecture = "*"};
    struct tuning_walk line = {.rest = NULL};
    assert_int_equal(tuning_next(&line, table, &p, &d), used);
    assert_true(!used || strcmp(line.variant.solver, "fwd_rows") == 0);
}

#define MANY                                                                                   \
    "A=1 B=1 C=1 D=1 E=1 F=1 G=1 H=1 I=1 J=1 K=1 L=1 M=1 N=1 O=1 P=1 Q=1 R=1 S=1 T=1 U=1 V=1 " \
    "W=1 X=1 Y=1"
#define LONG "123456789012345678901234567890123456789012345678901234567890"

static void malformed_lines_are_remarked(void **state) {
    (void)state;
    static const char *const lines[] = {
        "x",
        "* ; *",
        "* ; f32",
        "* ; * ; fwd_rows ; more",
        "* ; * ; fwd_rows ;",
        "* ; * ; fwd_rows ; driver=1 ; more=2",
        "* ; * ; fwd_rows ; driver",
        "* ; * ; fwd_rows ; driver=",
        "* ; * ; fwd_rows ; =1",
        "* ; * ; fwd_rows ; driver=1 gain",
        "* ; * ; fwd_rows ; driver=1 driver=2",
        "* ; * ; fwd_rows ; driver=\"1",
        "* ; * ; fwd_rows ; driver=\"1\"2",
        "* ; * ; fwd_rows ; driver=1\"2\"",
        "* ; * ; fwd_rows ; driver=\"\\n\"",
        "* ; * ; fwd_rows ; driver=\"\x1B[2J\"",
        "* ; * ; fwd_rows ; Driver=1",
        "* ; * ; fwd_rows ; driver= 1",
        "* ; * ; fwd_rows ; note=" LONG LONG LONG,
        " ; * ; fwd_rows",
        "\"a device ; * ; fwd_rows",
        "\"a \"device\"\" ; * ; fwd_rows",
        "\"a device\" x ; * ; fwd_rows",
        "\"a\\device\" ; * ; fwd_rows",
        "\"a device\\\" ; * ; fwd_rows",
        "\" ; * ; fwd_rows",
        "\"\" ; * ; fwd_rows",
        ";;",
        ";",
        "* ; * ;",
        "* ; * ; # fwd_rows",
        "* ; * # ; fwd_rows",
        "* ; f64 ; fwd_rows",
        "* ; dx ; fwd_rows",
        "* ; d64-32 ; fwd_rows",
        "* ; d-64 ; fwd_rows",
        "* ; d ; fwd_rows",
        "* ; d64: ; fwd_rows",
        "* ; d64:64:64 ; fwd_rows",
        "* ; q64:128 ; fwd_rows",
        "* ; k64:64 ; fwd_rows",
        "* ; b1:2 ; fwd_rows",
        "* ; q1-2-3 ; fwd_rows",
        "* ; z9 ; fwd_rows",
        "* ; Causal ; fwd_rows",
        "* ; causal, ; fwd_rows",
        "* ; q99999999999999999999 ; fwd_rows",
        "* ; * ; =1",
        "* ; * ; 9rows",
        "* ; * ; fwd_rows WORK_GROUP",
        "* ; * ; fwd_rows WORK_GROUP=",
        "* ; * ; fwd_rows WORK_GROUP=6 4",
        "* ; * ; fwd_rows WORK_GROUP=6.4",
        "* ; * ; fwd_rows WORK_GROUP=64 WORK_GROUP=64",
        "* ; * ; fwd_rows WORK_GROUP==64",
        "* ; * ; fwd_rows WORK_GROUP=(64)",
        "* ; * ; a_solver_with_a_name_that_has_no_end",
        "* ; * ; fwd_rows " MANY,
    };
    static const char *const before[] = {"", "# comment\n\n* ; * ; fwd_rows\n"};
    static const char *const after[] = {"", "\n", "\n* ; * ; fwd_rows\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        for (size_t b = 0; b < 2; b++) {
            for (size_t a = 0; a < 3; a++) {
                struct text table = {0};
                struct text remarks = {0};
                text_printf(&table, "%s%s%s", before[b], lines[i], after[a]);
                const char *place = b ? "my table:4: " : "my table:1: ";
                if (tuning_check(text_chars(&table), "my table", &remarks) != 1 ||
                    strncmp(text_chars(&remarks), place, strlen(place)) != 0 ||
                    remarks.length <= strlen(place) ||
                    strchr(text_chars(&remarks), '\n') != remarks.chars + remarks.length - 1) {
                    fail_msg("%s: \"%s\"", lines[i], text_chars(&remarks));
                }
                check_used(text_chars(&table), b || a == 2);
                text_destroy(&remarks);
                text_destroy(&table);
            }
        }
    }
}

/* The sentence holds the words that are wrong, and no others. */
static void the_sentence_quotes_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *line, *sentence;
    } lines[] = {
        {"* ; f32 quick full ; fwd_rows # x", "t:1: \"quick\" is no word about a problem"},
        {"* : f32 : fwd_rows\r",
         "t:1: \"* : f32 : fwd_rows\" is not of the form DEVICE ; PROBLEM ; VARIANT"},
        {" \"a\\b\" ; * ; fwd_rows",
         "t:1: \"a\\b\" is not a name in quotes; a quote in the name is \\\", a backslash is \\\\"},
        {"* ; * ; fwd_rows BLOCK=", "t:1: variant: \"BLOCK=\" is not of the form NAME=VALUE"},
        {"* ; * ; fwd_rows ; date=2026 gain",
         "t:1: the fourth field: \"gain\" is not of the form KEY=VALUE or KEY=\"VALUE\" (at most "
         "127 bytes, driver once)"},
        {"* ; * ; \x1B[1mx\x7F", "t:1: variant: \"?[1mx?\" does not begin with a solver's name"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct text remarks = {0};
        assert_int_equal(tuning_check(lines[i].line, "t", &remarks), 1);
        remarks.chars[remarks.length - 1] = '\0';
        assert_string_equal(remarks.chars, lines[i].sentence);
        text_destroy(&remarks);
    }
}

/* A name in quotes is the device's, whatever stands in the name. */
static void names_may_hold_anything(void **state) {
    (void)state;
    static const struct {
        const char *name, *quoted;
    } names[] = {
        {"Intel(R) Xeon(R) Processor", "\"Intel(R) Xeon(R) Processor\""},
        {"A(R) B [x] \"c\" * %s \\d; #\xC3\xA9", "\"A(R) B [x] \\\"c\\\" * %s \\\\d; #\xC3\xA9\""},
        {"a\"", "\"a\\\"\""},
        {"\\", "\"\\\\\""},
        {";", "\";\""},
    };
    const struct problem p = {.type = CLATTN_F32};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t other = 0; other < sizeof names / sizeof *names; other++) {
            struct device d = {.architecture = "cpu/8"};
            struct text table = {0}, remarks = {0};
            struct tuning_walk line = {.rest = NULL};
            snprintf(d.name, sizeof d.name, "%s", names[other].name);
            text_printf(&table, "cpu ; * ; general\n\t%s;*;special # ; \" #\n", names[i].quoted);
            assert_int_equal(tuning_check(text_chars(&table), "t", &remarks), 0);
            assert_true(tuning_next(&line, text_chars(&table), &p, &d));
            assert_string_equal(line.variant.solver, i == other ? "special" : "general");
            text_destroy(&table);
        }
    }
}

static void a_long_line_of_words_is_refused(void **state) {
    (void)state;
    struct text table = {0}, remarks = {0};
    text_printf(&table, "* ; ");
    for (int i = 0; i < 100; i++) {
        text_printf(&table, "full ");
    }
    text_printf(&table, "; fwd_rows\n");
    assert_int_equal(tuning_check(text_chars(&table), "t", &remarks), 1);
    assert_int_equal(strncmp(text_chars(&remarks), "t:1: ", 5), 0);
    text_destroy(&remarks);
    text_destroy(&table);
}

/* However much is wrong, no more than a screen is said of it, and a choice does not try it all. */
static void rubbish_costs_little(void **state) {
    (void)state;
    enum { LINES = 100000 };
    struct text table = {0}, remarks = {0}, variant_text = {0}, description = {0};
    for (int i = 0; i < LINES; i++) {
        text_printf(&table, i % 2 ? "rubbish\n" : "* ; * ; fwd_rows WORK_GROUP=4096\n");
    }
    text_printf(&table, "* ; * ; fwd_rows WORK_GROUP=16\n");
    assert_int_equal(tuning_check(text_chars(&table), "t", &remarks), LINES / 2);
    assert_non_null(strstr(text_chars(&remarks), "\nt:40: \"rubbish\" is not of the form"));
    assert_non_null(strstr(text_chars(&remarks), "\nt: 49980 further lines are malformed\n"));
    assert_true(remarks.length < 4096);
    assert_int_equal(
        choose("mi250", "f32 q4096 d64", NULL, text_chars(&table), &variant_text, &description),
        CL_SUCCESS);
    assert_int_equal(strncmp(text_chars(&variant_text), "fwd_tile ", 9), 0);
    assert_non_null(strstr(text_chars(&description), "the tuning file:63 is passed over"));
    assert_non_null(strstr(text_chars(&description),
                           "the tuning file: 32 lines were passed over, and the further ones are "
                           "not tried\n"));
    assert_true(description.length < 16384);
    text_destroy(&table);
    text_destroy(&remarks);
    text_destroy(&variant_text);
    text_destroy(&description);
}

/* ---- The fourth field ---- */

static void the_driver_of_a_line_is_told(void **state) {
    (void)state;
    static const struct {
        const char *provenance, *origin;
    } lines[] = {
        {"driver=580.159", "the tuning file:1"}, /* h200's own */
        {"driver=570.1", "the tuning file:1, measured with driver 570.1"},
        {"gain=1.2 driver=\"5 (a; \\\"b\\\") #\\\\ x\" note=\"a driver=1\" # driver=2",
         "the tuning file:1, measured with driver 5 (a; \"b\") #\\ x"},
        {"gain=1.2 error=3e-4 later=a=b;", NULL},
        {"gain=1.2 error=3e-4 later=a=b", "the tuning file:1"},
        {"driver=\"\"", "the tuning file:1"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct text table = {0}, remarks = {0};
        text_printf(&table, "nvidia ; f32 ; fwd_rows ; %s\n", lines[i].provenance);
        assert_int_equal(tuning_check(text_chars(&table), "t", &remarks), !lines[i].origin);
        if (lines[i].origin) {
            expect("h200", "f32 q512 d64", NULL, text_chars(&table), "fwd_rows", lines[i].origin);
        }
        text_destroy(&table);
        text_destroy(&remarks);
    }
}

/* ---- Several tables ---- */

static void an_earlier_table_goes_first(void **state) {
    (void)state;
    const struct problem p = fixtures_problem("f32 q4096 d64");
    const struct tuning_table tables[] = {
        {"one", "* ; bf16 ; fwd_rows WORK_GROUP=1\n"},
        {"two", "rubbish\n* ; * ; fwd_rows WORK_GROUP=2\n"},
        {"three", "\"NVIDIA A100-SXM4-80GB\" ; f32 q4096 d64 ; fwd_rows WORK_GROUP=4\n"},
    };
    for (size_t count = 0; count <= 3; count++) {
        const struct choose_question question = {.problem = &p,
                                                 .device = &fixtures_find("a100")->device,
                                                 .tables = tables,
                                                 .table_count = count};
        struct choice c = {0};
        struct status status = {0};
        assert_int_equal(choose_variant(&question, &c, &status), CL_SUCCESS);
        assert_int_equal(strstr(text_chars(&c.description), "WORK_GROUP=2 (from two:2)") != NULL,
                         count >= 2);
        assert_string_equal(text_chars(&c.remarks), "");
        choose_destroy(&c);
    }
}

static void sound_tables_are_accepted(void **state) {
    (void)state;
    static const char *const tables[] = {
        "",
        "\n\n",
        "# a comment; with; signs; of a line",
        "   \t\r\n",
        "* ; * ; fwd_rows",
        "*;*;fwd_rows\r\n",
        "a/b ; f16 b1- h8:2 q1-512 k1024- d33-64:64 causal ; fwd_tile BLOCK_M=64 BLOCK_N=-1\n",
        "a ;  ; standard SOFTMAX=three_pass\n",
        "a ; full band softcap f32 f16 bf16 ; x\n",
        "\"a device; no, a device # of \\\"ours\\\"\" ; * ; fwd_rows",
        "* ; * ; fwd_rows ; driver=580.159 clattn=0.1.0 date=2026-11-27 gain=1.21 error=3e-4 # x",
        "*;*;fwd_rows;unknown=\"; # =\" x_2=\"\"\r\n",
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        struct text remarks = {0};
        assert_int_equal(tuning_check(tables[i], "t", &remarks), 0);
        assert_string_equal(text_chars(&remarks), "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_specific_line_goes_first),
        cmocka_unit_test(how_specific_a_pattern_is),
        cmocka_unit_test(equals_keep_their_order),
        cmocka_unit_test(caller_then_user_then_ours_then_formula),
        cmocka_unit_test(odd_completions_are_remarked),
        cmocka_unit_test(variants_that_cannot_be_are_passed_over),
        cmocka_unit_test(the_choice_goes_on_after_them),
        cmocka_unit_test(malformed_lines_are_remarked),
        cmocka_unit_test(the_sentence_quotes_what_is_wrong),
        cmocka_unit_test(names_may_hold_anything),
        cmocka_unit_test(a_long_line_of_words_is_refused),
        cmocka_unit_test(rubbish_costs_little),
        cmocka_unit_test(the_driver_of_a_line_is_told),
        cmocka_unit_test(an_earlier_table_goes_first),
        cmocka_unit_test(sound_tables_are_accepted),
    };
    return cmocka_run_group_tests(tests, fixtures_open, fixtures_close);
}
