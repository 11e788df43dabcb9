/* problem: its text, "f16 b2 h32:8 q4096 k4096 d128:64 causal", written, read and matched. */
#include "problem.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feature.h"
#include "pass.h"
#include "sized.h"

/* A plain decimal number, whatever the locale's decimal point is.  A number that is not 0 does not
 * become 0, which would mean something else. */
static bool read_float(const char *chars, size_t length, float *value) {
    double number = 0, unit = 1;
    size_t at = 0, digits = 0;
    bool zero = true;
    for (; at < length && chars[at] >= '0' && chars[at] <= '9'; at++, digits++) {
        number = number * 10 + (chars[at] - '0');
        zero = zero && chars[at] == '0';
    }
    if (at < length && chars[at] == '.') {
        for (at++; at < length && chars[at] >= '0' && chars[at] <= '9'; at++, digits++) {
            unit /= 10;
            number += unit * (chars[at] - '0');
            zero = zero && chars[at] == '0';
        }
    }
    if (at < length && chars[at] == 'e' && digits) {
        long long exponent;
        size_t sign = at + 2 < length && chars[at + 1] == '+' && chars[at + 2] != '-';
        if (!text_number(chars + at + 1 + sign, length - at - 1 - sign, -60, 60, &exponent)) {
            return false;
        }
        number *= pow(10, (double)exponent);
        at = length;
    }
    *value = (float)number;
    return digits > 0 && at == length && number <= (double)FLT_MAX && (zero || *value != 0);
}

/* The bit of the feature of that word; 0 where there is none.  *type: that of "biasf16", else 0. */
static cl_ulong feature_bit(const char *word, size_t length, clattn_type *type) {
    enum { BIAS = 4 }; /* letters */
    for (*type = CLATTN_F32; problem_type_name(*type); ++*type) {
        if (length > BIAS && memcmp(word, "bias", BIAS) == 0 &&
            text_is(word + BIAS, length - BIAS, problem_type_name(*type))) {
            return CLATTN_FEATURE_BIAS;
        }
    }
    *type = 0;
    const struct feature *f = features_table;
    while (f->bit && !text_is(word, length, f->word)) {
        f++;
    }
    return f->bit;
}

void problem_format_features(cl_ulong features, struct text *out) {
    for (const struct feature *f = features_table; f->bit; f++) {
        if (features & f->bit) {
            text_printf(out, " %s", f->word);
        }
    }
}

void problem_format_types(const struct problem *p, struct text *out) {
    text_printf(out, "%s", problem_type_name(p->type));
    if (p->type_k != p->type) {
        text_printf(out, " k%s", problem_type_name(p->type_k));
    }
    if (p->type_v != p->type_k) {
        text_printf(out, " v%s", problem_type_name(p->type_v));
    }
    if (p->type_o != p->type) {
        text_printf(out, " o%s", problem_type_name(p->type_o));
    }
    if (p->type_d) {
        text_printf(out, " d%s", problem_type_name(p->type_d));
    }
}

