/*
 * clattn_candidates: the variants that are worth trying on the context's device.
 */
#include "candidates.h"
#include "context.h"

/* Hands them out until the callback ends it. */
static cl_int hand_out(const struct candidates *c, clattn_candidate callback, void *user_data,
                       struct status *status) {
    cl_int ended = 0;
    for (size_t i = 0; i < c->count && ended == 0; i++) {
        const struct variant v = candidates_variant(&c->list[i]);
        struct text chars = {0};
        variant_format(&v, &chars);
        if (chars.failed) {
            text_destroy(&chars);
            return status_set(status, CL_OUT_OF_HOST_MEMORY, "candidates: no memory for a variant");
        }
        ended = callback(text_chars(&chars), c->list[i].cost, user_data);
        text_destroy(&chars);
    }
    return CL_SUCCESS;
}

cl_int clattn_candidates(clattn_context context, const clattn_desc *desc, clattn_candidate callback,
                         void *user_data) {
    if (!context) {
        return CL_INVALID_VALUE;
    }
    struct status status = {0};
    struct problem p;
    struct candidates c = {.list = NULL};
    cl_int code;
    if (!desc || !callback) {
        code = status_set(&status, CL_INVALID_VALUE, "candidates: %s is NULL",
                          desc ? "callback" : "desc");
    } else {
        code = problem_from_desc(&p, desc, &status);
    }
    if (code == CL_SUCCESS) {
        code = candidates_find(&p, &context->device, desc->variant, &c, &status);
    }
    if (code == CL_SUCCESS) {
        code = hand_out(&c, callback, user_data, &status);
    }
    candidates_destroy(&c);
    return code == CL_SUCCESS ? CL_SUCCESS : context_report(context, &status);
}
