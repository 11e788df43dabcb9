#include "solvers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "size.h"

const struct solver *solvers_find(const char *name) {
    for (size_t i = 0; i < SOLVERS; i++) {
        if (strcmp(solvers_table[i]->name, name) == 0) {
            return solvers_table[i];
        }
    }
    return NULL;
}

static cl_ulong lacks(const struct solver *solver, const struct problem *p) {
    const cl_ulong scored = solver->scored ? feature_scored() & ~feature_hides() : 0;
    return p->features & ~(solver->features | scored);
}

bool solvers_offers(const struct solver *solver, const struct problem *p) {
    return !lacks(solver, p) && (solver->mixed || !problem_mixed(p)) &&
           (solver->blocked || !problem_blocked(p));
}

static const struct variant no_parameters;

const struct solver *solvers_rules(const struct solver *solver, const struct device *d,
                                   const struct variant *v) {
    return solver->like ? solver->like(d, v) : solver;
}

enum fitness solvers_fit(const struct solver *solver, const struct problem *p,
                         const struct device *d, const struct variant *v, struct text *why) {
    if (lacks(solver, p)) {
        text_printf(why, "%s does not offer", solver->name);
        problem_format_features(lacks(solver, p), why);
        return CANNOT;
    }
    if (solver->mixed && !solvers_offers(solver, p)) {
        text_printf(why, "%s takes no blocks of quantised elements, not ", solver->name);
        problem_format_types(p, why);
        return CANNOT;
    }
    if (!solvers_offers(solver, p)) {
        text_printf(why, "%s takes q, k, v and o of one type, not ", solver->name);
        problem_format_types(p, why);
        return CANNOT;
    }
    return solvers_rules(solver, d, v ? v : &no_parameters)->fits(p, d, why);
}

enum fitness solvers_fitness(const char *cannot, const char *could, struct text *why) {
    if (cannot || could) {
        text_printf(why, "%s", cannot ? cannot : could);
    }
    return cannot ? CANNOT : could ? COULD : SHOULD;
}

cl_int solvers_check_arguments(const struct solver *solver, const struct problem *p,
                               const struct variant *v, const struct device *d,
                               struct status *status) {
    struct stage stages[STAGES];
    const size_t count = d->argument_bytes ? solvers_stages(solver, p, v, stages) : 0;
    for (size_t i = 0; i < count; i++) {
        const struct program_recipe *recipe = &stages[i].recipe;
        const cl_ulong bytes = launch_argument_bytes(program_operands(recipe, p), d->address_bits);
        if (bytes > d->argument_bytes) {
            return status_set(status, CLATTN_UNSUPPORTED,
                              "%llu bytes of arguments of kernel %s are over the device's %llu",
                              (unsigned long long)bytes, recipe->kernel,
                              (unsigned long long)d->argument_bytes);
        }
    }
    return CL_SUCCESS;
}

cl_ulong solvers_blocks(const struct params *params, cl_ulong rows) {
    return size_div_up((cl_ulong)params->seq_q, rows) * (cl_ulong)params->batch *
           (cl_ulong)params->heads_q;
}

cl_ulong solvers_blocks_of_keys(const struct params *params, cl_ulong keys) {
    return size_div_up((cl_ulong)params->seq_kv, keys) * (cl_ulong)params->batch *
           ((cl_ulong)params->heads_q / (cl_ulong)params->group);
}

const char *solvers_refuse_loops(const struct problem *p, const struct device *d,
                                 cl_ulong per_element) {
    const cl_ulong elements = (cl_ulong)p->seq_kv * (p->head_dim + p->head_dim_v + 8);
    return d->loop_limit && size_mul_capped(elements, per_element) > d->loop_limit
               ? "the device silently stops a work-item after loop_limit loop iterations, which "
                 "are too few"
               : NULL;
}

/* A work-item that owns a key meets the queries of the whole group. */
const char *solvers_refuse_backward_loops(const struct problem *p, const struct device *d) {
    struct problem keys = *p;
    keys.seq_kv = p->seq_q;
    const char *rows = solvers_refuse_loops(p, d, 2);
    return rows ? rows : solvers_refuse_loops(&keys, d, 2 * (p->heads_q / p->heads_kv));
}

