/*
 * engines - the matrix engines that clattn has a kernel part for, cl/engine_<name>.cl.
 *
 * Whether a device has one is never read off a table of versions alone: a program of a few
 * lines that calls the part's instruction has to build there.
 */
#ifndef ENGINES_H
#define ENGINES_H

#include "device.h"
#include "text.h"

struct engine {
    const char *name; /* of the part, and in device.matrix */

    /* What device.architecture may begin with; NULL: none, for tests.  AMD's compiler ends the
     * process at an instruction that it knows and the chip lacks: only chips that have it. */
    const char *architectures;

    /* What a device that has it lists among its OpenCL extensions, where the architecture does not
     * tell; NULL: it does. */
    const char *extension;

    /* As the part defines them: ENGINE_LANES, ENGINE_QUERIES, and the elements of a left and of a
     * right operand in each lane. */
    cl_uint lanes, queries, left, right;

    /* What the formula keeps to, so that compilers keep all in registers.  floats: of sums and
     * scores in a lane.  address: what each chunk costs beside them that a work-item copies
     * without staying in its column (engine_move.cl).  keys: of a block. */
    cl_uint floats, address, keys;

    const char *options; /* to build with, after SOURCES_OPTIONS and ENGINES_OPTIONS; or "" */
};

/* Of the compiler, for every engine.  Denormal floats mean nothing to sums that become 16-bit
 * elements.  All figures were taken with it; it does not shorten NVIDIA's native_exp2
 * (base_exp2_native does). */
#define ENGINES_OPTIONS "-cl-denorms-are-zero"

/* The last one has a NULL name. */
extern const struct engine engines_table[];

/* The engine called chars[0..length), NULL when there is none. */
const struct engine *engines_find(const char *chars, size_t length);

/* The first engine of device.matrix, NULL when there is none. */
const struct engine *engines_first(const struct device *d);

/* Is the engine one of device.matrix? */
bool engines_has(const struct device *d, const struct engine *engine);

/* The program that builds only where the engine is, and the options to build it with: those of
 * fwd_mma with that engine. */
void engines_probe_text(const struct engine *engine, struct text *out);
void engines_probe_options(const struct engine *engine, struct text *out);

/* Sets device.matrix: the first engine of the device's architecture that builds there.  The
 * names of those that do not build, though the device should have them, are appended to failed,
 * with blanks between. */
void engines_probe(struct device *d, cl_context context, cl_device_id id, struct text *failed);

#endif
