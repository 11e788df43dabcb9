/*
 * pass - the passes, forward and backward, in one table.
 *
 * A pass says which operands it has.  The checks of a call, problem texts and the choice of solvers
 * follow the table.
 */
#ifndef PASS_H
#define PASS_H

#include "clattn.h"

struct pass {
    const char *word;           /* of problem texts and tuning lines */
    const char *name;           /* in sentences */
    const char *reads, *writes; /* its operands, but those of features; see operand_set */
    const char *optional;       /* of these: a call may leave them out */
};

enum { PASSES = 2 };

/* By clattn_pass. */
extern const struct pass passes_table[PASSES];

#endif
