#include "common.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void die(int code, const char *format, ...) {
    va_list list;
    va_start(list, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    exit(code);
}

void check(cl_int status, const char *what) {
    if (status != CL_SUCCESS)
        die(EXIT_FAILURE, "%s: %s", what, clattn_status_name(status));
}

void *allocate(size_t count, size_t size) {
    void *memory = count <= SIZE_MAX / size ? malloc(count * size) : NULL;
    if (!memory)
        die(EXIT_FAILURE, "no memory for %zu x %zu bytes", count, size);
    return memory;
}

double parse_number(const char *option, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        die(EXIT_USAGE, "%s: %s is not a number in %g ... %g", option, text, least, most);
    return value;
}

cl_device_id find_device(const char *wanted) {
    char *end = NULL;
    unsigned long number = wanted ? strtoul(wanted, &end, 10) : 0, seen = 0;
    int by_number = !wanted || (*wanted && !*end);
    cl_platform_id platforms[16];
    cl_uint platform_count = 0;
    if (clGetPlatformIDs(16, platforms, &platform_count) != CL_SUCCESS)
        platform_count = 0;
    for (cl_uint p = 0; p < platform_count && p < 16; p++) {
        cl_device_id devices[16];
        cl_uint device_count = 0;
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 16, devices, &device_count))
            continue;
        for (cl_uint d = 0; d < device_count && d < 16; d++) {
            char platform[256] = "", device[256] = "", name[520];
            clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, sizeof platform, platform, NULL);
            clGetDeviceInfo(devices[d], CL_DEVICE_NAME, sizeof device, device, NULL);
            snprintf(name, sizeof name, "%s / %s", platform, device);
            if (by_number ? seen++ == number : strstr(name, wanted) != NULL) {
                printf("device %s\n", name);
                return devices[d];
            }
        }
    }
    die(EXIT_FAILURE, "no OpenCL device %s", wanted ? wanted : "at all");
}

void CL_CALLBACK print_sentence(cl_int status, const char *sentence, void *user_data) {
    (void)user_data;
    fprintf(stderr, "%s: %s\n", clattn_status_name(status), sentence);
}
