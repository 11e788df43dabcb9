/*
 * A problem with its inputs, its right answer in double and one computed honestly in f32
 * (honest.h), all on the host: what tests of the tolerance judge.
 */
#ifndef TESTS_SUBJECT_H
#define TESTS_SUBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "clattn.h"
#include "honest.h"
#include "reference.h"

enum { SUBJECT_Q, SUBJECT_K, SUBJECT_V, SUBJECT_INPUTS };

struct subject {
    clattn_desc desc; /* in normal form (reference.h) */
    float scale;      /* or CLATTN_SCALE_DEFAULT */
    struct honest how;
    float *in[SUBJECT_INPUTS];    /* dense, of the type's numbers */
    void *stored[SUBJECT_INPUTS]; /* the same as stored */
    float *alibi;                 /* [batch, heads_q]; NULL: desc has not the feature */
    struct reference expected;
    float *o, *lse;   /* by honest_forward */
    size_t rows;      /* of o */
    const char *kind; /* what its numbers are like */
};

/* Numbers in [0, 1), the same on every machine. */
double subject_random(uint64_t *seed);

/* An integer from low to high, by its logarithm. */
cl_uint subject_random_size(uint64_t *seed, cl_uint low, cl_uint high);

/* Allocates the inputs of desc and scale, which the caller then fills; compute rounds them to the
 * type and does the rest.  All end the test when memory runs out. */
void subject_make(struct subject *subject, const clattn_desc *desc, float scale);
size_t subject_count(const struct subject *subject, int input);
void subject_compute(struct subject *subject);
void subject_free(struct subject *subject);

/* Draws slopes in +-most where desc has the feature. */
void subject_fill_alibi(struct subject *subject, double most, uint64_t *seed);

/* As they are stored; to be freed. */
void *subject_encode(clattn_type type, const float *values, size_t count);

/* Has everything random: the problem, how it is computed, and its inputs.  Computed. */
void subject_draw(struct subject *subject, uint64_t *seed);

/* Which it is, on stderr. */
void subject_print(const struct subject *subject);

#endif
