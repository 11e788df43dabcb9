/* clock_gettime; and the queue that OpenCL 1.2 devices have, too */
#define _POSIX_C_SOURCE 200809L
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS

#include "execute.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct machine {
    const char *program, *tuning;
    bool explained; /* the failure, on stderr */
    cl_context context;
    cl_command_queue queue;
    bool profiling;
    clattn_context attention;
    clattn_plan plans[EXECUTE_PASSES];
    cl_mem buffers[EXECUTE_TENSORS];
    cl_mem workspace;
    clattn_forward_args forward;
    clattn_backward_args backward;
    unsigned pass; /* the one that runs */
    clattn_extras extras;
};

static void CL_CALLBACK say(cl_int status, const char *message, void *user_data) {
    struct machine *m = user_data;
    fprintf(stderr, "%s: %s%s\n", m->program, status == CL_SUCCESS ? "note: " : "", message);
    m->explained = m->explained || status != CL_SUCCESS;
}

static cl_int explain(struct machine *m, cl_int status, const char *call, const char *what) {
    if (status != CL_SUCCESS) {
        fprintf(stderr, "%s: %s%s%s failed: %s\n", m->program, call, what[0] ? " of " : "", what,
                clattn_status_name(status));
        m->explained = true;
    }
    return status;
}

static void destroy(struct machine *m) {
    for (int i = 0; i < EXECUTE_PASSES; i++) {
        clattn_plan_destroy(m->plans[i]);
    }
    clattn_context_destroy(m->attention);
    for (int i = 0; i < EXECUTE_TENSORS; i++) {
        if (m->buffers[i]) {
            clReleaseMemObject(m->buffers[i]);
        }
    }
    if (m->workspace) {
        clReleaseMemObject(m->workspace);
    }
    if (m->queue) {
        clReleaseCommandQueue(m->queue);
    }
    if (m->context) {
        clReleaseContext(m->context);
    }
}

static cl_int open_device(struct machine *m, cl_platform_id platform, cl_device_id device) {
    cl_int status;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)platform, 0};
    m->context = clCreateContext(properties, 1, &device, NULL, NULL, &status);
    if (status != CL_SUCCESS) {
        return explain(m, status, "clCreateContext", "");
    }
    m->queue = clCreateCommandQueue(m->context, device, CL_QUEUE_PROFILING_ENABLE, &status);
    m->profiling = status == CL_SUCCESS;
    if (!m->profiling) {
        m->queue = clCreateCommandQueue(m->context, device, 0, &status);
    }
    if (status != CL_SUCCESS) {
        return explain(m, status, "clCreateCommandQueue", "");
    }
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = m->context;
    desc.device = device;
    desc.notify = say;
    desc.user_data = m;
    desc.tuning_path = m->tuning;
    return clattn_context_create(&desc, &m->attention);
}

