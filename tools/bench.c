/*
 * clattn-bench - how fast attention is, by which variant, and against which limits.
 */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <clattn.h>
#include <popt.h>
#include "bench_limits.h"
#include "bench_machine.h"
#include "bench_measure.h"
#include "bench_plot.h"
#include "bench_problems.h"
#include "bench_progress.h"
#include "bench_report.h"
#include "bench_variants.h"
#include "outcome.h"
#include "problem_words.h"
#include "select.h"

struct job {
    char *device, *tuning, *plot; /* owned; may be NULL */
    struct bench_variants variants;
    clattn_type type; /* 0: each problem's own */
    enum bench_format format;
    bool json, csv, bshd;
    unsigned repeat, sets; /* sets: 0: as many as outgrow the caches */
    double seconds, budget;
    struct bench_problems problems;
    struct bench_progress progress;
    size_t measured; /* problems */
    struct bench_result *results;
    size_t result_count;
};

static int fail(int outcome, const char *format, ...) {
    va_list values;
    fputs("clattn-bench: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs("\n", stderr);
    return outcome;
}

/* ---- Options ------------------------------------------------------------ */

static const char *const about =
    "\n"
    "Measures attention on random numbers.  PROBLEM is one argument, the words of a problem:\n"
    "\"f16 b2 h32:8 q4096 k4096 d128 causal\" (clattn-info --help explains them).  The word "
    "fwd+bwd\n"
    "is a forward pass and a backward pass on its o and lse, timed as one; there, a variant of "
    "one\n"
    "pass leaves the other to the library, and \"VARIANT + VARIANT\" names both.  Presets:\n"
    "\n";

static const char *const columns =
    "\n"
    "ms         device time of one pass, median, and its 10th and 90th percentile; short\n"
    "           passes are timed many at a time.  q, k, v, o change from pass to pass, so that\n"
    "           they come from memory; with --sets 1 they stay in the caches, if they fit\n"
    "wall ms    one pass alone, from its enqueue until it is finished, median\n"
    "speed      operations a second: 2 (D + Dv) for each pair of a query and a key that it sees,\n"
    "           2 (3 D + 2 Dv) in a backward pass (recomputed scores are not counted), and for\n"
    "           fwd+bwd the sum of these: masked pairs are not counted (peers often count half of "
    "all for causal)\n"
    "peak       speed as a share of the multiply-adds in f32 that a small kernel reaches,\n"
    "           measured in turn with the variants; a matrix engine may exceed it\n"
    "copy       model bytes a second as a share of copying.  Model bytes: q, k, v, o and lse\n"
    "           (bwd: and gradients) once for each pass, the workspace written once and read\n"
    "           once; what is read again is not known from outside\n"
    "GB/s       model bytes a second, and read: as a share of only reading; in decoding (few\n"
    "           queries) nearly all of them are k and v\n"
    "error      of o, or of the gradients, in a sample of rows against double precision, and\n"
    "           its bound; of several the one nearest to its bound\n"
    "\n"
    "The variants of a problem take turns.  What cannot run is one sentence on stderr.\n"
    "\n"
    "Exit code: 0 done; 2 wrong usage; 3 nothing of it is supported; 4 no such device;\n"
    "5 anything else: nothing could be measured, an error beyond its bound, no gnuplot, no "
    "picture.\n";

enum {
    OPTION_DEVICE = 1,
    OPTION_VARIANTS,
    OPTION_TUNING,
    OPTION_PRESET,
    OPTION_TYPE,
    OPTION_LAYOUT,
    OPTION_REPEAT,
    OPTION_SETS,
    OPTION_TIME,
    OPTION_BUDGET,
    OPTION_JSON,
    OPTION_CSV,
    OPTION_PLOT,
    OPTION_VERSION,
    OPTION_HELP
};

static const struct poptOption options[] = {
    {"device", 0, POPT_ARG_STRING, NULL, OPTION_DEVICE,
     "number, or part of \"platform / device\" (default 0); clattn-info lists them", "N|NAME"},
    {"variants", 0, POPT_ARG_STRING, NULL, OPTION_VARIANTS,
     "variants to compare, with ; between them; auto is the library's choice (default: auto); "
     "of fwd+bwd each goes to its pass, and + joins two",
     "VARIANT;VARIANT..."},
    {"tuning", 0, POPT_ARG_STRING, NULL, OPTION_TUNING,
     "variants to prefer: a file of lines \"DEVICE ; PROBLEM ; VARIANT\"; '': no file at all",
     "FILE"},
    {"preset", 0, POPT_ARG_STRING, NULL, OPTION_PRESET, "problems that belong together (below)",
     "paper|llm|vision|cpu|train|decode"},
    {"type", 0, POPT_ARG_STRING, NULL, OPTION_TYPE, "of all problems, whatever they say",
     "f32|f16|bf16"},
    {"layout", 0, POPT_ARG_STRING, NULL, OPTION_LAYOUT,
     "order of the dimensions of q, k, v and o: bhsd (default) or bshd", "bhsd|bshd"},
    {"repeat", 0, POPT_ARG_STRING, NULL, OPTION_REPEAT,
     "samples of each variant, at most (default 31)", "N"},
    {"sets", 0, POPT_ARG_STRING, NULL, OPTION_SETS,
     "of tensors that take turns; 1: they stay in the caches (default: as many as outgrow them)",
     "N"},
    {"time", 0, POPT_ARG_STRING, NULL, OPTION_TIME,
     "for the samples of each variant (default 1); at least 3 are taken", "SECONDS"},
    {"budget", 0, POPT_ARG_STRING, NULL, OPTION_BUDGET,
     "for the whole run: then what is left is left out", "SECONDS"},
    {"json", 0, POPT_ARG_NONE, NULL, OPTION_JSON, "print JSON", NULL},
    {"csv", 0, POPT_ARG_NONE, NULL, OPTION_CSV, "print comma-separated values", NULL},
    {"plot", 0, POPT_ARG_STRING, NULL, OPTION_PLOT,
     "draw speed and memory over length, and the roofs; needs gnuplot", "FILE.svg"},
    {"version", 0, POPT_ARG_NONE, NULL, OPTION_VERSION, "print the version", NULL},
    {"help", 'h', POPT_ARG_NONE, NULL, OPTION_HELP, "print this", NULL},
    POPT_TABLEEND,
};

/* What an option's argument has to be, for the sentence that refuses it. */
static const char *const expected[] = {
    [OPTION_DEVICE] = "the number of a device or a part of its name",
    [OPTION_VARIANTS] = "variants with ; between them",
    [OPTION_TUNING] = "the name of a file",
    [OPTION_PRESET] = "paper, llm, vision, cpu, train or decode",
    [OPTION_TYPE] = "f32, f16 or bf16",
    [OPTION_LAYOUT] = "bhsd or bshd",
    [OPTION_REPEAT] = "a whole number from 1 to 100000",
    [OPTION_SETS] = "a whole number from 1 to 100000",
    [OPTION_TIME] = "a number of seconds above 0 and below 1e9",
    [OPTION_BUDGET] = "a number of seconds above 0 and below 1e9",
    [OPTION_PLOT] = "the name of a file that ends in .svg",
};

static bool get_seconds(const char *text, double *value) {
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && *value > 0 && *value < 1e9;
}

static bool get_count(const char *text, unsigned *value) {
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    *value = (unsigned)number;
    return end != text && *end == '\0' && errno == 0 && number >= 1 && number <= 100000;
}

static bool get_string(const char *text, char **value) {
    free(*value);
    *value = text[0] != '\0' ? strdup(text) : NULL;
    return *value != NULL;
}

/* 0, or which of the two words it is. */
static int get_word(const char *text, const char *const words[], int count) {
    for (int i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i + 1;
        }
    }
    return 0;
}

