/*
 * tune_result - what a child says of the variants that it was asked about.
 */
#ifndef TUNE_RESULT_H
#define TUNE_RESULT_H

#include <stddef.h>
#include "tune_search.h"

enum { TUNE_FINALISTS = 6, TUNE_WHY = 256 };

struct tune_times {
    double median, low, high; /* seconds; 0: this variant has none.  low, high: 10th and 90th
                                 percentile */
    unsigned samples, passes; /* of each sample */
    double error, bound;      /* of the result */
};

struct tune_result {
    enum tune_outcome outcome;
    size_t count; /* of TUNE_OK: the variants that were asked about; else 0 */
    struct tune_times times[TUNE_FINALISTS];
    char why[TUNE_WHY]; /* of all but TUNE_OK: a sentence */
};

extern const char *const tune_outcome_names[TUNE_OUTCOMES];

#endif
