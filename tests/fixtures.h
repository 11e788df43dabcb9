/*
 * Devices that are not there: their facts, from tests/fixtures, and problems for them.
 *
 * Everything that chooses a variant sees a device through its facts alone, so that the
 * choice for any device can be tested on every machine.
 */
#ifndef TESTS_FIXTURES_H
#define TESTS_FIXTURES_H

#include "device.h"
#include "problem.h"
#include "solvers.h"

enum { FIXTURES = 15 };

struct fixture {
    const char *name; /* of its file, without .txt */
    char *facts;      /* the file's text */
    struct device device;
};

/* What a matrix engine's part says of it, apart from the library's own table. */
struct fixtures_engine {
    long long lanes, queries;
    long long most_dim_v; /* with a longer v it is not the one to choose */
};

extern struct fixture fixtures[FIXTURES];

/* Fills all of them from the folder fixtures, in the order of their names' table, and frees their
 * texts: a group's set-up and teardown, which do not use state and return 0.  Opening ends the test
 * on failure. */
int fixtures_open(void **state);
int fixtures_close(void **state);

/* The fixture of that name.  Ends the test when there is none. */
const struct fixture *fixtures_find(const char *name);

/* The text of a file, to be freed.  Ends the test on failure. */
char *fixtures_read(const char *data, const char *file);

/* The problem of a text.  Ends the test when it is none. */
struct problem fixtures_problem(const char *words);

/* True when the device can run a complete variant of the solver: work-groups within its limits,
 * local memory within its size, blocks divided as the kernel's file says.  Else *why gets a
 * sentence.  Told from what the kernels' files promise, not by the solvers' own code. */
bool fixtures_runnable(const struct solver *solver, const struct problem *p, const struct device *d,
                       const struct variant *r, struct text *why);

/* The engine of that name, or (NULL) the device's; false when there is none. */
bool fixtures_engine(const struct device *d, const char *name, struct fixtures_engine *engine);

#endif
