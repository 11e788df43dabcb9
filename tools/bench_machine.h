/*
 * bench_machine - the device that is measured: context, queue, facts, and why a call
 * on it failed.
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <clattn.h>
#include "select.h"

enum { BENCH_WHY = 512 };

struct bench_machine {
    const char *program; /* "clattn-bench"; remarks on stderr begin with it */
    cl_device_id device;
    const char *label; /* "platform / device"; the list's */
    char *driver;
    cl_context context;
    cl_command_queue queue; /* in order */
    bool profiling;         /* the queue's events tell the device's time */
    clattn_context attention;
    bool cpu, fma; /* fma: by an instruction, not by a long subroutine */
    cl_uint units;
    cl_ulong memory, largest, cache; /* bytes; largest: of one allocation */
    size_t group;                    /* work-items of the largest work-group */
    char why[BENCH_WHY];             /* one sentence about the last failure */
};

/* Needs bench_machine_close in any case; m->why says what failed.  tuning, a file of variants, may
 * be NULL. */
cl_int bench_machine_open(struct bench_machine *m, const char *program,
                          const struct select_device *device, const char *tuning);
void bench_machine_close(struct bench_machine *m);

/* Passes status on; if it is a failure, `why` becomes "call [of what] failed: CODE". */
cl_int bench_machine_check(struct bench_machine *m, cl_int status, const char *call,
                           const char *what);

/* CL_SUCCESS, or `why` says why desc is no problem, or none that clattn offers. */
cl_int bench_machine_check_problem(struct bench_machine *m, const clattn_desc *desc);

/* CL_SUCCESS, or `why` says that a variant is no solver with NAME=VALUE behind it.  Whether a
 * solver takes them here, only its plans say. */
cl_int bench_machine_check_variant(struct bench_machine *m, const char *variant);

/* A kernel of a program of its own.  NULL on failure. */
cl_kernel bench_machine_kernel(struct bench_machine *m, const char *prefix, const char *source,
                               const char *name, cl_int *status);

/* Seconds between an event's start, or its end, and the end of `last`; negative when
 * the device does not tell. */
double bench_machine_span(cl_event first, bool from_start, cl_event last);

/* The host's clock, in seconds. */
double bench_machine_now(void);

#endif
