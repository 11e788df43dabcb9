/*
 * The choice of a variant, on devices that are not there: there always is one, the device
 * can run it, and it stays the same from version to version unless variants.txt says so.
 *
 *     test_choice --print    writes variants.txt anew, to standard output
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "choose.h"
#include "fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct answer {
    cl_int code;
    struct choice choice;
    struct text variant_text;
    struct status status;
};

static struct answer choose(const struct problem *p, const struct device *d, const char *asked,
                            const struct choose_builder *builder) {
    const struct choose_question question = {
        .problem = p, .device = d, .asked = asked, .builder = builder};
    struct answer a = {0};
    a.code = choose_variant(&question, &a.choice, &a.status);
    assert_false(a.choice.description.failed);
    if (a.code == CL_SUCCESS) {
        variant_format(&a.choice.variant, &a.variant_text);
        assert_string_equal(text_chars(&a.status.sentence), "");
    } else {
        assert_int_equal(a.code, a.status.code);
        assert_string_not_equal(text_chars(&a.status.sentence), "");
    }
    return a;
}

static void drop(struct answer *a) {
    text_destroy(&a->variant_text);
    choose_destroy(&a->choice);
    status_destroy(&a->status);
}

/* ---- Always a variant that the device can run ---- */

/* The device runs it, and the solver accepts its own variant again, unchanged. */
static void check_variant(const struct fixture *f, const char *words, const struct problem *p,
                          const struct answer *a) {
    struct text why = {0}, again_text = {0};
    if (!fixtures_runnable(a->choice.solver, p, &f->device, &a->choice.variant, &why)) {
        fail_msg("%s, %s: %s cannot run: %s", f->name, words, text_chars(&a->variant_text),
                 text_chars(&why));
    }
    struct variant again = a->choice.variant;
    struct status status = {0};
    if (solvers_fit(a->choice.solver, p, &f->device, &again, &why) == CANNOT ||
        solvers_complete(a->choice.solver, p, &f->device, &again, &why, &status) != CL_SUCCESS) {
        fail_msg("%s, %s: %s is refused the second time: %s %s", f->name, words,
                 text_chars(&a->variant_text), text_chars(&why), text_chars(&status.sentence));
    }
    variant_format(&again, &again_text);
    assert_string_equal(text_chars(&again_text), text_chars(&a->variant_text));
    text_destroy(&again_text);
    text_destroy(&why);
}

/* Loop iterations for the elements of K and V alone: what a work-item cannot do without. */
static bool within_loops(const struct problem *p, const struct device *d) {
    return d->loop_limit == 0 ||
           (cl_ulong)p->seq_kv * ((cl_ulong)p->head_dim + p->head_dim_v) <= d->loop_limit;
}

/* The embedded profile's 256 bytes of arguments are too few for the kernels of backward: they have
 * six tensors of 32 bytes, 56 bytes beside, and seven addresses. */
static bool lacks_arguments(const struct problem *p, const struct device *d) {
    return p->pass == CLATTN_BACKWARD && d->argument_bytes &&
           d->argument_bytes < 6 * 32 + 56 + 7 * d->address_bits / 8;
}

