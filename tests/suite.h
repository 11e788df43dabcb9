/*
 * A table of cases, answered by one solver: the program of a subject.
 *
 *     test_SUBJECT --solver VARIANT|auto [--small]
 *     test_SUBJECT --solver VARIANT --problem TEXT [--layout NAME] [--with WORDS]
 *
 * The first form runs the subject's table for the solver's pass (--small: what a device can do
 * whose loops end at 65535 rounds); the second runs one problem, and is what a failure prints. What
 * is checked: attention.h.  Exit codes: 1 failed, 2 usage, 4 no device, 77 all skipped.
 */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <stdbool.h>
#include <stddef.h>

#include "cases.h"
#include "clattn.h"

struct suite_subject {
    const char *program; /* "test_attention" */
    const struct test_case *cases;
    size_t count;
    /* The table of solvers of backward; NULL: the same. */
    const struct test_case *backward;
    size_t backward_count;
    /* Is a case of the table worth its time there?  variant: what --solver says.  NULL: all are. */
    bool (*affords)(const char *variant, cl_device_type device, const clattn_desc *desc);
};

/* What main returns. */
int suite_main(int argc, char **argv, const struct suite_subject *subject);

#endif
