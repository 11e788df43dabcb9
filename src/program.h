/*
 * program - composes a variant's program of parts, compiles it, and finds it again in the cache.
 *
 * The composed text is complete: a block of #defines (the problem's and the variant's parameters),
 * then the parts as they stand in cl/.  The cache compares this text, CLATTN_DUMP=directory writes
 * it to a file, and an offline compiler takes it.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "cache.h"
#include "operand.h"
#include "problem.h"
#include "variant.h"

enum { PROGRAM_PARTS = 16 };

/* What a kernel is made of. */
struct program_recipe {
    const char *kernel;               /* name of the __kernel and of its file, without ".cl" */
    const char *parts[PROGRAM_PARTS]; /* files, in order, the main loop last; then NULL;
                                       * <WORD> in a name: the variant's parameter */
    const char *reads, *writes;       /* its operands, "q k v", and "workspace"; see operand_set.
                                       * Those of features that a problem lacks are left out. */
    const char *takes;                /* its parameters of the variant, as variant_take reads
                                       * them; NULL: all */
    const char *constants;            /* further #define lines, or "" */
    const char *pass;                 /* the kernel's parameter PASS; NULL: it has none */
    const char *options;              /* of the compiler, beside SOURCES_OPTIONS; NULL: none */
    const char *(*variant_options)(
        const struct variant *v); /* further options, which depend on v; NULL: none */
    cl_uint
        segment_from; /* SEGMENT is 0 where no row's sums have more keys, or queries, than this */
    bool in_place;    /* an operand that is written may be one that is read */
    bool owns_keys;   /* sums are over queries: SEGMENT counts these */
    bool sm_90a;      /* its PTX goes through ptx_for_sm_90a */
};

/* The kernels' parameter SEGMENT: the keys of a segment (cl/state.cl), or 0 where a row is one
 * segment because no row sees more keys.  For kernels whose recipe says owns_keys, the queries of a
 * segment, or 0 where no key is seen by more of them, those of all heads that share it counted. */
cl_uint program_segment(const struct problem *p, const struct variant *v);

/* The set of the operands that the kernel reads or writes: those that the recipe names and the
 * problem has. */
cl_uint program_operands(const struct program_recipe *recipe, const struct problem *p);

/* Appends the program's text and the options to build it with, and to map a line such as
 * "lines 63-126: span.cl" for each part. */
cl_int program_compose(const struct program_recipe *recipe, const struct problem *p,
                       const struct variant *v, struct text *composed, struct text *options,
                       struct text *map, struct status *status);

/* Composes the program, and builds it or finds it in the cache.  The caller releases *program.
 * After a failed build the status holds the build log and which lines belong to which part.
 * remarks gets a line for each text that could not be written to $CLATTN_DUMP. */
cl_int program_get(const struct program_recipe *recipe, const struct problem *p,
                   const struct variant *v, struct cache *c, cl_context context, cl_device_id id,
                   cl_program *program, struct text *remarks, struct status *status);

#endif