static void check_chosen(const struct fixture *f, const char *words, const struct problem *p) {
    const bool cpu = f->device.type == DEVICE_CPU;
    struct answer a = choose(p, &f->device, NULL, NULL);
    if (a.code != CL_SUCCESS) { /* only where a loop would be cut short */
        const char *sentence = text_chars(&a.status.sentence);
        if (a.code != CLATTN_UNSUPPORTED ||
            !((f->device.loop_limit && strstr(sentence, "loop_limit")) ||
              (lacks_arguments(p, &f->device) && strstr(sentence, "bytes of arguments")))) {
            fail_msg("%s, %s: %s", f->name, words, text_chars(&a.status.sentence));
        }
        drop(&a);
        return;
    }
    struct fixtures_engine engine;
    const bool mma = fixtures_engine(&f->device, NULL, &engine) && p->type != CLATTN_F32 &&
                     p->head_dim <= 256 && p->head_dim_v <= engine.most_dim_v;
    const bool hopper = strcmp(f->device.architecture, "nvidia/9.0") == 0 && p->head_dim % 8 == 0 &&
                        p->head_dim_v % 8 == 0;
    const bool backward = p->pass == CLATTN_BACKWARD;
    const bool few = p->seq_q <= (f->device.float_width >= 16  ? 8
                                  : f->device.float_width >= 8 ? 4
                                                               : 2);
    /* The sums of d_q and d_k are as long as q. */
    const bool mma_backward = mma && p->head_dim <= engine.most_dim_v;
    const char *home = backward && mma_backward ? "bwd_mma"
                       : backward && cpu        ? "bwd_lanes"
                       : backward               ? "bwd_tile"
                       : cpu && few             ? "dec_lanes"
                       : cpu                    ? "fwd_lanes"
                       : mma && hopper          ? "fwd_wgmma"
                       : mma                    ? "fwd_mma"
                                                : "fwd_tile";
    const bool rows_will_do =
        f->device.loop_limit &&
        strcmp(a.choice.solver->name, backward ? "bwd_rows" : "fwd_rows") == 0;
    if (!within_loops(p, &f->device) || a.choice.solver->baseline ||
        (strcmp(a.choice.solver->name, home) != 0 && !rows_will_do)) {
        fail_msg("%s, %s: chose %s", f->name, words, text_chars(&a.variant_text));
    }
    check_variant(f, words, p, &a);
    drop(&a);
}

/* Without a matrix engine fwd_mma and bwd_mma run only where the caller names one. */
static void check_engine_asked(const struct fixture *f, const char *words, const struct problem *p,
                               const char *solver) {
    static const char *const more[] = {"", " EMULATED=1", " ENGINE=nv80", " ENGINE=nv81",
                                       " ENGINE=plain"};
    char asked[5][64];
    for (int i = 0; i < 5; i++) {
        snprintf(asked[i], sizeof asked[i], "%s%s", solver, more[i]);
    }
    for (int i = 0; i < 2; i++) {
        struct answer a = choose(p, &f->device, asked[i], NULL);
        const char *sentence = text_chars(&a.status.sentence);
        assert_int_equal(a.code, CLATTN_UNSUPPORTED);
        assert_non_null(strstr(sentence, "the device has no matrix engine that clattn knows"));
        assert_int_equal(strstr(sentence, "ENGINE=") != NULL, i == 1);
        drop(&a);
    }
    struct answer a = choose(p, &f->device, asked[2], NULL);
    assert_int_equal(a.code, CLATTN_UNSUPPORTED);
    assert_non_null(strstr(text_chars(&a.status.sentence), "engine is none, not nv80"));
    drop(&a);
    a = choose(p, &f->device, asked[3], NULL);
    assert_int_equal(a.code, CLATTN_INVALID_VARIANT);
    assert_non_null(strstr(text_chars(&a.status.sentence), "ENGINE=nv81 is none of nv80, "));
    drop(&a);
    a = choose(p, &f->device, asked[4], NULL);
    if (a.code != CL_SUCCESS) {
        fail_msg("%s, %s: no variant of the plain engine: %s", f->name, words,
                 text_chars(&a.status.sentence));
    }
    check_variant(f, words, p, &a);
    drop(&a);
}

static bool refuses(const struct solver *solver, const struct problem *p, const struct device *d) {
    struct text why = {0};
    const bool cannot = solvers_fit(solver, p, d, NULL, &why) == CANNOT;
    assert_true(!cannot || why.length);
    text_destroy(&why);
    return cannot;
}

/* A bare name gets a variant wherever the solver does not refuse, also where another one is
 * the better choice. */
static void check_asked(const struct fixture *f, const char *words, const struct problem *p) {
    for (size_t i = 0; i < SOLVERS; i++) {
        struct answer a = choose(p, &f->device, solvers_table[i]->name, NULL);
        const char *name = solvers_table[i]->name;
        const bool mma = strcmp(name, "fwd_mma") == 0 || strcmp(name, "bwd_mma") == 0;
        if (solvers_table[i]->pass != p->pass) {
            assert_int_equal(a.code, CLATTN_INVALID_VARIANT);
            assert_non_null(
                strstr(text_chars(&a.status.sentence), " pass, and the problem is of "));
        } else if (refuses(solvers_table[i], p, &f->device) ||
                   (lacks_arguments(p, &f->device) && !solvers_table[i]->baseline)) {
            assert_int_equal(a.code, CLATTN_UNSUPPORTED);
        } else if (mma && !f->device.matrix[0]) {
            check_engine_asked(f, words, p, name);
        } else if (a.code != CL_SUCCESS) {
            fail_msg("%s, %s: no variant of %s: %s", f->name, words, solvers_table[i]->name,
                     text_chars(&a.status.sentence));
        } else {
            assert_ptr_equal(a.choice.solver, solvers_table[i]);
            check_variant(f, words, p, &a);
        }
        drop(&a);
    }
}

