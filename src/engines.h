/*
 * engines - the matrix engines for which clattn has a kernel part, cl/engine_<name>.cl.
 *
 * A table of architectures alone never decides that a device has an engine: a program of a few
 * lines that calls the engine's instruction has to build for the device.
 */
#ifndef ENGINES_H
#define ENGINES_H

#include "device.h"
#include "text.h"

struct engine {
    const char *name; /* of the part, and in device.matrix */

    /* Words, separated by blanks: the engine is tried on a device whose architecture begins with
     * one of them.  NULL: on no device, the engine is for tests.  AMD's compiler ends the process
     * at an instruction that the chip lacks, so only chips that have the instruction may match. */
    const char *architectures;

    /* The OpenCL extension that tells which of these devices should have the engine: only there a
     * program that does not build is reported.  NULL: all of these devices should. */
    const char *extension;

    /* As cl/engine_<name>.cl defines them: ENGINE_LANES, ENGINE_QUERIES, ENGINE_LEFT and
     * ENGINE_RIGHT (the elements of a left and of a right operand in each lane). */
    cl_uint lanes, queries, left, right;

    /* Limits within which fwd_mma's formula stays, so that compilers keep the variables of a
     * work-item in registers.  floats: the most 32-bit values that a work-item may have in its sums
     * of O, its scores and its addresses together.  address: as how many such values the address of
     * each chunk of K or V counts that the work-item copies; where all its chunks of a tile lie in
     * one column (ENGINE_STAYS in cl/engine_move.cl), their addresses are constants apart and count
     * as nothing.  keys: the most keys of a block. */
    cl_uint floats, address, keys;

    /* As floats, for bwd_mma, whose work-items hold scores and the gradients of weights: beside the
     * sums of one gradient, and beside those of d_k and d_v together. */
    cl_uint one_gradient, two_gradients;

    const char *options; /* of the compiler, after SOURCES_OPTIONS and ENGINES_OPTIONS; or "" */
};

/* An option of the compiler, for the kernels of every engine: denormal floats may become 0.  In
 * sums that are rounded to 16-bit elements this changes nothing.  All measurements of engines were
 * taken with this option.  The option does not make NVIDIA's native_exp2 shorter; base_exp2_native
 * (cl/base.cl) is for that. */
#define ENGINES_OPTIONS "-cl-denorms-are-zero"

/* The last entry has a NULL name. */
extern const struct engine engines_table[];

/* The engine whose name is chars[0..length), NULL when there is none. */
const struct engine *engines_find(const char *chars, size_t length);

/* The first engine of device.matrix, NULL when there is none. */
const struct engine *engines_first(const struct device *d);

/* Is the engine one of device.matrix? */
bool engines_has(const struct device *d, const struct engine *engine);

/* Appends the program that builds only for devices that have the engine, and the options to build
 * the program with, which are those of fwd_mma with that engine. */
void engines_probe_text(const struct engine *engine, struct text *out);
void engines_probe_options(const struct engine *engine, struct text *out);

/* Sets d->matrix to the first engine for the device's architecture whose program builds.  Appends
 * to failed, with blanks between, the names of engines that the device should have and whose
 * program does not build. */
void engines_probe(struct device *d, cl_context context, cl_device_id id, struct text *failed);

#endif
