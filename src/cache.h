/*
 * cache - the programs that a context has built, by their composed text.
 *
 * The text and the build options together are the key, whole; the hash only
 * shortens the comparison.
 */
#ifndef CACHE_H
#define CACHE_H

#include "lock.h"
#include "status.h"

struct cache_entry;

struct cache {
    struct lock lock;
    bool ready;
    struct cache_entry *first;
};

/* Builds the program of a text that the cache does not hold. */
struct cache_builder {
    cl_int (*build)(void *data, const char *composed, const char *options, cl_program *program,
                    struct status *status);
    void *data;
};

cl_int cache_create(struct cache *c, struct status *status);

/* Accepts what cache_create left half built. */
void cache_destroy(struct cache *c);

/* Finds the program, or has it built while other threads wait for the same cache:
 * a program is built once.  The caller releases *program. */
cl_int cache_get(struct cache *c, const char *composed, const char *options,
                 const struct cache_builder *builder, cl_program *program, struct status *status);

/* FNV-1a, 64 bits. */
cl_ulong cache_hash(const char *chars);

#endif
