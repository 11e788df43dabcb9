/* fdopen, dup */
#define _XOPEN_SOURCE 700

#include "tune_child.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <signal.h>
#include <sys/prctl.h>
#endif
#include "bench_machine.h"
#include "bench_measure.h"
#include "bench_tensors.h"
#include "outcome.h"
#include "tune_result.h"
#include "tune_shapes.h"

enum { MOST_SAMPLES = 31 };

struct child {
    FILE *to; /* a driver may print on standard output */
    struct bench_machine m;
    char why[BENCH_WHY]; /* the first refusal */
    bool begun;
};

static void answer(struct child *c, const char *kind, const char *why) {
    fprintf(c->to, "%s %.*s\n", kind, (int)strcspn(why, "\n"), why);
    fflush(c->to);
}

/* ---- Small shapes -------------------------------------------------------- */

/* What runs the shape and is right.  A variant that the shape alone refuses is not judged by it. */
static cl_int check_plan(struct child *c, struct bench_tensors *t, clattn_plan plan,
                         struct verify_result *result) {
    struct bench_plans plans = {.plan = {NULL}};
    cl_mem *workspace = &plans.workspace[t->desc.pass];
    size_t bytes = 0;
    plans.plan[t->desc.pass] = plan;
    cl_int status = clattn_plan_workspace_size(plan, &bytes);
    if (status == CL_SUCCESS && bytes > 0) {
        *workspace = clCreateBuffer(c->m.context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    }
    if (bench_machine_check(&c->m, status, "clCreateBuffer", "the workspace") == CL_SUCCESS) {
        status = bench_tensors_verify(t, &c->m, &plans, result);
    }
    if (*workspace) {
        clReleaseMemObject(*workspace);
    }
    return status;
}

/* False, and the request is answered, where the variant does not go on. */
static bool check_shape(struct child *c, const clattn_desc *shape, bool bshd, const char *variant) {
    clattn_desc desc = *shape;
    clattn_plan plan = NULL;
    struct bench_tensors tensors = {.sets = 0};
    struct verify_result result = {.passed = true};
    char text[128] = "", why[BENCH_WHY];
    desc.variant = variant;
    if (clattn_plan_create(c->m.attention, &desc, &plan) != CL_SUCCESS) {
        return true;
    }
    cl_int status = bench_tensors_create(&tensors, &c->m, shape, bshd, 1);
    if (status == CL_SUCCESS) {
        status = check_plan(c, &tensors, plan, &result);
    }
    bench_tensors_destroy(&tensors);
    clattn_plan_destroy(plan);
    clattn_desc_format(shape, text, sizeof text, NULL);
    if (status != CL_SUCCESS) {
        snprintf(why, sizeof why, "on %s: %.300s", text, c->m.why);
        answer(c, "refused", why);
    } else if (!result.passed) {
        snprintf(why, sizeof why, "on %s: error %.3g, bound %.3g; lse: error %.3g, bound %.3g",
                 text, result.error, result.bound, result.lse_error, result.lse_bound);
        answer(c, "wrong", why);
    }
    return status == CL_SUCCESS && result.passed;
}

static bool check_small(struct child *c, const clattn_desc *problem, const char *variant) {
    clattn_desc desc = *problem, shapes[TUNE_SHAPES];
    desc.heads_kv = desc.heads_kv ? desc.heads_kv : desc.heads_q;
    desc.head_dim_v = desc.head_dim_v ? desc.head_dim_v : desc.head_dim;
    tune_shapes(&desc, shapes);
    bool good = true;
    for (int i = 0; i < TUNE_SHAPES && good; i++) {
        good = check_shape(c, &shapes[i], i == 1, variant);
    }
    return good;
}

/* ---- The problem --------------------------------------------------------- */

static void skip(void *user, const char *problem, const char *variant, const char *why) {
    struct child *c = user;
    (void)problem;
    (void)variant;
    if (!c->why[0]) {
        snprintf(c->why, sizeof c->why, "%s", why);
    }
}

static void begin(void *user, double fraction) {
    struct child *c = user;
    if (!c->begun) {
        fputs("begin\n", c->to);
        fflush(c->to);
    }
    c->begun = true;
    (void)fraction;
}

static const struct bench_result *find(const struct bench_result *results, size_t count,
                                       const char *variant) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(results[i].asked, variant) == 0) {
            return &results[i];
        }
    }
    return NULL;
}

