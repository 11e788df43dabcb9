/*
 * clattn-tune - finds the variants that are fast on a device, each tried in a child process.
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
#include <unistd.h>
#include <clattn.h>
#include <popt.h>
#include "bench_machine.h"
#include "bench_problems.h"
#include "bench_progress.h"
#include "outcome.h"
#include "problem_words.h"
#include "replace.h"
#include "select.h"
#include "tune_check.h"
#include "tune_child.h"
#include "tune_problem.h"
#include "tune_report.h"

struct job {
    char *device, *out, *journal, *check, *child_program; /* owned; may be NULL */
    double budget, limit;
    unsigned long seed, child; /* child: the number of a device */
    bool exhaustive, is_child;
    struct bench_problems problems;
    struct bench_progress progress;
    struct tune_session session;
    struct tune_row *rows;
    size_t done;       /* problems */
    double start, end; /* of the problem in work, by bench_machine_now */
};

static volatile sig_atomic_t stop;

static void on_signal(int number) {
    stop = number;
}

static int fail(int outcome, const char *format, ...) {
    va_list values;
    fputs("clattn-tune: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs("\n", stderr);
    return outcome;
}

/* ---- Options ------------------------------------------------------------ */

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
    "tuning, are timed in turns.\n"
    "\n"
    "gain       of the best over the default, and twice its standard error, at least 0.01: less\n"
    "           is no gain, and no line\n"
    "tried      of the candidates, those in the journal included; then of these those that the\n"
    "           library or the device's compiler refused, that were wrong, that crashed, and that\n"
    "           exceeded --limit\n"
    "\n"
    "The journal has a line for each finished candidate.  After an interruption the same command\n"
    "goes on where it was: what the journal knows of the device, its driver and this version of\n"
    "clattn is not run again.  -o replaces FILE as a whole.\n"
    "\n"
    "Exit code: 0 done; 1 --from-log or --check: FILE cannot be read or has a line that is none;\n"
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
    OPTION_SEED,
    OPTION_CHILD,
    OPTION_CHILD_PROGRAM,
    OPTION_VERSION,
    OPTION_HELP
};

static const struct poptOption options[] = {
    {"preset", 0, POPT_ARG_STRING, NULL, OPTION_PRESET, "problems that belong together (below)",
     "paper|llm|vision|cpu"},
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
    [OPTION_PRESET] = "paper, llm, vision or cpu",
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
static int add_log(struct job *j, const char *path) {
    FILE *file = fopen(path, "r");
    char line[512];
    size_t number = 0;
    if (!file) {
        return fail(OUTCOME_WRONG_FILE, "%s: %s", path, strerror(errno));
    }
    int outcome = OUTCOME_DONE;
    while (outcome == OUTCOME_DONE && fgets(line, sizeof line, file)) {
        number++;
        line[strcspn(line, "\r\n")] = '\0';
        const cl_int status = line[0] ? bench_problems_add(&j->problems, line) : CL_SUCCESS;
        if (status == CLATTN_INVALID_TEXT) {
            char *wrong = problem_words_wrong(line);
            outcome = fail(OUTCOME_WRONG_FILE, "%s:%zu: '%.60s' is not a problem: %.120s", path,
                           number, line, wrong ? wrong : "out of memory");
            free(wrong);
        } else if (status != CL_SUCCESS) {
            outcome = fail(OUTCOME_FAILED, "out of memory");
        }
    }
    if (outcome == OUTCOME_DONE && ferror(file)) {
        outcome = fail(OUTCOME_WRONG_FILE, "%s cannot be read", path);
    }
    fclose(file);
    return outcome;
}

/* One option and its argument.  Returns false if the argument is wrong. */
static bool set_option(struct job *j, int option, const char *text) {
    switch (option) {
    case OPTION_PRESET:
        return bench_problems_add_preset(&j->problems, text) == CL_SUCCESS;
    case OPTION_BUDGET:
        return get_seconds(text, &j->budget);
    case OPTION_LIMIT:
        return get_seconds(text, &j->limit);
    case OPTION_DEVICE:
        return get_string(text, &j->device);
    case OPTION_OUT:
        return get_string(text, &j->out);
    case OPTION_JOURNAL:
        return get_string(text, &j->journal);
    case OPTION_CHECK:
        return get_string(text, &j->check);
    case OPTION_SEED:
        return get_number(text, &j->seed);
    case OPTION_CHILD:
        j->is_child = true;
        return get_number(text, &j->child);
    case OPTION_CHILD_PROGRAM:
        return get_string(text, &j->child_program);
    default:
        j->exhaustive = true;
        return true;
    }
}

static int refuse_problem(const char *text) {
    char *wrong = problem_words_wrong(text);
    const char *hint = strpbrk(text, " \t") ? "" : " (quotes make its words one argument)";
    fail(OUTCOME_USAGE, "'%s' is not a problem: %s%s; see --help", text,
         wrong ? wrong : "out of memory", hint);
    free(wrong);
    return OUTCOME_USAGE;
}

static int parse_problems(struct job *j, poptContext context) {
    for (const char *text; (text = poptGetArg(context)) != NULL;) {
        cl_int status = bench_problems_add(&j->problems, text);
        if (status == CLATTN_INVALID_TEXT) {
            return refuse_problem(text);
        }
        if (status != CL_SUCCESS) {
            return fail(OUTCOME_FAILED, "out of memory");
        }
    }
    if (j->check && (j->problems.count > 0 || j->out || j->journal)) {
        return fail(OUTCOME_USAGE, "--check takes its problems from FILE and writes nothing");
    }
    return j->problems.count > 0 || j->check || j->is_child
               ? -1
               : fail(OUTCOME_USAGE, "there is no problem; see --help");
}

/* Returns an exit code, or -1 to go on. */
static int parse_options(struct job *j, poptContext context) {
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
            outcome = add_log(j, text);
        } else if (!set_option(j, option, text)) {
            outcome = fail(OUTCOME_USAGE, "--%s: '%s' is not %s; see --help",
                           options[option - 1].longName, text, expected[option]);
        }
        free(text);
        if (outcome != OUTCOME_DONE) {
            return outcome;
        }
    }
    if (option < -1) {
        return fail(OUTCOME_USAGE, "%s: %s; see --help",
                    poptBadOption(context, POPT_BADOPTION_NOALIAS), poptStrerror(option));
    }
    return parse_problems(j, context);
}

