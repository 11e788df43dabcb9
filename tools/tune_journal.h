/*
 * tune_journal - what is known of candidates, in a file to which only lines are added.
 *
 * Each line is a JSON object about one finished question:
 *
 *     {"problem", "device", "driver", "clattn", "variant", "outcome", "why",
 *      "times": [[median, low, high, samples, passes, error, bound], ...], "date"}
 *
 * variant is one variant, or several that were timed side by side, with " ; " between them; times
 * has one list for each (null where it failed).  A line is written by one write() and is on the
 * disk before the next question.  A line that is none, as the last one is after a power cut, is
 * passed over.
 */
#ifndef TUNE_JOURNAL_H
#define TUNE_JOURNAL_H

#include <stdbool.h>
#include "tune_result.h"

struct tune_record {
    char *problem, *variant;
    struct tune_result result;
};

struct tune_journal {
    int file;                             /* -1: there is none: records live until the end */
    const char *device, *driver, *clattn; /* clattn: as tune_build_name gives */
    struct tune_record *records;          /* those of device, driver and clattn */
    size_t count, bad;                    /* bad: lines that are none */
    bool torn;                            /* the last line has no end */
    char failed[TUNE_WHY];                /* why a line could not be written; "": all were */
};

/* Opens, makes and locks the file, and reads it; path may be NULL.  The texts are used until
 * tune_journal_close, which is needed in any case.  NULL, or why it failed. */
const char *tune_journal_open(struct tune_journal *j, const char *path, const char *device,
                              const char *driver, const char *clattn);
void tune_journal_close(struct tune_journal *j);

/* NULL if nothing is known. */
const struct tune_result *tune_journal_find(const struct tune_journal *j, const char *problem,
                                            const char *variant);

/* Adds a line, which has to be new.  What cannot be written is known all the same, until the end.
 * False only when out of memory. */
bool tune_journal_add(struct tune_journal *j, const char *problem, const char *variant,
                      const struct tune_result *result);

#endif
