/*
 * solvers - the ways to answer a problem, and their table.
 *
 * A solver is a predicate, the parts that its kernels are made of, and its
 * launches.  Everything here is a pure function of the problem, the device's facts
 * and a variant: what happens on a device is plan's and forward's business.
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

    /* Bits of features_table: what it can do; see solvers_refuse. */
    cl_ulong features;

    /* One sentence why it cannot run there although it offers the problem's features, or NULL. */
    const char *(*refuses)(const struct problem *p, const struct device *d);

    /* Does a variant ask for what the device does not have?  Then why says so.  NULL: never. */
    bool (*lacks)(const struct device *d, const struct variant *v, struct text *why);

    /* One sentence why it is not the one to choose there, although it could run, or
     * NULL.  May be NULL: never. */
    const char *(*unsuited)(const struct problem *p, const struct device *d);

    /* Checks the parameters that v has and adds those that it lacks: the best legal
     * ones.  False with a sentence in why when there are none.  True with a sentence in why
     * when no variant that the solver would choose itself has v's values: what was added may then
     * be far from the best. */
    bool (*complete)(const struct problem *p, const struct device *d, struct variant *v,
                     struct text *why);

    /* What its kernels are made of, in the order of their launches. */
    size_t kernels;
    const struct program_recipe *(*recipe)(const struct variant *v, size_t kernel);

    /* Bytes of workspace for the problem; false on overflow.  May be NULL: none. */
    bool (*workspace)(const struct problem *p, const struct variant *v, cl_ulong *bytes);

    /* The launch of a kernel for what params asks; its grid is never empty. */
    struct ndrange (*ndrange)(const struct variant *v, const struct params *params, size_t kernel);

    /* Can it do what params asks (strides come only with an enqueue)?  May be NULL: always.
     * Where it is not, a plan also holds the best one of the other solvers, if one builds, which
     * runs instead when this says no; misses is what that is for, in a few words. */
    bool (*accepts)(const struct variant *v, const struct params *params);
    const char *misses;

    /* Enqueues everything.  May be NULL: launch_chain, each kernel once. */
    cl_int (*enqueue)(const struct solver *solver, const struct launch *l, struct status *status);
};

enum { SOLVERS = 7, SOLVER_KERNELS = 4 };

/* In the order in which they are tried; fwd_rows applies everywhere.  Baselines come last. */
extern const struct solver *const solvers_table[SOLVERS];

/* NULL when there is none of that name. */
const struct solver *solvers_find(const char *name);

/* Does the solver offer all of the problem's features? */
bool solvers_offers(const struct solver *solver, const struct problem *p);

/* Can the solver not run there, whatever its variant?  Then why says it in one sentence. */
bool solvers_refuse(const struct solver *solver, const struct problem *p, const struct device *d,
                    struct text *why);

/* Can the device be given the arguments of all the variant's kernels?  Else why says so. */
bool solvers_arguments_fit(const struct solver *solver, const struct variant *v,
                           const struct device *d, struct text *why);

/* ---- For the solvers' own use ---- */

/* Of the compiler, for fwd_tile's kernels: on NVIDIA exp2 is four instructions where denormals
 * count and one where they do not (H200, 2026-11-21: f32 D 64 full 36.2 and 37.8 TFLOP/s).  OpenCL
 * leaves it to a device whether they do. */
#define SOLVERS_TILE_OPTIONS "-cl-denorms-are-zero"

/* Keys that matrix engines sum in one segment (cl/state.cl) where a query sees no more.  Hopper's
 * loses about 1e-7 of a sum with each 16 keys, as its accumulators are cut off, not rounded: a
 * quarter of what rounding o to F16 does.  Moving sums at every 4,096 keys costs fwd_wgmma 8 to 11%
 * (H100, 2026-11-26, f16, S 16k, D 64 to 256). */
enum { SOLVERS_ENGINE_KEYS = 16384 };

/* A parameter: its name and the values that make sense at all.  low > high: a word, which
 * the solver checks itself and sets before solvers_complete, which refuses without it. */
struct solver_parameter {
    const char *name;
    long long low, high;
};

/* Blocks of so many query rows, over all heads and batches: work-groups, for most solvers. */
cl_ulong solvers_blocks(const struct params *params, cl_ulong rows);

/* One sentence when a work-item of about so many loop iterations for each element of a row
 * of K and of V would be cut short by the device, else NULL. */
const char *solvers_refuse_loops(const struct problem *p, const struct device *d,
                                 cl_ulong per_element);

/* Checks that v has only these parameters, numbers within their ranges.  count of them. */
bool solvers_check_parameters(const struct variant *v, const struct solver_parameter *parameters,
                              size_t count, struct text *why);

/* Fills in what v lacks from the first of the candidates (each `count` values, in the
 * order of parameters; of a word v's own stands) that agrees with what v has and that `legal`
 * accepts.  Where none agrees, each candidate is tried with v's values put in their place, and why
 * says so where something was filled in. */
bool solvers_complete(const struct problem *p, const struct device *d, struct variant *v,
                      const struct solver_parameter *parameters, size_t count,
                      const long long *candidates, size_t candidates_count,
                      bool (*legal)(const struct problem *, const struct device *,
                                    const struct variant *, struct text *why),
                      struct text *why);

#endif
