/* Layouts, fills, and the way to the device and back. */
#include "tensors.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blocks.h"
#include "reference.h"

/* A guard takes a whole block of rows written past the end. */
enum { GUARD = 1 << 16, WORKSPACE_ALIGNMENT = 256 };

const char *const tensors_layout_names[LAYOUT_COUNT] = {
    [LAYOUT_BHSD] = "bhsd",     [LAYOUT_BSHD] = "bshd",           [LAYOUT_PACKED] = "packed",
    [LAYOUT_PADDED] = "padded", [LAYOUT_BROADCAST] = "broadcast",
};

const char *const tensors_fill_names[FILL_COUNT] = {
    [FILL_ZERO] = "zero",      [FILL_NAN] = "NaN",   [FILL_INF] = "+Inf",
    [FILL_MINUS_INF] = "-Inf", [FILL_ONES] = "0xFF",
};

const char *const tensors_kind_names[KIND_COUNT] = {
    [KIND_UNIFORM] = "uniform", [KIND_POSITIVE] = "positive", [KIND_SIGNS] = "signs",
    [KIND_VALUE] = "value",     [KIND_ROWS] = "rows",         [KIND_REST] = "rest",
    [KIND_LATE] = "late",       [KIND_EARLY] = "early",       [KIND_EDGE] = "edge",
    [KIND_STEEP] = "steep",     [KIND_MATCH] = "match",       [KIND_HOLES] = "holes",
    [KIND_LOWEST] = "lowest",
};

/* ---- Data ---- */

/* The upper bits of a product are a good enough shuffle of (tensor, position). */
static double uniform(cl_uint seed, enum tensors_name name, size_t position) {
    uint64_t x = ((uint64_t)position << 3 | (uint64_t)name) + 0x9e3779b97f4a7c15u;
    x += (uint64_t)seed * 0xd1342543de82ef95u;
    x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 29) * 0x94d049bb133111ebu;
    return (double)(x >> 11) * 0x1p-52 - 1;
}

/* An element of a kind from its number in +-1. */
static double drawn(enum tensors_kind kind, double number, cl_uint row, cl_uint column) {
    switch (kind) {
    case KIND_POSITIVE:
        return fabs(number);
    case KIND_SIGNS:
        return number < 0 ? -1 : 1;
    case KIND_LATE:
        return (number < 0 ? -1 : 1) * (row < 260 ? 0x1p-12 : 1);
    case KIND_EARLY:
        return row < 260 ? -1 : (number < 0 ? -0x1p-24 : 0x1p-24);
    case KIND_EDGE:
        return column == 0 ? -355.3 - fabs(number) / 2 : number / 2;
    case KIND_STEEP:
        return column > 0 ? number / 2 : row < 130 ? 1 + 0.003 * fabs(number) : 0.998;
    case KIND_HOLES:
        return column % 7 == 2 || row % 5 == 3 || number < -0.4 ? -INFINITY : number;
    case KIND_LOWEST:
        return row % 3 == 0 ? -DBL_MAX : row % 3 == 1 || number < -0.4 ? -INFINITY : number;
    case KIND_VALUE:
        return 1;
    case KIND_REST:
        return row > 0 && column == 0;
    default:
        return number;
    }
}

/* Row of k, in its head, that a row of q of kind match is: scattered, and all come in turn. */
static cl_uint matched(const struct tensors *tensors, cl_uint row) {
    assert_true(tensors->live.seq_kv > 0);
    return (cl_uint)(((uint64_t)row * 7 + 3) % tensors->live.seq_kv);
}

static bool of_pairs(enum tensors_name name) {
    return name == TENSOR_BIAS || name == TENSOR_MASK || name == TENSOR_D_BIAS;
}

static bool of_heads(enum tensors_name name) {
    return name == TENSOR_ALIBI || name == TENSOR_SINK || name == TENSOR_D_SINK;
}

/* Lengths of neighbouring sequences: some of the keys, none, all of them, by any number. */
static double length_of(const struct tensors *tensors, cl_uint batch) {
    const double seq_kv = tensors->live.seq_kv;
    const double lengths[] = {floor(seq_kv * 0.6) + 1,
                              CL_INT_MIN,
                              floor(seq_kv * 0.3),
                              0x1p30,
                              seq_kv + 1,
                              -1,
                              seq_kv - 1,
                              0};
    return lengths[batch % (sizeof lengths / sizeof *lengths)];
}

