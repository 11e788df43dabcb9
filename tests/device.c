/* Finds the device, and opens a context and two queues on it. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PLATFORMS = 16, MAX_DEVICES = 64 };

static bool find(struct test_device *device, const char *wanted) {
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint platform_count = 0;
    if (clGetPlatformIDs(MAX_PLATFORMS, platforms, &platform_count) != CL_SUCCESS)
        return false;
    for (cl_uint p = 0; p < platform_count && p < MAX_PLATFORMS; p++) {
        cl_device_id ids[MAX_DEVICES];
        cl_uint count = 0;
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MAX_DEVICES, ids, &count))
            continue;
        for (cl_uint d = 0; d < count && d < MAX_DEVICES; d++) {
            char platform_name[120] = "", device_name[120] = "";
            clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, sizeof platform_name, platform_name,
                              NULL);
            clGetDeviceInfo(ids[d], CL_DEVICE_NAME, sizeof device_name, device_name, NULL);
            snprintf(device->name, sizeof device->name, "%s / %s", platform_name, device_name);
            if (!wanted || strstr(device->name, wanted)) {
                device->platform = platforms[p];
                device->id = ids[d];
                return true;
            }
        }
    }
    return false;
}

static void read_facts(struct test_device *device) {
    cl_device_svm_capabilities svm = 0;
    if (clGetDeviceInfo(device->id, CL_DEVICE_SVM_CAPABILITIES, sizeof svm, &svm, NULL))
        svm = 0; /* an OpenCL 1.2 device does not know the question */
    device->svm = svm & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER;
    clGetDeviceInfo(device->id, CL_DEVICE_TYPE, sizeof device->type, &device->type, NULL);
    clGetDeviceInfo(device->id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof device->memory, &device->memory,
                    NULL);
    clGetDeviceInfo(device->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof device->max_allocation,
                    &device->max_allocation, NULL);
}

bool test_device_open(struct test_device *device) {
    const char *wanted = getenv("CLATTN_TEST_DEVICE");
    memset(device, 0, sizeof *device);
    if (!find(device, wanted)) {
        fprintf(stderr, "no OpenCL device%s%s\n", wanted ? " whose name contains " : "",
                wanted ? wanted : "");
        return false;
    }
    read_facts(device);

    cl_int status;
    device->context = clCreateContext(NULL, 1, &device->id, NULL, NULL, &status);
    if (status == CL_SUCCESS)
        device->queue =
            clCreateCommandQueueWithProperties(device->context, device->id, NULL, &status);
    if (status != CL_SUCCESS) {
        fprintf(stderr, "%s: no context and queue: %s\n", device->name, clattn_status_name(status));
        test_device_close(device);
        return false;
    }
    const cl_queue_properties out_of_order[] = {CL_QUEUE_PROPERTIES,
                                                CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, 0};
    device->unordered =
        clCreateCommandQueueWithProperties(device->context, device->id, out_of_order, &status);
    return true;
}

void test_device_close(struct test_device *device) {
    if (device->unordered)
        clReleaseCommandQueue(device->unordered);
    if (device->queue)
        clReleaseCommandQueue(device->queue);
    if (device->context)
        clReleaseContext(device->context);
    memset(device, 0, sizeof *device);
}
