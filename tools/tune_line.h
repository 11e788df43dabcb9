/*
 * tune_line - a tuning line (README, "Choosing and tuning"), written and read.
 *
 *     DEVICE ; PROBLEM ; VARIANT ; driver=... clattn=... date=... gain=... error=...
 */
#ifndef TUNE_LINE_H
#define TUNE_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <clattn.h>

enum { TUNE_WORDS = 256, TUNE_LINE = 1536 };

/* The words of PROBLEM that hold for this problem and no other. */
void tune_line_words(const clattn_desc *desc, char words[TUNE_WORDS]);

/* A context's fact "name value"; false, and "", where there is none. */
bool tune_line_fact(clattn_context context, const char *name, char *value, size_t capacity);

struct tune_line {
    const char *device; /* its name, without quotes */
    const char *driver;
    const char *words, *variant;
    double gain; /* 0: there is none to compare with */
    double error;
};

/* The line with its feed. */
void tune_line_write(const struct tune_line *line, char text[TUNE_LINE]);

/* Of a line of a file. */
struct tune_fields {
    char device[TUNE_WORDS]; /* as it stands, with its quotes */
    char words[TUNE_WORDS], variant[512];
};

enum tune_kind { TUNE_EMPTY, TUNE_MALFORMED, TUNE_LINE_OF_FILE };

/* text: without its line feed. */
enum tune_kind tune_line_read(const char *text, struct tune_fields *fields);

/* Does DEVICE name the device of that name and architecture? */
bool tune_line_is_for(const char *pattern, const char *name, const char *architecture);

/* A problem for which PROBLEM holds: of a range its end, or, where that is open, its beginning;
 * what is left out is usual.  False on a word that is none. */
bool tune_line_problem(const char *words, clattn_desc *desc);

#endif