/* One row before it is rounded.  k is generated before q. */
static void draw_row(const struct tensors *tensors, enum tensors_name name, cl_uint batch,
                     cl_uint head, cl_uint row, double *to) {
    const struct tensors_view *view = &tensors->view[name], *k = &tensors->view[TENSOR_K];
    const struct tensors_input *input = &tensors->what.input[name];
    const bool broadcast = tensors->what.layout == LAYOUT_BROADCAST;
    const bool shared = broadcast && (name == TENSOR_K || name == TENSOR_V);
    if (name == TENSOR_LENGTHS_KV) {
        *to = length_of(tensors, view->stride_batch ? batch : 0);
        return;
    }
    size_t head_at = shared ? 0 : (size_t)batch * view->heads + head;
    head_at = broadcast && of_heads(name) ? head : head_at;
    if (of_pairs(name)) {
        head_at = view->stride_head ? head : 0;
        head_at += view->stride_batch ? (size_t)batch * view->heads : 0;
        row = view->stride_row ? row : 0;
    }
    size_t at = (head_at * view->rows + (input->kind == KIND_ROWS ? 0 : row)) * view->dim;
    size_t head_kv = (size_t)batch * k->heads + head / (view->heads / k->heads);
    for (cl_uint d = 0; d < view->dim; d++)
        if (input->kind == KIND_MATCH)
            to[d] =
                input->size *
                (double)tensors
                    ->data[TENSOR_K][(head_kv * k->rows + matched(tensors, row)) * view->dim + d];
        else
            to[d] =
                input->size * drawn(input->kind, uniform(tensors->what.seed, name, at + d), row, d);
}

/* Is it an input that the problem has? */
static void generate(struct tensors *tensors, enum tensors_name name) {
    const struct tensors_view *view = &tensors->view[name];
    const enum tensors_kind kind = tensors->what.input[name].kind;
    const size_t rows = (size_t)view->batch * view->heads * view->rows, dim = view->dim;
    const size_t bytes = blocks_row_bytes(view->type, dim);
    double *row = malloc(dim * sizeof *row);
    float *data = malloc((rows * dim + 1) * sizeof *data);
    unsigned char *stored = malloc(rows * bytes + 1);
    assert_true(row && data && stored);
    tensors->data[name] = data;
    tensors->stored[name] = stored;
    for (size_t i = 0; i < rows; i++, data += dim, stored += bytes) {
        const size_t in_head = i % view->rows, head = i / view->rows;
        if (in_head > 0 && (kind == KIND_VALUE || kind == KIND_ROWS)) {
            memcpy(data, data - dim, dim * sizeof *data);
            memcpy(stored, stored - bytes, bytes);
            continue;
        }
        draw_row(tensors, name, (cl_uint)(head / view->heads), (cl_uint)(head % view->heads),
                 (cl_uint)in_head, row);
        for (size_t d = 0; d < dim; d++)
            if (name == TENSOR_BIAS && row[d] <= -DBL_MAX && row[d] > -INFINITY)
                row[d] = reference_stored(view->type, row[d]); /* the lowest number */
        blocks_encode_row(view->type, row, dim, stored);
        for (size_t d = 0; d < dim; d++)
            data[d] = (float)blocks_decode(view->type, stored, d);
    }
    free(row);
}

struct reference_extras tensors_extras(const struct tensors *tensors) {
    float *const *data = tensors->data;
    return (struct reference_extras){data[TENSOR_ALIBI], data[TENSOR_BIAS], data[TENSOR_MASK],
                                     data[TENSOR_SINK], data[TENSOR_LENGTHS_KV]};
}

