/*
 * Everything that a plan must get right about one problem.
 *
 * The outputs are within tolerance of the reference, the same bits in a second
 * run and whatever fill surrounds the data (tensors.h), and nothing else is
 * written.  A NaN or Inf in a single q, k or v reaches the queries that see it and
 * changes no bit of the others.
 */
#ifndef TESTS_ATTENTION_H
#define TESTS_ATTENTION_H

#include <stdbool.h>

#include "clattn.h"
#include "compare.h"
#include "tensors.h"

struct attention_case {
    cl_context context;
    cl_command_queue queue;
    clattn_plan plan; /* made for tensors.desc */
    struct tensors_desc tensors;
    float scale;
    bool ill_conditioned; /* some rows may be (compare.h) */
};

/* False, after saying on stderr what is wrong where. */
bool attention_right(const struct attention_case *given, struct compare_result *result);

#endif
