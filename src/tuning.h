/*
 * tuning - rows, and the table that says which row is fast where.
 *
 * A row is a solver's name and its parameters as text, "fwd_tile BLOCK_M=64
 * BLOCK_N=32".  A line of a table is
 *
 *     DEVICE ; PROBLEM ; ROW
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

enum { ROW_PARAMETERS = 12, ROW_WORD = 24 };

typedef struct row {
    char solver[ROW_WORD];
    size_t count;
    struct {
        char name[ROW_WORD], value[ROW_WORD];
    } parameters[ROW_PARAMETERS];
} row;

/* Reads chars[0..length).  The sentence of a failure quotes the word. */
cl_int row_parse(row *r, const char *chars, size_t length, struct status *status);

/* Appends the row's text. */
void row_format(const row *r, text *out);

/* The parameter's value, NULL when the row does not have it. */
const char *row_find(const row *r, const char *name);

/* The parameter's value as a number, `missing` when the row does not have it or
 * it is no number. */
long long row_number(const row *r, const char *name, long long missing);

/* Sets a parameter to a number, in place or as the last one. */
void row_set(row *r, const char *name, long long value);

/* Sets a parameter to a word, likewise. */
void row_set_word(row *r, const char *name, const char *value);

/* Lines "DEVICE ; PROBLEM ; ROW". */
struct tuning_table {
    const char *name; /* for what is said of its lines: "NAME:3" */
    const char *text; /* NULL: none */
};

/* How closely a table's line names the device: 3 by name, 2 by architecture, 1 by
 * vendor or kind, 0 by "*"; -1 when it does not. */
int tuning_specificity(const device *d, const char *pattern, size_t length);

/* Walks the lines that match, most specific first, in a table's own order among
 * equals.  *at begins as 0 and is advanced.  False when there is no further one. */
bool tuning_next(const char *table, const problem *p, const device *d, size_t *at, row *r,
                 size_t *line);

/* Checks every line's form, whatever device or problem it is for. */
cl_int tuning_check(const char *table, const char *name, struct status *status);

/* Reads a whole file; *table is to be freed. */
cl_int tuning_read(const char *path, char **table, struct status *status);

#endif
