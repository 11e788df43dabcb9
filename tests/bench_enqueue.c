/*
 * bench_enqueue - what an enqueue costs the host, beside what the driver takes for
 * itself: clSetKernelArg for as many arguments and clEnqueueNDRangeKernel, of an
 * empty kernel, once for each kernel that clattn launches (one).
 *
 *     bench_enqueue [ROUNDS]      default 400
 *
 * The two take turns, BATCH enqueues each; a batch's time is that until the last
 * enqueue returned, not until the device is done.  Medians over the rounds.
 */
#define _POSIX_C_SOURCE 200809L
#include "device.h"
#include "params.h"
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 32, MAX_ROUNDS = 100000 };

/* As many arguments, and of the same kinds, as a forward kernel has. */
static const char empty_source[] =
    "struct params { uint words[WORDS]; };\n"
    "__kernel void empty(const struct params p, __global float *q, __global float *k,\n"
    "                    __global float *v, __global float *o, __global float *lse) {}\n";

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void check(cl_int status, const char *what) {
    if (status != CL_SUCCESS) {
        fprintf(stderr, "bench_enqueue: %s: %s\n", what, clattn_status_name(status));
        exit(1);
    }
}

static cl_kernel make_empty(const struct test_device *device) {
    char options[64];
    const char *source = empty_source;
    cl_int status;
    cl_program program = clCreateProgramWithSource(device->context, 1, &source, NULL, &status);
    check(status, "clCreateProgramWithSource");
    snprintf(options, sizeof options, "-DWORDS=%zu", sizeof(struct params) / sizeof(cl_uint));
    check(clBuildProgram(program, 1, &device->id, options, NULL, NULL), "clBuildProgram");
    cl_kernel kernel = clCreateKernel(program, "empty", &status);
    check(status, "clCreateKernel");
    clReleaseProgram(program);
    return kernel;
}

static void enqueue_empty(cl_kernel kernel, cl_command_queue queue, const struct small *small,
                          cl_event *event) {
    static const struct params params;
    const size_t global = 1, local = 1;
    check(clSetKernelArg(kernel, 0, sizeof params, &params), "clSetKernelArg");
    for (cl_uint i = 0; i < SMALL_TENSORS; i++) {
        check(clSetKernelArg(kernel, i + 1, sizeof(cl_mem), &small->buffers[i]), "clSetKernelArg");
    }
    check(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, &local, 0, NULL, event),
          "clEnqueueNDRangeKernel");
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct bench {
    clattn_plan plan;
    cl_kernel empty;
    struct small *small;
    int rounds;
    double *times[2]; /* the driver's, clattn's; seconds an enqueue, rounds of them */
};

static void measure(struct bench *b, cl_command_queue queue, bool events, const char *what) {
    for (int round = -2; round < b->rounds; round++) { /* two to warm up */
        for (int ours = 0; ours < 2; ours++) {
            cl_event done[BATCH] = {NULL};
            const double start = now();
            for (int i = 0; i < BATCH; i++) {
                cl_event *const event = events ? &done[i] : NULL;
                if (ours) {
                    check(clattn_enqueue_forward(b->plan, queue, &b->small->args, 0, NULL, event),
                          "clattn_enqueue_forward");
                } else {
                    enqueue_empty(b->empty, queue, b->small, event);
                }
            }
            const double time = (now() - start) / (double)BATCH;
            check(clFinish(queue), "clFinish");
            for (int i = 0; events && i < BATCH; i++) {
                clReleaseEvent(done[i]);
            }
            if (round >= 0) {
                b->times[ours][round] = time;
            }
        }
    }
    for (int ours = 0; ours < 2; ours++) {
        qsort(b->times[ours], (size_t)b->rounds, sizeof(double), ascending);
    }
    const double driver = 1e6 * b->times[0][b->rounds / 2];
    const double clattn = 1e6 * b->times[1][b->rounds / 2];
    printf("%-24s %9.2f %9.2f %9.2f\n", what, driver, clattn, clattn - driver);
}

int main(int argc, char **argv) {
    struct bench b = {.rounds = argc > 1 ? atoi(argv[1]) : 400};
    if (argc > 2 || b.rounds < 1 || b.rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: bench_enqueue [ROUNDS], 1 to %d\n", MAX_ROUNDS);
        return 2;
    }
    struct test_device device;
    if (!test_device_open(&device)) {
        return 4;
    }
    struct small small;
    clattn_context context;
    clattn_context_desc context_desc = CLATTN_CONTEXT_DESC_INIT;
    context_desc.context = device.context;
    context_desc.device = device.id;
    small_open(&small, device.context, device.queue, "q1 d1", 1);
    check(clattn_context_create(&context_desc, &context), "clattn_context_create");
    small.desc.variant = "fwd_rows"; /* one launch, as the empty kernel is, and no workspace */
    check(clattn_plan_create(context, &small.desc, &b.plan), "clattn_plan_create");
    b.empty = make_empty(&device);
    b.small = &small;
    for (int i = 0; i < 2; i++) {
        b.times[i] = calloc((size_t)b.rounds, sizeof(double));
        check(b.times[i] ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY, "calloc");
    }

    printf("%s\n%s\nhost time of an enqueue, us; medians of %d rounds of %d\n\n"
           "%-24s %9s %9s %9s\n",
           device.name, clattn_plan_variant(b.plan), b.rounds, BATCH, "", "driver", "clattn",
           "more");
    measure(&b, device.queue, false, "in order");
    measure(&b, device.queue, true, "in order, events");
    if (device.unordered) {
        measure(&b, device.unordered, false, "out of order");
        measure(&b, device.unordered, true, "out of order, events");
    }
    const bool right = small_right(&small, device.queue);

    free(b.times[0]);
    free(b.times[1]);
    clReleaseKernel(b.empty);
    clattn_plan_destroy(b.plan);
    clattn_context_destroy(context);
    small_close(&small);
    test_device_close(&device);
    return right ? 0 : 1;
}
