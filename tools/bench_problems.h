/*
 * bench_problems - the problems of a run: texts, from the command line or a preset.
 */
#ifndef BENCH_PROBLEMS_H
#define BENCH_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <clattn.h>

struct bench_problem {
    char text[128]; /* as it was given */
    clattn_desc desc;
    bool both; /* the word fwd+bwd: a forward pass, then desc's, backward, on its o and lse */
};

struct bench_problems {
    struct bench_problem *problem;
    size_t count;
};

/* One line each, for --help. */
extern const char *const bench_problems_presets;

/* A text of clattn's in which bwd stands for the word fwd+bwd: *both, whether it was there.  To be
 * freed; NULL when out of memory. */
char *bench_problems_plain(const char *text, bool *both);

/* Appends the problem that a text describes: CL_SUCCESS, CLATTN_INVALID_TEXT or
 * CL_OUT_OF_HOST_MEMORY. */
cl_int bench_problems_add(struct bench_problems *p, const char *text);

/* Appends those of a preset; CLATTN_INVALID_TEXT if none has that name. */
cl_int bench_problems_add_preset(struct bench_problems *p, const char *name);

void bench_problems_destroy(struct bench_problems *p);

#endif
