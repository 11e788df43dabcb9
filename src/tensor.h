/*
 * tensor - a caller's tensor, checked before the driver sees it.
 */
#ifndef TENSOR_H
#define TENSOR_H

#include <stdbool.h>

#include "device.h"
#include "operand.h"
#include "params.h"
#include "status.h"

struct tensor {
    /* What is asked for. */
    const char *name; /* "q", for sentences */
    struct operand_shape shape;
    bool read, written;

    /* What passed the checks. */
    cl_mem buffer;          /* as the kernel gets it; NULL when svm or empty */
    void *svm;              /* likewise */
    bool present;           /* false: no elements, or an lse that is not asked for */
    struct strides strides; /* elements */
    bool aligned;           /* every row starts at a multiple of 16 bytes */
    const void *root;       /* the memory object that holds it all; NULL for SVM */
    cl_ulong begin, end;    /* bytes touched, from root's start, or addresses */
};

/* Checks memory, offset, strides and extent of the caller's tensor against what t asks for; fills
 * the rest of t, which is zeroed. */
cl_int tensor_check(struct tensor *t, const clattn_tensor *from, cl_context context,
                    const struct device *d, struct status *status);

/* Refuses an output that shares bytes with itself or with any of count others. */
cl_int tensor_check_overlap(const struct tensor *output, const struct tensor *others, size_t count,
                            struct status *status);

#endif
