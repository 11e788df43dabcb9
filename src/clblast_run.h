/*
 * clblast_run - what the baselines standard and bwd_standard share: kernels and CLBlast's products
 * take turns, on parts of a workspace of floats, on any queue.
 */
#ifndef CLBLAST_RUN_H
#define CLBLAST_RUN_H

#include "clblast_product.h"
#include "solvers.h"

/* Floats to which the workspace's parts are aligned (and bytes of the most that a
 * device may ask of a buffer), and those to which the rows of the scores are. */
#define PART_FLOATS 1024
#define ROW_FLOATS 16
#define PRODUCT_KEYS 128 /* 32 calls of CLBlast a segment; with 256 the sums drift */
enum { PART_BYTES = 4 * PART_FLOATS };

/* A constant's line for the kernels. */
#define CLBLAST_CONSTANT(name) "#define " #name " " CLBLAST_TEXT(name) "\n"
#define CLBLAST_TEXT(macro) CLBLAST_TEXT_OF(macro)
#define CLBLAST_TEXT_OF(tokens) #tokens

/* One enqueue. */
struct clblast_run {
    const struct launch *launch;
    struct status *status;
    struct problem problem; /* with the lengths asked for */
    cl_ulong start;         /* floats of the workspace's buffer before the first part */
};

/* NULL, or one sentence that says why the device or this build cannot run CLBlast, or why it cannot
 * count the elements of scores with rows of `stride` floats, or of tensors with rows of `wider`. */
const char *clblast_run_refuses(const struct problem *p, const struct device *d, cl_ulong stride,
                                cl_ulong wider);

/* The rules of WORK_GROUP, a power of two with `local` floats for each work-item, and LANES. */
cl_int clblast_run_legal(const struct device *d, long long group, long long lanes, long long local,
                         struct status *status);

/* Their candidate i.  False behind the last one. */
bool clblast_run_candidate(const struct problem *p, const struct device *d, size_t i,
                           long long *group, long long *lanes);

/* Floats of a part that holds so many, and with those of alignment the bytes of a workspace whose
 * parts have so many: the caller's offset may be anything, and they begin up to PART_BYTES on. */
cl_ulong clblast_run_part_floats(cl_ulong floats);
cl_ulong clblast_run_bytes(cl_ulong floats);

/* Waits for what the launch waits for. */
cl_int clblast_run_begin(struct clblast_run *run, const struct launch *l, struct status *status);

/* What is enqueued next waits for all before, on an out-of-order queue, too.  code: what became of
 * the step before; passed on if it failed. */
cl_int clblast_run_next(const struct clblast_run *run, cl_int code);

/* Runs a kernel whose workspace begins at float `part`. */
cl_int clblast_run_kernel(const struct clblast_run *run, size_t kernel, cl_ulong part);

/* Matrices of which the first begins at float `part`. */
struct matrices clblast_run_part(const struct clblast_run *run, cl_ulong part, cl_ulong rows,
                                 cl_ulong width);

/* Sets the caller's event. */
cl_int clblast_run_end(const struct clblast_run *run, cl_int code);

#endif
