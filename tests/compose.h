/*
 * Programs of devices that are not there: without an OpenCL context none is built, but
 * CLATTN_DUMP gets its text.
 */
#ifndef TESTS_COMPOSE_H
#define TESTS_COMPOSE_H

#include "solvers.h"

enum { COMPOSE_LINES = 1000 };

/* Whose programs are composed: all solvers', those of solvers that suit the device and of
 * baselines, or the former without baselines. */
enum compose_extent { COMPOSE_ALL, COMPOSE_SUITED, COMPOSE_PRODUCTION };

/* Has every solver compose its programs for the problem there: those of the variant that its
 * formula chooses, and those of the lines of tuning.txt that match.  *composed grows by
 * the programs' number.  seen (may be NULL) learns which of the table's lines had an answer. */
void compose_all(const struct problem *p, const struct device *d, enum compose_extent extent,
                 unsigned *composed, bool seen[COMPOSE_LINES]);

#endif
