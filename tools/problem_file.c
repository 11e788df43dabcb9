#include "problem_file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "outcome.h"
#include "safetensors.h"

/* What clattn.h offers. */
enum { MAX_HEAD_DIM = 512, INPUTS = 3, RANK = 4 };

static const struct {
    const char *name;
    clattn_type type;
    size_t size;
} dtypes[] = {{"F32", CLATTN_F32, 4}, {"F16", CLATTN_F16, 2}, {"BF16", CLATTN_BF16, 2}};

/* A tensor's lengths, whatever their order in the file. */
struct lengths {
    uint64_t batch, heads, rows, dim;
};

static int explain(int outcome, char why[PROBLEM_FILE_WHY], const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(why, PROBLEM_FILE_WHY, format, values);
    va_end(values);
    return outcome;
}

static int outcome_of_file(enum safetensors_status status) {
    return status == SAFETENSORS_OK      ? OUTCOME_DONE
           : status == SAFETENSORS_WRONG ? OUTCOME_WRONG_FILE
                                         : OUTCOME_FAILED;
}

static size_t size_of(clattn_type type) {
    size_t size = 0;
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        size = dtypes[i].type == type ? dtypes[i].size : size;
    }
    return size;
}

/* An index into dtypes; -1 for any other. */
static int find_dtype(const char *name) {
    for (int i = 0; i < (int)(sizeof dtypes / sizeof dtypes[0]); i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static const char *name_of(clattn_type type) {
    size_t i = 0;
    while (dtypes[i].type != type) {
        i++;
    }
    return dtypes[i].name;
}

static struct lengths lengths_of(const struct safetensors_tensor *tensor, bool bshd) {
    const uint64_t *shape = tensor->shape;
    return bshd ? (struct lengths){shape[0], shape[2], shape[1], shape[3]}
                : (struct lengths){shape[0], shape[1], shape[2], shape[3]};
}

/* NULL where there is none, or where it is ignored. */
static const struct safetensors_tensor *find(const struct problem_file *problem,
                                             const struct safetensors *st, const char *name) {
    for (size_t i = 0; i < problem->ignored_count; i++) {
        if (strcmp(problem->ignored[i], name) == 0) {
            return NULL;
        }
    }
    return safetensors_find(st, name);
}

/* Finds q, k and v; their ranks and types. */
static int find_inputs(const struct problem_file *problem, const struct safetensors *st,
                       const struct safetensors_tensor *inputs[], char why[PROBLEM_FILE_WHY]) {
    static const char *const names[INPUTS] = {"q", "k", "v"};
    for (int i = 0; i < INPUTS; i++) {
        inputs[i] = find(problem, st, names[i]);
        if (!inputs[i]) {
            return explain(OUTCOME_WRONG_FILE, why, "there is no tensor '%s'", names[i]);
        }
        if (inputs[i]->rank != RANK) {
            return explain(OUTCOME_WRONG_FILE, why, "%s has %zu dimensions, not 4", names[i],
                           inputs[i]->rank);
        }
    }
    for (int i = 0; i < INPUTS; i++) {
        if (find_dtype(inputs[i]->dtype) < 0) {
            return explain(OUTCOME_UNSUPPORTED, why,
                           "%s has the type '%.20s'; F32, F16 and BF16 are "
                           "supported",
                           names[i], inputs[i]->dtype);
        }
    }
    return OUTCOME_DONE;
}

/* Whether q, k and v belong together. */
static int match(struct lengths q, struct lengths k, struct lengths v, char why[PROBLEM_FILE_WHY]) {
    const struct {
        const char *what, *left_name, *right_name;
        uint64_t left, right;
    } pairs[] = {
        {"batches", "q", "k", q.batch, k.batch},     {"batches", "q", "v", q.batch, v.batch},
        {"heads", "k", "v", k.heads, v.heads},       {"rows", "k", "v", k.rows, v.rows},
        {"head dimensions", "q", "k", q.dim, k.dim},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i].left != pairs[i].right) {
            return explain(OUTCOME_WRONG_FILE, why,
                           "the %s of %s and %s differ: %" PRIu64 " and %" PRIu64, pairs[i].what,
                           pairs[i].left_name, pairs[i].right_name, pairs[i].left, pairs[i].right);
        }
    }
    if (k.heads == 0 || q.heads == 0 || q.heads % k.heads != 0) {
        return explain(OUTCOME_WRONG_FILE, why,
                       "q's %" PRIu64 " heads are not a multiple of k's %" PRIu64, q.heads,
                       k.heads);
    }
    if (q.dim == 0 || v.dim == 0) {
        return explain(OUTCOME_WRONG_FILE, why, "%s has head dimension 0", q.dim ? "v" : "q");
    }
    return OUTCOME_DONE;
}

