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
    char matrix[64];       /* the matrix engine that clattn uses there (engines.h); "": none */
    cl_ulong type;         /* enum device_type */
    cl_ulong compute_units;
    cl_ulong work_group;            /* work-items in a work-group, at most */
    cl_ulong work_items;            /* the same along dimension 0 */
    cl_ulong local_memory;          /* bytes that a kernel can really use */
    cl_ulong local_memory_reported; /* bytes that the driver says */
    cl_ulong float_width;           /* floats in the native vector, 1 or more */
    cl_ulong address_bits;          /* of a size_t there: 32 or 64 */
    cl_ulong svm;                   /* 1: SVM pointers may be passed */
    cl_ulong base_alignment;        /* bytes; of every buffer */
    cl_ulong loop_limit;            /* iterations after which a work-item silently stops; 0: none */
    cl_ulong argument_bytes;        /* of all arguments of a kernel, at most; 0: unknown */
};

/* Appends the facts, one "name value" a line; "name" alone where the value is "". */
void device_format(const struct device *d, struct text *out);

/* Reads what device_format wrote, or clattn-info printed: blanks before the name and between
 * name and value do not count.  Facts that are left out stay 0 or "".  False at a line that
 * it does not know. */
bool device_parse(struct device *d, const char *facts);

/* Asks the driver for everything but matrix, which engines_probe sets.  local_memory becomes what
 * the driver reports. */
cl_int device_read(struct device *d, cl_device_id id, struct status *status);

/* Does the driver list that OpenCL extension?  False where it does not answer. */
bool device_has_extension(cl_device_id id, const char *name);

/* Raises local_memory, where the chip is known to have more than the driver reports, to the most
 * that a kernel was seen to use. */
cl_int device_probe(struct device *d, cl_context context, cl_device_id id, struct status *status);

#endif