/* Every type, head dim and length; the rest in turn (their number is prime, so that each
 * meets each length). */
static void each_problem(void (*check)(const struct fixture *, const char *,
                                       const struct problem *)) {
    static const char *const types[] = {"f32", "f16", "bf16"};
    static const unsigned dims[] = {1,  2,   3,   7,   8,   16,  31,  33,  48,  64,  65,  80,
                                    96, 100, 127, 128, 129, 160, 192, 256, 257, 384, 511, 512};
    static const char *const lengths[] = {"q0",   "q1",    "q1 k4096", "q77",    "q77 k512",
                                          "q512", "q4096", "q4096 k1", "q512 k0"};
    static const char *const others[] = {
        "",
        "causal",
        "b2 h8:2 window16,0",
        "h3 window3,5 start",
        "causal softcap30",
        "b3 h4:1 softcap0.5",
        "h8 window0,0",
        "bwd",
        "bwd h4:2 causal",
        "bwd b2 window16,3 start",
        "bwd h3:1 softcap2",
    };
    enum { OTHERS = sizeof others / sizeof *others };
    size_t turn = 0;
    for (size_t type = 0; type < sizeof types / sizeof *types; type++) {
        for (size_t dim = 0; dim < sizeof dims / sizeof *dims; dim++) {
            const unsigned d = dims[dim], values[] = {d, 1, d / 2 + 1, 513 - d, 512};
            for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                for (size_t s = 0; s < sizeof lengths / sizeof *lengths; s++) {
                    char words[128];
                    snprintf(words, sizeof words, "%s %s d%u:%u %s", types[type], lengths[s], d,
                             values[v], others[turn++ % OTHERS]);
                    const struct problem p = fixtures_problem(words);
                    for (size_t f = 0; f < FIXTURES; f++) {
                        check(&fixtures[f], words, &p);
                    }
                }
            }
        }
    }
}

static void every_problem_has_a_variant_that_runs(void **state) {
    (void)state;
    each_problem(check_chosen);
}

static void a_solver_that_does_not_refuse_has_a_variant_that_runs(void **state) {
    (void)state;
    each_problem(check_asked);
}

static void little_is_refused(void **state) {
    (void)state;
    const struct problem p = fixtures_problem("f32 q4096 d512 causal");
    for (size_t f = 0; f < FIXTURES; f++) {
        const struct device *d = &fixtures[f].device;
        const bool cpu = d->type == DEVICE_CPU, limited = d->loop_limit != 0;
        assert_int_equal(refuses(solvers_find("fwd_rows"), &p, d), limited);
        assert_int_equal(refuses(solvers_find("fwd_tile"), &p, d), limited);
        assert_int_equal(refuses(solvers_find("fwd_lanes"), &p, d), !cpu || limited);
        assert_int_equal(refuses(solvers_find("bwd_lanes"), &p, d), !cpu || limited);
    }
}

/* ---- What the choice does with variants that do not build ---- */

struct driver {
    unsigned calls, failures; /* the first so many variants do not build */
    size_t most;              /* work-items of a group, if not 0 */
    bool shrinks;             /* says another, smaller limit each time */
    char tried[8][VARIANT_WORD];
};

/* Work-items of the largest group of any of its kernels. */
static size_t largest_group(const struct solver *solver, const struct variant *v) {
    long long values[VARIANT_PARAMETERS];
    struct stage stages[STAGES];
    const size_t count = solver->stages(v, stages);
    size_t most = 0;
    solvers_decode(solver, v, values);
    for (size_t i = 0; i < count; i++) {
        const size_t items = stages[i].work_items(values);
        most = items > most ? items : most;
    }
    return most;
}

