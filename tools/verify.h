/*
 * verify - a forward pass against attention by its definition, in double.
 *
 * The bounds, each row's own.  With u = 2^-24, the relative rounding error of f32, p the
 * softmax, and of a score r its value before softcap, t = |scale| (|q_1 k_1| + |q_2 k_2| + ...)
 * and e = 4 u (t + 8) + u D |r| / 4, D being the head dimension; with ALiBi the slope times the
 * distance is one of the terms of t:
 *
 *     m = log(sum of p exp(e)), P = sum of p (exp(e + m) - 1) |v - o|, S = 4 u (8 + sqrt(keys) / 8)
 *
 *     o, f32, or q, k, v and o of more than one type
 *                    P + S max|v|
 *     o, f16, bf16   P + 1.25 times the row's largest error of the plain computation, which
 *                    has scores and sums in f32, and weights and o rounded to that type; or,
 *                    if it is more, P + twice what rounding weights against other maxima does:
 *                    half a unit of 1 times the sum of p |v|, without keys of the largest
 *                    score, for keys whose scores lie within half a unit of 1 of one another,
 *                    and of these sums the root of the sum of squares
 *     lse            m + S
 *
 * plus half a unit in the last place of o's type.  m and P are what rounded scores do to lse and to
 * o; a score is rounded in proportion to its terms, which t sums, but no further than softcap lets
 * it.  Where terms have one sign, the partial sums of one chain over D grow to the score, and each
 * addition rounds in proportion to them: equal terms are off by 16 u t at D 64, 32 at D 128 and
 * 128 at D 512.  Where signs are random |r| is about t / sqrt(D), and adds 2 u t at D 64.
 * Where P + ... exceeds max|v| the row is ill-conditioned: f32 scores do not determine
 * its o, which is then only to be finite and in the range of v.
 */
#ifndef VERIFY_H
#define VERIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <clattn.h>

struct verify_tensor {
    const void *data;
    const clattn_tensor *layout; /* strides; its memory and offset are not looked at */
};

/* Of a pass. */
struct verify_tensors {
    struct verify_tensor q, k, v, o, lse;
    struct verify_tensor alibi, bias, mask, sink; /* where desc has the feature */
};

struct verify_result {
    uint64_t rows, checked;      /* fewer are checked where all would take too long */
    uint64_t ill_rows;           /* of those checked: ill-conditioned */
    double error, bound;         /* of the element of o furthest beyond its bound, or else nearest
                                  * to it; the bound of what passed is finite */
    double lse_error, lse_bound; /* likewise */
    bool passed;
};

/* The types of q, k, v and o, defaults filled in.  weights: what weights may be rounded to: the
 * type of all four, F32 where they differ. */
struct verify_types {
    clattn_type q, k, v, o, weights;
};

struct verify_types verify_types(const clattn_desc *desc);

/* desc with heads_kv and head_dim_v filled in.  A row that sees no key must be 0
 * and -INFINITY; NaN and infinities must lie where the definition has them.
 * Returns false only when out of memory. */
bool verify_forward(const clattn_desc *desc, double scale, const struct verify_tensors *tensors,
                    struct verify_result *result);

/* The same with fewer rows: about `operations` multiply-adds may be spent, but two rows
 * are always checked.  1e9 take a second or two. */
bool verify_sample(const clattn_desc *desc, double scale, const struct verify_tensors *tensors,
                   double operations, struct verify_result *result);

/* A score, before the softmax: by the definition, as f32 has it, and e.  bias: what features add.
 */
struct verify_score {
    double exact, f32, error;
};
void verify_score(const clattn_desc *desc, double scale, double bias, const float *q,
                  const float *k, struct verify_score *score);

/* What features do in one head. */
struct verify_head {
    const clattn_desc *desc;
    struct verify_tensor bias, mask;
    uint64_t batch, head;
    double slope; /* of ALiBi */
    double sink;  /* -INFINITY: none */
};
void verify_head(const clattn_desc *desc, struct verify_tensor alibi, struct verify_tensor bias,
                 struct verify_tensor mask, struct verify_tensor sink, uint64_t batch,
                 uint64_t head, struct verify_head *result);

/* What they add to a pair's score; -INFINITY where they hide the key. */
double verify_bias(const struct verify_head *of, cl_uint query, cl_uint key);

/* Decodes one row. */
void verify_row(clattn_type type, struct verify_tensor t, uint64_t batch, uint64_t head,
                uint64_t row, cl_uint dim, float *to);

/* One row of each of `count` equal parts of `rows`: the first, the last, and
 * between them places that do not repeat with any block size. */
uint64_t verify_place(uint64_t rows, uint64_t count, uint64_t index);

/* Keys [*begin, *end) that a query sees. */
void verify_span(const clattn_desc *desc, cl_uint query, cl_uint *begin, cl_uint *end);

/* Pairs of a query and a key that it sees, in one head. */
uint64_t verify_pairs(const clattn_desc *desc);

#endif
