#include "select.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The ICD loader's "there is no platform"; from cl_khr_icd. */
enum { NO_PLATFORM = -1001 };

/* Bytes of the character in UTF-8 that text begins with; 0 when it begins with none. */
static size_t character(const char *text) {
    const unsigned char *at = (const unsigned char *)text;
    const unsigned low = at[0] == 0xE0 ? 0xA0 : at[0] == 0xF0 ? 0x90 : 0x80;
    const unsigned high = at[0] == 0xED ? 0x9F : at[0] == 0xF4 ? 0x8F : 0xBF;
    const size_t length = at[0] < 0x80                   ? 1
                          : at[0] < 0xC2 || at[0] > 0xF4 ? 0
                          : at[0] < 0xE0                 ? 2
                          : at[0] < 0xF0                 ? 3
                                                         : 4;
    if (length > 1 && (at[1] < low || at[1] > high)) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* Ends text at its last visible character and moves it to its first.  A driver's string need not be
 * UTF-8, which JSON and SVG must be: a byte that is not becomes a question mark. */
static char *tidy(char *text) {
    size_t length = strlen(text), start = 0;
    while (length > 0 && isspace((unsigned char)text[length - 1])) {
        length--;
    }
    while (start < length && isspace((unsigned char)text[start])) {
        start++;
    }
    memmove(text, text + start, length - start);
    text[length - start] = '\0';
    for (size_t at = 0, bytes; text[at]; at += bytes) {
        bytes = character(text + at);
        if (bytes == 0) {
            text[at] = '?';
            bytes = 1;
        }
    }
    return text;
}

char *select_platform_text(cl_platform_id platform, cl_platform_info what) {
    size_t size = 0;
    if (clGetPlatformInfo(platform, what, 0, NULL, &size) != CL_SUCCESS) {
        size = 0;
    }
    char *text = calloc(size + 1, 1);
    if (text && size && clGetPlatformInfo(platform, what, size, text, NULL) != CL_SUCCESS) {
        text[0] = '\0';
    }
    return text ? tidy(text) : NULL;
}

char *select_device_text(cl_device_id device, cl_device_info what) {
    size_t size = 0;
    if (clGetDeviceInfo(device, what, 0, NULL, &size) != CL_SUCCESS) {
        size = 0;
    }
    char *text = calloc(size + 1, 1);
    if (text && size && clGetDeviceInfo(device, what, size, text, NULL) != CL_SUCCESS) {
        text[0] = '\0';
    }
    return text ? tidy(text) : NULL;
}

static char *join(const char *platform, const char *device) {
    size_t size = strlen(platform) + strlen(" / ") + strlen(device) + 1;
    char *label = malloc(size);
    if (label) {
        snprintf(label, size, "%s / %s", platform, device);
    }
    return label;
}

/* Appends a platform's devices to the list. */
static cl_int add_devices(struct select_list *list, struct select_platform *platform) {
    cl_uint count = 0;
    cl_int status = clGetDeviceIDs(platform->id, CL_DEVICE_TYPE_ALL, 0, NULL, &count);
    if (status == CL_DEVICE_NOT_FOUND || (status == CL_SUCCESS && count == 0)) {
        return CL_SUCCESS;
    }
    if (status != CL_SUCCESS) {
        return status;
    }
    cl_device_id *ids = calloc(count, sizeof *ids);
    struct select_device *devices =
        realloc(list->devices, (list->device_count + count) * sizeof *list->devices);
    list->devices = devices ? devices : list->devices;
    status = ids && devices ? clGetDeviceIDs(platform->id, CL_DEVICE_TYPE_ALL, count, ids, NULL)
                            : CL_OUT_OF_HOST_MEMORY;
    for (cl_uint i = 0; status == CL_SUCCESS && i < count; i++) {
        struct select_device device = {ids[i], platform->id,
                                       select_device_text(ids[i], CL_DEVICE_NAME), NULL};
        device.label = device.name ? join(platform->name, device.name) : NULL;
        list->devices[list->device_count++] = device;
        platform->count++;
        if (!device.label) {
            status = CL_OUT_OF_HOST_MEMORY;
        }
    }
    free(ids);
    return status;
}

cl_int select_all(struct select_list *list) {
    *list = (struct select_list){0};
    cl_uint count = 0;
    cl_int status = clGetPlatformIDs(0, NULL, &count);
    if (status == NO_PLATFORM || (status == CL_SUCCESS && count == 0)) {
        return CL_SUCCESS;
    }
    if (status != CL_SUCCESS) {
        return status;
    }
    cl_platform_id *ids = calloc(count, sizeof *ids);
    list->platforms = calloc(count, sizeof *list->platforms);
    status = ids && list->platforms ? clGetPlatformIDs(count, ids, NULL) : CL_OUT_OF_HOST_MEMORY;
    for (cl_uint i = 0; status == CL_SUCCESS && i < count; i++) {
        struct select_platform *platform = &list->platforms[list->platform_count++];
        platform->id = ids[i];
        platform->first = list->device_count;
        platform->name = select_platform_text(ids[i], CL_PLATFORM_NAME);
        platform->status = platform->name ? add_devices(list, platform) : CL_OUT_OF_HOST_MEMORY;
        if (platform->status == CL_OUT_OF_HOST_MEMORY) {
            status = CL_OUT_OF_HOST_MEMORY;
        }
    }
    free(ids);
    return status;
}

void select_destroy(struct select_list *list) {
    for (size_t i = 0; i < list->device_count; i++) {
        free(list->devices[i].name);
        free(list->devices[i].label);
    }
    for (size_t i = 0; i < list->platform_count; i++) {
        free(list->platforms[i].name);
    }
    free(list->devices);
    free(list->platforms);
    *list = (struct select_list){0};
}

/* Whether text holds part, in any case. */
static bool contains(const char *text, const char *part) {
    for (;; text++) {
        size_t same = 0;
        while (part[same] != '\0' &&
               tolower((unsigned char)text[same]) == tolower((unsigned char)part[same])) {
            same++;
        }
        if (part[same] == '\0') {
            return true;
        }
        if (*text == '\0') {
            return false;
        }
    }
}

bool select_matches(const struct select_list *list, size_t index, const char *wanted) {
    if (!wanted) {
        return true;
    }
    if (wanted[0] != '\0' && wanted[strspn(wanted, "0123456789")] == '\0') {
        return strtoull(wanted, NULL, 10) == index;
    }
    return contains(list->devices[index].label, wanted);
}

const struct select_device *select_find(const struct select_list *list, const char *wanted) {
    for (size_t i = 0; i < list->device_count; i++) {
        if (select_matches(list, i, wanted)) {
            return &list->devices[i];
        }
    }
    return NULL;
}