static cl_int build(void *data, const struct solver *solver, const struct variant *v,
                    struct choose_excess *excess, struct status *status) {
    struct driver *driver = data;
    const size_t items = largest_group(solver, v);
    assert_true(driver->calls < 8); /* or the choice goes round in circles */
    strcpy(driver->tried[driver->calls], solver->name);
    driver->calls++;
    if (driver->shrinks) {
        excess->work_group = items > 1 ? items / 2 : 1;
        return status_set(status, CLATTN_UNSUPPORTED, "driver: at most %zu", excess->work_group);
    }
    if (driver->most && items > driver->most) {
        excess->work_group = driver->most;
        return status_set(status, CLATTN_UNSUPPORTED, "driver: at most %zu", excess->work_group);
    }
    return driver->calls <= driver->failures
               ? status_set(status, CL_BUILD_PROGRAM_FAILURE, "driver: no %s\nlog", solver->name)
               : CL_SUCCESS;
}

static void variants_that_do_not_build_are_passed_over(void **state) {
    (void)state;
    static const struct {
        const char *fixture, *tried[4]; /* one variant after the other, then NULL */
    } expected[] = {
        {"a100", {"fwd_tile", "fwd_rows"}},
        {"h200", {"fwd_tile", "fwd_tile", "fwd_rows"}}, /* tuning.txt's variant, the formula's */
        {"mali_g78", {"fwd_tile", "fwd_rows"}},
        {"embedded_minimum", {"fwd_tile", "fwd_rows"}},
        {"pocl", {"fwd_lanes", "fwd_rows"}},
    };
    const struct problem p = fixtures_problem("f32 h32 q4096 d64");
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct device *d = &fixtures_find(expected[i].fixture)->device;
        for (unsigned failures = 0;; failures++) {
            struct driver driver = {.failures = failures};
            struct answer a = choose(&p, d, NULL, &(struct choose_builder){build, &driver});
            for (unsigned n = 0; n < driver.calls; n++) {
                assert_string_equal(driver.tried[n], expected[i].tried[n]);
            }
            if (!expected[i].tried[failures]) { /* nothing is left */
                assert_int_equal(a.code, CL_BUILD_PROGRAM_FAILURE);
                assert_non_null(strstr(text_chars(&a.status.sentence), "driver: no fwd_rows"));
                assert_int_equal(driver.calls, failures);
                drop(&a);
                break;
            }
            assert_int_equal(a.code, CL_SUCCESS);
            assert_int_equal(driver.calls, failures + 1);
            assert_string_equal(a.choice.solver->name, expected[i].tried[failures]);
            if (failures && strcmp(expected[i].tried[0], a.choice.solver->name) != 0) {
                struct text reason = {0};
                text_printf(&reason, "%s refused: driver: no %s (CL_BUILD_PROGRAM_FAILURE)\n",
                            expected[i].tried[0], expected[i].tried[0]);
                assert_non_null(strstr(text_chars(&a.choice.description), text_chars(&reason)));
                text_destroy(&reason);
            }
            drop(&a);
        }
    }
}

static void a_smaller_work_group_is_tried(void **state) {
    (void)state;
    const struct problem p = fixtures_problem("f16 h16 q4096 d128 causal");
    for (size_t f = 0; f < FIXTURES; f++) {
        const struct device *d = &fixtures[f].device;
        for (size_t most = 1; most <= 256 && !d->loop_limit; most += most < 4 ? 1 : most / 2) {
            struct driver driver = {.most = most};
            struct answer a = choose(&p, d, NULL, &(struct choose_builder){build, &driver});
            assert_int_equal(a.code, CL_SUCCESS);
            struct fixtures_engine known;
            const bool engine = fixtures_engine(d, NULL, &known) &&
                                (long long)most >= known.lanes; /* the smallest group */
            /* Two warpgroups are the fewest. */
            const bool hopper = strcmp(d->architecture, "nvidia/9.0") == 0 && most >= 256;
            assert_string_equal(a.choice.solver->name, d->type == DEVICE_CPU ? "fwd_lanes"
                                                       : hopper              ? "fwd_wgmma"
                                                       : engine              ? "fwd_mma"
                                                                             : "fwd_tile");
            assert_true(largest_group(a.choice.solver, &a.choice.variant) <= most);
            assert_true(driver.calls <= (*d->matrix && !engine ? 4 : 3));
            struct device smaller = *d;
            smaller.work_group = most < d->work_group ? most : d->work_group;
            struct text why = {0};
            assert_true(fixtures_runnable(a.choice.solver, &p, &smaller, &a.choice.variant, &why));
            text_destroy(&why);
            drop(&a);
        }
        struct driver driver = {.shrinks = true};
        struct answer a = choose(&p, d, "fwd_rows", &(struct choose_builder){build, &driver});
        assert_int_equal(a.code, CLATTN_UNSUPPORTED); /* and it ends */
        drop(&a);
    }
}

