#include "operand.h"

#include <assert.h>
#include <string.h>

static struct operand_shape of_queries(const struct problem *p, const struct operand_lengths *n,
                                       cl_uint width, cl_uint element_size) {
    return (struct operand_shape){n->batch, p->heads_q, n->seq_q, width, element_size};
}

static struct operand_shape of_keys(const struct problem *p, const struct operand_lengths *n,
                                    cl_uint width) {
    return (struct operand_shape){n->batch, p->heads_kv, n->seq_kv, width, problem_element_size(p)};
}

static struct operand_shape shape_q(const struct problem *p, const struct operand_lengths *n) {
    return of_queries(p, n, p->head_dim, problem_element_size(p));
}

static struct operand_shape shape_k(const struct problem *p, const struct operand_lengths *n) {
    return of_keys(p, n, p->head_dim);
}

static struct operand_shape shape_v(const struct problem *p, const struct operand_lengths *n) {
    return of_keys(p, n, p->head_dim_v);
}

static struct operand_shape shape_o(const struct problem *p, const struct operand_lengths *n) {
    return of_queries(p, n, p->head_dim_v, problem_element_size(p));
}

static struct operand_shape shape_lse(const struct problem *p, const struct operand_lengths *n) {
    return of_queries(p, n, 1, sizeof(cl_float));
}

const struct operand operands_table[OPERANDS] = {
    [OPERAND_Q] = {"q", "element", false, shape_q},
    [OPERAND_K] = {"k", "element", false, shape_k},
    [OPERAND_V] = {"v", "element", false, shape_v},
    [OPERAND_O] = {"o", "element", false, shape_o},
    [OPERAND_LSE] = {"lse", "float", true, shape_lse},
};

static size_t index_of(const char *word, size_t length) {
    size_t i = 0;
    while (i < OPERANDS && !text_is(word, length, operands_table[i].name)) {
        i++;
    }
    assert(i < OPERANDS || text_is(word, length, "workspace"));
    return i;
}

cl_uint operand_set(const char *words) {
    cl_uint set = 0;
    const char *at = words, *word;
    for (size_t length; at && (length = text_word(&at, &word)) > 0;) {
        set |= OPERAND_BIT(index_of(word, length));
    }
    return set;
}
