/* flock, fsync, gmtime_r */
#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700
#define _FILE_OFFSET_BITS 64

#include "tune_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <jansson.h>

const char *const tune_outcome_names[TUNE_OUTCOMES] = {"untried", "ok",      "refused",
                                                       "wrong",   "crashed", "timeout"};

enum { FIGURES = 7 };

/* ---- Reading ------------------------------------------------------------- */

static bool has(const json_t *line, const char *key, const char *value) {
    const char *text = json_string_value(json_object_get(line, key));
    return text && strcmp(text, value) == 0;
}

static bool read_times(const json_t *list, struct tune_times *times) {
    double figures[FIGURES];
    *times = (struct tune_times){.median = 0};
    if (json_is_null(list)) {
        return true;
    }
    for (size_t i = 0; i < FIGURES; i++) {
        const json_t *figure = json_array_get(list, i);
        figures[i] = json_number_value(figure);
        if (!json_is_number(figure) || !(figures[i] >= 0)) {
            return false;
        }
    }
    if (figures[3] > 1e9 || figures[4] > 1e9) {
        return false;
    }
    *times = (struct tune_times){figures[0],           figures[1], figures[2], (unsigned)figures[3],
                                 (unsigned)figures[4], figures[5], figures[6]};
    return figures[0] > 0;
}

static bool read_result(const json_t *line, struct tune_result *result) {
    const char *why = json_string_value(json_object_get(line, "why"));
    const json_t *times = json_object_get(line, "times");
    *result = (struct tune_result){.outcome = TUNE_OK};
    while (result->outcome < TUNE_OUTCOMES &&
           !has(line, "outcome", tune_outcome_names[result->outcome])) {
        result->outcome++;
    }
    result->count = json_array_size(times);
    bool good = result->outcome < TUNE_OUTCOMES && result->count <= TUNE_FINALISTS &&
                (result->outcome == TUNE_OK) == (result->count > 0);
    for (size_t i = 0; good && i < result->count; i++) {
        good = read_times(json_array_get(times, i), &result->times[i]);
    }
    snprintf(result->why, sizeof result->why, "%s", why ? why : "");
    return good;
}

static bool keep(struct tune_journal *j, const char *problem, const char *variant,
                 const struct tune_result *result) {
    struct tune_record *grown = realloc(j->records, (j->count + 1) * sizeof *grown);
    if (!grown) {
        return false;
    }
    j->records = grown;
    struct tune_record record = {strdup(problem), strdup(variant), *result};
    if (!record.problem || !record.variant) {
        free(record.problem);
        free(record.variant);
        return false;
    }
    j->records[j->count++] = record;
    return true;
}

static bool read_line(struct tune_journal *j, const char *text, size_t length) {
    json_t *line = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const char *problem = json_string_value(json_object_get(line, "problem"));
    const char *variant = json_string_value(json_object_get(line, "variant"));
    struct tune_result result;
    bool kept = true;
    if (!problem || !variant || !read_result(line, &result)) {
        j->bad += length > 0;
    } else if (has(line, "device", j->device) && has(line, "driver", j->driver) &&
               has(line, "clattn", j->clattn) && !tune_journal_find(j, problem, variant)) {
        kept = keep(j, problem, variant, &result);
    }
    json_decref(line);
    return kept;
}

static const char *read_all(struct tune_journal *j, off_t size) {
    char *text = malloc((size_t)size + 1);
    size_t length = 0;
    ssize_t got = text ? 1 : -1;
    while (text && got > 0 && length < (size_t)size) {
        got = read(j->file, text + length, (size_t)size - length);
        length += got > 0 ? (size_t)got : 0;
    }
    const char *why = got < 0 ? strerror(errno) : NULL;
    for (const char *at = text, *end = text + length; !why && at < end;) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        j->torn = !feed;
        if (!feed) {
            break;
        }
        why = read_line(j, at, (size_t)(feed - at)) ? NULL : "out of memory";
        at = feed + 1;
    }
    free(text);
    return why;
}

const char *tune_journal_open(struct tune_journal *j, const char *path, const char *device,
                              const char *driver, const char *clattn) {
    *j = (struct tune_journal){.file = -1, .device = device, .driver = driver, .clattn = clattn};
    struct stat status;
    if (!path) {
        return NULL;
    }
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        return "it is there and not a regular file";
    }
    j->file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (j->file < 0) {
        return strerror(errno);
    }
    if (flock(j->file, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? "another clattn-tune writes it" : strerror(errno);
    }
    return fstat(j->file, &status) == 0 ? read_all(j, status.st_size) : strerror(errno);
}

void tune_journal_close(struct tune_journal *j) {
    for (size_t i = 0; i < j->count; i++) {
        free(j->records[i].problem);
        free(j->records[i].variant);
    }
    free(j->records);
    if (j->file >= 0) {
        close(j->file);
    }
    *j = (struct tune_journal){.file = -1};
}

const struct tune_result *tune_journal_find(const struct tune_journal *j, const char *problem,
                                            const char *variant) {
    for (size_t i = 0; i < j->count; i++) {
        if (strcmp(j->records[i].variant, variant) == 0 &&
            strcmp(j->records[i].problem, problem) == 0) {
            return &j->records[i].result;
        }
    }
    return NULL;
}

/* ---- Writing ------------------------------------------------------------- */

static json_t *figures_of(const struct tune_times *t) {
    return t->median > 0
               ? json_pack("[fffiiff]", t->median, t->low, t->high, (int)t->samples, (int)t->passes,
                           isfinite(t->error) ? t->error : 0, isfinite(t->bound) ? t->bound : 0)
               : json_null();
}

/* The line with its feed, and one before it behind a line that was torn.  NULL: out of memory. */
static char *format(const struct tune_journal *j, const char *problem, const char *variant,
                    const struct tune_result *result) {
    char date[32] = "";
    const time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) {
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    json_t *times = json_array();
    for (size_t i = 0; i < result->count; i++) {
        json_array_append_new(times, figures_of(&result->times[i]));
    }
    json_t *line =
        json_pack("{ssssssssssssssso}", "problem", problem, "device", j->device, "driver",
                  j->driver, "clattn", j->clattn, "variant", variant, "outcome",
                  tune_outcome_names[result->outcome], "why", result->why, "times", times);
    json_t *dated = json_string(date);
    char *text = line && json_object_set_new(line, "date", dated) == 0
                     ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(6))
                     : NULL;
    json_decref(line);
    const size_t size = text ? strlen(text) + 3 : 0;
    char *whole = text ? malloc(size) : NULL;
    if (whole) {
        snprintf(whole, size, "%s%s\n", j->torn ? "\n" : "", text);
    }
    free(text);
    return whole;
}

bool tune_journal_add(struct tune_journal *j, const char *problem, const char *variant,
                      const struct tune_result *result) {
    if (!keep(j, problem, variant, result)) {
        return false;
    }
    if (j->file < 0 || j->failed[0]) {
        return true;
    }
    char *line = format(j, problem, variant, result);
    const size_t length = line ? strlen(line) : 0;
    const ssize_t put = line ? write(j->file, line, length) : -1;
    if (put >= 0 && (size_t)put < length) {
        snprintf(j->failed, sizeof j->failed, "there is no room for a whole line");
    } else if (put < 0 || fsync(j->file) != 0) {
        snprintf(j->failed, sizeof j->failed, "%s", line ? strerror(errno) : "out of memory");
    } else {
        j->torn = false;
    }
    free(line);
    return true;
}
