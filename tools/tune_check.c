#include "tune_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "outcome.h"
#include "tune_files.h"
#include "tune_line.h"

enum { VARIANT = 512 };

static cl_int CL_CALLBACK take_first(const char *variant, double cost, void *user) {
    (void)cost;
    snprintf(user, VARIANT, "%s", variant);
    return 1;
}

/* The first candidate, of those with what `given` says if it is not NULL; "" where there is none.
 */
static void first_of(struct tune_session *s, clattn_desc desc, const char *given,
                     char variant[VARIANT]) {
    variant[0] = '\0';
    s->heard[0] = '\0';
    desc.variant = given;
    clattn_candidates(s->attention, &desc, take_first, variant);
}

/* Returns whether the line is good; false also where *asked says that nothing was learnt. */
static bool measure(struct tune_session *s, const char *problem, const char *own,
                    const char *variant, enum tune_asked *asked, char *verdict, size_t size) {
    char both[2 * VARIANT + 8];
    struct tune_result result;
    double gain, noise;
    s->worker.deadline = (double)INFINITY;
    *asked = tune_ask(s, "try", problem, variant, 1, NULL, &result);
    if (*asked == TUNE_ANSWERED && result.outcome != TUNE_OK) {
        snprintf(verdict, size, "%s: %s", tune_outcome_names[result.outcome], result.why);
        return false;
    }
    if (*asked == TUNE_ANSWERED && strcmp(own, variant) == 0) {
        snprintf(verdict, size, "stale: clattn chooses this by itself");
        return false;
    }
    snprintf(both, sizeof both, "%s ; %s", own, variant);
    if (*asked == TUNE_ANSWERED) {
        *asked = tune_ask(s, "match", problem, both, 2, NULL, &result);
    }
    if (*asked != TUNE_ANSWERED) {
        return false;
    }
    if (result.outcome != TUNE_OK || !(result.times[1].median > 0)) {
        snprintf(verdict, size, "%s: beside clattn's own choice: %s",
                 tune_outcome_names[result.outcome == TUNE_OK ? TUNE_REFUSED : result.outcome],
                 result.why);
        return false;
    }
    if (!(result.times[0].median > 0)) {
        snprintf(verdict, size, "good: clattn's own choice fails");
        return true;
    }
    tune_gain(result.times, &gain, &noise);
    const char *how = gain > 1 + noise ? "good" : gain > 1 ? "good, within the noise" : "stale";
    snprintf(verdict, size, "%s: gain %.3f +- %.3f on %s", how, gain, noise, problem);
    return gain > 1;
}

static bool judge(struct tune_session *s, const struct tune_fields *line, enum tune_asked *asked,
                  char *verdict, size_t size) {
    clattn_desc desc = CLATTN_DESC_INIT;
    char own[VARIANT], variant[VARIANT], problem[128];
    *asked = TUNE_ANSWERED;
    if (!tune_line_problem(line->words, &desc)) {
        snprintf(verdict, size, "malformed: no problem can be made of \"%s\"", line->words);
        return false;
    }
    if (strncmp(line->variant, "bwd_", 4) == 0) {
        desc.pass = CLATTN_BACKWARD;
    }
    first_of(s, desc, line->variant, variant);
    if (!variant[0]) {
        snprintf(verdict, size, "illegal: %.*s", (int)strcspn(s->heard, "\n"), s->heard);
        return false;
    }
    first_of(s, desc, NULL, own);
    clattn_desc_format(&desc, problem, sizeof problem, NULL);
    return measure(s, problem, own, variant, asked, verdict, size);
}

int tune_check(struct tune_session *s, const char *path, size_t *bad, const char **why) {
    char *text = tune_files_read(path, why), name[TUNE_WORDS], architecture[64];
    tune_line_fact(s->attention, "name", name, sizeof name);
    tune_line_fact(s->attention, "architecture", architecture, sizeof architecture);
    size_t number = 0;
    *bad = 0;
    int outcome = *why ? OUTCOME_WRONG_FILE : OUTCOME_DONE;
    for (char *at = text, *next; outcome == OUTCOME_DONE && at && *at; at = next) {
        struct tune_fields line;
        char verdict[1024] = "";
        next = at + strcspn(at, "\n");
        next += *next ? (*next = '\0', 1) : 0;
        number++;
        const enum tune_kind kind = tune_line_read(at, &line);
        if (kind == TUNE_EMPTY) {
            continue;
        }
        if (kind == TUNE_MALFORMED) {
            snprintf(verdict, sizeof verdict, "malformed");
            ++*bad;
        } else if (!tune_line_is_for(line.device, name, architecture)) {
            snprintf(verdict, sizeof verdict, "for another device");
        } else {
            enum tune_asked asked;
            const bool good = judge(s, &line, &asked, verdict, sizeof verdict);
            *bad += !good;
            if (asked != TUNE_ANSWERED) {
                *why = asked == TUNE_STOPPED ? "interrupted" : s->worker.why;
                outcome = OUTCOME_FAILED;
                break;
            }
        }
        printf("%s:%zu: %s\n", path, number, verdict);
        fflush(stdout);
    }
    free(text);
    return outcome == OUTCOME_DONE && *bad ? OUTCOME_FAILED : outcome;
}
