/*
 * select - the devices of all platforms, in one numbered list.
 *
 * Devices are numbered from 0 in the order in which the platforms report them.
 */
#ifndef SELECT_H
#define SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <clattn.h>

struct select_device {
    cl_device_id id;
    cl_platform_id platform;
    char *name;  /* "pthread-AMD EPYC" */
    char *label; /* "Portable Computing Language / pthread-AMD EPYC" */
};

struct select_platform {
    cl_platform_id id;
    char *name;
    size_t first, count; /* of its devices in the list */
    cl_int status;       /* CL_SUCCESS, or why its devices could not be listed */
};

struct select_list {
    size_t platform_count, device_count;
    struct select_platform *platforms;
    struct select_device *devices;
};

/* Lists what there is.  A platform that fails keeps its place, with its status and
 * no devices.  Returns CL_SUCCESS also when there is nothing; select_destroy is
 * needed in any case. */
cl_int select_all(struct select_list *list);

/* Accepts a zeroed list. */
void select_destroy(struct select_list *list);

/* True when wanted (a number, part of a label in any case, or NULL) names device number index. */
bool select_matches(const struct select_list *list, size_t index, const char *wanted);

/* The first that matches; NULL if none does. */
const struct select_device *select_find(const struct select_list *list, const char *wanted);

/* Strings that OpenCL reports, in UTF-8, without blanks at the ends; "" if it fails.  To be
 * freed; NULL only when out of memory. */
char *select_platform_text(cl_platform_id platform, cl_platform_info what);
char *select_device_text(cl_device_id device, cl_device_info what);

#endif
