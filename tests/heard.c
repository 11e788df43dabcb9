#include "heard.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void CL_CALLBACK heard_notify(cl_int status, const char *message, void *user_data) {
    struct heard *heard = user_data;
    if (status == CL_SUCCESS) {
        heard->remarks++;
    } else {
        heard->failures++;
    }
    heard->status = status;
    snprintf(heard->message, sizeof heard->message, "%s", message ? message : "");
}

clattn_context heard_context(cl_context context, cl_device_id device, struct heard *heard) {
    clattn_context_desc desc = CLATTN_CONTEXT_DESC_INIT;
    clattn_context made = NULL;
    desc.context = context;
    desc.device = device;
    desc.notify = heard_notify;
    desc.user_data = heard;
    if (clattn_context_create(&desc, &made) != CL_SUCCESS) {
        fprintf(stderr, "no context: %s\n", heard->message);
    }
    return made;
}

static bool continues_name(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

bool heard_mentions(const struct heard *heard, const char *word, size_t length) {
    for (const char *at = heard->message; *at; at++) {
        if (strncmp(at, word, length) == 0 && !continues_name(at[length]) &&
            (at == heard->message || !continues_name(at[-1]))) {
            return true;
        }
    }
    return false;
}

bool heard_failure(const struct heard *heard, cl_int result, const char *words, const char *what) {
    if (heard->failures != 1 || heard->status != result || heard->message[0] == '\0') {
        fprintf(stderr, "%s: returned %s; notify: %d times, last %s \"%s\"\n", what,
                clattn_status_name(result), heard->failures, clattn_status_name(heard->status),
                heard->message);
        return false;
    }
    for (const char *at = words; *at;) {
        const size_t length = strcspn(at, " ");
        if (!heard_mentions(heard, at, length)) {
            fprintf(stderr, "%s: does not mention \"%.*s\": %s\n", what, (int)length, at,
                    heard->message);
            return false;
        }
        at += length;
        at += strspn(at, " ");
    }
    return true;
}
