/*
 * The table of operands: shapes, and sets written as words.
 */
#include "operand.h"

#include "fixtures.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Every dimension has a number of its own, so that none can stand for another. */
static void shapes_are_those_of_the_header(void **state) {
    (void)state;
    const struct problem p = fixtures_problem("f16 b9 h6:2 q50 k70 d33:65");
    const struct operand_lengths lengths = {3, 40, 60};
    static const struct operand_shape expected[OPERANDS] = {
        [OPERAND_Q] = {3, 6, 40, 33, 2},  [OPERAND_K] = {3, 2, 60, 33, 2},
        [OPERAND_V] = {3, 2, 60, 65, 2},  [OPERAND_O] = {3, 6, 40, 65, 2},
        [OPERAND_LSE] = {3, 6, 40, 1, 4},
    };
    for (size_t i = 0; i < OPERANDS; i++) {
        const struct operand_shape s = operands_table[i].shape(&p, &lengths), *e = &expected[i];
        if (s.batch != e->batch || s.heads != e->heads || s.rows != e->rows ||
            s.width != e->width || s.element_size != e->element_size) {
            fail_msg("%s", operands_table[i].name);
        }
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
    for (size_t i = 0; i < OPERANDS; i++) {
        assert_int_equal(operand_set(operands_table[i].name), OPERAND_BIT(i));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_those_of_the_header),
        cmocka_unit_test(sets_are_read_from_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