/* o and lse of the forward pass, rounded to their types. */
static void take_forward(struct tensors *tensors, float scale) {
    struct reference r;
    const struct reference_extras extras = tensors_extras(tensors);
    reference_forward_with(&tensors->live, scale, tensors->data[TENSOR_Q], tensors->data[TENSOR_K],
                           tensors->data[TENSOR_V], &extras, &r);
    for (int name = TENSOR_O; name <= TENSOR_LSE; name++) {
        const struct tensors_view *view = &tensors->view[name];
        const size_t count = (size_t)view->batch * view->heads * view->rows * view->dim;
        const size_t size = reference_type_size(view->type);
        float *data = malloc((count + 1) * sizeof *data);
        unsigned char *stored = malloc((count + 1) * size);
        assert_true(data && stored);
        tensors->data[name] = data;
        tensors->stored[name] = stored;
        for (size_t i = 0; i < count; i++) {
            reference_encode(view->type, name == TENSOR_O ? r.o[i] : r.lse[i], stored + i * size);
            data[i] = (float)reference_decode(view->type, stored + i * size);
        }
    }
    reference_free(&r);
}

/* ---- Layouts ---- */

static size_t extent(const struct tensors_view *view, cl_uint batch, cl_uint rows) {
    if (!batch || !rows)
        return 0;
    return (batch - 1) * view->stride_batch + (view->heads - 1) * view->stride_head +
           (rows - 1) * view->stride_row + view->dim;
}

static struct tensors_memory *new_memory(struct tensors *tensors, const char *name,
                                         clattn_type type, size_t bytes) {
    struct tensors_memory *memory = &tensors->memory[tensors->memories++];
    *memory = (struct tensors_memory){.name = name, .type = type, .bytes = bytes};
    return memory;
}

static const char *const names[TENSOR_COUNT] = {
    [TENSOR_Q] = "q",
    [TENSOR_K] = "k",
    [TENSOR_V] = "v",
    [TENSOR_O] = "o",
    [TENSOR_LSE] = "lse",
    [TENSOR_D_O] = "d_o",
    [TENSOR_D_LSE] = "d_lse",
    [TENSOR_D_Q] = "d_q",
    [TENSOR_D_K] = "d_k",
    [TENSOR_D_V] = "d_v",
    [TENSOR_ALIBI] = "alibi",
    [TENSOR_BIAS] = "bias",
    [TENSOR_MASK] = "mask",
    [TENSOR_SINK] = "sink",
    [TENSOR_D_BIAS] = "d_bias",
    [TENSOR_D_SINK] = "d_sink",
    [TENSOR_LENGTHS_KV] = "lengths_kv",
};

static const cl_ulong features[TENSOR_COUNT] = {
    [TENSOR_ALIBI] = CLATTN_FEATURE_ALIBI,        [TENSOR_BIAS] = CLATTN_FEATURE_BIAS,
    [TENSOR_MASK] = CLATTN_FEATURE_MASK,          [TENSOR_SINK] = CLATTN_FEATURE_SINK,
    [TENSOR_D_BIAS] = CLATTN_FEATURE_BIAS,        [TENSOR_D_SINK] = CLATTN_FEATURE_SINK,
    [TENSOR_LENGTHS_KV] = CLATTN_FEATURE_LENGTHS,
};

bool tensors_is_input(const struct tensors *tensors, enum tensors_name name) {
    if (features[name])
        return name <= TENSOR_LENGTHS_KV && tensors->what.desc.features & features[name];
    return name <= TENSOR_V ||
           (tensors->what.desc.pass == CLATTN_BACKWARD &&
            (name <= TENSOR_D_O || (name == TENSOR_D_LSE && tensors->what.lse)));
}

bool tensors_has(const struct tensors *tensors, enum tensors_name name) {
    return tensors_is_input(tensors, name) ||
           (tensors->what.desc.pass == CLATTN_BACKWARD
                ? (name >= TENSOR_D_Q && name <= TENSOR_D_V) ||
                      (name > TENSOR_LENGTHS_KV && tensors->what.desc.features & features[name])
                : name == TENSOR_O || (name == TENSOR_LSE && tensors->what.lse));
}

static bool is_of_keys(enum tensors_name name) {
    return name == TENSOR_K || name == TENSOR_V || name == TENSOR_D_K || name == TENSOR_D_V;
}

