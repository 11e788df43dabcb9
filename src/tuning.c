#include "tuning.h"

#include <stdint.h>
#include <string.h>

enum { DEVICE, PROBLEM, VARIANT, PROVENANCE, FIELDS };

struct line {
    const char *fields[FIELDS]; /* without blanks around them */
    size_t lengths[FIELDS];
    size_t count; /* 0: the line is empty; maybe more than FIELDS */
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* Behind the text in quotes that begins at first, in which a backslash takes the next character
 * with it; first itself where none begins, or where none ends before end. */
static const char *skip_quoted(const char *first, const char *end) {
    if (first == end || *first != '"') {
        return first;
    }
    const char *at = first + 1;
    while (at < end && *at != '"') {
        at += *at == '\\' ? 2 : 1;
    }
    return at < end ? at + 1 : first;
}

/* Adds the field chars[0..length). */
static void add_field(struct line *line, const char *chars, size_t length) {
    while (length && is_blank(*chars)) {
        chars++;
        length--;
    }
    while (length && is_blank(chars[length - 1])) {
        length--;
    }
    if (line->count < FIELDS) {
        line->fields[line->count] = chars;
        line->lengths[line->count] = length;
    }
    line->count++;
}

/* Takes a line off *at.  A device's name in quotes may hold '#' and ';', and so may the quoted
 * values of the fourth field. */
static void read_line(const char **at, struct line *line) {
    const char *end = *at + strcspn(*at, "\n"), *field = *at, *c = *at;
    *line = (struct line){.count = 0};
    while (c < end && is_blank(*c)) {
        c++;
    }
    for (c = skip_quoted(c, end); c < end && *c != '#';) {
        const bool value = line->count == PROVENANCE && c > field && c[-1] == '=';
        const char *behind = value ? skip_quoted(c, end) : c;
        if (*c == ';') {
            add_field(line, field, (size_t)(c - field));
            field = c + 1;
        }
        c = behind > c ? behind : c + 1;
    }
    add_field(line, field, (size_t)(c - field));
    if (line->count == 1 && !line->lengths[0]) {
        line->count = 0;
    }
    *at = end + (*end == '\n');
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
    bool sound = length > 2 && skip_quoted(pattern, pattern + length) == pattern + length;
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

/* ---- The fourth field ---- */

/* A word KEY=VALUE of the fourth field. */
struct word {
    const char *key, *value; /* the value with its quotes, if it has them */
    size_t key_length, value_length, length;
};

/* Takes a word off *at; false at the end. */
static bool take_word(const char **at, const char *end, struct word *w) {
    while (*at < end && is_blank(**at)) {
        (*at)++;
    }
    const char *c = *at;
    *w = (struct word){.key = c};
    while (c < end && !is_blank(*c) && *c != '=') {
        c++;
    }
    w->key_length = (size_t)(c - w->key);
    w->value = c < end && *c == '=' ? c + 1 : c;
    const char *behind = skip_quoted(w->value, end);
    while (behind < end && !is_blank(*behind)) {
        behind++;
    }
    w->value_length = (size_t)(behind - w->value);
    w->length = (size_t)(behind - w->key);
    *at = behind;
    return w->length > 0;
}

/* Copies the value without its quotes, and returns its length; SIZE_MAX where it is malformed. */
static size_t read_value(const struct word *w, char value[TUNING_LONGEST_VALUE + 1]) {
    const bool quoted = w->value_length && w->value[0] == '"';
    const char *at = w->value + quoted, *end = w->value + w->value_length - quoted;
    size_t length = 0;
    if (quoted && (w->value_length == 1 ||
                   skip_quoted(w->value, end + 1) != end + 1)) { /* or something behind the quote */
        return SIZE_MAX;
    }
    for (; at < end; at++) {
        const bool escaped = quoted && *at == '\\';
        at += escaped;
        if (length == TUNING_LONGEST_VALUE || (unsigned char)*at < ' ' || *at == 0x7F ||
            (escaped && *at != '"' && *at != '\\') || (!quoted && *at == '"')) {
            return SIZE_MAX;
        }
        value[length++] = *at;
    }
    value[length] = '\0';
    return length;
}

/* Small letters, digits and '_'. */
static bool is_key(const char *chars, size_t length) {
    for (size_t i = 0; i < length; i++) {
        const char c = chars[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_') {
            return false;
        }
    }
    return length > 0;
}

/* Reads the fourth field; false, with the word that is wrong, where it is malformed.  driver gets
 * the value of that key. */
static bool read_provenance(const struct line *line, char driver[TUNING_LONGEST_VALUE + 1],
                            struct word *wrong) {
    driver[0] = '\0';
    if (line->count <= PROVENANCE) {
        return true;
    }
    const char *at = line->fields[PROVENANCE], *end = at + line->lengths[PROVENANCE];
    *wrong = (struct word){.key = at};
    bool said = false, any = false;
    while (take_word(&at, end, wrong)) {
        char value[TUNING_LONGEST_VALUE + 1];
        const bool names_driver = text_is(wrong->key, wrong->key_length, "driver");
        const size_t length = read_value(wrong, value);
        any = true;
        if (!is_key(wrong->key, wrong->key_length) || wrong->value[-1] != '=' ||
            wrong->value_length == 0 || length == SIZE_MAX || (names_driver && said)) {
            return false;
        }
        if (names_driver) {
            said = true;
            memcpy(driver, value, length + 1);
        }
    }
    return any;
}

/* ---- The walk ---- */

/* Does the line's problem match? */
static bool matches(const struct line *line, const struct problem *p) {
    char words[TUNING_LONGEST_PROBLEM + 1];
    const char *bad;
    if (line->lengths[PROBLEM] > TUNING_LONGEST_PROBLEM) {
        return false;
    }
    memcpy(words, line->fields[PROBLEM], line->lengths[PROBLEM]);
    words[line->lengths[PROBLEM]] = '\0';
    return problem_matches(p, words, &bad);
}

bool tuning_next(struct tuning_walk *walk, const char *table, const struct problem *p,
                 const struct device *d) {
    enum { MOST_SPECIFIC = 3 };
    for (; walk->passed <= MOST_SPECIFIC; walk->passed++) {
        if (!walk->rest) {
            walk->rest = table;
            walk->line = 0;
        }
        while (*walk->rest) {
            struct line line;
            struct word wrong;
            struct status ignored = {0};
            read_line(&walk->rest, &line);
            walk->line++;
            if (line.count <= VARIANT || line.count > FIELDS ||
                tuning_specificity(d, line.fields[DEVICE], line.lengths[DEVICE]) !=
                    MOST_SPECIFIC - walk->passed ||
                !matches(&line, p) || !read_provenance(&line, walk->driver, &wrong)) {
                continue;
            }
            const cl_int code = variant_parse(&walk->variant, line.fields[VARIANT],
                                              line.lengths[VARIANT], &ignored);
            status_destroy(&ignored);
            if (code == CL_SUCCESS) {
                return true;
            }
        }
        walk->rest = NULL;
    }
    return false;
}

/* ---- The check ---- */

/* Appends the characters, but those that a terminal obeys. */
static void clean(struct text *out, const char *chars, size_t length) {
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)chars[i];
        text_printf(out, "%c", c < ' ' || c == 0x7F ? '?' : c);
    }
}

