/*
 * clattn-tune - finds the variants that are fast on a device, each tried in a child process.
 */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <math.h>
#include <signal.h>
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
#include "replace.h"
#include "select.h"
#include "tune_build.h"
#include "tune_check.h"
#include "tune_child.h"
#include "tune_files.h"
#include "tune_options.h"
#include "tune_problem.h"
#include "tune_report.h"

struct job {
    struct tune_options options;
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
    const double end = bench_machine_now() + j->options.budget;
    bool going = true;
    bench_progress_start(&j->progress, j->options.problems.count);
    for (; j->done < j->options.problems.count && going; j->done += going) {
        /* What a problem leaves, the others get. */
        j->start = bench_machine_now();
        j->end = j->start + (end - j->start) / (double)(j->options.problems.count - j->done);
        going = tune_problem(&j->session, &j->options.problems.problem[j->done], j->end,
                             &j->rows[j->done]);
        bench_progress_clear(&j->progress);
        if (j->rows[j->done].why[0]) {
            tune_fail(0, "%s: %s", j->rows[j->done].problem, j->rows[j->done].why);
        }
    }
    return going;
}

static void note_malformed(size_t count) {
    if (count > 0) {
        tune_fail(0, "note: lines that were malformed and are comments now: %zu", count);
    }
}

/* text: NULL asks only whether it can be. */
static int install(const char *text) {
    size_t malformed = 0;
    char *path = tune_files_own();
    const char *why =
        text ? tune_files_install(path, text, &malformed) : tune_files_can_install(path);
    const int outcome = why ? tune_fail(OUTCOME_FAILED, "%s cannot be written: %s",
                                        path ? path : "your tuning file", why)
                            : OUTCOME_DONE;
    note_malformed(malformed);
    if (!why && text) {
        tune_fail(0, "installed in %s", path);
    }
    free(path);
    return outcome;
}

/* Joins the files' texts; *joined is to be freed. */
static int join(const char *const *files, char **joined) {
    size_t count = 0, read = 0, malformed = 0;
    const char *why = NULL;
    while (files[count]) {
        count++;
    }
    char **texts = calloc(count, sizeof *texts);
    int outcome = texts ? OUTCOME_DONE : tune_fail(OUTCOME_FAILED, "out of memory");
    for (; outcome == OUTCOME_DONE && read < count; read += outcome == OUTCOME_DONE) {
        texts[read] = tune_files_read(files[read], &why);
        outcome = why ? tune_fail(OUTCOME_WRONG_FILE, "%s: %s", files[read], why) : outcome;
    }
    if (outcome == OUTCOME_DONE) {
        *joined = tune_files_merge((const char *const *)texts, count, &malformed);
        outcome = *joined ? outcome : tune_fail(OUTCOME_FAILED, "out of memory");
    }
    note_malformed(malformed);
    for (size_t i = 0; i < read; i++) {
        free(texts[i]);
    }
    free(texts);
    return outcome;
}

static int merge(const struct tune_options *o) {
    char *joined = NULL;
    int outcome = join(o->files, &joined);
    if (outcome == OUTCOME_DONE && o->out) {
        const struct replace_piece piece = {joined, strlen(joined)};
        const char *why = strlen(joined) > TUNE_FILES_LARGEST ? "it would be larger than 4 MiB"
                                                              : replace_file(o->out, &piece, 1);
        outcome =
            why ? tune_fail(OUTCOME_FAILED, "%s cannot be written: %s", o->out, why) : outcome;
    }
    if (outcome == OUTCOME_DONE && o->install) {
        outcome = install(joined);
    }
    free(joined);
    return outcome;
}

/* Prints the lines, and writes them if there are all of them. */
static int write_lines(struct job *j, bool all) {
    size_t lines;
    char *text =
        tune_report_lines(j->session.attention, &j->options.problems, j->rows, j->done, &lines);
    static const char head[] =
        "# DEVICE ; PROBLEM ; VARIANT ; where the line is from: by clattn-tune\n";
    if (!text) {
        return tune_fail(OUTCOME_FAILED, "out of memory");
    }
    printf("%s%s", lines ? "\n" : "", text);
    int outcome = OUTCOME_DONE;
    if (j->options.out && all) {
        const struct replace_piece pieces[] = {{head, sizeof head - 1}, {text, strlen(text)}};
        const char *why = replace_file(j->options.out, pieces, 2);
        outcome = why ? tune_fail(OUTCOME_FAILED, "%s cannot be written: %s", j->options.out, why)
                      : outcome;
    }
    if (j->options.install && all && lines > 0) {
        const int installed = install(text);
        outcome = installed ? installed : outcome;
    }
    free(text);
    return outcome;
}

static int tune(struct job *j) {
    j->rows = calloc(j->options.problems.count, sizeof *j->rows);
    if (!j->rows) {
        return tune_fail(OUTCOME_FAILED, "out of memory");
    }
    const bool going = tune_all(j);
    size_t answers = 0;
    cl_int first = CL_SUCCESS;
    for (size_t i = 0; i < j->done; i++) {
        answers += !j->rows[i].why[0];
        first = first == CL_SUCCESS ? j->rows[i].status : first;
    }
    tune_report_table(stdout, j->rows, j->done + !going);
    int outcome = write_lines(j, going);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        outcome = tune_fail(OUTCOME_FAILED, "the results cannot be written: %s", strerror(errno));
    }
    if (j->session.journal.failed[0]) {
        outcome = tune_fail(OUTCOME_FAILED, "the journal cannot be written: %s",
                            j->session.journal.failed);
    }
    if (stop && j->session.journal.file >= 0) {
        tune_fail(0, "the journal is kept: the same command goes on");
    }
    if (!going) {
        return OUTCOME_FAILED;
    }
    return outcome == OUTCOME_DONE && answers == 0
               ? (first == CL_SUCCESS ? OUTCOME_FAILED : outcome_of(first))
               : outcome;
}