/* A tensor in a buffer of its own. */
static void place(struct tensors *tensors, enum tensors_name name, cl_uint rows) {
    struct tensors_view *view = &tensors->view[name];
    cl_uint batch = tensors->what.desc.batch;
    bool padded = tensors->what.layout == LAYOUT_PADDED;
    size_t size = reference_type_size(view->type);
    size_t guard = tensors->what.tight ? 0 : GUARD;
    size_t dim = view->dim, gap = blocks_has(view->type) ? BLOCKS_ELEMENTS : 1;

    if (tensors->what.layout == LAYOUT_BSHD) {
        view->stride_head = dim;
        view->stride_row = view->heads * dim;
        view->stride_batch = rows * view->stride_row;
    } else {
        view->stride_row = dim + (padded ? (1 + name) * gap : 0);
        view->stride_head = rows * view->stride_row + (padded ? 5 * gap : 0);
        view->stride_batch = view->heads * view->stride_head + (padded ? 7 * gap : 0);
    }
    view->offset = tensors->what.layout == LAYOUT_BHSD ? 0 : guard;
    if (padded)
        view->offset += (1 + (size_t)name) * size;
    if (tensors->what.layout == LAYOUT_BROADCAST && (name == TENSOR_K || name == TENSOR_V))
        view->stride_batch = view->stride_head = 0;
    if (tensors->what.layout == LAYOUT_BROADCAST &&
        (of_heads(name) || of_pairs(name) || name == TENSOR_LENGTHS_KV))
        view->stride_batch = 0;
    if (tensors->what.layout == LAYOUT_BROADCAST && of_pairs(name))
        view->stride_head = 0;
    if (tensors->what.layout == LAYOUT_PACKED && of_pairs(name)) {
        view->stride_row = view->stride_head = 0;
        view->stride_batch = dim;
    }

    size_t elements = extent(view, batch, rows);
    view->memory = new_memory(tensors, names[name], view->type, 0);
    if (elements || view->offset)
        view->memory->bytes = view->offset + blocks_row_bytes(view->type, elements) + guard;
}

/* q, k and v beside one another in each row of one buffer. */
static void place_packed(struct tensors *tensors) {
    const clattn_desc *desc = &tensors->what.desc;
    for (int name = TENSOR_K; name <= TENSOR_V; name++)
        assert_int_equal(tensors->view[name].type, desc->type); /* packed tensors have one */
    cl_uint rows = desc->seq_q > desc->seq_kv ? desc->seq_q : desc->seq_kv;
    size_t size = reference_type_size(desc->type);
    size_t guard = tensors->what.tight ? 0 : GUARD;
    size_t row = 0;
    struct tensors_memory *memory = new_memory(tensors, "q, k, v", desc->type, 0);
    for (int name = TENSOR_Q; name <= TENSOR_V; name++) {
        struct tensors_view *view = &tensors->view[name];
        view->memory = memory;
        view->offset = guard + row * size;
        view->stride_head = view->dim;
        row += (size_t)view->heads * view->dim;
    }
    for (int name = TENSOR_Q; name <= TENSOR_V; name++) {
        tensors->view[name].stride_row = row;
        tensors->view[name].stride_batch = rows * row;
    }
    memory->bytes = guard + desc->batch * rows * row * size + guard;
}

