/*
 * The trial of a device's matrix engines: it is built as a program is, and a device that should
 * have an engine, and has none that builds, is told from one without an engine.
 */
#include "device.h"
#include "engines.h"
#include "find_layer.h"
#include "solvers.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct layer_controls *layer;
static struct test_device tested;

static void trials_are_built_as_programs_are(void **state) {
    (void)state;
    struct stage stages[STAGES];
    struct problem p = {
        .type = CLATTN_F16, .heads_q = 1, .heads_kv = 1, .head_dim = 64, .head_dim_v = 64};
    problem_fill_types(&p);
    for (const struct engine *engine = engines_table; engine->name; engine++) {
        struct variant v = {.solver = "fwd_mma"};
        struct text tried = {0}, composed = {0}, options = {0}, map = {0};
        struct status status = {0};
        variant_add(&v, "ENGINE", engine->name);
        solvers_find("fwd_mma")->stages(&v, stages);
        assert_int_equal(
            program_compose(&stages[0].recipe, &p, &v, &composed, &options, &map, &status),
            CL_SUCCESS);
        engines_probe_options(engine, &tried);
        assert_string_equal(text_chars(&tried), text_chars(&options));
        text_destroy(&tried);
        text_destroy(&composed);
        text_destroy(&options);
        text_destroy(&map);
    }
}

/* No engine's instruction builds on the device of the test, whatever the device calls itself. */
static void engines_that_should_be_there_are_told(void **state) {
    (void)state;
    static const char xmx[] = "cl_khr_fp16 cl_intel_subgroup_matrix_multiply_accumulate";
    static const char longer[] = "cl_intel_subgroup_matrix_multiply_accumulate_tf32";
    static const struct {
        const char *architecture, *extensions, *failed;
    } expected[] = {
        {"amd/gfx1100", "", "amd_wmma11"},
        {"amd/gfx90a", "", "amd_mfma"},
        {"amd/gfx1030", "", ""},
        {"nvidia/6.1", "", ""},
        {"nvidia/7.5", "", ""},
        {"nvidia/8.0", "", "nv80"},
        {"nvidia/9.0", "", "nv80"},
        {"nvidia/12.0", "", "nv80"},
        {"intel", xmx, "intel_dpas8 intel_dpas16"},
        {"intel", longer, ""},
        {"intel", "", ""},
        {"cpu/16", xmx, ""},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct device d = {.matrix = "of before"};
        struct text failed = {0};
        snprintf(d.architecture, sizeof d.architecture, "%s", expected[i].architecture);
        layer->fake(&(struct layer_facts){.extensions = expected[i].extensions});
        engines_probe(&d, tested.context, tested.id, &failed);
        layer->fake(&(struct layer_facts){0});
        assert_string_equal(d.matrix, "");
        assert_string_equal(text_chars(&failed), expected[i].failed);
        text_destroy(&failed);
    }
}

static int open_device(void **state) {
    (void)state;
    return test_device_open(&tested) ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    test_device_close(&tested);
    return 0;
}

int main(void) {
    layer = find_layer();
    if (!layer) {
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trials_are_built_as_programs_are),
        cmocka_unit_test(engines_that_should_be_there_are_told),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
