#include "operand.h"

#include <assert.h>
#include <string.h>

#include "feature.h"

static struct operand_shape of_queries(const struct problem *p, const struct operand_lengths *n,
                                       cl_uint width, clattn_type type) {
    return (struct operand_shape){n->batch, p->heads_q, n->seq_q, width, type};
}

static struct operand_shape of_keys(const struct problem *p, const struct operand_lengths *n,
                                    cl_uint width, clattn_type type) {
    return (struct operand_shape){n->batch, p->heads_kv, n->seq_kv, width, type};
}

static struct operand_shape shape_q(const struct problem *p, const struct operand_lengths *n) {
    return of_queries(p, n, p->head_dim, p->type);
}

static struct operand_shape shape_k(const struct problem *p, const struct operand_lengths *n) {
    return of_keys(p, n, p->head_dim, p->type_k);
}

static struct operand_shape shape_v(const struct problem *p, const struct operand_lengths *n) {
    return of_keys(p, n, p->head_dim_v, p->type_v);
}

static struct operand_shape shape_o(const struct problem *p, const struct operand_lengths *n) {
    return of_queries(p, n, p->head_dim_v, p->type_o);
}

static struct operand_shape shape_lse(const struct problem *p, const struct operand_lengths *n) {
    return of_queries(p, n, 1, CLATTN_F32);
}

/* A result that a merge joins with another one. */
static struct operand_shape shape_part(const struct problem *p, const struct operand_lengths *n) {
    return of_queries(p, n, p->head_dim_v, p->type);
}

static struct operand_shape shape_d_q(const struct problem *p, const struct operand_lengths *n) {
    return of_queries(p, n, p->head_dim, p->type_d ? p->type_d : p->type);
}

static struct operand_shape shape_d_k(const struct problem *p, const struct operand_lengths *n) {
    return of_keys(p, n, p->head_dim, p->type_d ? p->type_d : p->type_k);
}

static struct operand_shape shape_d_v(const struct problem *p, const struct operand_lengths *n) {
    return of_keys(p, n, p->head_dim_v, p->type_d ? p->type_d : p->type_v);
}

/* A number for each query head. */
static struct operand_shape shape_heads(const struct problem *p, const struct operand_lengths *n) {
    return (struct operand_shape){n->batch, p->heads_q, 1, 1, CLATTN_F32};
}

static struct operand_shape of_pairs(const struct problem *p, const struct operand_lengths *n,
                                     clattn_type type) {
    return (struct operand_shape){n->batch, p->heads_q, n->seq_q, n->seq_kv, type};
}

static struct operand_shape shape_bias(const struct problem *p, const struct operand_lengths *n) {
    return of_pairs(p, n, p->type_bias ? p->type_bias : p->type);
}

static struct operand_shape shape_d_bias(const struct problem *p, const struct operand_lengths *n) {
    const clattn_type own = p->type_bias ? p->type_bias : p->type;
    return of_pairs(p, n, p->type_d ? p->type_d : own);
}

static struct operand_shape shape_mask(const struct problem *p, const struct operand_lengths *n) {
    return of_pairs(p, n, PROBLEM_BYTE);
}

