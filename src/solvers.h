/*
 * solvers - the ways to answer a problem, and their table.
 *
 * A solver is data first: its parameters, the order in which it would choose their values, the
 * rules that they have to keep, and its launches.  All functions but `enqueue` are pure: they
 * depend on the problem, the device's facts and a variant alone.  plan.c builds what they say, and
 * call.c launches it.
 */
#ifndef SOLVERS_H
#define SOLVERS_H

#include <limits.h>

#include "device.h"
#include "feature.h"
#include "launch.h"
#include "params.h"
#include "problem.h"
#include "program.h"
#include "variant.h"

/* Can the solver run a problem on a device?  COULD: where its variant is asked for, but another
 * solver is the better choice. */
enum fitness { CANNOT, COULD, SHOULD };

/* A parameter of variants: a number from `low` to `high`, or one of the words. */
struct solver_parameter {
    const char *name; /* NULL: behind the last parameter */
    long long low, high;
    const char *(*word)(size_t i); /* word i, NULL behind the last one; NULL: a number */

    /* What the candidates of clattn_candidates have here, beside what the formula has: words,
     * "16 32 48".  "": nothing else.  NULL: 0 and the powers of two in the range, or all words. */
    const char *values;
};

/* What a work-group of a launch takes, for the order of candidates (cost.h).  0: not known. */
struct solver_needs {
    cl_ulong rows; /* that it owns: query rows, or keys where the launch writes d_k or d_v */
    cl_ulong met;  /* rows of the other side in a block, behind which sums are rescaled */
    cl_ulong local_memory; /* bytes */
    cl_ulong registers;    /* 32-bit values that a work-item holds; on CPU devices vectors */
    double reads;          /* operands that a work-item reads for each product that it forms */
    double engine; /* how often a matrix engine is faster at the products; 0: there is none */
};

/*
 * A variant's values, as the solver's functions see them: one for each of the solver's parameters,
 * in their order.  The value of a word is its place among the words.
 */
#define SOLVERS_MISSING LLONG_MIN /* the variant does not have the parameter */

struct solver {
    const char *name;

    /* Whose problems it answers; the choice for another pass does not mention it. */
    clattn_pass pass;

    /* Baselines show what the others are better than: they run only when asked for. */
    bool baseline;

    /* Does the solver offer the features that change scores and hide no key?  Bits of its other
     * features. */
    bool scored;
    cl_ulong features;

    /* Does the solver offer problems whose q, k, v and o differ in type? */
    bool mixed;

    /* Does the solver offer k and v in blocks (Q8_0, Q4_0)? */
    bool blocked;

    /* The solver whose members, from fits to legal, this one uses for the variant.  The device is
     * looked at only where the variant lacks parameters.  NULL: the solver has its own. */
    const struct solver *(*like)(const struct device *d, const struct variant *v);

    /* With a sentence in `why`, unless the answer is SHOULD. */
    enum fitness (*fits)(const struct problem *p, const struct device *d, struct text *why);

    const struct solver_parameter *parameters;

    /* Candidate i for the values of a variant that has the values `given`, the best one first; it
     * need be neither legal nor equal to the given values.  False behind the last candidate. */
    bool (*candidate)(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *values);

    /* Can a kernel with these values be built and run?  Only a parameter for which `candidate` has
     * no value is missing.  status: NULL where nobody wants the sentence. */
    cl_int (*legal)(const struct problem *p, const struct device *d, const long long *values,
                    struct status *status);

    /* Fills in the launches of a variant, in their order, and returns their number. */
    size_t (*stages)(const struct variant *v, struct stage stages[STAGES]);

    /* Bytes of workspace for the problem; false on overflow.  NULL: the solver needs none. */
    bool (*workspace)(const struct problem *p, const long long *values, cl_ulong *bytes);

    /* Can the variant run an enqueue with these params?  Only the enqueue brings the strides, so a
     * plan cannot know.  Strides that keep CLATTN_PROMISE_ALIGNED have to be accepted; without the
     * promise a plan also holds a variant of another solver, if one builds, which runs the enqueues
     * that `accepts` refuses.  NULL: the variant can run every enqueue. */
    bool (*accepts)(const long long *values, const struct params *params);

