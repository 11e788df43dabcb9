#include "choose.h"

#include <assert.h>
#include <string.h>

#include "pass.h"
#include "sources.h"

static const char baseline[] = "a baseline runs only when its variant is asked for";

struct search {
    const struct choose_question *question;
    struct choice *choice;
    struct text reasons[SOLVERS]; /* why the solver was refused or chosen; "" so far */
};

/* Has the solver the problem's pass? */
static bool answers(const struct search *s, const struct solver *solver) {
    return solver->pass == s->question->problem->pass;
}

static size_t index_of(const struct solver *solver) {
    size_t i = 0;
    while (solvers_table[i] != solver) {
        i++;
        assert(i < SOLVERS);
    }
    return i;
}

static void remark_completion(struct search *s, const struct variant *v,
                              const struct variant *complete, const char *origin, const char *why) {
    text_printf(&s->choice->remarks, "variant from %s: ", origin);
    variant_format(v, &s->choice->remarks);
    text_printf(&s->choice->remarks, ": %s; filled in:", why);
    for (size_t i = 0; i < complete->count; i++) {
        if (!variant_find(v, complete->parameters[i].name)) {
            text_printf(&s->choice->remarks, " %s=%s", complete->parameters[i].name,
                        complete->parameters[i].value);
        }
    }
    text_printf(&s->choice->remarks, "\n");
}

/* Lowers the local memory that the solver is to do with, until it would no longer give the variant
 * whose kernel takes `bytes` too many.  False when there is no other. */
static bool lower_local_memory(const struct search *s, const struct solver *solver,
                               const struct variant *v, const struct variant *too_large,
                               cl_ulong bytes, struct device *limited) {
    enum { LEAST = 64 };
    const cl_ulong step = bytes > LEAST ? bytes : LEAST;
    bool other = false, complete = bytes > 0;
    while (!other && complete && limited->local_memory > step) {
        struct variant next = *v;
        struct text far = {0};
        struct status status = {0};
        limited->local_memory -= step;
        complete = solvers_complete(solver, s->question->problem, limited, &next, &far, &status) ==
                   CL_SUCCESS;
        other = complete && !variant_is(&next, too_large);
        text_destroy(&far);
        status_destroy(&status);
    }
    return other;
}

/* Tries a variant that may lack parameters.  On success the choice is made. */
static cl_int attempt(struct search *s, const struct solver *solver, const struct variant *v,
                      const char *origin, struct status *status) {
    const struct problem *p = s->question->problem;
    struct text *reason = &s->reasons[index_of(solver)];
    struct text why = {0};
    text_destroy(reason);
    if (solvers_fit(solver, p, s->question->device, v, &why) == CANNOT) {
        text_printf(reason, "refused: %s", text_chars(&why));
        status_set(status, CLATTN_UNSUPPORTED, "variant: %s is refused: %s", solver->name,
                   text_chars(&why));
        text_destroy(&why);
        return CLATTN_UNSUPPORTED;
    }
    text_destroy(&why);
    struct device limited = *s->question->device;
    for (;;) {
        struct text far = {0};
        struct status refused = {0};
        struct variant complete = *v;
        cl_int code = solvers_complete(solver, p, &limited, &complete, &far, &refused);
        if (code == CL_SUCCESS) {
            code = solvers_check_arguments(solver, p, &complete, &limited, &refused);
        }
        if (code != CL_SUCCESS) {
            const char *sentence = text_chars(&refused.sentence);
            text_printf(reason, "refused: %s (variant from %s)", sentence, origin);
            status_set(status, code, "variant: %s", sentence);
            status_destroy(&refused);
            text_destroy(&far);
            return code;
        }
        struct choose_excess excess = {0};
        const struct choose_builder *b = s->question->builder;
        code = b ? b->build(b->data, solver, &complete, &excess, status) : CL_SUCCESS;
        if (code == CL_SUCCESS && far.length) {
            remark_completion(s, v, &complete, origin, text_chars(&far));
        }
        text_destroy(&far);
        if (code == CL_SUCCESS) {
            s->choice->solver = solver;
            s->choice->variant = complete;
            text_printf(reason, "chosen: ");
            variant_format(&complete, reason);
            text_printf(reason, " (from %s)", origin);
            return CL_SUCCESS;
        }
        bool again = excess.work_group && excess.work_group < limited.work_group;
        if (again) {
            limited.work_group = excess.work_group;
        } else {
            again = lower_local_memory(s, solver, v, &complete, excess.local_memory, &limited);
        }
        if (!again) {
            const char *sentence = text_chars(&status->sentence);
            text_printf(reason, "refused: %.*s (%s)", (int)strcspn(sentence, "\n"), sentence,
                        clattn_status_name(code));
            return code;
        }
    }
}

static cl_int choose_asked(struct search *s, const char *asked, struct status *status) {
    enum { LONGEST = 1024 };
    struct variant v;
    if (strlen(asked) > LONGEST) {
        return status_set(status, CLATTN_INVALID_VARIANT, "variant: its text is longer than %d",
                          LONGEST);
    }
    cl_int code = variant_parse(&v, asked, strlen(asked), status);
    if (code != CL_SUCCESS) {
        return code;
    }
    const struct solver *solver = solvers_find(v.solver);
    if (!solver) {
        return status_set(status, CLATTN_INVALID_VARIANT, "variant: there is no solver \"%s\"",
                          v.solver);
    }
    if (!answers(s, solver)) {
        return status_set(status, CLATTN_INVALID_VARIANT,
                          "variant: %s is a solver of the %s pass, and the problem is of the %s",
                          v.solver, passes_table[solver->pass].name,
                          passes_table[s->question->problem->pass].name);
    }
    return attempt(s, solver, &v, "the caller", status);
}

