#include "plan.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "choose.h"
#include "log.h"

static void destroy_kernels(struct plan_answer *answer) {
    for (size_t i = 0; i < STAGES; i++) {
        if (answer->kernels[i]) {
            clReleaseKernel(answer->kernels[i]);
        }
        answer->kernels[i] = NULL;
    }
}

void plan_unmake(clattn_plan plan) {
    for (size_t i = 0; i < plan->count; i++) {
        destroy_kernels(&plan->answers[i]);
    }
    text_destroy(&plan->variant_text);
    text_destroy(&plan->description);
    text_destroy(&plan->key);
    if (plan->locked) {
        lock_destroy(&plan->lock);
    }
    if (plan->context) {
        context_release(plan->context);
    }
    free(plan);
}

/* The answer that is being made. */
static struct plan_answer *next_answer(clattn_plan plan) {
    assert(plan->count < PLAN_ANSWERS);
    return &plan->answers[plan->count];
}

/* A variant that is legal on a device without local memory takes none, whatever a driver says. */
static bool takes_local_memory(const struct clattn_plan_s *plan, const struct plan_answer *answer) {
    const struct problem *p = &answer->problem;
    const struct solver *solver = answer->solver;
    struct device without = plan->context->device;
    struct variant same = answer->variant;
    struct text why = {0};
    struct status status = {0};
    without.local_memory = 0;
    const bool takes = solvers_fit(solver, p, &without, &answer->variant, &why) == CANNOT ||
                       solvers_complete(solver, p, &without, &same, &why, &status) != CL_SUCCESS;
    text_destroy(&why);
    status_destroy(&status);
    return takes;
}

/* Can the device run the kernel that its compiler made of the stage? */
static cl_int check_kernel(const struct clattn_plan_s *plan, const struct plan_answer *answer,
                           size_t index, struct choose_excess *excess, struct status *status) {
    const struct stage *stage = &answer->stages[index];
    const cl_kernel kernel = answer->kernels[index];
    const char *name = answer->solver->name;
    assert(kernel);
    const cl_device_id id = plan->context->id;
    size_t most = 0;
    cl_ulong bytes = 0;
    cl_int code =
        clGetKernelWorkGroupInfo(kernel, id, CL_KERNEL_WORK_GROUP_SIZE, sizeof most, &most, NULL);
    if (code == CL_SUCCESS) {
        code = clGetKernelWorkGroupInfo(kernel, id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof bytes, &bytes,
                                        NULL);
    }
    if (code != CL_SUCCESS) {
        return status_set(status, code, "plan: the driver tells nothing about kernel %s", name);
    }
    /* A kernel that moves registers between its warps: the driver gives each as many as the
     * richest has and says a size that is too small.  ptxas has checked the real one, and the local
     * memory. */
    if (stage->recipe.sm_90a) {
        return CL_SUCCESS;
    }
    const size_t items = stage->work_items(answer->values);
    if (items > most) {
        excess->work_group = most;
        return status_set(status, CLATTN_UNSUPPORTED,
                          "plan: kernel %s runs in work-groups of at most %zu, not %zu", name, most,
                          items);
    }
    const cl_ulong has = plan->context->device.local_memory;
    if (bytes > has && takes_local_memory(plan, answer)) {
        excess->local_memory = bytes - has;
        return status_set(
            status, CLATTN_UNSUPPORTED,
            "plan: kernel %s takes %llu bytes of local memory, over the device's %llu", name,
            (unsigned long long)bytes, (unsigned long long)has);
    }
    return CL_SUCCESS;
}

static cl_int build_kernel(clattn_plan plan, struct plan_answer *answer, size_t index,
                           struct choose_excess *excess, struct status *status) {
    clattn_context c = plan->context;
    const struct program_recipe *recipe = &answer->stages[index].recipe;
    cl_program program;
    struct text remarks = {0};
    cl_int code = program_get(recipe, &answer->problem, &answer->variant, &c->programs, c->context,
                              c->id, &program, &remarks, status);
    context_remark_lines(c, &remarks);
    text_destroy(&remarks);
    if (code != CL_SUCCESS) {
        return code;
    }
    answer->kernels[index] = clCreateKernel(program, recipe->kernel, &code);
    clReleaseProgram(program);
    if (code != CL_SUCCESS) {
        answer->kernels[index] = NULL;
        return status_set(status, code, "plan: the driver does not create kernel %s",
                          recipe->kernel);
    }
    answer->operands[index] = program_operands(recipe, &answer->problem);
    answer->writes[index] = operand_set(recipe->writes);
    return check_kernel(plan, answer, index, excess, status);
}

