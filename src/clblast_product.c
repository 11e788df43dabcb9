/*
 * Each call gets buffers of its own, cut out of the large ones: CLBlast's strided products ignore
 * offsets, and distances of matrices, of what they need not copy (1.5.3).  What has offsets here,
 * columns of b and c, rows of a and of b, is always copied: the rows are longer.
 *
 * Row-major matrices are passed as the transposes of column-major ones, which spares
 * CLBlast a transposed copy of c.
 */
#include "clblast_product.h"

#ifndef CLATTN_HAVE_CLBLAST

const char *clblast_missing(void) {
    return "this build of clattn has no CLBlast";
}

cl_int clblast_product(const struct product *product, cl_command_queue queue,
                       struct status *status) {
    (void)product;
    (void)queue;
    return status_set(status, CLATTN_UNSUPPORTED, "standard: %s", clblast_missing());
}

#else

#include <clblast_c.h>

const char *clblast_missing(void) {
    return NULL;
}

/* A buffer that is `rows` rows of each of `count` matrices, and begins with them.  It is cut out of
 * the parent, as parts have none. */
static cl_int cut(const struct matrices *of, cl_ulong skipped, cl_ulong rows, cl_ulong count,
                  cl_mem *part, struct status *status) {
    cl_mem parent = NULL;
    size_t origin = 0;
    cl_int code =
        clGetMemObjectInfo(of->buffer, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(cl_mem), &parent, NULL);
    if (code == CL_SUCCESS) {
        code = clGetMemObjectInfo(of->buffer, CL_MEM_OFFSET, sizeof origin, &origin, NULL);
    }
    const cl_buffer_region region = {origin + (size_t)(of->first + skipped),
                                     (size_t)(4 * count * rows * of->width)};
    if (code == CL_SUCCESS) {
        *part = clCreateSubBuffer(parent ? parent : of->buffer, 0, CL_BUFFER_CREATE_TYPE_REGION,
                                  &region, &code);
    }
    if (code != CL_SUCCESS) {
        *part = NULL;
        status_set(status, code, "product: the driver cuts no part of a buffer");
    }
    return code;
}

static void release(cl_mem part) {
    if (part) {
        clReleaseMemObject(part);
    }
}

/* Adds the product of the block that begins at term `from` to its segment's sum in c, or begins
 * that sum. */
static cl_int multiply_block(const struct product *p, cl_ulong from, cl_mem b, cl_mem c,
                             cl_command_queue queue, struct status *status) {
    enum { LOWEST_OF_OPENCL = -100 };
    static const CLBlastTranspose transposes[] = {CLBlastTransposeNo, CLBlastTransposeYes};
    const cl_ulong left = p->inner - from;
    const size_t inner = (size_t)(left < p->block ? left : p->block);
    const size_t rows = (size_t)p->c.rows,
                 rows_a = p->a_step && !p->transpose_a ? inner : (size_t)p->a.rows;
    const size_t width_a = (size_t)p->a.width, width_b = (size_t)p->b.width,
                 width_c = (size_t)p->c.width, columns = (size_t)p->columns;
    const size_t at_a = p->a_step ? 0 : (size_t)from * width_a;
    const size_t at_b = (size_t)from * (p->transpose_b ? width_b : 1);
    const size_t at_c = (size_t)(from / p->segment) * columns;
    cl_mem a = NULL;
    cl_int code = cut(&p->a, from / p->block * p->a_step, rows_a, p->count, &a, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    const int number = (int)CLBlastSgemmStridedBatched(
        CLBlastLayoutColMajor, transposes[p->transpose_a], transposes[p->transpose_b], columns,
        rows, inner, 1.0f, a, at_a, width_a, width_a * rows_a, b, at_b, width_b,
        width_b * (size_t)p->b.rows, from % p->segment ? 1.0f : 0.0f, c, at_c, width_c,
        width_c * rows, (size_t)p->count, &queue, NULL);
    if (number != CL_SUCCESS) {
        code = status_set(status, number > LOWEST_OF_OPENCL ? number : CLATTN_INTERNAL,
                          "product: CLBlast fails with %d", number);
    } else if ((code = clEnqueueBarrierWithWaitList(queue, 0, NULL, NULL)) != CL_SUCCESS) {
        status_set(status, code, "product: the driver refuses a barrier");
    }
    release(a);
    return code;
}

cl_int clblast_product(const struct product *p, cl_command_queue queue, struct status *status) {
    cl_mem b = NULL, c = NULL;
    cl_int code = cut(&p->b, 0, p->b.rows, p->count, &b, status);
    if (code == CL_SUCCESS) {
        code = cut(&p->c, 0, p->c.rows, p->count, &c, status);
    }
    cl_ulong from = 0;
    do {
        code = code == CL_SUCCESS ? multiply_block(p, from, b, c, queue, status) : code;
        from += p->block;
    } while (code == CL_SUCCESS && from < p->inner);
    release(b);
    release(c);
    return code;
}

#endif