/* FILE.svg; a line break would end the name in gnuplot's script. */
static bool is_picture(const char *text) {
    const size_t length = strlen(text);
    return length > 4 && strcmp(text + length - 4, ".svg") == 0 && !strpbrk(text, "\r\n");
}

/* One option and its argument.  Returns false if the argument is wrong. */
static bool set_option(struct job *j, int option, const char *text) {
    static const char *const types[] = {"f32", "f16", "bf16"};
    static const char *const layouts[] = {"bhsd", "bshd"};
    int word;
    switch (option) {
    case OPTION_DEVICE:
        return get_string(text, &j->device);
    case OPTION_VARIANTS:
        return get_string(text, &j->variants.text);
    case OPTION_TUNING:
        free(j->tuning);
        j->tuning = strdup(text); /* "": no tuning file at all */
        return j->tuning != NULL;
    case OPTION_PRESET:
        return bench_problems_add_preset(&j->problems, text) == CL_SUCCESS;
    case OPTION_TYPE:
        word = get_word(text, types, 3);
        j->type = (clattn_type)word;
        return word > 0;
    case OPTION_LAYOUT:
        word = get_word(text, layouts, 2);
        j->bshd = word == 2;
        return word > 0;
    case OPTION_REPEAT:
        return get_count(text, &j->repeat);
    case OPTION_SETS:
        return get_count(text, &j->sets);
    case OPTION_TIME:
        return get_seconds(text, &j->seconds);
    case OPTION_BUDGET:
        return get_seconds(text, &j->budget);
    case OPTION_PLOT:
        return is_picture(text) && get_string(text, &j->plot);
    default:
        j->json = j->json || option == OPTION_JSON;
        j->csv = j->csv || option == OPTION_CSV;
        return true;
    }
}