/* Appends as much of a line as a sentence quotes. */
static void quote(struct text *out, const char *chars, size_t length) {
    enum { SHOWN = 60 };
    clean(out, chars, length < SHOWN ? length : SHOWN);
}

/* The sentence of a line that is none, but for its place; false when the line is sound. */
static bool is_malformed(const char *begin, const struct line *line, struct text *why) {
    static const struct problem any = {.type = CLATTN_F32};
    const char *pattern = line->fields[DEVICE];
    if (line->count <= VARIANT || line->count > FIELDS || !line->lengths[DEVICE]) {
        text_printf(why, "\"");
        quote(why, begin, strcspn(begin, "\r\n"));
        text_printf(why, "\" is not of the form DEVICE ; PROBLEM ; VARIANT");
        return true;
    }
    if (pattern[0] == '"' && !is_sound_name(pattern, line->lengths[DEVICE])) {
        quote(why, pattern, line->lengths[DEVICE]);
        text_printf(why, " is not a name in quotes; a quote in the name is \\\", a backslash is "
                         "\\\\");
        return true;
    }
    char words[TUNING_LONGEST_PROBLEM + 1] = "";
    if (line->lengths[PROBLEM] > TUNING_LONGEST_PROBLEM) {
        text_printf(why, "the PROBLEM \"");
        quote(why, line->fields[PROBLEM], line->lengths[PROBLEM]);
        text_printf(why, "...\" is longer than %d bytes", TUNING_LONGEST_PROBLEM);
        return true;
    }
    memcpy(words, line->fields[PROBLEM], line->lengths[PROBLEM]);
    const char *bad;
    problem_matches(&any, words, &bad);
    if (bad) {
        text_printf(why, "\"");
        quote(why, bad, strcspn(bad, " \t\r"));
        text_printf(why, "\" is no word about a problem");
        return true;
    }
    struct variant v;
    struct status of_variant = {0};
    if (variant_parse(&v, line->fields[VARIANT], line->lengths[VARIANT], &of_variant) !=
        CL_SUCCESS) {
        clean(why, text_chars(&of_variant.sentence), of_variant.sentence.length);
        status_destroy(&of_variant);
        return true;
    }
    char driver[TUNING_LONGEST_VALUE + 1];
    struct word wrong;
    if (!read_provenance(line, driver, &wrong)) {
        text_printf(why, "the fourth field: \"");
        quote(why, wrong.key, wrong.length);
        text_printf(why,
                    "\" is not of the form KEY=VALUE or KEY=\"VALUE\" (at most %d bytes, driver "
                    "once)",
                    TUNING_LONGEST_VALUE);
        return true;
    }
    return false;
}

size_t tuning_check(const char *table, const char *name, struct text *remarks) {
    const char *rest = table;
    size_t bad = 0;
    for (size_t number = 1; *rest; number++) {
        struct line line;
        struct text why = {0};
        const char *begin = rest;
        read_line(&rest, &line);
        if (line.count && is_malformed(begin, &line, &why) && bad++ < TUNING_REMARKS) {
            text_printf(remarks, "%s:%zu: %s\n", name, number, text_chars(&why));
        }
        text_destroy(&why);
    }
    if (bad > TUNING_REMARKS) {
        text_printf(remarks, "%s: %zu further lines are malformed\n", name, bad - TUNING_REMARKS);
    }
    return bad;
}
