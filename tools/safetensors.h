/*
 * safetensors - tensors in a file: read with every claim checked, written whole.
 *
 *     8 bytes    N, the header's length, little-endian
 *     N bytes    JSON {"q": {"dtype": "F16", "shape": [1, 8, 128, 64],
 *                            "data_offsets": [begin, end]}, ..., "__metadata__": {...}}
 *     the rest   data; offsets count from here, and the tensors cover it without gap or overlap
 *
 * Functions leave one sentence, in printable ASCII, in why[] when they fail.
 */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

enum {
    SAFETENSORS_MAX_HEADER = 100 * 1000 * 1000, /* the format's own limit */
    SAFETENSORS_MAX_RANK = 8,                   /* of dimensions kept; more are only counted */
    SAFETENSORS_WHY = 256
};

enum safetensors_status {
    SAFETENSORS_OK,
    SAFETENSORS_WRONG, /* the file is at fault */
    SAFETENSORS_FAILED /* the system is: memory, disk, permission to write */
};

struct safetensors_tensor {
    const char *name;  /* UTF-8 */
    const char *dtype; /* "F16"; may be one that is not known here */
    size_t rank;
    uint64_t shape[SAFETENSORS_MAX_RANK];
    uint64_t begin, end; /* bytes in the data; end - begin fits the shape if dtype is known */
    const void *data;    /* end - begin bytes: for safetensors_write; reading leaves it NULL */
};

struct safetensors {
    int file;
    uint64_t data_start; /* in the file */
    size_t count;
    struct safetensors_tensor *tensors; /* in the order of their data */
    struct json_t *header;              /* owns names and dtypes */
};

#define SAFETENSORS_INIT \
    { -1, 0, 0, NULL, NULL }

/* Opens a file and checks all of its header.  Fills an object set to
 * SAFETENSORS_INIT, which needs safetensors_close only if this succeeds. */
enum safetensors_status safetensors_open(struct safetensors *st, const char *path,
                                         char why[SAFETENSORS_WHY]);

/* Accepts an object set to SAFETENSORS_INIT. */
void safetensors_close(struct safetensors *st);

/* NULL if there is none of that name. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *st, const char *name);

/* Reads a tensor's end - begin bytes. */
enum safetensors_status safetensors_read(const struct safetensors *st,
                                         const struct safetensors_tensor *tensor, void *data,
                                         char why[SAFETENSORS_WHY]);

/* Replaces the file at path, or makes it.  Tensors lie in the order given, their
 * begin and end are set here from dtype and shape.  On failure path is as it was
 * (replace.h). */
enum safetensors_status safetensors_write(const char *path, struct safetensors_tensor *tensors,
                                          size_t count, char why[SAFETENSORS_WHY]);

#endif
