/*
 * The cases: what every solver must answer.  A case is text, so that a failure
 * prints what reproduces it:
 *
 *     problem  as clattn_desc_parse reads it: "f16 b2 h4:2 q33 k65 d40 causal"
 *     layout   bhsd | bshd | packed | padded | broadcast (tensors.h)
 *     with     words, each at most once:
 *              scale=X      instead of 1 / sqrt(head_dim)
 *              amplitude=X  q is X times larger; 30 makes |s| about 100
 *              q=KIND:X k=KIND:X v=KIND:X d_o=KIND:X d_lse=KIND:X  how elements are drawn
 *                           (tensors.h), times X; else q and k are uniform:2, the others uniform:1
 *              seed=N       other numbers of the same kinds
 *              batch=N q=N k=N  the enqueue asks for less than the problem
 *              nolse        lse is NULL; for backward d_lse is
 *              svm          SVM pointers rather than buffers
 *              unordered    an out-of-order queue
 *              tight        no guard zones (for tools that check bounds)
 *              and what is asked of the answer (attention.h): exact, once, overflow, ill=N
 *     variant      NULL: for every solver.  Else for that variant's solver alone.
 */
#ifndef TESTS_CASES_H
#define TESTS_CASES_H

#include <stdbool.h>
#include <stddef.h>

#include "attention.h"
#include "clattn.h"
#include "tensors.h"

struct test_case {
    const char *problem;
    const char *layout;
    const char *with;
    const char *variant;
};

extern const struct test_case cases_table[];
extern const size_t cases_count;

struct case_setup {
    struct tensors_desc tensors;
    float scale; /* or CLATTN_SCALE_DEFAULT */
    bool unordered;
    struct attention_demands demands;
};

/* False, with a sentence on stderr, when a text is malformed. */
bool cases_parse(const struct test_case *test_case, struct case_setup *setup);

/* The solvers, and the kinds of device on which they refuse nothing. */
struct cases_solver {
    const char *name;
    const char *variant; /* its name; NULL: clattn chooses */
    cl_device_type where;
    bool baseline;    /* for comparison only: not asked for large tensors */
    bool halves;      /* f16 and bf16 alone */
    cl_uint most_dim; /* the largest head dimension; 0: any */
    clattn_pass pass; /* of its plans: the problems of cases name none */
    cl_ulong lacks;   /* features that it refuses */
};
extern const struct cases_solver cases_solvers[];
extern const size_t cases_solver_count;

/* By the first word of a variant, or "auto", or "bwd": auto for backward; NULL when there is none.
 */
const struct cases_solver *cases_solver_of(const char *variant);

#endif
