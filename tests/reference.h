/*
 * Attention by its definition, in double: what every kernel is measured against.
 *
 * Also the storage types (own conversions, checked on all 65536 patterns), the
 * band written as the header states it, and the plain same-type computation,
 * whose error sets the tolerance of f16 and bf16 (compare.h).
 *
 * A desc is here in normal form: heads_kv and head_dim_v are not 0, and batch,
 * seq_q and seq_kv are those of the enqueue.  Types may have their defaults.
 */
#ifndef TESTS_REFERENCE_H
#define TESTS_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clattn.h"

/* ---- Storage ---- */

/* The bytes of a mask: decoded 1 where not 0, encoded 0 for -INFINITY alone. */
#define REFERENCE_BYTE 255u

size_t reference_type_size(clattn_type type);

/* The types of q, k, v and o, defaults filled in.  weights: what a solver may round weights to,
 * that of all four where they have one; F32 where they differ. */
struct reference_types {
    clattn_type q, k, v, o, weights;
};

struct reference_types reference_types(const clattn_desc *desc);

double reference_decode(clattn_type type, const void *element);

/* Rounds to nearest, ties to even; too large becomes infinite; NaN stays NaN. */
void reference_encode(clattn_type type, double value, void *element);

/* encode, then decode. */
double reference_round(clattn_type type, double value);

/* The same, where the type's largest number stands for what is beyond. */
double reference_stored(clattn_type type, double value);

/* The distance between the type's numbers in value's binade. */
double reference_ulp(clattn_type type, double value);

/* ---- Attention ---- */

/* What a row's tolerance follows from (compare.h). */
struct reference_row {
    cl_uint keys;        /* that the query sees */
    double max_value;    /* largest |v| of them */
    double move_of_lse;  /* how far errors of the scores can move lse */
    double plain_error;  /* largest |o - o of the plain computation|; 0 where weights are f32 */
    double weight_error; /* largest R of compare.h; 0 where weights are f32 */
};

struct reference {
    double *o;                  /* [batch, heads_q, seq_q, head_dim_v] */
    double *lse;                /* [batch, heads_q, seq_q]; -INFINITY where nothing is seen */
    double *moves_of_o;         /* as o: how far errors of the scores can move it, maybe INFINITY */
    float *low, *high;          /* as o: the least and the largest v of the keys that are seen */
    struct reference_row *rows; /* [batch, heads_q, seq_q] */
};

/* Does the band let this query see this key? */
bool reference_sees(const clattn_desc *desc, cl_uint query, cl_uint key);

/* 1 / sqrt(head_dim) for CLATTN_SCALE_DEFAULT, otherwise scale. */
double reference_scale(const clattn_desc *desc, float scale);

/* The tensors of desc's features, dense and decoded; NULL without the feature. */
struct reference_extras {
    const float *alibi; /* [batch, heads_q] */
    const float *bias;  /* [batch, heads_q, seq_q, seq_kv] */
    const float *mask;  /* likewise; 0: the key is hidden */
    const float *sink;  /* [batch, heads_q] */
};

/* Does the query see the key, by band, mask and bias?  head: batch * heads_q + head. */
bool reference_head_sees(const clattn_desc *desc, const struct reference_extras *extras,
                         size_t head, cl_uint query, cl_uint key);

/* What features add to the pair's score. */
double reference_bias(const clattn_desc *desc, const struct reference_extras *extras, size_t head,
                      cl_uint query, cl_uint key);

/* The key that the query stands opposite; it need not exist. */
int64_t reference_opposite(const clattn_desc *desc, cl_uint query);

/* The score of a query and a key.  bias: what features add to it; plain: by the plain computation;
 * error: e of compare.h. */
struct reference_score {
    double exact, plain, error;
};
void reference_score(const clattn_desc *desc, double scale, double bias, const float *q,
                     const float *k, struct reference_score *score);

/* q [batch, heads_q, seq_q, head_dim], k and v [batch, heads_kv, seq_kv, ...],
 * dense and decoded.  Ends the test when memory runs out; result is to be freed. */
void reference_forward(const clattn_desc *desc, float scale, const float *q, const float *k,
                       const float *v, struct reference *result);
void reference_forward_with(const clattn_desc *desc, float scale, const float *q, const float *k,
                            const float *v, const struct reference_extras *extras,
                            struct reference *result);

void reference_free(struct reference *result);

#endif
