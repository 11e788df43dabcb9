/*
 * layer - an OpenCL layer that counts calls, fails one of them, and fakes a device.
 *
 * Loaded by the ICD loader: OPENCL_LAYERS=liblayer.so.  A test finds the loaded
 * copy and its controls by dlopen and dlsym("layer_controls").  A program that
 * knows nothing of the layer can still run on a faked device:
 *
 *     CLATTN_LAYER_FACTS="local=16384 group=64 type=gpu svm=none"
 *     CLATTN_LAYER_NAME="Intel(R) Xeon(R) Processor"
 *
 * The name is that of every device of the process.
 */
#ifndef LAYER_H
#define LAYER_H

#include <CL/cl.h>

enum layer_object {
    LAYER_CONTEXT,
    LAYER_DEVICE,
    LAYER_QUEUE,
    LAYER_MEMORY,
    LAYER_SVM,
    LAYER_PROGRAM,
    LAYER_KERNEL,
    LAYER_EVENT,
    LAYER_OBJECTS
};

struct layer_counts {
    long calls;
    long allocations;         /* of device memory */
    long blocking;            /* calls that may wait for a device or a compiler */
    long launches;            /* kernels */
    long held[LAYER_OBJECTS]; /* made or retained, less released */
    const char *allocation;   /* the last such call, or NULL */
    const char *blocker;
    const char *failed; /* the call that was made to fail, or NULL */
};

/* 0: the device's own */
struct layer_facts {
    cl_ulong local_size;
    size_t group_size;
    cl_device_type type;
    int no_svm;
    const char *extensions; /* NULL: the device's own */
    cl_ulong local_more;    /* bytes that its compiler adds to kernels that have local memory */
    cl_ulong local_none;    /* what it says of kernels that have none */
};

struct layer_controls {
    /* Counts from zero.  Threads may call OpenCL meanwhile. */
    void (*start)(void);

    /* The counts since start, which go on. */
    struct layer_counts (*look)(void);

    /* The counts since start, which end, as the fault does. */
    struct layer_counts (*stop)(void);

    /* While counting, the n-th call from now (1 is the next; 0: none) of function
     * (NULL: of any) does nothing and gives code; counts.failed begins as NULL.
     * Releases are never failed. */
    void (*inject)(const char *function, long n, cl_int code);

    void (*fake)(const struct layer_facts *facts);
};

#endif
