/*
 * program - a variant and its parts, composed, compiled, cached.
 *
 * The composed text is complete: a block of #defines (the problem's and the variant's
 * parameters), then the parts as they stand in cl/.  It is what the cache compares,
 * what CLATTN_DUMP=directory writes out, and what can be compiled offline.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "cache.h"
#include "operand.h"
#include "problem.h"
#include "tuning.h"

enum { PROGRAM_PARTS = 12 };

/* What a kernel is made of. */
struct program_recipe {
    const char *kernel;               /* name of the __kernel and of its file, without ".cl" */
    const char *parts[PROGRAM_PARTS]; /* files, in order, the main loop last; then NULL;
                                       * <WORD> in a name: the variant's parameter */
    const char *reads, *writes;       /* its operands, "q k v", and "workspace"; see operand_set */
    const char *constants;            /* further #define lines, or "" */
    const char *options;              /* of the compiler, beside our own; NULL: none */
    const char *(*variant_options)(
        const struct variant *v); /* further ones, by the variant; NULL: none */
    cl_uint segment_from; /* the most keys of a row for which SEGMENT is 0; see program_segment */
    bool sm_90a;          /* its PTX goes through ptx_for_sm_90a */
};

/* SEGMENT: keys whose sums are kept apart (cl/state.cl), or 0 where no row sees more. */
cl_uint program_segment(const struct problem *p, const struct variant *v);

/* The kernel's operands, a set, in the order of its arguments. */
cl_uint program_operands(const struct program_recipe *recipe);

/* The program's text and the options to build it with; map gets "lines 63-126: span.cl" for
 * each part. */
cl_int program_compose(const struct program_recipe *recipe, const struct problem *p,
                       const struct variant *v, struct text *composed, struct text *options,
                       struct text *map, struct status *status);

/* Composes and builds (or finds) the program.  The caller releases *program.  A
 * failed build's message carries the log and says which lines are which part's.  remarks gets a
 * line for each text that could not be written to $CLATTN_DUMP. */
cl_int program_get(const struct program_recipe *recipe, const struct problem *p,
                   const struct variant *v, struct cache *c, cl_context context, cl_device_id id,
                   cl_program *program, struct text *remarks, struct status *status);

#endif
