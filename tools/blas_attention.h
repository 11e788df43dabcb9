/*
 * blas_attention - attention on a CPU as one writes it by hand around a good BLAS, to be
 * compared with: blocks of query rows, for each one product with the keys that its rows
 * see, the softmax of its rows, one product with the values.
 *
 * The scores of a block stay in the cache and what the band hides from the whole block
 * is left out.  Heads and blocks go over threads, the longest first; the products
 * themselves take one thread each.
 */
#ifndef BLAS_ATTENTION_H
#define BLAS_ATTENTION_H

#include <stdbool.h>
#include <clattn.h>

struct blas_attention;

/* The library, and the core that it takes this one for: "SkylakeX". */
const char *blas_attention_library(void);
const char *blas_attention_core(void);

/* So many threads may call it at a time. */
unsigned blas_attention_most_threads(void);

/* For F32 tensors without gaps, [batch, head, row, d].  desc: heads_kv and head_dim_v filled in,
 * full or causal, every row sees a key, no softcap.  NULL: too little memory, or no thread. */
struct blas_attention *blas_attention_create(const clattn_desc *desc, unsigned block_rows,
                                             unsigned threads);
void blas_attention_destroy(struct blas_attention *a); /* NULL: nothing */

/* One pass, finished when it returns. */
void blas_attention_run(struct blas_attention *a, const float *q, const float *k, const float *v,
                        float *o, float *lse);

#endif
