/* clCreateCommandQueue is the one that 1.x devices have too. */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include "context.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engines.h"
#include "sized.h"

static void destroy(clattn_context c) {
    plans_destroy(&c->plans);
    cache_destroy(&c->programs);
    tuning_files_destroy(&c->tuning);
    if (c->id) {
        clReleaseDevice(c->id);
    }
    if (c->context) {
        clReleaseContext(c->context);
    }
    if (c->locked) {
        lock_destroy(&c->lock);
    }
    free(c);
}

void context_retain(clattn_context c) {
    lock_take(&c->lock);
    c->references++;
    lock_give(&c->lock);
}

void context_release(clattn_context c) {
    lock_take(&c->lock);
    assert(c->references > 0);
    bool last = --c->references == 0;
    lock_give(&c->lock);
    if (last) {
        destroy(c);
    }
}

static cl_int report(clattn_notify notify, void *user_data, struct status *status) {
    cl_int code = status->code;
    assert(code != CL_SUCCESS); /* remarks go another way */
    if (notify) {
        notify(code, text_chars(&status->sentence), user_data);
    }
    status_destroy(status);
    return code;
}

cl_int context_report(clattn_context c, struct status *status) {
    return report(c->notify, c->user_data, status);
}

void context_remark(clattn_context c, const char *sentence) {
    if (c->notify) {
        c->notify(CL_SUCCESS, sentence, c->user_data);
    }
}

static void remark_lines(clattn_notify notify, void *user_data, const struct text *lines) {
    for (const char *at = text_chars(lines); *at && notify;) {
        const size_t length = strcspn(at, "\n");
        struct text line = {0};
        text_append(&line, at, length);
        notify(CL_SUCCESS, text_chars(&line), user_data);
        text_destroy(&line);
        at += length + (at[length] == '\n');
    }
}

void context_remark_lines(clattn_context c, const struct text *lines) {
    remark_lines(c->notify, c->user_data, lines);
}

/* Is the device in the context's list? */
static cl_int find_device(cl_context context, cl_device_id id, bool *found) {
    *found = false;
    size_t size = 0;
    cl_int code = clGetContextInfo(context, CL_CONTEXT_DEVICES, 0, NULL, &size);
    cl_device_id *ids = code == CL_SUCCESS ? malloc(size ? size : 1) : NULL;
    if (code == CL_SUCCESS && !ids) {
        code = CL_OUT_OF_HOST_MEMORY;
    }
    if (code == CL_SUCCESS) {
        code = clGetContextInfo(context, CL_CONTEXT_DEVICES, size, ids, NULL);
    }
    for (size_t i = 0; code == CL_SUCCESS && i < size / sizeof *ids; i++) {
        *found = *found || ids[i] == id;
    }
    free(ids);
    return code;
}

/*
 * CL_SUCCESS when the device is one of the context's.  The list answers for most; PoCL lists the
 * parent alone in a context that was made for a sub-device, so where the list does not have the
 * device, the driver has the last word: clCreateCommandQueue gives CL_INVALID_DEVICE for a device
 * that is not of the context, and a queue is what every enqueue needs.  (To climb from the device
 * to its parent would be a guess: it also finds sub-devices that another driver refuses.)
 */
static cl_int check_device(cl_context context, cl_device_id id, struct status *status) {
    bool found;
    cl_int code = find_device(context, id, &found);
    if (code != CL_SUCCESS) {
        return status_set(status, code, "context: the driver does not tell its devices");
    }
    if (found) {
        return CL_SUCCESS;
    }
    cl_command_queue queue = clCreateCommandQueue(context, id, 0, &code);
    if (code == CL_SUCCESS) {
        clReleaseCommandQueue(queue);
        return CL_SUCCESS;
    }
    return code == CL_INVALID_DEVICE
               ? status_set(status, code, "context_desc: device is not one of the context's")
               : status_set(status, code,
                            "context: its list does not have the device, and the driver makes no "
                            "queue for it");
}

