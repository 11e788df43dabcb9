#include "tensor.h"

#include <assert.h>
#include <inttypes.h>
#include <stdint.h>

#include "size.h"
#include "sized.h"

enum { DIMENSIONS = 3 };

enum { BLOCK_ALIGNMENT = 2 }; /* bytes: of the scale that a block begins with */

struct dimension {
    cl_ulong count, stride; /* stride in bytes */
};

/* The bytes of what t's strides and width count: of an element; where elements come in blocks,
 * 1. */
static cl_uint unit_of(clattn_type type) {
    return problem_type_block(type) > 1 ? 1 : problem_type_bytes(type);
}

/* Dimensions with more than one element, innermost stride first.  Returns their number. */
static size_t dimensions_of(const struct tensor *t, struct dimension out[DIMENSIONS]) {
    const cl_uint size = unit_of(t->shape.type);
    assert(t->strides.row >= 0 && t->strides.head >= 0 && t->strides.batch >= 0);
    const struct dimension all[DIMENSIONS] = {
        {t->shape.rows, (cl_ulong)t->strides.row * size},
        {t->shape.heads, (cl_ulong)t->strides.head * size},
        {t->shape.batch, (cl_ulong)t->strides.batch * size},
    };
    size_t n = 0;
    for (size_t i = 0; i < DIMENSIONS; i++) {
        if (all[i].count <= 1) {
            continue;
        }
        size_t at = n++;
        for (; at > 0 && out[at - 1].stride > all[i].stride; at--) {
            out[at] = out[at - 1];
        }
        out[at] = all[i];
    }
    return n;
}

/* Fills root and begin for a buffer; says how many bytes it has. */
static cl_int read_buffer(struct tensor *t, const clattn_tensor *from, cl_context context,
                          cl_ulong *capacity, struct status *status) {
    const char *name = t->name;
    cl_mem_object_type type = 0;
    cl_mem_flags flags = 0;
    cl_context owner = NULL;
    cl_mem parent = NULL;
    size_t size = 0, origin = 0;
    const struct {
        cl_mem_info what;
        size_t size;
        void *value;
    } questions[] = {
        {CL_MEM_TYPE, sizeof type, &type},
        {CL_MEM_FLAGS, sizeof flags, &flags},
        {CL_MEM_CONTEXT, sizeof owner, &owner},
        {CL_MEM_SIZE, sizeof size, &size},
        {CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(void *), &parent},
        {CL_MEM_OFFSET, sizeof origin, &origin},
    };
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        cl_int code = clGetMemObjectInfo(from->buffer, questions[i].what, questions[i].size,
                                         questions[i].value, NULL);
        if (code != CL_SUCCESS) {
            return status_set(status, code, "%s: the driver tells nothing about its buffer", name);
        }
    }
    if (type != CL_MEM_OBJECT_BUFFER) {
        return status_set(status, CL_INVALID_MEM_OBJECT, "%s: its memory object is no buffer",
                          name);
    }
    if (owner != context) {
        return status_set(status, CL_INVALID_CONTEXT, "%s: its buffer is of another context", name);
    }
    if (t->written && flags & CL_MEM_READ_ONLY) {
        return status_set(status, CLATTN_INVALID_TENSOR,
                          "%s: it is written, but its buffer is CL_MEM_READ_ONLY", name);
    }
    if (t->read && flags & CL_MEM_WRITE_ONLY) {
        return status_set(status, CLATTN_INVALID_TENSOR,
                          "%s: it is read, but its buffer is CL_MEM_WRITE_ONLY", name);
    }
    void *host = NULL;
    if (flags & CL_MEM_USE_HOST_PTR) {
        cl_int code = clGetMemObjectInfo(from->buffer, CL_MEM_HOST_PTR, sizeof host, &host, NULL);
        if (code != CL_SUCCESS) {
            return status_set(status, code, "%s: the driver tells nothing about its buffer", name);
        }
    }
    /* Where a driver works on the application's memory itself, that is where it lies. */
    t->aligned = (uintptr_t)host % 16 == 0;
    t->root = parent ? parent : from->buffer;
    t->begin = parent ? origin : 0;
    *capacity = size;
    return CL_SUCCESS;
}

