/*
 * tune_shapes - small problems on which a candidate is checked before it is timed.
 */
#ifndef TUNE_SHAPES_H
#define TUNE_SHAPES_H

#include <clattn.h>

enum { TUNE_SHAPES = 3 };

/* Like desc, which has heads_kv and head_dim_v filled in, but with few heads, of which as many read
 * a key head as in desc, and with lengths that no block divides: as many keys as queries, more
 * keys, and fewer; one query where desc has one.  Of a window both edges lie inside. */
void tune_shapes(const clattn_desc *desc, clattn_desc shapes[TUNE_SHAPES]);

#endif