static int check(struct job *j) {
    const char *why;
    size_t bad;
    const int outcome = tune_check(&j->session, j->options.check, &bad, &why);
    if (why) {
        tune_fail(0, "%s: %s", j->options.check, why);
    } else if (bad) {
        tune_fail(0, "%s: %zu line%s not good", j->options.check, bad, bad > 1 ? "s are" : " is");
    }
    return outcome;
}

static int tune_on(struct job *j, const struct select_device *device, size_t index) {
    struct tune_session *s = &j->session;
    char number[32], *driver = select_device_text(device->id, CL_DRIVER_VERSION);
    char *arguments[] = {"clattn-tune", "--child", number, NULL}, build[TUNE_BUILD];
    snprintf(number, sizeof number, "%zu", index);
    tune_build_name(build);
    s->exhaustive = j->options.exhaustive;
    s->seed = j->options.seed;
    s->limit = j->options.limit;
    s->seconds =
        fmax(0.02, fmin(0.2, j->options.budget / (double)(j->options.problems.count + 1) / 100));
    s->show = j->options.check ? NULL : show;
    s->user = j;
    s->worker.program = j->options.child_program;
    s->worker.arguments = arguments;
    s->worker.stop = &stop;
    s->worker.wait = j->options.check ? NULL : wait;
    s->worker.user = j;
    const char *why =
        driver ? tune_journal_open(&s->journal, j->options.journal, device->label, driver, build)
               : "out of memory";
    int outcome = why ? tune_fail(OUTCOME_FAILED, "the journal %s: %s", j->options.journal, why)
                      : OUTCOME_DONE;
    if (outcome == OUTCOME_DONE && s->journal.bad > 0) {
        tune_fail(0, "note: %s: %zu lines are none, and passed over", j->options.journal,
                  s->journal.bad);
    }
    if (outcome == OUTCOME_DONE) {
        outcome = j->options.check ? check(j) : tune(j);
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
        return tune_fail(OUTCOME_FAILED, "%s: clCreateContext failed: %s", device->label,
                         clattn_status_name(status));
    }
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = context;
    desc.device = device->id;
    desc.notify = hear;
    desc.user_data = &j->session;
    desc.tuning_path = ""; /* no file: what is there without tuning is to be known */
    status = clattn_context_create(&desc, &j->session.attention);
    const int outcome = status == CL_SUCCESS ? tune_on(j, device, index)
                                             : tune_fail(outcome_of(status), "%s: %s",
                                                         device->label, j->session.heard);
    clattn_context_destroy(j->session.attention);
    clReleaseContext(context);
    return outcome;
}

static int select_and_run(struct job *j) {
    const char *why = j->options.out ? replace_check(j->options.out) : NULL;
    if (why) {
        return tune_fail(OUTCOME_FAILED, "%s cannot be written: %s", j->options.out, why);
    }
    if (j->options.install && install(NULL) != OUTCOME_DONE) {
        return OUTCOME_FAILED;
    }
    if (j->options.out && !j->options.journal) {
        const size_t size = strlen(j->options.out) + sizeof ".journal";
        j->options.journal = malloc(size);
        if (!j->options.journal) {
            return tune_fail(OUTCOME_FAILED, "out of memory");
        }
        snprintf(j->options.journal, size, "%s.journal", j->options.out);
    }
    struct select_list list;
    cl_int status = select_all(&list);
    const struct select_device *device = select_find(&list, j->options.device);
    int outcome = OUTCOME_NO_DEVICE;
    if (status != CL_SUCCESS) {
        tune_fail(outcome, "the OpenCL platforms cannot be listed: %s", clattn_status_name(status));
    } else if (list.device_count == 0) {
        tune_fail(outcome, "there is no OpenCL device");
    } else if (!device) {
        tune_fail(outcome, "no OpenCL device is '%s'; clattn-info lists %zu", j->options.device,
                  list.device_count);
    } else {
        outcome = open_device(j, device, (size_t)(device - list.devices));
    }
    select_destroy(&list);
    return outcome;
}

/* The program itself, under a name that a child can be started by. */
static bool name_program(struct job *j, const char *name) {
    if (!j->options.child_program) {
        j->options.child_program =
            strdup(access("/proc/self/exe", X_OK) == 0 ? "/proc/self/exe" : name);
    }
    return j->options.child_program != NULL;
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
    struct job j = {.options = {.budget = 300, .limit = 30}};
    j.session.journal.file = -1;
    poptContext context =
        poptGetContext("clattn-tune", argc, (const char **)argv, tune_options_table, 0);
    if (!context) {
        return tune_fail(OUTCOME_FAILED, "out of memory");
    }
    poptSetOtherOptionHelp(context, "[OPTION...] PROBLEM...");
    int outcome = tune_options_parse(&j.options, context);
    if (outcome < 0 && j.options.is_child) {
        outcome = tune_child(j.options.child);
    } else if (outcome < 0 && j.options.merge) {
        outcome = merge(&j.options);
    } else if (outcome < 0) {
        catch_signals();
        outcome = name_program(&j, argv[0]) ? select_and_run(&j)
                                            : tune_fail(OUTCOME_FAILED, "out of memory");
    }
    tune_options_destroy(&j.options);
    free(j.rows);
    poptFreeContext(context);
    return outcome;
}
