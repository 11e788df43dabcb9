/*
 * tune_search - which candidates are tried, in what order, and when that is enough.
 *
 *     1. the candidates in the model's order, until none of the last `patience` was faster than the
 *        best before
 *     2. the neighbours of the best: the same solver, one parameter with another value; as long as
 *        one of them is faster
 *     3. the first of each solver, and a few that are drawn by lot; around one that is faster, 2
 *
 * Knows neither device nor clock: whoever calls evaluates.
 */
#ifndef TUNE_SEARCH_H
#define TUNE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

/* What became of a candidate. */
enum tune_outcome {
    TUNE_UNTRIED,
    TUNE_OK,
    TUNE_REFUSED, /* by the library, or by the device's compiler */
    TUNE_WRONG,   /* its result, or what it says of its time */
    TUNE_CRASHED,
    TUNE_TIMEOUT,
    TUNE_OUTCOMES
};

struct tune_candidate {
    char *variant; /* "fwd_tile BLOCK_M=64 ..." */
    double cost;   /* of the model; the order is that of the list */
    enum tune_outcome outcome;
    double seconds; /* of TUNE_OK */
};

struct tune_search {
    struct tune_candidate *candidates; /* [0]: what is there without tuning */
    size_t count;
    bool exhaustive;
    unsigned long long seed;
    size_t patience, lots; /* 0: by the number of candidates */

    /* Sets outcome and seconds of a candidate.  False: the search is to end, and the candidate
     * remains untried. */
    bool (*evaluate)(void *user, struct tune_candidate *candidate);
    void *user;
};

/* False where evaluate ended it. */
bool tune_search_run(struct tune_search *search);

/* The fastest that are TUNE_OK, the fastest first; returns how many of `most` there are. */
size_t tune_search_best(const struct tune_search *search, size_t most, size_t *indices);

/* Does the text differ from the other in the value of one parameter alone? */
bool tune_search_neighbours(const char *variant, const char *other);

#endif
