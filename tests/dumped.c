#define _POSIX_C_SOURCE 200809L /* directories */
#include "dumped.h"

#include <dirent.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

static char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long size = ftell(file);
    assert_true(size > 0);
    rewind(file);
    char *const chars = calloc(1, (size_t)size + 1);
    assert_non_null(chars);
    assert_int_equal(fread(chars, 1, (size_t)size, file), size);
    fclose(file);
    return chars;
}

char *dumped_take(const char *folder, const char *kernel) {
    char *chars = NULL;
    DIR *const files = opendir(folder);
    assert_non_null(files);
    for (struct dirent *file; (file = readdir(files)) != NULL;) {
        if (file->d_name[0] == '.') {
            continue;
        }
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        assert_null(chars);
        assert_int_equal(strncmp(file->d_name, kernel, strlen(kernel)), 0);
        assert_int_equal(file->d_name[strlen(kernel)], '-');
        chars = read_text(path);
        remove(path);
    }
    closedir(files);
    assert_non_null(chars);
    return chars;
}
