/*
 * The layer of layer.h: counters, the fault, the faked device, and the table of
 * wrappers that the loader puts in front of the drivers' own functions.
 */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include "layer.h"

#include <CL/cl_layer.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct _cl_icd_dispatch table;
static const struct _cl_icd_dispatch *next;

static struct layer_facts facts;
static const char *device_name; /* of every device; NULL: its own */

static struct {
    const char *function; /* NULL: any */
    long n;
    cl_int code;
} fault;

static atomic_bool counting;
static atomic_long calls, allocations, blocking, launches, candidates;
static atomic_long held[LAYER_OBJECTS];
static const char *_Atomic allocation, *_Atomic blocker, *_Atomic failed;

/* What a call is, as far as the counters care. */
enum { PLAIN = 0, ALLOCATES = 1, BLOCKS = 2, LAUNCHES = 4, RELEASES = 8 };

/* Counts a call and returns the code with which it shall fail, or CL_SUCCESS. */
static cl_int enter(const char *function, unsigned flags) {
    if (!atomic_load(&counting)) {
        return CL_SUCCESS;
    }
    atomic_fetch_add(&calls, 1);
    if (flags & ALLOCATES) {
        atomic_fetch_add(&allocations, 1);
        atomic_store(&allocation, function);
    }
    if (flags & BLOCKS) {
        atomic_fetch_add(&blocking, 1);
        atomic_store(&blocker, function);
    }
    if (flags & LAUNCHES) {
        atomic_fetch_add(&launches, 1);
    }
    if (flags & RELEASES || fault.n == 0 ||
        (fault.function && strcmp(fault.function, function) != 0) ||
        atomic_fetch_add(&candidates, 1) + 1 != fault.n) {
        return CL_SUCCESS;
    }
    atomic_store(&failed, function);
    return fault.code;
}

static void hold(enum layer_object object, long change) {
    if (atomic_load(&counting)) {
        atomic_fetch_add(&held[object], change);
    }
}

#include "layer_calls.h"

static void *CL_API_CALL layer_clEnqueueMapBuffer(cl_command_queue queue, cl_mem buffer,
                                                  cl_bool block, cl_map_flags flags, size_t offset,
                                                  size_t size, WAIT_PARAMS, cl_int *error) {
    const cl_int status = enter("clEnqueueMapBuffer", block ? BLOCKS : PLAIN);
    if (status != CL_SUCCESS) {
        if (error) {
            *error = status;
        }
        return NULL;
    }
    void *mapped = next->clEnqueueMapBuffer(queue, buffer, block, flags, offset, size, count, list,
                                            event, error);
    hold(LAYER_EVENT, mapped && event);
    return mapped;
}

static void *CL_API_CALL layer_clSVMAlloc(cl_context context, cl_svm_mem_flags flags, size_t size,
                                          cl_uint alignment) {
    if (enter("clSVMAlloc", ALLOCATES) != CL_SUCCESS) {
        return NULL;
    }
    void *memory = next->clSVMAlloc(context, flags, size, alignment);
    hold(LAYER_SVM, memory != NULL);
    return memory;
}

static void CL_API_CALL layer_clSVMFree(cl_context context, void *memory) {
    enter("clSVMFree", RELEASES);
    next->clSVMFree(context, memory);
    hold(LAYER_SVM, memory ? -1 : 0);
}

/* ---- The faked device ---- */

/* As a driver answers with a text. */
static cl_int answer(const char *text, size_t size, char *value, size_t *needed) {
    const size_t length = strlen(text) + 1;
    if (needed) {
        *needed = length;
    }
    if (value && size < length) {
        return CL_INVALID_VALUE;
    }
    if (value) {
        memcpy(value, text, length);
    }
    return CL_SUCCESS;
}

static cl_int CL_API_CALL layer_clGetDeviceInfo(cl_device_id device, cl_device_info fact,
                                                size_t size, void *value, size_t *needed) {
    cl_int status = enter("clGetDeviceInfo", PLAIN);
    if (status == CL_SUCCESS && fact == CL_DEVICE_NAME && device_name) {
        return answer(device_name, size, value, needed);
    }
    if (status == CL_SUCCESS && fact == CL_DEVICE_EXTENSIONS && facts.extensions) {
        return answer(facts.extensions, size, value, needed);
    }
    if (status == CL_SUCCESS) {
        status = next->clGetDeviceInfo(device, fact, size, value, needed);
    }
    if (status != CL_SUCCESS || !value) {
        return status;
    }
    if (fact == CL_DEVICE_LOCAL_MEM_SIZE && facts.local_size) {
        memcpy(value, &facts.local_size, sizeof facts.local_size);
    } else if (fact == CL_DEVICE_MAX_WORK_GROUP_SIZE && facts.group_size) {
        memcpy(value, &facts.group_size, sizeof facts.group_size);
    } else if (fact == CL_DEVICE_MAX_WORK_ITEM_SIZES && facts.group_size) {
        for (size_t i = 0; i < size / sizeof(size_t) && i < 3; i++) {
            memcpy((size_t *)value + i, &facts.group_size, sizeof facts.group_size);
        }
    } else if (fact == CL_DEVICE_TYPE && facts.type) {
        memcpy(value, &facts.type, sizeof facts.type);
    } else if (fact == CL_DEVICE_SVM_CAPABILITIES && facts.no_svm) {
        memset(value, 0, sizeof(cl_device_svm_capabilities));
    }
    return status;
}

