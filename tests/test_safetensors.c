/*
 * tools/safetensors and replace: what is written is read back, and a failed write
 * leaves the old file.  Damaged headers: test_damaged.c, test_run.sh.
 */
#define _XOPEN_SOURCE 700

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "safetensors.h"

static char directory[] = "safetensors-XXXXXX";
static char path[64], link_path[64];

/* ---- Support ------------------------------------------------------------ */

static void put_file(const char *to, const void *bytes, size_t size) {
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static size_t get_file(const char *from, void *bytes, size_t capacity) {
    FILE *file = fopen(from, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, capacity, file);
    fclose(file);
    return size;
}

/* A header with its true length and data that counts 0, 1, 2... */
static size_t compose(unsigned char *bytes, const char *header, size_t data) {
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(length >> 8 * i);
    }
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++) {
        bytes[8 + length + i] = (unsigned char)i;
    }
    return 8 + length + data;
}

static int count_files(void) {
    DIR *entries = opendir(directory);
    assert_non_null(entries);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(entries);
    return count;
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(directory)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/file", directory);
    snprintf(link_path, sizeof link_path, "%s/link", directory);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(path);
    unlink(link_path);
    return rmdir(directory);
}

static int remove_files(void **state) {
    (void)state;
    unlink(path);
    unlink(link_path);
    return 0;
}

/* ---- Reading ------------------------------------------------------------ */

static void what_need_not_be_known_is_accepted(void **state) {
    (void)state;
    unsigned char bytes[1024], data[4];
    size_t size = compose(bytes,
                          "{\"__metadata__\":{\"format\":\"pt\"},"
                          "\"late\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[6,10]},"
                          "\"strange\":{\"dtype\":\"X7\",\"shape\":[9],\"data_offsets\":[0,6]},"
                          "\"none\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[6,6]},"
                          "\"point\":{\"dtype\":\"I16\",\"shape\":[],\"data_offsets\":[10,12],"
                          "\"more\":1},"
                          "\"nine\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,2],"
                          "\"data_offsets\":[12,14]}}  ",
                          14);
    put_file(path, bytes, size);
    struct safetensors st = SAFETENSORS_INIT;
    char why[SAFETENSORS_WHY] = "";
    assert_int_equal(safetensors_open(&st, path, why), SAFETENSORS_OK);
    assert_int_equal(st.count, 5);
    assert_null(safetensors_find(&st, "__metadata__"));
    assert_null(safetensors_find(&st, "lat"));
    assert_int_equal(safetensors_find(&st, "none")->rank, 2);
    assert_int_equal(safetensors_find(&st, "point")->rank, 0);
    assert_int_equal(safetensors_find(&st, "nine")->rank, 9);
    const struct safetensors_tensor *late = safetensors_find(&st, "late");
    assert_non_null(late);
    assert_string_equal(late->dtype, "U8");
    assert_int_equal(late->shape[1], 2);
    assert_int_equal(safetensors_read(&st, late, data, why), SAFETENSORS_OK);
    assert_memory_equal(data, ((unsigned char[]){6, 7, 8, 9}), 4);
    safetensors_close(&st);
}

static void a_file_that_shrinks_is_noticed(void **state) {
    (void)state;
    unsigned char bytes[256], data[16];
    size_t size =
        compose(bytes, "{\"a\":{\"dtype\":\"U8\",\"shape\":[16],\"data_offsets\":[0,16]}}", 16);
    put_file(path, bytes, size);
    struct safetensors st = SAFETENSORS_INIT;
    char why[SAFETENSORS_WHY] = "";
    assert_int_equal(safetensors_open(&st, path, why), SAFETENSORS_OK);
    assert_int_equal(truncate(path, (off_t)size - 1), 0);
    assert_int_equal(safetensors_read(&st, safetensors_find(&st, "a"), data, why),
                     SAFETENSORS_WRONG);
    assert_true(strlen(why) > 0);
    safetensors_close(&st);
}

static void a_message_holds_no_control_characters(void **state) {
    (void)state;
    unsigned char bytes[256];
    size_t size = compose(bytes, "{\"\\u001b[31m\\n-\xc3\xa9\":7}", 0);
    put_file(path, bytes, size);
    struct safetensors st = SAFETENSORS_INIT;
    char why[SAFETENSORS_WHY] = "";
    assert_int_equal(safetensors_open(&st, path, why), SAFETENSORS_WRONG);
    assert_string_equal(why, "tensor '?[31m?-?\?': the entry is not a JSON object");
}

static void a_pipe_is_refused_at_once(void **state) {
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    struct safetensors st = SAFETENSORS_INIT;
    char why[SAFETENSORS_WHY] = "";
    assert_int_equal(safetensors_open(&st, path, why), SAFETENSORS_WRONG);
    assert_string_equal(why, "is not a regular file");
}

