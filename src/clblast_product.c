/*
 * CLBlast's kernels take sizes and offsets as 32-bit integers, so each call gets buffers
 * of its own, cut out of the large ones, and so many matrices (or rows of one) as fit.
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

/* Matrices of one call; the least rows of a piece, which begin where any buffer may. */
enum { MOST_MATRICES = 1 << 15, STEP = 1024 };

/* What is multiplied in one go, block by block. */
struct piece {
    cl_ulong matrix, count;
    cl_ulong row, rows; /* of b and c; all of them unless count is 1 */
};

const char *clblast_missing(void) {
    return NULL;
}

static cl_ulong smaller(cl_ulong a, cl_ulong b) {
    return a < b ? a : b;
}

static cl_ulong larger(cl_ulong a, cl_ulong b) {
    return a > b ? a : b;
}

/* A buffer that is `rows` rows of each of the piece's matrices, from row `row` on.
 * rest: floats in it before them.  A part is cut out of the parent, as parts have none. */
static cl_int cut(const struct matrices *of, const struct piece *piece, cl_ulong row, cl_ulong rows,
                  cl_ulong alignment, cl_mem *part, size_t *rest) {
    cl_mem parent = NULL;
    size_t origin = 0;
    cl_int code =
        clGetMemObjectInfo(of->buffer, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(cl_mem), &parent, NULL);
    if (code == CL_SUCCESS) {
        code = clGetMemObjectInfo(of->buffer, CL_MEM_OFFSET, sizeof origin, &origin, NULL);
    }
    const cl_ulong bytes = 4 * piece->count * rows * of->width;
    const cl_ulong begin = origin + of->first + 4 * of->width * (piece->matrix * of->rows + row);
    const cl_ulong more = begin % alignment;
    const cl_buffer_region region = {(size_t)(begin - more), (size_t)(bytes + more)};
    *rest = (size_t)(more / 4);
    if (code == CL_SUCCESS) {
        *part = clCreateSubBuffer(parent ? parent : of->buffer, 0, CL_BUFFER_CREATE_TYPE_REGION,
                                  &region, &code);
    }
    if (code != CL_SUCCESS) {
        *part = NULL;
    }
    return code;
}

/* The a's of the block that begins at row `from`. */
static struct matrices block_of(const struct product *p, cl_ulong from) {
    struct matrices a = p->a;
    if (p->block) {
        a.first += from / p->block * p->a_step;
        a.rows = smaller(p->block, p->inner - from);
    }
    return a;
}

/*
 * Adds the product of a block to c, or begins there.
 *
 * Strided products ignore offsets, and distances of matrices, of what they need not copy (1.5.3).
 * So a piece that begins where no buffer may is for the plain product, and is one matrix.  Columns
 * of b or c, which have offsets here, are always copied: their rows are longer.
 */
static CLBlastStatusCode call(const struct product *p, const struct piece *piece,
                              const struct matrices *of_a, cl_ulong from, const cl_mem part[3],
                              const size_t rest[3], cl_command_queue queue) {
    const CLBlastTranspose transpose = p->transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo;
    const size_t m = (size_t)(p->transpose_a ? of_a->rows : of_a->width);
    const size_t n = (size_t)piece->rows, inner = (size_t)(p->block ? of_a->rows : p->inner);
    const size_t a = (size_t)p->a.width, b = (size_t)p->b.width, c = (size_t)p->c.width;
    const cl_ulong segment = p->segment ? from / p->segment : 0;
    const float before = from == segment * p->segment ? 0.0f : 1.0f;
    const size_t at_b = rest[1] + (size_t)from, at_c = rest[2] + (size_t)segment * m;
    if (rest[0] || rest[1] || rest[2]) {
        return CLBlastSgemm(CLBlastLayoutColMajor, transpose, CLBlastTransposeNo, m, n, inner, 1.0f,
                            part[0], rest[0], a, part[1], at_b, b, before, part[2], at_c, c, &queue,
                            NULL);
    }
    return CLBlastSgemmStridedBatched(CLBlastLayoutColMajor, transpose, CLBlastTransposeNo, m, n,
                                      inner, 1.0f, part[0], 0, a, a * (size_t)of_a->rows, part[1],
                                      at_b, b, b * n, before, part[2], at_c, c, c * n,
                                      (size_t)piece->count, &queue, NULL);
}

