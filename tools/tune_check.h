/*
 * tune_check - is a tuning file still right?  Each line that is for the device: legal, right, and
 * faster than what clattn chooses without it.
 */
#ifndef TUNE_CHECK_H
#define TUNE_CHECK_H

#include <stddef.h>
#include "tune_problem.h"

/* Prints a verdict for each line to stdout; *bad becomes how many are not good.  Returns an exit
 * code; *why is NULL, or says why the file cannot be read or nothing further can be asked. */
int tune_check(struct tune_session *s, const char *path, size_t *bad, const char **why);

#endif
