/*
 * context - the caller's OpenCL context and device, the device's facts, what plans share (the
 * program cache and the user's tuning files), and the plans that may be found again.
 */
#ifndef CONTEXT_H
#define CONTEXT_H

#include "cache.h"
#include "device.h"
#include "plans.h"
#include "status.h"
#include "tuning_files.h"

struct clattn_context_s {
    cl_context context;
    cl_device_id id;
    clattn_notify notify;
    void *user_data;
    struct device device;
    struct tuning_files tuning;
    struct cache programs;
    struct plans plans;
    struct lock lock; /* for plans and references */
    bool locked;      /* lock has been initialised */
    int references;   /* the caller's, and one for each plan that somebody holds */
};

void context_retain(clattn_context c);
void context_release(clattn_context c);

/* Hands status to notify, destroys its text and returns its code. */
cl_int context_report(clattn_context c, struct status *status);

/* Hands a remark (CL_SUCCESS and a sentence) to notify. */
void context_remark(clattn_context c, const char *sentence);

/* Hands each line to notify, as a remark of its own. */
void context_remark_lines(clattn_context c, const struct text *lines);

#endif
