#include "ptx.h"

#include <string.h>

static const char marker[] = "//@90a ";
static const char target[] = ".target sm_90";
static const char size_line[] = ".reqntid ";

enum { MOST_BYTES = 1 << 26 }; /* programs have a few hundred KiB */

/* Does the text go on with word at `at`? */
static bool begins(const char *ptx, size_t length, size_t at, const char *word) {
    const size_t size = strlen(word);
    return length - at >= size && memcmp(ptx + at, word, size) == 0;
}

/* Whole texts close each brace that they open; after the last one comes at most a comment. */
static bool is_whole(const char *ptx, size_t length) {
    size_t depth = 0, end = 0;
    for (size_t i = 0; i < length; i++) {
        if (ptx[i] == '}') {
            if (depth-- == 0) {
                return false;
            }
            end = i + 1;
        }
        depth += ptx[i] == '{';
    }
    while (end > 0 && end < length) {
        if (length - end >= 2 && memcmp(ptx + end, "//", 2) == 0) {
            while (end < length && ptx[end] != '\n') {
                end++;
            }
        } else if (strchr(" \t\r\n", ptx[end])) {
            end++;
        } else {
            return false;
        }
    }
    return depth == 0 && end > 0;
}

static cl_int refuse(struct status *status, const char *why) {
    return status_set(status, CL_INVALID_BINARY, "ptx: what the driver made of the program %s",
                      why);
}

cl_int ptx_for_sm_90a(const char *ptx, size_t length, struct text *out, struct status *status) {
    size_t markers = 0, targets = 0, sizes = 0;
    while (length && ptx[length - 1] == '\0') {
        length--;
    }
    if (length > MOST_BYTES) {
        return refuse(status, "is longer than any PTX of a kernel");
    }
    if (memchr(ptx, '\0', length)) {
        return refuse(status, "is no text");
    }
    if (!is_whole(ptx, length)) {
        return refuse(status, "is no PTX, or not all of it");
    }
    size_t from = 0; /* what is not copied yet */
    bool in_size = false;
    for (size_t i = 0; i < length; i++) {
        if (begins(ptx, length, i, marker)) {
            text_append(out, ptx + from, i - from);
            from = i + strlen(marker);
            i = from - 1;
            markers++;
        } else if (begins(ptx, length, i, target)) {
            const size_t end = i + strlen(target);
            if (end < length && !strchr(", \t\r\n", ptx[end])) {
                return refuse(status, "is for another chip than sm_90");
            }
            text_append(out, ptx + from, end - from);
            text_append(out, "a", 1);
            from = end;
            targets++;
        } else if (begins(ptx, length, i, size_line)) {
            in_size = true;
            sizes++;
        } else if (in_size && ptx[i] == '\n') {
            static const char bound[] = ".minnctapersm 1\n";
            text_append(out, ptx + from, i + 1 - from);
            text_append(out, bound, strlen(bound));
            from = i + 1;
            in_size = false;
        }
    }
    text_append(out, ptx + from, length - from);
    if (targets != 1) {
        return refuse(status, targets ? "has several targets" : "is not for sm_90");
    }
    if (sizes == 0) {
        return refuse(status, "has lost its work-group size");
    }
    if (markers == 0) {
        return refuse(status, "has lost its marked instructions");
    }
    return out->failed ? status_set(status, CL_OUT_OF_HOST_MEMORY, "ptx: no memory for the text")
                       : CL_SUCCESS;
}
