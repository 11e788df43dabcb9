/*
 * tune_report - what was found, as a table and as tuning lines.
 */
#ifndef TUNE_REPORT_H
#define TUNE_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "bench_problems.h"
#include "tune_problem.h"

void tune_report_table(FILE *to, const struct tune_row *rows, size_t count);

/* The lines of all rows that are better, to be freed; NULL when out of memory.  *lines becomes how
 * many there are. */
char *tune_report_lines(clattn_context attention, const struct bench_problems *problems,
                        const struct tune_row *rows, size_t count, size_t *lines);

#endif
