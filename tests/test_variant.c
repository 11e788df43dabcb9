/*
 * Variants: a solver and its parameters from text, and back.
 */
#include "variant.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct variant read_variant(const char *chars) {
    struct variant v;
    struct status status = {0};
    assert_int_equal(variant_parse(&v, chars, strlen(chars), &status), CL_SUCCESS);
    return v;
}

static void expect_text(const struct variant *v, const char *expected) {
    struct text chars = {0};
    variant_format(v, &chars);
    assert_string_equal(text_chars(&chars), expected);
    text_destroy(&chars);
}

static void what_is_read_is_written(void **state) {
    (void)state;
    static const struct {
        const char *read, *written;
    } texts[] = {
        {"fwd_rows", "fwd_rows"},
        {" \tfwd_tile  BLOCK_M=64\tBLOCK_N=32\r\n", "fwd_tile BLOCK_M=64 BLOCK_N=32"},
        {"standard SOFTMAX=three_pass", "standard SOFTMAX=three_pass"},
        {"a b=-2147483648 c=2147483647 d=e-f", "a b=-2147483648 c=2147483647 d=e-f"},
        {"x A=1 B=1 C=1 D=1 E=1 F=1 G=1 H=1 I=1 J=1 K=1 L=1 M=1 N=1 O=1 P=1",
         "x A=1 B=1 C=1 D=1 E=1 F=1 G=1 H=1 I=1 J=1 K=1 L=1 M=1 N=1 O=1 P=1"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct variant v = read_variant(texts[i].read);
        expect_text(&v, texts[i].written);
    }
}

static void only_the_given_length_is_read(void **state) {
    (void)state;
    struct variant v;
    struct status status = {0};
    assert_int_equal(variant_parse(&v, "fwd_rows WORK_GROUP=8", 8, &status), CL_SUCCESS);
    expect_text(&v, "fwd_rows");
}

static void the_sentence_quotes_the_word(void **state) {
    (void)state;
    static const struct {
        const char *chars, *sentence;
    } texts[] = {
        {"", "variant: \"\" does not begin with a solver's name"},
        {"9rows", "variant: \"9rows\" does not begin with a solver's name"},
        {"a b", "variant: \"b\" is not of the form NAME=VALUE"},
        {"a b=", "variant: \"b=\" is not of the form NAME=VALUE"},
        {"a b=1;int", "variant: \"b=1;int\" is not of the form NAME=VALUE"},
        {"a b=2147483648", "variant: the value in \"b=2147483648\" is no 32-bit number"},
        {"a b=1 c=2 b=1", "variant: b stands there twice"},
        {"a A=1 B=1 C=1 D=1 E=1 F=1 G=1 H=1 I=1 J=1 K=1 L=1 M=1 N=1 O=1 P=1 Q=1 R=1 S=1 T=1 U=1 "
         "V=1 W=1 X=1 Y=1",
         "variant: more than 24 parameters"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct variant v;
        struct status status = {0};
        assert_int_equal(variant_parse(&v, texts[i].chars, strlen(texts[i].chars), &status),
                         CLATTN_INVALID_VARIANT);
        assert_string_equal(text_chars(&status.sentence), texts[i].sentence);
        status_destroy(&status);
    }
}

static void parameters_are_found(void **state) {
    (void)state;
    const struct variant v = read_variant("a B=12 C=word D=-3");
    assert_string_equal(variant_find(&v, "C"), "word");
    assert_null(variant_find(&v, "c"));
    assert_int_equal(variant_number(&v, "B", 7), 12);
    assert_int_equal(variant_number(&v, "D", 7), -3);
    assert_int_equal(variant_number(&v, "C", 7), 7); /* no number */
    assert_int_equal(variant_number(&v, "E", 7), 7); /* not there */
}

static void parameters_are_added_behind(void **state) {
    (void)state;
    struct variant v = read_variant("a B=12");
    variant_add(&v, "D", "-4");
    variant_add(&v, "C", "other");
    expect_text(&v, "a B=12 D=-4 C=other");
}

static void a_variant_is_that_variant(void **state) {
    (void)state;
    static const char *const texts[] = {"a", "b", "a B=1", "a B=2", "a C=1", "a B=1 C=1"};
    enum { TEXTS = sizeof texts / sizeof *texts };
    for (size_t i = 0; i < TEXTS * TEXTS; i++) {
        const struct variant v = read_variant(texts[i / TEXTS]);
        const struct variant other = read_variant(texts[i % TEXTS]);
        assert_int_equal(variant_is(&v, &other), i / TEXTS == i % TEXTS);
    }
    struct variant longer = read_variant("a B=12");
    const struct variant v = read_variant("a B=1");
    longer.count = 0;
    variant_add(&longer, "B", "1"); /* whatever stood behind the value's end */
    assert_true(variant_is(&longer, &v));
}

static void a_stage_takes_its_parameters(void **state) {
    (void)state;
    const struct variant v = read_variant("a LANES=8 DQ_BLOCK_M=1 DKV_BLOCK_M=2 LANES_Q=4");
    static const struct {
        const char *words, *taken;
    } texts[] = {
        {"", "stage"},
        {"LANES", "stage LANES=8"},
        {"DKV_ LANES", "stage LANES=8 BLOCK_M=2"},
        {"LANES_", "stage Q=4"},
        {"BLOCK_M OTHER_", "stage"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct variant taken = variant_take(&v, "stage", texts[i].words);
        expect_text(&taken, texts[i].taken);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_written),
        cmocka_unit_test(only_the_given_length_is_read),
        cmocka_unit_test(the_sentence_quotes_the_word),
        cmocka_unit_test(parameters_are_found),
        cmocka_unit_test(parameters_are_added_behind),
        cmocka_unit_test(a_variant_is_that_variant),
        cmocka_unit_test(a_stage_takes_its_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
