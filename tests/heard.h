/*
 * What a clattn context said through notify, for tests of failures.
 */
#ifndef TESTS_HEARD_H
#define TESTS_HEARD_H

#include <stdbool.h>

#include "clattn.h"

struct heard {
    int failures; /* calls of notify with an error */
    int remarks;  /* and with CL_SUCCESS */
    cl_int status;
    char message[4096]; /* the last one, cut to fit */
};

/* user_data is a struct heard; calls must not overlap. */
void CL_CALLBACK heard_notify(cl_int status, const char *message, void *user_data);

/* A clattn context that tells heard; NULL, with its sentence on stderr, where there is none. */
clattn_context heard_context(cl_context context, cl_device_id device, struct heard *heard);

/* True when the message holds word between characters that no name continues with. */
bool heard_mentions(const struct heard *heard, const char *word, size_t length);

/* Did a failed call with this result say so as it should: once, with its code, in
 * a sentence that mentions each of the words?  Otherwise says what is wrong, on
 * stderr. */
bool heard_failure(const struct heard *heard, cl_int result, const char *words, const char *what);

#endif
