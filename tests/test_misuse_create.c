/*
 * Wrong arguments to the functions that make contexts and plans: each its code,
 * one sentence that names the field, and *result NULL.
 *
 * The device that is not in the context is one of the same platform, where the
 * platform has two (PoCL: POCL_DEVICES="pthread basic").
 */
#include "context.h"
#include "device.h"
#include "heard.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct test_device device;
static clattn_context context;
static struct heard heard;

/* ---- Descs of plans ---- */

#define FIELD(name, type, ...)                               \
    {                                                        \
        offsetof(clattn_desc, name), sizeof(type), &(type) { \
            __VA_ARGS__                                      \
        }                                                    \
    }
#define UINT(name, value) FIELD(name, cl_uint, value)
#define INT(name, value) FIELD(name, cl_int, value)
#define FLOAT(name, value) FIELD(name, float, value)
#define SIZE(name, value) FIELD(name, size_t, value)
#define VARIANT(value) FIELD(variant, const char *, value)

struct change {
    size_t offset, size;
    const void *value;
};

#define LONG_WORD \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLM"

static const struct desc_case {
    const char *what;
    cl_int code;
    const char *words; /* that the sentence mentions */
    struct change changes[2];
} desc_cases[] = {
    {"size 0", CLATTN_INVALID_DESC, "size", {SIZE(size, 0)}},
    {"size of one field", CLATTN_INVALID_DESC, "size", {SIZE(size, sizeof(size_t))}},
    {"size one too small",
     CLATTN_INVALID_DESC,
     "size",
     {SIZE(size, offsetof(clattn_desc, features) - 1)}},
    {"size absurd", CLATTN_INVALID_DESC, "size", {SIZE(size, SIZE_MAX)}},
    {"type 0", CLATTN_INVALID_DESC, "type", {UINT(type, 0)}},
    {"type 4", CLATTN_INVALID_DESC, "type q8_0", {UINT(type, 4)}},
    {"type_k 6", CLATTN_INVALID_DESC, "type_k 6", {UINT(type_k, 6)}},
    {"type_v 2^32-1", CLATTN_INVALID_DESC, "type_v 4294967295", {UINT(type_v, UINT32_MAX)}},
    {"type_o 4", CLATTN_INVALID_DESC, "type_o q8_0", {UINT(type_o, 4)}},
    {"type_d 4", CLATTN_INVALID_DESC, "type_d q8_0", {UINT(type_d, 4)}},
    {"heads_q 0", CLATTN_INVALID_DESC, "heads_q", {UINT(heads_q, 0)}},
    {"heads 3:2", CLATTN_INVALID_DESC, "heads_q heads_kv", {UINT(heads_q, 3), UINT(heads_kv, 2)}},
    {"heads 2:4", CLATTN_INVALID_DESC, "heads_q heads_kv", {UINT(heads_q, 2), UINT(heads_kv, 4)}},
    {"head_dim 0", CLATTN_INVALID_DESC, "head_dim", {UINT(head_dim, 0)}},
    {"head_dim 513", CLATTN_UNSUPPORTED, "head_dim", {UINT(head_dim, 513)}},
    {"head_dim 2^32-1", CLATTN_UNSUPPORTED, "head_dim", {UINT(head_dim, UINT32_MAX)}},
    {"head_dim_v 513", CLATTN_UNSUPPORTED, "head_dim_v", {UINT(head_dim_v, 513)}},
    {"seq_q 2^30", CLATTN_UNSUPPORTED, "seq_q", {UINT(seq_q, 1u << 30)}},
    {"seq_q 2^32-1", CLATTN_UNSUPPORTED, "seq_q", {UINT(seq_q, UINT32_MAX)}},
    {"seq_kv 2^30", CLATTN_UNSUPPORTED, "seq_kv", {UINT(seq_kv, 1u << 30)}},
    {"batch 2^32-1", CLATTN_UNSUPPORTED, "batch", {UINT(batch, UINT32_MAX)}},
    {"heads_q 2^31", CLATTN_UNSUPPORTED, "heads_q", {UINT(heads_q, 1u << 31)}},
    {"batch times heads",
     CLATTN_UNSUPPORTED,
     "batch heads_q",
     {UINT(batch, 1u << 20), UINT(heads_q, 1u << 20)}},
    {"band_left -2", CLATTN_INVALID_DESC, "band_left", {INT(band_left, -2)}},
    {"band_left smallest", CLATTN_INVALID_DESC, "band_left", {INT(band_left, INT32_MIN)}},
    {"band_right -2", CLATTN_INVALID_DESC, "band_right", {INT(band_right, -2)}},
    {"align 2", CLATTN_INVALID_DESC, "align", {UINT(align, 2)}},
    {"a feature of a later version",
     CLATTN_INVALID_DESC,
     "features 0xc000000000000000",
     {FIELD(features, cl_ulong, 3ull << 62)}},
    {"a promise of a later version",
     CLATTN_INVALID_DESC,
     "promises 0x8000000000000002",
     {FIELD(promises, cl_ulong, 1ull << 63 | 3)}},
    {"softcap negative", CLATTN_INVALID_DESC, "softcap", {FLOAT(softcap, -1.0f)}},
    {"softcap NaN", CLATTN_INVALID_DESC, "softcap", {FLOAT(softcap, NAN)}},
    {"softcap infinite", CLATTN_INVALID_DESC, "softcap", {FLOAT(softcap, INFINITY)}},
    {"variant empty", CLATTN_INVALID_VARIANT, "variant", {VARIANT("")}},
    {"variant blank", CLATTN_INVALID_VARIANT, "variant", {VARIANT(" \t")}},
    {"variant of no solver", CLATTN_INVALID_VARIANT, "fwd_nothing", {VARIANT("fwd_nothing")}},
    {"variant in capitals", CLATTN_INVALID_VARIANT, "FWD_ROWS", {VARIANT("FWD_ROWS")}},
    {"variant's first word cut", CLATTN_INVALID_VARIANT, "fwd_ro", {VARIANT("fwd_ro")}},
    {"variant of a parameter alone", CLATTN_INVALID_VARIANT, "variant", {VARIANT("WORK_GROUP=1")}},
    {"variant with an unknown parameter",
     CLATTN_INVALID_VARIANT,
     "NO_SUCH",
     {VARIANT("fwd_rows NO_SUCH=1")}},
    {"variant without =", CLATTN_INVALID_VARIANT, "WORK_GROUP", {VARIANT("fwd_rows WORK_GROUP")}},
    {"variant without a value",
     CLATTN_INVALID_VARIANT,
     "WORK_GROUP",
     {VARIANT("fwd_rows WORK_GROUP=")}},
    {"variant without a name", CLATTN_INVALID_VARIANT, "variant", {VARIANT("fwd_rows =4")}},
    {"variant with a word as value",
     CLATTN_INVALID_VARIANT,
     "WORK_GROUP",
     {VARIANT("fwd_rows WORK_GROUP=many")}},
    {"variant with half a number",
     CLATTN_INVALID_VARIANT,
     "WORK_GROUP",
     {VARIANT("fwd_rows WORK_GROUP=4x")}},
    {"variant with a huge number",
     CLATTN_INVALID_VARIANT,
     "WORK_GROUP",
     {VARIANT("fwd_rows WORK_GROUP=99999999999999999999999")}},
    {"variant with code in it",
     CLATTN_INVALID_VARIANT,
     "WORK_GROUP",
     {VARIANT("fwd_rows WORK_GROUP=1;int")}},
    {"variant with 0", CLATTN_INVALID_VARIANT, "WORK_GROUP", {VARIANT("fwd_rows WORK_GROUP=0")}},
    {"variant with a negative number",
     CLATTN_INVALID_VARIANT,
     "WORK_GROUP",
     {VARIANT("fwd_rows WORK_GROUP=-4")}},
    {"variant that says it twice",
     CLATTN_INVALID_VARIANT,
     "WORK_GROUP",
     {VARIANT("fwd_rows WORK_GROUP=1 WORK_GROUP=1")}},
    {"variant over every limit",
     CLATTN_INVALID_VARIANT,
     "WORK_GROUP",
     {VARIANT("fwd_rows WORK_GROUP=1000000")}},
    {"variant overlong",
     CLATTN_INVALID_VARIANT,
     "variant",
     {VARIANT("fwd_rows " LONG_WORD LONG_WORD LONG_WORD LONG_WORD LONG_WORD LONG_WORD "=1")}},
};