void problem_format(const struct problem *p, struct text *out) {
    problem_format_types(p, out);
    if (p->batch != 1) {
        text_printf(out, " b%u", p->batch);
    }
    if (p->heads_kv != p->heads_q) {
        text_printf(out, " h%u:%u", p->heads_q, p->heads_kv);
    } else if (p->heads_q != 1) {
        text_printf(out, " h%u", p->heads_q);
    }
    text_printf(out, " q");
    if (p->seq_q_least) {
        text_printf(out, "%u-", p->seq_q_least);
    }
    text_printf(out, "%u", p->seq_q);
    if (p->seq_kv != p->seq_q) {
        text_printf(out, " k%u", p->seq_kv);
    }
    text_printf(out, " d%u", p->head_dim);
    if (p->head_dim_v != p->head_dim) {
        text_printf(out, ":%u", p->head_dim_v);
    }
    if (p->band_left == CLATTN_UNBOUNDED && p->band_right == 0) {
        text_printf(out, " causal");
    } else if (problem_masked(p)) {
        text_printf(out, " window%d,%d", p->band_left, p->band_right);
    }
    if (p->align == CLATTN_ALIGN_START) {
        text_printf(out, " start");
    }
    if (p->softcap != 0) {
        char number[32] = "", trial[32];
        for (int digits = 1; digits <= 9; digits++) { /* the shortest that reads back the same */
            float again;
            snprintf(trial, sizeof trial, "%.*g", digits, (double)p->softcap);
            size_t comma = strcspn(trial, ",");
            trial[comma] = trial[comma] ? '.' : '\0'; /* some locales */
            if (read_float(trial, strlen(trial), &again) && again == p->softcap &&
                (!*number || strlen(trial) < strlen(number))) {
                memcpy(number, trial, sizeof number);
            }
        }
        text_printf(out, " softcap%s", number);
    }
    if (p->pass != CLATTN_FORWARD) {
        text_printf(out, " %s", passes_table[p->pass].word);
    }
    for (const struct feature *f = features_table; f->bit; f++) {
        const bool typed = f->bit == CLATTN_FEATURE_BIAS && p->type_bias;
        if (p->features & f->bit) {
            text_printf(out, " %s%s", f->word, typed ? problem_type_name(p->type_bias) : "");
        }
    }
    if (p->promises & CLATTN_PROMISE_ALIGNED) {
        text_printf(out, " aligned");
    }
}

/* "A" or "A<separator>B"; *b keeps its value when there is no B. */
static bool read_pair(const char *chars, size_t length, char separator, long long low, long long *a,
                      long long *b) {
    const char *second = memchr(chars, separator, length);
    size_t first_length = second ? (size_t)(second - chars) : length;
    if (!text_number(chars, first_length, low, UINT32_MAX, a)) {
        return false;
    }
    return !second || text_number(second + 1, length - first_length - 1, low, UINT32_MAX, b);
}

/* The words of types come first, in the order of their letters. */
static const char type_letters[] = "\0kvod"; /* q's type has none */
enum { TYPE_WORDS = sizeof type_letters - 1 };
enum {
    WORD_B = TYPE_WORDS,
    WORD_H,
    WORD_Q,
    WORD_K,
    WORD_D,
    WORD_BAND,
    WORD_ALIGN,
    WORD_SOFTCAP,
    WORD_ALIGNED,
    WORD_PASS
};

/* Reads a word of a type, "f16" or "kf16"; returns which letter's, or TYPE_WORDS when it is none.
 */
static int read_type(const char *word, size_t length, clattn_type *type) {
    for (int i = 0; i < TYPE_WORDS; i++) {
        const size_t before = type_letters[i] != '\0';
        for (*type = CLATTN_F32; problem_type_name(*type); ++*type) {
            const bool may_be_blocked = type_letters[i] == 'k' || type_letters[i] == 'v';
            if ((!before || word[0] == type_letters[i]) &&
                (may_be_blocked || problem_type_block(*type) == 1) &&
                text_is(word + before, length - before, problem_type_name(*type))) {
                return i;
            }
        }
    }
    return TYPE_WORDS;
}

