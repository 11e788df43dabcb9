/*
 * tuning - the table that says which variant is fast where.  A line of a table is
 *
 *     DEVICE ; PROBLEM ; VARIANT
 *
 * DEVICE: a device's name in double quotes (\" and \\ in it for a quote and a backslash), an
 * architecture ("nvidia/9.0"), a vendor or kind (the architecture's part before the slash:
 * "nvidia", "cpu"), or "*". PROBLEM: words as in problem_matches.  "#" begins a comment.
 */
#ifndef TUNING_H
#define TUNING_H

#include <stdbool.h>

#include "device.h"
#include "problem.h"
#include "status.h"
#include "variant.h"

/* Lines "DEVICE ; PROBLEM ; VARIANT". */
struct tuning_table {
    const char *name; /* in messages about its lines: "NAME:3" */
    const char *text; /* NULL: none */
};

/* How closely a table's line names the device: 3 by name, 2 by architecture, 1 by
 * vendor or kind, 0 by "*"; -1 when it does not. */
int tuning_specificity(const struct device *d, const char *pattern, size_t length);

/* Walks the lines that match, most specific first, in a table's own order among
 * equals.  *at begins as 0 and is advanced.  False when there is no further one. */
bool tuning_next(const char *table, const struct problem *p, const struct device *d, size_t *at,
                 struct variant *v, size_t *line);

/* Checks the form of every line, for all devices and problems. */
cl_int tuning_check(const char *table, const char *name, struct status *status);

/* Reads a whole file; *table is to be freed. */
cl_int tuning_read(const char *path, char **table, struct status *status);

#endif
