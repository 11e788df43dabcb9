/*
 * variant - a solver and its parameters as text, "fwd_tile BLOCK_M=64 BLOCK_N=32": what
 * tuning tables, the caller's override, messages and a plan's description hold.
 */
#ifndef VARIANT_H
#define VARIANT_H

#include <stdbool.h>
#include <stddef.h>

#include "status.h"

enum { VARIANT_PARAMETERS = 24, VARIANT_WORD = 24 };

struct variant {
    char solver[VARIANT_WORD];
    size_t count;
    struct {
        char name[VARIANT_WORD], value[VARIANT_WORD];
    } parameters[VARIANT_PARAMETERS];
};

/* Reads chars[0..length).  The sentence of a failure quotes the word. */
cl_int variant_parse(struct variant *v, const char *chars, size_t length, struct status *status);

/* Appends the variant's text. */
void variant_format(const struct variant *v, struct text *out);

/* Is it that solver with the same parameters and values, in the same order? */
bool variant_is(const struct variant *v, const struct variant *other);

/* The parameter's value, NULL when the variant does not have it. */
const char *variant_find(const struct variant *v, const char *name);

/* The parameter's value as a number, `missing` when the variant does not have it or
 * it is no number. */
long long variant_number(const struct variant *v, const char *name, long long missing);

/* Adds a parameter, which the variant does not have yet. */
void variant_add(struct variant *v, const char *name, const char *value);

/*
 * What one stage of a solver takes of a variant: a variant with that name, and with the parameters
 * that the words name.  A word with "_" at its end names all parameters that begin with the word,
 * and they lose it: of DQ_BLOCK_M=64 the word "DQ_" makes BLOCK_M=64.
 */
struct variant variant_take(const struct variant *v, const char *name, const char *words);

#endif
