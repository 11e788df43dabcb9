#include "cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct cache_entry {
    struct cache_entry *next;
    cl_ulong hash;
    cl_program program;
    char *composed, *options;
};

cl_ulong cache_hash(const char *chars) {
    cl_ulong hash = 14695981039346656037ull;
    for (; *chars; chars++) {
        hash = (hash ^ (unsigned char)*chars) * 1099511628211ull;
    }
    return hash;
}

cl_int cache_create(struct cache *c, struct status *status) {
    *c = (struct cache){0};
    c->ready = lock_init(&c->lock);
    return c->ready ? CL_SUCCESS
                    : status_set(status, CL_OUT_OF_RESOURCES, "cache: the system gave no mutex");
}

static void destroy_entry(struct cache_entry *entry) {
    if (entry->program) {
        clReleaseProgram(entry->program);
    }
    free(entry->composed);
    free(entry->options);
    free(entry);
}

void cache_destroy(struct cache *c) {
    while (c->first) {
        struct cache_entry *entry = c->first;
        c->first = entry->next;
        destroy_entry(entry);
    }
    if (c->ready) {
        lock_destroy(&c->lock);
    }
    *c = (struct cache){0};
}

static char *copy_of(const char *chars) {
    size_t size = strlen(chars) + 1;
    char *copy = malloc(size);
    if (copy) {
        memcpy(copy, chars, size);
    }
    return copy;
}

static cl_int add(struct cache *c, cl_ulong hash, const char *composed, const char *options,
                  const struct cache_builder *builder, cl_program *program, struct status *status) {
    struct cache_entry *entry = calloc(1, sizeof *entry);
    if (entry) {
        entry->composed = copy_of(composed);
        entry->options = copy_of(options);
    }
    cl_int code = !entry || !entry->composed || !entry->options
                      ? status_set(status, CL_OUT_OF_HOST_MEMORY, "cache: no memory for a program")
                      : builder->build(builder->data, composed, options, &entry->program, status);
    if (code != CL_SUCCESS) {
        if (entry) {
            destroy_entry(entry);
        }
        return code;
    }
    assert(entry->program);
    entry->hash = hash;
    entry->next = c->first;
    c->first = entry;
    *program = entry->program;
    return CL_SUCCESS;
}

cl_int cache_get(struct cache *c, const char *composed, const char *options,
                 const struct cache_builder *builder, cl_program *program, struct status *status) {
    assert(c->ready);
    const cl_ulong hash = cache_hash(composed);
    cl_int code = CL_SUCCESS;
    *program = NULL;
    lock_take(&c->lock);
    for (struct cache_entry *entry = c->first; entry && !*program; entry = entry->next) {
        if (entry->hash == hash && strcmp(entry->composed, composed) == 0 &&
            strcmp(entry->options, options) == 0) {
            *program = entry->program;
        }
    }
    if (!*program) {
        code = add(c, hash, composed, options, builder, program, status);
    }
    if (code == CL_SUCCESS) {
        code = clRetainProgram(*program);
        if (code != CL_SUCCESS) {
            *program = NULL;
            status_set(status, code, "cache: the driver does not retain a program");
        }
    }
    lock_give(&c->lock);
    return code;
}
