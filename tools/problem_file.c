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

static struct lengths lengths_of(const struct safetensors_tensor *tensor, bool bshd) {
    const uint64_t *shape = tensor->shape;
    return bshd ? (struct lengths){shape[0], shape[2], shape[1], shape[3]}
                : (struct lengths){shape[0], shape[1], shape[2], shape[3]};
}

/* Finds q, k and v; their ranks and types. */
static int find_inputs(const struct safetensors *st,
                       const struct safetensors_tensor *inputs[INPUTS],
                       char why[PROBLEM_FILE_WHY]) {
    static const char *const names[INPUTS] = {"q", "k", "v"};
    for (int i = 0; i < INPUTS; i++) {
        inputs[i] = safetensors_find(st, names[i]);
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

/* Reads the slopes of ALiBi, if the file has any. */
static int load_alibi(struct problem_file *problem, const struct safetensors *st,
                      char why[PROBLEM_FILE_WHY]) {
    const struct safetensors_tensor *slopes = safetensors_find(st, "alibi");
    const uint64_t heads = problem->desc.heads_q;
    struct execute_tensor *tensor = &problem->tensors[PROBLEM_ALIBI];
    if (!slopes) {
        return OUTCOME_DONE;
    }
    if (slopes->rank != 1 || slopes->shape[0] != heads) {
        return explain(OUTCOME_WRONG_FILE, why,
                       "alibi is not one slope for each of q's %" PRIu64 " heads", heads);
    }
    if (strcmp(slopes->dtype, "F32") != 0) {
        return explain(OUTCOME_UNSUPPORTED, why, "alibi has the type '%.20s'; F32 is supported",
                       slopes->dtype);
    }
    const int outcome = make_tensor(tensor, "alibi", (struct lengths){1, heads, 1, 1}, false,
                                    sizeof(cl_float), why);
    tensor->layout = (clattn_tensor)CLATTN_TENSOR_HEADS(NULL);
    problem->desc.features = CLATTN_FEATURE_ALIBI;
    return outcome == OUTCOME_DONE
               ? outcome_of_file(safetensors_read(st, slopes, tensor->data, why))
               : outcome;
}

static int load(struct problem_file *problem, const struct safetensors *st,
                char why[PROBLEM_FILE_WHY]) {
    const struct safetensors_tensor *inputs[INPUTS];
    int outcome = find_inputs(st, inputs, why);
    if (outcome != OUTCOME_DONE) {
        return outcome;
    }
    struct lengths n[EXECUTE_TENSORS];
    for (int i = 0; i < INPUTS; i++) {
        n[i] = lengths_of(inputs[i], problem->bshd);
    }
    n[PROBLEM_O] = n[PROBLEM_LSE] = n[PROBLEM_Q];
    n[PROBLEM_O].dim = n[PROBLEM_V].dim;
    n[PROBLEM_LSE].dim = 1;
    outcome = match(n[PROBLEM_Q], n[PROBLEM_K], n[PROBLEM_V], why);
    if (outcome == OUTCOME_DONE) {
        outcome = fill_desc(&problem->desc, n[PROBLEM_Q], n[PROBLEM_K], n[PROBLEM_V], why);
    }
    clattn_type types[EXECUTE_TENSORS] = {[PROBLEM_LSE] = CLATTN_F32};
    for (int i = 0; i < INPUTS; i++) {
        types[i] = dtypes[find_dtype(inputs[i]->dtype)].type;
    }
    types[PROBLEM_O] = problem->output_type ? problem->output_type : types[PROBLEM_Q];
    problem->desc.type = types[PROBLEM_Q];
    problem->desc.type_k = types[PROBLEM_K];
    problem->desc.type_v = types[PROBLEM_V];
    problem->desc.type_o = types[PROBLEM_O];
    static const char *const names[EXECUTE_TENSORS] = {[PROBLEM_Q] = "q",
                                                       [PROBLEM_K] = "k",
                                                       [PROBLEM_V] = "v",
                                                       [PROBLEM_O] = "o",
                                                       [PROBLEM_LSE] = "lse"};
    for (int i = 0; i < EXECUTE_TENSORS && outcome == OUTCOME_DONE; i++) {
        bool lse = i == PROBLEM_LSE;
        if (!names[i]) {
            continue;
        }
        outcome = make_tensor(&problem->tensors[i], names[i], n[i], problem->bshd && !lse,
                              size_of(types[i]), why);
    }
    for (int i = 0; i < INPUTS && outcome == OUTCOME_DONE; i++) {
        outcome = outcome_of_file(safetensors_read(st, inputs[i], problem->tensors[i].data, why));
    }
    return outcome == OUTCOME_DONE ? load_alibi(problem, st, why) : outcome;
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
    const char *dtype = "";
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        dtype = dtypes[i].type == desc->type_o ? dtypes[i].name : dtype;
    }
    uint64_t heads = desc->heads_q, rows = desc->seq_q;
    /* The wider type first: each tensor is then aligned to its elements. */
    struct safetensors_tensor outputs[] = {
        {.name = "lse",
         .dtype = "F32",
         .rank = 3,
         .shape = {desc->batch, heads, rows},
         .data = problem->tensors[PROBLEM_LSE].data},
        {.name = "o",
         .dtype = dtype,
         .rank = 4,
         .shape = {desc->batch, problem->bshd ? rows : heads, problem->bshd ? heads : rows,
                   desc->head_dim_v},
         .data = problem->tensors[PROBLEM_O].data},
    };
    return outcome_of_file(safetensors_write(path, outputs, 2, why));
}

void problem_file_destroy(struct problem_file *problem) {
    for (int i = 0; i < EXECUTE_TENSORS; i++) {
        free(problem->tensors[i].data);
    }
    *problem = (struct problem_file){.bshd = problem->bshd, .output_type = problem->output_type};
}
