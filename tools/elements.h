/*
 * elements - the numbers of the storage types, on the host.
 */
#ifndef ELEMENTS_H
#define ELEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <clattn.h>

enum { ELEMENTS_BLOCK = 32 };

/* Do elements of the type come in blocks of 32? */
bool elements_blocked(clattn_type type);

/* The bytes of so many elements, a multiple of 32 where these come in blocks. */
size_t elements_bytes(clattn_type type, size_t count);

/* Element number `index`. */
float elements_decode(clattn_type type, const void *data, size_t index);

/* The largest finite number of the type. */
double elements_largest(clattn_type type);

/* The distance between neighbours of value. */
double elements_spacing(clattn_type type, double value);

/* To nearest, ties to even; too large becomes infinite. */
double elements_round(clattn_type type, double value);

/* To f32; the largest number stands for what is beyond. */
double elements_single(double value);

#endif
