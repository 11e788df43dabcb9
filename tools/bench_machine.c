/* clock_gettime; and the queue that OpenCL 1.2 devices have, too */
#define _POSIX_C_SOURCE 200809L
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS

#include "bench_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* clattn's sentence for a failed build goes on with the build log: the first line is
 * the sentence. */
static void CL_CALLBACK hear(cl_int status, const char *message, void *user_data) {
    struct bench_machine *m = user_data;
    int length = (int)strcspn(message, "\n");
    if (status == CL_SUCCESS) {
        fprintf(stderr, "%s: note: %.*s\n", m->program, length, message);
    } else {
        snprintf(m->why, sizeof m->why, "%.*s", length, message);
    }
}

cl_int bench_machine_check(struct bench_machine *m, cl_int status, const char *call,
                           const char *what) {
    if (status != CL_SUCCESS) {
        snprintf(m->why, sizeof m->why, "%s%s%s failed: %s", call, what[0] ? " of " : "", what,
                 clattn_status_name(status));
    }
    return status;
}

cl_int bench_machine_check_problem(struct bench_machine *m, const clattn_desc *desc) {
    size_t length;
    if (clattn_desc_format(desc, NULL, 0, &length) == CL_SUCCESS) {
        return CL_SUCCESS;
    }
    /* Only a plan says why. */
    clattn_plan plan;
    snprintf(m->why, sizeof m->why, "it is not a problem");
    cl_int status = clattn_plan_create(m->attention, desc, &plan);
    clattn_plan_destroy(plan);
    return status == CL_SUCCESS ? CLATTN_INVALID_DESC : status;
}

/* A description has every solver of its pass, a line each after that of the workspace. */
static bool is_solver(struct bench_machine *m, const char *name) {
    bool found = false;
    for (clattn_pass pass = CLATTN_FORWARD; pass <= CLATTN_BACKWARD && !found; pass++) {
        clattn_desc desc = CLATTN_DESC_INIT;
        char text[4096] = "", line[64];
        desc.pass = pass;
        desc.seq_q = desc.head_dim = 1;
        if (clattn_supports(m->attention, &desc, text, sizeof text, NULL) != CL_SUCCESS) {
            return true; /* nobody knows */
        }
        const char *solvers = strstr(text, "\nworkspace ");
        snprintf(line, sizeof line, "\n%s ", name);
        found = !solvers || strstr(solvers + 1, line);
    }
    return found;
}

cl_int bench_machine_check_variant(struct bench_machine *m, const char *variant) {
    const char *const blanks = " \t\n";
    char solver[48];
    const char *at = variant + strcspn(variant, blanks);
    snprintf(solver, sizeof solver, "%.*s", (int)(at - variant), variant);
    if (!is_solver(m, solver)) {
        snprintf(m->why, sizeof m->why, "there is no solver '%s'", solver);
        return CLATTN_INVALID_VARIANT;
    }
    for (at += strspn(at, blanks); *at; at += strspn(at, blanks)) {
        const int length = (int)strcspn(at, blanks);
        const char *sign = memchr(at, '=', (size_t)length);
        if (!sign || sign == at || sign + 1 == at + length) {
            snprintf(m->why, sizeof m->why, "'%.*s' is not of the form NAME=VALUE", length, at);
            return CLATTN_INVALID_VARIANT;
        }
        at += length;
    }
    return CL_SUCCESS;
}

static void read_facts(struct bench_machine *m) {
    cl_device_type type = 0;
    clGetDeviceInfo(m->device, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    m->cpu = (type & CL_DEVICE_TYPE_CPU) != 0;
    clGetDeviceInfo(m->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof m->units, &m->units, NULL);
    clGetDeviceInfo(m->device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof m->memory, &m->memory, NULL);
    clGetDeviceInfo(m->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof m->largest, &m->largest, NULL);
    clGetDeviceInfo(m->device, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, sizeof m->cache, &m->cache, NULL);
    clGetDeviceInfo(m->device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof m->group, &m->group, NULL);
    cl_device_fp_config floats = 0;
    clGetDeviceInfo(m->device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof floats, &floats, NULL);
    m->fma = (floats & CL_FP_FMA) != 0;
    m->units = m->units ? m->units : 1;
    m->group = m->group ? m->group : 1;
}

cl_int bench_machine_open(struct bench_machine *m, const char *program,
                          const struct select_device *device, const char *tuning) {
    cl_int status;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)device->platform, 0};
    *m = (struct bench_machine){.program = program, .device = device->id, .label = device->label};
    m->driver = select_device_text(device->id, CL_DRIVER_VERSION);
    if (!m->driver) {
        return bench_machine_check(m, CL_OUT_OF_HOST_MEMORY, "clGetDeviceInfo", "");
    }
    read_facts(m);
    m->context = clCreateContext(properties, 1, &device->id, NULL, NULL, &status);
    if (status != CL_SUCCESS) {
        return bench_machine_check(m, status, "clCreateContext", "");
    }
    m->queue = clCreateCommandQueue(m->context, device->id, CL_QUEUE_PROFILING_ENABLE, &status);
    m->profiling = status == CL_SUCCESS;
    if (!m->profiling) {
        m->queue = clCreateCommandQueue(m->context, device->id, 0, &status);
    }
    if (status != CL_SUCCESS) {
        return bench_machine_check(m, status, "clCreateCommandQueue", "");
    }
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    desc.context = m->context;
    desc.device = device->id;
    desc.notify = hear;
    desc.user_data = m;
    desc.tuning_path = tuning;
    return clattn_context_create(&desc, &m->attention);
}

void bench_machine_close(struct bench_machine *m) {
    clattn_context_destroy(m->attention);
    if (m->queue) {
        clReleaseCommandQueue(m->queue);
    }
    if (m->context) {
        clReleaseContext(m->context);
    }
    free(m->driver);
}

cl_kernel bench_machine_kernel(struct bench_machine *m, const char *prefix, const char *source,
                               const char *name, cl_int *status) {
    const char *texts[] = {prefix, source};
    cl_program program = clCreateProgramWithSource(m->context, 2, texts, NULL, status);
    cl_kernel kernel = NULL;
    if (bench_machine_check(m, *status, "clCreateProgramWithSource", name) != CL_SUCCESS) {
        return NULL;
    }
    *status = clBuildProgram(program, 1, &m->device, "", NULL, NULL);
    if (bench_machine_check(m, *status, "clBuildProgram", name) == CL_SUCCESS) {
        kernel = clCreateKernel(program, name, status);
        bench_machine_check(m, *status, "clCreateKernel", name);
    }
    clReleaseProgram(program);
    return kernel;
}

double bench_machine_span(cl_event first, bool from_start, cl_event last) {
    cl_ulong begin, end;
    if (clGetEventProfilingInfo(first,
                                from_start ? CL_PROFILING_COMMAND_START : CL_PROFILING_COMMAND_END,
                                sizeof begin, &begin, NULL) != CL_SUCCESS ||
        clGetEventProfilingInfo(last, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) !=
            CL_SUCCESS ||
        end < begin) {
        return -1;
    }
    return 1e-9 * (double)(end - begin);
}

double bench_machine_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
