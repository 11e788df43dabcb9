/*
 * tuning_files - the user's tuning files: which there are, and what is in them.
 *
 * In this order: the file that the context's desc names; the one that CLATTN_TUNING names in the
 * environment; the user's own, clattn/tuning.txt in $XDG_CONFIG_HOME or ~/.config (Windows:
 * %APPDATA%).  A line of an earlier file goes before all lines of later ones.
 */
#ifndef TUNING_FILES_H
#define TUNING_FILES_H

#include "tuning.h"

enum { TUNING_FILES = 3 };

struct tuning_files {
    size_t count;
    struct tuning_table tables[TUNING_FILES];
    struct text names[TUNING_FILES]; /* what the tables point to */
    char *texts[TUNING_FILES];
};

/* Fills a zeroed *f.  path: the desc's; NULL: none; "": there is no file at all.  Fails where path
 * cannot be read.  remarks gets a line for each other file that is there and cannot be read, and
 * for lines that are malformed.  The caller destroys *f in either case. */
cl_int tuning_files_read(struct tuning_files *f, const char *path, struct text *remarks,
                         struct status *status);

void tuning_files_destroy(struct tuning_files *f);

#endif