/* ---- The run ------------------------------------------------------------ */

static void CL_CALLBACK hear(cl_int status, const char *message, void *user) {
    struct tune_session *s = user;
    const int length = (int)strcspn(message, "\n");
    if (status == CL_SUCCESS) {
        fprintf(stderr, "clattn-tune: note: %.*s\n", length, message);
    } else {
        snprintf(s->heard, sizeof s->heard, "%.*s", length, message);
    }
}

static void show(void *user) {
    struct job *j = user;
    const struct tune_row *r = &j->rows[j->done];
    const double now = bench_machine_now();
    snprintf(j->progress.note, sizeof j->progress.note, "best %.4g ms, %zu tried, %zu failed",
             r->fastest * 1e3, r->tried, r->tried - r->outcomes[TUNE_OK]);
    bench_progress_set(&j->progress, j->done, fmin(1, (now - j->start) / (j->end - j->start)));
}

static void wait(void *user, double left) {
    (void)left;
    show(user);
}

/* Returns false where nothing further can be tried. */
static bool tune_all(struct job *j) {
    const double end = bench_machine_now() + j->budget;
    bool going = true;
    bench_progress_start(&j->progress, j->problems.count);
    for (; j->done < j->problems.count && going; j->done += going) {
        /* What a problem leaves, the others get. */
        j->start = bench_machine_now();
        j->end = j->start + (end - j->start) / (double)(j->problems.count - j->done);
        going = tune_problem(&j->session, &j->problems.problem[j->done], j->end, &j->rows[j->done]);
        bench_progress_clear(&j->progress);
        if (j->rows[j->done].why[0]) {
            fail(0, "%s: %s", j->rows[j->done].problem, j->rows[j->done].why);
        }
    }
    return going;
}

/* Prints the lines, and writes them. */
static int write_lines(struct job *j) {
    size_t lines;
    char *text = tune_report_lines(j->session.attention, &j->problems, j->rows, j->done, &lines);
    static const char head[] =
        "# DEVICE ; PROBLEM ; VARIANT ; where the line is from: by clattn-tune\n";
    if (!text) {
        return fail(OUTCOME_FAILED, "out of memory");
    }
    printf("%s%s", lines ? "\n" : "", text);
    int outcome = OUTCOME_DONE;
    if (j->out && !stop) {
        const struct replace_piece pieces[] = {{head, sizeof head - 1}, {text, strlen(text)}};
        const char *why = replace_file(j->out, pieces, 2);
        outcome = why ? fail(OUTCOME_FAILED, "%s cannot be written: %s", j->out, why) : outcome;
    }
    free(text);
    return outcome;
}

static int tune(struct job *j) {
    j->rows = calloc(j->problems.count, sizeof *j->rows);
    if (!j->rows) {
        return fail(OUTCOME_FAILED, "out of memory");
    }
    const bool going = tune_all(j);
    size_t answers = 0;
    cl_int first = CL_SUCCESS;
    for (size_t i = 0; i < j->done; i++) {
        answers += !j->rows[i].why[0];
        first = first == CL_SUCCESS ? j->rows[i].status : first;
    }
    tune_report_table(stdout, j->rows, j->done + !going);
    int outcome = write_lines(j);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        outcome = fail(OUTCOME_FAILED, "the results cannot be written: %s", strerror(errno));
    }
    if (j->session.journal.failed[0]) {
        outcome =
            fail(OUTCOME_FAILED, "the journal cannot be written: %s", j->session.journal.failed);
    }
    if (stop && j->session.journal.file >= 0) {
        fail(0, "the journal is kept: the same command goes on");
    }
    if (!going) {
        return OUTCOME_FAILED;
    }
    return outcome == OUTCOME_DONE && answers == 0
               ? (first == CL_SUCCESS ? OUTCOME_FAILED : outcome_of(first))
               : outcome;
}

