#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_destroy(struct text *t) {
    free(t->chars);
    *t = (struct text){0};
}

static bool reserve(struct text *t, size_t extra) {
    if (t->failed || extra >= (size_t)-1 - t->length - 1) {
        t->failed = true;
        return false;
    }
    size_t need = t->length + extra + 1;
    if (need <= t->capacity) {
        return true;
    }
    size_t capacity = need + need / 2 + 64;
    char *chars = capacity < need ? NULL : realloc(t->chars, capacity);
    if (!chars) {
        t->failed = true;
        return false;
    }
    t->chars = chars;
    t->capacity = capacity;
    return true;
}

void text_append(struct text *t, const char *chars, size_t length) {
    if (!reserve(t, length)) {
        return;
    }
    if (length) {
        memcpy(t->chars + t->length, chars, length);
    }
    t->length += length;
    t->chars[t->length] = '\0';
}

void text_vprintf(struct text *t, const char *format, va_list values) {
    va_list again;
    va_copy(again, values);
    int length = vsnprintf(NULL, 0, format, values);
    if (length < 0) {
        t->failed = true;
    } else if (reserve(t, (size_t)length)) {
        vsnprintf(t->chars + t->length, (size_t)length + 1, format, again);
        t->length += (size_t)length;
    }
    va_end(again);
}

void text_printf(struct text *t, const char *format, ...) {
    va_list values;
    va_start(values, format);
    text_vprintf(t, format, values);
    va_end(values);
}

const char *text_chars(const struct text *t) {
    return t->chars ? t->chars : "";
}

void text_copy_out(const char *chars, char *out, size_t capacity, size_t *needed) {
    size_t length = strlen(chars);
    if (needed) {
        *needed = length + 1;
    }
    if (out && capacity) {
        size_t kept = length < capacity ? length : capacity - 1;
        memcpy(out, chars, kept);
        out[kept] = '\0';
    }
}

size_t text_word(const char **at, const char **word) {
    static const char blanks[] = " \t\r\n";
    *at += strspn(*at, blanks);
    *word = *at;
    size_t length = strcspn(*at, blanks);
    *at += length;
    return length;
}

bool text_number(const char *chars, size_t length, long long low, long long high,
                 long long *value) {
    bool negative = length > 0 && chars[0] == '-';
    size_t at = negative ? 1 : 0;
    if (at == length || length - at > 18) {
        return false;
    }
    long long number = 0;
    for (; at < length; at++) {
        if (chars[at] < '0' || chars[at] > '9') {
            return false;
        }
        number = number * 10 + (chars[at] - '0');
    }
    if (negative && number == 0) {
        return false; /* "-0" is nobody's number */
    }
    number = negative ? -number : number;
    if (number < low || number > high) {
        return false;
    }
    *value = number;
    return true;
}

bool text_is(const char *chars, size_t length, const char *name) {
    return strlen(name) == length && memcmp(chars, name, length) == 0;
}
