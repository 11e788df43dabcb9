/*
 * tune_options - what clattn-tune is asked for.
 */
#ifndef TUNE_OPTIONS_H
#define TUNE_OPTIONS_H

#include <stdbool.h>
#include <popt.h>
#include "bench_problems.h"

struct tune_options {
    char *device, *out, *journal, *check, *child_program; /* owned; may be NULL */
    double budget, limit;                                 /* seconds */
    unsigned long seed, child;                            /* child: the number of a device */
    bool exhaustive, is_child, merge, install;
    const char **files; /* of --merge, NULL behind them; the poptContext's */
    struct bench_problems problems;
};

extern const struct poptOption tune_options_table[];

/* Fills options that hold the defaults.  Returns an exit code, or -1 to go on. */
int tune_options_parse(struct tune_options *o, poptContext context);
void tune_options_destroy(struct tune_options *o);

/* Prints a sentence to stderr, and returns outcome. */
int tune_fail(int outcome, const char *format, ...);

#endif