static int check(struct job *j) {
    size_t bad;
    const char *why = tune_check(&j->session, j->check, &bad);
    if (why) {
        return fail(j->session.journal.count ? OUTCOME_FAILED : OUTCOME_WRONG_FILE, "%s: %s",
                    j->check, why);
    }
    return bad ? fail(OUTCOME_FAILED, "%s: %zu line%s not good", j->check, bad,
                      bad > 1 ? "s are" : " is")
               : OUTCOME_DONE;
}

static int tune_on(struct job *j, const struct select_device *device, size_t index) {
    struct tune_session *s = &j->session;
    char number[32], *driver = select_device_text(device->id, CL_DRIVER_VERSION);
    char *arguments[] = {"clattn-tune", "--child", number, NULL}, version[32];
    snprintf(number, sizeof number, "%zu", index);
    snprintf(version, sizeof version, "%d.%d.%d", CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
             CLATTN_VERSION_PATCH);
    s->exhaustive = j->exhaustive;
    s->seed = j->seed;
    s->limit = j->limit;
    s->seconds = fmax(0.02, fmin(0.2, j->budget / (double)(j->problems.count + 1) / 100));
    s->show = j->check ? NULL : show;
    s->user = j;
    s->worker.program = j->child_program;
    s->worker.arguments = arguments;
    s->worker.stop = &stop;
    s->worker.wait = j->check ? NULL : wait;
    s->worker.user = j;
    const char *why =
        driver ? tune_journal_open(&s->journal, j->journal, device->label, driver, version)
               : "out of memory";
    int outcome = why ? fail(OUTCOME_FAILED, "the journal %s: %s", j->journal, why) : OUTCOME_DONE;
    if (outcome == OUTCOME_DONE && s->journal.bad > 0) {
        fail(0, "note: %s: %zu lines are none, and passed over", j->journal, s->journal.bad);
    }
    if (outcome == OUTCOME_DONE) {
        outcome = j->check ? check(j) : tune(j);
    }
    tune_worker_stop(&s->worker);
    tune_journal_close(&s->journal);
    free(driver);
    return outcome;
}

static int open_device(struct job *j, const struct select_device *device, size_t index) {
    cl_int status;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)device->platform, 0};
    cl_context context = clCreateContext(properties, 1, &device->id, NULL, NULL, &status);
    if (status != CL_SUCCESS) {
        return fail(OUTCOME_FAILED, "%s: clCreateContext failed: %s", device->label,
                    clattn_status_name(status));
    }
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = context;
    desc.device = device->id;
    desc.notify = hear;
    desc.user_data = &j->session;
    desc.tuning_path = ""; /* no file: what is there without tuning is to be known */
    status = clattn_context_create(&desc, &j->session.attention);
    const int outcome = status == CL_SUCCESS
                            ? tune_on(j, device, index)
                            : fail(outcome_of(status), "%s: %s", device->label, j->session.heard);
    clattn_context_destroy(j->session.attention);
    clReleaseContext(context);
    return outcome;
}

static int select_and_run(struct job *j) {
    const char *why = j->out ? replace_check(j->out) : NULL;
    if (why) {
        return fail(OUTCOME_FAILED, "%s cannot be written: %s", j->out, why);
    }
    if (j->out && !j->journal) {
        const size_t size = strlen(j->out) + sizeof ".journal";
        j->journal = malloc(size);
        if (!j->journal) {
            return fail(OUTCOME_FAILED, "out of memory");
        }
        snprintf(j->journal, size, "%s.journal", j->out);
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
        outcome = open_device(j, device, (size_t)(device - list.devices));
    }
    select_destroy(&list);
    return outcome;
}

/* The program itself, under a name that a child can be started by. */
static bool name_program(struct job *j, const char *name) {
    if (!j->child_program) {
        j->child_program = strdup(access("/proc/self/exe", X_OK) == 0 ? "/proc/self/exe" : name);
    }
    return j->child_program != NULL;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a child that ends early is an outcome */
}

int main(int argc, char **argv) {
    struct job j = {.budget = 300, .limit = 30};
    j.session.journal.file = -1;
    poptContext context = poptGetContext("clattn-tune", argc, (const char **)argv, options, 0);
    if (!context) {
        return fail(OUTCOME_FAILED, "out of memory");
    }
    poptSetOtherOptionHelp(context, "[OPTION...] PROBLEM...");
    int outcome = parse_options(&j, context);
    if (outcome < 0 && j.is_child) {
        outcome = tune_child(j.child);
    } else if (outcome < 0) {
        catch_signals();
        outcome =
            name_program(&j, argv[0]) ? select_and_run(&j) : fail(OUTCOME_FAILED, "out of memory");
    }
    bench_problems_destroy(&j.problems);
    free(j.device);
    free(j.out);
    free(j.journal);
    free(j.check);
    free(j.child_program);
    free(j.rows);
    poptFreeContext(context);
    return outcome;
}