/* The data of the builders: for which problem an answer is made. */
struct making {
    clattn_plan plan;
    const struct problem *problem;
};

/* A choose_builder's that compiles nothing. */
static cl_int measure(void *data, const struct solver *solver, const struct variant *v,
                      struct choose_excess *excess, struct status *status) {
    const struct making *making = data;
    struct plan_answer *answer = next_answer(making->plan);
    (void)excess;
    *answer = (struct plan_answer){.problem = *making->problem, .solver = solver, .variant = *v};
    solvers_decode(solver, v, answer->values);
    answer->count = solvers_stages(solver, making->problem, v, answer->stages);
    assert(answer->count > 0 && answer->count <= STAGES);
    if (solver->workspace &&
        (!solver->workspace(&answer->problem, answer->values, &answer->workspace) ||
         answer->workspace > SIZE_MAX)) {
        return status_set(status, CLATTN_UNSUPPORTED, "plan: %s needs over 2^%d bytes of workspace",
                          solver->name, (int)(8 * sizeof(size_t)));
    }
    return CL_SUCCESS;
}

/* A choose_builder's, on a real device. */
static cl_int build(void *data, const struct solver *solver, const struct variant *v,
                    struct choose_excess *excess, struct status *status) {
    const clattn_plan plan = ((const struct making *)data)->plan;
    struct plan_answer *answer = next_answer(plan);
    assert(!answer->kernels[0]); /* what was tried before is gone */
    cl_int code = measure(data, solver, v, excess, status);
    for (size_t i = 0; i < answer->count && code == CL_SUCCESS; i++) {
        code = build_kernel(plan, answer, i, excess, status);
    }
    if (code != CL_SUCCESS) {
        destroy_kernels(answer);
    }
    return code;
}

/* build, but a variant that fails although clattn chose it is worth a remark. */
static cl_int build_or_remark(void *data, const struct solver *solver, const struct variant *v,
                              struct choose_excess *excess, struct status *status) {
    const clattn_plan plan = ((const struct making *)data)->plan;
    cl_int code = build(data, solver, v, excess, status);
    if (code != CL_SUCCESS && !excess->work_group && !excess->local_memory) {
        context_remark(plan->context, text_chars(&status->sentence));
    }
    return code;
}

/* Adds an answer for a problem; c is to be destroyed. */
static cl_int choose_answer(clattn_plan plan, const struct problem *p, const char *asked,
                            const struct solver *without, struct choice *c, struct status *status) {
    clattn_context context = plan->context;
    struct making making = {plan, p};
    const struct choose_builder builder = {plan->on_paper ? measure
                                           : asked        ? build
                                                          : build_or_remark,
                                           &making};
    const struct choose_question question = {.problem = p,
                                             .device = &context->device,
                                             .asked = asked,
                                             .tables = context->tuning.tables,
                                             .table_count = context->tuning.count,
                                             .without = without,
                                             .builder = &builder};
    const cl_int code = choose_variant(&question, c, status);
    if (code == CL_SUCCESS) {
        const cl_ulong bytes = next_answer(plan)->workspace;
        plan->workspace = bytes > plan->workspace ? bytes : plan->workspace;
        plan->count++;
    }
    return code;
}

/* Adds the answer for the enqueues that the first one does not accept, and a line for each of the
 * two.  Without a second answer the plan is still good for what the first one accepts. */
static void choose_for_other_strides(clattn_plan plan, struct text *description) {
    const struct plan_answer *first = &plan->answers[0];
    struct status status = {0};
    struct text line = {0};
    /* Why others are refused, and lines of tables passed over: the first choice has said it. */
    struct choice c = {0};
    const cl_int code = choose_answer(plan, &plan->problem, NULL, first->solver, &c, &status);
    choose_destroy(&c);
    text_printf(&line, "other strides: ");
    if (code == CL_SUCCESS) {
        variant_format(&plan->answers[1].variant, &line);
    } else {
        const char *sentence = text_chars(&status.sentence);
        text_printf(&line, "refused, as no other solver can run: %.*s (%s)",
                    (int)strcspn(sentence, "\n"), sentence, clattn_status_name(code));
        if (!plan->on_paper) {
            context_remark(plan->context, text_chars(&line));
        }
    }
    text_printf(description, "aligned strides: ");
    variant_format(&first->variant, description);
    text_printf(description, "\n%s\n", text_chars(&line));
    description->failed = description->failed || line.failed;
    text_destroy(&line);
    status_destroy(&status);
}

