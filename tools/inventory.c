#define _XOPEN_SOURCE 700

#include "inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "outcome.h"

/* A driver's string need not be UTF-8; JSON must. */
static json_t *string_of(const char *chars, size_t length) {
    json_t *string = json_stringn(chars, length);
    char *masked = string ? NULL : malloc(length + 1);
    if (masked) {
        for (size_t i = 0; i < length; i++) {
            masked[i] = chars[i];
            if ((unsigned char)chars[i] >= 0x80) {
                masked[i] = '?';
            }
        }
        string = json_stringn(masked, length);
        free(masked);
    }
    return string;
}

/* Puts text under key, and frees it. */
static void put_text(json_t *object, const char *key, char *text) {
    json_object_set_new(object, key, string_of(text ? text : "", text ? strlen(text) : 0));
    free(text);
}

struct failure {
    const char *program;
    json_t *message;
};

/* Keeps what clattn says of a call that fails; a remark is passed on. */
static void CL_CALLBACK hear(cl_int status, const char *message, void *user_data) {
    struct failure *f = user_data;
    if (status == CL_SUCCESS) {
        fprintf(stderr, "%s: note: %s\n", f->program, message);
        return;
    }
    json_decref(f->message);
    f->message = string_of(message, strlen(message));
}

static void put_failure(json_t *object, cl_int status, const char *what, struct failure *f) {
    if (!f->message) {
        f->message = json_sprintf("%s failed", what);
    }
    json_object_set_new(
        object, "error",
        json_pack("{s:s, s:o}", "status", clattn_status_name(status), "message", f->message));
    f->message = NULL;
}

/* What the caller did wrong is the same on every device. */
static void note_usage(struct inventory *inv, cl_int status, const struct failure *f) {
    if (outcome_of(status) == OUTCOME_USAGE && f->message && !inv->wrong) {
        inv->wrong = strdup(json_string_value(f->message));
    }
}

/* Lines "name value" into an object, or whole lines into an array. */
static void put_lines(json_t *into, const char *text) {
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (json_is_array(into)) {
            json_array_append_new(into, string_of(text, length));
        } else {
            char name[64];
            size_t end = strcspn(text, " \n"), value = end + strspn(text + end, " ");
            snprintf(name, sizeof name, "%.*s", (int)end, text);
            json_object_set_new(into, name, string_of(text + value, length - value));
        }
        text += length + (text[length] == '\n');
    }
}

static cl_int describe_context(void *object, char *text, size_t capacity, size_t *needed) {
    return clattn_context_describe(object, text, capacity, needed);
}

static cl_int describe_plan(void *object, char *text, size_t capacity, size_t *needed) {
    return clattn_plan_describe(object, text, capacity, needed);
}

static cl_int put_description(json_t *into,
                              cl_int (*describe)(void *object, char *text, size_t capacity,
                                                 size_t *needed),
                              void *object) {
    size_t size = 0;
    cl_int status = describe(object, NULL, 0, &size);
    char *text = status == CL_SUCCESS ? calloc(size + 1, 1) : NULL;
    if (status == CL_SUCCESS) {
        status = text ? describe(object, text, size + 1, NULL) : CL_OUT_OF_HOST_MEMORY;
    }
    if (status == CL_SUCCESS) {
        put_lines(into, text);
    }
    free(text);
    return status;
}

/* Which variant would run the problem, and why. */
static void put_plan(json_t *device, clattn_context context, struct inventory *inv,
                     struct failure *f) {
    json_t *plan = json_object();
    clattn_plan made = NULL;
    json_object_set_new(device, "plan", plan);
    cl_int status = clattn_plan_create(context, inv->desc, &made);
    if (status == CL_SUCCESS) {
        json_t *lines = json_array();
        const char *variant = clattn_plan_variant(made);
        json_object_set_new(plan, "variant", string_of(variant, strlen(variant)));
        json_object_set_new(plan, "description", lines);
        status = put_description(lines, describe_plan, made);
    }
    if (status == CL_SUCCESS) {
        inv->planned++;
    } else {
        note_usage(inv, status, f);
        put_failure(plan, status, "making a plan", f);
        inv->refused = inv->refused || status == CLATTN_UNSUPPORTED;
    }
    clattn_plan_destroy(made);
}

