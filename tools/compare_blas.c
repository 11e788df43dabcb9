/*
 * compare_blas - clattn on a CPU beside attention around OpenBLAS (blas_attention.h), on
 * the same problems and the same random numbers, in one process.
 *
 * Both are timed as a caller sees them, from the call until the result is there, and
 * take turns, in every other round the other way round.  A ratio is OpenBLAS's time by
 * clattn's, above 1 where clattn is faster: the median over rounds of what one round showed,
 * so that a clock that drifts does not count.  Of several sizes of its blocks of rows the
 * one that is fastest counts for OpenBLAS.
 */
#define _XOPEN_SOURCE 700

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <clattn.h>
#include <popt.h>
#include "bench_limits.h"
#include "bench_machine.h"
#include "bench_tensors.h"
#include "blas_attention.h"
#include "outcome.h"
#include "problem_words.h"
#include "select.h"
#include "verify.h"

#define SAMPLE_SECONDS 0.03
/* Multiply-adds that the check of a result may take. */
#define CHECK 5e7

enum { BLOCKS = 3, SIDES = 1 + BLOCKS, MOST_ROUNDS = 1000, MOST_PASSES = 1000 };

static const unsigned block_rows[BLOCKS] = {64, 128, 256};

static const char *const default_problems[] = {"f32 h8 q512 d64",
                                               "f32 h8 q512 d64 causal",
                                               "f32 h8 q1024 d64",
                                               "f32 h8 q1024 d64 causal",
                                               "f32 h8 q2048 d64",
                                               "f32 h8 q2048 d64 causal",
                                               "f32 h8 q1024 d128",
                                               "f32 h8 q1024 d128 causal",
                                               "f32 h8 q4096 d128",
                                               "f32 h8 q4096 d128 causal",
                                               NULL};

static const char *const about =
    "\n"
    "Compares clattn on a CPU with blocks of rows that go through OpenBLAS's sgemm, a softmax\n"
    "and sgemm again.  Both take turns and are timed from the call until the result is there;\n"
    "ratio is OpenBLAS's time by clattn's (median, and its 10th and 90th percentile over the\n"
    "rounds), peak clattn's share of the f32 multiply-adds that a small kernel reaches.\n"
    "PROBLEM is the words of a problem, f32, full or causal: \"f32 h8 q1024 d64 causal\".\n"
    "Without one, it is these, which take about two minutes on two cores:\n"
    "\n";

static const char *const codes =
    "\n"
    "Exit code: 0 done; 2 wrong usage; 3 nothing of it is supported; 4 no such device;\n"
    "5 anything else: nothing to compare, a result beyond its bound, out of memory.\n";

struct match {
    struct bench_machine *m;
    struct bench_limits *limits;
    struct bench_tensors tensors;
    struct bench_plans plans;  /* forward */
    char *host[BENCH_FORWARD]; /* all sets, for OpenBLAS */
    struct blas_attention *blas[BLOCKS];
    unsigned rounds, threads, passes[SIDES];
    size_t pass;
    double *seconds[SIDES], *peaks;
};

