/*
 * tune_child - the other end of tune_worker: the process that a candidate may crash or hang.
 */
#ifndef TUNE_CHILD_H
#define TUNE_CHILD_H

#include <stddef.h>

/* Answers requests on standard input until it ends, on device number `device` of select_all.
 * Returns an exit code. */
int tune_child(size_t device);

#endif
