#include "variant.h"

#include <assert.h>
#include <string.h>

static bool is_name(const char *chars, size_t length) {
    for (size_t i = 0; i < length; i++) {
        char c = chars[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool digit = (c >= '0' && c <= '9') || c == '-';
        if (!letter && !(digit && i > 0)) {
            return false;
        }
    }
    return length > 0 && length < VARIANT_WORD;
}

/* What may stand as a #define's value: a name or a number. */
static bool is_value(const char *chars, size_t length) {
    long long number;
    return is_name(chars, length) ||
           (length < VARIANT_WORD && text_number(chars, length, INT32_MIN, INT32_MAX, &number));
}

static bool is_digits(const char *chars, size_t length) {
    size_t at = length > 0 && chars[0] == '-';
    const size_t first = at;
    while (at < length && chars[at] >= '0' && chars[at] <= '9') {
        at++;
    }
    return at == length && at > first;
}

cl_int variant_parse(struct variant *v, const char *chars, size_t length, struct status *status) {
    const cl_int invalid = CLATTN_INVALID_VARIANT;
    *v = (struct variant){0};
    struct text copy = {0};
    text_append(&copy, chars, length);
    if (copy.failed) {
        text_destroy(&copy);
        return status_set(status, CL_OUT_OF_HOST_MEMORY, "variant: no memory for its text");
    }
    const char *at = text_chars(&copy), *word;
    cl_int code = CL_SUCCESS;
    size_t word_length = text_word(&at, &word);
    if (!is_name(word, word_length)) {
        code = status_set(status, invalid, "variant: \"%.40s\" does not begin with a solver's name",
                          text_chars(&copy));
    } else {
        memcpy(v->solver, word, word_length);
    }
    while (code == CL_SUCCESS && (word_length = text_word(&at, &word)) > 0) {
        const char *sign = memchr(word, '=', word_length);
        size_t name_length = sign ? (size_t)(sign - word) : 0;
        size_t value_length = sign ? word_length - name_length - 1 : 0;
        if (!is_name(word, name_length) || !is_value(word + name_length + 1, value_length)) {
            const bool number =
                is_name(word, name_length) && is_digits(word + name_length + 1, value_length);
            code = status_set(status, invalid,
                              number ? "variant: the value in \"%.*s\" is no 32-bit number"
                                     : "variant: \"%.*s\" is not of the form NAME=VALUE",
                              (int)(word_length < 40 ? word_length : 40), word);
            break;
        }
        if (v->count == VARIANT_PARAMETERS) {
            code =
                status_set(status, invalid, "variant: more than %d parameters", VARIANT_PARAMETERS);
            break;
        }
        memcpy(v->parameters[v->count].name, word, name_length);
        memcpy(v->parameters[v->count].value, sign + 1, value_length);
        for (size_t i = 0; i < v->count; i++) {
            if (strcmp(v->parameters[i].name, v->parameters[v->count].name) == 0) {
                code = status_set(status, invalid, "variant: %s stands there twice",
                                  v->parameters[i].name);
            }
        }
        v->count++;
    }
    text_destroy(&copy);
    return code;
}

void variant_format(const struct variant *v, struct text *out) {
    text_printf(out, "%s", v->solver);
    for (size_t i = 0; i < v->count; i++) {
        text_printf(out, " %s=%s", v->parameters[i].name, v->parameters[i].value);
    }
}

bool variant_is(const struct variant *v, const struct variant *other) {
    bool same = strcmp(v->solver, other->solver) == 0 && v->count == other->count;
    for (size_t i = 0; i < v->count && same; i++) {
        same = strcmp(v->parameters[i].name, other->parameters[i].name) == 0 &&
               strcmp(v->parameters[i].value, other->parameters[i].value) == 0;
    }
    return same;
}

const char *variant_find(const struct variant *v, const char *name) {
    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->parameters[i].name, name) == 0) {
            return v->parameters[i].value;
        }
    }
    return NULL;
}

long long variant_number(const struct variant *v, const char *name, long long missing) {
    const char *value = variant_find(v, name);
    long long number;
    if (!value || !text_number(value, strlen(value), INT32_MIN, INT32_MAX, &number)) {
        return missing;
    }
    return number;
}

void variant_add(struct variant *v, const char *name, const char *value) {
    assert(v->count < VARIANT_PARAMETERS); /* solvers have fewer */
    assert(strlen(name) < VARIANT_WORD && strlen(value) < VARIANT_WORD);
    memcpy(v->parameters[v->count].name, name, strlen(name) + 1);
    memcpy(v->parameters[v->count].value, value, strlen(value) + 1);
    v->count++;
}

/* Characters of the parameter's name that the word takes off; SIZE_MAX: it does not name it. */
static size_t cut_of(const char *parameter, const char *word, size_t length) {
    if (word[length - 1] == '_') {
        return strncmp(parameter, word, length) == 0 ? length : SIZE_MAX;
    }
    return text_is(word, length, parameter) ? 0 : SIZE_MAX;
}

struct variant variant_take(const struct variant *v, const char *name, const char *words) {
    struct variant taken = {.count = 0};
    assert(strlen(name) < VARIANT_WORD);
    memcpy(taken.solver, name, strlen(name));
    for (size_t i = 0; i < v->count; i++) {
        const char *at = words, *word, *parameter = v->parameters[i].name;
        for (size_t length; (length = text_word(&at, &word)) > 0;) {
            const size_t cut = cut_of(parameter, word, length);
            if (cut != SIZE_MAX) {
                variant_add(&taken, parameter + cut, v->parameters[i].value);
                break;
            }
        }
    }
    return taken;
}
