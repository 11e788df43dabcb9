/*
 * tensor - a caller's tensor, checked before the driver sees it.
 */
#ifndef TENSOR_H
#define TENSOR_H

#include <stdbool.h>
#include "device.h"
#include "params.h"
#include "status.h"

/* What the problem says a tensor is. */
struct tensor_shape {
    const char *name;                   /* "q", for sentences */
    cl_ulong batch, heads, rows, width; /* width: elements of a row */
    cl_uint element_size;
    bool read, written;
};

/* A tensor that passed the checks. */
struct tensor {
    struct tensor_shape shape;
    cl_mem buffer;          /* as the kernel gets it; NULL when svm or empty */
    void *svm;              /* likewise */
    bool present;           /* false: no elements, or an lse that is not asked for */
    struct strides strides; /* elements */
    bool aligned;           /* every row starts at a multiple of 16 bytes */
    const void *root;       /* the memory object that holds it all; NULL for SVM */
    cl_ulong begin, end;    /* bytes touched, from root's start, or addresses */
};

/* Checks memory, offset, strides and extent; fills t. */
cl_int tensor_check(struct tensor *t, const clattn_tensor *from, const struct tensor_shape *shape,
                    cl_context context, const struct device *d, struct status *status);

/* Refuses an output that shares bytes with itself or with any of count others. */
cl_int tensor_check_overlap(const struct tensor *output, const struct tensor *others, size_t count,
                            struct status *status);

#endif