/* The solver that would be chosen for the problem; NULL where there is none. */
static const struct solver *chosen_for(const struct clattn_plan_s *plan, const struct problem *p) {
    const struct choose_question question = {.problem = p,
                                             .device = &plan->context->device,
                                             .tables = plan->context->tuning.tables,
                                             .table_count = plan->context->tuning.count};
    struct choice c = {0};
    struct status status = {0};
    choose_variant(&question, &c, &status);
    const struct solver *solver = c.solver;
    choose_destroy(&c);
    status_destroy(&status);
    return solver;
}

/* Adds an answer for calls of at most `queries` queries, and a line for it.  Without one the plan
 * is only slower. */
static void choose_for_queries(clattn_plan plan, cl_uint queries, struct text *description) {
    struct status status = {0};
    struct choice c = {0};
    struct problem few;
    problem_for_queries(&plan->problem, queries, &few);
    if (choose_answer(plan, &few, NULL, NULL, &c, &status) == CL_SUCCESS) {
        struct plan_answer *answer = &plan->answers[plan->count - 1];
        answer->few = true;
        text_printf(description, "up to %u %s: ", queries, queries == 1 ? "query" : "queries");
        variant_format(&answer->variant, description);
        text_printf(description, "\n");
    }
    choose_destroy(&c);
    status_destroy(&status);
}

/*
 * Adds the answers for few queries, where another solver than that of the first answer would be
 * chosen for the fewest: one for as many as this solver is chosen for (by powers of two), and one
 * for the fewest.
 */
static void choose_for_few(clattn_plan plan, struct text *description) {
    const struct problem *p = &plan->problem;
    struct problem few;
    problem_for_queries(p, p->seq_q_least, &few);
    const struct solver *solver = chosen_for(plan, &few);
    if (!solver || solver == plan->answers[0].solver) {
        return;
    }
    cl_uint most = p->seq_q_least;
    for (cl_uint next = 2 * most; next < p->seq_q; next *= 2) {
        problem_for_queries(p, next, &few);
        if (chosen_for(plan, &few) != solver) {
            break;
        }
        most = next;
    }
    if (most > p->seq_q_least) {
        choose_for_queries(plan, most, description);
    }
    choose_for_queries(plan, p->seq_q_least, description);
}

static cl_int choose(clattn_plan plan, const char *asked, struct status *status) {
    struct text *description = &plan->description, strides = {0}, few = {0};
    struct choice c = {0};
    const cl_int code = choose_answer(plan, &plan->problem, asked, NULL, &c, status);
    if (code == CL_SUCCESS && plan->answers[0].solver->accepts &&
        !(plan->problem.promises & CLATTN_PROMISE_ALIGNED)) {
        choose_for_other_strides(plan, &strides);
    }
    if (code == CL_SUCCESS && plan->problem.seq_q_least && !asked) {
        choose_for_few(plan, &few);
    }
    if (code == CL_SUCCESS) {
        text_printf(description, "workspace %llu\n", (unsigned long long)plan->workspace);
    }
    text_append(description, text_chars(&c.description), c.description.length);
    text_append(description, text_chars(&c.remarks), c.remarks.length);
    text_append(description, text_chars(&strides), strides.length);
    text_append(description, text_chars(&few), few.length);
    if (!plan->on_paper) {
        context_remark_lines(plan->context, &c.remarks);
    }
    description->failed =
        description->failed || c.description.failed || strides.failed || few.failed;
    text_destroy(&strides);
    text_destroy(&few);
    choose_destroy(&c);
    return code;
}

