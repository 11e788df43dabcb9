/* flock, strdup, fstat */
#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700

#include "tune_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "replace.h"
#include "tune_line.h"

enum { KEY = 4 * TUNE_WORDS };

char *tune_files_read(const char *path, const char **why) {
    FILE *file = fopen(path, "rb");
    struct stat status;
    char *text = NULL;
    *why = NULL;
    if (!file || fstat(fileno(file), &status) != 0) {
        *why = strerror(errno);
    } else if (!S_ISREG(status.st_mode)) {
        *why = "it is not a regular file";
    } else if (status.st_size > TUNE_FILES_LARGEST) {
        *why = "it is larger than 4 MiB";
    } else if ((text = malloc((size_t)status.st_size + 1)) == NULL) {
        *why = "out of memory";
    } else {
        const size_t got = fread(text, 1, (size_t)status.st_size, file);
        text[got] = '\0';
        *why = ferror(file) ? strerror(errno) : strlen(text) < got ? "it is not a text" : NULL;
    }
    if (file) {
        fclose(file);
    }
    static const char mark[] = "\xEF\xBB\xBF"; /* what some editors put before a text in UTF-8 */
    if (!*why && strncmp(text, mark, 3) == 0) {
        memmove(text, text + 3, strlen(text + 3) + 1);
    }
    if (*why) {
        free(text);
        text = NULL;
    }
    return text;
}

/* ---- Joining ------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char wrong[] = "# malformed: ";

/* What a line is about: device, pass, and the problem's words in order. */
static void make_key(const struct tune_fields *line, char key[KEY]) {
    char words[TUNE_WORDS], *word[TUNE_WORDS / 2], *rest = NULL;
    size_t count = 0;
    snprintf(words, sizeof words, "%s", line->words);
    for (char *at = strtok_r(words, " \t\r", &rest); at; at = strtok_r(NULL, " \t\r", &rest)) {
        word[count++] = at;
    }
    qsort(word, count, sizeof *word, compare);
    int used = snprintf(key, KEY, "%s ; %s", line->device,
                        strncmp(line->variant, "bwd_", 4) == 0 ? "bwd" : "fwd");
    for (size_t i = 0; i < count; i++) {
        used += snprintf(key + used, KEY - (size_t)used, " %s", word[i]);
    }
}

struct joined {
    char **keys;           /* of the lines that stand, a comment's is the comment */
    size_t count, earlier; /* earlier: those of earlier texts */
    char *text;
    size_t used;
};

static bool stands(const struct joined *j, const char *key) {
    for (size_t i = 0; i < j->earlier; i++) {
        if (strcmp(j->keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* Adds a line without its feed. */
static bool add_line(struct joined *j, const char *line, size_t *malformed) {
    struct tune_fields fields;
    char key[KEY];
    const enum tune_kind kind = tune_line_read(line, &fields);
    const size_t size = strlen(line) + sizeof wrong;
    char *written = malloc(size);
    char **grown = realloc(j->keys, (j->count + 1) * sizeof *grown);
    j->keys = grown ? grown : j->keys;
    if (!written || !grown) {
        free(written);
        return false;
    }
    snprintf(written, size, "%s%s", kind == TUNE_MALFORMED ? wrong : "", line);
    if (kind == TUNE_LINE_OF_FILE) {
        make_key(&fields, key);
    }
    if (stands(j, kind == TUNE_LINE_OF_FILE ? key : written)) {
        free(written);
        return true;
    }
    *malformed += kind == TUNE_MALFORMED;
    j->used += (size_t)sprintf(j->text + j->used, "%s\n", written);
    if (kind == TUNE_LINE_OF_FILE) {
        free(written);
        written = strdup(key);
    }
    j->keys[j->count] = written;
    j->count += written != NULL;
    return written != NULL;
}

char *tune_files_merge(const char *const *texts, size_t count, size_t *malformed) {
    struct joined j = {.count = 0};
    size_t size = 1;
    bool good = true;
    *malformed = 0;
    for (size_t i = 0; i < count; i++) {
        size += strlen(texts[i]) + 1;
        for (const char *at = texts[i]; *at; at++) {
            size += *at == '\n' ? sizeof wrong : 0;
        }
        size += sizeof wrong;
    }
    j.text = malloc(size);
    good = j.text != NULL;
    for (size_t i = 0; good && i < count; i++) {
        char *copy = strdup(texts[i]);
        good = copy != NULL;
        j.earlier = j.count;
        for (char *at = copy, *next; good && *at; at = next) {
            next = at + strcspn(at, "\n");
            next += *next ? (*next = '\0', 1) : 0;
            good = add_line(&j, at, malformed);
        }
        free(copy);
    }
    for (size_t i = 0; i < j.count; i++) {
        free(j.keys[i]);
    }
    free(j.keys);
    if (!good) {
        free(j.text);
        return NULL;
    }
    j.text[j.used] = '\0';
    return j.text;
}

/* ---- The user's own ------------------------------------------------------ */

char *tune_files_own(void) {
    static const char name[] = "/clattn/tuning.txt";
    const char *folder = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    const bool usable = folder && folder[0] == '/'; /* others are to be ignored */
    const char *above = usable ? folder : home;
    if (!above || !above[0]) {
        return NULL;
    }
    const size_t size = strlen(above) + sizeof "/.config" + sizeof name;
    char *path = malloc(size);
    if (path) {
        snprintf(path, size, "%s%s%s", above, usable ? "" : "/.config", name);
    }
    return path;
}

/* Makes those above a file that are not there.  Returns NULL or why it cannot. */
static const char *make_folders(const char *path) {
    char *copy = strdup(path);
    const char *why = copy ? NULL : "out of memory";
    for (char *at = copy; !why && (at = strchr(at + 1, '/')) != NULL;) {
        *at = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST && access(copy, X_OK) != 0) {
            why = strerror(errno);
        }
        *at = '/';
    }
    free(copy);
    return why;
}

/* The folder of a file, locked; what cannot be locked is used all the same. */
static int lock_folder(const char *path) {
    char *folder = strdup(path);
    int file = -1;
    if (folder) {
        *strrchr(folder, '/') = '\0';
        file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        free(folder);
    }
    while (file >= 0 && flock(file, LOCK_EX) != 0 && errno == EINTR) {
    }
    return file;
}

const char *tune_files_can_install(const char *path) {
    const char *why = path ? make_folders(path) : "neither XDG_CONFIG_HOME nor HOME is set";
    return why ? why : replace_check(path);
}

const char *tune_files_install(const char *path, const char *text, size_t *malformed) {
    const char *why = tune_files_can_install(path);
    if (why) {
        return why;
    }
    const int folder = lock_folder(path);
    char *old = access(path, F_OK) == 0 ? tune_files_read(path, &why) : NULL;
    const char *const texts[] = {text, old ? old : ""};
    char *joined = why ? NULL : tune_files_merge(texts, 2, malformed);
    if (!why && !joined) {
        why = "out of memory";
    } else if (!why && strlen(joined) > TUNE_FILES_LARGEST) {
        why = "it would be larger than 4 MiB";
    } else if (!why) {
        const struct replace_piece piece = {joined, strlen(joined)};
        why = replace_file(path, &piece, 1);
    }
    free(joined);
    free(old);
    if (folder >= 0) {
        close(folder); /* and so unlocks it */
    }
    return why;
}
