/* realpath, fsync, fchmod */
#define _XOPEN_SOURCE 700
#define _FILE_OFFSET_BITS 64

#include "replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 30, ATTEMPTS = 100, SUFFIX = 64 };

static bool write_all(int file, const void *data, uint64_t size) {
    const char *from = data;
    while (size > 0) {
        ssize_t put = write(file, from, size < CHUNK ? (size_t)size : CHUNK);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return false;
        }
        from += put;
        size -= (uint64_t)put;
    }
    return true;
}

static bool write_pieces(int file, const struct replace_piece *pieces, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!write_all(file, pieces[i].data, pieces[i].size)) {
            return false;
        }
    }
    return fsync(file) == 0;
}

/* A new file in target's directory.  Its name does not hold target's, which may
 * already be as long as a name can be. */
static int open_temporary(const char *target, char *temporary, size_t capacity) {
    const char *slash = strrchr(target, '/');
    int directory = slash ? (int)(slash - target) + 1 : 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        snprintf(temporary, capacity, "%.*s.clattn-%ld-%d", directory, target, (long)getpid(),
                 attempt);
        int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0 || errno != EEXIST) {
            return file;
        }
    }
    return -1;
}

/* mode is negative for a file that is not there yet.  Without pieces the temporary file is made and
 * removed, and that is all. */
static bool replace_target(const char *target, int mode, const struct replace_piece *pieces,
                           size_t count) {
    size_t capacity = strlen(target) + SUFFIX;
    char *temporary = malloc(capacity);
    int file = temporary ? open_temporary(target, temporary, capacity) : -1;
    bool good = false;
    if (file >= 0) {
        good = !pieces ||
               (write_pieces(file, pieces, count) &&
                (mode < 0 || fchmod(file, (mode_t)mode) == 0) && rename(temporary, target) == 0);
        int reason = errno;
        if (!good || !pieces) {
            unlink(temporary);
        }
        close(file);
        errno = reason;
    }
    free(temporary);
    return good;
}

const char *replace_file(const char *path, const struct replace_piece *pieces, size_t count) {
    struct stat old;
    if (stat(path, &old) != 0) {
        return replace_target(path, -1, pieces, count) ? NULL : strerror(errno);
    }
    if (!S_ISREG(old.st_mode)) {
        return "it is there and not a regular file";
    }
    char *target = realpath(path, NULL);
    bool good = target && replace_target(target, (int)(old.st_mode & 0777), pieces, count);
    free(target);
    return good ? NULL : strerror(errno);
}

const char *replace_check(const char *path) {
    const size_t length = strlen(path);
    return length == 0 || path[length - 1] == '/' ? "it names no file"
                                                  : replace_file(path, NULL, 0);
}
