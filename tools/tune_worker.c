/* posix_spawn, kill */
#define _XOPEN_SOURCE 700

#include "tune_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench_machine.h"

extern char **environ;

enum { SLICE = 50, MOST_FAILURES = 3 }; /* SLICE: milliseconds */
enum { BURIAL = 200 };                  /* slices that a killed child has to end */

/* What a child says of its time, and what passes here, differ by this factor at most. */
#define BELIEF 8
#define LATENCY 0.05 /* seconds of a pipe and a scheduler */

enum heard { LINE, END, LATE, STOPPED };

/* ---- The process --------------------------------------------------------- */

static bool make_pipe(int ends[2]) {
    if (pipe(ends) != 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
    return true;
}

static int spawn(struct tune_worker *w, int in, int out) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults, none;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGTERM);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    /* A group of its own: what the child starts ends with it, and Ctrl-C is for the tuner. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setsigmask(&attributes, &none);
    const int code = posix_spawn(&w->pid, w->program, &actions, &attributes, w->arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

/* Kills what is left of the child and forgets it.  Returns how it ended; -1: it does not end, as a
 * process may that waits for a device. */
static int bury(struct tune_worker *w, int grace) {
    int status = -1;
    bool ended = false;
    for (int i = 0; i < grace && !ended; i++) {
        ended = waitpid(w->pid, &status, WNOHANG) == w->pid;
        if (!ended) {
            poll(NULL, 0, SLICE);
        }
    }
    kill(-w->pid, SIGKILL);
    for (int i = 0; i < BURIAL && !ended; i++) {
        ended = waitpid(w->pid, &status, WNOHANG) == w->pid;
        if (!ended) {
            poll(NULL, 0, i ? SLICE : 1);
        }
    }
    close(w->to);
    close(w->from);
    w->pid = 0;
    w->length = 0;
    return ended ? status : -1;
}

void tune_worker_stop(struct tune_worker *w) {
    if (w->pid > 0) {
        bury(w, 0);
    }
}

/* How a child that says nothing more has ended.  It may have closed its output and live: it gets a
 * moment. */
static void reap(struct tune_worker *w, struct tune_result *result) {
    const int status = bury(w, 20);
    result->outcome = TUNE_CRASHED;
    if (status != -1 && WIFEXITED(status)) {
        snprintf(result->why, sizeof result->why, "its process ended by itself, exit code %d",
                 WEXITSTATUS(status));
    } else {
        snprintf(result->why, sizeof result->why, "its process was ended by signal %d",
                 status == -1 ? SIGKILL : WTERMSIG(status));
    }
}

/* ---- Lines --------------------------------------------------------------- */

/* Printable ASCII, whatever the child sent. */
static void clean(char *text) {
    for (; *text; text++) {
        *text = *text < ' ' || *text > '~' ? '?' : *text;
    }
}

/* Takes a line off the buffer; false where there is no whole one. */
static bool take_line(struct tune_worker *w, char *line) {
    char *feed = memchr(w->buffer, '\n', w->length);
    if (!feed) {
        return false;
    }
    const size_t length = (size_t)(feed - w->buffer);
    memcpy(line, w->buffer, length);
    line[length] = '\0';
    clean(line);
    w->length -= length + 1;
    memmove(w->buffer, feed + 1, w->length);
    return true;
}

static enum heard hear(struct tune_worker *w, double until, char line[sizeof w->buffer]) {
    while (!take_line(w, line)) {
        const double now = bench_machine_now();
        if (*w->stop || now >= w->deadline) {
            return STOPPED;
        }
        /* A line that fills the buffer is none. */
        if (now >= until || w->length == sizeof w->buffer) {
            return now >= until ? LATE : END;
        }
        if (w->wait) {
            w->wait(w->user, w->deadline - now);
        }
        struct pollfd from = {.fd = w->from, .events = POLLIN};
        if (poll(&from, 1, SLICE) <= 0) {
            continue;
        }
        const ssize_t got = read(w->from, w->buffer + w->length, sizeof w->buffer - w->length);
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
            return END;
        }
        w->length += got > 0 ? (size_t)got : 0;
    }
    return LINE;
}

/* Returns TUNE_ANSWERED where a child is there and ready. */
static enum tune_asked start(struct tune_worker *w) {
    char line[sizeof w->buffer];
    while (w->pid == 0) {
        int to[2] = {-1, -1}, from[2] = {-1, -1};
        int code = make_pipe(to) && make_pipe(from) ? spawn(w, to[0], from[1]) : errno;
        close(to[0]);
        close(from[1]);
        w->to = to[1];
        w->from = from[0];
        if (code != 0) {
            w->pid = 0;
            close(w->to);
            close(w->from);
            snprintf(w->why, sizeof w->why, "%s cannot be started: %s", w->program, strerror(code));
            return TUNE_NO_CHILD;
        }
        const enum heard heard = hear(w, bench_machine_now() + w->limit, line);
        if (heard == LINE && strcmp(line, "ready") == 0) {
            w->failures = 0;
            break;
        }
        tune_worker_stop(w);
        if (heard == STOPPED) {
            return TUNE_STOPPED;
        }
        const bool failed = heard == LINE && strncmp(line, "failed ", 7) == 0;
        snprintf(w->why, sizeof w->why, "%.*s", (int)sizeof w->why - 1,
                 failed          ? line + 7
                 : heard == LATE ? "the child process is not ready in time"
                                 : "the child process ends before it is ready");
        if (failed || ++w->failures >= MOST_FAILURES) {
            return TUNE_NO_CHILD;
        }
    }
    return TUNE_ANSWERED;
}