/* Tries a line of a table.  False, with a remark, where it is passed over. */
static bool choose_line(struct search *s, const struct tuning_walk *line, const char *name) {
    const struct solver *solver = solvers_find(line->variant.solver);
    struct status ignored = {0}; /* its sentence is in the solver's reason */
    struct text place = {0}, origin = {0}, *remarks = &s->choice->remarks;
    text_printf(&place, "%s:%zu", name, line->line);
    text_printf(&origin, "%s", text_chars(&place));
    if (line->driver[0] && strcmp(line->driver, s->question->device->driver) != 0) {
        text_printf(&origin, ", measured with driver %s", line->driver);
    }
    if (!solver) {
        text_printf(remarks, "%s names no solver: %s\n", text_chars(&place), line->variant.solver);
    } else if (solver->baseline) {
        text_printf(remarks, "%s is passed over: %s: %s\n", text_chars(&place), solver->name,
                    baseline);
    } else if (attempt(s, solver, &line->variant, text_chars(&origin), &ignored) != CL_SUCCESS) {
        text_printf(remarks, "%s is passed over: %s %s\n", text_chars(&place), solver->name,
                    text_chars(&s->reasons[index_of(solver)]));
    }
    text_destroy(&place);
    text_destroy(&origin);
    status_destroy(&ignored);
    return s->choice->solver != NULL;
}

/* Is the line for another solver's problems?  Then nobody needs to hear of it. */
static bool is_for_others(const struct search *s, const struct tuning_walk *line) {
    const struct solver *solver = solvers_find(line->variant.solver);
    return solver && (solver == s->question->without || !answers(s, solver) ||
                      !solvers_offers(solver, s->question->problem));
}

static bool choose_from_table(struct search *s, const struct tuning_table *table) {
    struct tuning_walk line = {.rest = NULL};
    size_t tried = 0;
    while (tuning_next(&line, table->text, s->question->problem, s->question->device)) {
        if (is_for_others(s, &line)) {
            continue;
        }
        if (tried++ == CHOOSE_LINES) {
            text_printf(&s->choice->remarks,
                        "%s: %d lines were passed over, and the further ones are not tried\n",
                        table->name, CHOOSE_LINES);
            return false;
        }
        if (choose_line(s, &line, table->name)) {
            return true;
        }
    }
    return false;
}

static bool choose_from_tables(struct search *s) {
    const struct tuning_table own = {"tuning.txt", sources_find("tuning.txt")->text};
    bool chosen = false;
    for (size_t i = 0; i < s->question->table_count && !chosen; i++) {
        chosen = choose_from_table(s, &s->question->tables[i]);
    }
    return chosen || choose_from_table(s, &own);
}

static cl_int choose_by_formula(struct search *s, struct status *status) {
    cl_int code = CLATTN_UNSUPPORTED;
    for (size_t i = 0; i < SOLVERS && !s->choice->solver; i++) {
        const struct solver *solver = solvers_table[i];
        if (solver == s->question->without || !answers(s, solver)) {
            continue;
        }
        struct text why = {0};
        const bool could =
            solver->baseline ||
            solvers_fit(solver, s->question->problem, s->question->device, NULL, &why) == COULD;
        text_destroy(&why);
        if (could) {
            continue; /* describe_untried says so */
        }
        struct variant v = {.count = 0};
        memcpy(v.solver, solver->name, strlen(solver->name) + 1);
        code = attempt(s, solver, &v, "the device's facts", status);
    }
    return s->choice->solver ? CL_SUCCESS : code;
}

/* The reason of a solver that was not tried. */
static void describe_untried(const struct choose_question *q, const struct solver *solver,
                             struct text *reason) {
    struct text why = {0};
    const enum fitness fitness = solvers_fit(solver, q->problem, q->device, NULL, &why);
    if (fitness == CANNOT) {
        text_printf(reason, "refused: %s", text_chars(&why));
    } else if (fitness == COULD || solver->baseline) {
        text_printf(reason, "passed over: %s", solver->baseline ? baseline : text_chars(&why));
    } else {
        text_printf(reason, "not tried: %s",
                    q->asked ? "the caller asked for a variant" : "another one was chosen before");
    }
    text_destroy(&why);
}

cl_int choose_variant(const struct choose_question *q, struct choice *c, struct status *status) {
    struct search s = {.question = q, .choice = c};
    cl_int code = CL_SUCCESS;
    if (q->asked) {
        code = choose_asked(&s, q->asked, status);
    } else if (q->by_formula || !choose_from_tables(&s)) {
        code = choose_by_formula(&s, status);
    }
    for (size_t i = 0; i < SOLVERS; i++) {
        if (!answers(&s, solvers_table[i])) {
            continue;
        }
        if (!s.reasons[i].length) {
            describe_untried(q, solvers_table[i], &s.reasons[i]);
        }
        text_printf(&c->description, "%s %s\n", solvers_table[i]->name, text_chars(&s.reasons[i]));
        c->description.failed = c->description.failed || s.reasons[i].failed;
        text_destroy(&s.reasons[i]);
    }
    if (code == CL_SUCCESS) {
        status_destroy(status); /* of variants that were tried before */
    }
    return code;
}

void choose_destroy(struct choice *c) {
    text_destroy(&c->description);
    text_destroy(&c->remarks);
}
