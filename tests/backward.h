/*
 * Everything that a backward plan must get right about one problem, as attention.h for forward.
 *
 * The gradients are within tolerance of the reference, the same bits in a second run and whatever
 * fill surrounds the data (tensors.h), and nothing else is written.  A gradient that is not wanted
 * changes no bit of the others.  A NaN in a single input reaches the gradients that it must, and
 * none of another batch, or of heads with other keys.
 */
#ifndef TESTS_BACKWARD_H
#define TESTS_BACKWARD_H

#include <stdbool.h>

#include "attention.h"
#include "compare.h"

/* given->plan is of CLATTN_BACKWARD; of the demands `once` and `ill_rows` count: ill_rows 0, none
 * may be.  False, after saying on stderr what is wrong where. */
bool backward_right(const struct attention_case *given, struct compare_gradients *result);

#endif