static void report(struct child *c, const char *const *variants, size_t count,
                   const struct bench_result *results, size_t result_count) {
    char why[BENCH_WHY];
    for (size_t i = 0; i < result_count; i++) {
        const struct bench_result *r = &results[i];
        if (!r->passed && count == 1) {
            snprintf(why, sizeof why,
                     "on the problem: error %.3g, bound %.3g; lse: error %.3g, "
                     "bound %.3g",
                     r->max_error, r->error_bound, r->lse_error, r->lse_bound);
            answer(c, "wrong", why);
            return;
        }
    }
    if (result_count == 0) {
        answer(c, "refused", c->why[0] ? c->why : "the reason is unknown");
        return;
    }
    fputs("ok", c->to);
    for (size_t i = 0; i < count; i++) {
        const struct bench_result *r = find(results, result_count, variants[i]);
        if (r && r->passed) {
            fprintf(c->to, " %.9g:%.9g:%.9g:%u:%u:%.6g:%.6g", r->device.median, r->device.low,
                    r->device.high, r->samples, r->passes, r->max_error, r->error_bound);
        } else {
            fputs(" -", c->to);
        }
    }
    fputs("\n", c->to);
    fflush(c->to);
}

static void measure(struct child *c, const struct bench_problem *problem, double seconds,
                    const char *const *variants, size_t count) {
    struct bench_result results[TUNE_FINALISTS];
    struct bench_variant asked[TUNE_FINALISTS];
    size_t result_count = 0;
    for (size_t i = 0; i < count; i++) {
        asked[i] = (struct bench_variant){.of = {NULL}};
        snprintf(asked[i].asked, sizeof asked[i].asked, "%s", variants[i]);
        asked[i].of[problem->desc.pass] = variants[i];
    }
    const struct bench_plan plan = {.variants = asked,
                                    .variant_count = count,
                                    .repeat = MOST_SAMPLES,
                                    .seconds = seconds,
                                    .deadline = (double)INFINITY,
                                    .skip = skip,
                                    .progress = begin,
                                    .user = c};
    c->begun = false;
    c->why[0] = '\0';
    bench_measure(&c->m, NULL, &plan, problem, results, &result_count);
    report(c, variants, count, results, result_count);
}

/* "try SECONDS PROBLEM ; VARIANT ; VARIANT..." */
static void serve(struct child *c, char *line) {
    static const char between[] = " ; ";
    const char *variants[TUNE_FINALISTS];
    struct bench_problem problem = {.desc = CLATTN_DESC_INIT};
    size_t count = 0;
    char *seconds = strchr(line, ' '), *text = seconds ? strchr(seconds + 1, ' ') : NULL;
    char *variant = text ? strstr(text, between) : NULL;
    line[strcspn(line, "\n")] = '\0';
    while (variant && count < TUNE_FINALISTS) {
        *variant = '\0';
        variants[count++] = variant + strlen(between);
        variant = strstr(variants[count - 1], between);
    }
    if (count == 0 || clattn_desc_parse(text + 1, &problem.desc) != CL_SUCCESS) {
        answer(c, "refused", "the request is malformed");
        return;
    }
    snprintf(problem.text, sizeof problem.text, "%s", text + 1);
    if (line[0] != 't' || check_small(c, &problem.desc, variants[0])) {
        measure(c, &problem, strtod(seconds, NULL), variants, count);
    }
}

static void serve_all(struct child *c) {
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        serve(c, line);
    }
    free(line);
}

int tune_child(size_t device) {
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* elsewhere a hung child outlives a killed tuner */
#endif
    struct child c = {.to = fdopen(dup(STDOUT_FILENO), "w")};
    struct select_list list;
    if (!c.to || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        return OUTCOME_FAILED;
    }
    cl_int status = select_all(&list);
    bool open = status == CL_SUCCESS && device < list.device_count;
    if (!open) {
        answer(&c, "failed", "the child process does not find the device");
    } else {
        /* The empty path: no tuning file. */
        status = bench_machine_open(&c.m, "clattn-tune", &list.devices[device], "");
        open = status == CL_SUCCESS;
        if (open) {
            fputs("ready\n", c.to);
            fflush(c.to);
            serve_all(&c);
        } else {
            answer(&c, "failed", c.m.why);
        }
        bench_machine_close(&c.m);
    }
    select_destroy(&list);
    fclose(c.to);
    return open ? OUTCOME_DONE : OUTCOME_FAILED;
}