/* Reads one word into d; returns which, or -1 when it is none. */
static int read_word(clattn_desc *d, const char *word, size_t length) {
    clattn_type type, *const types[TYPE_WORDS] = {&d->type, &d->type_k, &d->type_v, &d->type_o,
                                                  &d->type_d};
    const int of = read_type(word, length, &type);
    if (of < TYPE_WORDS) {
        *types[of] = type;
        return of;
    }
    if (text_is(word, length, "causal")) {
        d->band_left = CLATTN_UNBOUNDED;
        d->band_right = 0;
        return WORD_BAND;
    }
    if (text_is(word, length, "end") || text_is(word, length, "start")) {
        d->align = word[0] == 'e' ? CLATTN_ALIGN_END : CLATTN_ALIGN_START;
        return WORD_ALIGN;
    }
    if (text_is(word, length, "aligned")) {
        d->promises = CLATTN_PROMISE_ALIGNED;
        return WORD_ALIGNED;
    }
    for (clattn_pass pass = CLATTN_FORWARD; pass < PASSES; pass++) {
        if (text_is(word, length, passes_table[pass].word)) {
            d->pass = pass;
            return WORD_PASS;
        }
    }
    if (length > 7 && memcmp(word, "softcap", 7) == 0) {
        return read_float(word + 7, length - 7, &d->softcap) ? WORD_SOFTCAP : -1;
    }
    long long a = 0, b = 0;
    if (length > 6 && memcmp(word, "window", 6) == 0) {
        b = -2;
        if (!read_pair(word + 6, length - 6, ',', -1, &a, &b) || a > INT32_MAX || b > INT32_MAX ||
            b == -2) {
            return -1;
        }
        d->band_left = (cl_int)a;
        d->band_right = (cl_int)b;
        return WORD_BAND;
    }
    const bool paired = word[0] == 'h' || word[0] == 'd';
    const char separator = paired ? ':' : word[0] == 'q' ? '-' : '\0';
    if (!read_pair(word + 1, length - 1, separator, 0, &a, &b)) {
        return -1;
    }
    bool second = paired && memchr(word, ':', length);
    if (paired && (a == 0 || (second && b == 0))) {
        return -1; /* 0 heads or dimensions; in second place it would silently mean the default */
    }
    const bool ranged = word[0] == 'q' && memchr(word, '-', length);
    if (ranged && a > b) {
        return -1;
    }
    switch (word[0]) {
    case 'b':
        d->batch = (cl_uint)a;
        return WORD_B;
    case 'h':
        d->heads_q = (cl_uint)a;
        d->heads_kv = (cl_uint)b;
        return WORD_H;
    case 'q':
        d->seq_q = (cl_uint)(ranged ? b : a);
        d->seq_q_least = (cl_uint)(ranged ? a : 0);
        return WORD_Q;
    case 'k':
        d->seq_kv = (cl_uint)a;
        return WORD_K;
    case 'd':
        d->head_dim = (cl_uint)a;
        d->head_dim_v = (cl_uint)b;
        return WORD_D;
    default:
        return -1;
    }
}

cl_int clattn_desc_parse(const char *problem_text, clattn_desc *desc) {
    if (!problem_text || !desc) {
        return CL_INVALID_VALUE;
    }
    const clattn_desc defaults = CLATTN_DESC_INIT;
    clattn_desc d;
    memcpy(&d, &defaults, sizeof d);
    unsigned seen = 0;
    const char *at = problem_text, *word;
    for (size_t length; (length = text_word(&at, &word)) > 0;) {
        clattn_type type;
        const cl_ulong feature = feature_bit(word, length, &type);
        if (d.features & feature) {
            return CLATTN_INVALID_TEXT;
        }
        if (feature) {
            d.features |= feature;
            d.type_bias = type ? type : d.type_bias;
            continue;
        }
        int which = read_word(&d, word, length);
        if (which < 0 || (seen >> which & 1u)) {
            return CLATTN_INVALID_TEXT;
        }
        seen |= 1u << which;
    }
    if (!(seen >> WORD_Q & 1u) || !(seen >> WORD_D & 1u)) {
        return CLATTN_INVALID_TEXT;
    }
    if (!(seen >> WORD_K & 1u)) {
        d.seq_kv = d.seq_q;
    }
    return sized_copy_out(&sized_desc, desc, &d, &defaults);
}

cl_int clattn_desc_format(const clattn_desc *desc, char *out, size_t capacity, size_t *needed) {
    if (!desc || (!out && capacity)) {
        return CL_INVALID_VALUE;
    }
    struct status status = {0};
    struct problem p;
    cl_int code = problem_from_desc(&p, desc, &status);
    status_destroy(&status);
    if (code != CL_SUCCESS) {
        return code;
    }
    struct text formatted = {0};
    problem_format(&p, &formatted);
    code = formatted.failed ? CL_OUT_OF_HOST_MEMORY : CL_SUCCESS;
    if (code == CL_SUCCESS) {
        text_copy_out(text_chars(&formatted), out, capacity, needed);
    }
    text_destroy(&formatted);
    return code;
}