static clattn_desc good_desc(void) {
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.heads_q = 4;
    desc.heads_kv = 2;
    desc.seq_q = 8;
    desc.seq_kv = 16;
    desc.head_dim = 8;
    return desc;
}

/* Some address that is no plan and no context: must be replaced by NULL. */
static char nothing;

static void wrong_descs_are_refused(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof desc_cases / sizeof desc_cases[0]; i++) {
        const struct desc_case *const c = &desc_cases[i];
        clattn_desc desc = good_desc();
        for (size_t change = 0; change < 2 && c->changes[change].size; change++) {
            memcpy((char *)&desc + c->changes[change].offset, c->changes[change].value,
                   c->changes[change].size);
        }
        clattn_plan plan = (clattn_plan)(void *)&nothing;
        heard = (struct heard){0};
        const cl_int code = clattn_plan_create(context, &desc, &plan);
        if (code != c->code || plan) {
            fprintf(stderr, "%s: %s, not %s; plan %s\n", c->what, clattn_status_name(code),
                    clattn_status_name(c->code), plan ? "not NULL" : "NULL");
            wrong++;
        } else if (!heard_failure(&heard, code, c->words, c->what)) {
            wrong++;
        }
    }
    print_message("%zu wrong descs\n", sizeof desc_cases / sizeof desc_cases[0]);
    assert_int_equal(wrong, 0);
}

