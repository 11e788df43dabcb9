/*
 * tune_files - tuning files as wholes: read, joined, and the user's own one.
 */
#ifndef TUNE_FILES_H
#define TUNE_FILES_H

#include <stddef.h>

enum { TUNE_FILES_LARGEST = 4 << 20 }; /* bytes, as the library takes them */

/* A tuning file's text, to be freed; NULL, and *why a reason, where it cannot be read. */
char *tune_files_read(const char *path, const char **why);

/* All of the first text, then what the others say beside it, each line as it stands: of lines for
 * one DEVICE, one PROBLEM (in whatever order its words are) and one pass the earliest text's stay.
 * A comment that stands already is left out; a malformed line becomes a comment.  To be freed;
 * NULL: out of memory.  *malformed: how many lines are. */
char *tune_files_merge(const char *const *texts, size_t count, size_t *malformed);

/* The file that every context of this user reads, to be freed; NULL where neither XDG_CONFIG_HOME
 * nor HOME tells, or out of memory.  As the library's own_path in src/tuning_files.c. */
char *tune_files_own(void);

/* Makes the folders above the user's own file `path` (NULL is refused).  Returns NULL or why
 * nothing can be installed, as far as that can be known before. */
const char *tune_files_can_install(const char *path);

/* Puts a text's lines before those of the user's own file `path`, which becomes the old one or the
 * new one as a whole; of two that install at once the second waits.  Returns NULL or why it failed.
 */
const char *tune_files_install(const char *path, const char *text, size_t *malformed);

#endif
