#define _XOPEN_SOURCE 700

#include "tune_problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench_machine.h"

#define LEAST_NOISE 0.01
#define PASSES 8 /* of each finalist, about, beside those that are timed */

enum { REQUEST = 4096, LONGER = 5 }; /* LONGER: the samples of a comparison */

struct task {
    struct tune_session *s;
    struct tune_row *row;
    struct tune_search search;
    char built_in[512]; /* what clattn chooses without tuning files */
    double time;
    enum tune_asked asked; /* why the search ended, if it is not TUNE_ANSWERED */
};

/* ---- Questions ----------------------------------------------------------- */

enum tune_asked tune_ask(struct tune_session *s, const char *kind, const char *problem,
                         const char *variants, size_t count, bool *known,
                         struct tune_result *result) {
    const struct tune_result *old = tune_journal_find(&s->journal, problem, variants);
    char request[REQUEST];
    if (known) {
        *known = old && (old->outcome != TUNE_OK || old->count == count);
    }
    if (old && (old->outcome != TUNE_OK || old->count == count)) {
        *result = *old;
        return TUNE_ANSWERED;
    }
    const double seconds = count > 1 ? LONGER * s->seconds : s->seconds;
    snprintf(request, sizeof request, "%s %g %s ; %s\n", kind, seconds, problem, variants);
    s->worker.limit = s->limit * (double)count;
    const enum tune_asked asked = tune_worker_ask(&s->worker, request, count, result);
    /* A comparison that fails is tried again another time. */
    if (asked == TUNE_ANSWERED && (count == 1 || result->outcome == TUNE_OK)) {
        tune_journal_add(&s->journal, problem, variants, result);
    }
    return asked;
}

/* ---- The search ---------------------------------------------------------- */

static cl_int CL_CALLBACK collect(const char *variant, double cost, void *user) {
    struct tune_search *search = user;
    struct tune_candidate *grown = search->candidates;
    if ((search->count & (search->count - 1)) == 0) { /* room for a power of 2 */
        const size_t room = search->count ? 2 * search->count : 1;
        grown = realloc(search->candidates, room * sizeof *grown);
    }
    char *copy = strdup(variant);
    if (!grown || !copy) {
        free(copy);
        search->candidates = grown ? grown : search->candidates;
        return 1;
    }
    search->candidates = grown;
    grown[search->count++] = (struct tune_candidate){.variant = copy, .cost = cost};
    return 0;
}

/* Moves what clattn chooses by a line that is built in, if there is one, behind candidate 0: tuning
 * is not to end with less. */
static void promote_built_in(struct task *t, const clattn_desc *desc) {
    static const char chosen[] = " chosen: ";
    struct tune_search *s = &t->search;
    char text[8192] = "";
    clattn_supports(t->s->attention, desc, text, sizeof text, NULL);
    const char *variant = strstr(text, chosen);
    const char *end = variant ? strstr(variant, " (") : NULL;
    if (!end) {
        return;
    }
    variant += strlen(chosen);
    snprintf(t->built_in, sizeof t->built_in, "%.*s", (int)(end - variant), variant);
    for (size_t i = 1; i < s->count; i++) {
        if (strcmp(s->candidates[i].variant, t->built_in) == 0) {
            const struct tune_candidate own = s->candidates[i];
            memmove(&s->candidates[2], &s->candidates[1], (i - 1) * sizeof own);
            s->candidates[1] = own;
            break;
        }
    }
}

/* What the last comparisons will take. */
static double reserve(const struct task *t) {
    const double fastest = t->row->fastest > 0 ? t->row->fastest : t->row->first;
    return (TUNE_FINALISTS + 2) * (LONGER * t->s->seconds + PASSES * fastest + 0.1);
}

static bool evaluate(void *user, struct tune_candidate *c) {
    struct task *t = user;
    struct tune_row *row = t->row;
    struct tune_result result;
    bool known;
    const double now = bench_machine_now(), time = t->time - reserve(t);
    const bool old = tune_journal_find(&t->s->journal, row->problem, c->variant) != NULL;
    if (!old && row->tried > 0 && now >= time) {
        t->asked = TUNE_STOPPED;
        return false;
    }
    /* The first one gets its time: without it nothing can be said. */
    t->s->worker.deadline = row->tried > 0 ? time : (double)INFINITY;
    t->asked = tune_ask(t->s, "try", row->problem, c->variant, 1, &known, &result);
    if (t->asked != TUNE_ANSWERED) {
        return false;
    }
    c->outcome = result.outcome;
    c->seconds = result.times[0].median;
    row->outcomes[c->outcome]++;
    row->tried++;
    row->known += known;
    if (c == t->search.candidates) {
        row->first = c->outcome == TUNE_OK ? c->seconds : 0;
    }
    if (c->outcome == TUNE_OK && !(row->fastest > 0 && row->fastest <= c->seconds)) {
        row->fastest = c->seconds;
    }
    if (t->s->show) {
        t->s->show(t->s->user);
    }
    return true;
}

/* ---- The last comparison ------------------------------------------------- */

/* Of a median, as a share of it.  Between the 10th and the 90th percentile lie 2.563 standard
 * deviations, and the median is 1.253 times as uncertain as the mean. */
static double standard_error(const struct tune_times *t) {
    return 1.253 * (t->high - t->low) / 2.563 / sqrt(t->samples) / t->median;
}

void tune_gain(const struct tune_times times[2], double *gain, double *noise) {
    *gain = times[0].median / times[1].median;
    *noise =
        fmax(LEAST_NOISE, 2 * *gain * hypot(standard_error(&times[0]), standard_error(&times[1])));
}

