/*
 * plans - the plans that clattn_plan_find made for a context, found again by the problem's normal
 * form and the variant as asked.
 *
 * All callers of an equal problem share a plan.  A plan that nobody holds any more stays for the
 * next caller, but does not hold its context; of such plans the context keeps the PLANS_UNUSED that
 * were given back last.
 */
#ifndef PLANS_H
#define PLANS_H

#include <stddef.h>

#include "clattn.h"

enum { PLANS_UNUSED = 64 };

/* Of one context, under its lock. */
struct plans {
    clattn_plan first; /* of a list by plan->next; unused plans stand in it latest first */
    size_t unused;     /* how many of them nobody holds */
};

/* Destroys the plans that nobody holds; there must be no others. */
void plans_destroy(struct plans *plans);

/* Gives back a reference to a plan of clattn_plan_find. */
void plans_give_back(clattn_plan plan);

#endif