static int fill_desc(clattn_desc *desc, struct lengths q, struct lengths k, struct lengths v,
                     char why[PROBLEM_FILE_WHY]) {
    const struct {
        const char *what;
        uint64_t value, most;
        cl_uint *field;
    } fields[] = {
        {"batch", q.batch, CL_UINT_MAX, &desc->batch},
        {"heads of q", q.heads, CL_UINT_MAX, &desc->heads_q},
        {"heads of k", k.heads, CL_UINT_MAX, &desc->heads_kv},
        {"rows of q", q.rows, CL_UINT_MAX, &desc->seq_q},
        {"rows of k", k.rows, CL_UINT_MAX, &desc->seq_kv},
        {"head dimension of q", q.dim, MAX_HEAD_DIM, &desc->head_dim},
        {"head dimension of v", v.dim, MAX_HEAD_DIM, &desc->head_dim_v},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (fields[i].value > fields[i].most) {
            return explain(OUTCOME_UNSUPPORTED, why,
                           "%s: %" PRIu64 " is over the %" PRIu64 " that is supported",
                           fields[i].what, fields[i].value, fields[i].most);
        }
        *fields[i].field = (cl_uint)fields[i].value;
    }
    return OUTCOME_DONE;
}

/* Strides, memory and size of a tensor of elements of `size` bytes.  Where there are
 * no elements the products may be anything: strides stay 0. */
static int make_tensor(struct execute_tensor *tensor, const char *name, struct lengths n, bool bshd,
                       size_t size, char why[PROBLEM_FILE_WHY]) {
    *tensor = (struct execute_tensor){.name = name, .layout = CLATTN_TENSOR_INIT};
    uint64_t bytes = size;
    const uint64_t factors[RANK] = {n.batch, n.heads, n.rows, n.dim};
    if (n.batch == 0 || n.heads == 0 || n.rows == 0) {
        return OUTCOME_DONE;
    }
    for (int i = 0; i < RANK; i++) {
        if (bytes > (uint64_t)INT64_MAX / factors[i]) {
            return explain(OUTCOME_UNSUPPORTED, why, "%s would have over 2^63 bytes", name);
        }
        bytes *= factors[i];
    }
    if (bshd) {
        tensor->layout = (clattn_tensor)CLATTN_TENSOR_BSHD(NULL, n.heads, n.rows, n.dim);
    } else {
        tensor->layout = (clattn_tensor)CLATTN_TENSOR_BHSD(NULL, n.heads, n.rows, n.dim);
    }
    tensor->data = bytes <= SIZE_MAX ? malloc((size_t)bytes) : NULL;
    if (!tensor->data) {
        return explain(OUTCOME_FAILED, why, "out of memory: %s takes %" PRIu64 " bytes", name,
                       bytes);
    }
    tensor->bytes = (size_t)bytes;
    return OUTCOME_DONE;
}

/* Of names that are ignored, each is one in the file. */
static int check_ignored(const struct problem_file *problem, const struct safetensors *st,
                         char why[PROBLEM_FILE_WHY]) {
    for (size_t i = 0; i < problem->ignored_count; i++) {
        if (!safetensors_find(st, problem->ignored[i])) {
            return explain(OUTCOME_USAGE, why, "--ignore: there is no tensor '%.40s'",
                           problem->ignored[i]);
        }
    }
    return OUTCOME_DONE;
}

/* do is shaped as o and of q's type; dlse as lse, and F32. */
static int check_gradient(const struct safetensors_tensor *tensor, const char *dtype, size_t rank,
                          struct lengths n, bool bshd, char why[PROBLEM_FILE_WHY]) {
    const uint64_t heads = bshd && rank == RANK ? n.rows : n.heads;
    const uint64_t rows = bshd && rank == RANK ? n.heads : n.rows;
    const uint64_t shape[RANK] = {n.batch, heads, rows, n.dim};
    if (tensor->rank != rank) {
        return explain(OUTCOME_WRONG_FILE, why, "%s has %zu dimensions, not %zu", tensor->name,
                       tensor->rank, rank);
    }
    for (size_t i = 0; i < rank; i++) {
        if (tensor->shape[i] != shape[i]) {
            return explain(OUTCOME_WRONG_FILE, why,
                           "%s: dimension %zu is %" PRIu64 ", and that of %s %" PRIu64,
                           tensor->name, i + 1, tensor->shape[i], tensor->name + 1, shape[i]);
        }
    }
    return strcmp(tensor->dtype, dtype) == 0
               ? OUTCOME_DONE
               : explain(OUTCOME_WRONG_FILE, why, "%s has the type '%.20s', not %s", tensor->name,
                         tensor->dtype, dtype);
}

