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

/* The plans of one context, under the context's lock. */
struct plans {
    clattn_plan first; /* a list, linked by plan->next; among the plans that nobody holds, the one
                          that was given back last comes first */
    size_t unused;     /* plans of the list that nobody holds */
};

/* Destroys all plans of the list; nobody may hold one of them. */
void plans_destroy(struct plans *plans);

/* Gives back a reference to a plan of clattn_plan_find. */
void plans_give_back(clattn_plan plan);

#endif
