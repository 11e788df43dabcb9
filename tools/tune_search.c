#include "tune_search.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Less is none: a clock's noise is no reason to go on. */
#define GAIN 0.995

struct state {
    struct tune_search *s;
    size_t best; /* count: none yet */
    uint64_t lot;
    bool ended;
};

static double seconds_of(const struct state *t, size_t i) {
    return i < t->s->count && t->s->candidates[i].outcome == TUNE_OK ? t->s->candidates[i].seconds
                                                                     : (double)INFINITY;
}

/* Returns whether the candidate is faster than the best before. */
static bool try(struct state *t, size_t i) {
    struct tune_candidate *c = &t->s->candidates[i];
    if (c->outcome != TUNE_UNTRIED || t->ended) {
        return false;
    }
    t->ended = !t->s->evaluate(t->s->user, c);
    if (t->ended || c->outcome != TUNE_OK) {
        return false;
    }
    const bool faster = c->seconds < GAIN * seconds_of(t, t->best);
    if (c->seconds < seconds_of(t, t->best)) {
        t->best = i;
    }
    return faster;
}

/* ---- Variants ------------------------------------------------------------ */

static size_t word(const char *text) {
    return strcspn(text, " ");
}

static const char *behind(const char *text, size_t length) {
    return text + length + (text[length] == ' ');
}

static bool same(const char *a, size_t a_length, const char *b, size_t b_length) {
    return a_length == b_length && memcmp(a, b, a_length) == 0;
}

bool tune_search_neighbours(const char *variant, const char *other) {
    size_t a = word(variant), b = word(other);
    int differences = 0;
    bool alike = same(variant, a, other, b);
    while (alike && (variant[0] || other[0]) && differences < 2) {
        variant = behind(variant, a);
        other = behind(other, b);
        a = word(variant);
        b = word(other);
        const size_t key = strcspn(variant, "="), other_key = strcspn(other, "=");
        if (!same(variant, a, other, b)) {
            alike = key < a && other_key < b && same(variant, key, other, other_key);
            differences++;
        }
    }
    return alike && differences == 1;
}

/* ---- The steps ----------------------------------------------------------- */

static size_t between(size_t value, size_t low, size_t high) {
    return value < low ? low : value > high ? high : value;
}

/* Is it the first one of its solver? */
static bool leads(const struct tune_search *s, size_t i) {
    const char *variant = s->candidates[i].variant;
    for (size_t j = 0; j < i; j++) {
        const char *other = s->candidates[j].variant;
        if (same(variant, word(variant), other, word(other))) {
            return false;
        }
    }
    return true;
}

static void follow_model(struct state *t) {
    const struct tune_search *s = t->s;
    const size_t patience = s->exhaustive ? s->count
                            : s->patience ? s->patience
                                          : between(s->count / 20, 8, 40);
    size_t since = 0;
    for (size_t i = 0; i < s->count && since < patience && !t->ended; i++) {
        if (s->candidates[i].outcome == TUNE_UNTRIED) {
            since = try(t, i) ? 0 : since + 1;
        }
    }
}

/* The model's order decides which neighbour comes first, and each gain moves the centre. */
static void climb(struct state *t) {
    const struct tune_search *s = t->s;
    for (bool moved = t->best < s->count; moved && !t->ended;) {
        const char *centre = s->candidates[t->best].variant;
        moved = false;
        for (size_t i = 0; i < s->count && !moved && !t->ended; i++) {
            moved = tune_search_neighbours(centre, s->candidates[i].variant) && try(t, i);
        }
    }
}

/* The model may be wrong about a whole solver.  Not first: a solver that is out of place may be
 * slow to build and to run. */
static void ask_solvers(struct state *t) {
    for (size_t i = 0; i < t->s->count && !t->ended; i++) {
        if (leads(t->s, i) && try(t, i)) {
            climb(t);
        }
    }
}

/* xorshift64* */
static uint64_t draw(struct state *t) {
    t->lot ^= t->lot >> 12;
    t->lot ^= t->lot << 25;
    t->lot ^= t->lot >> 27;
    return t->lot * 0x2545f4914f6cdd1du >> 33;
}

static void draw_lots(struct state *t) {
    const struct tune_search *s = t->s;
    const size_t lots = s->lots ? s->lots : between(s->count / 50, 4, 20);
    for (size_t i = 0; i < lots && !t->ended; i++) {
        if (try(t, draw(t) % s->count)) {
            climb(t);
        }
    }
}

bool tune_search_run(struct tune_search *search) {
    struct state t = {.s = search, .best = search->count};
    t.lot = (search->seed + 1) * 0x9e3779b97f4a7c15u;
    t.lot = t.lot ? t.lot : 1;
    follow_model(&t);
    if (!search->exhaustive && search->count > 0) {
        climb(&t);
        ask_solvers(&t);
        draw_lots(&t);
    }
    return !t.ended;
}

size_t tune_search_best(const struct tune_search *search, size_t most, size_t *indices) {
    size_t found = 0;
    for (size_t i = 0; i < search->count; i++) {
        if (search->candidates[i].outcome != TUNE_OK) {
            continue;
        }
        size_t at = found < most ? found++ : most;
        while (at > 0 &&
               search->candidates[i].seconds < search->candidates[indices[at - 1]].seconds) {
            if (at < most) {
                indices[at] = indices[at - 1];
            }
            at--;
        }
        if (at < most) {
            indices[at] = i;
        }
    }
    return found;
}
