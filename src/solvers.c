#include "solvers.h"

#include <assert.h>
#include <string.h>

#include "size.h"

extern const struct solver solver_fwd_lanes, solver_fwd_wgmma, solver_fwd_mma, solver_fwd_tile,
    solver_fwd_rows, solver_memory_efficient, solver_standard;

const struct solver *const solvers_table[SOLVERS] = {
    &solver_fwd_lanes, &solver_fwd_wgmma,        &solver_fwd_mma,  &solver_fwd_tile,
    &solver_fwd_rows,  &solver_memory_efficient, &solver_standard,
};

const struct solver *solvers_find(const char *name) {
    for (size_t i = 0; i < SOLVERS; i++) {
        if (strcmp(solvers_table[i]->name, name) == 0) {
            return solvers_table[i];
        }
    }
    return NULL;
}

bool solvers_offers(const struct solver *solver, const struct problem *p) {
    return (p->features & ~solver->features) == 0;
}

bool solvers_refuse(const struct solver *solver, const struct problem *p, const struct device *d,
                    struct text *why) {
    if (!solvers_offers(solver, p)) {
        text_printf(why, "%s does not offer", solver->name);
        problem_format_features(p->features & ~solver->features, why);
        return true;
    }
    const char *sentence = solver->refuses(p, d);
    if (sentence) {
        text_printf(why, "%s", sentence);
    }
    return sentence != NULL;
}

bool solvers_arguments_fit(const struct solver *solver, const struct variant *v,
                           const struct device *d, struct text *why) {
    for (size_t i = 0; d->argument_bytes && i < solver->kernels; i++) {
        const struct program_recipe *recipe = solver->recipe(v, i);
        const cl_ulong bytes = launch_argument_bytes(program_operands(recipe), d->address_bits);
        if (bytes > d->argument_bytes) {
            text_printf(why, "%llu bytes of arguments of kernel %s are over the device's %llu",
                        (unsigned long long)bytes, recipe->kernel,
                        (unsigned long long)d->argument_bytes);
            return false;
        }
    }
    return true;
}

cl_ulong solvers_blocks(const struct params *params, cl_ulong rows) {
    assert(params->batch > 0 && params->heads_q > 0 && params->seq_q > 0); /* or nothing is run */
    return size_div_up((cl_ulong)params->seq_q, rows) * (cl_ulong)params->batch *
           (cl_ulong)params->heads_q;
}

const char *solvers_refuse_loops(const struct problem *p, const struct device *d,
                                 cl_ulong per_element) {
    const cl_ulong elements = (cl_ulong)p->seq_kv * (p->head_dim + p->head_dim_v + 8);
    return d->loop_limit && elements * per_element > d->loop_limit
               ? "the device silently stops a work-item after loop_limit loop iterations, which "
                 "are too few"
               : NULL;
}

static bool is_word(const struct solver_parameter *p) {
    return p->low > p->high;
}

static bool has_words(const struct variant *v, const struct solver_parameter *parameters,
                      size_t count, struct text *why) {
    for (size_t i = 0; i < count; i++) {
        if (is_word(&parameters[i]) && !variant_find(v, parameters[i].name)) {
            text_printf(why, "%s needs the parameter %s", v->solver, parameters[i].name);
            return false;
        }
    }
    return true;
}

bool solvers_check_parameters(const struct variant *v, const struct solver_parameter *parameters,
                              size_t count, struct text *why) {
    for (size_t i = 0; i < v->count; i++) {
        size_t at = 0;
        while (at < count && strcmp(v->parameters[i].name, parameters[at].name) != 0) {
            at++;
        }
        if (at == count) {
            text_printf(why, "%s has no parameter %s", v->solver, v->parameters[i].name);
            return false;
        }
        if (is_word(&parameters[at])) {
            continue;
        }
        long long value = variant_number(v, parameters[at].name, parameters[at].low - 1);
        if (value < parameters[at].low || value > parameters[at].high) {
            text_printf(why, "%s=%s is not a number from %lld to %lld", parameters[at].name,
                        v->parameters[i].value, parameters[at].low, parameters[at].high);
            return false;
        }
    }
    return true;
}

/* Does the candidate say the same as v wherever v says something? */
static bool agrees(const struct variant *v, const struct solver_parameter *parameters, size_t count,
                   const long long *candidate) {
    for (size_t i = 0; i < count; i++) {
        if (!is_word(&parameters[i]) &&
            variant_number(v, parameters[i].name, candidate[i]) != candidate[i]) {
            return false;
        }
    }
    return true;
}

bool solvers_complete(const struct problem *p, const struct device *d, struct variant *v,
                      const struct solver_parameter *parameters, size_t count,
                      const long long *candidates, size_t candidates_count,
                      bool (*legal)(const struct problem *, const struct device *,
                                    const struct variant *, struct text *why),
                      struct text *why) {
    assert(count <= VARIANT_PARAMETERS && candidates_count > 0);
    if (!solvers_check_parameters(v, parameters, count, why) ||
        !has_words(v, parameters, count, why)) {
        return false;
    }
    for (int exact = 1; exact >= 0; exact--) {
        for (size_t c = 0; c < candidates_count; c++) {
            const long long *candidate = candidates + c * count;
            if (exact && !agrees(v, parameters, count, candidate)) {
                continue;
            }
            struct variant trial = {.count = 0};
            memcpy(trial.solver, v->solver, sizeof trial.solver);
            for (size_t i = 0; i < count; i++) {
                if (is_word(&parameters[i])) {
                    variant_set_word(&trial, parameters[i].name,
                                     variant_find(v, parameters[i].name));
                } else {
                    variant_set(&trial, parameters[i].name,
                                variant_number(v, parameters[i].name, candidate[i]));
                }
            }
            struct text other = {0}; /* the first candidate's reason is the one to tell */
            const bool first = why->length == 0;
            if (legal(p, d, &trial, first ? why : &other)) {
                text_destroy(why);
                text_destroy(&other);
                if (!exact && trial.count > v->count) {
                    text_printf(why, "%s itself would choose no variant with these values",
                                v->solver);
                }
                *v = trial;
                return true;
            }
            text_destroy(&other);
        }
    }
    return false;
}
