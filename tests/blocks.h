/*
 * Rows of K and V as they are stored, in every type: element by element, or in ggml's blocks.
 */
#ifndef TESTS_BLOCKS_H
#define TESTS_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

#include "clattn.h"

enum { BLOCKS_ELEMENTS = 32, BLOCKS_MOST_BYTES = 34 };

bool blocks_has(clattn_type type);

/* Bytes of so many elements of a row, a multiple of 32 where they come in blocks. */
size_t blocks_row_bytes(clattn_type type, size_t elements);

/* Quantises as ggml does: the scale is rounded to F16, the integers by the scale before that. */
void blocks_encode_row(clattn_type type, const double *values, size_t count, unsigned char *to);

double blocks_decode(clattn_type type, const unsigned char *row, size_t element);

/* Writes a value: of an element, or where these come in blocks the scale of its block. */
void blocks_spoil(clattn_type type, double value, unsigned char *row, size_t element);

#endif
