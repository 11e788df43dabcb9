#include "honest.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reference.h"

enum { CHAIN = 8, SEGMENT = 64, LEVELS = 3 };

static const float log2_e = 1.44269504f, ln_2 = 0.693147181f;

static float dot(const float *q, const float *k, cl_uint dim) {
    if (dim > CHAIN) {
        const cl_uint half = (dim / 2 + CHAIN - 1) / CHAIN * CHAIN;
        return dot(q, k, half) + dot(q + half, k + half, dim - half);
    }
    float sum = 0;
    for (cl_uint d = 0; d < dim; d++)
        sum = fmaf(q[d], k[d], sum);
    return sum;
}

/* distance: from the opposite key. */
static float score(const struct honest *how, const clattn_desc *desc, float scale, float slope,
                   int64_t distance, const float *q, const float *k) {
    const float product = dot(q, k, desc->head_dim), unit = how->base2 ? log2_e : 1;
    const float s = desc->softcap > 0
                        ? desc->softcap * unit * tanhf(product * (scale / desc->softcap))
                        : product * (scale * unit);
    return s - slope * unit * fabsf((float)distance);
}

static float weigh(const struct honest *how, float distance) {
    return how->base2 ? exp2f(distance) : expf(distance);
}

/* The sums of a row, a level each of a block, a segment and the row: head_dim_v of weighted v,
 * and that of the weights. */
struct sums {
    float *of[LEVELS];
    cl_uint count;
};

static void rescale(struct sums *sums, float factor) {
    for (unsigned level = 0; level < LEVELS; level++)
        for (cl_uint d = 0; d < sums->count; d++)
            sums->of[level][d] *= factor;
}

static void close_level(struct sums *sums, unsigned level) {
    for (cl_uint d = 0; d < sums->count; d++) {
        sums->of[level + 1][d] += sums->of[level][d];
        sums->of[level][d] = 0;
    }
}

/* Which keys one query meets, in their order. */
static size_t meet(const struct honest *how, const clattn_desc *desc, cl_uint query,
                   cl_uint *keys) {
    size_t count = 0;
    for (cl_uint key = 0; key < desc->seq_kv; key++)
        if (reference_sees(desc, query, key)) {
            keys[count++] = key;
            if (how->sees_first_key_twice && count == 1)
                keys[count++] = key;
        }
    return count - (how->drops_last_key && count);
}

static float attend(const struct honest *how, const clattn_desc *desc, float scale, float slope,
                    int64_t opposite, const cl_uint *keys, size_t count, const float *q,
                    const float *k, const float *v, struct sums *sums, float *o) {
    const struct reference_types types = reference_types(desc);
    const cl_uint dim = desc->head_dim_v;
    float largest = -INFINITY, s[64];
    for (unsigned level = 0; level < LEVELS; level++)
        for (cl_uint d = 0; d < sums->count; d++)
            sums->of[level][d] = 0;
    for (size_t first = 0, blocks = 1; first < count; first += how->block, blocks++) {
        const size_t n = count - first < how->block ? count - first : how->block;
        float most = largest;
        for (size_t i = 0; i < n; i++) {
            const cl_uint key = keys[first + i];
            s[i] =
                score(how, desc, scale, slope, key - opposite, q, k + (size_t)key * desc->head_dim);
            most = fmaxf(most, s[i]);
        }
        rescale(sums, largest == -INFINITY ? 0 : weigh(how, largest - most));
        largest = most;
        for (size_t i = 0; i < n; i++) {
            const float weight = weigh(how, s[i] - largest);
            const float meets_v =
                how->rounded ? (float)reference_round(types.weights, (double)weight) : weight;
            const size_t from = first + i - (how->stale_block && first ? how->block : 0);
            const float *row = v + (size_t)keys[from] * dim;
            for (cl_uint d = 0; d < dim; d++)
                sums->of[0][d] = fmaf(meets_v, row[d], sums->of[0][d]);
            sums->of[0][dim] += weight;
        }
        close_level(sums, 0);
        if (blocks % SEGMENT == 0)
            close_level(sums, 1);
    }
    close_level(sums, 1);
    const float *sum = sums->of[LEVELS - 1], all = sum[dim];
    const float largest_number = types.o == CLATTN_F16 ? 65504 : INFINITY;
    for (cl_uint d = 0; d < dim; d++) {
        const float x = count ? sum[d] * (how->does_not_normalise ? 1 : 1 / all) : 0;
        const float kept = fmaxf(-largest_number, fminf(largest_number, x));
        o[d] = (float)reference_round(types.o, (double)kept);
    }
    if (!count)
        return -INFINITY;
    return how->base2 ? (largest + log2f(all)) * ln_2 : largest + logf(all);
}

void honest_forward(const struct honest *how, const clattn_desc *desc, float given_scale,
                    const float *q, const float *k, const float *v,
                    const struct reference_extras *extras, float *o, float *lse) {
    const float scale = (float)reference_scale(desc, given_scale);
    const size_t rows = (size_t)desc->batch * desc->heads_q * desc->seq_q;
    const size_t group = desc->heads_q / desc->heads_kv;
    struct sums sums = {.count = desc->head_dim_v + 1};
    float *memory = calloc((size_t)LEVELS * sums.count, sizeof *memory);
    cl_uint *keys = calloc((size_t)desc->seq_kv + 2, sizeof *keys);
    assert_true(memory && keys);
    for (unsigned level = 0; level < LEVELS; level++)
        sums.of[level] = memory + (size_t)level * sums.count;
    for (size_t row = 0; row < rows; row++) {
        const size_t head = row / desc->seq_q; /* of all batches */
        const size_t head_kv = how->one_key_head ? 0 : head / group;
        const cl_uint query = (cl_uint)(row % desc->seq_q);
        const size_t count = meet(how, desc, query, keys);
        const float slope = extras->alibi ? extras->alibi[head] : 0;
        lse[row] = attend(how, desc, scale, slope, reference_opposite(desc, query), keys, count,
                          q + row * desc->head_dim, k + head_kv * desc->seq_kv * desc->head_dim,
                          v + head_kv * desc->seq_kv * desc->head_dim_v, &sums,
                          o + row * desc->head_dim_v);
    }
    free(memory);
    free(keys);
}