static int refuse_problem(const char *text) {
    bool both;
    char *plain = bench_problems_plain(text, &both);
    char *wrong = plain ? problem_words_wrong(plain) : NULL;
    const char *hint = strpbrk(text, " \t") ? "" : " (quotes make its words one argument)";
    fail(OUTCOME_USAGE, "'%s' is not a problem: %s%s; see --help", text,
         wrong ? wrong : "out of memory", hint);
    free(wrong);
    free(plain);
    return OUTCOME_USAGE;
}

static int parse_problems(struct job *j, poptContext context) {
    for (const char *text; (text = poptGetArg(context)) != NULL;) {
        cl_int status = bench_problems_add(&j->problems, text);
        if (status == CLATTN_INVALID_TEXT) {
            return refuse_problem(text);
        }
        if (status == CLATTN_UNSUPPORTED) {
            return fail(OUTCOME_USAGE, "'%s': only fwd, bwd and fwd+bwd are measured", text);
        }
        if (status != CL_SUCCESS) {
            return fail(outcome_of(status), "'%s' is too much for memory", text);
        }
    }
    for (size_t i = 0; j->type && i < j->problems.count; i++) {
        clattn_desc *desc = &j->problems.problem[i].desc;
        desc->type = j->type;
        desc->type_k = desc->type_v = desc->type_o = 0; /* as type */
    }
    return j->problems.count > 0
               ? -1
               : fail(OUTCOME_USAGE, "there is no problem and no --preset; see --help");
}

static int print_help(poptContext context) {
    poptPrintHelp(context, stdout, 0);
    printf("%s%s%s", about, bench_problems_presets, columns);
    return fflush(stdout) == 0 ? OUTCOME_DONE : OUTCOME_FAILED;
}

