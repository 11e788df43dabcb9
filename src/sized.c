#include "sized.h"

#include <assert.h>
#include <string.h>

/* tests/test_sized.c has what the compiler can check.  Bytes of each struct of the first release
 * that has it, up to the end of the last member.  Never to change: programs that were compiled with
 * it pass these sizes. */
#define LEAST(on_64_bits, on_32_bits) (sizeof(void *) == 8 ? (on_64_bits) : (on_32_bits))
enum {
    LEAST_CONTEXT_DESC = LEAST(48, 24),
    LEAST_DESC = LEAST(64, 56),
    LEAST_TENSOR = LEAST(56, 40),
    LEAST_FORWARD_ARGS = LEAST(80, 48),
    LEAST_BACKWARD_ARGS = LEAST(136, 76),
    LEAST_MERGE_ARGS = LEAST(64, 36),
    LEAST_EXTRAS = LEAST(8, 4),
};

const struct sized sized_context_desc = {"CLATTN_CONTEXT_DESC_INIT", CLATTN_INVALID_DESC,
                                         LEAST_CONTEXT_DESC, sizeof(clattn_context_desc)};
const struct sized sized_desc = {"CLATTN_DESC_INIT", CLATTN_INVALID_DESC, LEAST_DESC,
                                 sizeof(clattn_desc)};
const struct sized sized_tensor = {"CLATTN_TENSOR_INIT", CLATTN_INVALID_TENSOR, LEAST_TENSOR,
                                   sizeof(clattn_tensor)};
const struct sized sized_forward_args = {"CLATTN_FORWARD_ARGS_INIT", CLATTN_INVALID_ARGS,
                                         LEAST_FORWARD_ARGS, sizeof(clattn_forward_args)};
const struct sized sized_backward_args = {"CLATTN_BACKWARD_ARGS_INIT", CLATTN_INVALID_ARGS,
                                          LEAST_BACKWARD_ARGS, sizeof(clattn_backward_args)};
const struct sized sized_merge_args = {"CLATTN_MERGE_ARGS_INIT", CLATTN_INVALID_ARGS,
                                       LEAST_MERGE_ARGS, sizeof(clattn_merge_args)};
const struct sized sized_extras = {"CLATTN_EXTRAS_INIT", CLATTN_INVALID_ARGS, LEAST_EXTRAS,
                                   sizeof(clattn_extras)};

static size_t size_of(const void *theirs) {
    size_t size;
    memcpy(&size, theirs, sizeof size);
    return size;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

bool sized_is_readable(const struct sized *s, const void *theirs) {
    return size_of(theirs) >= s->least && size_of(theirs) <= SIZED_MOST;
}

cl_int sized_copy(const struct sized *s, const char *name, void *ours, const void *theirs,
                  struct status *status) {
    const size_t size = size_of(theirs);
    assert(s->least <= s->size && s->size <= SIZED_MOST);
    if (!sized_is_readable(s, theirs)) {
        return status_set(status, s->code,
                          "%s: size is %zu, not from %zu to %d: set the struct by %s", name, size,
                          s->least, SIZED_MOST, s->init);
    }
    const unsigned char *bytes = theirs;
    for (size_t i = s->size; i < size; i++) {
        if (bytes[i] != 0) {
            return status_set(
                status, s->code,
                "%s: size is %zu; byte %zu is not 0, but this version of clattn knows "
                "only %zu bytes",
                name, size, i, s->size);
        }
    }
    memcpy(ours, theirs, smaller(size, s->size));
    return CL_SUCCESS;
}

cl_int sized_copy_out(const struct sized *s, void *theirs, const void *ours, const void *defaults) {
    const size_t size = size_of(theirs), known = smaller(size, s->size), begin = sizeof size;
    const unsigned char *from = ours, *unset = defaults;
    unsigned char *to = theirs;
    if (!sized_is_readable(s, theirs) ||
        memcmp(from + known, unset + known, s->size - known) != 0) {
        return s->code;
    }
    memcpy(to + begin, from + begin, known - begin);
    memset(to + known, 0, size - known);
    return CL_SUCCESS;
}
