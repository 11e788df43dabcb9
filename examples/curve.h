/*
 * The curves of a training run as a picture, SVG, for 04_train.c.
 */
#ifndef CURVE_H
#define CURVE_H

#include <stddef.h>

/* step[i] counts from 1 and ascends; values are finite. */
struct curve {
    const char *name, *colour;
    size_t count;
    const int *steps;
    const double *values;
};

/* Writes the curves, a dashed line at `level` with its name, and axes from 0.  Returns NULL, or
 * why path could not be written; then it is as it was. */
const char *curve_write(const char *path, const char *title, const struct curve *curves,
                        size_t count, double level, const char *level_name);

#endif
