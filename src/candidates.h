/*
 * candidates - the variants that are worth trying for a problem on a device, from the device's
 * facts alone: the device need not be there.
 *
 * The search space of a solver is what lies around the candidates of its formula: all variants that
 * differ from one of them in a few parameters, as many as CANDIDATES_TRIED allows, each with the
 * values that solver_parameter says.  Of those that are legal, the CANDIDATES_KEPT with the lowest
 * cost are listed.
 */
#ifndef CANDIDATES_H
#define CANDIDATES_H

#include "device.h"
#include "problem.h"
#include "solvers.h"

/* Of each solver: variants that are looked at, about, and that are listed, at most. */
enum { CANDIDATES_TRIED = 1 << 18, CANDIDATES_KEPT = 1024 };

struct candidate {
    const struct solver *solver;
    const struct solver_parameter *parameters;
    long long values[VARIANT_PARAMETERS];
    double cost; /* cost.h, with a doubt */
};

struct candidates {
    struct candidate *list; /* [0]: what the formula chooses; then the lowest cost first */
    size_t count;
};

/* Fills a zeroed *c.  asked: the variant whose values all candidates have, which may be a solver
 * alone; NULL: all solvers but baselines.  Fails as choose_variant does. */
cl_int candidates_find(const struct problem *p, const struct device *d, const char *asked,
                       struct candidates *c, struct status *status);

void candidates_destroy(struct candidates *c);

/* The complete variant of a candidate. */
struct variant candidates_variant(const struct candidate *candidate);

#endif
