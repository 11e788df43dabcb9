/*
 * An OpenCL layer in which one call fails, for the tests of the tools:
 *
 *     OPENCL_LAYERS=libclattn_failing_layer.so CLATTN_FAIL=clCreateContext
 *
 * The first call of that function (once a process) gives CL_OUT_OF_RESOURCES.
 */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl_layer.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static struct _cl_icd_dispatch table;
static const struct _cl_icd_dispatch *next;
static int spent;

static int fails(const char *function) {
    const char *wanted = getenv("CLATTN_FAIL");
    if (spent || !wanted || strcmp(wanted, function) != 0) {
        return 0;
    }
    spent = 1;
    return 1;
}

static cl_int CL_API_CALL get_device_ids(cl_platform_id platform, cl_device_type type,
                                         cl_uint capacity, cl_device_id *devices, cl_uint *count) {
    return fails("clGetDeviceIDs") ? CL_OUT_OF_RESOURCES
                                   : next->clGetDeviceIDs(platform, type, capacity, devices, count);
}

static cl_context CL_API_CALL create_context(const cl_context_properties *properties, cl_uint count,
                                             const cl_device_id *devices,
                                             void(CL_CALLBACK *notify)(const char *, const void *,
                                                                       size_t, void *),
                                             void *data, cl_int *status) {
    if (fails("clCreateContext")) {
        *status = CL_OUT_OF_RESOURCES;
        return NULL;
    }
    return next->clCreateContext(properties, count, devices, notify, data, status);
}

/* Only a queue with profiling: a device without it is to be timed by the host. */
static cl_command_queue CL_API_CALL create_queue(cl_context context, cl_device_id device,
                                                 cl_command_queue_properties properties,
                                                 cl_int *status) {
    if ((properties & CL_QUEUE_PROFILING_ENABLE) && fails("clCreateCommandQueue")) {
        *status = CL_OUT_OF_RESOURCES;
        return NULL;
    }
    return next->clCreateCommandQueue(context, device, properties, status);
}

static cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, size_t size,
                                        void *host, cl_int *status) {
    if (fails("clCreateBuffer")) {
        *status = CL_OUT_OF_RESOURCES;
        return NULL;
    }
    return next->clCreateBuffer(context, flags, size, host, status);
}

static cl_int CL_API_CALL read_buffer(cl_command_queue queue, cl_mem buffer, cl_bool block,
                                      size_t offset, size_t size, void *to, cl_uint count,
                                      const cl_event *list, cl_event *event) {
    return fails("clEnqueueReadBuffer") ? CL_OUT_OF_RESOURCES
                                        : next->clEnqueueReadBuffer(queue, buffer, block, offset,
                                                                    size, to, count, list, event);
}

EXPORT cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t capacity, void *value,
                                         size_t *size) {
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (what != CL_LAYER_API_VERSION) {
        return CL_INVALID_VALUE;
    }
    if (value && capacity >= sizeof version) {
        memcpy(value, &version, sizeof version);
    }
    if (size) {
        *size = sizeof version;
    }
    return CL_SUCCESS;
}

EXPORT cl_int CL_API_CALL clInitLayer(cl_uint count, const struct _cl_icd_dispatch *target,
                                      cl_uint *own_count, const struct _cl_icd_dispatch **own) {
    const cl_uint entries = sizeof table / sizeof(void *);
    if (count < entries) {
        return CL_INVALID_VALUE;
    }
    table = *target;
    next = target;
    table.clGetDeviceIDs = get_device_ids;
    table.clCreateContext = create_context;
    table.clCreateCommandQueue = create_queue;
    table.clCreateBuffer = create_buffer;
    table.clEnqueueReadBuffer = read_buffer;
    *own_count = entries;
    *own = &table;
    return CL_SUCCESS;
}