/* PoCL: wrong results, seldom the same ones twice, in 0 to 4 of 90 kernels a run with PoCL 5.0
 * (Ubuntu 24.04); 6.0 and 7.1 were seen to miscompile barriers in loops, too; 3.1 never. */
const char *solvers_refuse_tiles(const struct device *d) {
    const bool miscompiled =
        strcmp(d->platform, "Portable Computing Language") == 0 && strtol(d->driver, NULL, 10) >= 4;
    return d->local_memory < 1024 ? "the device has less than 1 KiB of local memory"
           : miscompiled          ? "PoCL after 3.1 miscompiles barriers in loops"
                                  : NULL;
}

long long solvers_tile_strip(const struct problem *p, long long columns, long long most) {
    const cl_uint wider = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    const long long step = 4 * columns;
    const long long strip = (long long)size_div_up(wider, (cl_ulong)step) * step;
    const long long cap = most / step * step;
    return strip < cap ? strip : cap > step ? cap : step;
}

cl_int solvers_check_group(const struct device *d, long long work_items, long long local_bytes,
                           struct status *status) {
    const cl_ulong most = d->work_items < d->work_group ? d->work_items : d->work_group;
    if ((cl_ulong)work_items > most) {
        return status_set(status, CLATTN_INVALID_VARIANT,
                          "%lld work-items are over the device's %llu", work_items,
                          (unsigned long long)most);
    }
    return (cl_ulong)local_bytes <= d->local_memory
               ? CL_SUCCESS
               : status_set(status, CLATTN_INVALID_VARIANT,
                            "%lld bytes of local memory are over the device's %llu", local_bytes,
                            (unsigned long long)d->local_memory);
}

enum { WORK_GROUP = SOLVERS_ROWS_WORK_GROUP };

const struct solver_parameter solvers_rows_parameters[] = {SOLVERS_NUMBER(WORK_GROUP, 1, 1024),
                                                           {0}};

bool solvers_rows_candidate(const struct problem *p, const struct device *d, const long long *given,
                            size_t i, long long *values) {
    (void)p;
    (void)d;
    (void)given;
    values[WORK_GROUP] = 64 >> i;
    return values[WORK_GROUP] > 0;
}

cl_int solvers_rows_legal(const struct problem *p, const struct device *d, const long long *values,
                          struct status *status) {
    (void)p;
    return solvers_check_group(d, values[WORK_GROUP], 0, status);
}

size_t solvers_rows_work_items(const long long *values) {
    return (size_t)values[WORK_GROUP];
}

struct grid solvers_rows_grid(const long long *values, const struct params *params) {
    const cl_ulong rows = solvers_blocks(params, 1);
    return (struct grid){size_div_up(rows, (cl_ulong)values[WORK_GROUP]), 1};
}

const struct stage solvers_delta = {
    .recipe = {.kernel = "bwd_delta",
               .reads = "o d_o d_lse",
               .writes = "workspace",
               .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl",
                         "grad.cl", "bwd_delta.cl"},
               .takes = "WORK_GROUP",
               .constants = "#define LANES 1\n"},
    .work_items = solvers_rows_work_items,
    .grid = solvers_rows_grid,
};

bool solvers_delta_workspace(const struct problem *p, const long long *values, cl_ulong *bytes) {
    (void)values;
    *bytes = (cl_ulong)p->batch * p->heads_q * p->seq_q * sizeof(cl_float); /* below 2^62 */
    return true;
}

long long solvers_given(long long given, long long otherwise) {
    return given == SOLVERS_MISSING ? otherwise : given;
}

/* ---- Variants and their values ---- */

long long solvers_read(const struct solver_parameter *parameter, const char *value) {
    long long number = SOLVERS_MISSING;
    if (!parameter->word) {
        text_number(value, strlen(value), parameter->low, parameter->high, &number);
        return number;
    }
    for (size_t i = 0; parameter->word(i); i++) {
        number = strcmp(parameter->word(i), value) == 0 ? (long long)i : number;
    }
    return number;
}

