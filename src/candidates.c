#include "candidates.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "choose.h"
#include "cost.h"

enum { MOST_VALUES = 64 }; /* of a parameter; further ones are left out */

/* The formula is knowledge: a variant of a solver that it passes over costs so many times as much,
 * and a factor of 2 in a parameter of the solver's own choice so much more. */
static const double passed_over = 8, of_distance = 0.01;

/* The search in one solver. */
struct space {
    const struct problem *problem;
    const struct device *device;
    const struct solver *solver, *rules;
    struct variant given_variant;
    long long given[VARIANT_PARAMETERS];
    long long own[VARIANT_PARAMETERS]; /* the formula's choice */
    size_t parameters;
    long long values[VARIANT_PARAMETERS][MOST_VALUES];
    size_t counts[VARIANT_PARAMETERS];
    double doubt;
    struct candidate *list; /* room for 2 * CANDIDATES_KEPT */
    size_t count;
};

struct variant candidates_variant(const struct candidate *candidate) {
    struct variant v = {.count = 0};
    memcpy(v.solver, candidate->solver->name, strlen(candidate->solver->name));
    solvers_write(candidate->parameters, candidate->values, &v);
    return v;
}

/* ---- The order ---- */

static size_t count_parameters(const struct solver_parameter *parameters) {
    size_t count = 0;
    while (parameters[count].name) {
        count++;
    }
    return count;
}

/* Lower cost first; then by name and values, so that the order is the same everywhere. */
static int compare(const void *left, const void *right) {
    const struct candidate *a = left, *b = right;
    int order = a->cost < b->cost ? -1 : a->cost > b->cost;
    if (order == 0) {
        order = strcmp(a->solver->name, b->solver->name);
    }
    const size_t parameters = count_parameters(a->parameters);
    for (size_t i = 0; order == 0 && a->parameters == b->parameters && i < parameters; i++) {
        order = a->values[i] < b->values[i] ? -1 : a->values[i] > b->values[i];
    }
    return order;
}

/* Keeps the best, each once. */
static void settle(struct space *s) {
    size_t kept = 0;
    qsort(s->list, s->count, sizeof *s->list, compare);
    for (size_t i = 0; i < s->count && kept < CANDIDATES_KEPT; i++) {
        if (kept == 0 || compare(&s->list[kept - 1], &s->list[i]) != 0) {
            s->list[kept++] = s->list[i];
        }
    }
    s->count = kept;
}

/* ---- The values of a parameter ---- */

static void add_value(struct space *s, size_t parameter, long long value) {
    long long *values = s->values[parameter];
    size_t *count = &s->counts[parameter];
    for (size_t i = 0; i < *count; i++) {
        if (values[i] == value) {
            return;
        }
    }
    if (*count < MOST_VALUES) {
        values[(*count)++] = value;
    }
}

static void add_listed(struct space *s, size_t i, const struct solver_parameter *parameter) {
    const char *at = parameter->values, *word;
    for (size_t length; (length = text_word(&at, &word)) > 0;) {
        char value[VARIANT_WORD] = "";
        assert(length < sizeof value);
        memcpy(value, word, length);
        assert(solvers_read(parameter, value) != SOLVERS_MISSING);
        add_value(s, i, solvers_read(parameter, value));
    }
}

static void add_values(struct space *s, size_t i) {
    const struct solver_parameter *parameter = &s->rules->parameters[i];
    if (s->given[i] != SOLVERS_MISSING) {
        add_value(s, i, s->given[i]);
    } else if (parameter->values) {
        add_listed(s, i, parameter);
    } else if (parameter->word) {
        for (size_t word = 0; parameter->word(word); word++) {
            add_value(s, i, (long long)word);
        }
    } else {
        for (long long value = 0; value <= parameter->high; value += value ? value : 1) {
            if (value >= parameter->low) {
                add_value(s, i, value);
            }
        }
    }
}

/* ---- The variants around the formula's ---- */

/* How far, in factors of 2 over all parameters. */
static double distance(const struct space *s, const long long *values) {
    double sum = 0;
    for (size_t i = 0; i < s->parameters; i++) {
        const bool word = s->rules->parameters[i].word != NULL;
        if (values[i] != s->own[i]) {
            sum += word ? 1 : fabs(log2((double)(values[i] + 1) / (double)(s->own[i] + 1)));
        }
    }
    return sum;
}

