/* gmtime_r */
#define _POSIX_C_SOURCE 200809L

#include "tune_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const blanks = " \t\r";

/* ---- Writing ------------------------------------------------------------- */

/* Appends to a text in a buffer of that size. */
static void add(char *text, size_t size, const char *format, ...) {
    const size_t length = strlen(text);
    va_list values;
    va_start(values, format);
    vsnprintf(text + length, size - length, format, values);
    va_end(values);
}

/* f16, or with k, v, o or d before it. */
static bool is_type(const char *word) {
    word += *word && strchr("kvod", *word) != NULL;
    return strcmp(word, "f32") == 0 || strcmp(word, "f16") == 0 || strcmp(word, "bf16") == 0;
}

/* A word of desc.features; a bias of any type is "bias...". */
static bool is_feature(const char *word) {
    return strcmp(word, "alibi") == 0 || strncmp(word, "bias", 4) == 0 ||
           strcmp(word, "mask") == 0 || strcmp(word, "sink") == 0;
}

void tune_line_words(const clattn_desc *desc, char words[TUNE_WORDS]) {
    char text[TUNE_WORDS] = "", *rest = NULL;
    const char *mask = "full", *softcap = "";
    char features[64] = "";
    words[0] = '\0';
    clattn_desc_format(desc, text, sizeof text, NULL);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (is_type(word)) {
            add(words, TUNE_WORDS, "%s ", word);
        }
        mask = strcmp(word, "causal") == 0       ? "causal"
               : strncmp(word, "window", 6) == 0 ? "band"
                                                 : mask;
        softcap = strncmp(word, "softcap", 7) == 0 ? " softcap" : softcap;
        if (is_feature(word)) {
            add(features, sizeof features, " %s", word);
        }
    }
    add(words, TUNE_WORDS, "b%u h%u:%u q%u k%u d%u:%u %s%s%s %s", desc->batch, desc->heads_q,
        desc->heads_kv ? desc->heads_kv : desc->heads_q, desc->seq_q, desc->seq_kv, desc->head_dim,
        desc->head_dim_v ? desc->head_dim_v : desc->head_dim, mask, softcap, features,
        desc->pass == CLATTN_BACKWARD ? "bwd" : "fwd");
}

bool tune_line_fact(clattn_context context, const char *name, char *value, size_t capacity) {
    char text[4096] = "", *rest = NULL;
    const size_t length = strlen(name);
    value[0] = '\0';
    clattn_context_describe(context, text, sizeof text, NULL);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, name, length) == 0 && line[length] == ' ') {
            snprintf(value, capacity, "%s", line + length + 1);
            return true;
        }
    }
    return false;
}

/* In quotes, with a backslash before a quote and a backslash. */
static void add_quoted(char *text, const char *value) {
    add(text, TUNE_LINE, "\"");
    for (; *value; value++) {
        add(text, TUNE_LINE, "%s%c", *value == '"' || *value == '\\' ? "\\" : "", *value);
    }
    add(text, TUNE_LINE, "\"");
}

void tune_line_write(const struct tune_line *line, char text[TUNE_LINE]) {
    char date[16] = "";
    const time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) {
        strftime(date, sizeof date, "%Y-%m-%d", &utc);
    }
    text[0] = '\0';
    add_quoted(text, line->device);
    add(text, TUNE_LINE, " ; %s ; %s ; driver=", line->words, line->variant);
    add_quoted(text, line->driver);
    add(text, TUNE_LINE, " clattn=%d.%d.%d date=%s", CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
        CLATTN_VERSION_PATCH, date);
    if (line->gain > 0) {
        add(text, TUNE_LINE, " gain=%.3g", line->gain);
    }
    add(text, TUNE_LINE, " error=%.2g\n", line->error);
}

/* ---- Reading ------------------------------------------------------------- */

/* The end of a field: at ';', '#' or the end of the line, none of which counts within quotes that
 * begin the field or a value. */
