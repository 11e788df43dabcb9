/*
 * tune_worker - a child process that builds, checks and times candidates, so that whatever a
 * driver does to its process costs one candidate.
 *
 * Lines go both ways, over the child's standard input and output.  A child begins with
 *
 *     ready                              or   failed WHY
 *
 * and then answers each request
 *
 *     try SECONDS PROBLEM ; VARIANT
 *     match SECONDS PROBLEM ; VARIANT ; VARIANT...
 *     confirm SECONDS PROBLEM ; VARIANT ; VARIANT        as match: the best, then the default
 *
 * by one line, before which stands `begin` when the clock starts:
 *
 *     ok MEDIAN:LOW:HIGH:SAMPLES:PASSES:ERROR:BOUND ...    one for each variant; - where it failed
 *     refused WHY
 *     wrong WHY
 *
 * SECONDS are spent on the samples of each variant, about.  `try` also checks the variant on small
 * shapes.  The child is not believed: what is no answer ends it, and times have to agree with the
 * time that passes here between `begin` and the answer.
 */
#ifndef TUNE_WORKER_H
#define TUNE_WORKER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "tune_result.h"

struct tune_worker {
    const char *program;                   /* set by the caller, as these are */
    char *const *arguments;                /* argv of the child */
    double limit;                          /* seconds for an answer */
    double deadline;                       /* when to give up any request, by bench_machine_now */
    const volatile sig_atomic_t *stop;     /* likewise, when it is no longer 0 */
    void (*wait)(void *user, double left); /* called now and then; may be NULL */
    void *user;

    pid_t pid; /* 0: none */
    int to, from;
    unsigned failures; /* children in a row that did not begin as they must */
    size_t length;
    char why[TUNE_WHY]; /* why a child cannot be had */
    char buffer[4096];
};

enum tune_asked {
    TUNE_ANSWERED, /* or the child crashed or was too slow: *result says it */
    TUNE_STOPPED,  /* by stop or deadline: nothing is known */
    TUNE_NO_CHILD  /* none begins as it must: `why` says why */
};

/* Asks about `count` variants, which the request names.  Starts a child where there is none. */
enum tune_asked tune_worker_ask(struct tune_worker *w, const char *request, size_t count,
                                struct tune_result *result);

/* Ends the child, at once. */
void tune_worker_stop(struct tune_worker *w);

#endif