/* Where elements come in blocks, the width and the strides become numbers of bytes. */
static cl_int count_blocks(struct tensor *t, clattn_tensor *given, struct status *status) {
    const cl_uint block = problem_type_block(t->shape.type);
    const cl_uint bytes = problem_type_bytes(t->shape.type);
    const struct {
        const char *name;
        cl_long *value;
    } strides[] = {{"stride_batch", &given->stride_batch},
                   {"stride_head", &given->stride_head},
                   {"stride_row", &given->stride_row}};
    for (size_t i = 0; i < sizeof strides / sizeof *strides && block > 1; i++) {
        if (*strides[i].value % block != 0) {
            return status_set(status, CLATTN_INVALID_TENSOR,
                              "%s: %s %" PRId64 " is not a multiple of the %u elements of a block",
                              t->name, strides[i].name, (int64_t)*strides[i].value, block);
        }
        if (*strides[i].value / block > INT64_MAX / bytes) {
            return status_set(status, CLATTN_OUT_OF_BOUNDS,
                              "%s: %s %" PRId64 " is beyond 2^63 bytes", t->name, strides[i].name,
                              (int64_t)*strides[i].value);
        }
        *strides[i].value = *strides[i].value / block * bytes;
    }
    t->shape.width = block > 1 ? t->shape.width / block * bytes : t->shape.width;
    return CL_SUCCESS;
}

