/* strdup */
#define _POSIX_C_SOURCE 200809L

#include "tune_options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "outcome.h"
#include "problem_words.h"

int tune_fail(int outcome, const char *format, ...) {
    va_list values;
    fputs("clattn-tune: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs("\n", stderr);
    return outcome;
}

static const char *const about =
    "\n"
    "Finds the variants that are fastest on a device, and prints them as tuning lines, of which\n"
    "--tuning of the other tools, CLATTN_TUNING in the environment and tuning_path of a context\n"
    "take a file.  PROBLEM is one argument, the words of a problem: \"f16 b2 h32:8 q4096 k4096\n"
    "d128 causal\" (clattn-info --help explains them).  Presets:\n"
    "\n";

static const char *const columns =
    "\n"
    "Each candidate is built, compared with attention in double precision on small shapes and on\n"
    "the problem, and then timed, in a child process: what crashes a driver, hangs or is wrong\n"
    "costs itself alone.  At the end the best five and the default, what clattn chooses without\n"
    "tuning, are timed in turns; a gain is then confirmed by these two alone.\n"
    "\n"
    "gain       of the best over the default, and twice its standard error, at least 0.01: less\n"
    "           is no gain, and no line\n"
    "tried      of the candidates, those in the journal included; then of these those that the\n"
    "           library or the device's compiler refused, that were wrong, that crashed, and that\n"
    "           exceeded --limit\n"
    "\n"
    "The journal has a line for each finished candidate.  After an interruption the same command\n"
    "goes on where it was: what the journal knows of the device, its driver and this build of\n"
    "clattn is not run again.  -o replaces FILE as a whole.\n"
    "\n"
    "--install joins the lines with those of clattn/tuning.txt in $XDG_CONFIG_HOME or ~/.config,\n"
    "before them.  --merge A B -o C writes the lines of A, then those of B.  In both, of lines "
    "for\n"
    "one DEVICE, one PROBLEM and one pass those of the earlier file stay, whatever their gains;\n"
    "every line that stays is as it was, comments included.\n"
    "\n"
    "Exit code: 0 done; 1 --from-log, --check or --merge: a file cannot be read, or a log has a\n"
    "line that is none;\n"
    "2 wrong usage; 3 nothing of it is supported; 4 no such device; 5 anything else: nothing "
    "runs,\n"
    "a file cannot be written, an interruption, a line of --check that is not good.\n";

enum {
    OPTION_PRESET = 1,
    OPTION_FROM_LOG,
    OPTION_BUDGET,
    OPTION_LIMIT,
    OPTION_EXHAUSTIVE,
    OPTION_DEVICE,
    OPTION_OUT,
    OPTION_JOURNAL,
    OPTION_CHECK,
    OPTION_INSTALL,
    OPTION_MERGE,
    OPTION_SEED,
    OPTION_CHILD,
    OPTION_CHILD_PROGRAM,
    OPTION_VERSION,
    OPTION_HELP
};

const struct poptOption tune_options_table[] = {
    {"preset", 0, POPT_ARG_STRING, NULL, OPTION_PRESET, "problems that belong together (below)",
     "paper|llm|vision|cpu|train|decode"},
    {"from-log", 0, POPT_ARG_STRING, NULL, OPTION_FROM_LOG,
     "problems that applications ran with CLATTN_LOG=FILE in the environment", "FILE"},
    {"budget", 0, POPT_ARG_STRING, NULL, OPTION_BUDGET, "for all problems together (default 300)",
     "SECONDS"},
    {"limit", 0, POPT_ARG_STRING, NULL, OPTION_LIMIT,
     "for each candidate; then its process is killed (default 30)", "SECONDS"},
    {"exhaustive", 0, POPT_ARG_NONE, NULL, OPTION_EXHAUSTIVE,
     "try every candidate, as far as the budget goes", NULL},
    {"device", 0, POPT_ARG_STRING, NULL, OPTION_DEVICE,
     "number, or part of \"platform / device\" (default 0); clattn-info lists them", "N|NAME"},
    {"output", 'o', POPT_ARG_STRING, NULL, OPTION_OUT, "the tuning file to write", "FILE"},
    {"journal", 0, POPT_ARG_STRING, NULL, OPTION_JOURNAL,
     "where finished candidates are kept (default: the FILE of -o with .journal behind it)",
     "FILE"},
    {"check", 0, POPT_ARG_STRING, NULL, OPTION_CHECK,
     "instead: is each line of a tuning file still legal, right and faster than the default?",
     "FILE"},
    {"install", 0, POPT_ARG_NONE, NULL, OPTION_INSTALL,
     "put the lines into the file that all programs of yours read (below)", NULL},
    {"merge", 0, POPT_ARG_NONE, NULL, OPTION_MERGE,
     "instead: join the tuning files that stand for problems, for -o or --install", NULL},
    {"seed", 0, POPT_ARG_STRING, NULL, OPTION_SEED,
     "of the candidates that are drawn by lot (default 0)", "N"},
    {"child", 0, POPT_ARG_STRING | POPT_ARGFLAG_DOC_HIDDEN, NULL, OPTION_CHILD, NULL, NULL},
    {"child-program", 0, POPT_ARG_STRING | POPT_ARGFLAG_DOC_HIDDEN, NULL, OPTION_CHILD_PROGRAM,
     NULL, NULL},
    {"version", 0, POPT_ARG_NONE, NULL, OPTION_VERSION, "print the version", NULL},
    {"help", 'h', POPT_ARG_NONE, NULL, OPTION_HELP, "print this", NULL},
    POPT_TABLEEND,
};

/* What an option's argument has to be, for the sentence that refuses it. */
static const char *const expected[] = {
    [OPTION_PRESET] = "paper, llm, vision, cpu, train or decode",
    [OPTION_FROM_LOG] = "the name of a file",
    [OPTION_BUDGET] = "a number of seconds above 0 and below 1e9",
    [OPTION_LIMIT] = "a number of seconds above 0 and below 1e9",
    [OPTION_DEVICE] = "the number of a device or a part of its name",
    [OPTION_OUT] = "the name of a file",
    [OPTION_JOURNAL] = "the name of a file",
    [OPTION_CHECK] = "the name of a file",
    [OPTION_SEED] = "a whole number from 0 to 4294967295",
    [OPTION_CHILD] = "the number of a device",
    [OPTION_CHILD_PROGRAM] = "the name of a file",
};

static bool get_seconds(const char *text, double *value) {
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && *value > 0 && *value < 1e9;
}

static bool get_number(const char *text, unsigned long *value) {
    char *end;
    errno = 0;
    *value = strtoul(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *value <= 0xFFFFFFFFu;
}

static bool get_string(const char *text, char **value) {
    free(*value);
    *value = text[0] != '\0' ? strdup(text) : NULL;
    return *value != NULL;
}

/* 0, or why the file's problems are not there. */
static int add_log(struct tune_options *o, const char *path) {
    FILE *file = fopen(path, "r");
    char line[512];
    size_t number = 0;
    if (!file) {
        return tune_fail(OUTCOME_WRONG_FILE, "%s: %s", path, strerror(errno));
    }
    int outcome = OUTCOME_DONE;
    while (outcome == OUTCOME_DONE && fgets(line, sizeof line, file)) {
        number++;
        line[strcspn(line, "\r\n")] = '\0';
        const cl_int status = line[0] ? bench_problems_add(&o->problems, line) : CL_SUCCESS;
        if (status == CLATTN_INVALID_TEXT) {
            char *wrong = problem_words_wrong(line);
            outcome = tune_fail(OUTCOME_WRONG_FILE, "%s:%zu: '%.60s' is not a problem: %.120s",
                                path, number, line, wrong ? wrong : "out of memory");
            free(wrong);
        } else if (status != CL_SUCCESS &&
                   status != CLATTN_UNSUPPORTED) { /* merges are not tuned */
            outcome = tune_fail(OUTCOME_FAILED, "out of memory");
        }
    }
    if (outcome == OUTCOME_DONE && ferror(file)) {
        outcome = tune_fail(OUTCOME_WRONG_FILE, "%s cannot be read", path);
    }
    fclose(file);
    return outcome;
}

/* One option and its argument.  Returns false if the argument is wrong. */
static bool set_option(struct tune_options *o, int option, const char *text) {
    switch (option) {
    case OPTION_PRESET:
        return bench_problems_add_preset(&o->problems, text) == CL_SUCCESS;
    case OPTION_BUDGET:
        return get_seconds(text, &o->budget);
    case OPTION_LIMIT:
        return get_seconds(text, &o->limit);
    case OPTION_DEVICE:
        return get_string(text, &o->device);
    case OPTION_OUT:
        return get_string(text, &o->out);
    case OPTION_JOURNAL:
        return get_string(text, &o->journal);
    case OPTION_CHECK:
        return get_string(text, &o->check);
    case OPTION_SEED:
        return get_number(text, &o->seed);
    case OPTION_CHILD:
        o->is_child = true;
        return get_number(text, &o->child);
    case OPTION_CHILD_PROGRAM:
        return get_string(text, &o->child_program);
    default:
        o->exhaustive = o->exhaustive || option == OPTION_EXHAUSTIVE;
        o->install = o->install || option == OPTION_INSTALL;
        o->merge = o->merge || option == OPTION_MERGE;
        return true;
    }
}

static int refuse_problem(const char *text) {
    char *wrong = problem_words_wrong(text);
    const char *hint = strpbrk(text, " \t") ? "" : " (quotes make its words one argument)";
    tune_fail(OUTCOME_USAGE, "'%s' is not a problem: %s%s; see --help", text,
              wrong ? wrong : "out of memory", hint);
    free(wrong);
    return OUTCOME_USAGE;
}

/* Keeps the first of those that are the same problem. */
static void drop_repeated(struct bench_problems *p) {
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        char text[128] = "", other[128];
        bool there = false;
        clattn_desc_format(&p->problem[i].desc, text, sizeof text, NULL);
        for (size_t k = 0; k < kept && text[0] && !there; k++) {
            clattn_desc_format(&p->problem[k].desc, other, sizeof other, NULL);
            there = strcmp(text, other) == 0;
        }
        if (!there) {
            p->problem[kept++] = p->problem[i];
        }
    }
    p->count = kept;
}

static int parse_files(struct tune_options *o, poptContext context) {
    o->files = poptGetArgs(context);
    if (o->problems.count > 0 || o->check || o->journal) {
        return tune_fail(OUTCOME_USAGE, "--merge takes tuning files, -o and --install");
    }
    if (!o->out && !o->install) {
        return tune_fail(OUTCOME_USAGE, "--merge: -o FILE or --install says where to");
    }
    return o->files ? -1 : tune_fail(OUTCOME_USAGE, "--merge: there is no file; see --help");
}

static int parse_problems(struct tune_options *o, poptContext context) {
    for (const char *text; (text = poptGetArg(context)) != NULL;) {
        cl_int status = bench_problems_add(&o->problems, text);
        if (status == CLATTN_INVALID_TEXT) {
            return refuse_problem(text);
        }
        if (status == CLATTN_UNSUPPORTED) {
            return tune_fail(OUTCOME_USAGE, "'%s': only fwd and bwd are tuned", text);
        }
        if (status != CL_SUCCESS) {
            return tune_fail(OUTCOME_FAILED, "out of memory");
        }
    }
    for (size_t i = 0; i < o->problems.count; i++) {
        if (o->problems.problem[i].both) {
            return tune_fail(OUTCOME_USAGE, "'%s': fwd+bwd is two problems, one fwd and one bwd",
                             o->problems.problem[i].text);
        }
    }
    drop_repeated(&o->problems);
    if (o->check && (o->problems.count > 0 || o->out || o->journal || o->install)) {
        return tune_fail(OUTCOME_USAGE, "--check takes its problems from FILE and writes nothing");
    }
    return o->problems.count > 0 || o->check || o->is_child
               ? -1
               : tune_fail(OUTCOME_USAGE, "there is no problem; see --help");
}

int tune_options_parse(struct tune_options *o, poptContext context) {
    int option;
    while ((option = poptGetNextOpt(context)) > 0) {
        if (option == OPTION_HELP) {
            poptPrintHelp(context, stdout, 0);
            printf("%s%s%s", about, bench_problems_presets, columns);
            return fflush(stdout) == 0 ? OUTCOME_DONE : OUTCOME_FAILED;
        }
        if (option == OPTION_VERSION) {
            printf("clattn-tune %d.%d.%d\n", CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
                   CLATTN_VERSION_PATCH);
            return fflush(stdout) == 0 ? OUTCOME_DONE : OUTCOME_FAILED;
        }
        char *text = poptGetOptArg(context);
        int outcome = OUTCOME_DONE;
        if (option == OPTION_FROM_LOG) {
            outcome = add_log(o, text);
        } else if (!set_option(o, option, text)) {
            outcome = tune_fail(OUTCOME_USAGE, "--%s: '%s' is not %s; see --help",
                                tune_options_table[option - 1].longName, text, expected[option]);
        }
        free(text);
        if (outcome != OUTCOME_DONE) {
            return outcome;
        }
    }
    if (option < -1) {
        return tune_fail(OUTCOME_USAGE, "%s: %s; see --help",
                         poptBadOption(context, POPT_BADOPTION_NOALIAS), poptStrerror(option));
    }
    return o->merge ? parse_files(o, context) : parse_problems(o, context);
}

void tune_options_destroy(struct tune_options *o) {
    bench_problems_destroy(&o->problems);
    free(o->device);
    free(o->out);
    free(o->journal);
    free(o->check);
    free(o->child_program);
}