/* Candidate 0 stands first if it is among the finalists. */
static void conclude(struct task *t, const size_t *finalists, const struct tune_result *result) {
    struct tune_row *row = t->row;
    size_t best = result->count;
    for (size_t i = 0; i < result->count; i++) {
        if (result->times[i].median > 0 &&
            (best == result->count || result->times[i].median < result->times[best].median)) {
            best = i;
        }
    }
    if (best == result->count) {
        snprintf(row->why, sizeof row->why, "the last comparison failed");
        return;
    }
    row->after = result->times[best].median;
    row->error = result->times[best].error;
    snprintf(row->best, sizeof row->best, "%s", t->search.candidates[finalists[best]].variant);
    const bool first = finalists[0] == 0;
    if (first && !(result->times[0].median > 0)) {
        snprintf(row->why, sizeof row->why, "the last comparison failed");
        return;
    }
    if (first) {
        const struct tune_times times[2] = {result->times[0], result->times[best]};
        row->before = result->times[0].median;
        tune_gain(times, &row->gain, &row->noise);
    }
    const bool there = strcmp(row->best, t->built_in) == 0;
    row->better = !there && (first ? best != 0 && row->gain > 1 + row->noise : true);
}

/* The best of several is also the luckiest, and another load of the machine comes and goes: a gain
 * counts when it is there once more, in a comparison of its own. */
static void confirm(struct task *t) {
    struct tune_row *row = t->row;
    struct tune_result result;
    char both[2 * sizeof row->best];
    snprintf(both, sizeof both, "%s ; %s", row->best, t->search.candidates[0].variant);
    t->asked = tune_ask(t->s, "confirm", row->problem, both, 2, NULL, &result);
    row->better = false;
    if (t->asked == TUNE_ANSWERED && result.outcome == TUNE_OK && result.times[0].median > 0 &&
        result.times[1].median > 0) {
        const struct tune_times times[2] = {result.times[1], result.times[0]};
        row->before = times[0].median;
        row->after = times[1].median;
        tune_gain(times, &row->gain, &row->noise);
        row->better = row->gain > 1 + row->noise;
    } else {
        snprintf(row->why, sizeof row->why, "the gain could not be confirmed: %.200s", result.why);
    }
}

/* The best against the first one, in one child. */
static void compare(struct task *t) {
    size_t finalists[TUNE_FINALISTS] = {0}, best[TUNE_FINALISTS];
    char variants[REQUEST / 2 + REQUEST / 4] = "";
    const struct tune_search *search = &t->search;
    const size_t found = tune_search_best(search, TUNE_FINALISTS - 1, best);
    size_t count = search->count > 0 && search->candidates[0].outcome == TUNE_OK, used = 0;
    for (size_t i = 0; i < found; i++) {
        if (best[i] != 0 || count == 0) {
            finalists[count++] = best[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(variants + used, sizeof variants - used, "%s%s", i ? " ; " : "",
                                 search->candidates[finalists[i]].variant);
        if (used >= sizeof variants) { /* variants are shorter by far */
            return;
        }
    }
    if (count == 0) {
        if (!t->row->why[0]) {
            snprintf(t->row->why, sizeof t->row->why, "no candidate runs");
        }
        return;
    }
    struct tune_result result;
    t->s->worker.deadline = (double)INFINITY;
    if (count == 1) { /* nothing to compare with */
        const struct tune_result *alone = tune_journal_find(
            &t->s->journal, t->row->problem, search->candidates[finalists[0]].variant);
        if (alone) {
            conclude(t, finalists, alone);
        }
        return;
    }
    t->asked = tune_ask(t->s, "match", t->row->problem, variants, count, NULL, &result);
    if (t->asked == TUNE_ANSWERED) {
        conclude(t, finalists, &result);
        if (result.outcome != TUNE_OK) {
            snprintf(t->row->why, sizeof t->row->why, "the last comparison failed: %.200s",
                     result.why);
        }
    }
    if (t->row->better && t->row->before > 0) {
        confirm(t);
    }
}

/* ---- The problem --------------------------------------------------------- */

bool tune_problem(struct tune_session *s, const struct bench_problem *problem, double time,
                  struct tune_row *row) {
    struct task t = {.s = s, .row = row, .time = time};
    clattn_desc desc = problem->desc;
    desc.variant = NULL;
    *row = (struct tune_row){.candidates = 0};
    s->heard[0] = '\0';
    snprintf(row->problem, sizeof row->problem, "%s", problem->text);
    clattn_desc_format(&desc, row->problem, sizeof row->problem, NULL);
    const cl_int status = clattn_candidates(s->attention, &desc, collect, &t.search);
    row->candidates = t.search.count;
    row->status = status;
    if (status != CL_SUCCESS) {
        snprintf(row->why, sizeof row->why, "%s",
                 s->heard[0] ? s->heard : clattn_status_name(status));
    } else {
        promote_built_in(&t, &desc);
        t.search.exhaustive = s->exhaustive;
        t.search.seed = s->seed;
        t.search.evaluate = evaluate;
        t.search.user = &t;
        row->complete = tune_search_run(&t.search);
        const bool go_on = !*s->worker.stop && t.asked != TUNE_NO_CHILD;
        if (go_on) {
            compare(&t);
        } else {
            snprintf(row->why, sizeof row->why, "%s",
                     t.asked == TUNE_NO_CHILD ? s->worker.why : "interrupted");
        }
    }
    for (size_t i = 0; i < t.search.count; i++) {
        free(t.search.candidates[i].variant);
    }
    free(t.search.candidates);
    return !*s->worker.stop && t.asked != TUNE_NO_CHILD;
}