    /* Enqueues all launches.  NULL: launch_chain enqueues each stage once. */
    cl_int (*enqueue)(const struct launch *l, struct status *status);

    /* Fills in what is known of a stage's work-groups, in a zeroed struct.  NULL: nothing is. */
    void (*needs)(const struct problem *p, const struct device *d, const long long *values,
                  size_t stage, struct solver_needs *needs);
};

/* The features that hide keys one by one. */
#define SOLVERS_HIDING (CLATTN_FEATURE_BIAS | CLATTN_FEATURE_MASK)

enum { SOLVERS = 14 };

/* In the order in which they are tried; fwd_rows, bwd_rows and merge_rows apply to every problem.
 * Baselines come last.
 */
extern const struct solver *const solvers_table[SOLVERS];

/* The solver of that name, NULL when there is none. */
const struct solver *solvers_find(const char *name);

/* Does the solver offer all of the problem's features, and its types? */
bool solvers_offers(const struct solver *solver, const struct problem *p);

/* The launches of a variant for the problem: the solver's, and behind them those of d_bias and
 * d_sink. */
size_t solvers_stages(const struct solver *solver, const struct problem *p, const struct variant *v,
                      struct stage stages[STAGES]);

/* Can the solver run the problem on the device, with a variant that has the parameters of v (NULL:
 * none)?  With one sentence in `why`, unless the answer is SHOULD. */
enum fitness solvers_fit(const struct solver *solver, const struct problem *p,
                         const struct device *d, const struct variant *v, struct text *why);

/*
 * Checks the parameters that v has, and adds the missing ones: those of the first candidate that
 * has the same values as v where v has any, and that is legal.  Where there is none, those of the
 * first candidate that is legal after v's values have replaced the candidate's; if parameters were
 * added, `far` gets a sentence: the added values may be far from the best.  Where there is no such
 * candidate either, fails with the sentence about the first one.
 */
cl_int solvers_complete(const struct solver *solver, const struct problem *p,
                        const struct device *d, struct variant *v, struct text *far,
                        struct status *status);

/* The solver that has the members from fits to legal. */
const struct solver *solvers_rules(const struct solver *solver, const struct device *d,
                                   const struct variant *v);

/* The value of a parameter that the text names, SOLVERS_MISSING where it names none. */
long long solvers_read(const struct solver_parameter *parameter, const char *value);

/* The values of a variant that may lack parameters: these become SOLVERS_MISSING. */
cl_int solvers_read_given(const struct solver_parameter *parameters, const struct variant *v,
                          long long *values, struct status *status);

/* Puts the given values over the others.  Were they the same? */
bool solvers_take_given(const struct solver_parameter *parameters, const long long *given,
                        long long *values);

/* Gives v, which has a solver's name, the parameters with these values. */
void solvers_write(const struct solver_parameter *parameters, const long long *values,
                   struct variant *v);

/* The values of a variant, which has to have passed solvers_complete. */
void solvers_decode(const struct solver *solver, const struct variant *v,
                    long long values[VARIANT_PARAMETERS]);

/* Refuses a variant with a kernel that has more bytes of arguments than the device takes. */
cl_int solvers_check_arguments(const struct solver *solver, const struct problem *p,
                               const struct variant *v, const struct device *d,
                               struct status *status);

/* ---- For the solvers' own use ---- */

/* On matrix engines a row in which a query sees at most this many keys is one segment
 * (cl/state.cl).  Hopper's engine cuts its sums off instead of rounding them, and so loses about
 * 1e-7 of a sum with each 16 keys: over all these keys a quarter of the error of rounding o to F16.
 * Segments of 4,096 keys would cost fwd_wgmma 8 to 11% of its speed (H100, 2026-11-26, f16, S 16k,
 * D 64 to 256). */
enum { SOLVERS_ENGINE_KEYS = 16384 };