static bool has_workspace(const struct solver *solver, const struct problem *p,
                          const long long *values) {
    cl_ulong bytes = 0;
    return !solver->workspace || (solver->workspace(p, values, &bytes) && bytes <= SIZE_MAX);
}

/* Adds the variant to the list, if it can run. */
static void take(struct space *s, const long long *values) {
    if (s->rules->legal(s->problem, s->device, values, NULL) != CL_SUCCESS) {
        return;
    }
    struct candidate c = {.solver = s->solver, .parameters = s->rules->parameters};
    memcpy(c.values, values, sizeof c.values);
    const struct variant v = candidates_variant(&c);
    if (!has_workspace(s->solver, s->problem, values) ||
        solvers_check_arguments(s->solver, s->problem, &v, s->device, NULL) != CL_SUCCESS) {
        return;
    }
    c.cost = s->doubt * (1 + of_distance * distance(s, values)) *
             cost_of(s->solver, s->problem, s->device, &v, values);
    s->list[s->count++] = c;
    if (s->count == 2 * CANDIDATES_KEPT) {
        settle(s);
    }
}

/* Takes all variants that differ from `values` in at most `changes` parameters from `at` on. */
static void vary(struct space *s, long long *values, size_t at, size_t changes) {
    if (at == s->parameters || changes == 0) {
        take(s, values);
        return;
    }
    const long long kept = values[at];
    vary(s, values, at + 1, changes);
    for (size_t i = 0; i < s->counts[at]; i++) {
        if (s->values[at][i] != kept) {
            values[at] = s->values[at][i];
            vary(s, values, at + 1, changes - 1);
        }
    }
    values[at] = kept;
}

/* The variants that differ from one in at most `changes` parameters. */
static double count_variants(const struct space *s, size_t changes) {
    double exactly[VARIANT_PARAMETERS + 1] = {1}, sum = 0;
    for (size_t i = 0; i < s->parameters; i++) {
        for (size_t k = i + 1; k > 0; k--) {
            exactly[k] += exactly[k - 1] * (double)(s->counts[i] - 1);
        }
    }
    for (size_t k = 0; k <= changes; k++) {
        sum += exactly[k];
    }
    return sum;
}

/* A candidate of the formula with the given values; false behind the last one. */
static bool formula(const struct space *s, size_t i, long long *values) {
    const bool there = s->rules->candidate(s->problem, s->device, s->given, i, values);
    if (there) {
        solvers_take_given(s->rules->parameters, s->given, values);
    }
    return there;
}

/* The formula's own choice stays, whatever the model says of it. */
static void keep_own(struct space *s) {
    bool there = false;
    for (size_t i = 0; i < s->count && !there; i++) {
        there = memcmp(s->list[i].values, s->own, s->parameters * sizeof *s->own) == 0;
    }
    if (!there) {
        s->count -= s->count == CANDIDATES_KEPT;
        take(s, s->own);
    }
}

static bool is_complete(const struct space *s, const long long *values) {
    for (size_t i = 0; i < s->parameters; i++) {
        if (values[i] == SOLVERS_MISSING) {
            return false;
        }
    }
    return true;
}

static void explore(struct space *s) {
    long long values[VARIANT_PARAMETERS] = {0};
    size_t bases = 0;
    for (size_t i = 0; i < s->parameters; i++) {
        add_values(s, i);
    }
    for (size_t i = 0; formula(s, i, values); i++) {
        for (size_t j = 0; is_complete(s, values) && j < s->parameters; j++) {
            add_value(s, j, values[j]);
        }
        bases += is_complete(s, values);
    }
    /* One base is enough where all parameters may differ. */
    size_t changes = s->parameters;
    if (bases > 0 && count_variants(s, changes) > CANDIDATES_TRIED) {
        do {
            changes--;
        } while (changes > 0 && (double)bases * count_variants(s, changes) > CANDIDATES_TRIED);
    }
    const bool all = changes == s->parameters;
    for (size_t i = 0; formula(s, i, values); i++) {
        if (is_complete(s, values)) {
            vary(s, values, 0, changes);
            if (all) {
                break;
            }
        }
    }
    settle(s);
    keep_own(s);
}