/* Returns an exit code, or -1 to go on. */
static int parse_options(struct job *j, poptContext context) {
    int option;
    while ((option = poptGetNextOpt(context)) > 0) {
        if (option == OPTION_HELP) {
            return print_help(context);
        }
        if (option == OPTION_VERSION) {
            printf("clattn-bench %d.%d.%d\n", CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
                   CLATTN_VERSION_PATCH);
            return fflush(stdout) == 0 ? OUTCOME_DONE : OUTCOME_FAILED;
        }
        char *text = poptGetOptArg(context);
        bool good = set_option(j, option, text);
        if (!good) {
            fail(OUTCOME_USAGE, "--%s: '%s' is not %s; see --help", options[option - 1].longName,
                 text, expected[option]);
        }
        free(text);
        if (!good) {
            return OUTCOME_USAGE;
        }
    }
    if (option < -1) {
        return fail(OUTCOME_USAGE, "%s: %s; see --help",
                    poptBadOption(context, POPT_BADOPTION_NOALIAS), poptStrerror(option));
    }
    if (j->json && j->csv) {
        return fail(OUTCOME_USAGE, "--json contradicts --csv");
    }
    j->format = j->json ? BENCH_JSON : j->csv ? BENCH_CSV : j->format;
    char why[BENCH_WHY];
    const cl_int status = bench_variants_read(&j->variants, why);
    return status == CL_SUCCESS ? parse_problems(j, context)
                                : fail(outcome_of(status), "--variants: %s; see --help", why);
}

/* ---- The run ------------------------------------------------------------ */

static void skip(void *user, const char *problem, const char *variant, const char *why) {
    struct job *j = user;
    bench_progress_clear(&j->progress);
    fprintf(stderr, "clattn-bench: %s%s%s: %s\n", problem, variant ? ": " : "",
            variant ? variant : "", why);
}

static void show_progress(void *user, double fraction) {
    struct job *j = user;
    bench_progress_set(&j->progress, j->measured, fraction);
}

/* Returns the first failure. */
static cl_int measure_all(struct job *j, struct bench_machine *m, const struct bench_report *report,
                          double deadline) {
    const struct bench_plan plan = {
        j->variants.variant, j->variants.count, j->bshd, j->sets,       j->repeat,
        j->seconds,          deadline,          skip,    show_progress, j};
    cl_int first_failure = CL_SUCCESS;
    for (; j->measured < j->problems.count; j->measured++) {
        if (bench_machine_now() >= deadline) {
            bench_progress_clear(&j->progress);
            const size_t left = j->problems.count - j->measured;
            fail(0, "%zu of %zu problem%s %s left out: the budget of %g s is spent", left,
                 j->problems.count, j->problems.count > 1 ? "s" : "", left > 1 ? "are" : "is",
                 j->budget);
            break;
        }
        show_progress(j, 0);
        struct bench_result *results = j->results + j->result_count;
        size_t count;
        cl_int status = bench_measure(m, report->limits, &plan, &j->problems.problem[j->measured],
                                      results, &count);
        first_failure = first_failure == CL_SUCCESS ? status : first_failure;
        j->result_count += count;
        bench_progress_clear(&j->progress);
        bench_report_add(report, results, count);
    }
    return first_failure;
}

static int conclude(const struct job *j, const struct bench_report *report, cl_int first_failure) {
    size_t wrong = 0;
    for (size_t i = 0; i < j->result_count; i++) {
        const struct bench_result *r = &j->results[i];
        if (!r->passed) {
            wrong++;
            if (r->desc.pass == CLATTN_BACKWARD && !r->both) {
                fail(0, "%s: %s: wrong: gradients: error %.3g, bound %.3g", r->problem, r->variant,
                     r->max_error, r->error_bound);
                continue;
            }
            fail(0, "%s: %s: wrong: o%s: error %.3g, bound %.3g; lse: error %.3g, bound %.3g",
                 r->problem, r->variant, r->both ? " or gradients" : "", r->max_error,
                 r->error_bound, r->lse_error, r->lse_bound);
        }
    }
    if (!bench_report_end(report, j->results, j->result_count)) {
        return fail(OUTCOME_FAILED, "the results cannot be written");
    }
    if (j->result_count == 0) {
        return first_failure == CL_SUCCESS ? OUTCOME_FAILED : outcome_of(first_failure);
    }
    if (j->plot &&
        !bench_plot(j->plot, report->machine->label, report->limits, j->results, j->result_count)) {
        return fail(OUTCOME_FAILED, "gnuplot could not draw %s", j->plot);
    }
    return wrong == 0 ? OUTCOME_DONE
                      : fail(OUTCOME_FAILED, "%zu of %zu results are beyond their bounds", wrong,
                             j->result_count);
}

