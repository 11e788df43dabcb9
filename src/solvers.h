/*
 * solvers - the ways to answer a problem, and their table.
 *
 * A solver is a predicate, the parts that its kernels are made of, and its launches.  All members
 * but `enqueue` are pure functions of the problem, the device's facts and a variant; plan.c builds
 * what they say, and call.c launches it.
 */
#ifndef SOLVERS_H
#define SOLVERS_H

#include "device.h"
#include "launch.h"
#include "params.h"
#include "problem.h"
#include "program.h"
#include "tuning.h"

struct solver {
    const char *name;

    /* Baselines show what the others are better than: they run only when asked for. */
    bool baseline;

    /* Bits of features_table: the features that the solver offers; see solvers_refuse. */
    cl_ulong features;

    /* NULL where the solver can run the problem on the device, once solvers_offers is true; else
     * one sentence that says why not. */
    const char *(*refuses)(const struct problem *p, const struct device *d);

    /* Does the variant need something that the device does not have?  Then `why` names it.
     * NULL: no variant does. */
    bool (*lacks)(const struct device *d, const struct variant *v, struct text *why);

    /* NULL where the solver may be chosen for the problem and the device without being asked for;
     * else one sentence that says why another solver is the better choice.  The member NULL: the
     * solver may always be chosen. */
    const char *(*unsuited)(const struct problem *p, const struct device *d);

    /* Checks the parameters that v has, and adds the missing ones: the best values that are legal
     * with those of v.  Where there are none, returns false with a sentence in `why`.  Returns true
     * with a sentence in `why` where the solver itself would choose no variant with v's values: the
     * added values may then be far from the best. */
    bool (*complete)(const struct problem *p, const struct device *d, struct variant *v,
                     struct text *why);

    /* The number of kernels, and what each is made of, in the order of their launches. */
    size_t kernels;
    const struct program_recipe *(*recipe)(const struct variant *v, size_t kernel);

    /* Bytes of workspace for the problem; false on overflow.  NULL: the solver needs none. */
    bool (*workspace)(const struct problem *p, const struct variant *v, cl_ulong *bytes);

    /* The launch of a kernel for the lengths of params; its grid is never empty. */
    struct ndrange (*ndrange)(const struct variant *v, const struct params *params, size_t kernel);

    /* Can the variant run an enqueue with these params?  Only the enqueue brings the strides, so a
     * plan cannot know.  Where `accepts` is set, a plan also holds a variant of another solver, if
     * one builds; that variant runs the enqueues that `accepts` refuses.  NULL: the variant can run
     * every enqueue. */
    bool (*accepts)(const struct variant *v, const struct params *params);

    /* With `accepts`: what `accepts` refuses, in a few words, for sentences and descriptions:
     * "strides beyond a tensor map". */
    const char *misses;

    /* Enqueues all launches.  NULL: launch_chain enqueues each kernel once. */
    cl_int (*enqueue)(const struct solver *solver, const struct launch *l, struct status *status);
};

enum { SOLVERS = 7, SOLVER_KERNELS = 4 };

/* In the order in which they are tried; fwd_rows applies everywhere.  Baselines come last. */
extern const struct solver *const solvers_table[SOLVERS];

/* The solver of that name, NULL when there is none. */
const struct solver *solvers_find(const char *name);

/* Does the solver offer all of the problem's features? */
bool solvers_offers(const struct solver *solver, const struct problem *p);

/* True where the solver cannot run the problem on the device with any variant; `why` then gets one
 * sentence with the reason. */
bool solvers_refuse(const struct solver *solver, const struct problem *p, const struct device *d,
                    struct text *why);

/* False where a kernel of the variant has more bytes of arguments than the device takes; `why` then
 * gets one sentence that says so. */
bool solvers_arguments_fit(const struct solver *solver, const struct variant *v,
                           const struct device *d, struct text *why);

/* ---- For the solvers' own use ---- */

/* An option of the compiler, for fwd_tile's kernels: denormal floats may become 0, which OpenCL
 * allows a device anyway.  NVIDIA's exp2 is one instruction with the option, and four without it
 * (H200, 2026-11-21, f32 D 64 without a mask: 37.8 TFLOP/s with the option, 36.2 without it). */
#define SOLVERS_TILE_OPTIONS "-cl-denorms-are-zero"

/* On matrix engines a row in which a query sees at most this many keys is one segment
 * (cl/state.cl).  Hopper's engine cuts its sums off instead of rounding them, and so loses about
 * 1e-7 of a sum with each 16 keys: over all these keys a quarter of the error of rounding o to F16.
 * Segments of 4,096 keys would cost fwd_wgmma 8 to 11% of its speed (H100, 2026-11-26, f16, S 16k,
 * D 64 to 256). */
enum { SOLVERS_ENGINE_KEYS = 16384 };

/* A parameter of variants: its name, and the least and the greatest number that it may be.
 * low > high: the value is a word.  The solver checks the word itself, and sets it before it calls
 * solvers_complete, which refuses a variant without it. */
struct solver_parameter {
    const char *name;
    long long low, high;
};

/* The number of blocks of `rows` query rows, over all heads and batches: for most solvers the
 * number of work-groups. */
cl_ulong solvers_blocks(const struct params *params, cl_ulong rows);

/* per_element: about how many loop iterations a work-item makes for each element of K and of V.
 * Returns one sentence where the device would stop such a work-item early (loop_limit), else NULL.
 */
const char *solvers_refuse_loops(const struct problem *p, const struct device *d,
                                 cl_ulong per_element);

/* Checks that v has no parameters but these `count`, and that numbers lie within their ranges.
 * False with a sentence in `why` otherwise. */
bool solvers_check_parameters(const struct variant *v, const struct solver_parameter *parameters,
                              size_t count, struct text *why);

/* Adds the parameters that v lacks, from a candidate.  A candidate is `count` values in the order
 * of `parameters`; its value for a word is not used.  The first candidate is taken that has the
 * same values as v for the parameters of v, and that `legal` accepts.  Where there is none, the
 * first is taken that `legal` accepts after v's values have replaced the candidate's; if parameters
 * were added, `why` gets a sentence about this. */
bool solvers_complete(const struct problem *p, const struct device *d, struct variant *v,
                      const struct solver_parameter *parameters, size_t count,
                      const long long *candidates, size_t candidates_count,
                      bool (*legal)(const struct problem *, const struct device *,
                                    const struct variant *, struct text *why),
                      struct text *why);

#endif