/* ---- Writing ------------------------------------------------------------ */

enum { VALUES = 6 };
static const float values[VALUES] = {1, -2, 3, -4, 5, -6};

static enum safetensors_status write_values(const char *to, char why[SAFETENSORS_WHY]) {
    struct safetensors_tensor tensors[] = {
        {.name = "lse", .dtype = "F32", .rank = 2, .shape = {2, 3}, .data = values},
        {.name = "o", .dtype = "BF16", .rank = 3, .shape = {1, 5, 1}, .data = values},
        {.name = "empty", .dtype = "F16", .rank = 2, .shape = {0, 7}, .data = NULL},
    };
    return safetensors_write(to, tensors, 3, why);
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    struct safetensors st = SAFETENSORS_INIT;
    char why[SAFETENSORS_WHY] = "";
    float got[VALUES] = {0};
    assert_int_equal(write_values(path, why), SAFETENSORS_OK);
    assert_int_equal(safetensors_open(&st, path, why), SAFETENSORS_OK);
    assert_int_equal(st.count, 3);
    assert_int_equal(st.data_start % 8, 0);
    const struct safetensors_tensor *lse = safetensors_find(&st, "lse"),
                                    *o = safetensors_find(&st, "o");
    assert_string_equal(lse->dtype, "F32");
    assert_int_equal(lse->rank, 2);
    assert_int_equal(lse->shape[0], 2);
    assert_int_equal(lse->shape[1], 3);
    assert_int_equal(safetensors_read(&st, lse, got, why), SAFETENSORS_OK);
    assert_memory_equal(got, values, sizeof values);
    assert_string_equal(o->dtype, "BF16");
    assert_int_equal(o->end - o->begin, 10);
    assert_int_equal(safetensors_read(&st, o, got, why), SAFETENSORS_OK);
    assert_memory_equal(got, values, 10);
    assert_int_equal(safetensors_find(&st, "empty")->shape[1], 7);
    safetensors_close(&st);
    assert_int_equal(count_files(), 1);
}

static void the_old_files_permissions_stay(void **state) {
    (void)state;
    char why[SAFETENSORS_WHY] = "";
    struct stat about;
    put_file(path, "old", 3);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink("file", link_path), 0);
    assert_int_equal(write_values(link_path, why), SAFETENSORS_OK);
    assert_int_equal(lstat(link_path, &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
    assert_true(about.st_size > 3);
    assert_int_equal(count_files(), 2);
}

/* The disk is "full" after some bytes; after each number of them. */
static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    char why[SAFETENSORS_WHY] = "", got[16];
    struct rlimit old, low;
    assert_int_equal(write_values(path, why), SAFETENSORS_OK);
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    put_file(path, "old", 3);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (rlim_t limit = 0; limit < (rlim_t)about.st_size; limit++) {
        low = old;
        low.rlim_cur = limit;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        enum safetensors_status status = write_values(path, why);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, SAFETENSORS_FAILED);
        assert_int_equal(get_file(path, got, sizeof got), 3);
        assert_memory_equal(got, "old", 3);
        assert_int_equal(count_files(), 1);
    }
    assert_int_equal(write_values(path, why), SAFETENSORS_OK);
}

static void only_a_regular_file_is_replaced(void **state) {
    (void)state;
    char why[SAFETENSORS_WHY] = "";
    struct stat about;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(write_values(path, why), SAFETENSORS_FAILED);
    assert_true(strlen(why) > 0);
    assert_int_equal(stat(path, &about), 0);
    assert_true(S_ISFIFO(about.st_mode));
    assert_int_equal(write_values(directory, why), SAFETENSORS_FAILED);
    assert_int_equal(write_values("not/there/file", why), SAFETENSORS_FAILED);
    assert_int_equal(count_files(), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_need_not_be_known_is_accepted, remove_files),
        cmocka_unit_test_teardown(a_file_that_shrinks_is_noticed, remove_files),
        cmocka_unit_test_teardown(a_message_holds_no_control_characters, remove_files),
        cmocka_unit_test_teardown(a_pipe_is_refused_at_once, remove_files),
        cmocka_unit_test_teardown(what_is_written_is_read_back, remove_files),
        cmocka_unit_test_teardown(the_old_files_permissions_stay, remove_files),
        cmocka_unit_test_teardown(a_failed_write_leaves_the_old_file, remove_files),
        cmocka_unit_test_teardown(only_a_regular_file_is_replaced, remove_files),
    };
    return cmocka_run_group_tests_name("safetensors", tests, set_up, tear_down);
}
