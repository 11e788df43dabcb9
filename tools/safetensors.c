/* pread */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "safetensors.h"
#include "replace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>

enum { LENGTH_SIZE = 8, CHUNK = 1 << 30 };

/* Names and JSON come from anywhere: whatever a terminal could act on is masked. */
static enum safetensors_status explain(enum safetensors_status status, char why[SAFETENSORS_WHY],
                                       const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(why, SAFETENSORS_WHY, format, values);
    va_end(values);
    for (char *at = why; *at; at++) {
        if (*at < ' ' || *at > '~') {
            *at = '?';
        }
    }
    return status;
}

static bool multiply(uint64_t *product, uint64_t factor) {
    if (factor != 0 && *product > UINT64_MAX / factor) {
        return false;
    }
    *product *= factor;
    return true;
}

/* 0 for a type not known here. */
static uint64_t dtype_size(const char *dtype) {
    static const struct {
        const char *name;
        uint64_t size;
    } dtypes[] = {
        {"BOOL", 1}, {"U8", 1},  {"I8", 1},   {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2},
        {"U16", 2},  {"F16", 2}, {"BF16", 2}, {"I32", 4},     {"U32", 4},     {"F32", 4},
        {"F64", 8},  {"I64", 8}, {"U64", 8},  {"C64", 8},     {"F8_E8M0", 1},
    };
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].name, dtype) == 0) {
            return dtypes[i].size;
        }
    }
    return 0;
}

/* ---- Reading ------------------------------------------------------------ */

static enum safetensors_status read_at(int file, uint64_t offset, void *data, uint64_t size,
                                       char why[SAFETENSORS_WHY]) {
    char *to = data;
    while (size > 0) {
        ssize_t got = pread(file, to, size < CHUNK ? (size_t)size : CHUNK, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return explain(SAFETENSORS_FAILED, why, "cannot be read: %s", strerror(errno));
        }
        if (got == 0) {
            return explain(SAFETENSORS_WRONG, why, "became shorter while it was read");
        }
        to += got;
        offset += (uint64_t)got;
        size -= (uint64_t)got;
    }
    return SAFETENSORS_OK;
}

static bool get_unsigned(const json_t *value, uint64_t *result) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *result = (uint64_t)json_integer_value(value);
    return true;
}

/* One entry of the header.  Its offsets are checked against the others later. */
static enum safetensors_status parse_tensor(struct safetensors_tensor *tensor, const char *name,
                                            const json_t *entry, char why[SAFETENSORS_WHY]) {
    const enum safetensors_status wrong = SAFETENSORS_WRONG;
    if (!json_is_object(entry)) {
        return explain(wrong, why, "tensor '%.80s': the entry is not a JSON object", name);
    }
    const json_t *dtype = json_object_get(entry, "dtype");
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!json_is_string(dtype)) {
        return explain(wrong, why, "tensor '%.80s': dtype is missing or not a string", name);
    }
    if (!json_is_array(shape)) {
        return explain(wrong, why, "tensor '%.80s': shape is missing or not a list", name);
    }
    *tensor = (struct safetensors_tensor){
        .name = name, .dtype = json_string_value(dtype), .rank = json_array_size(shape)};

    if (json_array_size(offsets) != 2 ||
        !get_unsigned(json_array_get(offsets, 0), &tensor->begin) ||
        !get_unsigned(json_array_get(offsets, 1), &tensor->end)) {
        return explain(wrong, why,
                       "tensor '%.80s': data_offsets is missing or not two integers from 0 on",
                       name);
    }
    if (tensor->end < tensor->begin) {
        return explain(wrong, why, "tensor '%.80s': the data ends before it begins", name);
    }
    uint64_t size = dtype_size(tensor->dtype);
    bool known = size != 0, fits = true;
    for (size_t i = 0; i < tensor->rank; i++) {
        uint64_t length = 0;
        if (!get_unsigned(json_array_get(shape, i), &length)) {
            return explain(wrong, why, "tensor '%.80s': shape holds what is no integer from 0 on",
                           name);
        }
        if (i < SAFETENSORS_MAX_RANK) {
            tensor->shape[i] = length;
        }
        fits = fits && multiply(&size, length);
    }
    if (known && !fits) {
        return explain(wrong, why, "tensor '%.80s': the shape's product is over 2^64", name);
    }
    if (known && size != tensor->end - tensor->begin) {
        return explain(wrong, why,
                       "tensor '%.80s': shape and type ask for %" PRIu64
                       " bytes, data_offsets for %" PRIu64,
                       name, size, tensor->end - tensor->begin);
    }
    return SAFETENSORS_OK;
}