static void list_unused(struct problem_file *problem, const struct safetensors *st) {
    size_t used = 0;
    for (size_t i = 0; i < st->count; i++) {
        const char *name = st->tensors[i].name;
        bool is_used = false;
        for (int t = 0; t < EXECUTE_TENSORS; t++) {
            is_used = is_used || (execute_reads(t) && problem->tensors[t].name &&
                                  strcmp(problem->tensors[t].name, name) == 0);
        }
        if (!is_used && used < sizeof problem->unused) {
            const int length = snprintf(problem->unused + used, sizeof problem->unused - used,
                                        "%s%s", used ? ", " : "", name);
            used += length > 0 ? (size_t)length : 0;
        }
    }
    if (used >= sizeof problem->unused) {
        memcpy(problem->unused + sizeof problem->unused - 4, "...", 4);
    }
    for (char *at = problem->unused; *at; at++) {
        *at = *at >= ' ' && *at <= '~' ? *at : '?';
    }
}

/* Reads a number for each of q's heads, if the file has that tensor. */
static int load_of_heads(struct problem_file *problem, const struct safetensors *st, int index,
                         const char *name, cl_ulong feature, char why[PROBLEM_FILE_WHY]) {
    const struct safetensors_tensor *given = find(problem, st, name);
    const uint64_t heads = problem->desc.heads_q;
    struct execute_tensor *tensor = &problem->tensors[index];
    if (!given) {
        return OUTCOME_DONE;
    }
    if (given->rank != 1 || given->shape[0] != heads) {
        return explain(OUTCOME_WRONG_FILE, why,
                       "%s is not one number for each of q's %" PRIu64 " heads", name, heads);
    }
    if (strcmp(given->dtype, "F32") != 0) {
        return explain(OUTCOME_UNSUPPORTED, why, "%s has the type '%.20s'; F32 is supported", name,
                       given->dtype);
    }
    const int outcome =
        make_tensor(tensor, name, (struct lengths){1, heads, 1, 1}, false, sizeof(cl_float), why);
    tensor->layout = (clattn_tensor)CLATTN_TENSOR_HEADS(NULL);
    problem->desc.features |= feature;
    return outcome == OUTCOME_DONE ? outcome_of_file(safetensors_read(st, given, tensor->data, why))
                                   : outcome;
}

/* Reads bias or mask, [B|1, Hq|1, Sq|1, Skv], if the file has that tensor. */
static int load_of_pairs(struct problem_file *problem, const struct safetensors *st, int index,
                         const char *name, cl_ulong feature, char why[PROBLEM_FILE_WHY]) {
    const struct safetensors_tensor *given = find(problem, st, name);
    clattn_desc *desc = &problem->desc;
    struct execute_tensor *tensor = &problem->tensors[index];
    const uint64_t wanted[RANK] = {desc->batch, desc->heads_q, desc->seq_q, desc->seq_kv};
    if (!given) {
        return OUTCOME_DONE;
    }
    for (size_t i = 0; i < RANK; i++) {
        if (given->rank != RANK ||
            (given->shape[i] != wanted[i] && (i + 1 == RANK || given->shape[i] != 1))) {
            return explain(OUTCOME_WRONG_FILE, why,
                           "%s is not [%" PRIu64 "|1, %" PRIu64 "|1, %" PRIu64 "|1, %" PRIu64 "]",
                           name, wanted[0], wanted[1], wanted[2], wanted[3]);
        }
    }
    const bool bytes = index == EXECUTE_MASK;
    const int dtype = find_dtype(given->dtype);
    const bool is_bytes = strcmp(given->dtype, "BOOL") == 0 || strcmp(given->dtype, "U8") == 0;
    if (bytes ? !is_bytes : dtype < 0) {
        return explain(OUTCOME_UNSUPPORTED, why, "%s has the type '%.20s'; %s supported", name,
                       given->dtype, bytes ? "BOOL and U8 are" : "F32, F16 and BF16 are");
    }
    const struct lengths n = {given->shape[0], given->shape[1], given->shape[2], given->shape[3]};
    const int outcome =
        desc->seq_kv ? make_tensor(tensor, name, n, false, bytes ? 1 : dtypes[dtype].size, why)
                     : OUTCOME_DONE;
    tensor->name = name;
    tensor->layout = (clattn_tensor)CLATTN_TENSOR_BHSD(NULL, n.heads, n.rows, n.dim);
    tensor->layout.stride_batch *= n.batch > 1;
    tensor->layout.stride_head *= n.heads > 1;
    tensor->layout.stride_row *= n.rows > 1;
    desc->features |= feature;
    desc->type_bias = bytes ? desc->type_bias : dtypes[dtype].type;
    return outcome == OUTCOME_DONE && tensor->data
               ? outcome_of_file(safetensors_read(st, given, tensor->data, why))
               : outcome;
}

