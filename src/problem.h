/*
 * problem - what a desc asks to compute, checked and in normal form, independent of any device.
 *
 * Two descs that ask for the same computation become the same problem: defaults
 * are filled in, and a band that can hide nothing at these lengths, or at any
 * smaller ones, is no band.
 */
#ifndef PROBLEM_H
#define PROBLEM_H

#include <stdbool.h>
#include "status.h"

enum { PROBLEM_MAX_LENGTH = (1 << 30) - 1, PROBLEM_MAX_HEAD_DIM = 512 };

/* Of clattn_type, for our own use: the bytes of a mask, and integers of 32 bits. */
enum { PROBLEM_INT = 254, PROBLEM_BYTE = 255 };

struct problem {
    clattn_type type, type_k, type_v, type_o; /* of q, k, v and o */
    clattn_type type_d;                       /* of gradients; 0: each as its tensor */
    clattn_type type_bias;                    /* of bias; 0: as type, and without the feature */
    cl_uint batch, heads_q, heads_kv;
    cl_uint seq_q, seq_kv; /* upper bounds; an enqueue may bring less */
    cl_uint seq_q_least;   /* below seq_q: to be fast from here on; 0: for seq_q */
    cl_uint head_dim, head_dim_v;
    cl_int band_left, band_right; /* CLATTN_UNBOUNDED or not negative */
    clattn_align align;           /* CLATTN_ALIGN_END where neither band nor ALiBi asks */
    float softcap;                /* 0: none */
    cl_ulong features;            /* bits of features_table */
    cl_ulong promises;            /* CLATTN_PROMISE_*, on which no result depends */
    clattn_pass pass;
};

/* Checks desc and fills p. */
cl_int problem_from_desc(struct problem *p, const clattn_desc *desc, struct status *status);

/* True when the band can hide a key. */
bool problem_masked(const struct problem *p);

/* The same problem with at most `queries` of them, in normal form. */
void problem_for_queries(const struct problem *p, cl_uint queries, struct problem *few);

/* The most keys that a query can see. */
cl_uint problem_keys(const struct problem *p);

/* The most queries of a head that can see a key. */
cl_uint problem_queries(const struct problem *p);

/* Of the types of k, v and o those that are 0 become their defaults. */
void problem_fill_types(struct problem *p);

/* Have q, k, v and o more than one type? */
bool problem_mixed(const struct problem *p);

/* Elements of a block of the type, 1 where each element stands alone; and the bytes of one. */
cl_uint problem_type_block(clattn_type type);
cl_uint problem_type_bytes(clattn_type type);

/* Does k or v come in blocks? */
bool problem_blocked(const struct problem *p);

/* "f32", "f16", "bf16", "q8_0", "q4_0"; NULL for any other number */
const char *problem_type_name(clattn_type type);

/* The same, "u8" for PROBLEM_BYTE and "i32" for PROBLEM_INT: what kernels call element_u8. */
const char *problem_element_name(clattn_type type);

/* Appends the problem text. */
void problem_format(const struct problem *p, struct text *out);

/* Appends the words of the types: "f32 kf16". */
void problem_format_types(const struct problem *p, struct text *out);

/* Appends the words of features, a blank before each. */
void problem_format_features(cl_ulong features, struct text *out);

/* True when each of the words, as in a line of the tuning table, holds for p:
 * d64, d64:32, d33-64, q1-512, k1024-, h8:2, causal, full, band, softcap, fwd, bwd, "*", a
 * feature's.  Words of types hold together: with what they leave out in its default they are the
 * types of p, so that f16 is f16 throughout, and f32 kf16 has k and v in f16; dT alone may be left
 * out for any type of gradients.  On a malformed word returns false and sets *bad to it (NULL
 * otherwise). */
bool problem_matches(const struct problem *p, const char *words, const char **bad);

#endif
