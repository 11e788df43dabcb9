#include "tuning_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads a whole file; *table is to be freed.  who: who names the file, for the sentence.  *missing:
 * there is none. */
static cl_int read_file(const char *path, const char *who, char **table, bool *missing,
                        struct status *status) {
    *table = NULL;
    errno = 0;
    FILE *file = fopen(path, "rb");
    *missing = !file && (errno == ENOENT || errno == ENOTDIR);
    if (!file) {
        return status_set(status, CLATTN_INVALID_TUNING, "%s: cannot open \"%.200s\"", who, path);
    }
    char *chars = malloc(TUNING_LONGEST_FILE + 1);
    const size_t length = chars ? fread(chars, 1, TUNING_LONGEST_FILE + 1, file) : 0;
    const bool failed = ferror(file) != 0;
    fclose(file);
    if (!chars) {
        return status_set(status, CL_OUT_OF_HOST_MEMORY, "%s: no memory for the table", who);
    }
    if (failed || length > TUNING_LONGEST_FILE || memchr(chars, '\0', length)) {
        free(chars);
        return status_set(status, CLATTN_INVALID_TUNING,
                          "%s: \"%.200s\" is not a text of at most %d MiB", who, path,
                          TUNING_LONGEST_FILE >> 20);
    }
    chars[length] = '\0';
    static const char mark[] = "\xEF\xBB\xBF"; /* what some editors put before a text in UTF-8 */
    if (strncmp(chars, mark, 3) == 0) {
        memmove(chars, chars + 3, length - 3 + 1);
    }
    char *shorter = realloc(chars, length + 1);
    *table = shorter ? shorter : chars;
    return CL_SUCCESS;
}

static cl_int add(struct tuning_files *f, const char *path, const char *who, bool *missing,
                  struct text *remarks, struct status *status) {
    const size_t i = f->count;
    const cl_int code = read_file(path, who, &f->texts[i], missing, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    f->count++;
    text_printf(&f->names[i], "the tuning file %s", path);
    f->tables[i] = (struct tuning_table){text_chars(&f->names[i]), f->texts[i]};
    tuning_check(f->texts[i], path, remarks);
    return f->names[i].failed
               ? status_set(status, CL_OUT_OF_HOST_MEMORY, "%s: no memory for the table", who)
               : CL_SUCCESS;
}

/* Appends the path of the user's own file; nothing where the environment does not tell. */
static void own_path(struct text *path) {
#ifdef _WIN32
    const char *folder = getenv("APPDATA"), *home = NULL;
#else
    const char *folder = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    folder = folder && folder[0] == '/' ? folder : NULL; /* others are to be ignored */
#endif
    if (folder && folder[0]) {
        text_printf(path, "%s/clattn/tuning.txt", folder);
    } else if (home && home[0]) {
        text_printf(path, "%s/.config/clattn/tuning.txt", home);
    }
}

cl_int tuning_files_read(struct tuning_files *f, const char *path, struct text *remarks,
                         struct status *status) {
    const char *named = getenv("CLATTN_TUNING");
    struct text own = {0};
    bool missing;
    if (path && !path[0]) {
        return CL_SUCCESS;
    }
    own_path(&own);
    cl_int code = path ? add(f, path, "tuning_path", &missing, remarks, status) : CL_SUCCESS;
    if (code == CL_SUCCESS && named && named[0]) {
        struct status unread = {0};
        if (add(f, named, "CLATTN_TUNING", &missing, remarks, &unread) != CL_SUCCESS) {
            text_printf(remarks, "%s\n", text_chars(&unread.sentence));
        }
        status_destroy(&unread);
    }
    if (code == CL_SUCCESS && own.length) {
        struct status unread = {0};
        if (add(f, text_chars(&own), "the user's tuning file", &missing, remarks, &unread) !=
                CL_SUCCESS &&
            !missing) {
            text_printf(remarks, "%s\n", text_chars(&unread.sentence));
        }
        status_destroy(&unread);
    }
    text_destroy(&own);
    return code;
}

void tuning_files_destroy(struct tuning_files *f) {
    for (size_t i = 0; i < TUNING_FILES; i++) {
        text_destroy(&f->names[i]);
        free(f->texts[i]);
    }
    *f = (struct tuning_files){.count = 0};
}