static void shape(struct tensors *tensors) {
    const clattn_desc *desc = &tensors->live;
    const struct reference_types t = reference_types(desc);
    const clattn_type d = desc->type_d;
    const clattn_type types[TENSOR_COUNT] = {t.q,
                                             t.k,
                                             t.v,
                                             t.o,
                                             CLATTN_F32,
                                             t.o,
                                             CLATTN_F32,
                                             d ? d : t.q,
                                             d ? d : t.k,
                                             d ? d : t.v,
                                             CLATTN_F32,
                                             desc->type_bias ? desc->type_bias : t.q,
                                             REFERENCE_BYTE,
                                             CLATTN_F32,
                                             REFERENCE_INT,
                                             d                 ? d
                                             : desc->type_bias ? desc->type_bias
                                                               : t.q,
                                             CLATTN_F32};
    struct tensors_view *view = tensors->view;
    for (int name = 0; name < TENSOR_COUNT; name++)
        view[name] = (struct tensors_view){.type = types[name],
                                           .batch = desc->batch,
                                           .heads = desc->heads_q,
                                           .rows = desc->seq_q,
                                           .dim = desc->head_dim};
    for (enum tensors_name name = 0; name < TENSOR_COUNT; name++)
        if (is_of_keys(name)) {
            view[name].heads = desc->heads_kv;
            view[name].rows = desc->seq_kv;
        }
    view[TENSOR_V].dim = view[TENSOR_O].dim = desc->head_dim_v;
    view[TENSOR_D_V].dim = view[TENSOR_D_O].dim = desc->head_dim_v;
    view[TENSOR_LSE].dim = view[TENSOR_D_LSE].dim = 1;
    view[TENSOR_ALIBI].rows = view[TENSOR_ALIBI].dim = 1;
    view[TENSOR_SINK].rows = view[TENSOR_SINK].dim = 1;
    view[TENSOR_D_SINK].rows = view[TENSOR_D_SINK].dim = 1;
    view[TENSOR_BIAS].dim = view[TENSOR_MASK].dim = view[TENSOR_D_BIAS].dim = desc->seq_kv;
    view[TENSOR_LENGTHS_KV].heads = view[TENSOR_LENGTHS_KV].rows = 1;
    view[TENSOR_LENGTHS_KV].dim = 1;
}

void tensors_make(struct tensors *tensors, const struct tensors_desc *what, float scale,
                  cl_context context) {
    *tensors = (struct tensors){.what = *what, .live = what->desc, .context = context};
    tensors->live.batch = what->batch;
    tensors->live.seq_q = what->seq_q;
    tensors->live.seq_kv = what->seq_kv;
    shape(tensors);

    /* Padded tensors have rows to spare at the end of each head as well. */
    cl_uint spare = what->layout == LAYOUT_PADDED ? 2 : 0;
    const bool packed = what->layout == LAYOUT_PACKED;
    if (packed)
        place_packed(tensors);
    for (enum tensors_name name = packed ? TENSOR_O : TENSOR_Q; name < TENSOR_COUNT; name++)
        if (tensors_has(tensors, name))
            place(tensors, name,
                  of_heads(name) || name == TENSOR_LENGTHS_KV
                      ? 1
                      : (is_of_keys(name) ? what->desc.seq_kv : what->desc.seq_q) + spare);
    if (what->workspace) {
        size_t bytes = 2 * WORKSPACE_ALIGNMENT + what->workspace + GUARD;
        tensors->workspace = new_memory(tensors, "workspace", CLATTN_F32, bytes);
        tensors->workspace->scratch_at = WORKSPACE_ALIGNMENT;
        tensors->workspace->scratch_bytes = what->workspace;
    }

    for (int name = TENSOR_V; name >= TENSOR_Q; name--)
        generate(tensors, (enum tensors_name)name);
    for (enum tensors_name name = TENSOR_ALIBI; name < TENSOR_COUNT; name++)
        if (tensors_is_input(tensors, name))
            generate(tensors, name);
    if (what->desc.pass == CLATTN_BACKWARD) {
        take_forward(tensors, scale);
        generate(tensors, TENSOR_D_O);
        generate(tensors, TENSOR_D_LSE);
    }
    for (size_t i = 0; i < tensors->memories; i++) {
        struct tensors_memory *memory = &tensors->memory[i];
        if (!memory->bytes)
            continue;
        cl_int status = CL_SUCCESS;
        memory->image = malloc(memory->bytes);
        memory->result = malloc(memory->bytes);
        if (memory == tensors->workspace ? what->workspace_svm : what->svm)
            memory->svm = clSVMAlloc(context, CL_MEM_READ_WRITE, memory->bytes, 0);
        else
            memory->buffer =
                clCreateBuffer(context, CL_MEM_READ_WRITE, memory->bytes, NULL, &status);
        assert_int_equal(status, CL_SUCCESS);
        assert_true(memory->image && memory->result && (memory->svm || memory->buffer));
    }
    if (tensors->workspace) /* an SVM pointer may lie anywhere, the workspace may not */
        tensors->workspace->scratch_at +=
            WORKSPACE_ALIGNMENT - (uintptr_t)tensors->workspace->svm % WORKSPACE_ALIGNMENT;
}

