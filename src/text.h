/*
 * text - a string that grows.
 *
 * Used for composed programs, descriptions and long messages.  After a failed allocation `failed`
 * is true, and later appends do nothing.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
    char *chars; /* NUL-terminated, or NULL while empty */
    size_t length;
    size_t capacity;
    bool failed;
};

#if defined(__GNUC__)
#define TEXT_PRINTF(at, first) __attribute__((format(printf, at, first)))
#else
#define TEXT_PRINTF(at, first)
#endif

/* Frees the characters.  The text is then empty and can be used again. */
void text_destroy(struct text *t);

void text_append(struct text *t, const char *chars, size_t length);
void text_printf(struct text *t, const char *format, ...) TEXT_PRINTF(2, 3);
void text_vprintf(struct text *t, const char *format, va_list values);

/* The characters, "" while empty.  Valid until the next append. */
const char *text_chars(const struct text *t);

/* Copies into a caller's buffer the way the public describe functions promise:
 * cut to fit, always ended by NUL; *needed (may be NULL) gets the full size. */
void text_copy_out(const char *chars, char *out, size_t capacity, size_t *needed);

/* Takes the next word (separated by blanks) off *at.  Returns its length, 0 at
 * the end; *word points into the text. */
size_t text_word(const char **at, const char **word);

/* Reads a whole decimal number that fills chars[0..length) and lies in [low, high]. */
bool text_number(const char *chars, size_t length, long long low, long long high, long long *value);

/* True when chars[0..length) is the string name. */
bool text_is(const char *chars, size_t length, const char *name);

#endif