/* Appends the candidates of one solver.  v: the values that they all have. */
static cl_int add_solver(const struct problem *p, const struct device *d,
                         const struct solver *solver, const struct variant *v, struct candidates *c,
                         struct status *status) {
    struct text why = {0};
    const enum fitness fitness = solvers_fit(solver, p, d, v, &why);
    text_destroy(&why);
    if (fitness == CANNOT || !solvers_offers(solver, p)) {
        return CL_SUCCESS;
    }
    struct space *s = calloc(1, sizeof *s);
    struct candidate *list = calloc(2 * CANDIDATES_KEPT, sizeof *list);
    struct candidate *longer =
        s && list ? realloc(c->list, (c->count + CANDIDATES_KEPT) * sizeof *longer) : NULL;
    c->list = longer ? longer : c->list;
    struct variant own = *v;
    struct text far = {0};
    struct status refused = {0};
    if (longer && solvers_complete(solver, p, d, &own, &far, &refused) == CL_SUCCESS) {
        *s = (struct space){.problem = p,
                            .device = d,
                            .solver = solver,
                            .rules = solvers_rules(solver, d, v),
                            .doubt = fitness == COULD ? passed_over : 1,
                            .list = list};
        s->parameters = count_parameters(s->rules->parameters);
        solvers_decode(solver, &own, s->own);
        cl_int code = solvers_read_given(s->rules->parameters, v, s->given, &refused);
        assert(code == CL_SUCCESS); /* the variant was completed */
        (void)code;
        explore(s);
        memcpy(c->list + c->count, s->list, s->count * sizeof *s->list);
        c->count += s->count;
    }
    const cl_int code =
        longer ? CL_SUCCESS
               : status_set(status, CL_OUT_OF_HOST_MEMORY, "candidates: no memory for them");
    text_destroy(&far);
    status_destroy(&refused);
    free(list);
    free(s);
    return code;
}

/* A choose_builder's: without a device nothing but the workspace can fail. */
static cl_int measure(void *data, const struct solver *solver, const struct variant *v,
                      struct choose_excess *excess, struct status *status) {
    long long values[VARIANT_PARAMETERS];
    (void)excess;
    solvers_decode(solver, v, values);
    return has_workspace(solver, data, values)
               ? CL_SUCCESS
               : status_set(status, CLATTN_UNSUPPORTED, "%s needs too much workspace",
                            solver->name);
}

/* Puts the formula's choice in front. */
static void lead(struct candidates *c, const struct choice *chosen) {
    struct candidate own = {.solver = NULL};
    for (size_t i = 0; i < c->count && !own.solver; i++) {
        const struct variant v = candidates_variant(&c->list[i]);
        if (c->list[i].solver == chosen->solver && variant_is(&v, &chosen->variant)) {
            own = c->list[i];
            memmove(c->list + 1, c->list, i * sizeof *c->list);
            c->list[0] = own;
        }
    }
    assert(own.solver);
}

cl_int candidates_find(const struct problem *p, const struct device *d, const char *asked,
                       struct candidates *c, struct status *status) {
    struct problem copy = *p;
    const struct choose_builder builder = {measure, &copy};
    const struct choose_question question = {
        .problem = p, .device = d, .asked = asked, .by_formula = true, .builder = &builder};
    struct choice chosen = {0};
    cl_int code = choose_variant(&question, &chosen, status);
    for (size_t i = 0; code == CL_SUCCESS && i < SOLVERS; i++) {
        const struct solver *solver = solvers_table[i];
        struct variant v = {.count = 0};
        if (asked ? solver != chosen.solver : solver->baseline || solver->pass != p->pass) {
            continue;
        }
        if (asked) {
            variant_parse(&v, asked, strlen(asked), status);
        } else {
            memcpy(v.solver, solver->name, strlen(solver->name));
        }
        code = add_solver(p, d, solver, &v, c, status);
    }
    if (code == CL_SUCCESS) {
        qsort(c->list, c->count, sizeof *c->list, compare);
        lead(c, &chosen);
    }
    choose_destroy(&chosen);
    return code;
}

void candidates_destroy(struct candidates *c) {
    free(c->list);
    *c = (struct candidates){.list = NULL};
}
