#include "tuning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_PROBLEM = 255 }; /* of a line, in bytes */

struct line {
    const char *fields[3]; /* device, problem, variant */
    size_t lengths[3];
};

/* Behind the name in quotes that begins at first, in which a backslash takes the next character
 * with it; first itself where none begins, or where none ends before end. */
static const char *skip_name(const char *first, const char *end) {
    if (first == end || *first != '"') {
        return first;
    }
    const char *at = first + 1;
    while (at < end && *at != '"') {
        at += *at == '\\' ? 2 : 1;
    }
    return at < end ? at + 1 : first;
}

/* Takes a line off *at.  Returns the number of fields, 0 for an empty one.  A name in quotes may
 * hold
 * '#' and ';'. */
static int read_line(const char **at, struct line *line) {
    const char *end = *at + strcspn(*at, "\n");
    const char *name = *at + strspn(*at, " \t\r");
    const char *behind = skip_name(name, end);
    const char *comment = memchr(behind, '#', (size_t)(end - behind));
    const char *stop = comment ? comment : end;
    const char *field = *at;
    int fields = 0;
    bool empty = true;
    for (;; field++) {
        const char *from = field < behind ? behind : field;
        const char *separator = memchr(from, ';', (size_t)(stop - from));
        const char *field_end = separator ? separator : stop;
        const char *first = field, *last = field_end;
        while (first < last && strchr(" \t\r", *first)) {
            first++;
        }
        while (last > first && strchr(" \t\r", last[-1])) {
            last--;
        }
        empty = empty && first == last;
        if (fields < 3) {
            line->fields[fields] = first;
            line->lengths[fields] = (size_t)(last - first);
        }
        fields++;
        if (!separator) {
            break;
        }
        field = separator;
    }
    *at = end + (*end == '\n');
    return fields == 1 && empty ? 0 : fields;
}

/* Is the pattern that name, in quotes? */
static bool is_quoted(const char *pattern, size_t length, const char *name) {
    size_t at = 1;
    for (; at + 1 < length && *name; at++, name++) {
        at += pattern[at] == '\\';
        if (pattern[at] != *name) {
            return false;
        }
    }
    return at + 1 == length && !*name;
}

/* Not empty, ends where the field does, and no backslash but before '"' and '\\'. */
static bool is_sound_name(const char *pattern, size_t length) {
    bool sound = length > 2 && skip_name(pattern, pattern + length) == pattern + length;
    for (size_t at = 1; sound && at + 1 < length; at++) {
        if (pattern[at] == '\\') {
            at++;
            sound = pattern[at] == '"' || pattern[at] == '\\';
        }
    }
    return sound;
}

int tuning_specificity(const struct device *d, const char *pattern, size_t length) {
    if (text_is(pattern, length, "*")) {
        return 0;
    }
    if (length && pattern[0] == '"') {
        return is_sound_name(pattern, length) && is_quoted(pattern, length, d->name) ? 3 : -1;
    }
    if (length && text_is(pattern, length, d->architecture)) {
        return 2;
    }
    size_t vendor = strcspn(d->architecture, "/");
    return length && length == vendor && memcmp(pattern, d->architecture, length) == 0 ? 1 : -1;
}

/* Does the line's problem match?  words is its NUL-terminated copy. */
static bool line_matches(const struct line *line, const struct problem *p, const struct device *d,
                         int specificity) {
    if (tuning_specificity(d, line->fields[0], line->lengths[0]) != specificity) {
        return false;
    }
    char words[LONGEST_PROBLEM + 1];
    const char *bad;
    if (line->lengths[1] > LONGEST_PROBLEM) {
        return false;
    }
    memcpy(words, line->fields[1], line->lengths[1]);
    words[line->lengths[1]] = '\0';
    return problem_matches(p, words, &bad);
}

