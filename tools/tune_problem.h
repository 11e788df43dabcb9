/*
 * tune_problem - the fastest variant for one problem: candidates, search, and a last comparison
 * of the best with what is there without tuning.
 */
#ifndef TUNE_PROBLEM_H
#define TUNE_PROBLEM_H

#include <stdbool.h>
#include <clattn.h>
#include "bench_problems.h"
#include "tune_journal.h"
#include "tune_search.h"
#include "tune_worker.h"

struct tune_session {
    clattn_context attention;
    struct tune_journal journal;
    struct tune_worker worker;
    bool exhaustive;
    unsigned long long seed;
    double seconds;       /* for the samples of a candidate; a comparison gets more */
    double limit;         /* for an answer about one */
    char heard[TUNE_WHY]; /* what clattn said last */

    /* Called as a candidate is done, and now and then between. */
    void (*show)(void *user);
    void *user;
};

/* What was found. */
struct tune_row {
    char problem[128];
    size_t candidates, tried, known; /* known: of those tried, by the journal */
    size_t outcomes[TUNE_OUTCOMES];  /* of those tried */
    bool complete;                   /* the search came to its end */
    double first;                    /* seconds of candidate 0 alone; 0: it has none */
    double fastest;                  /* seconds of the best so far, alone */

    /* Of the last comparison.  0: there was none, or what is there without tuning failed. */
    double before, after;
    double gain, noise; /* before / after, and twice its standard error, at least 0.01 */
    double error;       /* of the best's result */
    char best[512];     /* its variant; "": none */
    bool better;        /* a gain beyond the noise, by what is not built in: worth a line */
    cl_int status;      /* of clattn_candidates */
    char why[TUNE_WHY]; /* why there is no answer; "": there is one */
};

/* Goes on until the search ends or time, by bench_machine_now, is there.  False when nothing
 * further can be tried: the user stopped it, or there is no child. */
bool tune_problem(struct tune_session *s, const struct bench_problem *problem, double time,
                  struct tune_row *row);

/* The first two of `times`: how many times faster the second is, and the noise of that. */
void tune_gain(const struct tune_times times[2], double *gain, double *noise);

/* Asks the child, or the journal: variants have " ; " between them.  `kind` is try, match or
 * confirm. *known, if it is not NULL, becomes whether the journal knew. */
enum tune_asked tune_ask(struct tune_session *s, const char *kind, const char *problem,
                         const char *variants, size_t count, bool *known,
                         struct tune_result *result);

#endif