void tensors_free(struct tensors *tensors) {
    for (size_t i = 0; i < tensors->memories; i++) {
        struct tensors_memory *memory = &tensors->memory[i];
        if (memory->buffer)
            clReleaseMemObject(memory->buffer);
        if (memory->svm)
            clSVMFree(tensors->context, memory->svm);
        free(memory->image);
        free(memory->result);
    }
    for (int name = 0; name < TENSOR_COUNT; name++) {
        free(tensors->data[name]);
        free(tensors->stored[name]);
    }
    *tensors = (struct tensors){0};
}

/* ---- Fills ---- */

/* `bytes` bytes from `from` on, where an element begins. */
static void fill_elements(struct tensors_memory *memory, size_t from, size_t bytes,
                          enum tensors_fill fill) {
    static const double values[FILL_COUNT] = {
        [FILL_NAN] = NAN, [FILL_INF] = INFINITY, [FILL_MINUS_INF] = -INFINITY};
    size_t size = reference_type_size(memory->type);
    unsigned char element[sizeof(cl_float)];
    if (fill == FILL_ONES)
        memset(element, 0xff, sizeof element);
    else
        reference_encode(blocks_has(memory->type) ? CLATTN_F16 : memory->type, values[fill],
                         element); /* scales of blocks, too, lie at multiples of 2 bytes */
    for (size_t at = 0; at < bytes; at++)
        memory->image[from + at] = element[at % size];
}

/* Which rows of a head's queries, or of its keys, take part: someone sees them. */
static bool *participants(const struct tensors *tensors, bool keys, cl_uint batch, cl_uint head) {
    const clattn_desc *live = &tensors->live;
    const struct reference_extras extras = tensors_extras(tensors);
    const cl_uint group = live->heads_q / live->heads_kv;
    const bool shared = keys && tensors->what.layout == LAYOUT_BROADCAST; /* by all heads */
    const size_t first = (size_t)batch * live->heads_q + (size_t)head * (keys ? group : 1);
    const size_t begin = shared ? 0 : first;
    const size_t end = shared ? (size_t)live->batch * live->heads_q : first + (keys ? group : 1);
    bool *takes_part = calloc((size_t)(keys ? live->seq_kv : live->seq_q) + 1, sizeof *takes_part);
    assert_non_null(takes_part);
    for (size_t of = begin; of < (extras.bias || extras.mask ? end : begin + 1); of++)
        for (cl_uint query = 0; query < live->seq_q; query++)
            for (cl_uint key = 0; key < live->seq_kv; key++)
                if (reference_head_sees(live, &extras, of, query, key))
                    takes_part[keys ? key : query] = true;
    return takes_part;
}

/* What a pair's bias is where the band or a mask hides the key: it may be anything. */
static void fill_hidden_bias(struct tensors *tensors, enum tensors_fill fill) {
    const struct tensors_view *view = &tensors->view[TENSOR_BIAS];
    struct reference_extras extras = tensors_extras(tensors);
    extras.bias = NULL;
    if (!view->memory || !view->stride_head || !view->stride_row)
        return;
    for (cl_uint b = 0; b < view->batch; b++)
        for (cl_uint h = 0; h < view->heads; h++)
            for (cl_uint row = 0; row < view->rows; row++)
                for (cl_uint key = 0; key < view->dim; key++)
                    if (!reference_head_sees(&tensors->live, &extras, (size_t)b * view->heads + h,
                                             row, key))
                        fill_elements(view->memory, tensors_at(view, b, h, row, key),
                                      reference_type_size(view->type), fill);
}