/* ---- Answers ------------------------------------------------------------- */

static bool is_time(double value) {
    return value > 0 && value < 1e9;
}

/* One word of `ok`; *claimed grows by the seconds that it says were spent. */
static bool read_times(const char *word, struct tune_times *t, double *claimed) {
    int end = 0;
    *t = (struct tune_times){.median = 0};
    if (strcmp(word, "-") == 0) {
        return true;
    }
    const bool good = sscanf(word, "%lf:%lf:%lf:%u:%u:%lf:%lf%n", &t->median, &t->low, &t->high,
                             &t->samples, &t->passes, &t->error, &t->bound, &end) == 7 &&
                      word[end] == '\0' && is_time(t->median) && is_time(t->low) &&
                      is_time(t->high) && t->low <= t->median && t->median <= t->high &&
                      t->samples > 0 && t->samples < 1000000 && t->passes > 0 &&
                      t->passes < 1000000 && t->error >= 0 && t->bound >= 0 && isfinite(t->error) &&
                      isfinite(t->bound);
    *claimed += good ? t->median * t->samples * t->passes : 0;
    return good;
}

/* False where it is no answer. */
static bool read_answer(char *line, size_t count, double passed, struct tune_result *result) {
    double claimed = 0;
    *result = (struct tune_result){.outcome = TUNE_OK};
    if (strncmp(line, "refused ", 8) == 0 || strncmp(line, "wrong ", 6) == 0) {
        result->outcome = line[0] == 'r' ? TUNE_REFUSED : TUNE_WRONG;
        snprintf(result->why, sizeof result->why, "%.*s", (int)sizeof result->why - 1,
                 strchr(line, ' ') + 1);
        return true;
    }
    char *rest = NULL, *word = strtok_r(line, " ", &rest);
    bool good = word && strcmp(word, "ok") == 0;
    while (good && (word = strtok_r(NULL, " ", &rest)) != NULL) {
        good = result->count < count && read_times(word, &result->times[result->count++], &claimed);
    }
    /* Where all failed, it is to say why. */
    if (!good || result->count != count || claimed <= 0) {
        return false;
    }
    if (claimed > BELIEF * passed + LATENCY || passed > BELIEF * claimed + LATENCY) {
        *result = (struct tune_result){.outcome = TUNE_WRONG};
        snprintf(result->why, sizeof result->why,
                 "it says that its passes took %.3g s, but %.3g s went by", claimed, passed);
    }
    return true;
}

static bool send_request(struct tune_worker *w, const char *request) {
    size_t left = strlen(request);
    while (left > 0) {
        const ssize_t put = write(w->to, request, left);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return false;
        }
        request += put;
        left -= (size_t)put;
    }
    return true;
}

enum tune_asked tune_worker_ask(struct tune_worker *w, const char *request, size_t count,
                                struct tune_result *result) {
    char line[sizeof w->buffer];
    *result = (struct tune_result){.outcome = TUNE_CRASHED};
    const enum tune_asked started = start(w);
    if (started != TUNE_ANSWERED) {
        return started;
    }
    const double until = bench_machine_now() + w->limit;
    double begin = -1;
    enum heard heard = send_request(w, request) ? LINE : END;
    while (heard == LINE && (heard = hear(w, until, line)) == LINE && strcmp(line, "begin") == 0) {
        begin = begin < 0 ? bench_machine_now() : begin;
    }
    const double passed = begin < 0 ? 0 : bench_machine_now() - begin;
    if (heard == LINE && read_answer(line, count, passed, result)) {
        return TUNE_ANSWERED;
    }
    if (heard == END && w->length < sizeof w->buffer) {
        reap(w, result);
        return TUNE_ANSWERED;
    }
    tune_worker_stop(w);
    *result = (struct tune_result){.outcome = heard == LATE ? TUNE_TIMEOUT : TUNE_CRASHED};
    if (heard == LATE) {
        snprintf(result->why, sizeof result->why, "no answer within %g s", w->limit);
    } else {
        snprintf(result->why, sizeof result->why, "its process answers nonsense");
    }
    return heard == STOPPED ? TUNE_STOPPED : TUNE_ANSWERED;
}
