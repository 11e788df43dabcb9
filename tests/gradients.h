/*
 * The gradients of attention by their definition, in double: what every backward kernel is measured
 * against.  Beside them the plain same-type computation, whose error sets the tolerance of f16 and
 * bf16 (compare.h).
 *
 * The loss is the sum of d_o * o and of d_lse * lse.  With the score s of a query and a key, r its
 * q.k, p = exp(s - lse) and delta = the sum of d_o * o over the row - d_lse:
 *
 *     d_v = sum of p d_o                  over the queries that see the key, and the group's heads
 *     d_s = p (d_o . v - delta)
 *     d_q = sum of d_s ds/dr k            over the keys that the query sees
 *     d_k = sum of d_s ds/dr q            over the queries that see the key, and the group's heads
 */
#ifndef TESTS_GRADIENTS_H
#define TESTS_GRADIENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "clattn.h"
#include "reference.h"

enum gradients_name { GRADIENT_Q, GRADIENT_K, GRADIENT_V, GRADIENTS };

/* What a row's tolerance follows from (compare.h); of its columns the largest each. */
struct gradients_row {
    double terms;          /* T: sum of the gradient's |terms| */
    double most;           /* ... were the slope of softcap 1 everywhere */
    double plain_error;    /* E: |gradient - gradient of the plain computation| */
    double rounding_error; /* R; f32: 0 */
};

struct gradient {
    clattn_type type;
    bool rounded; /* may p and d_s be rounded to 16 bits, or is o?  Then E and R count */
    cl_uint dim;  /* elements of a row */
    size_t count, row_count;
    double *value; /* dense: d_q as q, d_k as k, d_v as v */
    double *moves; /* likewise: M, how far errors of the scores can move an element */
    struct gradients_row *rows;
};

/* Dense and decoded; d_lse may be NULL. */
struct gradients_inputs {
    const float *q, *k, *v, *d_o, *d_lse;
    struct reference_extras extras;
};

/* desc is in normal form (reference.h).  Ends the test when memory runs out; result is to be freed.
 */
void gradients_make(const clattn_desc *desc, float scale, const struct gradients_inputs *in,
                    struct gradient result[GRADIENTS]);

/* d_bias [batch, heads_q, seq_q, seq_kv] and d_sink [batch, heads_q], dense, without type: of each
 * element what it is, how far errors of the scores can move it, and its |terms|.  To be freed. */
struct gradients_extras {
    double *bias, *bias_moves, *bias_terms;
    double *sink, *sink_moves, *sink_terms;
};
void gradients_make_extras(const clattn_desc *desc, float scale, const struct gradients_inputs *in,
                           struct gradients_extras *result);
void gradients_free_extras(struct gradients_extras *result);

void gradients_free(struct gradient result[GRADIENTS]);

#endif
