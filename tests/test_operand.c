/*
 * The table of operands: shapes, sets written as words, and what a kernel is given.
 */
#include "operand.h"

#include "fixtures.h"
#include "program.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Every dimension has a number of its own, so that none can stand for another. */
static void shapes_are_those_of_the_header(void **state) {
    (void)state;
    const struct problem p =
        fixtures_problem("f16 kbf16 vf32 of32 b9 h6:2 q50 k70 d33:65 biasbf16");
    struct problem of_gradients = p;
    of_gradients.type_d = CLATTN_F16;
    const struct operand_lengths lengths = {3, 40, 60};
    static const struct operand_shape expected[OPERANDS] = {
        [OPERAND_Q] = {3, 6, 40, 33, CLATTN_F16},
        [OPERAND_K] = {3, 2, 60, 33, CLATTN_BF16},
        [OPERAND_V] = {3, 2, 60, 65, CLATTN_F32},
        [OPERAND_O] = {3, 6, 40, 65, CLATTN_F32},
        [OPERAND_LSE] = {3, 6, 40, 1, CLATTN_F32},
        [OPERAND_D_O] = {3, 6, 40, 65, CLATTN_F32},
        [OPERAND_D_LSE] = {3, 6, 40, 1, CLATTN_F32},
        [OPERAND_D_Q] = {3, 6, 40, 33, CLATTN_F16},
        [OPERAND_D_K] = {3, 2, 60, 33, CLATTN_BF16},
        [OPERAND_D_V] = {3, 2, 60, 65, CLATTN_F32},
        [OPERAND_O_1] = {3, 6, 40, 65, CLATTN_F16},
        [OPERAND_LSE_1] = {3, 6, 40, 1, CLATTN_F32},
        [OPERAND_O_2] = {3, 6, 40, 65, CLATTN_F16},
        [OPERAND_LSE_2] = {3, 6, 40, 1, CLATTN_F32},
        [OPERAND_LSE_2 + 1] = {3, 6, 1, 1, CLATTN_F32}, /* alibi, bias, mask, sink */
        [OPERAND_LSE_2 + 2] = {3, 6, 40, 60, CLATTN_BF16},
        [OPERAND_LSE_2 + 3] = {3, 6, 40, 60, PROBLEM_BYTE},
        [OPERAND_LSE_2 + 4] = {3, 6, 1, 1, CLATTN_F32},
        [OPERAND_LSE_2 + 5] = {3, 6, 40, 60, CLATTN_BF16}, /* d_bias, d_sink */
        [OPERAND_LSE_2 + 6] = {3, 6, 1, 1, CLATTN_F32},
    };
    for (size_t i = 0; i < operands_count; i++) {
        const struct operand_shape s = operands_table[i].shape(&p, &lengths), *e = &expected[i];
        if (s.batch != e->batch || s.heads != e->heads || s.rows != e->rows ||
            s.width != e->width || s.type != e->type ||
            operand_type(&operands_table[i], &p) != e->type) {
            fail_msg("%s", operands_table[i].name);
        }
        assert_int_equal(operand_type(&operands_table[i], &of_gradients),
                         (i >= OPERAND_D_Q && i <= OPERAND_D_V) || i == OPERAND_LSE_2 + 5
                             ? CLATTN_F16
                             : e->type);
    }
}

static void sets_are_read_from_words(void **state) {
    (void)state;
    assert_int_equal(operand_set(NULL), 0);
    assert_int_equal(operand_set(""), 0);
    assert_int_equal(operand_set("q k v"),
                     OPERAND_BIT(OPERAND_Q) | OPERAND_BIT(OPERAND_K) | OPERAND_BIT(OPERAND_V));
    assert_int_equal(operand_set("workspace lse o"), OPERAND_BIT(OPERAND_O) |
                                                         OPERAND_BIT(OPERAND_LSE) |
                                                         OPERAND_BIT(OPERAND_WORKSPACE));
    for (size_t i = 0; i < operands_count; i++) {
        assert_int_equal(operand_set(operands_table[i].name), OPERAND_BIT(i));
    }
    assert_int_equal(operand_set("k scores"),
                     OPERAND_BIT(OPERAND_K) | operand_set("alibi bias mask"));
}

static void features_bring_their_operands(void **state) {
    (void)state;
    const cl_uint always =
        operand_set("q k v o lse d_o d_lse d_q d_k d_v o_1 lse_1 o_2 lse_2 workspace");
    assert_int_equal(operand_set_of_features(0), always);
    assert_int_equal(operand_set_of_features(CLATTN_FEATURE_ALIBI), always | operand_set("alibi"));
}

