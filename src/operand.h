/*
 * operand - the tensors that a pass names, in one table: a new tensor is a line of it.
 *
 * Checks of a call, kernels' arguments and strides all follow the table.
 */
#ifndef OPERAND_H
#define OPERAND_H

#include <stdbool.h>

#include "problem.h"

/* In the order of the kernels' arguments. */
enum operand_index {
    OPERAND_Q,
    OPERAND_K,
    OPERAND_V,
    OPERAND_O,
    OPERAND_LSE,
    OPERAND_D_O,
    OPERAND_D_LSE,
    OPERAND_D_Q,
    OPERAND_D_K,
    OPERAND_D_V,
    OPERAND_O_1,
    OPERAND_LSE_1,
    OPERAND_O_2,
    OPERAND_LSE_2,
    OPERANDS = 30 /* at most, with those of features, which have no names here */
};

/* A set of operands has bit i for operand i, and one bit for the workspace, which is no operand:
 * floats without a shape, a kernel's last argument. */
#define OPERAND_BIT(i) (1u << (i))
enum { OPERAND_WORKSPACE = OPERANDS };

/* The operands that CLATTN_PROMISE_ALIGNED is about. */
enum {
    OPERANDS_WIDE = OPERAND_BIT(OPERAND_Q) | OPERAND_BIT(OPERAND_K) | OPERAND_BIT(OPERAND_V) |
                    OPERAND_BIT(OPERAND_O)
};

/* params.aligned has bit i for operand i, and this bit where q, k and v are all aligned. */
enum { OPERANDS_TOGETHER = OPERANDS };

/* The lengths of a call. */
struct operand_lengths {
    cl_uint batch, seq_q, seq_kv;
};

struct operand_shape {
    cl_ulong batch, heads, rows, width; /* width: elements of a row */
    clattn_type type;                   /* of an element */
};

struct operand {
    const char *name; /* in args, sentences and kernels */
    struct operand_shape (*shape)(const struct problem *p, const struct operand_lengths *n);
    cl_ulong feature; /* the bit of the feature that has this tensor; 0: a pass has it (pass.h) */
    bool optional;    /* with a feature: a call may leave it out */
    size_t extra;     /* with a feature: the offset of the tensor's member in clattn_extras */
    bool gradient; /* with a feature: a backward pass writes it; where a stride is 0 it is the sum
                      over that dimension */
};

extern const struct operand operands_table[];
extern const size_t operands_count;

/* The type of the operand's elements. */
clattn_type operand_type(const struct operand *operand, const struct problem *p);

/* The set that the words name, "q k v" or "lse workspace"; NULL names no operand.  All words must
 * be known.  "scores" names the operands of all features that change scores. */
cl_uint operand_set(const char *words);

/* The set of all operands of a problem with these features, and the workspace. */
cl_uint operand_set_of_features(cl_ulong features);

/* The set of those with `gradient`. */
cl_uint operand_gradients(void);

/* Copies the tensors of `features` out of a struct clattn_extras: operand i of the table into
 * given[i], and i into the set *taken.  Refuses a tensor whose feature is not among `features`, and
 * a missing tensor that is not optional. */
cl_int operand_take_extras(const struct operand *table, size_t count, cl_ulong features,
                           const void *extras, const clattn_tensor **given, cl_uint *taken,
                           struct status *status);

#endif