/* fwd_rows has no workspace, and so one pointer less than fwd_tile.  A feature's tensor adds a
 * pointer and strides. */
static void arguments_have_to_fit(void **state) {
    (void)state;
    struct device d = fixtures_find("mali_g78")->device;
    static const struct {
        const char *problem;
        cl_ulong bytes;
        const char *chosen; /* or, of CLATTN_UNSUPPORTED, what is refused */
        cl_int code;
    } cases[] = {{"f32 h32 q4096 d64", 264, "fwd_tile", CL_SUCCESS},
                 {"f32 h32 q4096 d64", 263, "fwd_rows", CL_SUCCESS},
                 {"f32 h32 q4096 d64", 256, "fwd_rows", CL_SUCCESS},
                 {"f32 h32 q4096 d64", 255,
                  "256 bytes of arguments of kernel fwd_rows are over the device's 255",
                  CLATTN_UNSUPPORTED},
                 {"f32 h32 q4096 d64", 0, "fwd_tile", CL_SUCCESS},
                 {"f32 h32 q4096 d64 alibi", 304, "fwd_tile", CL_SUCCESS},
                 {"f32 h32 q4096 d64 alibi", 303, "fwd_rows", CL_SUCCESS},
                 {"f32 h32 q4096 d64 alibi", 296, "fwd_rows", CL_SUCCESS},
                 {"f32 h32 q4096 d64 bwd", 304, "bwd_rows", CL_SUCCESS},
                 {"f32 h32 q4096 d64 bwd", 303,
                  "304 bytes of arguments of kernel bwd_rows_q are over the device's 303",
                  CLATTN_UNSUPPORTED},
                 {"f32 h32 q4096 d64 alibi bwd", 344, "bwd_rows", CL_SUCCESS}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct problem p = fixtures_problem(cases[i].problem);
        d.argument_bytes = cases[i].bytes;
        struct answer a = choose(&p, &d, NULL, NULL);
        assert_int_equal(a.code, cases[i].code);
        if (a.code == CL_SUCCESS) {
            assert_string_equal(a.choice.solver->name, cases[i].chosen);
        } else {
            assert_non_null(strstr(text_chars(&a.status.sentence), cases[i].chosen));
        }
        if (cases[i].bytes == 263) {
            assert_non_null(strstr(text_chars(&a.choice.description),
                                   "fwd_tile refused: 264 bytes of arguments of kernel fwd_tile "
                                   "are over the device's 263"));
        }
        drop(&a);
    }
}

static void the_callers_variant_is_that_variant_or_none(void **state) {
    (void)state;
    const struct problem p = fixtures_problem("f32 h32 q4096 d64");
    const struct device *d = &fixtures_find("a100")->device;
    struct driver broken = {.failures = 1};
    struct answer a = choose(&p, d, "fwd_tile", &(struct choose_builder){build, &broken});
    assert_int_equal(a.code, CL_BUILD_PROGRAM_FAILURE);
    assert_int_equal(broken.calls, 1);
    drop(&a);
    struct driver small = {.most = 64};
    a = choose(&p, d, "fwd_tile THREADS_M=16 THREADS_N=16",
               &(struct choose_builder){build, &small});
    assert_int_equal(a.code, CLATTN_INVALID_VARIANT);
    assert_non_null(strstr(text_chars(&a.status.sentence), "256 work-items"));
    drop(&a);
    small.calls = 0;
    a = choose(&p, d, "fwd_tile THREADS_M=16", &(struct choose_builder){build, &small});
    assert_int_equal(a.code, CL_SUCCESS);
    assert_int_equal(variant_number(&a.choice.variant, "THREADS_M", 0), 16);
    assert_true(variant_number(&a.choice.variant, "THREADS_N", 0) <= 4);
    drop(&a);
    a = choose(&p, d, "memory_efficient", NULL); /* a baseline, but asked for */
    assert_int_equal(a.code, CL_SUCCESS);
    assert_string_equal(a.choice.solver->name, "memory_efficient");
    drop(&a);
}