static bool is_metadata(const json_t *entry) {
    if (!json_is_object(entry)) {
        return false;
    }
    for (void *at = json_object_iter((json_t *)entry); at;
         at = json_object_iter_next((json_t *)entry, at)) {
        if (!json_is_string(json_object_iter_value(at))) {
            return false;
        }
    }
    return true;
}

static int by_offset(const void *left, const void *right) {
    const struct safetensors_tensor *a = left, *b = right;
    if (a->begin != b->begin) {
        return a->begin < b->begin ? -1 : 1;
    }
    return (a->end > b->end) - (a->end < b->end);
}

/* The tensors must tile the data: a gap could hide a second meaning, an overlap
 * lets a small file claim much. */
static enum safetensors_status check_cover(const struct safetensors *st, uint64_t data_size,
                                           char why[SAFETENSORS_WHY]) {
    uint64_t at = 0;
    for (size_t i = 0; i < st->count; i++) {
        const struct safetensors_tensor *tensor = &st->tensors[i];
        if (tensor->end > data_size) {
            return explain(SAFETENSORS_WRONG, why,
                           "tensor '%.80s' ends at byte %" PRIu64 ", but there are %" PRIu64
                           " bytes of data",
                           tensor->name, tensor->end, data_size);
        }
        if (tensor->begin != at) {
            return explain(SAFETENSORS_WRONG, why,
                           "tensor '%.80s' begins at byte %" PRIu64
                           ", but the last ends at %" PRIu64 ": %s",
                           tensor->name, tensor->begin, at,
                           tensor->begin < at ? "they overlap" : "there is a gap");
        }
        at = tensor->end;
    }
    if (at != data_size) {
        return explain(SAFETENSORS_WRONG, why, "%" PRIu64 " bytes of data belong to no tensor",
                       data_size - at);
    }
    return SAFETENSORS_OK;
}

static enum safetensors_status parse_header(struct safetensors *st, const char *text, size_t length,
                                            uint64_t data_size, char why[SAFETENSORS_WHY]) {
    if (length == 0 || text[0] != '{') {
        return explain(SAFETENSORS_WRONG, why, "the header does not begin with '{'");
    }
    json_error_t error;
    st->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!st->header) {
        bool memory = json_error_code(&error) == json_error_out_of_memory;
        return explain(memory ? SAFETENSORS_FAILED : SAFETENSORS_WRONG, why,
                       "the header is not JSON: %s, at its byte %d", error.text, error.position);
    }
    st->tensors = calloc(json_object_size(st->header) + 1, sizeof *st->tensors);
    if (!st->tensors) {
        return explain(SAFETENSORS_FAILED, why, "out of memory");
    }
    const char *name;
    json_t *entry;
    json_object_foreach(st->header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            if (!is_metadata(entry)) {
                return explain(SAFETENSORS_WRONG, why, "__metadata__ is not a map of strings");
            }
            continue;
        }
        enum safetensors_status status = parse_tensor(&st->tensors[st->count], name, entry, why);
        if (status != SAFETENSORS_OK) {
            return status;
        }
        st->count++;
    }
    qsort(st->tensors, st->count, sizeof *st->tensors, by_offset);
    return check_cover(st, data_size, why);
}

static enum safetensors_status open_checked(struct safetensors *st, const char *path,
                                            char why[SAFETENSORS_WHY]) {
    const uint16_t one = 1;
    if (*(const unsigned char *)&one != 1) {
        return explain(SAFETENSORS_FAILED, why, "the format is little-endian and this host is not");
    }
    /* Non-blocking, so that a pipe without a writer is refused like any other pipe. */
    st->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    if (st->file < 0 || fstat(st->file, &about) != 0) {
        return explain(SAFETENSORS_WRONG, why, "cannot be opened: %s", strerror(errno));
    }
    if (!S_ISREG(about.st_mode)) {
        return explain(SAFETENSORS_WRONG, why, "is not a regular file");
    }
    uint64_t file_size = (uint64_t)about.st_size;
    if (file_size < LENGTH_SIZE) {
        return explain(SAFETENSORS_WRONG, why, "is too short: %" PRIu64 " bytes, %d at least",
                       file_size, LENGTH_SIZE);
    }
    unsigned char bytes[LENGTH_SIZE];
    enum safetensors_status status = read_at(st->file, 0, bytes, sizeof bytes, why);
    if (status != SAFETENSORS_OK) {
        return status;
    }
    uint64_t length = 0;
    for (int i = LENGTH_SIZE - 1; i >= 0; i--) {
        length = length << 8 | bytes[i];
    }
    if (length > SAFETENSORS_MAX_HEADER) {
        return explain(SAFETENSORS_WRONG, why,
                       "claims a header of %" PRIu64 " bytes; at most %d are allowed", length,
                       SAFETENSORS_MAX_HEADER);
    }
    if (length > file_size - LENGTH_SIZE) {
        return explain(SAFETENSORS_WRONG, why,
                       "claims a header of %" PRIu64 " bytes, but has only %" PRIu64, length,
                       file_size - LENGTH_SIZE);
    }
    char *text = malloc((size_t)length + 1);
    if (!text) {
        return explain(SAFETENSORS_FAILED, why, "out of memory");
    }
    st->data_start = LENGTH_SIZE + length;
    status = read_at(st->file, LENGTH_SIZE, text, length, why);
    if (status == SAFETENSORS_OK) {
        status = parse_header(st, text, (size_t)length, file_size - st->data_start, why);
    }
    free(text);
    return status;
}