static cl_int fill_checked(clattn_plan plan, clattn_context context, const clattn_desc *desc,
                           struct status *status) {
    context_retain(context);
    plan->context = context;
    cl_int code = problem_from_desc(&plan->problem, desc, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    plan->locked = lock_init(&plan->lock);
    if (!plan->locked) {
        return status_set(status, CL_OUT_OF_RESOURCES, "plan: the system gave no mutex");
    }
    text_printf(&plan->description, "problem ");
    problem_format(&plan->problem, &plan->description);
    text_printf(&plan->description, "\ndevice %s\n", context->device.name);
    code = choose(plan, desc->variant, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    variant_format(&plan->answers[0].variant, &plan->variant_text);
    if (plan->variant_text.failed || plan->description.failed) {
        return status_set(status, CL_OUT_OF_HOST_MEMORY, "plan: no memory for its description");
    }
    return CL_SUCCESS;
}

/* On failure the description of what was found on the way stands behind the sentence. */
static cl_int fill(clattn_plan plan, clattn_context context, const clattn_desc *desc,
                   struct status *status) {
    const cl_int code = fill_checked(plan, context, desc, status);
    if (code != CL_SUCCESS && plan->description.length) {
        text_printf(&status->sentence, "\n%s", text_chars(&plan->description));
    }
    return code;
}

cl_int plan_make(clattn_context context, const clattn_desc *desc, clattn_plan *result,
                 struct status *status) {
    clattn_plan plan = calloc(1, sizeof *plan);
    if (!plan) {
        return status_set(status, CL_OUT_OF_HOST_MEMORY, "plan: no memory for it");
    }
    const cl_int code = fill(plan, context, desc, status);
    if (code != CL_SUCCESS) {
        plan_unmake(plan);
        return code;
    }
    struct text remarks = {0};
    log_problem(&plan->problem, &remarks);
    context_remark_lines(context, &remarks);
    text_destroy(&remarks);
    *result = plan;
    return CL_SUCCESS;
}

cl_int clattn_plan_create(clattn_context context, const clattn_desc *desc, clattn_plan *result) {
    if (result) {
        *result = NULL;
    }
    if (!context) {
        return CL_INVALID_VALUE;
    }
    struct status status = {0};
    if (!desc || !result) {
        status_set(&status, CL_INVALID_VALUE, "plan_create: %s is NULL", desc ? "result" : "desc");
        return context_report(context, &status);
    }
    return plan_make(context, desc, result, &status) == CL_SUCCESS
               ? CL_SUCCESS
               : context_report(context, &status);
}

cl_int clattn_supports(clattn_context context, const clattn_desc *desc, char *out, size_t capacity,
                       size_t *needed) {
    if (!context) {
        return CL_INVALID_VALUE;
    }
    struct status status = {0};
    if (!desc || (!out && capacity)) {
        status_set(&status, CL_INVALID_VALUE, "supports: %s is NULL", desc ? "text" : "desc");
        return context_report(context, &status);
    }
    clattn_plan plan = calloc(1, sizeof *plan);
    if (!plan) {
        status_set(&status, CL_OUT_OF_HOST_MEMORY, "supports: no memory for the answer");
        return context_report(context, &status);
    }
    plan->on_paper = true;
    const cl_int code = fill(plan, context, desc, &status);
    const struct text *answer = code == CL_SUCCESS ? &plan->description : &status.sentence;
    text_copy_out(text_chars(answer), out, capacity, needed);
    plan_unmake(plan);
    status_destroy(&status);
    return code;
}

void clattn_plan_destroy(clattn_plan plan) {
    if (plan && plan->key.length) {
        plans_give_back(plan);
    } else if (plan) {
        plan_unmake(plan);
    }
}

cl_int clattn_plan_workspace_size(clattn_plan plan, size_t *bytes) {
    if (!plan) {
        return CL_INVALID_VALUE;
    }
    if (!bytes) {
        struct status status = {0};
        status_set(&status, CL_INVALID_VALUE, "plan_workspace_size: bytes is NULL");
        return context_report(plan->context, &status);
    }
    *bytes = (size_t)plan->workspace;
    return CL_SUCCESS;
}

const char *clattn_plan_variant(clattn_plan plan) {
    return plan ? text_chars(&plan->variant_text) : NULL;
}

cl_int clattn_plan_describe(clattn_plan plan, char *out, size_t capacity, size_t *needed) {
    if (!plan) {
        return CL_INVALID_VALUE;
    }
    if (!out && capacity) {
        struct status status = {0};
        status_set(&status, CL_INVALID_VALUE, "plan_describe: text is NULL");
        return context_report(plan->context, &status);
    }
    text_copy_out(text_chars(&plan->description), out, capacity, needed);
    return CL_SUCCESS;
}