static cl_int make_buffers(struct machine *m, struct execute_tensor tensors[EXECUTE_TENSORS],
                           size_t workspace) {
    cl_int status = CL_SUCCESS;
    for (int i = 0; i < EXECUTE_TENSORS && status == CL_SUCCESS; i++) {
        struct execute_tensor *t = &tensors[i];
        if (t->bytes == 0) {
            continue;
        }
        cl_mem_flags flags = execute_reads(i) ? CL_MEM_READ_ONLY : CL_MEM_READ_WRITE;
        m->buffers[i] = clCreateBuffer(m->context, flags, t->bytes, NULL, &status);
        if (explain(m, status, "clCreateBuffer", t->name) == CL_SUCCESS && execute_reads(i)) {
            status = clEnqueueWriteBuffer(m->queue, m->buffers[i], CL_TRUE, 0, t->bytes, t->data, 0,
                                          NULL, NULL);
            explain(m, status, "clEnqueueWriteBuffer", t->name);
        }
        t->layout.buffer = m->buffers[i];
    }
    if (status == CL_SUCCESS && workspace) {
        m->workspace = clCreateBuffer(m->context, CL_MEM_READ_WRITE, workspace, NULL, &status);
        explain(m, status, "clCreateBuffer", "the workspace");
    }
    return status;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static cl_int enqueue(struct machine *m, cl_event *event) {
    return m->pass == CLATTN_FORWARD ? clattn_enqueue_forward(m->plans[CLATTN_FORWARD], m->queue,
                                                              &m->forward, 0, NULL, event)
                                     : clattn_enqueue_backward(m->plans[CLATTN_BACKWARD], m->queue,
                                                               &m->backward, 0, NULL, event);
}

/* Both ways of timing run one pass more: the first may include a compilation.
 * Here each pass takes from its enqueue until it is finished, by the host's clock. */
static cl_int time_on_host(struct machine *m, unsigned repeat, double *seconds) {
    cl_int status = CL_SUCCESS;
    for (unsigned i = 0; i <= repeat && status == CL_SUCCESS; i++) {
        double start = seconds_now();
        status = enqueue(m, NULL);
        if (status == CL_SUCCESS) {
            status = explain(m, clFinish(m->queue), "clFinish", "");
        }
        if (i > 0) {
            seconds[i - 1] = seconds_now() - start;
        }
    }
    return status;
}

/* By the device's clock.  A pass may be several kernels, and only the last one's
 * event is known: so all passes are enqueued at once, and each takes from the end of
 * the one before it to its own. */
static cl_int time_on_device(struct machine *m, unsigned repeat, double *seconds, bool *measured) {
    cl_event *events = calloc(repeat + 1u, sizeof(cl_event));
    cl_int status = events ? CL_SUCCESS : explain(m, CL_OUT_OF_HOST_MEMORY, "timing", "");
    for (unsigned i = 0; i <= repeat && status == CL_SUCCESS; i++) {
        status = enqueue(m, &events[i]);
    }
    if (status == CL_SUCCESS) {
        status = explain(m, clFinish(m->queue), "clFinish", "");
    }
    cl_ulong first = 0, last = 0;
    *measured = status == CL_SUCCESS;
    for (unsigned i = 0; i <= repeat && *measured; i++) {
        cl_ulong end = 0;
        *measured = clGetEventProfilingInfo(events[i], CL_PROFILING_COMMAND_END, sizeof end, &end,
                                            NULL) == CL_SUCCESS &&
                    end >= last;
        if (i > 0) {
            seconds[i - 1] = 1e-9 * (double)(end - last);
        }
        first = i == 0 ? end : first;
        last = end;
    }
    /* Some drivers keep a clock that stands still. */
    *measured = *measured && last > first;
    for (unsigned i = 0; events && i <= repeat; i++) {
        if (events[i]) {
            clReleaseEvent(events[i]);
        }
    }
    free(events);
    return status;
}

static int ascending(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static cl_int run(struct machine *m, unsigned repeat, struct execute_result *result) {
    double *seconds = calloc(repeat, sizeof *seconds);
    if (!seconds) {
        return explain(m, CL_OUT_OF_HOST_MEMORY, "timing", "");
    }
    cl_int status = CL_SUCCESS;
    if (m->profiling) {
        status = time_on_device(m, repeat, seconds, &result->device_time);
    }
    if (status == CL_SUCCESS && !result->device_time) {
        status = time_on_host(m, repeat, seconds);
    }
    if (status == CL_SUCCESS) {
        qsort(seconds, repeat, sizeof *seconds, ascending);
        result->seconds = (seconds[(repeat - 1) / 2] + seconds[repeat / 2]) / 2;
    }
    free(seconds);
    return status;
}

static cl_int make_plans(struct machine *m, const clattn_desc descs[], unsigned passes,
                         struct execute_result results[]) {
    cl_int status = CL_SUCCESS;
    for (unsigned i = 0; i < passes && status == CL_SUCCESS; i++) {
        status = clattn_plan_create(m->attention, &descs[i], &m->plans[i]);
        if (status == CL_SUCCESS) {
            snprintf(results[i].variant, sizeof results[i].variant, "%s",
                     clattn_plan_variant(m->plans[i]));
            status = clattn_plan_workspace_size(m->plans[i], &results[i].workspace);
        }
    }
    return status;
}

static void fill_args(struct machine *m, const struct execute_tensor t[EXECUTE_TENSORS],
                      float scale) {
    const clattn_tensor *given[EXECUTE_TENSORS];
    for (int i = 0; i < EXECUTE_TENSORS; i++) {
        given[i] = t[i].name ? &t[i].layout : NULL;
    }
    m->forward.q = m->backward.q = given[EXECUTE_Q];
    m->forward.k = m->backward.k = given[EXECUTE_K];
    m->forward.v = m->backward.v = given[EXECUTE_V];
    m->forward.o = m->backward.o = given[EXECUTE_O];
    m->forward.lse = m->backward.lse = given[EXECUTE_LSE];
    m->backward.d_o = given[EXECUTE_D_O];
    m->backward.d_lse = given[EXECUTE_D_LSE];
    m->backward.d_q = given[EXECUTE_D_Q];
    m->backward.d_k = given[EXECUTE_D_K];
    m->backward.d_v = given[EXECUTE_D_V];
    m->extras.alibi = given[EXECUTE_ALIBI];
    m->extras.bias = given[EXECUTE_BIAS];
    m->extras.mask = given[EXECUTE_MASK];
    m->extras.sink = given[EXECUTE_SINK];
    m->forward.extras = m->backward.extras = &m->extras;
    m->forward.scale = m->backward.scale = scale;
    m->forward.workspace = m->backward.workspace = m->workspace;
}

static cl_int run_all(struct machine *m, cl_platform_id platform, cl_device_id device,
                      const clattn_desc descs[], unsigned passes, float scale, unsigned repeat,
                      struct execute_tensor tensors[EXECUTE_TENSORS],
                      struct execute_result results[]) {
    size_t workspace = 0;
    cl_int status = open_device(m, platform, device);
    if (status == CL_SUCCESS) {
        status = make_plans(m, descs, passes, results);
    }
    for (unsigned i = 0; i < passes; i++) {
        workspace = results[i].workspace > workspace ? results[i].workspace : workspace;
    }
    if (status == CL_SUCCESS) {
        status = make_buffers(m, tensors, workspace);
        fill_args(m, tensors, scale);
    }
    for (m->pass = 0; m->pass < passes && status == CL_SUCCESS; m->pass++) {
        status = run(m, repeat, &results[m->pass]);
    }
    for (int i = 0; i < EXECUTE_TENSORS && status == CL_SUCCESS; i++) {
        if (!execute_reads(i) && tensors[i].bytes) {
            status = clEnqueueReadBuffer(m->queue, m->buffers[i], CL_TRUE, 0, tensors[i].bytes,
                                         tensors[i].data, 0, NULL, NULL);
            explain(m, status, "clEnqueueReadBuffer", tensors[i].name);
        }
    }
    return status;
}

cl_int execute(const char *program, cl_platform_id platform, cl_device_id device,
               const char *tuning, const clattn_desc descs[], unsigned passes, float scale,
               unsigned repeat, struct execute_tensor tensors[EXECUTE_TENSORS],
               struct execute_result results[]) {
    struct machine m = {.program = program,
                        .tuning = tuning,
                        .forward = CLATTN_FORWARD_ARGS_INIT,
                        .backward = CLATTN_BACKWARD_ARGS_INIT,
                        .extras = CLATTN_EXTRAS_INIT};
    for (unsigned i = 0; i < passes; i++) {
        results[i] = (struct execute_result){.seconds = 0};
    }
    cl_int status = run_all(&m, platform, device, descs, passes, scale, repeat, tensors, results);
    if (status != CL_SUCCESS && !m.explained) {
        fprintf(stderr, "%s: failed: %s\n", program, clattn_status_name(status));
    }
    destroy(&m);
    return status;
}
