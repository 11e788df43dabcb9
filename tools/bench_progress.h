/*
 * bench_progress - a bar on stderr with the time left, if stderr is a terminal.
 */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct bench_progress {
    bool shown;   /* whether there is a terminal */
    bool visible; /* whether the bar is on it now */
    double start, last;
    size_t total;  /* problems */
    char note[64]; /* behind it; may change at any time */
};

void bench_progress_start(struct bench_progress *p, size_t total);

/* `done` problems, and a fraction of the next one. */
void bench_progress_set(struct bench_progress *p, size_t done, double fraction);

/* Takes the bar away, so that a line may be printed. */
void bench_progress_clear(struct bench_progress *p);

#endif