const struct operand operands_table[] = {
    [OPERAND_Q] = {"q", shape_q, 0, false, 0, false},
    [OPERAND_K] = {"k", shape_k, 0, false, 0, false},
    [OPERAND_V] = {"v", shape_v, 0, false, 0, false},
    [OPERAND_O] = {"o", shape_o, 0, false, 0, false},
    [OPERAND_LSE] = {"lse", shape_lse, 0, false, 0, false},
    [OPERAND_D_O] = {"d_o", shape_o, 0, false, 0, false},
    [OPERAND_D_LSE] = {"d_lse", shape_lse, 0, false, 0, false},
    [OPERAND_D_Q] = {"d_q", shape_d_q, 0, false, 0, false},
    [OPERAND_D_K] = {"d_k", shape_d_k, 0, false, 0, false},
    [OPERAND_D_V] = {"d_v", shape_d_v, 0, false, 0, false},
    [OPERAND_O_1] = {"o_1", shape_part, 0, false, 0, false},
    [OPERAND_LSE_1] = {"lse_1", shape_lse, 0, false, 0, false},
    [OPERAND_O_2] = {"o_2", shape_part, 0, false, 0, false},
    [OPERAND_LSE_2] = {"lse_2", shape_lse, 0, false, 0, false},
    {"alibi", shape_heads, CLATTN_FEATURE_ALIBI, false, offsetof(clattn_extras, alibi), false},
    {"bias", shape_bias, CLATTN_FEATURE_BIAS, false, offsetof(clattn_extras, bias), false},
    {"mask", shape_mask, CLATTN_FEATURE_MASK, false, offsetof(clattn_extras, mask), false},
    {"sink", shape_heads, CLATTN_FEATURE_SINK, false, offsetof(clattn_extras, sink), false},
    {"d_bias", shape_d_bias, CLATTN_FEATURE_BIAS, true, offsetof(clattn_extras, d_bias), true},
    {"d_sink", shape_heads, CLATTN_FEATURE_SINK, true, offsetof(clattn_extras, d_sink), true},
};
const size_t operands_count = sizeof operands_table / sizeof *operands_table;
_Static_assert(sizeof operands_table / sizeof *operands_table <= OPERANDS, "room for all");

clattn_type operand_type(const struct operand *operand, const struct problem *p) {
    static const struct operand_lengths none = {0, 0, 0};
    return operand->shape(p, &none).type;
}

static size_t index_of(const char *word, size_t length) {
    size_t i = 0;
    while (i < operands_count && !text_is(word, length, operands_table[i].name)) {
        i++;
    }
    assert(i < operands_count || text_is(word, length, "workspace"));
    return i < operands_count ? i : OPERAND_WORKSPACE;
}

static cl_int refuse_extra(const struct operand *o, const char *what, struct status *status) {
    struct text word = {0};
    problem_format_features(o->feature, &word);
    status_set(status, CLATTN_INVALID_ARGS, "args: extras: %s is %s the feature%s", o->name, what,
               text_chars(&word));
    text_destroy(&word);
    return status->code;
}

cl_int operand_take_extras(const struct operand *table, size_t count, cl_ulong features,
                           const void *extras, const clattn_tensor **given, cl_uint *taken,
                           struct status *status) {
    *taken = 0;
    for (size_t i = 0; i < count; i++) {
        const struct operand *o = &table[i];
        if (!o->feature) {
            continue;
        }
        memcpy(&given[i], (const unsigned char *)extras + o->extra, sizeof given[i]);
        if (given[i] && !(features & o->feature)) {
            return refuse_extra(o, "given, but the plan was made without", status);
        }
        if (!given[i] && (features & o->feature) && !o->optional) {
            return refuse_extra(o, "NULL, but the plan was made with", status);
        }
        *taken |= (cl_uint)(given[i] != NULL) << i;
    }
    return CL_SUCCESS;
}

cl_uint operand_set_of_features(cl_ulong features) {
    cl_uint set = OPERAND_BIT(OPERAND_WORKSPACE);
    for (size_t i = 0; i < operands_count; i++) {
        const cl_ulong feature = operands_table[i].feature;
        set |= !feature || (feature & features) ? OPERAND_BIT(i) : 0;
    }
    return set;
}

cl_uint operand_gradients(void) {
    cl_uint set = 0;
    for (size_t i = 0; i < operands_count; i++) {
        set |= operands_table[i].gradient ? OPERAND_BIT(i) : 0;
    }
    return set;
}

cl_uint operand_set(const char *words) {
    cl_uint set = 0;
    const char *at = words, *word;
    for (size_t length; at && (length = text_word(&at, &word)) > 0;) {
        set |= text_is(word, length, "scores")
                   ? operand_set_of_features(feature_scored()) & ~operand_set_of_features(0) &
                         ~operand_gradients()
                   : OPERAND_BIT(index_of(word, length));
    }
    return set;
}
