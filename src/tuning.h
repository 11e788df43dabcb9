/*
 * tuning - the table that says which variant is fast where.  A line of a table is
 *
 *     DEVICE ; PROBLEM ; VARIANT
 *     DEVICE ; PROBLEM ; VARIANT ; driver=... clattn=... date=... gain=... error=...
 *
 * DEVICE: a device's name in double quotes (\" and \\ in it for a quote and a backslash), an
 * architecture ("nvidia/9.0"), a vendor or kind (the architecture's part before the slash:
 * "nvidia", "cpu"), or "*".  PROBLEM: words as in problem_matches.  The fourth field says where the
 * line is from: words KEY=VALUE, the value in quotes where it holds blanks, ';' or '#'.  Of the
 * keys only driver means something here.  "#" begins a comment.
 *
 * A table may be anybody's file.  A line that is not of this form is never used, and tuning_check
 * says so; the others are.
 */
#ifndef TUNING_H
#define TUNING_H

#include <stdbool.h>

#include "device.h"
#include "problem.h"
#include "status.h"
#include "variant.h"

struct tuning_table {
    const char *name; /* in messages about its lines: "NAME:3" */
    const char *text; /* NULL: none */
};

enum {
    TUNING_LONGEST_PROBLEM = 255, /* bytes */
    TUNING_LONGEST_VALUE = 127,   /* bytes of a value in the fourth field */
    TUNING_LONGEST_FILE = 4 << 20,
    TUNING_REMARKS = 20, /* lines of a table that are remarked one by one */
};

/* How closely a table's line names the device: 3 by name, 2 by architecture, 1 by
 * vendor or kind, 0 by "*"; -1 when it does not. */
int tuning_specificity(const struct device *d, const char *pattern, size_t length);

/* A walk through the lines that match; zeroed at first. */
struct tuning_walk {
    const char *rest; /* of the table; NULL: from the beginning */
    size_t line;      /* number of the line that was found */
    int passed;       /* levels of specificity that are done */
    struct variant variant;
    char driver[TUNING_LONGEST_VALUE + 1]; /* that the line was measured with; "": not said */
};

/* Goes on to the next line that matches, most specific first, in a table's own order among equals.
 * False when there is no further one. */
bool tuning_next(struct tuning_walk *walk, const char *table, const struct problem *p,
                 const struct device *d);

/* Appends a line "NAME:3: why" for each line of the table that is not of the form, the first
 * TUNING_REMARKS of them and then the number of the others.  Returns how many there are. */
size_t tuning_check(const char *table, const char *name, struct text *remarks);

#endif