/* How a tuning file names the device: in quotes, with a backslash before a quote and a backslash.
 */
static void put_tuning_name(json_t *device, const json_t *facts) {
    const char *name = json_string_value(json_object_get(facts, "name"));
    char *quoted = name ? malloc(2 * strlen(name) + 3) : NULL, *at = quoted;
    if (!quoted) {
        return;
    }
    *at++ = '"';
    for (; *name; name++) {
        if (*name == '"' || *name == '\\') {
            *at++ = '\\';
        }
        *at++ = *name;
    }
    *at++ = '"';
    *at = '\0';
    put_text(device, "tuning_name", quoted);
}

static void put_facts(json_t *device, const struct select_device *selected, struct inventory *inv) {
    struct failure f = {inv->program, NULL};
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)selected->platform, 0};
    cl_int status;
    clattn_context context = NULL;
    cl_context opened = clCreateContext(properties, 1, &selected->id, NULL, NULL, &status);
    const char *what = "clCreateContext";
    if (status == CL_SUCCESS) {
        clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
        desc.context = opened;
        desc.device = selected->id;
        desc.notify = hear;
        desc.user_data = &f;
        desc.tuning_path = inv->tuning;
        what = "clattn_context_create";
        status = clattn_context_create(&desc, &context);
    }
    if (status == CL_SUCCESS) {
        json_t *facts = json_object();
        json_object_set_new(device, "facts", facts);
        what = "clattn_context_describe";
        status = put_description(facts, describe_context, context);
        put_tuning_name(device, facts);
    }
    if (status != CL_SUCCESS) {
        note_usage(inv, status, &f);
        put_failure(device, status, what, &f);
    } else {
        inv->described++;
        if (inv->desc) {
            put_plan(device, context, inv, &f);
        }
    }
    json_decref(f.message);
    clattn_context_destroy(context);
    if (opened) {
        clReleaseContext(opened);
    }
}

static json_t *gather_platform(const struct select_list *list, size_t index,
                               struct inventory *inv) {
    const struct select_platform *platform = &list->platforms[index];
    json_t *object = json_object(), *devices = json_array();
    put_text(object, "name", select_platform_text(platform->id, CL_PLATFORM_NAME));
    put_text(object, "vendor", select_platform_text(platform->id, CL_PLATFORM_VENDOR));
    put_text(object, "version", select_platform_text(platform->id, CL_PLATFORM_VERSION));
    json_object_set_new(object, "devices", devices);
    if (platform->status != CL_SUCCESS) {
        struct failure f = {inv->program, NULL};
        put_failure(object, platform->status, "listing its devices", &f);
    }
    for (size_t i = platform->first; i < platform->first + platform->count; i++) {
        if (!select_matches(list, i, inv->device)) {
            continue;
        }
        inv->matched++;
        const struct select_device *selected = &list->devices[i];
        json_t *device = json_object();
        json_object_set_new(device, "number", json_integer((json_int_t)i));
        put_text(device, "name", select_device_text(selected->id, CL_DEVICE_NAME));
        put_text(device, "version", select_device_text(selected->id, CL_DEVICE_VERSION));
        put_text(device, "driver", select_device_text(selected->id, CL_DRIVER_VERSION));
        put_facts(device, selected, inv);
        json_array_append_new(devices, device);
    }
    return object;
}

bool inventory_take(struct inventory *inv, const struct select_list *list) {
    inv->platforms = json_array();
    for (size_t i = 0; i < list->platform_count; i++) {
        json_array_append_new(inv->platforms, gather_platform(list, i, inv));
    }
    return json_array_size(inv->platforms) == list->platform_count;
}