void tensors_fill(struct tensors *tensors, enum tensors_fill fill) {
    for (size_t i = 0; i < tensors->memories; i++)
        fill_elements(&tensors->memory[i], 0, tensors->memory[i].bytes, fill);
    for (enum tensors_name name = 0; name < TENSOR_COUNT; name++) {
        const struct tensors_view *view = &tensors->view[name];
        if (!tensors_is_input(tensors, name))
            continue;
        const size_t bytes = blocks_row_bytes(view->type, view->dim);
        const unsigned char *stored = tensors->stored[name];
        bool *takes_part = NULL;
        /* A query that sees nothing but a sink has results, whose gradients matter. */
        const bool of_sink = name >= TENSOR_O && name <= TENSOR_D_LSE &&
                             tensors->what.desc.features & CLATTN_FEATURE_SINK;
        for (cl_uint b = 0; b < view->batch; b++)
            for (cl_uint h = 0; h < view->heads; h++) {
                if (!features[name])
                    takes_part = participants(tensors, is_of_keys(name), b, h);
                for (cl_uint row = 0; row < view->rows; row++, stored += bytes)
                    if (features[name] || takes_part[row] || (of_sink && name != TENSOR_D_O))
                        memcpy(view->memory->image + tensors_at(view, b, h, row, 0), stored, bytes);
                free(takes_part);
                takes_part = NULL;
            }
    }
    fill_hidden_bias(tensors, fill);
}

size_t tensors_at(const struct tensors_view *view, cl_uint batch, cl_uint head, cl_uint row,
                  cl_uint column) {
    size_t element =
        batch * view->stride_batch + head * view->stride_head + row * view->stride_row + column;
    return view->offset + blocks_row_bytes(view->type, element);
}

/* ---- The device ---- */

void tensors_upload(struct tensors *tensors, cl_command_queue queue, cl_event *events,
                    cl_uint *event_count) {
    *event_count = 0;
    for (size_t i = 0; i < tensors->memories; i++) {
        struct tensors_memory *memory = &tensors->memory[i];
        cl_event *event = &events[*event_count];
        cl_int status = CL_SUCCESS;
        if (!memory->bytes)
            continue;
        if (memory->svm)
            status = clEnqueueSVMMemcpy(queue, CL_FALSE, memory->svm, memory->image, memory->bytes,
                                        0, NULL, event);
        else
            status = clEnqueueWriteBuffer(queue, memory->buffer, CL_FALSE, 0, memory->bytes,
                                          memory->image, 0, NULL, event);
        assert_int_equal(status, CL_SUCCESS);
        ++*event_count;
    }
}

void tensors_download(struct tensors *tensors, cl_command_queue queue, cl_event done) {
    for (size_t i = 0; i < tensors->memories; i++) {
        struct tensors_memory *memory = &tensors->memory[i];
        cl_int status = CL_SUCCESS;
        if (!memory->bytes)
            continue;
        if (memory->svm)
            status = clEnqueueSVMMemcpy(queue, CL_TRUE, memory->result, memory->svm, memory->bytes,
                                        1, &done, NULL);
        else
            status = clEnqueueReadBuffer(queue, memory->buffer, CL_TRUE, 0, memory->bytes,
                                         memory->result, 1, &done, NULL);
        assert_int_equal(status, CL_SUCCESS);
    }
}

