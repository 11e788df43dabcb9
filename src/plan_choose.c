/*
 * plan: the choice of a variant.  In this order: the caller's variant; lines of the user's
 * tuning table; lines of ours, tuning.txt, most specific first; each solver's own
 * formula, in the order of the table.  The first that is legal and builds wins.
 */
#include "plan.h"

#include <string.h>

#include "sources.h"

static const char baseline[] = "a baseline runs only when its variant is asked for";

struct choice {
    const struct problem *problem;
    const struct device *device;
    const struct solver *without; /* not to be chosen; NULL: any may */
    plan_build build;
    void *data;
    const struct solver *chosen;
    struct variant variant;
    struct text remarks;          /* lines about variants of tables that were passed over */
    struct text reasons[SOLVERS]; /* why the solver was refused or chosen; "" so far */
};

static size_t index_of(const struct solver *solver) {
    size_t i = 0;
    while (solvers_table[i] != solver) {
        i++;
    }
    return i;
}

static void remark_completion(struct choice *c, const struct variant *v,
                              const struct variant *complete, const char *origin, const char *why) {
    text_printf(&c->remarks, "variant from %s: ", origin);
    variant_format(v, &c->remarks);
    text_printf(&c->remarks, ": %s; filled in:", why);
    for (size_t i = 0; i < complete->count; i++) {
        if (!variant_find(v, complete->parameters[i].name)) {
            text_printf(&c->remarks, " %s=%s", complete->parameters[i].name,
                        complete->parameters[i].value);
        }
    }
    text_printf(&c->remarks, "\n");
}

/* Tries a variant that may lack parameters.  On success the choice is made. */
static cl_int attempt(struct choice *c, const struct solver *solver, const struct variant *v,
                      const char *origin, struct status *status) {
    struct text *reason = &c->reasons[index_of(solver)];
    const char *refusal = solver->refuses(c->problem, c->device);
    text_destroy(reason);
    if (refusal) {
        text_printf(reason, "refused: %s", refusal);
        return status_set(status, CLATTN_UNSUPPORTED, "variant: %s is refused: %s", solver->name,
                          refusal);
    }
    struct text lacking = {0};
    if (solver->lacks && solver->lacks(c->device, v, &lacking)) {
        text_printf(reason, "refused: %s (variant from %s)", text_chars(&lacking), origin);
        status_set(status, CLATTN_UNSUPPORTED, "variant: %s", text_chars(&lacking));
        text_destroy(&lacking);
        return status->code;
    }
    struct device limited = *c->device;
    for (;;) {
        struct text why = {0};
        struct variant complete = *v;
        if (!solver->complete(c->problem, &limited, &complete, &why)) {
            text_printf(reason, "refused: %s (variant from %s)", text_chars(&why), origin);
            status_set(status, CLATTN_INVALID_VARIANT, "variant: %s", text_chars(&why));
            text_destroy(&why);
            return status->code;
        }
        size_t work_group = 0;
        cl_int code =
            c->build ? c->build(c->data, solver, &complete, &work_group, status) : CL_SUCCESS;
        if (code == CL_SUCCESS && why.length) {
            remark_completion(c, v, &complete, origin, text_chars(&why));
        }
        text_destroy(&why);
        if (code == CL_SUCCESS) {
            c->chosen = solver;
            c->variant = complete;
            text_printf(reason, "chosen: ");
            variant_format(&complete, reason);
            text_printf(reason, " (from %s)", origin);
            return CL_SUCCESS;
        }
        if (work_group == 0 || work_group >= limited.work_group) {
            const char *sentence = text_chars(&status->sentence);
            text_printf(reason, "refused: %.*s (%s)", (int)strcspn(sentence, "\n"), sentence,
                        clattn_status_name(code));
            return code;
        }
        limited.work_group = work_group; /* the kernel runs in smaller ones: once more */
    }
}

static cl_int choose_asked(struct choice *c, const char *asked, struct status *status) {
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
    return attempt(c, solver, &v, "the caller", status);
}

