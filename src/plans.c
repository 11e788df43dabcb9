#include "plans.h"

#include <assert.h>
#include <string.h>

#include "plan.h"

/* The problem's text is its normal form, with all features and promises. */
static cl_int make_key(struct text *key, const clattn_desc *desc, struct status *status) {
    struct problem problem;
    const cl_int code = problem_from_desc(&problem, desc, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    problem_format(&problem, key);
    if (desc->variant) {
        text_printf(key, ";%s", desc->variant);
    }
    return key->failed ? status_set(status, CL_OUT_OF_HOST_MEMORY, "plan: no memory to find it")
                       : CL_SUCCESS;
}

/* A new reference to the plan of this key, NULL where there is none.  Under the context's lock. */
static clattn_plan take(clattn_context c, const struct text *key) {
    clattn_plan plan = c->plans.first;
    while (plan && strcmp(text_chars(&plan->key), text_chars(key)) != 0) {
        plan = plan->next;
    }
    if (plan && plan->references++ == 0) {
        assert(!plan->context && c->plans.unused > 0);
        plan->context = c;
        c->references++; /* context_retain would take the lock */
        c->plans.unused--;
    }
    return plan;
}

/*
 * Makes the plan of a key that was not found, outside the lock: creation may take seconds, and
 * meanwhile plans of other problems are to be found and given back.  Of two threads that want the
 * same plan both make it, and the one that comes second takes the other's.  Little is done twice:
 * the program cache lets only one of them compile.  Nothing stands in the list before it is whole,
 * so a failure has nothing to take back.
 */
static cl_int make(clattn_context c, const clattn_desc *desc, struct text *key, clattn_plan *result,
                   struct status *status) {
    clattn_plan made;
    const cl_int code = plan_make(c, desc, &made, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    lock_take(&c->lock);
    clattn_plan other = take(c, key);
    if (!other) {
        made->key = *key;
        *key = (struct text){0};
        made->references = 1;
        made->next = c->plans.first;
        c->plans.first = made;
    }
    lock_give(&c->lock);
    if (other) {
        plan_unmake(made);
    }
    *result = other ? other : made;
    return CL_SUCCESS;
}

cl_int clattn_plan_find(clattn_context context, const clattn_desc *desc, clattn_plan *result) {
    if (result) {
        *result = NULL;
    }
    if (!context) {
        return CL_INVALID_VALUE;
    }
    struct status status = {0};
    if (!desc || !result) {
        status_set(&status, CL_INVALID_VALUE, "plan_find: %s is NULL", desc ? "result" : "desc");
        return context_report(context, &status);
    }
    struct text key = {0};
    clattn_plan plan = NULL;
    cl_int code = make_key(&key, desc, &status);
    if (code == CL_SUCCESS) {
        lock_take(&context->lock);
        plan = take(context, &key);
        lock_give(&context->lock);
    }
    if (code == CL_SUCCESS && !plan) {
        code = make(context, desc, &key, &plan, &status);
    }
    text_destroy(&key);
    *result = plan;
    return code == CL_SUCCESS ? code : context_report(context, &status);
}

/* Takes the plan out of the list. */
static void drop(struct plans *plans, clattn_plan plan) {
    clattn_plan *link = &plans->first;
    while (*link != plan) {
        assert(*link); /* the plan is in it */
        link = &(*link)->next;
    }
    *link = plan->next;
}

/* Takes the plan out that nobody has held for longest. */
static clattn_plan drop_oldest(struct plans *plans) {
    clattn_plan oldest = NULL;
    for (clattn_plan plan = plans->first; plan; plan = plan->next) {
        oldest = plan->references == 0 ? plan : oldest;
    }
    assert(oldest);
    drop(plans, oldest);
    plans->unused--;
    return oldest;
}

void plans_give_back(clattn_plan plan) {
    const clattn_context c = plan->context; /* as long as the caller holds the plan */
    struct plans *plans = &c->plans;
    clattn_plan oldest = NULL;
    lock_take(&c->lock);
    assert(plan->references > 0);
    const bool unused = --plan->references == 0;
    if (unused) {
        plan->context = NULL;
        drop(plans, plan);
        plan->next = plans->first;
        plans->first = plan;
        plans->unused++;
        if (plans->unused > PLANS_UNUSED) {
            oldest = drop_oldest(plans);
        }
    }
    lock_give(&c->lock);
    if (oldest) {
        plan_unmake(oldest);
    }
    if (unused) {
        context_release(c);
    }
}

void plans_destroy(struct plans *plans) {
    while (plans->first) {
        const clattn_plan plan = plans->first;
        assert(plan->references == 0); /* else the plan would hold the context */
        plans->first = plan->next;
        plan_unmake(plan);
    }
    plans->unused = 0;
}
