/*
 * sized - the public structs, which begin with their own size and grow by appending.
 *
 * A caller may have been compiled with an older header or with a newer one.  Its struct is copied
 * into one of ours: members that an older struct lacks keep their defaults, and of a newer struct
 * the members that we do not know must be 0, which is their default.
 */
#ifndef SIZED_H
#define SIZED_H

#include <stdbool.h>
#include <stddef.h>

#include "status.h"

struct sized {
    const char *init; /* the macro that sets the struct, for sentences */
    cl_int code;      /* of a size that is refused */
    size_t least;     /* bytes of the struct in release 0.1 */
    size_t size;      /* bytes of the struct in this header */
};

extern const struct sized sized_context_desc, sized_desc, sized_tensor, sized_forward_args,
    sized_extras;

/* A size above this one is taken for garbage. */
enum { SIZED_MOST = 4096 };

/* Is theirs->size from `least` to SIZED_MOST?  Then the members of release 0.1 can be read. */
bool sized_is_readable(const struct sized *s, const void *theirs);

/* Copies the caller's struct over ours, which holds the defaults.  name begins the sentence of a
 * failure, which leaves ours as it was. */
cl_int sized_copy(const struct sized *s, const char *name, void *ours, const void *theirs,
                  struct status *status);

/* The other way: fills a caller's struct up to its size, which stays; members that we do not know
 * become 0.  Fails, and writes nothing, where the size is refused, and where a member that the
 * caller's struct lacks is not as in defaults. */
cl_int sized_copy_out(const struct sized *s, void *theirs, const void *ours, const void *defaults);

#endif