static cl_int CL_API_CALL layer_clGetKernelWorkGroupInfo(cl_kernel kernel, cl_device_id device,
                                                         cl_kernel_work_group_info fact,
                                                         size_t size, void *value, size_t *needed) {
    cl_int status = enter("clGetKernelWorkGroupInfo", PLAIN);
    if (status == CL_SUCCESS) {
        status = next->clGetKernelWorkGroupInfo(kernel, device, fact, size, value, needed);
    }
    if (status == CL_SUCCESS && value && fact == CL_KERNEL_WORK_GROUP_SIZE && facts.group_size) {
        size_t real;
        memcpy(&real, value, sizeof real);
        if (facts.group_size < real) {
            memcpy(value, &facts.group_size, sizeof real);
        }
    }
    if (status == CL_SUCCESS && value && fact == CL_KERNEL_LOCAL_MEM_SIZE) {
        cl_ulong bytes;
        memcpy(&bytes, value, sizeof bytes);
        bytes = bytes ? bytes + facts.local_more : facts.local_none;
        memcpy(value, &bytes, sizeof bytes);
    }
    return status;
}

/* What the faked device would say to this launch. */
static cl_int refuse(cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *local) {
    size_t items = 1;
    for (cl_uint i = 0; local && i < dims; i++) {
        items *= local[i];
    }
    if (facts.group_size && items > facts.group_size) {
        return CL_INVALID_WORK_GROUP_SIZE;
    }
    cl_device_id device = NULL;
    cl_ulong bytes = 0;
    if (facts.local_size &&
        next->clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL) ==
            CL_SUCCESS &&
        next->clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_LOCAL_MEM_SIZE, sizeof bytes,
                                       &bytes, NULL) == CL_SUCCESS &&
        bytes && bytes + facts.local_more > facts.local_size) {
        return CL_OUT_OF_RESOURCES;
    }
    return CL_SUCCESS;
}

static cl_int CL_API_CALL layer_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel,
                                                       cl_uint dims, const size_t *offset,
                                                       const size_t *global, const size_t *local,
                                                       WAIT_PARAMS) {
    cl_int status = enter("clEnqueueNDRangeKernel", LAUNCHES);
    if (status == CL_SUCCESS) {
        status = refuse(queue, kernel, dims, local);
    }
    if (status == CL_SUCCESS) {
        status = next->clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, count,
                                              list, event);
    }
    if (status == CL_SUCCESS) {
        hold(LAYER_EVENT, event != NULL);
    }
    return status;
}

/* ---- Controls ---- */

static struct layer_counts look(void) {
    struct layer_counts counts = {
        .calls = atomic_load(&calls),
        .allocations = atomic_load(&allocations),
        .blocking = atomic_load(&blocking),
        .launches = atomic_load(&launches),
        .allocation = atomic_load(&allocation),
        .blocker = atomic_load(&blocker),
        .failed = atomic_load(&failed),
    };
    for (int i = 0; i < LAYER_OBJECTS; i++) {
        counts.held[i] = atomic_load(&held[i]);
    }
    return counts;
}

static void inject(const char *function, long n, cl_int code) {
    fault.function = function;
    fault.n = n;
    fault.code = code;
    atomic_store(&candidates, 0);
    atomic_store(&failed, NULL);
}

static void start(void) {
    atomic_long *const counters[] = {&calls, &allocations, &blocking, &launches};
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        atomic_store(counters[i], 0);
    }
    for (int i = 0; i < LAYER_OBJECTS; i++) {
        atomic_store(&held[i], 0);
    }
    atomic_store(&allocation, NULL);
    atomic_store(&blocker, NULL);
    inject(NULL, 0, CL_SUCCESS);
    atomic_store(&counting, true);
}

static struct layer_counts stop(void) {
    const struct layer_counts counts = look();
    atomic_store(&counting, false);
    inject(NULL, 0, CL_SUCCESS);
    return counts;
}