/* What a kernel is given follows from what its recipe reads and writes. */
static void signatures_follow_reads_and_writes(void **state) {
    (void)state;
    static const struct {
        const char *problem, *reads, *writes, *composed;
    } cases[] = {
        {"f16 kbf16 vf32 q9 d8", "q k v scores", "o lse",
         "#define OPERAND_Q 1\n#define TYPE_Q 2\n#define element_q element_f16\n"
         "#define OPERAND_K 2\n#define TYPE_K 3\n#define element_k element_bf16\n"
         "#define OPERAND_V 4\n#define TYPE_V 1\n#define element_v element_f32\n"
         "#define OPERAND_O 8\n#define TYPE_O 2\n#define element_o element_f16\n"
         "#define OPERAND_LSE 16\n#define TYPE_LSE 1\n#define element_lse element_f32\n"
         "#define OPERANDS_TOGETHER 1073741824\n"
         "#define PARAMS_STRIDES struct strides q, k, v, o, lse\n"
         "#define KERNEL_ARGUMENTS const struct params p, __global const element_q *restrict q, "
         "__global const element_k *restrict k, __global const element_v *restrict v, "
         "__global element_o *restrict o, __global element_lse *restrict lse\n"
         "#define EXTRA_PARAMETERS \n"
         "#define EXTRA_ARGUMENTS \n"},
        {"f16 q9 d8 alibi", "q scores", "o",
         "#define OPERAND_Q 1\n#define TYPE_Q 2\n#define element_q element_f16\n"
         "#define OPERAND_O 8\n#define TYPE_O 2\n#define element_o element_f16\n"
         "#define OPERAND_ALIBI 16384\n#define TYPE_ALIBI 1\n#define element_alibi element_f32\n"
         "#define OPERANDS_TOGETHER 1073741824\n"
         "#define PARAMS_STRIDES struct strides q, o, alibi\n"
         "#define KERNEL_ARGUMENTS const struct params p, __global const element_q *restrict q, "
         "__global element_o *restrict o, __global const element_alibi *restrict alibi\n"
         "#define EXTRA_PARAMETERS , __global const element_alibi *alibi\n"
         "#define EXTRA_ARGUMENTS , alibi\n"},
        {"f16 q9 d8 mask biasf32 sink", "scores sink", "o",
         "#define OPERAND_O 8\n#define TYPE_O 2\n#define element_o element_f16\n"
         "#define OPERAND_BIAS 32768\n#define TYPE_BIAS 1\n#define element_bias element_f32\n"
         "#define OPERAND_MASK 65536\n#define TYPE_MASK 255\n#define element_mask element_u8\n"
         "#define OPERAND_SINK 131072\n#define TYPE_SINK 1\n#define element_sink element_f32\n"
         "#define OPERANDS_TOGETHER 1073741824\n"
         "#define PARAMS_STRIDES struct strides o, bias, mask, sink\n"
         "#define KERNEL_ARGUMENTS const struct params p, __global element_o *restrict o, "
         "__global const element_bias *restrict bias, __global const element_mask *restrict mask, "
         "__global const element_sink *restrict sink\n"
         "#define EXTRA_PARAMETERS , __global const element_bias *bias, "
         "__global const element_mask *mask, __global const element_sink *sink\n"
         "#define EXTRA_ARGUMENTS , bias, mask, sink\n"},
        {"f16 kbf16 vf32 q9 d8 alibi", "workspace v", "o",
         "#define OPERAND_V 4\n#define TYPE_V 1\n#define element_v element_f32\n"
         "#define OPERAND_O 8\n#define TYPE_O 2\n#define element_o element_f16\n"
         "#define OPERANDS_TOGETHER 1073741824\n"
         "#define PARAMS_STRIDES struct strides v, o\n"
         "#define KERNEL_ARGUMENTS const struct params p, __global const element_v *restrict v, "
         "__global element_o *restrict o, __global float *restrict workspace\n"},
        {"f16 q9 d8", "lse", "lse",
         "#define OPERAND_LSE 16\n#define TYPE_LSE 1\n#define element_lse element_f32\n"
         "#define OPERANDS_TOGETHER 1073741824\n"
         "#define PARAMS_STRIDES struct strides lse\n"
         "#define KERNEL_ARGUMENTS const struct params p, __global element_lse *restrict lse\n"},
    };
    const struct variant v = {.solver = "fwd_rows"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct problem p = fixtures_problem(cases[i].problem);
        const struct program_recipe recipe = {.kernel = "fwd_rows",
                                              .parts = {"params.h"},
                                              .reads = cases[i].reads,
                                              .writes = cases[i].writes,
                                              .constants = ""};
        struct text composed = {0}, options = {0}, map = {0};
        struct status status = {0};
        assert_int_equal(program_compose(&recipe, &p, &v, &composed, &options, &map, &status),
                         CL_SUCCESS);
        if (!strstr(text_chars(&composed), cases[i].composed)) {
            fail_msg("%s", text_chars(&composed));
        }
        text_destroy(&composed);
        text_destroy(&options);
        text_destroy(&map);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_those_of_the_header),
        cmocka_unit_test(sets_are_read_from_words),
        cmocka_unit_test(features_bring_their_operands),
        cmocka_unit_test(signatures_follow_reads_and_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
