/*
 * Texts of facts: every fixture says what device_format would say of it, and a text
 * that says something else is refused.
 */
#include <string.h>

#include "fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static bool same(const struct device *a, const struct device *b) {
    struct text one = {0}, other = {0};
    device_format(a, &one);
    device_format(b, &other);
    const bool equal = strcmp(text_chars(&one), text_chars(&other)) == 0;
    text_destroy(&one);
    text_destroy(&other);
    return equal;
}

/* Line for line, but for facts that a fixture leaves out because they were not to be had. */
static void fixtures_are_written_as_facts_are(void **state) {
    (void)state;
    for (size_t i = 0; i < FIXTURES; i++) {
        struct text written = {0}, full = {0};
        device_format(&fixtures[i].device, &written);
        for (const char *line = text_chars(&written); *line;) {
            const size_t length = strcspn(line, "\n");
            if (memchr(line, ' ', length)) {
                text_append(&full, line, length + 1);
            }
            line += length + 1;
        }
        assert_string_equal(fixtures[i].facts, text_chars(&full));
        text_destroy(&written);
        text_destroy(&full);
    }
}

static void facts_make_sense(void **state) {
    (void)state;
    for (size_t i = 0; i < FIXTURES; i++) {
        const struct device *d = &fixtures[i].device;
        assert_true(d->name[0] && d->vendor[0] && d->platform[0]);
        assert_true(d->type == DEVICE_CPU || d->type == DEVICE_GPU);
        assert_true(d->compute_units && d->work_group && d->float_width && d->base_alignment);
        assert_true(d->work_items >= d->work_group);
        assert_true(d->local_memory >= d->local_memory_reported);
        assert_true(d->address_bits == 32 || d->address_bits == 64);
        for (size_t other = 0; other < i; other++) {
            assert_string_not_equal(d->name, fixtures[other].device.name);
        }
    }
}

static void written_facts_are_read_again(void **state) {
    (void)state;
    for (size_t i = 0; i < FIXTURES; i++) {
        struct text written = {0};
        struct device again;
        device_format(&fixtures[i].device, &written);
        assert_true(device_parse(&again, text_chars(&written)));
        assert_true(same(&again, &fixtures[i].device));
        text_destroy(&written);
    }
}

static void what_is_left_out_is_nothing(void **state) {
    (void)state;
    const struct device nothing = {0};
    struct device d;
    memset(&d, 0xAA, sizeof d);
    assert_true(device_parse(&d, ""));
    assert_true(same(&d, &nothing));
    memset(&d, 0xAA, sizeof d);
    assert_true(device_parse(&d, "\n\nname one\n\nwork_group 64\ntype gpu"));
    assert_string_equal(d.name, "one");
    assert_int_equal(d.work_group, 64);
    assert_int_equal(d.type, DEVICE_GPU);
    d.name[0] = '\0';
    d.work_group = d.type = 0;
    assert_true(same(&d, &nothing));
}

static void texts_are_kept_as_they_are(void **state) {
    (void)state;
    struct device d;
    assert_true(device_parse(&d, "name two  blanks and a # sign \ndriver\nvendor \n"));
    assert_string_equal(d.name, "two  blanks and a # sign ");
    assert_string_equal(d.driver, "");
    assert_string_equal(d.vendor, "");
}

/* As clattn-info prints them: indented, and the values in a column. */
static void lines_of_clattn_info_are_read(void **state) {
    (void)state;
    for (size_t i = 0; i < FIXTURES; i++) {
        struct text printed = {0};
        struct device again;
        for (const char *line = fixtures[i].facts; *line;) {
            const size_t length = strcspn(line, "\n"), name = strcspn(line, " \n");
            text_printf(&printed, "    %-22.*s %.*s\n", (int)name, line, (int)(length - name - 1),
                        line + name + 1);
            line += length + 1;
        }
        assert_true(device_parse(&again, text_chars(&printed)));
        assert_true(same(&again, &fixtures[i].device));
        text_destroy(&printed);
    }
    struct device d;
    assert_true(device_parse(&d, "    \n    matrix\n    driver   \n  work_group   64"));
    assert_string_equal(d.matrix, "");
    assert_string_equal(d.driver, "");
    assert_int_equal(d.work_group, 64);
}

static void other_texts_are_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "x",
        "x 1",
        "names x",
        "nam x",
        "Name x",
        "# name x",
        "name\tx",
        "work_group=64",
        "work_group",
        "work_group ",
        "work_group 64 ",
        "work_group 64\r",
        "work_group -64",
        "work_group -0",
        "work_group +64",
        "work_group 0x40",
        "work_group 64.0",
        "work_group 64KiB",
        "work_group 1e3",
        "work_group 99999999999999999999",
        "local_memory 18446744073709551616",
        "type",
        "type ",
        "type GPU",
        "type gpus",
        "type 2",
        "type gpu cpu",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (int where = 0; where < 2; where++) {
            struct text facts = {0};
            struct device d;
            text_printf(&facts, "%s%s%s", where ? "name x\n" : "", texts[i],
                        where ? "\nsvm 1\n" : "");
            if (device_parse(&d, text_chars(&facts))) {
                fail_msg("\"%s\" was read", text_chars(&facts));
            }
            text_destroy(&facts);
        }
    }
}

static void a_text_that_does_not_fit_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t capacity;
    } texts[] = {
        {"name", sizeof((struct device *)0)->name},
        {"vendor", sizeof((struct device *)0)->vendor},
        {"platform", sizeof((struct device *)0)->platform},
        {"driver", sizeof((struct device *)0)->driver},
        {"architecture", sizeof((struct device *)0)->architecture},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t length = texts[i].capacity - 1; length <= texts[i].capacity + 1; length++) {
            struct text facts = {0};
            struct device d;
            text_printf(&facts, "%s ", texts[i].name);
            for (size_t n = 0; n < length; n++) {
                text_append(&facts, "x", 1);
            }
            assert_int_equal(device_parse(&d, text_chars(&facts)), length < texts[i].capacity);
            text_destroy(&facts);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_are_written_as_facts_are),
        cmocka_unit_test(facts_make_sense),
        cmocka_unit_test(written_facts_are_read_again),
        cmocka_unit_test(what_is_left_out_is_nothing),
        cmocka_unit_test(texts_are_kept_as_they_are),
        cmocka_unit_test(lines_of_clattn_info_are_read),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(a_text_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, fixtures_open, fixtures_close);
}