cl_int tensor_check(struct tensor *t, const clattn_tensor *from, cl_context context,
                    const struct device *d, struct status *status) {
    const char *name = t->name;
    const struct operand_shape *shape = &t->shape;
    const cl_uint element_size = unit_of(shape->type);
    const cl_uint step = problem_type_block(shape->type) > 1 ? BLOCK_ALIGNMENT : element_size;
    const cl_int invalid = CLATTN_INVALID_TENSOR;
    clattn_tensor given = CLATTN_TENSOR_INIT;
    cl_int code = sized_copy(&sized_tensor, name, &given, from, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    if (given.buffer && given.svm) {
        return status_set(status, invalid, "%s: it has both a buffer and an SVM pointer", name);
    }
    if (given.offset % step != 0) {
        return status_set(status, invalid, "%s: offset %zu is not a multiple of its %s %u bytes",
                          name, given.offset, step == element_size ? "element's" : "scales'", step);
    }
    if (given.stride_batch < 0 || given.stride_head < 0 || given.stride_row < 0) {
        return status_set(
            status, invalid,
            "%s: a stride is negative (batch %" PRId64 ", head %" PRId64 ", row %" PRId64 ")", name,
            (int64_t)given.stride_batch, (int64_t)given.stride_head, (int64_t)given.stride_row);
    }
    code = count_blocks(t, &given, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    t->strides = (struct strides){(cl_long)(given.offset / element_size), given.stride_batch,
                                  given.stride_head, given.stride_row};
    if (!shape->batch || !shape->heads || !shape->rows || !shape->width) {
        return CL_SUCCESS; /* no elements: its memory is not looked at */
    }
    if (!given.buffer && !given.svm) {
        return status_set(status, invalid, "%s: it has neither a buffer nor an SVM pointer", name);
    }
    cl_ulong elements = given.offset / element_size, bytes = 0, capacity = 0;
    if (!size_add_mul(&elements, shape->batch - 1, (cl_ulong)given.stride_batch) ||
        !size_add_mul(&elements, shape->heads - 1, (cl_ulong)given.stride_head) ||
        !size_add_mul(&elements, shape->rows - 1, (cl_ulong)given.stride_row) ||
        !size_add(elements, shape->width, &elements) || !size_mul(elements, element_size, &bytes) ||
        bytes > INT64_MAX) {
        return status_set(status, CLATTN_OUT_OF_BOUNDS, "%s: its last element is beyond 2^63 bytes",
                          name);
    }
    if (given.buffer) {
        code = read_buffer(t, &given, context, &capacity, status);
        if (code != CL_SUCCESS) {
            return code;
        }
        if (bytes > capacity) {
            return status_set(status, CLATTN_OUT_OF_BOUNDS,
                              "%s: it ends at byte %" PRIu64 ", but its buffer has %" PRIu64, name,
                              (uint64_t)bytes, (uint64_t)capacity);
        }
    } else {
        if (!d->svm) {
            return status_set(status, CLATTN_UNSUPPORTED,
                              "%s: it is an SVM pointer, but the device has no SVM", name);
        }
        t->begin = (cl_ulong)(uintptr_t)given.svm;
        if (bytes > UINT64_MAX - t->begin) {
            return status_set(status, CLATTN_OUT_OF_BOUNDS,
                              "%s: its last element is beyond all addresses", name);
        }
        if (t->begin % step != 0) {
            return status_set(status, invalid,
                              "%s: its SVM pointer is not a multiple of its %s %u bytes", name,
                              step == element_size ? "element's" : "scales'", step);
        }
    }
    t->buffer = given.buffer;
    t->svm = given.svm;
    t->present = true;
    t->end = t->begin + bytes;
    t->begin += given.offset;

    struct dimension dimensions[DIMENSIONS];
    const size_t n = dimensions_of(t, dimensions);
    t->aligned = given.buffer ? t->aligned && given.offset % 16 == 0 && d->base_alignment % 16 == 0
                              : t->begin % 16 == 0;
    for (size_t i = 0; i < n; i++) {
        t->aligned = t->aligned && dimensions[i].stride % 16 == 0;
    }
    /* Blocks are read byte by byte: they keep nobody from wide reads of the other tensors. */
    t->aligned = t->aligned || problem_type_block(shape->type) > 1;
    return CL_SUCCESS;
}

cl_int tensor_check_promise(const struct tensor *t, struct status *status) {
    struct dimension dimensions[DIMENSIONS];
    const bool asked = t->present && problem_type_block(t->shape.type) == 1;
    const size_t n = asked ? dimensions_of(t, dimensions) : 0;
    bool kept = t->aligned || !t->present;
    for (size_t i = 0; i < n; i++) {
        kept = kept && dimensions[i].stride > 0 && dimensions[i].stride >> 40 == 0;
    }
    return kept ? CL_SUCCESS
                : status_set(status, CLATTN_INVALID_TENSOR,
                             "%s: by CLATTN_PROMISE_ALIGNED its start and strides are multiples of "
                             "16 bytes, strides not 0 and below 2^40 bytes (elements: offset "
                             "%" PRId64 ", batch %" PRId64 ", head %" PRId64 ", row %" PRId64 ")",
                             t->name, (int64_t)t->strides.offset, (int64_t)t->strides.batch,
                             (int64_t)t->strides.head, (int64_t)t->strides.row);
}

/* Does an output write some byte twice?  Dimensions, from the smallest stride on, must
 * each step over all that the ones before cover. */
static bool overlaps_itself(const struct tensor *t) {
    struct dimension dimensions[DIMENSIONS];
    const size_t n = dimensions_of(t, dimensions);
    cl_ulong covered = t->shape.width * unit_of(t->shape.type);
    for (size_t i = 0; i < n; i++) {
        if (t->summed && dimensions[i].stride == 0) {
            continue;
        }
        if (dimensions[i].stride < covered) {
            return true;
        }
        covered += dimensions[i].stride * (dimensions[i].count - 1);
    }
    return false;
}

/* The bytes of t modulo `modulus` lie in *width bytes from t->begin on; false when that
 * cannot be said. */
static bool residue_width(const struct tensor *t, cl_ulong modulus, cl_ulong *width) {
    struct dimension dimensions[DIMENSIONS];
    const size_t n = dimensions_of(t, dimensions);
    *width = t->shape.width * unit_of(t->shape.type);
    for (size_t i = 0; i < n; i++) {
        if (dimensions[i].stride % modulus == 0) {
            continue;
        }
        if (dimensions[i].stride > modulus ||
            !size_add_mul(width, dimensions[i].count - 1, dimensions[i].stride)) {
            return false;
        }
    }
    return *width <= modulus;
}

/* Tensors packed into one buffer interleave: their ranges cross, their bytes do not.
 * With R a stride of both (up to multiples), they share no byte when their residues
 * modulo R do not. */
static bool interleave(const struct tensor *a, const struct tensor *b) {
    struct dimension dimensions[DIMENSIONS];
    const size_t n = dimensions_of(a, dimensions);
    for (size_t i = 0; i < n; i++) {
        const cl_ulong modulus = dimensions[i].stride;
        cl_ulong a_width, b_width;
        if (modulus == 0 || !residue_width(a, modulus, &a_width) ||
            !residue_width(b, modulus, &b_width)) {
            continue;
        }
        const cl_ulong apart = (b->begin % modulus + modulus - a->begin % modulus) % modulus;
        if (apart >= a_width && apart + b_width <= modulus) {
            return true;
        }
    }
    return false;
}

/* Is each element of one an element of the other at the same place? */
static bool coincide(const struct tensor *a, const struct tensor *b) {
    return a->begin == b->begin && a->end == b->end && a->shape.type == b->shape.type &&
           a->strides.batch == b->strides.batch && a->strides.head == b->strides.head &&
           a->strides.row == b->strides.row;
}

cl_int tensor_check_overlap(const struct tensor *output, const struct tensor *others, size_t count,
                            bool in_place, struct status *status) {
    if (!output->present) {
        return CL_SUCCESS;
    }
    const char *name = output->name;
    assert(output->written);
    if (overlaps_itself(output)) {
        return status_set(status, CLATTN_OVERLAP, "%s: its strides make rows overlap", name);
    }
    for (size_t i = 0; i < count; i++) {
        const struct tensor *other = &others[i];
        if (other == output || !other->present || other->root != output->root ||
            other->end <= output->begin || output->end <= other->begin) {
            continue;
        }
        const bool same = in_place && !other->written && coincide(output, other);
        if (!same && !interleave(output, other) && !interleave(other, output)) {
            return status_set(status, CLATTN_OVERLAP, "%s: it shares bytes with %s", name,
                              other->name);
        }
    }
    return CL_SUCCESS;
}
