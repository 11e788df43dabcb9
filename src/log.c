#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lock.h"

/* What the process has written: the file's name, a line feed and the problem.  It stays until the
 * process ends, as a plan may be created at any time. */
struct entry {
    struct entry *next;
    char chars[];
};

static struct {
    struct lock_once once;
    struct lock lock;
    bool locked; /* lock has been initialised */
    struct entry *first;
} written = {.once = LOCK_ONCE};

static void prepare(void) {
    written.locked = lock_init(&written.lock);
}

/* Is it new?  Then it is noted; without memory it is new each time. */
static bool note(const char *chars, size_t length) {
    lock_once(&written.once, prepare);
    if (!written.locked) {
        return true;
    }
    struct entry *entry = malloc(sizeof *entry + length + 1);
    lock_take(&written.lock);
    const struct entry *same = written.first;
    while (same && strcmp(same->chars, chars) != 0) {
        same = same->next;
    }
    if (!same && entry) {
        memcpy(entry->chars, chars, length + 1);
        entry->next = written.first;
        written.first = entry;
        entry = NULL;
    }
    lock_give(&written.lock);
    free(entry);
    return !same;
}

/* In one write, so that the lines of several processes do not mix: the line is shorter than any
 * buffer. */
static bool append(const char *path, const char *line) {
    FILE *file = fopen(path, "ab");
    const bool appended = file && fputs(line, file) >= 0;
    return (!file || fclose(file) == 0) && appended;
}

void log_problem(const struct problem *p, struct text *remarks) {
    const char *path = getenv("CLATTN_LOG");
    if (!path || !*path) {
        return;
    }
    struct text key = {0};
    text_printf(&key, "%s\n", path);
    const size_t line = key.length;
    problem_format(p, &key);
    if (!key.failed && note(key.chars, key.length)) {
        text_printf(&key, "\n");
        errno = 0;
        if (key.failed || !append(path, key.chars + line)) {
            text_printf(remarks, "CLATTN_LOG: %s cannot be written: %s\n", path,
                        errno ? strerror(errno) : "no memory");
        }
    }
    text_destroy(&key);
}
