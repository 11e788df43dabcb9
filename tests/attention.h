/*
 * Everything that a plan must get right about one problem.
 *
 * The outputs are within tolerance of the reference, the same bits in a second
 * run and whatever fill surrounds the data (tensors.h), and nothing else is
 * written.  A NaN or Inf in a single q, k or v reaches the queries that see it and
 * changes no bit of the others.  What a case may ask beside that: struct attention_demands.
 */
#ifndef TESTS_ATTENTION_H
#define TESTS_ATTENTION_H

#include <stdbool.h>

#include "clattn.h"
#include "compare.h"
#include "tensors.h"

struct attention_demands {
    bool exact;       /* every element of o is the right one, rounded to the type */
    bool overflow;    /* the scores of a row are made to overflow: its o and lse are then NaN
                         or Inf, and no bit of the other rows changes */
    bool once;        /* one launch, compared with the reference, and no more: for long rows */
    cl_uint ill_rows; /* exactly so many rows are ill-conditioned (compare.h) */
};

struct attention_case {
    cl_context context;
    cl_command_queue queue;
    clattn_plan plan; /* made for tensors.desc */
    struct tensors_desc tensors;
    float scale;
    struct attention_demands demands;
};

/* False, after saying on stderr what is wrong where. */
bool attention_right(const struct attention_case *given, struct compare_result *result);

#endif