/* "64", "33-64", "33-": does value lie inside?  False in *well_formed otherwise. */
static bool in_range(const char *chars, size_t length, cl_uint value, bool *well_formed) {
    long long low = 0, high = UINT32_MAX;
    const char *dash = memchr(chars, '-', length);
    size_t low_length = dash ? (size_t)(dash - chars) : length;
    *well_formed = text_number(chars, low_length, 0, UINT32_MAX, &low);
    if (!dash) {
        high = low;
    } else if (low_length + 1 < length) {
        *well_formed =
            *well_formed && text_number(dash + 1, length - low_length - 1, low, UINT32_MAX, &high);
    }
    return value >= low && value <= high;
}

/* types: what words of types have said so far. */
static bool word_matches(const struct problem *p, const char *word, size_t length,
                         clattn_type types[TYPE_WORDS], bool *well_formed) {
    *well_formed = true;
    clattn_type type;
    const int of = read_type(word, length, &type);
    if (of < TYPE_WORDS) {
        const bool agrees = !types[of] || types[of] == type;
        types[of] = type;
        return agrees;
    }
    const cl_ulong feature = feature_bit(word, length, &type);
    if (feature) {
        return p->features & feature && (!type || type == (p->type_bias ? p->type_bias : p->type));
    }
    for (clattn_pass pass = CLATTN_FORWARD; pass < PASSES; pass++) {
        if (text_is(word, length, passes_table[pass].word)) {
            return p->pass == pass;
        }
    }
    bool causal = p->band_left == CLATTN_UNBOUNDED && p->band_right == 0;
    const struct {
        const char *word;
        bool holds;
    } named[] = {
        {"*", true},
        {"causal", causal},
        {"full", !problem_masked(p)},
        {"band", problem_masked(p) && !causal},
        {"softcap", p->softcap != 0},
    };
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        if (text_is(word, length, named[i].word)) {
            return named[i].holds;
        }
    }
    const struct {
        char letter;
        bool pair; /* may a colon and the second number follow? */
        cl_uint first, second;
    } numbers[] = {
        {'b', false, p->batch, p->batch},        {'h', true, p->heads_q, p->heads_kv},
        {'q', false, p->seq_q, p->seq_q},        {'k', false, p->seq_kv, p->seq_kv},
        {'d', true, p->head_dim, p->head_dim_v},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (word[0] != numbers[i].letter) {
            continue;
        }
        const char *colon = memchr(word, ':', length);
        size_t first_length = colon ? (size_t)(colon - word) : length;
        bool first = in_range(word + 1, first_length - 1, numbers[i].first, well_formed);
        *well_formed = *well_formed && (!colon || numbers[i].pair);
        if (!*well_formed) {
            return false;
        }
        const char *second_chars = colon ? colon + 1 : word + 1;
        size_t second_length = colon ? length - first_length - 1 : first_length - 1;
        return in_range(second_chars, second_length, numbers[i].second, well_formed) && first;
    }
    *well_formed = false;
    return false;
}

/* Are the types of p those that words have said, 0 where they have not? */
static bool types_match(const struct problem *p, const clattn_type said[TYPE_WORDS]) {
    bool any = false;
    for (int i = 0; i < TYPE_WORDS; i++) {
        any = any || said[i];
    }
    struct problem wanted = {.type = said[0] ? said[0] : p->type,
                             .type_k = said[1],
                             .type_v = said[2],
                             .type_o = said[3]};
    problem_fill_types(&wanted);
    return !any ||
           (p->type == wanted.type && p->type_k == wanted.type_k && p->type_v == wanted.type_v &&
            p->type_o == wanted.type_o && (!said[4] || p->type_d == said[4]));
}

bool problem_matches(const struct problem *p, const char *words, const char **bad) {
    clattn_type types[TYPE_WORDS] = {0};
    const char *at = words, *word;
    bool matches = true;
    *bad = NULL;
    for (size_t length; (length = text_word(&at, &word)) > 0;) {
        bool well_formed;
        matches = word_matches(p, word, length, types, &well_formed) && matches;
        if (!well_formed) {
            *bad = word;
            return false;
        }
    }
    return matches && types_match(p, types);
}