static void null_plan_parameters_are_refused(void **state) {
    (void)state;
    const clattn_desc desc = good_desc();
    clattn_plan plan = (clattn_plan)(void *)&nothing;
    size_t size = 0;
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(NULL, &desc, &plan), CL_INVALID_VALUE);
    assert_null(plan);
    plan = (clattn_plan)(void *)&nothing;
    assert_int_equal(clattn_plan_create(context, NULL, &plan), CL_INVALID_VALUE);
    assert_null(plan);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "desc", "desc NULL"));
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(context, &desc, NULL), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "result", "result NULL"));

    assert_int_equal(clattn_plan_workspace_size(NULL, &size), CL_INVALID_VALUE);
    assert_int_equal(clattn_plan_describe(NULL, NULL, 0, &size), CL_INVALID_VALUE);
    assert_int_equal(clattn_context_describe(NULL, NULL, 0, &size), CL_INVALID_VALUE);
    assert_null(clattn_plan_variant(NULL));
    clattn_plan_destroy(NULL);
    clattn_context_destroy(NULL);

    char text[8];
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CL_SUCCESS);
    assert_int_equal(clattn_plan_workspace_size(plan, NULL), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "bytes", "bytes NULL"));
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_describe(plan, NULL, 5, &size), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "text", "text NULL"));
    heard = (struct heard){0};
    assert_int_equal(clattn_context_describe(context, NULL, 5, &size), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "text", "text NULL"));
    assert_int_equal(clattn_plan_describe(plan, text, sizeof text, NULL), CL_SUCCESS);
    assert_int_equal(strlen(text), sizeof text - 1);
    assert_int_equal(clattn_context_describe(context, text, 1, NULL), CL_SUCCESS);
    assert_string_equal(text, "");
    clattn_plan_destroy(plan);
}

/* Behind the sentence: the problem, the device, and a line for each solver.  Nothing stands there
 * where there is no problem to describe. */
