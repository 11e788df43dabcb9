/*
 * status - what went wrong, as a code and a sentence.
 *
 * A function that can fail takes a `struct status *` and returns the code that
 * it put there.  The public functions hand the sentence to the caller's notify.
 */
#ifndef STATUS_H
#define STATUS_H

#include "clattn.h"
#include "text.h"

struct status {
    cl_int code;
    struct text sentence; /* with the build log behind it, where there is one */
};

/* Replaces what s holds, unless s is NULL, and returns code. */
cl_int status_set(struct status *s, cl_int code, const char *format, ...) TEXT_PRINTF(3, 4);

void status_destroy(struct status *s);

#endif
