/*
 * The OpenCL device that the tests run on: the first whose "platform / device"
 * name contains CLATTN_TEST_DEVICE, or the first of the first platform that has
 * one.
 */
#ifndef TESTS_DEVICE_H
#define TESTS_DEVICE_H

#include <stdbool.h>

#include "clattn.h"

struct test_device {
    cl_platform_id platform;
    cl_device_id id;
    cl_device_type type;
    char name[256]; /* "platform / device" */
    bool svm;       /* coarse-grained buffers at least */
    cl_ulong memory;
    cl_ulong max_allocation;
    cl_context context;
    cl_command_queue queue;     /* in order */
    cl_command_queue unordered; /* out of order; NULL where the device has none */
};

/* False, with a sentence on stderr, when there is no such device. */
bool test_device_open(struct test_device *device);

/* Accepts what a failed open left, and a zeroed struct. */
void test_device_close(struct test_device *device);

#endif