enum safetensors_status safetensors_open(struct safetensors *st, const char *path,
                                         char why[SAFETENSORS_WHY]) {
    enum safetensors_status status = open_checked(st, path, why);
    if (status != SAFETENSORS_OK) {
        safetensors_close(st);
    }
    return status;
}

void safetensors_close(struct safetensors *st) {
    if (st->file >= 0) {
        close(st->file);
    }
    free(st->tensors);
    json_decref(st->header);
    *st = (struct safetensors)SAFETENSORS_INIT;
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *st, const char *name) {
    for (size_t i = 0; i < st->count; i++) {
        if (strcmp(st->tensors[i].name, name) == 0) {
            return &st->tensors[i];
        }
    }
    return NULL;
}

enum safetensors_status safetensors_read(const struct safetensors *st,
                                         const struct safetensors_tensor *tensor, void *data,
                                         char why[SAFETENSORS_WHY]) {
    return read_at(st->file, st->data_start + tensor->begin, data, tensor->end - tensor->begin,
                   why);
}

/* ---- Writing ------------------------------------------------------------ */

/* Lays the tensors out and returns the header's text, to be freed; NULL on failure. */
static char *make_header(struct safetensors_tensor *tensors, size_t count) {
    uint64_t at = 0;
    json_t *header = json_object();
    bool good = header != NULL;
    for (size_t i = 0; good && i < count; i++) {
        struct safetensors_tensor *tensor = &tensors[i];
        uint64_t size = dtype_size(tensor->dtype);
        json_t *shape = json_array();
        for (size_t j = 0; j < tensor->rank; j++) {
            good = good && multiply(&size, tensor->shape[j]) &&
                   json_array_append_new(shape, json_integer((json_int_t)tensor->shape[j])) == 0;
        }
        good = good && size <= INT64_MAX - at;
        tensor->begin = at;
        tensor->end = at += good ? size : 0;
        json_t *entry =
            json_pack("{s:s, s:o, s:[I,I]}", "dtype", tensor->dtype, "shape", shape, "data_offsets",
                      (json_int_t)tensor->begin, (json_int_t)tensor->end);
        good = json_object_set_new(header, tensor->name, entry) == 0 && good;
    }
    char *text = good ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    return text;
}

/* The header is padded with blanks, so that the data begins at a multiple of 8. */
static const char *write_pieces(const char *path, const char *header,
                                const struct safetensors_tensor *tensors, size_t count) {
    struct replace_piece *pieces = calloc(count + 3, sizeof *pieces);
    if (!pieces) {
        return "out of memory";
    }
    uint64_t length = strlen(header), padded = (length + 7) / 8 * 8;
    unsigned char bytes[LENGTH_SIZE];
    for (int i = 0; i < LENGTH_SIZE; i++) {
        bytes[i] = (unsigned char)(padded >> 8 * i);
    }
    pieces[0] = (struct replace_piece){bytes, sizeof bytes};
    pieces[1] = (struct replace_piece){header, length};
    pieces[2] = (struct replace_piece){"        ", padded - length};
    for (size_t i = 0; i < count; i++) {
        pieces[3 + i] = (struct replace_piece){tensors[i].data, tensors[i].end - tensors[i].begin};
    }
    const char *reason = replace_file(path, pieces, count + 3);
    free(pieces);
    return reason;
}

enum safetensors_status safetensors_write(const char *path, struct safetensors_tensor *tensors,
                                          size_t count, char why[SAFETENSORS_WHY]) {
    char *header = make_header(tensors, count);
    const char *reason =
        header ? write_pieces(path, header, tensors, count) : "too large, or out of memory";
    free(header);
    return reason ? explain(SAFETENSORS_FAILED, why, "cannot be written: %s", reason)
                  : SAFETENSORS_OK;
}