static void refuse_value(const struct solver_parameter *parameter, const char *value,
                         struct status *status) {
    if (!parameter->word) {
        status_set(status, CLATTN_INVALID_VARIANT, "%s=%s is not a number from %lld to %lld",
                   parameter->name, value, parameter->low, parameter->high);
        return;
    }
    status_set(status, CLATTN_INVALID_VARIANT, "%s=%s is none of", parameter->name, value);
    for (size_t i = 0; parameter->word(i); i++) {
        text_printf(&status->sentence, "%s %s", i ? "," : "", parameter->word(i));
    }
}

cl_int solvers_read_given(const struct solver_parameter *parameters, const struct variant *v,
                          long long *values, struct status *status) {
    size_t known = 0;
    for (size_t i = 0; parameters[i].name; i++) {
        const char *value = variant_find(v, parameters[i].name);
        values[i] = value ? solvers_read(&parameters[i], value) : SOLVERS_MISSING;
        known += value != NULL;
        if (value && values[i] == SOLVERS_MISSING) {
            refuse_value(&parameters[i], value, status);
            return CLATTN_INVALID_VARIANT;
        }
    }
    for (size_t i = 0, at; known < v->count && i < v->count; i++) {
        for (at = 0; parameters[at].name && strcmp(parameters[at].name, v->parameters[i].name);) {
            at++;
        }
        if (!parameters[at].name) {
            return status_set(status, CLATTN_INVALID_VARIANT, "%s has no parameter %s", v->solver,
                              v->parameters[i].name);
        }
    }
    return CL_SUCCESS;
}

void solvers_write(const struct solver_parameter *parameters, const long long *values,
                   struct variant *v) {
    v->count = 0;
    for (size_t i = 0; parameters[i].name; i++) {
        const struct solver_parameter *p = &parameters[i];
        char digits[VARIANT_WORD];
        snprintf(digits, sizeof digits, "%lld", values[i]);
        variant_add(v, p->name, p->word ? p->word((size_t)values[i]) : digits);
    }
}

void solvers_decode(const struct solver *solver, const struct variant *v,
                    long long values[VARIANT_PARAMETERS]) {
    struct status status = {0};
    const cl_int code =
        solvers_read_given(solvers_rules(solver, NULL, v)->parameters, v, values, &status);
    assert(code == CL_SUCCESS);
    (void)code;
    status_destroy(&status);
}

bool solvers_take_given(const struct solver_parameter *parameters, const long long *given,
                        long long *values) {
    bool same = true;
    for (size_t i = 0; parameters[i].name; i++) {
        const long long value = solvers_given(given[i], values[i]);
        same = same && value == values[i];
        values[i] = value;
    }
    return same;
}

cl_int solvers_complete(const struct solver *solver, const struct problem *p,
                        const struct device *d, struct variant *v, struct text *far,
                        struct status *status) {
    const struct solver *rules = solvers_rules(solver, d, v);
    const struct solver_parameter *const parameters = rules->parameters;
    long long given[VARIANT_PARAMETERS], values[VARIANT_PARAMETERS];
    cl_int code = solvers_read_given(parameters, v, given, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    for (int exact = 1; exact >= 0; exact--) {
        for (size_t i = 0; rules->candidate(p, d, given, i, values); i++) {
            if (solvers_take_given(parameters, given, values) != (exact == 1)) {
                continue;
            }
            struct status other = {0}; /* the first candidate's sentence is the one to tell */
            const bool first = code == CL_SUCCESS;
            const cl_int refused = rules->legal(p, d, values, first ? status : &other);
            status_destroy(&other);
            if (refused == CL_SUCCESS) {
                const size_t had = v->count;
                status_destroy(status);
                solvers_write(parameters, values, v);
                if (!exact && v->count > had) {
                    text_printf(far, "%s itself would choose no variant with these values",
                                v->solver);
                }
                return CL_SUCCESS;
            }
            code = first ? refused : code;
        }
    }
    assert(code != CL_SUCCESS); /* there is a candidate */
    return code;
}