/* A line of a solver's parameters, in which the parameter's place has the parameter's name. */
#define SOLVERS_NUMBER(name, low, high) SOLVERS_NUMBER_OF(name, low, high, NULL)
#define SOLVERS_NUMBER_OF(name, low, high, values) [name] = {#name, low, high, NULL, values}
#define SOLVERS_WORD(name, word) SOLVERS_WORD_OF(name, word, NULL)
#define SOLVERS_WORD_OF(name, word, values) [name] = {#name, 0, 0, word, values}

/* The number of blocks of `rows` query rows, or of `keys` keys, over all heads and batches: for
 * most solvers the number of work-groups. */
cl_ulong solvers_blocks(const struct params *params, cl_ulong rows);
cl_ulong solvers_blocks_of_keys(const struct params *params, cl_ulong keys);

/* per_element: about how many loop iterations a work-item makes for each element of K and of V.
 * Returns one sentence where the device would stop such a work-item early (loop_limit), else NULL.
 */
const char *solvers_refuse_loops(const struct problem *p, const struct device *d,
                                 cl_ulong per_element);

/* For solvers of backward whose work-items meet all keys that a query sees, and all queries, of the
 * whole group, that see a key: likewise. */
const char *solvers_refuse_backward_loops(const struct problem *p, const struct device *d);

/* What `fits` answers: CANNOT with the sentence `cannot`, else COULD with `could`, else SHOULD.
 * NULL: no sentence. */
enum fitness solvers_fitness(const char *cannot, const char *could, struct text *why);

/* Refuses a work-group of more work-items, or with more bytes of local memory, than the device has.
 */
cl_int solvers_check_group(const struct device *d, long long work_items, long long local_bytes,
                           struct status *status);

/* For solvers with tiles in local memory.  One sentence where the device is not to run them, else
 * NULL. */
const char *solvers_refuse_tiles(const struct device *d);

/* Constants of their programs (cl/tile_copy.cl): a work-group owns queries and meets keys, or the
 * other way round. */
#define SOLVERS_TILE_OF_QUERIES                                  \
    "#define LANES 1\n"                                          \
    "#define BLOCK_OWN BLOCK_M\n#define THREADS_OWN THREADS_M\n" \
    "#define BLOCK_MET BLOCK_N\n#define THREADS_MET THREADS_N\n"
#define SOLVERS_TILE_OF_KEYS                                     \
    "#define LANES 1\n"                                          \
    "#define BLOCK_OWN BLOCK_N\n#define THREADS_OWN THREADS_N\n" \
    "#define BLOCK_MET BLOCK_M\n#define THREADS_MET THREADS_M\n"

/* An option of the compiler, denormal floats may become 0, which OpenCL
 * allows a device anyway.  NVIDIA's exp2 is one instruction with the option, and four without it
 * (H200, 2026-11-21, f32 D 64 without a mask: 37.8 TFLOP/s with the option, 36.2 without it). */
#define SOLVERS_TILE_OPTIONS "-cl-denorms-are-zero"

/* The smallest strip of heads that 4 * columns (work-items along a row) divides and that covers the
 * wider head, but at most `most`. */
long long solvers_tile_strip(const struct problem *p, long long columns, long long most);

/* For solvers with a work-item for each row: their one parameter is the size of the work-group. */
enum { SOLVERS_ROWS_WORK_GROUP };
extern const struct solver_parameter solvers_rows_parameters[];
bool solvers_rows_candidate(const struct problem *p, const struct device *d, const long long *given,
                            size_t i, long long *values);
cl_int solvers_rows_legal(const struct problem *p, const struct device *d, const long long *values,
                          struct status *status);
size_t solvers_rows_work_items(const long long *values);
struct grid solvers_rows_grid(const long long *values,
                              const struct params *params); /* of queries */

/* For solvers of backward: their first stage, which fills the workspace with delta
 * (cl/bwd_delta.cl).  The solver's first parameter is WORK_GROUP, which this stage alone has to
 * take: the stage is like a solver with a work-item for each row. */
extern const struct stage solvers_delta;
bool solvers_delta_workspace(const struct problem *p, const long long *values, cl_ulong *bytes);

/* The given value, `otherwise` where it is missing. */
long long solvers_given(long long given, long long otherwise);

#endif