static void fake(const struct layer_facts *wanted) {
    facts = *wanted;
}

/* "local=16384 group=64 type=gpu svm=none" */
static void read_facts(const char *words) {
    const char *const local = strstr(words, "local=");
    const char *const group = strstr(words, "group=");
    if (local) {
        facts.local_size = strtoull(local + strlen("local="), NULL, 10);
    }
    if (group) {
        facts.group_size = (size_t)strtoull(group + strlen("group="), NULL, 10);
    }
    if (strstr(words, "type=gpu")) {
        facts.type = CL_DEVICE_TYPE_GPU;
    } else if (strstr(words, "type=cpu")) {
        facts.type = CL_DEVICE_TYPE_CPU;
    }
    facts.no_svm = strstr(words, "svm=none") != NULL;
}

extern const struct layer_controls layer_controls;
const struct layer_controls layer_controls = {start, look, stop, inject, fake};

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info fact, size_t size, void *value,
                                               size_t *needed) {
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (fact != CL_LAYER_API_VERSION || (value && size < sizeof version)) {
        return CL_INVALID_VALUE;
    }
    if (value) {
        memcpy(value, &version, sizeof version);
    }
    if (needed) {
        *needed = sizeof version;
    }
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint entries, const struct _cl_icd_dispatch *target,
                                            cl_uint *entries_made,
                                            const struct _cl_icd_dispatch **made) {
    if (!target || !entries_made || !made || entries < sizeof table / sizeof(void (*)(void))) {
        return CL_INVALID_VALUE;
    }
    const char *const words = getenv("CLATTN_LAYER_FACTS");
    if (words) {
        read_facts(words);
    }
    device_name = getenv("CLATTN_LAYER_NAME");
    table = *target;
    next = target;
#define WRAP(name) table.name = layer_##name
    WRAP(clGetPlatformIDs);
    WRAP(clGetDeviceIDs);
    WRAP(clFlush);
    WRAP(clFinish);
    WRAP(clBuildProgram);
    WRAP(clGetProgramBuildInfo);
    WRAP(clSetKernelArg);
    WRAP(clSetKernelArgSVMPointer);
    WRAP(clSetKernelExecInfo);
    WRAP(clWaitForEvents);
    WRAP(clSetEventCallback);
    WRAP(clEnqueueReadBuffer);
    WRAP(clEnqueueWriteBuffer);
    WRAP(clEnqueueFillBuffer);
    WRAP(clEnqueueCopyBuffer);
    WRAP(clEnqueueUnmapMemObject);
    WRAP(clEnqueueMarkerWithWaitList);
    WRAP(clEnqueueBarrierWithWaitList);
    WRAP(clEnqueueSVMMemcpy);
    WRAP(clEnqueueSVMMap);
    WRAP(clEnqueueSVMUnmap);
    WRAP(clCreateCommandQueue);
    WRAP(clCreateCommandQueueWithProperties);
    WRAP(clCreateBuffer);
    WRAP(clCreateBufferWithProperties);
    WRAP(clCreateSubBuffer);
    WRAP(clCreateImage);
    WRAP(clCreateImageWithProperties);
    WRAP(clCreatePipe);
    WRAP(clCreateProgramWithSource);
    WRAP(clCreateProgramWithBinary);
    WRAP(clCreateKernel);
    WRAP(clCloneKernel);
    WRAP(clCreateUserEvent);
    WRAP(clGetPlatformInfo);
    WRAP(clGetContextInfo);
    WRAP(clGetCommandQueueInfo);
    WRAP(clGetMemObjectInfo);
    WRAP(clGetProgramInfo);
    WRAP(clGetKernelInfo);
    WRAP(clGetEventInfo);
    WRAP(clGetEventProfilingInfo);
    WRAP(clRetainContext);
    WRAP(clReleaseContext);
    WRAP(clRetainDevice);
    WRAP(clReleaseDevice);
    WRAP(clRetainCommandQueue);
    WRAP(clReleaseCommandQueue);
    WRAP(clRetainMemObject);
    WRAP(clReleaseMemObject);
    WRAP(clRetainProgram);
    WRAP(clReleaseProgram);
    WRAP(clRetainKernel);
    WRAP(clReleaseKernel);
    WRAP(clRetainEvent);
    WRAP(clReleaseEvent);
    WRAP(clEnqueueMapBuffer);
    WRAP(clSVMAlloc);
    WRAP(clSVMFree);
    WRAP(clGetDeviceInfo);
    WRAP(clGetKernelWorkGroupInfo);
    WRAP(clEnqueueNDRangeKernel);
#undef WRAP
    *entries_made = sizeof table / sizeof(void (*)(void));
    *made = &table;
    return CL_SUCCESS;
}
