/*
 * cost - a model of the time that a variant takes, from the device's facts alone.
 *
 * It is for the order in which variants are worth trying, not for a choice: clock, caches and what
 * the compiler makes of a kernel are not among the facts.  Only comparisons of costs on one device
 * for one problem mean something.
 */
#ifndef COST_H
#define COST_H

#include "device.h"
#include "problem.h"
#include "solvers.h"

/* Seconds, as the model has them; lower is better.  v has these values, and is complete. */
double cost_of(const struct solver *solver, const struct problem *p, const struct device *d,
               const struct variant *v, const long long *values);

#endif