static int fail(int outcome, const char *format, ...) {
    va_list values;
    fputs("compare_blas: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs("\n", stderr);
    return outcome;
}

/* ---- One pass of one side: 0 is clattn ------------------------------------ */

static void *in_set(const struct match *a, int tensor, size_t pass) {
    return a->host[tensor] + pass % a->tensors.sets * a->tensors.step[tensor];
}

static cl_int run(struct match *a, int side) {
    const size_t pass = a->pass++;
    if (side > 0) {
        blas_attention_run(a->blas[side - 1], in_set(a, BENCH_Q, pass), in_set(a, BENCH_K, pass),
                           in_set(a, BENCH_V, pass), in_set(a, BENCH_O, pass),
                           in_set(a, BENCH_LSE, pass));
        return CL_SUCCESS;
    }
    cl_int status = bench_tensors_enqueue(&a->tensors, a->m, &a->plans, pass, NULL);
    return status == CL_SUCCESS ? bench_machine_check(a->m, clFinish(a->m->queue), "clFinish", "")
                                : status;
}

static int ascending(const void *left, const void *right) {
    const double x = *(const double *)left, y = *(const double *)right;
    return (x > y) - (x < y);
}

static double quantile(double *values, unsigned count, double share) {
    qsort(values, count, sizeof *values, ascending);
    return values[(unsigned)lround(share * (count - 1))];
}

/* The median of several passes. */
static cl_int sample(struct match *a, int side, unsigned passes, double *seconds) {
    double times[MOST_PASSES];
    cl_int status = CL_SUCCESS;
    for (unsigned i = 0; i < passes && status == CL_SUCCESS; i++) {
        const double start = bench_machine_now();
        status = run(a, side);
        times[i] = bench_machine_now() - start;
    }
    *seconds = quantile(times, passes, 0.5);
    return status;
}

/* ---- One problem ----------------------------------------------------------- */

static cl_int open_sides(struct match *a, const clattn_desc *asked) {
    size_t bytes;
    cl_int status = bench_tensors_create(&a->tensors, a->m, asked, false, 0);
    if (status == CL_SUCCESS) {
        status =
            clattn_plan_create(a->m->attention, &a->tensors.desc, &a->plans.plan[CLATTN_FORWARD]);
    }
    if (status == CL_SUCCESS) {
        status = clattn_plan_workspace_size(a->plans.plan[CLATTN_FORWARD], &bytes);
    }
    if (status == CL_SUCCESS && bytes > 0) {
        a->plans.workspace[CLATTN_FORWARD] =
            clCreateBuffer(a->m->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
        bench_machine_check(a->m, status, "clCreateBuffer", "the workspace");
    }
    for (int i = 0; i < BENCH_FORWARD && status == CL_SUCCESS; i++) {
        const size_t all = a->tensors.sets * a->tensors.step[i];
        a->host[i] = malloc(all);
        status = a->host[i] ? clEnqueueReadBuffer(a->m->queue, a->tensors.view[i].buffer, CL_TRUE,
                                                  0, all, a->host[i], 0, NULL, NULL)
                            : CL_OUT_OF_HOST_MEMORY;
        bench_machine_check(a->m, status, "clEnqueueReadBuffer", "random numbers");
    }
    for (int i = 0; i < SIDES && status == CL_SUCCESS; i++) {
        a->seconds[i] = calloc(a->rounds, sizeof(double));
        if (i > 0) {
            a->blas[i - 1] = blas_attention_create(&a->tensors.desc, block_rows[i - 1], a->threads);
        }
        if (!a->seconds[i] || (i > 0 && !a->blas[i - 1])) {
            status = bench_machine_check(a->m, CL_OUT_OF_HOST_MEMORY, "calloc", "OpenBLAS's side");
        }
    }
    a->peaks = calloc(a->rounds, sizeof(double));
    return status == CL_SUCCESS && !a->peaks ? CL_OUT_OF_HOST_MEMORY : status;
}

static void close_sides(struct match *a) {
    for (int i = 0; i < BLOCKS; i++) {
        blas_attention_destroy(a->blas[i]);
    }
    for (int i = 0; i < SIDES; i++) {
        free(a->seconds[i]);
    }
    for (int i = 0; i < BENCH_FORWARD; i++) {
        free(a->host[i]);
    }
    free(a->peaks);
    clattn_plan_destroy(a->plans.plan[CLATTN_FORWARD]);
    if (a->plans.workspace[CLATTN_FORWARD]) {
        clReleaseMemObject(a->plans.workspace[CLATTN_FORWARD]);
    }
    bench_tensors_destroy(&a->tensors);
}

/* Set 0 of a side against the definition; its outputs were NaN before. */
static cl_int check(struct match *a, int side, struct verify_result *result) {
    if (side == 0) {
        return bench_tensors_verify(&a->tensors, a->m, &a->plans, result);
    }
    struct verify_tensor on_host[BENCH_FORWARD];
    for (int i = 0; i < BENCH_FORWARD; i++) {
        on_host[i] = (struct verify_tensor){a->host[i], &a->tensors.view[i]};
    }
    memset(a->host[BENCH_O], 0xff, a->tensors.bytes[BENCH_O]);
    memset(a->host[BENCH_LSE], 0xff, a->tensors.bytes[BENCH_LSE]);
    a->pass = 0;
    run(a, side);
    const struct verify_tensors tensors = {.q = on_host[BENCH_Q],
                                           .k = on_host[BENCH_K],
                                           .v = on_host[BENCH_V],
                                           .o = on_host[BENCH_O],
                                           .lse = on_host[BENCH_LSE]};
    return verify_sample(&a->tensors.desc, 1 / sqrt(a->tensors.desc.head_dim), &tensors, CHECK,
                         result)
               ? CL_SUCCESS
               : bench_machine_check(a->m, CL_OUT_OF_HOST_MEMORY, "the check", "");
}

static cl_int play(struct match *a) {
    cl_int status = CL_SUCCESS;
    for (int side = 0; side < SIDES && status == CL_SUCCESS; side++) {
        double once = 1;
        status = sample(a, side, 3, &once);
        a->passes[side] = (unsigned)fmin(MOST_PASSES, fmax(3, ceil(SAMPLE_SECONDS / once)));
    }
    for (unsigned round = 0; round < a->rounds && status == CL_SUCCESS; round++) {
        for (int i = 0; i < SIDES && status == CL_SUCCESS; i++) {
            const int side = round % 2 ? SIDES - 1 - i : i;
            status = sample(a, side, a->passes[side], &a->seconds[side][round]);
        }
        a->peaks[round] = bench_limits_sample(a->m, a->limits);
    }
    return status;
}

static void report(struct match *a, const char *problem) {
    const clattn_desc *d = &a->tensors.desc;
    double ratios[MOST_ROUNDS], medians[SIDES];
    int best = 1;
    for (int side = 0; side < SIDES; side++) {
        double copy[MOST_ROUNDS];
        memcpy(copy, a->seconds[side], a->rounds * sizeof *copy);
        medians[side] = quantile(copy, a->rounds, 0.5);
        best = side > 0 && medians[side] < medians[best] ? side : best;
    }
    for (unsigned i = 0; i < a->rounds; i++) {
        ratios[i] = a->seconds[best][i] / a->seconds[0][i];
    }
    const double operations =
        2 * (double)verify_pairs(d) * d->batch * d->heads_q * ((double)d->head_dim + d->head_dim_v);
    const double middle = quantile(ratios, a->rounds, 0.5);
    printf("%-28s %9.4g ms %6.0f GFLOP/s %4.1f%%   %9.4g ms %6.0f GFLOP/s %4u rows   %5.2f "
           "(%.2f..%.2f)\n",
           problem, 1e3 * medians[0], operations / medians[0] * 1e-9,
           100 * operations / medians[0] / quantile(a->peaks, a->rounds, 0.5), 1e3 * medians[best],
           operations / medians[best] * 1e-9, block_rows[best - 1], middle,
           quantile(ratios, a->rounds, 0.1), quantile(ratios, a->rounds, 0.9));
    fflush(stdout);
}

/* Why OpenBLAS's side does not offer this; NULL if it does. */
static const char *refusal(const clattn_desc *d) {
    const struct verify_types types = verify_types(d);
    if (types.q != CLATTN_F32 || types.k != CLATTN_F32 || types.v != CLATTN_F32 ||
        types.o != CLATTN_F32) {
        return "OpenBLAS multiplies f32 only";
    }
    if (d->pass != CLATTN_FORWARD) {
        return "OpenBLAS's side knows the forward pass only";
    }
    if (d->softcap != 0 || d->band_left >= 0 || d->band_right > 0 || d->features) {
        return "OpenBLAS's side knows no window, no softcap and no features";
    }
    return d->seq_kv < d->seq_q ? "it has more queries than keys" : NULL;
}

static int compare(struct bench_machine *m, struct bench_limits *limits, const char *text,
                   unsigned rounds, unsigned threads) {
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_desc_parse(text, &desc); /* parse_all has seen that it succeeds */
    cl_int status = bench_machine_check_problem(m, &desc);
    if (status != CL_SUCCESS) {
        return fail(outcome_of(status), "%s: %s", text, m->why);
    }
    if (desc.batch == 0 || verify_pairs(&desc) == 0) {
        return fail(OUTCOME_FAILED, "%s: there is nothing to compare: no query sees a key", text);
    }
    const char *why = refusal(&desc);
    if (why) {
        return fail(OUTCOME_UNSUPPORTED, "%s: %s", text, why);
    }
    desc.heads_kv = desc.heads_kv ? desc.heads_kv : desc.heads_q;
    desc.head_dim_v = desc.head_dim_v ? desc.head_dim_v : desc.head_dim;
    struct match a = {.m = m, .limits = limits, .rounds = rounds, .threads = threads};
    int outcome = OUTCOME_DONE;
    status = open_sides(&a, &desc);
    for (int side = 0; side < SIDES && status == CL_SUCCESS; side++) {
        struct verify_result result;
        status = check(&a, side, &result);
        if (status == CL_SUCCESS && !result.passed) {
            outcome =
                fail(OUTCOME_FAILED, "%s: %s is wrong: o: error %.3g, bound %.3g; lse: %.3g, %.3g",
                     text, side ? "OpenBLAS's side" : "clattn", result.error, result.bound,
                     result.lse_error, result.lse_bound);
        }
    }
    if (status == CL_SUCCESS) {
        status = play(&a);
    }
    if (status == CL_SUCCESS) {
        report(&a, text);
    } else {
        outcome = fail(outcome_of(status), "%s: %s", text, m->why);
    }
    close_sides(&a);
    return outcome;
}

/* ---- The run --------------------------------------------------------------- */

static int compare_all(const struct select_device *device, const char *const *problems,
                       unsigned rounds, unsigned threads) {
    struct bench_machine m;
    struct bench_limits limits = {.flops = 0};
    int outcome = OUTCOME_DONE;
    if (bench_machine_open(&m, "compare_blas", device, NULL) != CL_SUCCESS) {
        outcome = fail(OUTCOME_FAILED, "%s: %s", device->label, m.why);
    } else if (!m.cpu) {
        outcome = fail(OUTCOME_UNSUPPORTED, "%s is no CPU", device->label);
    } else if (bench_limits_measure(&m, &limits) != CL_SUCCESS) {
        outcome = fail(OUTCOME_FAILED, "%s: %s", device->label, m.why);
    } else {
        printf("clattn    %s, driver %s\n", m.label, m.driver);
        printf("OpenBLAS  %s, taken for %s, %u threads\n", blas_attention_library(),
               blas_attention_core(), threads);
        printf("peak      %.0f GFLOP/s in f32\n\n", limits.flops * 1e-9);
        printf("%-28s %-34s   %-39s   %s\n", "problem", "clattn", "OpenBLAS, its best block",
               "ratio");
        for (; *problems; problems++) {
            const int this = compare(&m, &limits, *problems, rounds, threads);
            outcome = outcome == OUTCOME_DONE ? this : outcome;
        }
    }
    bench_limits_destroy(&limits);
    bench_machine_close(&m);
    return outcome;
}

static int parse_all(const char *const *problems) {
    for (; *problems; problems++) {
        clattn_desc desc = CLATTN_DESC_INIT;
        if (clattn_desc_parse(*problems, &desc) != CL_SUCCESS) {
            char *wrong = problem_words_wrong(*problems);
            fail(OUTCOME_USAGE, "'%s' is not a problem: %s; see --help", *problems,
                 wrong ? wrong : "out of memory");
            free(wrong);
            return OUTCOME_USAGE;
        }
    }
    return OUTCOME_DONE;
}

static int print_help(poptContext context) {
    poptPrintHelp(context, stdout, 0);
    fputs(about, stdout);
    for (const char *const *problem = default_problems; *problem; problem++) {
        printf("  %s\n", *problem);
    }
    fputs(codes, stdout);
    return fflush(stdout) == 0 ? OUTCOME_DONE : OUTCOME_FAILED;
}

int main(int argc, char **argv) {
    char *wanted = NULL;
    const int most = (int)blas_attention_most_threads();
    const int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int rounds = 11, threads = cores < most ? cores : most, help = 0;
    const struct poptOption options[] = {
        {"device", 0, POPT_ARG_STRING, &wanted, 0,
         "number, or part of \"platform / device\" (default 0); clattn-info lists them", "N|NAME"},
        {"rounds", 0, POPT_ARG_INT, &rounds, 0, "1 to 1000 (default 11)", "N"},
        {"threads", 0, POPT_ARG_INT, &threads, 0,
         "of OpenBLAS's side (default: one a core, as far as OpenBLAS takes them)", "N"},
        {"help", 'h', POPT_ARG_NONE, &help, 0, "print this", NULL},
        POPT_TABLEEND,
    };
    poptContext context = poptGetContext("compare_blas", argc, (const char **)argv, options, 0);
    if (!context) {
        return fail(OUTCOME_FAILED, "out of memory");
    }
    poptSetOtherOptionHelp(context, "[OPTION...] [PROBLEM...]");
    const int bad = poptGetNextOpt(context);
    const char *const *problems = poptPeekArg(context) ? poptGetArgs(context) : default_problems;
    struct select_list list = {0};
    int outcome;
    if (bad < -1) {
        outcome = fail(OUTCOME_USAGE, "%s: %s; see --help",
                       poptBadOption(context, POPT_BADOPTION_NOALIAS), poptStrerror(bad));
    } else if (help) {
        outcome = print_help(context);
    } else if (rounds < 1 || rounds > MOST_ROUNDS) {
        outcome =
            fail(OUTCOME_USAGE, "--rounds goes from 1 to %d, but %d is given", MOST_ROUNDS, rounds);
    } else if (threads < 1 || threads > most) {
        outcome =
            fail(OUTCOME_USAGE, "--threads goes from 1 to %d with this OpenBLAS, but %d is given",
                 most, threads);
    } else if (parse_all(problems) != OUTCOME_DONE) {
        outcome = OUTCOME_USAGE;
    } else if (select_all(&list) != CL_SUCCESS || !select_find(&list, wanted)) {
        outcome = fail(OUTCOME_NO_DEVICE, "there is no OpenCL device%s%s", wanted ? " " : "",
                       wanted ? wanted : "");
    } else {
        outcome =
            compare_all(select_find(&list, wanted), problems, (unsigned)rounds, (unsigned)threads);
    }
    select_destroy(&list);
    free(wanted);
    poptFreeContext(context);
    return outcome;
}