/* Is each of --variants one?  Else `why` says so. */
static cl_int check_variants(const struct job *j, struct bench_machine *m) {
    cl_int status = CL_SUCCESS;
    for (size_t i = 0; i < BENCH_BOTH * j->variants.count && status == CL_SUCCESS; i++) {
        const char *variant = j->variants.variant[i / BENCH_BOTH].of[i % BENCH_BOTH];
        status = variant ? bench_machine_check_variant(m, variant) : CL_SUCCESS;
    }
    return status;
}

static int bench_on(struct job *j, const struct select_device *device) {
    const double start = bench_machine_now();
    struct bench_machine m;
    struct bench_limits limits = {.flops = 0};
    struct bench_report report = {stdout, j->format, &m, &limits, j->sets};
    int outcome = OUTCOME_FAILED;
    bench_progress_start(&j->progress, j->problems.count);
    bench_progress_set(&j->progress, 0, 0);
    cl_int status = bench_machine_open(&m, "clattn-bench", device, j->tuning);
    const cl_int of_variants = status == CL_SUCCESS ? check_variants(j, &m) : status;
    if (of_variants == CL_SUCCESS) {
        status = bench_limits_measure(&m, &limits);
    }
    if (status != CL_SUCCESS || of_variants != CL_SUCCESS) {
        bench_progress_clear(&j->progress);
        outcome = status != CL_SUCCESS
                      ? fail(outcome_of(status), "%s: %s", device->label, m.why)
                      : fail(outcome_of(of_variants), "--variants: %s; see --help", m.why);
    } else {
        bench_progress_clear(&j->progress);
        bench_report_begin(&report);
        status = measure_all(j, &m, &report, j->budget > 0 ? start + j->budget : (double)INFINITY);
        outcome = conclude(j, &report, status);
    }
    bench_limits_destroy(&limits);
    bench_machine_close(&m);
    return outcome;
}

static int bench(struct job *j) {
    if (j->plot && !bench_plot_possible()) {
        return fail(OUTCOME_FAILED, "--plot: there is no gnuplot");
    }
    if (j->plot && !bench_plot_writable(j->plot)) {
        return fail(OUTCOME_FAILED, "--plot: %s cannot be written: %s", j->plot, strerror(errno));
    }
    j->results = calloc(j->problems.count * j->variants.count, sizeof *j->results);
    if (!j->results) {
        return fail(OUTCOME_FAILED, "out of memory");
    }
    struct select_list list;
    cl_int status = select_all(&list);
    const struct select_device *device = select_find(&list, j->device);
    int outcome = OUTCOME_NO_DEVICE;
    if (status != CL_SUCCESS) {
        fail(outcome, "the OpenCL platforms cannot be listed: %s", clattn_status_name(status));
    } else if (list.device_count == 0) {
        fail(outcome, "there is no OpenCL device");
    } else if (!device) {
        fail(outcome, "no OpenCL device is '%s'; clattn-info lists %zu", j->device,
             list.device_count);
    } else {
        outcome = bench_on(j, device);
    }
    select_destroy(&list);
    return outcome;
}

int main(int argc, char **argv) {
    /* A gnuplot that ends early is an error to report, not a reason to die. */
    signal(SIGPIPE, SIG_IGN);
    struct job j = {.repeat = 31, .seconds = 1};
    poptContext context = poptGetContext("clattn-bench", argc, (const char **)argv, options, 0);
    if (!context) {
        return fail(OUTCOME_FAILED, "out of memory");
    }
    poptSetOtherOptionHelp(context, "[OPTION...] [PROBLEM...]");
    int outcome = parse_options(&j, context);
    if (outcome < 0) {
        outcome = bench(&j);
    }
    bench_problems_destroy(&j.problems);
    free(j.device);
    bench_variants_destroy(&j.variants);
    free(j.tuning);
    free(j.plot);
    free(j.results);
    poptFreeContext(context);
    return outcome;
}
