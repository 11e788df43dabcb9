/*
 * Errors to plant in a right result: what a wrong kernel, a wrong call or a wrong copy makes of
 * o and lse.  Not every plant spoils every problem: the columns of one that has one column
 * cannot be rotated.
 */
#ifndef TESTS_PLANTS_H
#define TESTS_PLANTS_H

#include <stddef.h>

#include "subject.h"

struct plot {
    const struct subject *s;
    float *o, *lse; /* right, to be spoilt */
    size_t row;     /* of a plant in one row */
    size_t column;  /* of a plant in one element */
};

struct plant {
    const char *what;
    void (*spoil)(struct plot *p);
};
extern const struct plant plants_table[];
extern const size_t plants_count;

#endif
