/*
 * clattn-run - attention on the tensors of a file.
 *
 * The job goes through parse_options, problem_file_load, execute, report,
 * verify, problem_file_store.  What fails has its sentence on stderr and its exit
 * code from outcome.h.
 */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <clattn.h>
#include <popt.h>
#include "execute.h"
#include "outcome.h"
#include "problem_file.h"
#include "replace.h"
#include "select.h"
#include "verify.h"
#include "verify_gradients.h"

/* Multiply-adds that are spent on the check of gradients, a second or two. */
#define GRADIENTS_BUDGET 1e9

enum { MOST_IGNORED = 64 };

struct job {
    const char *in;
    char *out, *device, *tuning;    /* owned; may be NULL */
    char *variants[EXECUTE_PASSES]; /* likewise, by their passes */
    char *ignored[MOST_IGNORED];    /* likewise */
    size_t ignored_count;
    bool causal, verify;
    cl_int window[2]; /* left, right */
    clattn_align align;
    float scale, softcap;
    unsigned repeat;
    struct problem_file problem;
};

static int fail(int outcome, const char *format, ...) {
    va_list values;
    fputs("clattn-run: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs("\n", stderr);
    return outcome;
}

/* ---- Options ------------------------------------------------------------ */

static const char *const about =
    "\n"
    "Computes attention, o = softmax(mask(softcap(scale q k^T))) v, on an OpenCL device.\n"
    "IN holds q [B,Hq,Sq,D], k [B,Hkv,Skv,D] and v [B,Hkv,Skv,Dv], each F32, F16 or BF16; Hkv\n"
    "divides Hq.  IN may hold alibi [Hq], F32, the slopes of ALiBi: each score is reduced by its\n"
    "head's slope times the distance between key and query; bias and mask [B|1,Hq|1,Sq|1,Skv]:\n"
    "bias (F32, F16, BF16) is added to scores, -inf hides a key, and so does a 0 of mask (BOOL,\n"
    "U8); and sink [Hq], F32, a score of each head that no key has.  OUT gets o [B,Hq,Sq,Dv] of "
    "q's type "
    "and lse [B,Hq,Sq], F32,\n"
    "the natural logarithm of each row's sum of exp(score).  If IN holds do, the gradient of o,\n"
    "shaped as o and of its type, OUT also gets dq, dk and dv, of the types of q, k and v; dlse\n"
    "[B,Hq,Sq], F32, is then used if IN holds it.  OUT, which may be IN, is replaced only by a\n"
    "complete result.  Which tensors were used, device, variant, time, rate and workspace go to\n"
    "stderr.\n"
    "\n"
    "Exit code: 0 done; 1 IN is not what it should be; 2 wrong usage, a wrong VARIANT or FILE\n"
    "included; 3 not supported; 4 no such device; 5 anything else that failed, --verify\n"
    "included.\n";

enum {
    OPTION_OUT = 1,
    OPTION_OUTPUT_TYPE,
    OPTION_LAYOUT,
    OPTION_CAUSAL,
    OPTION_WINDOW,
    OPTION_ALIGN,
    OPTION_SCALE,
    OPTION_SOFTCAP,
    OPTION_DEVICE,
    OPTION_VARIANT,
    OPTION_TUNING,
    OPTION_IGNORE,
    OPTION_REPEAT,
    OPTION_VERIFY,
    OPTION_VERSION,
    OPTION_HELP
};

static const struct poptOption options[] = {
    {"output", 'o', POPT_ARG_STRING, NULL, OPTION_OUT, "the file to write (required)", "OUT"},
    {"output-type", 0, POPT_ARG_STRING, NULL, OPTION_OUTPUT_TYPE, "of o (default: q's)",
     "f32|f16|bf16"},
    {"layout", 0, POPT_ARG_STRING, NULL, OPTION_LAYOUT,
     "order of the dimensions of q, k, v, o and their gradients: bhsd (default) or bshd",
     "bhsd|bshd"},
    {"causal", 0, POPT_ARG_NONE, NULL, OPTION_CAUSAL, "a query sees no key after its own", NULL},
    {"window", 0, POPT_ARG_STRING, NULL, OPTION_WINDOW,
     "a query sees so many keys before and after its own; -1: all", "LEFT,RIGHT"},
    {"align", 0, POPT_ARG_STRING, NULL, OPTION_ALIGN,
     "the last query's own key is the last (end, default), or the first one's the first",
     "end|start"},
    {"scale", 0, POPT_ARG_STRING, NULL, OPTION_SCALE, "of the scores (default 1/sqrt(D))", "X"},
    {"softcap", 0, POPT_ARG_STRING, NULL, OPTION_SOFTCAP,
     "a score s becomes X tanh(s/X) (default 0: it does not)", "X"},
    {"device", 0, POPT_ARG_STRING, NULL, OPTION_DEVICE,
     "number, or part of \"platform / device\" (default 0); clattn-info lists them", "N|NAME"},
    {"variant", 0, POPT_ARG_STRING, NULL, OPTION_VARIANT,
     "solver and its parameters, \"fwd_tile BLOCK_M=64\"; what is left out is chosen; a second "
     "time for backward, \"bwd_...\"",
     "VARIANT"},
    {"tuning", 0, POPT_ARG_STRING, NULL, OPTION_TUNING,
     "variants to prefer: a file of lines \"DEVICE ; PROBLEM ; VARIANT\"; '': no file at all",
     "FILE"},
    {"ignore", 0, POPT_ARG_STRING, NULL, OPTION_IGNORE,
     "leave a tensor of IN out, as if IN did not hold it; any number of times", "NAME"},
    {"repeat", 0, POPT_ARG_STRING, NULL, OPTION_REPEAT,
     "time N passes and report the median (default 1)", "N"},
    {"verify", 0, POPT_ARG_NONE, NULL, OPTION_VERIFY,
     "compare with attention in double precision; print error and bound", NULL},
    {"version", 0, POPT_ARG_NONE, NULL, OPTION_VERSION, "print the version", NULL},
    {"help", 'h', POPT_ARG_NONE, NULL, OPTION_HELP, "print this", NULL},
    POPT_TABLEEND,
};

/* What an option's argument has to be, for the sentence that refuses it. */
static const char *const expected[] = {
    [OPTION_OUT] = "the name of a file",
    [OPTION_OUTPUT_TYPE] = "f32, f16 or bf16",
    [OPTION_LAYOUT] = "bhsd or bshd",
    [OPTION_WINDOW] = "two whole numbers LEFT,RIGHT from -1 (all) to 2147483647",
    [OPTION_ALIGN] = "end or start",
    [OPTION_SCALE] = "a number like 0.125 or -1e-3, at most 3.4e38 in size",
    [OPTION_SOFTCAP] = "a number like 30 or 1.5e2, from 0 (none) to 1.7e38",
    [OPTION_DEVICE] = "the number of a device or a part of its name",
    [OPTION_VARIANT] = "a solver and its parameters, the only one of its pass",
    [OPTION_TUNING] = "the name of a file",
    [OPTION_IGNORE] = "the name of a tensor",
    [OPTION_REPEAT] = "a whole number from 1 to 10000",
};

/* Whole numbers in [low, high], `count` of them with commas between. */
static bool get_integers(const char *text, long low, long high, int count, long *values) {
    for (int i = 0; i < count; i++) {
        char *end;
        errno = 0;
        values[i] = strtol(text, &end, 10);
        if (end == text || *end != (i + 1 < count ? ',' : '\0') || errno != 0 || values[i] < low ||
            values[i] > high) {
            return false;
        }
        text = end + 1;
    }
    return true;
}

/* FLT_MAX stands for the default scale in clattn.h. */
static bool get_float(const char *text, float *value) {
    char *end;
    *value = strtof(text, &end);
    return end != text && *end == '\0' && fabsf(*value) < FLT_MAX;
}

static bool get_choice(const char *text, const char *zero, const char *one, bool *value) {
    *value = strcmp(text, one) == 0;
    return *value || strcmp(text, zero) == 0;
}

static bool get_type(const char *text, clattn_type *type) {
    static const char *const names[] = {"f32", "f16", "bf16"};
    for (*type = CLATTN_F32; *type <= CLATTN_BF16; ++*type) {
        if (strcmp(text, names[*type - CLATTN_F32]) == 0) {
            return true;
        }
    }
    return false;
}

static bool get_string(const char *text, char **value) {
    free(*value);
    *value = text[0] != '\0' ? strdup(text) : NULL;
    return *value != NULL;
}

/* Solvers of the backward pass have names that begin so. */
static bool set_variant(struct job *j, const char *text) {
    const char *name = text + strspn(text, " \t");
    char **variant = &j->variants[strncmp(name, "bwd_", 4) == 0 ? CLATTN_BACKWARD : CLATTN_FORWARD];
    return !*variant && get_string(text, variant);
}

/* One option and its argument.  Returns false if the argument is wrong. */
static bool set_option(struct job *j, int option, const char *text) {
    long numbers[2];
    bool start, good = true;
    switch (option) {
    case OPTION_OUT:
        return get_string(text, &j->out);
    case OPTION_OUTPUT_TYPE:
        return get_type(text, &j->problem.output_type);
    case OPTION_LAYOUT:
        return get_choice(text, "bhsd", "bshd", &j->problem.bshd);
    case OPTION_CAUSAL:
        j->causal = true;
        return true;
    case OPTION_WINDOW:
        good = get_integers(text, CLATTN_UNBOUNDED, CL_INT_MAX, 2, numbers);
        j->window[0] = good ? (cl_int)numbers[0] : 0;
        j->window[1] = good ? (cl_int)numbers[1] : 0;
        return good;
    case OPTION_ALIGN:
        good = get_choice(text, "end", "start", &start);
        j->align = start ? CLATTN_ALIGN_START : CLATTN_ALIGN_END;
        return good;
    case OPTION_SCALE:
        return get_float(text, &j->scale);
    case OPTION_SOFTCAP:
        return get_float(text, &j->softcap) && j->softcap >= 0 && j->softcap <= FLT_MAX / 2;
    case OPTION_DEVICE:
        return get_string(text, &j->device);
    case OPTION_VARIANT:
        return set_variant(j, text);
    case OPTION_TUNING:
        free(j->tuning);
        j->tuning = strdup(text); /* "": no tuning file at all */
        return j->tuning != NULL;
    case OPTION_IGNORE:
        return j->ignored_count < MOST_IGNORED && get_string(text, &j->ignored[j->ignored_count++]);
    case OPTION_REPEAT:
        good = get_integers(text, 1, 10000, 1, numbers);
        j->repeat = good ? (unsigned)numbers[0] : 1;
        return good;
    default:
        j->verify = true;
        return true;
    }
}

/* Returns an exit code, or -1 to go on. */
static int parse_options(struct job *j, poptContext context) {
    int option;
    while ((option = poptGetNextOpt(context)) > 0) {
        if (option == OPTION_HELP) {
            poptPrintHelp(context, stdout, 0);
            fputs(about, stdout);
            return fflush(stdout) == 0 ? OUTCOME_DONE : OUTCOME_FAILED;
        }
        if (option == OPTION_VERSION) {
            printf("clattn-run %d.%d.%d\n", CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
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
    j->in = poptGetArg(context);
    if (!j->in || !j->out) {
        return fail(OUTCOME_USAGE, "the file to %s; see --help",
                    !j->in ? "read is missing" : "write is missing: -o OUT");
    }
    if (poptPeekArg(context)) {
        return fail(OUTCOME_USAGE,
                    "there is one file to read, '%s', but '%s' is given as well; "
                    "see --help",
                    j->in, poptPeekArg(context));
    }
    if (j->causal && j->window[1] > 0) {
        return fail(OUTCOME_USAGE,
                    "--causal contradicts --window %d,%d, which reaches to the right",
                    (int)j->window[0], (int)j->window[1]);
    }
    return -1;
}

/* ---- The job ------------------------------------------------------------ */

/* Of a pass: 2 (D + Dv) a pair forward, backward 2 (3 D + 2 Dv), whatever is computed again. */
static void report_pass(const struct job *j, clattn_pass pass,
                        const struct execute_result *result) {
    const clattn_desc *desc = &j->problem.desc;
    const double dim = desc->head_dim, dim_v = desc->head_dim_v;
    const double pairs = (double)verify_pairs(desc) * desc->batch * desc->heads_q;
    const double flops = 2 * pairs * (pass == CLATTN_FORWARD ? dim + dim_v : 3 * dim + 2 * dim_v);
    const double rate = result->seconds > 0 ? flops / result->seconds : 0;
    fprintf(stderr, "variant    %s\n", result->variant);
    fprintf(stderr, "time       %.6g ms, median of %u, %s clock\n", result->seconds * 1e3,
            j->repeat, result->device_time ? "device" : "host");
    fprintf(stderr, "rate       %.4g %s\n", rate >= 1e12 ? rate * 1e-12 : rate * 1e-9,
            rate >= 1e12 ? "TFLOP/s" : "GFLOP/s");
    fprintf(stderr, "workspace  %zu bytes\n", result->workspace);
}

static void report(const struct job *j, const struct select_device *device,
                   const struct execute_result results[EXECUTE_PASSES]) {
    const struct execute_tensor *t = j->problem.tensors;
    char text[256];
    clattn_desc_format(&j->problem.desc, text, sizeof text, NULL);
    fprintf(stderr, "used       q, k, v");
    for (int i = EXECUTE_ALIBI; i < EXECUTE_TENSORS; i++) {
        fprintf(stderr, "%s%s", t[i].name ? ", " : "", t[i].name ? t[i].name : "");
    }
    fprintf(stderr, "%s%s\n", t[EXECUTE_D_O].name ? ", do" : "",
            t[EXECUTE_D_LSE].name ? ", dlse" : "");
    if (j->problem.unused[0]) {
        fprintf(stderr, "not used   %s\n", j->problem.unused);
    }
    fprintf(stderr, "problem    %s\n", text);
    fprintf(stderr, "device     %s\n", device->label);
    report_pass(j, CLATTN_FORWARD, &results[CLATTN_FORWARD]);
    if (j->problem.backward) {
        report_pass(j, CLATTN_BACKWARD, &results[CLATTN_BACKWARD]);
    }
}

static struct verify_tensor view(const struct execute_tensor *tensor) {
    return (struct verify_tensor){tensor->data, &tensor->layout};
}

/* Returns an exit code. */
static int verify_output(const struct job *j, double scale, bool *passed) {
    const struct execute_tensor *t = j->problem.tensors;
    struct verify_result result;
    const struct verify_tensors tensors = {.q = view(&t[EXECUTE_Q]),
                                           .k = view(&t[EXECUTE_K]),
                                           .v = view(&t[EXECUTE_V]),
                                           .alibi = view(&t[EXECUTE_ALIBI]),
                                           .bias = view(&t[EXECUTE_BIAS]),
                                           .mask = view(&t[EXECUTE_MASK]),
                                           .sink = view(&t[EXECUTE_SINK]),
                                           .o = view(&t[EXECUTE_O]),
                                           .lse = view(&t[EXECUTE_LSE])};
    if (!verify_forward(&j->problem.desc, scale, &tensors, &result)) {
        return fail(OUTCOME_FAILED, "--verify: out of memory");
    }
    *passed = result.passed;
    printf("verify     %s: %" PRIu64 " of %" PRIu64 " rows; o: error %.3g, bound %.3g; "
           "lse: error %.3g, bound %.3g\n",
           result.passed ? "passed" : "FAILED", result.checked, result.rows, result.error,
           result.bound, result.lse_error, result.lse_bound);
    if (result.ill_rows) {
        printf("           %" PRIu64
               " of the rows are ill-conditioned: scores in f32 do not determine "
               "their o, which is finite and in the range of v\n",
               result.ill_rows);
    }
    return OUTCOME_DONE;
}

static int verify_backward(const struct job *j, double scale, bool *passed) {
    const struct execute_tensor *t = j->problem.tensors;
    const struct verify_gradients given = {
        .q = view(&t[EXECUTE_Q]),
        .k = view(&t[EXECUTE_K]),
        .v = view(&t[EXECUTE_V]),
        .o = view(&t[EXECUTE_O]),
        .lse = view(&t[EXECUTE_LSE]),
        .d_o = view(&t[EXECUTE_D_O]),
        .d_lse = view(&t[EXECUTE_D_LSE]),
        .alibi = view(&t[EXECUTE_ALIBI]),
        .bias = view(&t[EXECUTE_BIAS]),
        .mask = view(&t[EXECUTE_MASK]),
        .sink = view(&t[EXECUTE_SINK]),
        .gradients = {view(&t[EXECUTE_D_Q]), view(&t[EXECUTE_D_K]), view(&t[EXECUTE_D_V])}};
    struct verify_gradients_result result;
    if (!verify_gradients(&j->problem.desc, scale, &given, GRADIENTS_BUDGET, &result)) {
        return fail(OUTCOME_FAILED, "--verify: out of memory");
    }
    *passed = result.passed;
    printf("verify     %s: %" PRIu64 " of %" PRIu64 " rows of gradients; dq: error %.3g, bound "
           "%.3g; dk: error %.3g, bound %.3g; dv: error %.3g, bound %.3g\n",
           result.passed ? "passed" : "FAILED", result.checked, result.rows,
           result.error[VERIFY_D_Q], result.bound[VERIFY_D_Q], result.error[VERIFY_D_K],
           result.bound[VERIFY_D_K], result.error[VERIFY_D_V], result.bound[VERIFY_D_V]);
    if (result.ill_rows) {
        printf("           %" PRIu64 " of the rows are ill-conditioned: scores in f32 do not "
               "determine their gradients, which are finite\n",
               result.ill_rows);
    }
    return OUTCOME_DONE;
}

static int verify(const struct job *j) {
    const double scale = j->scale < FLT_MAX ? (double)j->scale : 1 / sqrt(j->problem.desc.head_dim);
    bool forward = false, backward = true;
    int outcome = verify_output(j, scale, &forward);
    if (outcome == OUTCOME_DONE && j->problem.backward) {
        outcome = verify_backward(j, scale, &backward);
    }
    fflush(stdout);
    return outcome != OUTCOME_DONE ? outcome
           : forward && backward
               ? OUTCOME_DONE
               : fail(OUTCOME_FAILED, "the result is out of its bound: %s is not written", j->out);
}

static int compute(struct job *j) {
    struct select_list list;
    cl_int status = select_all(&list);
    const struct select_device *device = select_find(&list, j->device);
    int outcome = OUTCOME_NO_DEVICE;
    for (size_t i = 0; !device && i < list.platform_count; i++) {
        if (list.platforms[i].status != CL_SUCCESS) {
            fprintf(stderr, "clattn-run: note: %s does not list its devices: %s\n",
                    list.platforms[i].name, clattn_status_name(list.platforms[i].status));
        }
    }
    if (status != CL_SUCCESS) {
        fail(outcome, "the OpenCL platforms cannot be listed: %s", clattn_status_name(status));
    } else if (list.device_count == 0) {
        fail(outcome, "there is no OpenCL device");
    } else if (!device) {
        fail(outcome, "no OpenCL device is '%s'; clattn-info lists %zu", j->device,
             list.device_count);
    } else {
        struct execute_result results[EXECUTE_PASSES];
        clattn_desc descs[EXECUTE_PASSES];
        for (clattn_pass pass = CLATTN_FORWARD; pass < EXECUTE_PASSES; pass++) {
            descs[pass] = j->problem.desc;
            descs[pass].pass = pass;
            descs[pass].variant = j->variants[pass];
        }
        outcome = outcome_of(execute("clattn-run", device->platform, device->id, j->tuning, descs,
                                     j->problem.backward ? 2 : 1, j->scale, j->repeat,
                                     j->problem.tensors, results));
        if (outcome == OUTCOME_DONE) {
            report(j, device, results);
        }
    }
    select_destroy(&list);
    return outcome;
}

static int run(struct job *j) {
    char why[PROBLEM_FILE_WHY] = "";
    j->problem.ignored = (const char *const *)j->ignored;
    j->problem.ignored_count = j->ignored_count;
    int outcome = problem_file_load(&j->problem, j->in, why);
    if (outcome != OUTCOME_DONE) {
        return fail(outcome, "%s: %s", j->in, why);
    }
    if (j->variants[CLATTN_BACKWARD] && !j->problem.backward) {
        return fail(OUTCOME_USAGE,
                    "--variant: '%s' is of backward, but %s has no tensor 'do' to use",
                    j->variants[CLATTN_BACKWARD], j->in);
    }
    const char *reason = replace_check(j->out);
    if (reason) {
        return fail(OUTCOME_FAILED, "%s: cannot be written: %s", j->out, reason);
    }
    clattn_desc *desc = &j->problem.desc;
    desc->band_left = j->window[0];
    desc->band_right = j->causal ? 0 : j->window[1];
    desc->align = j->align;
    desc->softcap = j->softcap;
    outcome = compute(j);
    if (outcome == OUTCOME_DONE && j->verify) {
        outcome = verify(j);
    }
    if (outcome == OUTCOME_DONE) {
        outcome = problem_file_store(&j->problem, j->out, why);
        if (outcome != OUTCOME_DONE) {
            fail(outcome, "%s: %s", j->out, why);
        }
    }
    return outcome;
}

int main(int argc, char **argv) {
    /* A file that may not grow is an error to report, not a reason to die. */
    signal(SIGXFSZ, SIG_IGN);
    struct job j = {.window = {CLATTN_UNBOUNDED, CLATTN_UNBOUNDED},
                    .align = CLATTN_ALIGN_END,
                    .scale = CLATTN_SCALE_DEFAULT,
                    .repeat = 1};
    poptContext context = poptGetContext("clattn-run", argc, (const char **)argv, options, 0);
    if (!context) {
        return fail(OUTCOME_FAILED, "out of memory");
    }
    poptSetOtherOptionHelp(context, "[OPTION...] IN.safetensors -o OUT.safetensors");
    int outcome = parse_options(&j, context);
    if (outcome < 0) {
        outcome = run(&j);
    }
    problem_file_destroy(&j.problem);
    free(j.out);
    free(j.device);
    for (int i = 0; i < EXECUTE_PASSES; i++) {
        free(j.variants[i]);
    }
    for (size_t i = 0; i < j.ignored_count; i++) {
        free(j.ignored[i]);
    }
    free(j.tuning);
    poptFreeContext(context);
    return outcome;
}
