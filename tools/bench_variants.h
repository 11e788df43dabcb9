/*
 * bench_variants - what --variants says: "auto; fwd_lanes; bwd_rows; fwd_rows + bwd_rows".
 */
#ifndef BENCH_VARIANTS_H
#define BENCH_VARIANTS_H

#include <stddef.h>
#include <clattn.h>

enum { BENCH_BOTH = 2 }; /* passes, by clattn_pass */

/* What is asked of a plan, or of two. */
struct bench_variant {
    char asked[512];            /* as it was given, or "auto" */
    const char *of[BENCH_BOTH]; /* NULL: the library chooses */
};

struct bench_variants {
    char *text; /* owned; NULL: "auto" */
    struct bench_variant *variant;
    size_t count;
};

/* Cuts v->text into its variants.  CL_SUCCESS; or `why`, of BENCH_WHY, says what is wrong. */
cl_int bench_variants_read(struct bench_variants *v, char *why);

void bench_variants_destroy(struct bench_variants *v);

#endif
