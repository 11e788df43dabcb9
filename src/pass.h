/*
 * pass - the passes, forward, backward and merge, in one table.
 *
 * A pass says which operands it has.  The checks of a call, problem texts and the choice of solvers
 * follow the table.
 */
#ifndef PASS_H
#define PASS_H

#include <stdbool.h>

#include "clattn.h"

struct pass {
    const char *word;           /* of problem texts and tuning lines */
    const char *name;           /* in sentences */
    const char *reads, *writes; /* its operands, but those of features; see operand_set */
    const char *optional;       /* of these: a call may leave them out */
    bool in_place;              /* may an output lie exactly where an input of its type lies? */
};

enum { PASSES = 3 };

/* By clattn_pass. */
extern const struct pass passes_table[PASSES];

#endif
