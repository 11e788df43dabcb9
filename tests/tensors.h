/*
 * The tensors of a pass, in memory laid out to catch mistakes.
 *
 * Every byte of every allocation has a known value before a run.  Live elements
 * hold the data; all others hold a fill: zero, or a poison whose use shows.  Not
 * live are guard zones around the tensors, stride gaps, rows and batches beyond
 * what the enqueue asks for, keys that no query sees, queries that see no key,
 * the outputs and the workspace.  After the run the outputs' live elements are
 * compared by the caller, and tensors_intact compares every other byte.
 */
#ifndef TESTS_TENSORS_H
#define TESTS_TENSORS_H

#include <stdbool.h>
#include <stddef.h>

#include "clattn.h"
#include "reference.h"

enum tensors_layout {
    LAYOUT_BHSD,      /* dense [batch, heads, rows, dim] at offset 0 */
    LAYOUT_BSHD,      /* dense [batch, rows, heads, dim] */
    LAYOUT_PACKED,    /* q, k and v in one buffer [batch, rows, (q heads, k heads, v heads)] */
    LAYOUT_PADDED,    /* bhsd with odd gaps after each row, head and batch, at an odd offset */
    LAYOUT_BROADCAST, /* one k and v for all batches and heads: strides 0 */
    LAYOUT_COUNT
};
extern const char *const tensors_layout_names[LAYOUT_COUNT];

enum tensors_fill { FILL_ZERO, FILL_NAN, FILL_INF, FILL_MINUS_INF, FILL_ONES, FILL_COUNT };
extern const char *const tensors_fill_names[FILL_COUNT];

/* Those behind lse are of a backward pass, and alibi ... sink of a desc with that feature. */
enum tensors_name {
    TENSOR_Q,
    TENSOR_K,
    TENSOR_V,
    TENSOR_O,
    TENSOR_LSE,
    TENSOR_D_O,
    TENSOR_D_LSE,
    TENSOR_D_Q,
    TENSOR_D_K,
    TENSOR_D_V,
    TENSOR_ALIBI,
    TENSOR_BIAS,
    TENSOR_MASK,
    TENSOR_SINK,
    TENSOR_LENGTHS_KV, /* unlike in each sequence: drawn of no kind */
    TENSOR_D_BIAS,     /* outputs of a backward pass with the feature, with strides 0 as of bias */
    TENSOR_D_SINK,
    TENSOR_COUNT
};

/* How the elements of an input are drawn; each kind is multiplied by a size. */
enum tensors_kind {
    KIND_UNIFORM,  /* in +-1 */
    KIND_POSITIVE, /* uniform in 0 ... 1 */
    KIND_SIGNS,    /* -1 or 1 */
    KIND_VALUE,    /* 1 */
    KIND_ROWS,     /* uniform in +-1, each row the same within its head */
    KIND_REST,     /* 1 in the first column of every row but the first, else 0 */
    KIND_LATE,     /* -1 or 1; the first 260 rows 2^-12 of it */
    KIND_EARLY,    /* -1 in the first 260 rows; then -2^-24 or 2^-24 */
    KIND_EDGE,     /* q alone: in +-0.5; first column -355.8 to -355.3 */
    KIND_STEEP,    /* in +-0.5; first column 1 to 1.003 in the first 130 rows, then 0.998 */
    KIND_HOLES,    /* uniform in +-1, and -INFINITY: of a mask and a bias, which hides keys, some of
                      them from all, and all keys from some queries */
    KIND_LOWEST,   /* likewise, and the lowest number in each third row */
    KIND_MATCH,    /* q alone: a row is a row of the head's k, which so scores highest */
    KIND_COUNT
};
extern const char *const tensors_kind_names[KIND_COUNT];

struct tensors_input {
    enum tensors_kind kind;
    double size;
};

/* What to lay out.  desc gives the capacity, in normal form (reference.h). */
struct tensors_desc {
    clattn_desc desc;
    enum tensors_layout layout;
    cl_uint batch, seq_q, seq_kv;             /* what the enqueue asks for */
    struct tensors_input input[TENSOR_COUNT]; /* of those that are drawn */
    cl_uint seed;
    bool lse; /* forward: it is written; backward: d_lse is given */
    bool svm;
    bool workspace_svm;
    bool tight;       /* no guard zones: reading past the end leaves the allocation */
    size_t workspace; /* bytes */
};

struct tensors_memory {
    const char *name;
    clattn_type type; /* of the fill */
    size_t bytes;
    size_t scratch_at, scratch_bytes; /* what a run may overwrite: the workspace proper */
    unsigned char *image;             /* before the run */
    unsigned char *result;            /* after it */
    cl_mem buffer;
    void *svm;
};

struct tensors_view {
    struct tensors_memory *memory;
    clattn_type type;
    cl_uint batch, heads, rows, dim; /* live */
    size_t offset;                   /* bytes */
    size_t stride_batch, stride_head, stride_row;
};

/* With stride 0: bias and mask have the same for all heads and batches where k and v have
 * (LAYOUT_BROADCAST), and the same for all heads and queries where q, k and v are packed. */
enum { TENSORS_MEMORIES = TENSOR_COUNT + 1 }; /* an enqueue reads and writes no more */

struct tensors {
    struct tensors_desc what;
    clattn_desc live;                    /* what.desc with the enqueue's lengths */
    float *data[TENSOR_COUNT];           /* dense, decoded, exact in their type; NULL: no input */
    unsigned char *stored[TENSOR_COUNT]; /* the same, as stored */
    struct tensors_view view[TENSOR_COUNT];
    struct tensors_memory memory[TENSORS_MEMORIES];
    size_t memories;
    struct tensors_memory *workspace; /* one of them, or NULL */
    cl_context context;
};

/* Allocates on both sides.  Ends the test on failure.  scale: of the reference's o and lse. */
void tensors_make(struct tensors *tensors, const struct tensors_desc *what, float scale,
                  cl_context context);
void tensors_free(struct tensors *tensors);

/* Which tensors the pass has, and which of them it reads.  o and lse, where they are read, are the
 * reference's for q, k and v. */
bool tensors_has(const struct tensors *tensors, enum tensors_name name);
bool tensors_is_input(const struct tensors *tensors, enum tensors_name name);

/* The tensors of its features. */
struct reference_extras tensors_extras(const struct tensors *tensors);

/* Sets all images: data where live, the fill elsewhere. */
void tensors_fill(struct tensors *tensors, enum tensors_fill fill);

/* Byte of an element in its memory; of blocks, of the one that it is in. */
size_t tensors_at(const struct tensors_view *view, cl_uint batch, cl_uint head, cl_uint row,
                  cl_uint column);

/* Starts copying the images to the device; events (TENSORS_MEMORIES of them) are
 * the caller's to release. */
void tensors_upload(struct tensors *tensors, cl_command_queue queue, cl_event *events,
                    cl_uint *event_count);

/* Copies everything back once done has happened. */
void tensors_download(struct tensors *tensors, cl_command_queue queue, cl_event done);

/* The args of the enqueue, of its pass; they point into slots. */
struct tensors_args {
    clattn_forward_args args;
    clattn_backward_args backward;
    clattn_extras extras;
    clattn_tensor tensor[TENSOR_COUNT];
};
void tensors_arguments(const struct tensors *tensors, float scale, struct tensors_args *slots);

/* The live elements of a result, dense, as stored; to be freed. */
void *tensors_take(const struct tensors *tensors, enum tensors_name name, size_t *count);

/* Is every byte but the outputs' live elements as it was?  If not, says where. */
bool tensors_intact(const struct tensors *tensors);

#endif
