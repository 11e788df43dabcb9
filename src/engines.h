/*
 * engines - the matrix engines that clattn has a kernel part for, cl/tile_<name>.cl.
 *
 * Whether a device has one is never read off a table of versions alone: a program of a few
 * lines that needs its instruction has to build there.
 */
#ifndef ENGINES_H
#define ENGINES_H

#include "device.h"

struct engine {
    const char *name;         /* of the part, and in device.matrix */
    const char *architecture; /* what device.architecture begins with; NULL: none, for tests */

    /* As the part defines them: TILE_LANES, TILE_QUERIES, TILE_OTHERS, and the elements of a
     * left and of a right operand in each lane. */
    cl_uint lanes, queries, others, left, right;

    /* Sums and scores that a lane can keep in registers beside everything else. */
    cl_uint floats;

    /* OpenCL C that builds only where the instruction is; NULL: never tried. */
    const char *probe;
};

enum { ENGINES = 2 };

extern const struct engine engines_table[ENGINES];

/* The engine called chars[0..length), NULL when there is none. */
const struct engine *engines_find(const char *chars, size_t length);

/* The first engine of device.matrix, NULL when there is none. */
const struct engine *engines_first(const device *d);

/* Is the engine one of device.matrix? */
bool engines_has(const device *d, const struct engine *engine);

/* Sets device.matrix: tries the engines of the device's architecture. */
void engines_probe(device *d, cl_context context, cl_device_id id);

#endif