static int load_extras(struct problem_file *problem, const struct safetensors *st,
                       char why[PROBLEM_FILE_WHY]) {
    static const struct {
        int (*load)(struct problem_file *, const struct safetensors *, int, const char *, cl_ulong,
                    char why[PROBLEM_FILE_WHY]);
        int index;
        const char *name;
        cl_ulong feature;
    } all[] = {{load_of_heads, EXECUTE_ALIBI, "alibi", CLATTN_FEATURE_ALIBI},
               {load_of_pairs, EXECUTE_BIAS, "bias", CLATTN_FEATURE_BIAS},
               {load_of_pairs, EXECUTE_MASK, "mask", CLATTN_FEATURE_MASK},
               {load_of_heads, EXECUTE_SINK, "sink", CLATTN_FEATURE_SINK}};
    int outcome = OUTCOME_DONE;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && outcome == OUTCOME_DONE; i++) {
        outcome = all[i].load(problem, st, all[i].index, all[i].name, all[i].feature, why);
    }
    return outcome;
}

static int load(struct problem_file *problem, const struct safetensors *st,
                char why[PROBLEM_FILE_WHY]) {
    static const char *const names[EXECUTE_TENSORS] = {
        [EXECUTE_Q] = "q",     [EXECUTE_K] = "k",    [EXECUTE_V] = "v",    [EXECUTE_O] = "o",
        [EXECUTE_LSE] = "lse", [EXECUTE_D_O] = "do", [EXECUTE_D_Q] = "dq", [EXECUTE_D_LSE] = "dlse",
        [EXECUTE_D_K] = "dk",  [EXECUTE_D_V] = "dv",
    };
    const struct safetensors_tensor *inputs[EXECUTE_TENSORS] = {NULL};
    int outcome = check_ignored(problem, st, why);
    if (outcome == OUTCOME_DONE) {
        outcome = find_inputs(problem, st, inputs, why);
    }
    if (outcome != OUTCOME_DONE) {
        return outcome;
    }
    struct lengths n[EXECUTE_TENSORS];
    for (int i = 0; i < INPUTS; i++) {
        n[i] = lengths_of(inputs[i], problem->bshd);
    }
    n[EXECUTE_O] = n[EXECUTE_LSE] = n[EXECUTE_Q];
    n[EXECUTE_O].dim = n[EXECUTE_V].dim;
    n[EXECUTE_LSE].dim = 1;
    n[EXECUTE_D_O] = n[EXECUTE_O];
    n[EXECUTE_D_LSE] = n[EXECUTE_LSE];
    for (int i = 0; i < INPUTS; i++) {
        n[EXECUTE_D_Q + i] = n[i];
    }
    outcome = match(n[EXECUTE_Q], n[EXECUTE_K], n[EXECUTE_V], why);
    if (outcome == OUTCOME_DONE) {
        outcome = fill_desc(&problem->desc, n[EXECUTE_Q], n[EXECUTE_K], n[EXECUTE_V], why);
    }
    clattn_type types[EXECUTE_TENSORS] = {[EXECUTE_LSE] = CLATTN_F32, [EXECUTE_D_LSE] = CLATTN_F32};
    for (int i = 0; i < INPUTS; i++) {
        types[i] = types[EXECUTE_D_Q + i] = dtypes[find_dtype(inputs[i]->dtype)].type;
    }
    types[EXECUTE_O] = problem->output_type ? problem->output_type : types[EXECUTE_Q];
    types[EXECUTE_D_O] = types[EXECUTE_O];
    problem->desc.type = types[EXECUTE_Q];
    problem->desc.type_k = types[EXECUTE_K];
    problem->desc.type_v = types[EXECUTE_V];
    problem->desc.type_o = types[EXECUTE_O];
    inputs[EXECUTE_D_O] = find(problem, st, "do");
    problem->backward = inputs[EXECUTE_D_O] != NULL;
    inputs[EXECUTE_D_LSE] = problem->backward ? find(problem, st, "dlse") : NULL;
    if (inputs[EXECUTE_D_O] && outcome == OUTCOME_DONE) {
        outcome = check_gradient(inputs[EXECUTE_D_O], name_of(types[EXECUTE_O]), RANK,
                                 n[EXECUTE_D_O], problem->bshd, why);
    }
    if (inputs[EXECUTE_D_LSE] && outcome == OUTCOME_DONE) {
        outcome = check_gradient(inputs[EXECUTE_D_LSE], "F32", RANK - 1, n[EXECUTE_D_LSE],
                                 problem->bshd, why);
    }
    for (int i = 0; i < EXECUTE_TENSORS && outcome == OUTCOME_DONE; i++) {
        const bool lse = i == EXECUTE_LSE || i == EXECUTE_D_LSE;
        const bool is_there = i <= EXECUTE_LSE || inputs[i] ||
                              (i >= EXECUTE_D_Q && i <= EXECUTE_D_V && problem->backward);
        if (is_there) {
            outcome = make_tensor(&problem->tensors[i], names[i], n[i], problem->bshd && !lse,
                                  size_of(types[i]), why);
        }
    }
    for (int i = 0; i < EXECUTE_TENSORS && outcome == OUTCOME_DONE; i++) {
        if (inputs[i]) {
            outcome =
                outcome_of_file(safetensors_read(st, inputs[i], problem->tensors[i].data, why));
        }
    }
    if (outcome == OUTCOME_DONE) {
        outcome = load_extras(problem, st, why);
    }
    list_unused(problem, st);
    return outcome;
}

