#include "bench_limits.h"

#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 7 };
#define SAMPLE_SECONDS 0.02

/* ---- Multiply-adds -------------------------------------------------------- */

/* CHAINS sums of VECTORs go their ways side by side, so many that the latency of one
 * multiply-add is hidden; they start from memory and end there, so that no lane can be
 * left out.  All converge to 1: nothing becomes infinite or subnormal. */
static const char *const peak_source =
    "#define EACH_4(DO) DO(0) DO(1) DO(2) DO(3)\n"
    "#define EACH_8(DO) EACH_4(DO) DO(4) DO(5) DO(6) DO(7)\n"
    "#define EACH_12(DO) EACH_8(DO) DO(8) DO(9) DO(10) DO(11)\n"
    "#define EACH_16(DO) EACH_12(DO) DO(12) DO(13) DO(14) DO(15)\n"
    "#define EACH_24(DO) EACH_16(DO) DO(16) DO(17) DO(18) DO(19) DO(20) DO(21) DO(22) DO(23)\n"
    "#define START(i) VECTOR a##i = data[get_global_id(0)] + i * 1e-3f;\n"
    "#define STEP(i) a##i = MULTIPLY_ADD(a##i, x, y);\n"
    "#define SUM(i) sum += a##i;\n"
    "__kernel void peak(__global VECTOR *data, float factor, float term, int rounds) {\n"
    "    const VECTOR x = (VECTOR)(factor), y = (VECTOR)(term);\n"
    "    EACH(START)\n"
    "    for (int i = 0; i < rounds; i++) {\n"
    "        EACH(STEP) EACH(STEP) EACH(STEP) EACH(STEP)\n"
    "    }\n"
    "    VECTOR sum = (VECTOR)(0.0f);\n"
    "    EACH(SUM)\n"
    "    data[get_global_id(0)] = sum;\n"
    "}\n";

/* llvmpipe leaves a loop that takes longer, and reports success. */
enum { STEPS = 4, MOST_ROUNDS = 65535 };

struct peak_variant {
    bool cpu;
    int width, chains;
};

static const struct peak_variant peak_variants[] = {
    {true, 16, 16}, {true, 8, 12}, {true, 4, 24}, {false, 1, 16},
    {false, 1, 8},  {false, 2, 8}, {false, 4, 4}, {false, 4, 8},
};

/* Seconds of the fastest of `samples` launches; negative on failure. */
static double best_time(struct bench_machine *m, cl_kernel kernel, size_t items, size_t group,
                        int samples) {
    double best = -1;
    for (int i = 0; i < samples; i++) {
        cl_event event = NULL;
        double start = bench_machine_now();
        cl_int status = clEnqueueNDRangeKernel(m->queue, kernel, 1, NULL, &items, &group, 0, NULL,
                                               m->profiling ? &event : NULL);
        if (bench_machine_check(m, status, "clEnqueueNDRangeKernel", "a limit") != CL_SUCCESS ||
            bench_machine_check(m, clFinish(m->queue), "clFinish", "a limit") != CL_SUCCESS) {
            return -1;
        }
        double wall = bench_machine_now() - start;
        double seconds = event ? bench_machine_span(event, true, event) : -1;
        /* Some drivers keep a clock that stands still, or nearly. */
        seconds = 2 * seconds > wall ? seconds : wall;
        best = best < 0 || seconds < best ? seconds : best;
        if (event) {
            clReleaseEvent(event);
        }
    }
    return best;
}

double bench_limits_sample(struct bench_machine *m, const struct bench_limits *limits) {
    double seconds = best_time(m, limits->peak, limits->items, limits->group, 1);
    return seconds > 0 ? limits->operations / seconds : 0;
}

void bench_limits_destroy(struct bench_limits *limits) {
    if (limits->peak) {
        clReleaseKernel(limits->peak);
    }
    if (limits->data) {
        clReleaseMemObject(limits->data);
    }
    limits->peak = NULL;
    limits->data = NULL;
}

