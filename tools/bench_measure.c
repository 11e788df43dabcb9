#include "bench_measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench_tensors.h"
#include "verify.h"

#define SAMPLE_SECONDS 0.02

enum { LEAST_SAMPLES = 3, MOST_PASSES = 1000, PEAKS = 20 }; /* PEAKS: each round */

struct contender {
    const struct bench_variant *asked;
    struct bench_plans plans;
    size_t workspace_bytes; /* of all */
    struct verify_result check;
    unsigned passes, samples;
    bool by_device;
    double spent;          /* seconds */
    double *device, *wall; /* seconds, one each sample */
    cl_int status;
};

struct match {
    struct bench_machine *m;
    const struct bench_plan *how;
    const struct bench_limits *limits;
    struct bench_tensors tensors;
    cl_kernel tick;
    struct contender *contenders;
    size_t count, pass;
    bool both; /* passes */
    char problem[128];
    double *peaks; /* operations a second */
    unsigned peak_count;
};

/* Its end is where a sample begins. */
static const char *const tick_source = "__kernel void tick(uint x, __global uint *y) {\n"
                                       "    if (x) {\n"
                                       "        *y = x;\n"
                                       "    }\n"
                                       "}\n";

static double min(double a, double b) {
    return a < b ? a : b;
}

static cl_int start_clock(struct match *a, cl_event *event) {
    const cl_uint zero = 0;
    const size_t one = 1;
    clSetKernelArg(a->tick, 0, sizeof zero, &zero);
    clSetKernelArg(a->tick, 1, sizeof(cl_mem), &a->tensors.view[BENCH_LSE].buffer);
    cl_int status =
        clEnqueueNDRangeKernel(a->m->queue, a->tick, 1, NULL, &one, &one, 0, NULL, event);
    return bench_machine_check(a->m, status, "clEnqueueNDRangeKernel", "a tick");
}

/* ---- One sample ----------------------------------------------------------- */

/* `passes` of them at once.  *device is negative if the device does not tell. */
static cl_int run_passes(struct match *a, struct contender *c, unsigned passes, double *device,
                         double *wall) {
    cl_event first = NULL, last = NULL;
    struct bench_machine *m = a->m;
    double start = bench_machine_now();
    cl_int status = m->profiling ? start_clock(a, &first) : CL_SUCCESS;
    for (unsigned i = 0; i < passes && status == CL_SUCCESS; i++) {
        bool wanted = m->profiling && i + 1 == passes;
        status = bench_tensors_enqueue(&a->tensors, m, &c->plans, a->pass++, wanted ? &last : NULL);
    }
    if (status == CL_SUCCESS) {
        status = bench_machine_check(m, clFinish(m->queue), "clFinish", "");
    }
    *wall = (bench_machine_now() - start) / passes;
    *device = first && last ? bench_machine_span(first, false, last) / passes : -1;
    /* Some drivers keep a clock that stands still, or nearly. */
    *device = 10 * *device > *wall ? *device : -1;
    if (first) {
        clReleaseEvent(first);
    }
    if (last) {
        clReleaseEvent(last);
    }
    return status;
}

static cl_int run_alone(struct match *a, struct contender *c, double *wall) {
    double start = bench_machine_now();
    cl_int status = bench_tensors_enqueue(&a->tensors, a->m, &c->plans, a->pass++, NULL);
    if (status == CL_SUCCESS) {
        status = bench_machine_check(a->m, clFinish(a->m->queue), "clFinish", "");
    }
    *wall = bench_machine_now() - start;
    return status;
}

static cl_int take_sample(struct match *a, struct contender *c) {
    double start = bench_machine_now(), device, wall;
    cl_int status = run_passes(a, c, c->passes, &device, &wall);
    c->by_device = c->by_device && device > 0;
    device = device > 0 ? device : wall;
    if (status == CL_SUCCESS && c->passes > 1) {
        status = run_alone(a, c, &wall);
    }
    if (status == CL_SUCCESS) {
        c->device[c->samples] = device;
        c->wall[c->samples++] = wall;
    }
    c->spent += bench_machine_now() - start;
    return status;
}

