/* dladdr */
#define _GNU_SOURCE

#include "tune_build.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <clattn.h>

/* FNV-1a: enough to tell builds apart. */
static uint64_t hash_file(const char *path, uint64_t hash) {
    unsigned char bytes[4096];
    FILE *file = fopen(path, "rb");
    for (size_t got; file && (got = fread(bytes, 1, sizeof bytes, file)) > 0;) {
        for (size_t i = 0; i < got; i++) {
            hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
        }
    }
    if (file) {
        fclose(file);
    }
    return hash;
}

/* The file that a function is in; false where that is not known. */
static bool find(void (*function)(void), Dl_info *file) {
    void *address;
    memcpy(&address, &function, sizeof address);
    return dladdr(address, file) != 0 && file->dli_fname;
}

void tune_build_name(char name[TUNE_BUILD]) {
    uint64_t hash = hash_file("/proc/self/exe", UINT64_C(0xcbf29ce484222325));
    Dl_info library, own;
    /* A library that is part of the program has its name from argv[0], which may be no path. */
    if (find((void (*)(void))clattn_version, &library) &&
        find((void (*)(void))tune_build_name, &own) && library.dli_fbase != own.dli_fbase) {
        hash = hash_file(library.dli_fname, hash);
    }
    snprintf(name, TUNE_BUILD, "%d.%d.%d %016" PRIx64, CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
             CLATTN_VERSION_PATCH, hash);
}