static void release(cl_mem part) {
    if (part) {
        clReleaseMemObject(part);
    }
}

/* part, rest: of a, b and c; those of b and c are there. */
static cl_int multiply_block(const struct product *p, const struct piece *piece, cl_ulong from,
                             cl_mem part[3], size_t rest[3], cl_command_queue queue,
                             struct status *status) {
    const struct matrices a = block_of(p, from);
    cl_int code = cut(&a, piece, 0, a.rows, p->alignment, &part[0], &rest[0]);
    if (code != CL_SUCCESS) {
        return status_set(status, code, "product: the driver cuts no part of a buffer");
    }
    enum { LOWEST_OF_OPENCL = -100 };
    const int number = (int)call(p, piece, &a, from, part, rest, queue);
    if (number != CL_SUCCESS) {
        code = status_set(status, number > LOWEST_OF_OPENCL ? number : CLATTN_INTERNAL,
                          "product: CLBlast fails with %d", number);
    } else if (p->unordered && p->block &&
               (code = clEnqueueBarrierWithWaitList(queue, 0, NULL, NULL)) != CL_SUCCESS) {
        status_set(status, code, "product: the driver refuses a barrier");
    }
    release(part[0]);
    return code;
}

static cl_int multiply(const struct product *p, const struct piece *piece, cl_command_queue queue,
                       struct status *status) {
    cl_mem part[3] = {NULL};
    size_t rest[3] = {0};
    cl_int code = cut(&p->b, piece, piece->row, piece->rows, p->alignment, &part[1], &rest[1]);
    if (code == CL_SUCCESS) {
        code = cut(&p->c, piece, piece->row, piece->rows, p->alignment, &part[2], &rest[2]);
    }
    if (code != CL_SUCCESS) {
        status_set(status, code, "product: the driver cuts no part of a buffer");
    } else {
        cl_ulong from = 0;
        do {
            code = multiply_block(p, piece, from, part, rest, queue, status);
            from += p->block ? p->block : p->inner;
        } while (code == CL_SUCCESS && from < p->inner);
    }
    release(part[1]);
    release(part[2]);
    return code;
}

/* Does the matrix, of so many floats, begin where a buffer may? */
static bool begins_aligned(const struct product *p, cl_ulong matrix, cl_ulong floats) {
    return 4 * matrix * floats % p->alignment == 0;
}

cl_int clblast_product(const struct product *p, cl_command_queue queue, struct status *status) {
    const struct matrices a = block_of(p, 0),
                          last = block_of(p, p->block ? (p->inner - 1) / p->block * p->block : 0);
    const cl_ulong size_a = a.rows * a.width;
    const cl_ulong width = larger(p->b.width, p->c.width), size = p->b.rows * width;
    const cl_ulong together =
        larger(1, smaller(MOST_MATRICES, p->most / larger(1, larger(size, size_a))));
    const cl_ulong rows = size <= p->most ? p->b.rows : larger(1, p->most / width / STEP) * STEP;
    cl_int code = CL_SUCCESS;
    struct piece piece = {0};
    for (; piece.matrix < p->count && code == CL_SUCCESS; piece.matrix += piece.count) {
        const bool aligned = begins_aligned(p, piece.matrix, size_a) &&
                             begins_aligned(p, piece.matrix, last.rows * last.width) &&
                             begins_aligned(p, piece.matrix, p->b.rows * p->b.width) &&
                             begins_aligned(p, piece.matrix, p->c.rows * p->c.width);
        piece.count = smaller(aligned ? together : 1, p->count - piece.matrix);
        for (piece.row = 0; piece.row < p->b.rows && code == CL_SUCCESS; piece.row += piece.rows) {
            piece.rows = smaller(rows, p->b.rows - piece.row);
            code = multiply(p, &piece, queue, status);
        }
    }
    return code;
}

#endif
