/*
 * Attention as a kernel computes it, without a device: scores, weights and sums in f32,
 * by blocks of keys against a running maximum; weights, where asked, and o rounded to the
 * storage type.  For tests of the tolerance: it must pass, and its errors must not.
 *
 * Sums are on several levels, since a chain of n equal terms is off by up to n / 4 units in
 * the last place: a product q.k is a tree of chains of 8, a sum over keys has blocks, segments
 * of 64 blocks, and the row.
 */
#ifndef TESTS_HONEST_H
#define TESTS_HONEST_H

#include <stdbool.h>

#include "clattn.h"
#include "reference.h"

struct honest {
    cl_uint block; /* keys: 1 ... 64 */
    bool base2;    /* weights are 2^x, as on devices; otherwise e^x */
    bool rounded;  /* weights are rounded to the type before they meet v */

    /* What is not honest. */
    bool drops_last_key, sees_first_key_twice, does_not_normalise, one_key_head, stale_block;
};

/* q, k, v and extras as reference_forward_with takes them; o and lse as compare_forward does, and o
 * rounded to the type.  Ends the test when memory runs out. */
void honest_forward(const struct honest *how, const clattn_desc *desc, float scale, const float *q,
                    const float *k, const float *v, const struct reference_extras *extras, float *o,
                    float *lse);

#endif