bool tuning_next(const char *table, const struct problem *p, const struct device *d, size_t *at,
                 struct variant *v, size_t *line_number) {
    size_t match = 0;
    for (int specificity = 3; specificity >= 0; specificity--) {
        const char *rest = table;
        for (size_t number = 1; *rest; number++) {
            struct line line;
            struct status ignored = {0};
            if (read_line(&rest, &line) != 3 || !line_matches(&line, p, d, specificity) ||
                match++ < *at) {
                continue;
            }
            cl_int code = variant_parse(v, line.fields[2], line.lengths[2], &ignored);
            status_destroy(&ignored);
            if (code == CL_SUCCESS) {
                *at = match;
                *line_number = number;
                return true;
            }
        }
    }
    return false;
}

/* The sentence of a line that is none, but for its place; false when the line is sound. */
static bool is_malformed(const char *begin, const char *end, const struct line *line, int fields,
                         struct text *why) {
    static const struct problem any = {.type = CLATTN_F32};
    enum { SHOWN = 60 };
    const int shown = (int)(end - begin < SHOWN ? end - begin : SHOWN);
    const char *pattern = line->fields[0];
    if (fields != 3 || !line->lengths[0]) {
        text_printf(why, "\"%.*s\" is not of the form DEVICE ; PROBLEM ; VARIANT", shown, begin);
        return true;
    }
    if (pattern[0] == '"' && !is_sound_name(pattern, line->lengths[0])) {
        text_printf(why,
                    "%.*s is not a name in quotes; a quote in the name is \\\", a backslash is "
                    "\\\\",
                    (int)(line->lengths[0] < SHOWN ? line->lengths[0] : SHOWN), pattern);
        return true;
    }
    char words[LONGEST_PROBLEM + 1] = "";
    if (line->lengths[1] > LONGEST_PROBLEM) {
        text_printf(why, "the PROBLEM \"%.*s...\" is longer than %d bytes", SHOWN, line->fields[1],
                    LONGEST_PROBLEM);
        return true;
    }
    memcpy(words, line->fields[1], line->lengths[1]);
    const char *bad;
    problem_matches(&any, words, &bad);
    if (bad) {
        text_printf(why, "\"%.*s\" is no word about a problem", (int)strcspn(bad, " \t\r"), bad);
        return true;
    }
    struct variant v;
    struct status of_variant = {0};
    if (variant_parse(&v, line->fields[2], line->lengths[2], &of_variant) != CL_SUCCESS) {
        text_printf(why, "%s", text_chars(&of_variant.sentence));
        status_destroy(&of_variant);
        return true;
    }
    return false;
}

cl_int tuning_check(const char *table, const char *name, struct status *status) {
    const char *rest = table;
    struct text why = {0};
    cl_int code = CL_SUCCESS;
    for (size_t number = 1; *rest && code == CL_SUCCESS; number++) {
        struct line line;
        const char *begin = rest;
        const int fields = read_line(&rest, &line);
        if (fields && is_malformed(begin, begin + strcspn(begin, "\r\n"), &line, fields, &why)) {
            code = status_set(status, CLATTN_INVALID_TUNING, "%s:%zu: %s", name, number,
                              text_chars(&why));
        }
    }
    text_destroy(&why);
    return code;
}

cl_int tuning_read(const char *path, char **table, struct status *status) {
    enum { MOST = 1 << 20 };
    *table = NULL;
    FILE *file = fopen(path, "rb");
    if (!file) {
        return status_set(status, CLATTN_INVALID_TUNING, "tuning_path: cannot open \"%.200s\"",
                          path);
    }
    char *chars = malloc(MOST + 1);
    size_t length = chars ? fread(chars, 1, MOST + 1, file) : 0;
    bool failed = ferror(file) != 0;
    fclose(file);
    if (!chars) {
        return status_set(status, CL_OUT_OF_HOST_MEMORY, "tuning_path: no memory for the table");
    }
    if (failed || length > MOST || memchr(chars, '\0', length)) {
        free(chars);
        return status_set(status, CLATTN_INVALID_TUNING,
                          "tuning_path: \"%.200s\" is not a text of at most 1 MiB", path);
    }
    chars[length] = '\0';
    static const char mark[] = "\xEF\xBB\xBF"; /* what some editors put before a text in UTF-8 */
    if (strncmp(chars, mark, 3) == 0) {
        memmove(chars, chars + 3, length - 3 + 1);
    }
    *table = chars;
    return CL_SUCCESS;
}
