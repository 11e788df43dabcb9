/*
 * log - the problems that an application runs, for a tuner: $CLATTN_LOG names a file, to which each
 * problem's text is appended, once for each process.
 */
#ifndef LOG_H
#define LOG_H

#include "problem.h"

/* Appends the problem to the file, unless this process has done so or nobody asks.  A failure
 * appends a line to remarks; the problem is not tried again. */
void log_problem(const struct problem *p, struct text *remarks);

#endif
