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
enum operand_index { OPERAND_Q, OPERAND_K, OPERAND_V, OPERAND_O, OPERAND_LSE, OPERANDS };

/* A set of operands has bit i for operand i, and one bit for the workspace, which is no operand:
 * floats without a shape, a kernel's last argument. */
#define OPERAND_BIT(i) (1u << (i))
enum { OPERAND_WORKSPACE = OPERANDS };

/* Among the bits by which kernels are told of each operand's alignment: q, k, v and o, all of them.
 */
enum { OPERANDS_TOGETHER = OPERANDS };

/* What a call asks for. */
struct operand_lengths {
    cl_uint batch, seq_q, seq_kv;
};

struct operand_shape {
    cl_ulong batch, heads, rows, width; /* width: elements of a row */
    cl_uint element_size;
};

struct operand {
    const char *name; /* in args, sentences and kernels */
    const char
        *element;  /* the type of an element in kernels: "element" (the problem's) or "float" */
    bool optional; /* a call may leave it out */
    struct operand_shape (*shape)(const struct problem *p, const struct operand_lengths *n);
    cl_ulong feature; /* the bit of features_table that brings it; 0: it is always there */
    size_t extra;     /* with a feature: the offset of its member in clattn_extras */
};

extern const struct operand operands_table[OPERANDS];

/* The set of words, "q k v" or "lse workspace"; NULL: none.  All words must be known. */
cl_uint operand_set(const char *words);

/* Takes the tensors of the features out of a struct clattn_extras: given[i] for operand i of the
 * table, whose number is in the set *taken then.  Refuses a tensor that `features` does not bring,
 * and a missing one that is not optional. */
cl_int operand_take_extras(const struct operand *table, size_t count, cl_ulong features,
                           const void *extras, const clattn_tensor **given, cl_uint *taken,
                           struct status *status);

#endif
