/*
 * outcome - what a tool's exit code says.  Every --help prints OUTCOME_HELP.
 */
#ifndef OUTCOME_H
#define OUTCOME_H

#include <clattn.h>

enum {
    OUTCOME_DONE = 0,
    OUTCOME_WRONG_FILE = 1,
    OUTCOME_USAGE = 2,
    OUTCOME_UNSUPPORTED = 3,
    OUTCOME_NO_DEVICE = 4,
    OUTCOME_FAILED = 5
};

static inline int outcome_of(cl_int status) {
    switch (status) {
    case CL_SUCCESS:
        return OUTCOME_DONE;
    case CLATTN_INVALID_DESC:
    case CLATTN_INVALID_ARGS: /* the tools fill in all of args but what options say: the scale */
    case CLATTN_INVALID_VARIANT:
    case CLATTN_INVALID_TEXT:
    case CLATTN_INVALID_TUNING:
        return OUTCOME_USAGE;
    case CLATTN_UNSUPPORTED:
        return OUTCOME_UNSUPPORTED;
    default:
        return OUTCOME_FAILED;
    }
}

#endif