/* ---- variants.txt ---- */

static void list_variants(struct text *list) {
    static const char *const problems[] = {
        "f32 h32 q4096 d64", "f32 h16 q4096 d128 causal",    "f16 h16 q4096 d128",
        "f16 h8 q4096 d256", "f32 h8:2 q300 d80:256 causal", "bf16 h8 q20 k4096 d192 window128,0",
    };
    text_printf(list, "# DEVICE ; PROBLEM ; the variant that is chosen.  Written by test_choice "
                      "--print.\n");
    for (size_t f = 0; f < FIXTURES; f++) {
        for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
            const struct problem p = fixtures_problem(problems[i]);
            struct answer a = choose(&p, &fixtures[f].device, NULL, NULL);
            text_printf(list, "%s ; %s ; %s\n", fixtures[f].name, problems[i],
                        a.code == CL_SUCCESS ? text_chars(&a.variant_text)
                                             : clattn_status_name(a.code));
            drop(&a);
        }
    }
}

static void the_variants_are_the_reviewed_ones(void **state) {
    (void)state;
    char *reviewed = fixtures_read(CLATTN_TEST_DATA, "variants.txt");
    struct text list = {0};
    list_variants(&list);
    const char *now = text_chars(&list), *then = reviewed;
    while (*now || *then) {
        const size_t now_length = strcspn(now, "\n"), then_length = strcspn(then, "\n");
        if (now_length != then_length || memcmp(now, then, now_length) != 0) {
            fail_msg("chosen   %.*s\nreviewed %.*s\nIf that is meant: test_choice --print > "
                     "tests/fixtures/variants.txt",
                     (int)now_length, now, (int)then_length, then);
        }
        now += now_length + (now[now_length] == '\n');
        then += then_length + (then[then_length] == '\n');
    }
    text_destroy(&list);
    free(reviewed);
}

/* d_q's sums, in f32 for each part of the keys: many parts of a long sequence take too much. */
static void a_sweep_of_backward_takes_a_gib_at_most(void **state) {
    (void)state;
    static const struct {
        const char *problem;
        bool sweeps;
    } cases[] = {{"f32 h32:8 q1024 d128 bwd", true}, {"f32 h32:1 q65536 d128 bwd", false}};
    struct device d = fixtures_find("pocl")->device;
    d.compute_units = 16;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct problem p = fixtures_problem(cases[i].problem);
        struct answer a = choose(&p, &d, NULL, NULL);
        assert_string_equal(a.choice.solver->name, "bwd_lanes");
        assert_int_equal(variant_number(&a.choice.variant, "SWEEP", -1) > 0, cases[i].sweeps);
        drop(&a);
    }
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--print") == 0) {
        struct text list = {0};
        fixtures_open(NULL);
        list_variants(&list);
        fputs(text_chars(&list), stdout);
        text_destroy(&list);
        fixtures_close(NULL);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_problem_has_a_variant_that_runs),
        cmocka_unit_test(a_solver_that_does_not_refuse_has_a_variant_that_runs),
        cmocka_unit_test(little_is_refused),
        cmocka_unit_test(variants_that_do_not_build_are_passed_over),
        cmocka_unit_test(a_smaller_work_group_is_tried),
        cmocka_unit_test(arguments_have_to_fit),
        cmocka_unit_test(the_callers_variant_is_that_variant_or_none),
        cmocka_unit_test(the_variants_are_the_reviewed_ones),
        cmocka_unit_test(a_sweep_of_backward_takes_a_gib_at_most),
    };
    return cmocka_run_group_tests(tests, fixtures_open, fixtures_close);
}