/* A device that should have a matrix engine, and has none that builds, is worth a remark. */
static void probe_engines(clattn_context c, const clattn_context_desc *d) {
    struct text failed = {0}, remark = {0};
    engines_probe(&c->device, c->context, c->id, &failed);
    if (!c->device.matrix[0] && failed.length && d->notify) {
        text_printf(
            &remark,
            "context: %s (%s) runs f16 and bf16 without a matrix engine: what tries it does "
            "not build (%s)",
            c->device.name, c->device.architecture, text_chars(&failed));
        d->notify(CL_SUCCESS, text_chars(&remark), d->user_data);
    }
    text_destroy(&failed);
    text_destroy(&remark);
}

/* A file that is not the caller's own request, and a line, may be wrong: that is worth a remark. */
static cl_int read_tuning(clattn_context c, const clattn_context_desc *d, struct status *status) {
    struct text remarks = {0};
    const cl_int code = tuning_files_read(&c->tuning, d->tuning_path, &remarks, status);
    if (code == CL_SUCCESS) {
        remark_lines(d->notify, d->user_data, &remarks);
    }
    text_destroy(&remarks);
    return code;
}

static cl_int fill(clattn_context c, const clattn_context_desc *d, struct status *status) {
    cl_int code = check_device(d->context, d->device, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    code = clRetainContext(d->context);
    if (code != CL_SUCCESS) {
        return status_set(status, code, "context: the driver does not retain the context");
    }
    c->context = d->context;
    code = clRetainDevice(d->device);
    if (code != CL_SUCCESS) {
        return status_set(status, code, "context: the driver does not retain the device");
    }
    c->id = d->device;
    code = device_read(&c->device, c->id, status);
    if (code == CL_SUCCESS) {
        code = device_probe(&c->device, c->context, c->id, status);
    }
    if (code == CL_SUCCESS) {
        probe_engines(c, d);
    }
    if (code == CL_SUCCESS) {
        code = read_tuning(c, d, status);
    }
    return code == CL_SUCCESS ? cache_create(&c->programs, status) : code;
}

cl_int clattn_context_create(const clattn_context_desc *desc, clattn_context *result) {
    if (result) {
        *result = NULL;
    }
    if (!desc) {
        return CL_INVALID_VALUE;
    }
    struct status status = {0};
    clattn_context_desc d = CLATTN_CONTEXT_DESC_INIT;
    cl_int code = sized_copy(&sized_context_desc, "context_desc", &d, desc, &status);
    if (code != CL_SUCCESS) {
        /* notify can be called only where the size says that it is there */
        const bool there = sized_is_readable(&sized_context_desc, desc);
        return report(there ? desc->notify : NULL, there ? desc->user_data : NULL, &status);
    }
    clattn_context c = NULL;
    if (!result) {
        code = status_set(&status, CL_INVALID_VALUE, "context_create: result is NULL");
    } else if (!d.context) {
        code = status_set(&status, CL_INVALID_CONTEXT, "context_desc: context is NULL");
    } else if (!d.device) {
        code = status_set(&status, CL_INVALID_DEVICE, "context_desc: device is NULL");
    } else if (!(c = calloc(1, sizeof *c)) || !(c->locked = lock_init(&c->lock))) {
        code = status_set(&status, CL_OUT_OF_HOST_MEMORY, "context: no memory or mutex for it");
    } else {
        code = fill(c, &d, &status);
    }
    if (code != CL_SUCCESS) {
        if (c) {
            destroy(c);
        }
        return report(d.notify, d.user_data, &status);
    }
    c->notify = d.notify;
    c->user_data = d.user_data;
    c->references = 1;
    *result = c;
    return CL_SUCCESS;
}

void clattn_context_destroy(clattn_context context) {
    if (context) {
        context_release(context);
    }
}

cl_int clattn_context_describe(clattn_context context, char *out, size_t capacity, size_t *needed) {
    if (!context) {
        return CL_INVALID_VALUE;
    }
    struct text facts = {0};
    device_format(&context->device, &facts);
    struct status status = {0};
    if (!out && capacity) {
        status_set(&status, CL_INVALID_VALUE, "context_describe: text is NULL");
    } else if (facts.failed) {
        status_set(&status, CL_OUT_OF_HOST_MEMORY, "context_describe: no memory for the text");
    } else {
        text_copy_out(text_chars(&facts), out, capacity, needed);
    }
    text_destroy(&facts);
    return status.code == CL_SUCCESS ? CL_SUCCESS : context_report(context, &status);
}
