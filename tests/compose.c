#include "compose.h"

#include <string.h>

#include "sources.h"
#include "tuning.h"

/* True when the solver has an answer there. */
static bool compose(const struct solver *solver, const struct problem *p, const struct device *d,
                    struct variant v, unsigned *composed) {
    struct status status = {0};
    struct text why = {0};
    struct cache programs = {0};
    cl_program program = NULL;
    struct stage stages[STAGES];
    const bool answers = solver->pass == p->pass && solvers_fit(solver, p, d, &v, &why) != CANNOT &&
                         solvers_complete(solver, p, d, &v, &why, &status) == CL_SUCCESS &&
                         cache_create(&programs, &status) == CL_SUCCESS;
    const size_t count = answers ? solvers_stages(solver, p, &v, stages) : 0;
    for (size_t i = 0; i < count; i++) {
        program_get(&stages[i].recipe, p, &v, &programs, NULL, NULL, &program, &why, &status);
        *composed += 1;
    }
    cache_destroy(&programs);
    text_destroy(&why);
    status_destroy(&status);
    return answers;
}

void compose_all(const struct problem *p, const struct device *d, enum compose_extent extent,
                 unsigned *composed, bool seen[COMPOSE_LINES]) {
    for (size_t i = 0; i < SOLVERS; i++) {
        const struct solver *solver = solvers_table[i];
        struct variant v = {.count = 0};
        struct text why = {0};
        memcpy(v.solver, solver->name, strlen(solver->name) + 1);
        const bool excluded = extent == COMPOSE_PRODUCTION && solver->baseline;
        if (extent == COMPOSE_ALL || (!excluded && solvers_fit(solver, p, d, &v, &why) == SHOULD)) {
            compose(solver, p, d, v, composed);
        }
        text_destroy(&why);
    }
    struct tuning_walk line = {.rest = NULL};
    while (tuning_next(&line, sources_find("tuning.txt")->text, p, d)) {
        const struct solver *solver = solvers_find(line.variant.solver);
        if (solver && compose(solver, p, d, line.variant, composed) && seen &&
            line.line < COMPOSE_LINES) {
            seen[line.line] = true;
        }
    }
}