static void a_plan_that_fails_is_described(void **state) {
    (void)state;
    static const struct {
        const char *variant, *sentence, *line;
    } cases[] = {
        {"fwd_rows WORK_GROUP=0", "variant: WORK_GROUP=0 is not a number from",
         "\nfwd_rows refused: WORK_GROUP=0 is not a number from"},
        {"fwd_rows BLOCK", "variant: \"BLOCK\" is not of the form NAME=VALUE\n",
         "\nfwd_rows not tried: the caller asked for a variant\n"},
    };
    char device_line[300];
    snprintf(device_line, sizeof device_line, "\ndevice %s\n", context->device.name);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clattn_desc desc = good_desc();
        clattn_plan plan;
        assert_int_equal(clattn_desc_parse("f16 h4:2 q5 d8 causal", &desc), CL_SUCCESS);
        desc.variant = cases[i].variant;
        heard = (struct heard){0};
        assert_int_equal(clattn_plan_create(context, &desc, &plan), CLATTN_INVALID_VARIANT);
        assert_int_equal(heard.failures, 1);
        const char *const message = heard.message;
        assert_int_equal(strncmp(message, cases[i].sentence, strlen(cases[i].sentence)), 0);
        assert_non_null(strstr(message, "\nproblem f16 h4:2 q5 d8 causal\n"));
        assert_non_null(strstr(message, device_line));
        assert_non_null(strstr(message, cases[i].line));
        assert_non_null(strstr(message, "\nmemory_efficient passed over: a baseline runs only"));
        assert_null(strstr(message, "workspace"));
    }
    clattn_desc desc = good_desc();
    clattn_plan plan;
    desc.type = 9;
    heard = (struct heard){0};
    assert_int_equal(clattn_plan_create(context, &desc, &plan), CLATTN_INVALID_DESC);
    assert_null(strchr(heard.message, '\n'));
}

/* A caller built against a later header: fine as long as it asks for nothing new. */
static void longer_descs_must_be_zero_beyond(void **state) {
    (void)state;
    struct {
        clattn_desc desc;
        char later[16];
    } longer;
    memset(&longer, 0, sizeof longer);
    longer.desc = good_desc();
    longer.desc.size = sizeof longer;
    clattn_plan plan = NULL;
    assert_int_equal(clattn_plan_create(context, &longer.desc, &plan), CL_SUCCESS);
    clattn_plan_destroy(plan);
    for (size_t i = 0; i < sizeof longer.later; i += sizeof longer.later - 1) {
        memset(longer.later, 0, sizeof longer.later);
        longer.later[i] = 1;
        heard = (struct heard){0};
        assert_int_equal(clattn_plan_create(context, &longer.desc, &plan), CLATTN_INVALID_DESC);
        assert_null(plan);
        assert_true(heard_failure(&heard, CLATTN_INVALID_DESC, "size", "a later desc"));
    }
}

/* ---- Contexts ---- */

static clattn_context_desc good_context(void) {
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = device.context;
    desc.device = device.id;
    desc.notify = heard_notify;
    desc.user_data = &heard;
    return desc;
}

/* words NULL: where notify stands cannot be known, so nothing is said. */
static void refuse_context(const clattn_context_desc *desc, cl_int code, const char *words,
                           const char *what) {
    clattn_context made = (clattn_context)(void *)&nothing;
    heard = (struct heard){0};
    const cl_int status = clattn_context_create(desc, &made);
    if (status != code || made) {
        fail_msg("%s: %s, not %s; context %s", what, clattn_status_name(status),
                 clattn_status_name(code), made ? "not NULL" : "NULL");
    }
    if (words) {
        assert_true(heard_failure(&heard, code, words, what));
    } else {
        assert_int_equal(heard.failures, 0);
    }
}

