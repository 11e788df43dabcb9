/*
 * replace - writes a file whole or not at all.
 *
 * The pieces go to a temporary file in the same directory, which is synced and
 * renamed over the old one.  Whoever reads path sees the old file or the new one.
 */
#ifndef REPLACE_H
#define REPLACE_H

#include <stdint.h>
#include <stddef.h>

struct replace_piece {
    const void *data;
    uint64_t size; /* bytes */
};

/* Returns NULL, or why it failed: then path is as it was and the temporary file is
 * gone.  A symbolic link is followed; permissions are kept.  What exists and is not a
 * regular file is refused: renaming over /dev/null would remove the device. */
const char *replace_file(const char *path, const struct replace_piece *pieces, size_t count);

/* Returns NULL, or why replace_file would fail, as far as that can be known before the
 * contents are there: whoever computes long asks first. */
const char *replace_check(const char *path);

#endif