void tensors_arguments(const struct tensors *tensors, float scale, struct tensors_args *slots) {
    const struct tensors_desc *what = &tensors->what;
    const clattn_tensor initial = CLATTN_TENSOR_INIT;
    const clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    const clattn_backward_args backward = CLATTN_BACKWARD_ARGS_INIT;
    const clattn_tensor *given[TENSOR_COUNT] = {NULL};
    for (enum tensors_name name = 0; name < TENSOR_COUNT; name++) {
        const struct tensors_view *view = &tensors->view[name];
        clattn_tensor *tensor = &slots->tensor[name];
        *tensor = initial;
        if (!view->memory)
            continue;
        given[name] = tensor;
        tensor->buffer = view->memory->buffer;
        tensor->svm = view->memory->svm;
        tensor->offset = view->offset;
        tensor->stride_batch = (cl_long)view->stride_batch;
        tensor->stride_head = (cl_long)view->stride_head;
        tensor->stride_row = (cl_long)view->stride_row;
    }
    slots->args = args;
    slots->extras = (clattn_extras)CLATTN_EXTRAS_INIT;
    slots->extras.alibi = given[TENSOR_ALIBI];
    slots->extras.bias = given[TENSOR_BIAS];
    slots->extras.mask = given[TENSOR_MASK];
    slots->extras.sink = given[TENSOR_SINK];
    slots->extras.d_bias = given[TENSOR_D_BIAS];
    slots->extras.d_sink = given[TENSOR_D_SINK];
    slots->extras.lengths_kv = given[TENSOR_LENGTHS_KV];
    slots->args.extras = &slots->extras;
    slots->args.q = given[TENSOR_Q];
    slots->args.k = given[TENSOR_K];
    slots->args.v = given[TENSOR_V];
    slots->args.o = given[TENSOR_O];
    slots->args.lse = given[TENSOR_LSE];
    slots->args.scale = scale;
    if (what->batch != what->desc.batch)
        slots->args.batch = what->batch;
    if (what->seq_q != what->desc.seq_q)
        slots->args.seq_q = what->seq_q;
    if (what->seq_kv != what->desc.seq_kv)
        slots->args.seq_kv = what->seq_kv;
    if (tensors->workspace) {
        slots->args.workspace = tensors->workspace->buffer;
        slots->args.workspace_svm = tensors->workspace->svm;
        slots->args.workspace_offset = tensors->workspace->scratch_at;
    }
    slots->backward = backward;
    slots->backward.q = given[TENSOR_Q];
    slots->backward.k = given[TENSOR_K];
    slots->backward.v = given[TENSOR_V];
    slots->backward.o = given[TENSOR_O];
    slots->backward.lse = given[TENSOR_LSE];
    slots->backward.d_o = given[TENSOR_D_O];
    slots->backward.d_lse = given[TENSOR_D_LSE];
    slots->backward.d_q = given[TENSOR_D_Q];
    slots->backward.d_k = given[TENSOR_D_K];
    slots->backward.d_v = given[TENSOR_D_V];
    slots->backward.extras = slots->args.extras;
    slots->backward.scale = slots->args.scale;
    slots->backward.batch = slots->args.batch;
    slots->backward.seq_q = slots->args.seq_q;
    slots->backward.seq_kv = slots->args.seq_kv;
    slots->backward.workspace = slots->args.workspace;
    slots->backward.workspace_svm = slots->args.workspace_svm;
    slots->backward.workspace_offset = slots->args.workspace_offset;
}

/* ---- Results ---- */

/* Copies the live elements of a view: to dense, or to the same places in image. */
static size_t copy_live(const struct tensors_view *view, unsigned char *dense,
                        unsigned char *image) {
    size_t size = reference_type_size(view->type);
    size_t count = 0;
    for (cl_uint b = 0; view->memory && b < view->batch; b++)
        for (cl_uint h = 0; h < view->heads; h++)
            for (cl_uint row = 0; row < view->rows; row++, count += view->dim) {
                size_t at = tensors_at(view, b, h, row, 0);
                unsigned char *to = dense ? dense + count * size : image + at;
                memcpy(to, view->memory->result + at, view->dim * size);
            }
    return count;
}

void *tensors_take(const struct tensors *tensors, enum tensors_name name, size_t *count) {
    const struct tensors_view *view = &tensors->view[name];
    *count = (size_t)view->batch * view->heads * view->rows * view->dim;
    void *dense = malloc((*count + 1) * reference_type_size(view->type));
    assert_non_null(dense);
    copy_live(view, dense, NULL);
    return dense;
}

bool tensors_intact(const struct tensors *tensors) {
    for (size_t i = 0; i < tensors->memories; i++) {
        const struct tensors_memory *memory = &tensors->memory[i];
        if (!memory->bytes)
            continue;
        unsigned char *expected = malloc(memory->bytes);
        assert_non_null(expected);
        memcpy(expected, memory->image, memory->bytes);
        memcpy(expected + memory->scratch_at, memory->result + memory->scratch_at,
               memory->scratch_bytes);
        for (enum tensors_name name = 0; name < TENSOR_COUNT; name++)
            if (tensors->view[name].memory == memory && !tensors_is_input(tensors, name))
                copy_live(&tensors->view[name], NULL, expected);
        size_t at = 0;
        while (at < memory->bytes && expected[at] == memory->result[at])
            at++;
        if (at < memory->bytes)
            fprintf(stderr, "%s: byte %zu of %zu was 0x%02x and became 0x%02x\n", memory->name, at,
                    memory->bytes, expected[at], memory->result[at]);
        free(expected);
        if (at < memory->bytes)
            return false;
    }
    return true;
}