/* ---- One contender -------------------------------------------------------- */

static cl_int make_workspace(struct match *a, struct contender *c, clattn_pass pass, size_t bytes) {
    const double gib = 1 << 30;
    struct bench_machine *m = a->m;
    c->workspace_bytes += bytes;
    double together = (double)c->workspace_bytes;
    for (int i = 0; i < BENCH_TENSORS; i++) {
        together += (double)a->tensors.sets * (double)a->tensors.step[i];
    }
    if (together > 0.9 * (double)m->memory) {
        snprintf(m->why, sizeof m->why,
                 "with its workspace of %.3g GiB it takes %.3g GiB, the device has %.3g GiB",
                 (double)c->workspace_bytes / gib, together / gib, (double)m->memory / gib);
        return CL_MEM_OBJECT_ALLOCATION_FAILURE;
    }
    cl_int status;
    c->plans.workspace[pass] = clCreateBuffer(m->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    return bench_machine_check(m, status, "clCreateBuffer", "the workspace");
}

/* What is asked of a pass: what names it, or, where one pass is timed, what names the other one
 * alone, and its plan is to say so. */
static const char *asked_of(const struct match *a, const struct contender *c, clattn_pass pass) {
    const char *const *of = c->asked->of;
    return of[pass] || a->both ? of[pass] : of[1 - pass];
}

static cl_int make_plan(struct match *a, struct contender *c, clattn_pass pass) {
    clattn_desc desc = a->tensors.desc;
    size_t bytes = 0;
    desc.pass = pass;
    desc.variant = asked_of(a, c, pass);
    cl_int status = clattn_plan_create(a->m->attention, &desc, &c->plans.plan[pass]);
    if (status == CL_SUCCESS) {
        status = clattn_plan_workspace_size(c->plans.plan[pass], &bytes);
    }
    return status == CL_SUCCESS && bytes > 0 ? make_workspace(a, c, pass, bytes) : status;
}

/* Plans, checks one pass, and finds out how long one takes. */
static cl_int prepare(struct match *a, struct contender *c) {
    double device, wall;
    cl_int status = CL_SUCCESS;
    c->by_device = a->m->profiling;
    c->device = calloc(a->how->repeat, sizeof *c->device);
    c->wall = calloc(a->how->repeat, sizeof *c->wall);
    if (!c->device || !c->wall) {
        return bench_machine_check(a->m, CL_OUT_OF_HOST_MEMORY, "calloc", "samples");
    }
    for (clattn_pass pass = 0; pass < BENCH_BOTH && status == CL_SUCCESS; pass++) {
        if (a->both || pass == a->tensors.desc.pass) {
            status = make_plan(a, c, pass);
        }
    }
    if (status == CL_SUCCESS) {
        status = bench_tensors_verify(&a->tensors, a->m, &c->plans, &c->check);
    }
    if (status == CL_SUCCESS) {
        status = run_passes(a, c, 1, &device, &wall);
    }
    if (status == CL_SUCCESS) {
        double estimate = device > 0 ? device : wall;
        double passes = ceil(SAMPLE_SECONDS / (estimate > 1e-9 ? estimate : 1e-9));
        c->passes = passes < 1 ? 1 : passes > (double)MOST_PASSES ? MOST_PASSES : (unsigned)passes;
    }
    return status;
}

static void release(struct contender *c) {
    for (clattn_pass pass = 0; pass < BENCH_BOTH; pass++) {
        clattn_plan_destroy(c->plans.plan[pass]);
        if (c->plans.workspace[pass]) {
            clReleaseMemObject(c->plans.workspace[pass]);
        }
    }
    free(c->device);
    free(c->wall);
    c->plans = (struct bench_plans){.plan = {NULL}};
    c->device = c->wall = NULL;
}

static bool wants_more(const struct match *a, const struct contender *c) {
    if (c->status != CL_SUCCESS || c->samples >= a->how->repeat) {
        return false;
    }
    if (c->samples > 0 && bench_machine_now() >= a->how->deadline) {
        return false;
    }
    return c->samples < LEAST_SAMPLES || c->spent < a->how->seconds;
}

/* ---- The match ------------------------------------------------------------ */

static void fail(struct match *a, struct contender *c, cl_int status) {
    c->status = status;
    if (status != CL_SUCCESS) {
        const bool named = c->asked->of[CLATTN_FORWARD] || c->asked->of[CLATTN_BACKWARD];
        a->how->skip(a->how->user, a->problem, named ? c->asked->asked : NULL, a->m->why);
        release(c);
    }
}

/* After a round: the longer it took, the more often, for a twentieth of its time. */
static void sample_peak(struct match *a, double seconds) {
    double wanted = a->limits ? ceil(seconds / SAMPLE_SECONDS / 20) : 0;
    for (int i = 0; i < PEAKS && i < wanted; i++) {
        a->peaks[a->peak_count++] = bench_limits_sample(a->m, a->limits);
    }
}

static void play(struct match *a) {
    a->how->progress(a->how->user, 0);
    for (bool more = true; more;) {
        double done = 0, start = bench_machine_now();
        more = false;
        for (size_t i = 0; i < a->count; i++) {
            struct contender *c = &a->contenders[i];
            if (wants_more(a, c)) {
                fail(a, c, take_sample(a, c));
                more = true;
            }
            double share =
                min(1, fmax(c->samples / (double)a->how->repeat, c->spent / a->how->seconds));
            done += c->status == CL_SUCCESS ? share : 1;
        }
        if (more) {
            sample_peak(a, bench_machine_now() - start);
        }
        a->how->progress(a->how->user, done / (double)a->count);
    }
}

static int ascending(const void *left, const void *right) {
    const double x = *(const double *)left, y = *(const double *)right;
    return (x > y) - (x < y);
}

static struct bench_times summarise(double *seconds, unsigned count) {
    qsort(seconds, count, sizeof *seconds, ascending);
    unsigned tenth = (count - 1) / 10; /* so many lie outside at each end */
    return (struct bench_times){(seconds[(count - 1) / 2] + seconds[count / 2]) / 2, seconds[tenth],
                                seconds[count - 1 - tenth]};
}

static struct bench_result conclude(const struct match *a, const struct contender *c) {
    const clattn_desc *desc = &a->tensors.desc;
    struct bench_result r = {.desc = *desc,
                             .both = a->both,
                             .device = summarise(c->device, c->samples),
                             .wall = summarise(c->wall, c->samples),
                             .by_device = c->by_device,
                             .samples = c->samples,
                             .passes = c->passes,
                             .sets = a->tensors.sets,
                             .workspace = c->workspace_bytes,
                             .max_error = c->check.error,
                             .error_bound = c->check.bound,
                             .lse_error = c->check.lse_error,
                             .lse_bound = c->check.lse_bound,
                             .ill_rows = c->check.ill_rows,
                             .passed = c->check.passed};
    snprintf(r.problem, sizeof r.problem, "%s", a->problem);
    snprintf(r.asked, sizeof r.asked, "%s", c->asked->asked);
    const double dim = desc->head_dim, dim_v = desc->head_dim_v;
    const double terms[BENCH_BOTH] = {dim + dim_v, 3 * dim + 2 * dim_v};
    double operations = 0;
    r.model_bytes = 2 * (double)r.workspace;
    for (clattn_pass pass = 0; pass < BENCH_BOTH; pass++) {
        const size_t used = strlen(r.variant);
        if (c->plans.plan[pass]) {
            snprintf(r.variant + used, sizeof r.variant - used, "%s%s", used ? " + " : "",
                     clattn_plan_variant(c->plans.plan[pass]));
            operations +=
                2 * (double)verify_pairs(desc) * desc->batch * desc->heads_q * terms[pass];
            r.model_bytes += bench_tensors_bytes(desc, pass);
        }
    }
    r.rate = operations / r.device.median;
    if (a->limits) {
        r.peak_fraction = r.rate / summarise(a->peaks, a->peak_count).median;
        r.bandwidth_fraction = r.model_bytes / r.device.median / a->limits->copy;
        r.read_fraction = r.model_bytes / r.device.median / a->limits->read;
    }
    return r;
}

static cl_int measure(struct match *a, struct bench_result *results, size_t *count) {
    cl_int first_failure = CL_SUCCESS;
    for (size_t i = 0; i < a->count; i++) {
        struct contender *c = &a->contenders[i];
        c->asked = &a->how->variants[i];
        fail(a, c, prepare(a, c));
    }
    play(a);
    for (size_t i = 0; i < a->count; i++) {
        struct contender *c = &a->contenders[i];
        if (c->status == CL_SUCCESS) {
            results[(*count)++] = conclude(a, c);
        } else if (first_failure == CL_SUCCESS) {
            first_failure = c->status;
        }
        release(c);
    }
    return first_failure;
}

static cl_int open_match(struct match *a, const clattn_desc *desc) {
    cl_int status;
    if (desc->batch == 0 || verify_pairs(desc) == 0) {
        snprintf(a->m->why, sizeof a->m->why, "there is nothing to measure: no query sees a key");
        return CL_INVALID_VALUE;
    }
    a->tick = bench_machine_kernel(a->m, "", tick_source, "tick", &status);
    if (!a->tick) {
        return status;
    }
    a->contenders = calloc(a->count, sizeof *a->contenders);
    a->peaks = calloc((size_t)PEAKS * a->how->repeat, sizeof *a->peaks);
    if (!a->contenders || !a->peaks) {
        return bench_machine_check(a->m, CL_OUT_OF_HOST_MEMORY, "calloc", "variants");
    }
    return bench_tensors_create(&a->tensors, a->m, desc, a->how->bshd, a->how->sets);
}

/* Its text in normal form.  Of both passes, which are one word of the bench alone, desc has the
 * second. */
static void format_problem(struct match *a, const clattn_desc *desc) {
    clattn_desc without = *desc;
    without.pass = a->both ? CLATTN_FORWARD : desc->pass;
    clattn_desc_format(&without, a->problem, sizeof a->problem, NULL);
    const size_t used = strlen(a->problem);
    snprintf(a->problem + used, sizeof a->problem - used, "%s", a->both ? " fwd+bwd" : "");
}

cl_int bench_measure(struct bench_machine *m, const struct bench_limits *limits,
                     const struct bench_plan *plan, const struct bench_problem *problem,
                     struct bench_result *results, size_t *count) {
    struct match a = {
        .m = m, .how = plan, .limits = limits, .count = plan->variant_count, .both = problem->both};
    clattn_desc desc = problem->desc;
    *count = 0;
    cl_int status = bench_machine_check_problem(m, &desc);
    desc.heads_kv = desc.heads_kv ? desc.heads_kv : desc.heads_q;
    desc.head_dim_v = desc.head_dim_v ? desc.head_dim_v : desc.head_dim;
    if (status != CL_SUCCESS) {
        snprintf(a.problem, sizeof a.problem, "%s", problem->text);
    } else {
        format_problem(&a, &desc);
        status = open_match(&a, &desc);
    }
    if (status == CL_SUCCESS) {
        status = measure(&a, results, count);
    } else {
        plan->skip(plan->user, a.problem, NULL, m->why);
    }
    bench_tensors_destroy(&a.tensors);
    free(a.contenders);
    free(a.peaks);
    if (a.tick) {
        clReleaseKernel(a.tick);
    }
    return status;
}