static void wrong_contexts_are_refused(void **state) {
    (void)state;
    clattn_context_desc desc = good_context();
    refuse_context(NULL, CL_INVALID_VALUE, NULL, "desc NULL");
    heard = (struct heard){0};
    assert_int_equal(clattn_context_create(&desc, NULL), CL_INVALID_VALUE);
    assert_true(heard_failure(&heard, CL_INVALID_VALUE, "result", "result NULL"));

    const size_t sizes[] = {0, 1, sizeof desc - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        desc.size = sizes[i];
        refuse_context(&desc, CLATTN_INVALID_DESC, NULL, "size");
    }
    struct {
        clattn_context_desc desc;
        void *later;
    } longer = {good_context(), &nothing};
    longer.desc.size = sizeof longer;
    refuse_context(&longer.desc, CLATTN_INVALID_DESC, "size", "a later context desc");

    desc = good_context();
    desc.context = NULL;
    refuse_context(&desc, CL_INVALID_CONTEXT, "context", "context NULL");
    desc = good_context();
    desc.device = NULL;
    refuse_context(&desc, CL_INVALID_DEVICE, "device", "device NULL");
}

static void device_outside_the_context_is_refused(void **state) {
    (void)state;
    cl_device_id ids[16];
    cl_uint count = 0;
    clGetDeviceIDs(device.platform, CL_DEVICE_TYPE_ALL, 16, ids, &count);
    clattn_context_desc desc = good_context();
    for (cl_uint i = 0; i < count && i < 16; i++) {
        if (ids[i] != device.id) {
            desc.device = ids[i];
        }
    }
    if (desc.device == device.id) {
        print_message("skipped: the platform has one device\n");
        skip();
    }
    refuse_context(&desc, CL_INVALID_DEVICE, "device", "another device");
}

/* More: test_tuning_files.c. */
static void wrong_tuning_files_are_refused(void **state) {
    (void)state;
    clattn_context_desc desc = good_context();
    desc.tuning_path = "no/such/tuning.txt";
    refuse_context(&desc, CLATTN_INVALID_TUNING, "no/such/tuning.txt", "file missing");
    desc.tuning_path = ".";
    refuse_context(&desc, CLATTN_INVALID_TUNING, "tuning_path", "a directory");
}

static void tuning_lines_that_are_passed_over_are_remarked(void **state) {
    (void)state;
    static const struct {
        const char *line, *word;
    } lines[] = {
        {"* ; f32 ; nosuch BLOCK=3\n", "nosuch"},
        {"* ; f32 ; fwd_rows WORK_GROUP=0\n", "WORK_GROUP"},
        {"* ; f32 ; memory_efficient\n", "memory_efficient"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        clattn_context_desc desc = good_context();
        desc.tuning_path = "passed_over.txt";
        FILE *file = fopen(desc.tuning_path, "wb");
        assert_non_null(file);
        assert_true(fputs(lines[i].line, file) >= 0);
        assert_int_equal(fclose(file), 0);
        clattn_context made = NULL;
        assert_int_equal(clattn_context_create(&desc, &made), CL_SUCCESS);
        remove(desc.tuning_path);
        clattn_desc problem = CLATTN_DESC_INIT;
        clattn_plan plan = NULL;
        assert_int_equal(clattn_desc_parse("f32 q5 d8", &problem), CL_SUCCESS);
        heard = (struct heard){0};
        assert_int_equal(clattn_plan_create(made, &problem, &plan), CL_SUCCESS);
        assert_int_equal(heard.failures, 0);
        assert_int_equal(heard.remarks, 1);
        assert_non_null(strstr(heard.message, lines[i].word));
        clattn_plan_destroy(plan);
        clattn_context_destroy(made);
    }
}

static int open_context(void **state) {
    (void)state;
    if (!test_device_open(&device)) {
        return -1;
    }
    const clattn_context_desc desc = good_context();
    return clattn_context_create(&desc, &context) == CL_SUCCESS ? 0 : -1;
}

static int close_context(void **state) {
    (void)state;
    clattn_context_destroy(context);
    test_device_close(&device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_descs_are_refused),
        cmocka_unit_test(null_plan_parameters_are_refused),
        cmocka_unit_test(a_plan_that_fails_is_described),
        cmocka_unit_test(longer_descs_must_be_zero_beyond),
        cmocka_unit_test(wrong_contexts_are_refused),
        cmocka_unit_test(tuning_lines_that_are_passed_over_are_remarked),
        cmocka_unit_test(device_outside_the_context_is_refused),
        cmocka_unit_test(wrong_tuning_files_are_refused),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