/* The number of rounds with which one launch of the variant takes SAMPLE_SECONDS. */
static cl_int set_rounds(struct bench_machine *m, const struct peak_variant *v,
                         struct bench_limits *limits) {
    double seconds;
    cl_int rounds = 16;
    do {
        rounds *= 4;
        clSetKernelArg(limits->peak, 3, sizeof rounds, &rounds);
        seconds = best_time(m, limits->peak, limits->items, limits->group, 2);
    } while (seconds >= 0 && seconds < SAMPLE_SECONDS / 4 && rounds < MOST_ROUNDS / 4);
    if (seconds > 0 && seconds < SAMPLE_SECONDS) {
        double wanted = rounds * (SAMPLE_SECONDS / seconds);
        rounds = wanted < (double)MOST_ROUNDS ? (cl_int)wanted : MOST_ROUNDS;
    }
    limits->operations =
        2.0 * (double)STEPS * v->chains * v->width * (double)limits->items * rounds;
    return seconds < 0 ? CL_OUT_OF_RESOURCES
                       : clSetKernelArg(limits->peak, 3, sizeof rounds, &rounds);
}

/* Makes *limits ready for bench_limits_sample. */
static cl_int make_variant(struct bench_machine *m, const struct peak_variant *v,
                           struct bench_limits *limits) {
    const cl_float factor = 0.999f, term = 1e-3f, zero = 0;
    char vector[16] = "float", prefix[256];
    if (v->width > 1) {
        snprintf(vector, sizeof vector, "float%d", v->width);
    }
    snprintf(prefix, sizeof prefix,
             "#define VECTOR %s\n#define EACH EACH_%d\n#define MULTIPLY_ADD(a, x, y) %s\n", vector,
             v->chains, m->fma ? "fma(a, x, y)" : "a * x + y");
    snprintf(limits->flops_by, sizeof limits->flops_by, "%s, %d chains of %s",
             m->fma ? "fma" : "a * x + y", v->chains, vector);
    /* Enough for every core to be busy to the end, and for every lane of a GPU. */
    limits->group = m->cpu ? 1 : m->group < 256 ? m->group : 256;
    limits->items = m->cpu ? 16u * m->units : limits->group * 8 * m->units;
    size_t bytes = limits->items * (size_t)v->width * sizeof(float);
    cl_int status;
    limits->peak = bench_machine_kernel(m, prefix, peak_source, "peak", &status);
    if (!limits->peak) {
        return status;
    }
    limits->data = clCreateBuffer(m->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    if (bench_machine_check(m, status, "clCreateBuffer", "a limit") != CL_SUCCESS) {
        return status;
    }
    status =
        clEnqueueFillBuffer(m->queue, limits->data, &zero, sizeof zero, 0, bytes, 0, NULL, NULL);
    clSetKernelArg(limits->peak, 0, sizeof limits->data, &limits->data);
    clSetKernelArg(limits->peak, 1, sizeof factor, &factor);
    clSetKernelArg(limits->peak, 2, sizeof term, &term);
    if (bench_machine_check(m, status, "clEnqueueFillBuffer", "a limit") == CL_SUCCESS) {
        status = set_rounds(m, v, limits);
    }
    return status;
}

static int ascending(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The variants take turns, and the best run of each counts: something else that runs
 * on the device for a while must not decide which is best. */
static cl_int measure_peak(struct bench_machine *m, struct bench_limits *limits) {
    enum { VARIANTS = sizeof peak_variants / sizeof peak_variants[0] };
    struct bench_limits tried[VARIANTS] = {{.flops = 0}};
    cl_int status = CL_SUCCESS, made[VARIANTS];
    for (int i = 0; i < VARIANTS; i++) {
        made[i] = CL_DEVICE_NOT_FOUND;
        if (peak_variants[i].cpu == m->cpu) {
            made[i] = make_variant(m, &peak_variants[i], &tried[i]);
            status = made[i] != CL_SUCCESS ? made[i] : status;
        }
    }
    for (int i = 0; i < SAMPLES * VARIANTS; i++) {
        struct bench_limits *variant = &tried[i % VARIANTS];
        double rate = made[i % VARIANTS] == CL_SUCCESS ? bench_limits_sample(m, variant) : 0;
        variant->flops = rate > variant->flops ? rate : variant->flops;
    }
    for (int i = 0; i < VARIANTS; i++) {
        if (tried[i].flops > limits->flops) {
            bench_limits_destroy(limits);
            *limits = tried[i];
        } else {
            bench_limits_destroy(&tried[i]);
        }
    }
    if (limits->flops <= 0) {
        return status == CL_SUCCESS ? CL_OUT_OF_RESOURCES : status;
    }
    double rates[2 * SAMPLES + 1];
    for (int i = 0; i <= 2 * SAMPLES; i++) {
        rates[i] = bench_limits_sample(m, limits);
    }
    qsort(rates, 2 * SAMPLES + 1, sizeof rates[0], ascending);
    limits->flops = rates[SAMPLES];
    return limits->flops > 0 ? CL_SUCCESS : CL_OUT_OF_RESOURCES;
}

/* ---- Copying and reading -------------------------------------------------- */

/* Neighbouring work-items copy neighbouring vectors, or each a piece of its own. */
static const char *const copy_source =
    "__kernel void copy(__global const VECTOR *from, __global VECTOR *to, uint each) {\n"
    "    const size_t first = get_global_id(0) * each;\n"
    "    for (uint i = 0; i < each; i++) {\n"
    "        to[first + i] = from[first + i];\n"
    "    }\n"
    "}\n";

/* Work-items read neighbouring vectors, step by step, or each a piece of its own: `each` vectors,
 * the next one `step` behind.  Four sums hide the additions' latency. */
static const char *const read_source =
    "__kernel void read(__global const VECTOR *from, __global VECTOR *to, uint each, uint step) {\n"
    "    from += step == 1 ? get_global_id(0) * each : get_global_id(0);\n"
    "    VECTOR a = (VECTOR)(0.0f), b = a, c = a, d = a;\n"
    "    for (uint i = 0; i < each; i += 4) {\n"
    "        a += from[(size_t)i * step];\n"
    "        b += from[(size_t)(i + 1) * step];\n"
    "        c += from[(size_t)(i + 2) * step];\n"
    "        d += from[(size_t)(i + 3) * step];\n"
    "    }\n"
    "    to[get_global_id(0)] = a + b + c + d;\n"
    "}\n";

static void note_copy(struct bench_limits *limits, double seconds, size_t bytes, const char *by) {
    double rate = seconds > 0 ? 2 * (double)bytes / seconds : 0;
    if (rate > limits->copy) {
        limits->copy = rate;
        snprintf(limits->copy_by, sizeof limits->copy_by, "%s", by);
    }
}

static cl_int copy_by_kernel(struct bench_machine *m, struct bench_limits *limits, cl_mem from,
                             cl_mem to, size_t bytes) {
    cl_int status;
    cl_kernel kernel =
        bench_machine_kernel(m, m->cpu ? "#define VECTOR float16\n" : "#define VECTOR float4\n",
                             copy_source, "copy", &status);
    if (!kernel) {
        return status;
    }
    size_t vectors = bytes / (m->cpu ? sizeof(cl_float16) : sizeof(cl_float4));
    size_t group = m->cpu ? 1 : m->group < 256 ? m->group : 256;
    cl_uint each = m->cpu ? 4096 : 1;
    clSetKernelArg(kernel, 0, sizeof from, &from);
    clSetKernelArg(kernel, 1, sizeof to, &to);
    status = clSetKernelArg(kernel, 2, sizeof each, &each);
    if (status == CL_SUCCESS) {
        size_t items = vectors / each / group * group;
        note_copy(limits, best_time(m, kernel, items, group, SAMPLES), bytes, "a kernel");
    }
    clReleaseKernel(kernel);
    return status;
}

static cl_int measure_read(struct bench_machine *m, struct bench_limits *limits, cl_mem from,
                           cl_mem to, size_t bytes) {
    cl_int status;
    cl_kernel kernel =
        bench_machine_kernel(m, m->cpu ? "#define VECTOR float16\n" : "#define VECTOR float4\n",
                             read_source, "read", &status);
    if (!kernel) {
        return status;
    }
    const size_t vectors = bytes / (m->cpu ? sizeof(cl_float16) : sizeof(cl_float4));
    const size_t group = m->cpu ? 1 : m->group < 256 ? m->group : 256;
    const cl_uint each = m->cpu ? 4096 : 16;
    const size_t items = vectors / each / group * group;
    const cl_uint step = m->cpu ? 1 : (cl_uint)items;
    clSetKernelArg(kernel, 0, sizeof from, &from);
    clSetKernelArg(kernel, 1, sizeof to, &to);
    clSetKernelArg(kernel, 2, sizeof each, &each);
    status = clSetKernelArg(kernel, 3, sizeof step, &step);
    if (status == CL_SUCCESS) {
        const double seconds = best_time(m, kernel, items, group, SAMPLES);
        limits->read = seconds > 0 ? (double)bytes / seconds : 0;
        status = seconds > 0 ? CL_SUCCESS : CL_OUT_OF_RESOURCES;
    }
    clReleaseKernel(kernel);
    return status;
}

static cl_int copy_by_driver(struct bench_machine *m, struct bench_limits *limits, cl_mem from,
                             cl_mem to, size_t bytes) {
    cl_int status = CL_SUCCESS;
    for (int i = 0; i < SAMPLES && status == CL_SUCCESS; i++) {
        cl_event event = NULL;
        double start = bench_machine_now();
        status = clEnqueueCopyBuffer(m->queue, from, to, 0, 0, bytes, 0, NULL,
                                     m->profiling ? &event : NULL);
        if (status == CL_SUCCESS) {
            status = clFinish(m->queue);
        }
        double wall = bench_machine_now() - start;
        double seconds = event ? bench_machine_span(event, true, event) : -1;
        if (bench_machine_check(m, status, "clEnqueueCopyBuffer", "") == CL_SUCCESS) {
            note_copy(limits, 2 * seconds > wall ? seconds : wall, bytes, "clEnqueueCopyBuffer");
        }
        if (event) {
            clReleaseEvent(event);
        }
    }
    return status;
}

static cl_int measure_memory(struct bench_machine *m, struct bench_limits *limits) {
    /* Far more than the cache holds, and a round number of work-groups. */
    const size_t unit = (size_t)1 << 24;
    cl_ulong bytes = 4 * m->cache, most = m->memory / 8 < m->largest ? m->memory / 8 : m->largest;
    const cl_float one = 1;
    bytes = bytes < 16 * unit ? 16 * unit : bytes > 64 * unit ? 64 * unit : bytes;
    bytes = bytes > most ? most : bytes;
    bytes = bytes < unit ? unit : bytes / unit * unit;
    cl_int status;
    cl_mem from = clCreateBuffer(m->context, CL_MEM_READ_WRITE, bytes, NULL, &status), to = NULL;
    if (status == CL_SUCCESS) {
        to = clCreateBuffer(m->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    }
    bench_machine_check(m, status, "clCreateBuffer", "a limit");
    /* Memory that was never written may be one page of zeros, seen many times. */
    for (int i = 0; i < 2 && status == CL_SUCCESS; i++) {
        status =
            clEnqueueFillBuffer(m->queue, i ? to : from, &one, sizeof one, 0, bytes, 0, NULL, NULL);
        bench_machine_check(m, status, "clEnqueueFillBuffer", "a limit");
    }
    if (status == CL_SUCCESS) {
        status = copy_by_kernel(m, limits, from, to, bytes);
        cl_int driver = copy_by_driver(m, limits, from, to, bytes);
        status = limits->copy > 0 ? CL_SUCCESS : status != CL_SUCCESS ? status : driver;
        status = status == CL_SUCCESS ? measure_read(m, limits, from, to, bytes) : status;
    }
    if (from) {
        clReleaseMemObject(from);
    }
    if (to) {
        clReleaseMemObject(to);
    }
    return status;
}

cl_int bench_limits_measure(struct bench_machine *m, struct bench_limits *limits) {
    *limits = (struct bench_limits){.flops = 0};
    cl_int status = measure_peak(m, limits);
    return status == CL_SUCCESS ? measure_memory(m, limits) : status;
}