int problem_file_load(struct problem_file *problem, const char *path, char why[PROBLEM_FILE_WHY]) {
    struct safetensors st = SAFETENSORS_INIT;
    problem->desc = (clattn_desc)CLATTN_DESC_INIT;
    int outcome = outcome_of_file(safetensors_open(&st, path, why));
    if (outcome == OUTCOME_DONE) {
        outcome = load(problem, &st, why);
    }
    safetensors_close(&st);
    return outcome;
}

int problem_file_store(const struct problem_file *problem, const char *path,
                       char why[PROBLEM_FILE_WHY]) {
    const clattn_desc *desc = &problem->desc;
    const struct execute_tensor *t = problem->tensors;
    const bool bshd = problem->bshd;
    const uint64_t batch = desc->batch, heads = desc->heads_q, heads_kv = desc->heads_kv;
    const uint64_t rows = desc->seq_q, rows_kv = desc->seq_kv;
    const uint64_t first = bshd ? rows : heads, second = bshd ? heads : rows;
    const uint64_t first_kv = bshd ? rows_kv : heads_kv, second_kv = bshd ? heads_kv : rows_kv;
    /* The wider type first: each tensor is then aligned to its elements. */
    struct safetensors_tensor outputs[] = {
        {.name = "lse",
         .dtype = "F32",
         .rank = 3,
         .shape = {batch, heads, rows},
         .data = t[EXECUTE_LSE].data},
        {.name = "o",
         .dtype = name_of(desc->type_o),
         .rank = 4,
         .shape = {batch, first, second, desc->head_dim_v},
         .data = t[EXECUTE_O].data},
        {.name = "dq",
         .dtype = name_of(desc->type),
         .rank = 4,
         .shape = {batch, first, second, desc->head_dim},
         .data = t[EXECUTE_D_Q].data},
        {.name = "dk",
         .dtype = name_of(desc->type_k),
         .rank = 4,
         .shape = {batch, first_kv, second_kv, desc->head_dim},
         .data = t[EXECUTE_D_K].data},
        {.name = "dv",
         .dtype = name_of(desc->type_v),
         .rank = 4,
         .shape = {batch, first_kv, second_kv, desc->head_dim_v},
         .data = t[EXECUTE_D_V].data},
    };
    return outcome_of_file(safetensors_write(path, outputs, problem->backward ? 5 : 2, why));
}

void problem_file_destroy(struct problem_file *problem) {
    for (int i = 0; i < EXECUTE_TENSORS; i++) {
        free(problem->tensors[i].data);
    }
    *problem = (struct problem_file){.bshd = problem->bshd, .output_type = problem->output_type};
}
