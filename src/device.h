/*
 * device - the facts of one device, read once.
 *
 * Everything that chooses or checks a variant sees the device through this struct
 * alone, so a text of facts (what clattn_context_describe prints) can stand in for
 * a device that is not there.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include "status.h"

enum device_type { DEVICE_OTHER, DEVICE_CPU, DEVICE_GPU };

struct device {
    char name[128];
    char vendor[128];
    char platform[128];
    char driver[128];
    char architecture[64]; /* "nvidia/9.0", "amd/gfx1100", "intel", "cpu/16" (floats in a vector);
                              "" when unknown.  A line of a tuning table may begin with it */
    char matrix[64];       /* the name of the device's matrix engine (engines.h); "": none */
    cl_ulong type;         /* enum device_type */
    cl_ulong compute_units;
    cl_ulong work_group;            /* work-items in a work-group, at most */
    cl_ulong work_items;            /* work-items in a work-group along dimension 0, at most */
    cl_ulong local_memory;          /* bytes that a kernel can really use */
    cl_ulong local_memory_reported; /* bytes that the driver reports */
    cl_ulong float_width;           /* floats in the native vector, 1 or more */
    cl_ulong address_bits;          /* bits of the device's size_t: 32 or 64 */
    cl_ulong svm;                   /* 1: kernels take SVM pointers */
    cl_ulong base_alignment;        /* bytes; every buffer begins at a multiple of this */
    cl_ulong loop_limit;            /* iterations after which a work-item silently stops; 0: none */
    cl_ulong argument_bytes;        /* of all arguments of a kernel, at most; 0: unknown */
};

/* Appends the facts, one "name value" a line; "name" alone where the value is "". */
void device_format(const struct device *d, struct text *out);

/* Reads a text that device_format wrote, or clattn-info printed: blanks before the name and between
 * name and value do not count.  Facts that the text leaves out stay 0 or "".  False where a line is
 * no known fact. */
bool device_parse(struct device *d, const char *facts);

/* Asks the driver for everything but matrix, which engines_probe sets.  local_memory becomes what
 * the driver reports. */
cl_int device_read(struct device *d, cl_device_id id, struct status *status);

/* Does the driver list that OpenCL extension?  False where the driver does not answer. */
bool device_has_extension(cl_device_id id, const char *name);

/* On chips that are known to have more local memory than the driver reports, raises local_memory to
 * the most bytes with which a test kernel ran. */
cl_int device_probe(struct device *d, cl_context context, cl_device_id id, struct status *status);

#endif
