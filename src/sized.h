/*
 * sized - the public structs, which begin with their own size and grow by appending.
 *
 * A caller may have been compiled with an older or a newer header.  The caller's struct is copied
 * into a struct of this header: members that an older struct lacks keep their defaults; members of
 * a newer struct that this header does not have must be 0, which is their default.
 */
#ifndef SIZED_H
#define SIZED_H

#include <stdbool.h>
#include <stddef.h>

#include "status.h"

struct sized {
    const char *init; /* the macro that sets the struct, for sentences */
    cl_int code;      /* the status where the size is refused */
    size_t least;     /* bytes of the struct in its first release */
    size_t size;      /* bytes of the struct in this header */
};

extern const struct sized sized_context_desc, sized_desc, sized_tensor, sized_forward_args,
    sized_backward_args, sized_merge_args, sized_extras;

/* The largest size that is accepted; a greater number is no size of a struct. */
enum { SIZED_MOST = 4096 };

/* Is theirs->size from `least` to SIZED_MOST?  Then the members of its first release can be read.
 */
bool sized_is_readable(const struct sized *s, const void *theirs);

/* Copies the caller's struct, theirs, over ours, which holds the defaults.  On failure ours does
 * not change, and the sentence begins with name. */
cl_int sized_copy(const struct sized *s, const char *name, void *ours, const void *theirs,
                  struct status *status);

/* Copies ours into the caller's struct, theirs, whose size does not change; its members that this
 * header does not have become 0.  Fails, and writes nothing, where the size is refused, and where a
 * member that the caller's struct lacks differs from its default. */
cl_int sized_copy_out(const struct sized *s, void *theirs, const void *ours, const void *defaults);

#endif
