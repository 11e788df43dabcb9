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
    /* Set before the checks. */
    const char *name; /* "q", for sentences */
    struct operand_shape shape;
    bool read, written;
    bool summed; /* written: a dimension of stride 0 has one element, a sum */

    /* Filled by the checks. */
    cl_mem buffer;          /* the kernel's argument; NULL when svm or empty */
    void *svm;              /* the kernel's argument; NULL when buffer or empty */
    bool present;           /* false: no elements, or an optional tensor that is not given */
    struct strides strides; /* elements; bytes where these come in blocks, as shape.width then */
    bool aligned;           /* every row starts at a multiple of 16 bytes */
    const void *root;       /* the buffer, or the parent of a sub-buffer; NULL for SVM */
    cl_ulong begin, end;    /* the bytes of the tensor, counted from root's start; SVM: addresses */
};

/* Checks memory, offset, strides and extent of the caller's tensor against what t asks for; fills
 * the rest of t, which is zeroed. */
cl_int tensor_check(struct tensor *t, const clattn_tensor *from, cl_context context,
                    const struct device *d, struct status *status);

/* Refuses a checked tensor that breaks CLATTN_PROMISE_ALIGNED. */
cl_int tensor_check_promise(const struct tensor *t, struct status *status);

/* Refuses an output that shares bytes with itself or with any of count others.  in_place: an input
 * of its type may lie exactly where it lies. */
cl_int tensor_check_overlap(const struct tensor *output, const struct tensor *others, size_t count,
                            bool in_place, struct status *status);

#endif