static const char *field_end(const char *at) {
    for (bool start = true; *at && *at != ';' && *at != '#'; at++) {
        if (*at == '"' && start) {
            const char *closing = at + 1;
            while (*closing && *closing != '"') {
                closing += closing[0] == '\\' && closing[1] ? 2 : 1;
            }
            at = *closing ? closing : at;
        }
        start = *at == '=' || (start && strchr(blanks, *at));
    }
    return at;
}

/* Copies a field without the blanks around it; false where it is too long or empty. */
static bool copy(const char *begin, const char *end, char *to, size_t capacity) {
    while (begin < end && strchr(blanks, *begin)) {
        begin++;
    }
    while (end > begin && strchr(blanks, end[-1])) {
        end--;
    }
    snprintf(to, capacity, "%.*s", (int)(end - begin), begin);
    return end > begin && (size_t)(end - begin) < capacity;
}

enum tune_kind tune_line_read(const char *text, struct tune_fields *f) {
    const struct {
        char *to;
        size_t capacity;
    } fields[] = {{f->device, sizeof f->device},
                  {f->words, sizeof f->words},
                  {f->variant, sizeof f->variant}};
    const char *at = text + strspn(text, blanks);
    if (*at == '\0' || *at == '#') {
        return TUNE_EMPTY;
    }
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const char *end = field_end(at);
        if (!copy(at, end, fields[i].to, fields[i].capacity) || (*end != ';' && i < 2)) {
            return TUNE_MALFORMED;
        }
        at = end + (*end == ';');
    }
    return TUNE_LINE_OF_FILE;
}

bool tune_line_is_for(const char *pattern, const char *name, const char *architecture) {
    char quoted[TUNE_LINE] = "";
    const size_t vendor = strcspn(architecture, "/");
    if (pattern[0] == '"') {
        add_quoted(quoted, name);
        return strcmp(pattern, quoted) == 0;
    }
    return strcmp(pattern, "*") == 0 || strcmp(pattern, architecture) == 0 ||
           (strlen(pattern) == vendor && strncmp(pattern, architecture, vendor) == 0);
}

/* "33-64" and "1024-" become a number; anything else stays. */
static void settle_range(const char *word, char *to, size_t capacity) {
    const char *dash = strchr(word, '-');
    const bool range = dash && strchr("bhqkd", word[0]) && word[1] >= '0' && word[1] <= '9';
    if (!range) {
        snprintf(to, capacity, "%s", word);
    } else if (dash[1]) {
        snprintf(to, capacity, "%c%s", word[0], dash + 1);
    } else {
        snprintf(to, capacity, "%.*s", (int)(dash - word), word);
    }
}

bool tune_line_problem(const char *words, clattn_desc *desc) {
    char text[2 * TUNE_WORDS] = "", copied[TUNE_WORDS], settled[TUNE_WORDS], *rest = NULL;
    bool q = false, d = false;
    snprintf(copied, sizeof copied, "%s", words);
    for (char *word = strtok_r(copied, blanks, &rest); word; word = strtok_r(NULL, blanks, &rest)) {
        settle_range(word, settled, sizeof settled);
        const char *written = strcmp(settled, "*") == 0 || strcmp(settled, "full") == 0 ? ""
                              : strcmp(settled, "band") == 0    ? "window128,0"
                              : strcmp(settled, "softcap") == 0 ? "softcap30"
                                                                : settled;
        q = q || settled[0] == 'q';
        d = d || (settled[0] == 'd' && settled[1] >= '0' && settled[1] <= '9');
        add(text, sizeof text, "%s%s", text[0] && written[0] ? " " : "", written);
    }
    add(text, sizeof text, "%s%s", q ? "" : " q1024", d ? "" : " d64");
    return clattn_desc_parse(text, desc) == CL_SUCCESS && desc->pass <= CLATTN_BACKWARD;
}
