#include "compose.h"

#include <string.h>

#include "sources.h"

/* True when the solver has an answer there. */
static bool compose(const struct solver *solver, const struct problem *p, const struct device *d,
                    struct variant v, unsigned *composed) {
    struct status status = {0};
    struct text why = {0};
    struct cache programs = {0};
    cl_program program = NULL;
    const bool answers = !solver->refuses(p, d) && solver->complete(p, d, &v, &why) &&
                         cache_create(&programs, &status) == CL_SUCCESS;
    for (size_t kernel = 0; answers && kernel < solver->kernels; kernel++) {
        program_get(solver->recipe(&v, kernel), p, &v, &programs, NULL, NULL, &program, &why,
                    &status);
        *composed += 1;
    }
    cache_destroy(&programs);
    text_destroy(&why);
    status_destroy(&status);
    return answers;
}

void compose_all(const struct problem *p, const struct device *d, bool suited, unsigned *composed,
                 bool seen[COMPOSE_LINES]) {
    for (size_t i = 0; i < SOLVERS; i++) {
        const struct solver *solver = solvers_table[i];
        struct variant v = {.count = 0};
        memcpy(v.solver, solver->name, strlen(solver->name) + 1);
        if (!(suited && solver->unsuited && solver->unsuited(p, d))) {
            compose(solver, p, d, v, composed);
        }
    }
    struct variant v;
    size_t at = 0, line = 0;
    while (tuning_next(sources_find("tuning.txt")->text, p, d, &at, &v, &line)) {
        const struct solver *solver = solvers_find(v.solver);
        if (solver && compose(solver, p, d, v, composed) && seen && line < COMPOSE_LINES) {
            seen[line] = true;
        }
    }
}