static bool choose_from_table(struct choice *c, const char *table, const char *name) {
    struct variant v;
    size_t at = 0, line;
    while (!c->chosen && tuning_next(table, c->problem, c->device, &at, &v, &line)) {
        const struct solver *solver = solvers_find(v.solver);
        struct status ignored = {0}; /* its sentence is in the solver's reason */
        struct text origin = {0};
        text_printf(&origin, "%s:%zu", name, line);
        if (solver && solver == c->without) {
            solver = NULL;
        } else if (solver && solver->baseline) {
            text_printf(&c->remarks, "%s is passed over: %s: %s\n", text_chars(&origin), v.solver,
                        baseline);
            solver = NULL;
        } else if (solver) {
            attempt(c, solver, &v, text_chars(&origin), &ignored);
        } else {
            text_printf(&c->remarks, "%s names no solver: %s\n", text_chars(&origin), v.solver);
        }
        if (solver && !c->chosen) {
            text_printf(&c->remarks, "%s is passed over: %s %s\n", text_chars(&origin),
                        solver->name, text_chars(&c->reasons[index_of(solver)]));
        }
        text_destroy(&origin);
        status_destroy(&ignored);
    }
    return c->chosen != NULL;
}

static cl_int choose_by_formula(struct choice *c, struct status *status) {
    cl_int code = CLATTN_UNSUPPORTED;
    for (size_t i = 0; i < SOLVERS && !c->chosen; i++) {
        const struct solver *solver = solvers_table[i];
        if (solver == c->without) {
            continue;
        }
        const char *unsuited = solver->baseline   ? baseline
                               : solver->unsuited ? solver->unsuited(c->problem, c->device)
                                                  : NULL;
        if (unsuited) {
            text_destroy(&c->reasons[i]);
            text_printf(&c->reasons[i], "passed over: %s", unsuited);
            continue;
        }
        struct variant v = {.count = 0};
        memcpy(v.solver, solver->name, strlen(solver->name) + 1);
        code = attempt(c, solver, &v, "the device's facts", status);
    }
    return c->chosen ? CL_SUCCESS : code;
}

cl_int plan_choose(const struct problem *p, const struct device *d, const char *asked,
                   const struct tuning_table *user, const struct solver *without, plan_build build,
                   void *data, const struct solver **solver, struct variant *v,
                   struct text *description, struct text *remarks, struct status *status) {
    struct choice c = {.problem = p, .device = d, .without = without, .build = build, .data = data};
    cl_int code;
    if (asked) {
        code = choose_asked(&c, asked, status);
    } else if ((user && choose_from_table(&c, user->text, user->name)) ||
               choose_from_table(&c, sources_find("tuning.txt")->text, "tuning.txt")) {
        code = CL_SUCCESS;
    } else {
        code = choose_by_formula(&c, status);
    }
    for (size_t i = 0; i < SOLVERS; i++) {
        const struct solver *s = solvers_table[i];
        const char *reason = text_chars(&c.reasons[i]);
        if (!*reason) {
            const char *other = s->refuses(p, d);
            const char *unsuited = s->baseline ? baseline : s->unsuited ? s->unsuited(p, d) : NULL;
            text_printf(&c.reasons[i], "%s",
                        other      ? "refused: "
                        : unsuited ? "passed over: "
                        : asked    ? "not tried: the caller asked for a variant"
                                   : "not tried: another one was chosen before");
            text_printf(&c.reasons[i], "%s", other ? other : unsuited ? unsuited : "");
            reason = text_chars(&c.reasons[i]);
        }
        text_printf(description, "%s %s\n", s->name, reason);
        description->failed = description->failed || c.reasons[i].failed;
        text_destroy(&c.reasons[i]);
    }
    text_append(remarks, text_chars(&c.remarks), c.remarks.length);
    text_destroy(&c.remarks);
    if (code == CL_SUCCESS) {
        *solver = c.chosen;
        *v = c.variant;
        status_destroy(status); /* of variants that were tried before */
    }
    return code;
}
