/* One case of a backward plan: launches, and what their outputs must be. */
#include "backward.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gradients.h"
#include "reference.h"

static const enum tensors_name outputs[GRADIENTS] = {
    [GRADIENT_Q] = TENSOR_D_Q, [GRADIENT_K] = TENSOR_D_K, [GRADIENT_V] = TENSOR_D_V};
static const char *const names[GRADIENTS] = {"d_q", "d_k", "d_v"};

struct outcome {
    unsigned char *of[GRADIENTS]; /* dense, as stored */
    size_t count[GRADIENTS];
};

struct run {
    const struct attention_case *given;
    struct tensors tensors;
    struct outcome clean;
};

/* ---- One launch ---- */

static void outcome_free(struct outcome *outcome) {
    for (int i = 0; i < GRADIENTS; i++)
        free(outcome->of[i]);
    *outcome = (struct outcome){0};
}

/* Runs what the images hold, without the gradients whose bit is not in `wanted`.  False when a byte
 * was written that is not the outputs'; outcome is to be freed either way. */
static bool launch(struct run *run, unsigned wanted, struct outcome *outcome) {
    cl_command_queue queue = run->given->queue;
    cl_event uploads[TENSORS_MEMORIES], done = NULL;
    cl_uint upload_count;
    struct tensors_args slots;
    tensors_upload(&run->tensors, queue, uploads, &upload_count);
    tensors_arguments(&run->tensors, run->given->scale, &slots);
    const clattn_tensor **const members[GRADIENTS] = {&slots.backward.d_q, &slots.backward.d_k,
                                                      &slots.backward.d_v};
    for (int i = 0; i < GRADIENTS; i++)
        if (!(wanted >> i & 1))
            *members[i] = NULL;
    cl_int status = clattn_enqueue_backward(run->given->plan, queue, &slots.backward, upload_count,
                                            upload_count ? uploads : NULL, &done);
    if (status != CL_SUCCESS)
        fail_msg("enqueue: %s", clattn_status_name(status));
    assert_int_equal(clWaitForEvents(1, &done), CL_SUCCESS);
    tensors_download(&run->tensors, queue, done);
    clReleaseEvent(done);
    for (cl_uint i = 0; i < upload_count; i++)
        clReleaseEvent(uploads[i]);
    for (int i = 0; i < GRADIENTS; i++)
        outcome->of[i] = tensors_take(&run->tensors, outputs[i], &outcome->count[i]);
    return tensors_intact(&run->tensors);
}

static bool close_to_reference(struct run *run, struct compare_gradients *result) {
    const clattn_desc *desc = &run->tensors.live;
    float *const *data = run->tensors.data;
    const struct gradients_inputs in = {data[TENSOR_Q],
                                        data[TENSOR_K],
                                        data[TENSOR_V],
                                        data[TENSOR_D_O],
                                        run->tensors.what.lse ? data[TENSOR_D_LSE] : NULL,
                                        tensors_extras(&run->tensors)};
    struct gradient expected[GRADIENTS];
    float *given[GRADIENTS];
    gradients_make(desc, run->given->scale, &in, expected);
    for (int i = 0; i < GRADIENTS; i++) {
        const clattn_type type = run->tensors.view[outputs[i]].type;
        assert_int_equal(expected[i].count, run->clean.count[i]);
        assert_int_equal(expected[i].type, type);
        given[i] = malloc((expected[i].count + 1) * sizeof(float));
        assert_non_null(given[i]);
        for (size_t j = 0; j < expected[i].count; j++)
            given[i][j] =
                (float)reference_decode(type, run->clean.of[i] + j * reference_type_size(type));
    }
    const float *const compared[GRADIENTS] = {given[0], given[1], given[2]};
    bool ok = compare_backward(expected, compared, result);
    if (!run->given->demands.ill_rows && result->ill_rows) {
        fprintf(stderr, "%zu of %zu rows are ill-conditioned\n", result->ill_rows, result->rows);
        ok = false;
    }
    for (int i = 0; i < GRADIENTS; i++)
        free(given[i]);
    gradients_free(expected);
    return ok;
}

/* Is an output the sum of `value` over its dimensions of stride 0?  All are [batch, heads, rows,
 * dim] of the view, dense. */
static bool is_sum(const struct run *run, enum tensors_name name, const double *value,
                   const double *moves, const double *terms) {
    const struct tensors_view *view = &run->tensors.view[name];
    if (!view->memory)
        return true;
    for (cl_uint b = 0; b < (view->stride_batch ? view->batch : 1); b++)
        for (cl_uint h = 0; h < (view->stride_head ? view->heads : 1); h++)
            for (cl_uint row = 0; row < (view->stride_row ? view->rows : 1); row++)
                for (cl_uint d = 0; d < view->dim; d++) {
                    const size_t last[] = {view->stride_batch ? b + 1 : view->batch,
                                           view->stride_head ? h + 1 : view->heads,
                                           view->stride_row ? row + 1 : view->rows};
                    double sum = 0, move = 0, all = 0;
                    for (size_t i = b; i < last[0]; i++)
                        for (size_t j = h; j < last[1]; j++)
                            for (size_t k = row; k < last[2]; k++) {
                                const size_t at =
                                    ((i * view->heads + j) * view->rows + k) * view->dim + d;
                                sum += value[at];
                                move += moves[at];
                                all += terms[at];
                            }
                    const double got = reference_decode(
                        view->type, view->memory->result + tensors_at(view, b, h, row, d));
                    const double bound = all == 0
                                             ? 0
                                             : move + 4 * 0x1p-24 * all +
                                                   reference_ulp(view->type, fabs(sum) + move) / 2;
                    if (!(fabs(got - sum) <= bound)) {
                        fprintf(stderr, "%s [%u, %u, %u, %u] is %.9g, expected %.9g, bound %.3g\n",
                                view->memory->name, b, h, row, d, got, sum, bound);
                        return false;
                    }
                }
    return true;
}

/* d_bias and d_sink of the last launch. */
static bool extras_close(struct run *run) {
    const clattn_desc *desc = &run->tensors.live;
    float *const *data = run->tensors.data;
    if (!(desc->features & (CLATTN_FEATURE_BIAS | CLATTN_FEATURE_SINK)))
        return true;
    const struct gradients_inputs in = {data[TENSOR_Q],
                                        data[TENSOR_K],
                                        data[TENSOR_V],
                                        data[TENSOR_D_O],
                                        run->tensors.what.lse ? data[TENSOR_D_LSE] : NULL,
                                        tensors_extras(&run->tensors)};
    struct gradients_extras expected;
    gradients_make_extras(desc, run->given->scale, &in, &expected);
    const bool close =
        is_sum(run, TENSOR_D_BIAS, expected.bias, expected.bias_moves, expected.bias_terms) &&
        is_sum(run, TENSOR_D_SINK, expected.sink, expected.sink_moves, expected.sink_terms);
    gradients_free_extras(&expected);
    return close;
}

/* ---- Same bits ---- */

/* Where a row of gradient i stands. */
static void report(const struct run *run, const char *what, int i, size_t row,
                   const char *expected) {
    const struct tensors_view *view = &run->tensors.view[outputs[i]];
    const size_t head = row / view->rows;
    fprintf(stderr, "%s: %s of [batch %zu, head %zu, row %zu] is not %s\n", what, names[i],
            head / view->heads, head % view->heads, row % view->rows, expected);
}

static bool row_is_same(const struct run *run, const struct outcome *outcome, int i, size_t row) {
    const struct tensors_view *view = &run->tensors.view[outputs[i]];
    const size_t bytes = view->dim * reference_type_size(view->type);
    return memcmp(outcome->of[i] + row * bytes, run->clean.of[i] + row * bytes, bytes) == 0;
}

static bool same_bits(struct run *run, enum tensors_fill fill, unsigned wanted, const char *what) {
    struct outcome outcome;
    tensors_fill(&run->tensors, fill);
    bool ok = launch(run, wanted, &outcome);
    if (!ok)
        fprintf(stderr, "%s\n", what);
    for (int i = 0; i < GRADIENTS; i++) {
        const struct tensors_view *view = &run->tensors.view[outputs[i]];
        const size_t rows = view->dim ? outcome.count[i] / view->dim : 0;
        for (size_t row = 0; ok && wanted >> i & 1 && row < rows; row++)
            if (!row_is_same(run, &outcome, i, row)) {
                report(run, what, i, row, "the bits of the clean run");
                ok = false;
            }
    }
    outcome_free(&outcome);
    return ok;
}

/* ---- One bad element ---- */

static const enum tensors_name spoilt[] = {TENSOR_Q,   TENSOR_K,   TENSOR_V,    TENSOR_O,
                                           TENSOR_LSE, TENSOR_D_O, TENSOR_D_LSE};

/* A query and a key in the middle that see one another. */
static bool find_pair(const struct run *run, size_t head, cl_uint *query, cl_uint *key) {
    const clattn_desc *desc = &run->tensors.live;
    const struct reference_extras extras = tensors_extras(&run->tensors);
    for (cl_uint i = 0; i < desc->seq_q; i++)
        for (cl_uint j = 0; j < desc->seq_kv; j++) {
            *query = (desc->seq_q / 2 + i) % desc->seq_q;
            *key = (desc->seq_kv / 2 + j) % desc->seq_kv;
            if (reference_head_sees(desc, &extras, head, *query, *key))
                return true;
        }
    return false;
}

static bool has_nan(const struct run *run, const struct outcome *outcome, int i, size_t row) {
    const struct tensors_view *view = &run->tensors.view[outputs[i]];
    const size_t size = reference_type_size(view->type);
    bool nan = false;
    for (size_t d = row * view->dim; d < (row + 1) * view->dim; d++)
        nan = nan || isnan(reference_decode(view->type, outcome->of[i] + d * size));
    return nan;
}

/* A NaN reaches d_q of the query, or what the key's pair with the query gives to d_k; other batches
 * and heads with other keys keep their bits. */
static bool bad_element(struct run *run, enum tensors_name name) {
    const clattn_desc *desc = &run->tensors.live;
    const struct tensors_view *view = &run->tensors.view[name];
    const cl_uint group = desc->heads_q / desc->heads_kv;
    const bool of_keys = name == TENSOR_K || name == TENSOR_V;
    cl_uint query, key;
    /* Broadcast keys are shared by all. */
    if (!tensors_is_input(&run->tensors, name) || !desc->batch ||
        run->given->tensors.layout == LAYOUT_BROADCAST)
        return true;
    const size_t of_q = (size_t)view->heads / 2 * (of_keys ? group : 1);
    if (!find_pair(run, (size_t)(desc->batch - 1) * desc->heads_q + of_q, &query, &key))
        return true;
    char what[64];
    snprintf(what, sizeof what, "NaN in tensor %d", (int)name);
    const cl_uint batch = desc->batch - 1, head = view->heads / 2;
    const cl_uint head_kv = of_keys ? head : head / group;
    struct outcome outcome;
    tensors_fill(&run->tensors, FILL_ZERO);
    reference_encode(view->type, NAN,
                     view->memory->image +
                         tensors_at(view, batch, head, of_keys ? key : query, view->dim / 2));
    bool ok = launch(run, ~0u, &outcome);
    if (!ok)
        fprintf(stderr, "%s\n", what);
    for (int i = 0; i < GRADIENTS; i++) {
        const struct tensors_view *out = &run->tensors.view[outputs[i]];
        for (size_t row = 0; ok && row < outcome.count[i] / out->dim; row++) {
            const size_t number = row / out->rows;
            const size_t its_kv =
                i == GRADIENT_Q ? number % out->heads / group : number % out->heads;
            const bool apart = number / out->heads != batch || its_kv != head_kv;
            if (apart && !row_is_same(run, &outcome, i, row)) {
                report(run, what, i, row, "the bits of the clean run");
                ok = false;
            }
        }
    }
    const size_t row_q =
        ((size_t)batch * desc->heads_q + (of_keys ? head_kv * group : head)) * desc->seq_q + query;
    const size_t row_kv = ((size_t)batch * desc->heads_kv + head_kv) * desc->seq_kv + key;
    if (ok && !has_nan(run, &outcome, GRADIENT_Q, row_q)) {
        report(run, what, GRADIENT_Q, row_q, "NaN");
        ok = false;
    }
    if (ok && !has_nan(run, &outcome, GRADIENT_K, row_kv)) {
        report(run, what, GRADIENT_K, row_kv, "NaN");
        ok = false;
    }
    outcome_free(&outcome);
    return ok;
}

/* ---- All of it ---- */

static bool right(struct run *run, struct compare_gradients *result) {
    enum { ALL = (1 << GRADIENTS) - 1 };
    tensors_fill(&run->tensors, FILL_ZERO);
    bool ok = launch(run, ALL, &run->clean) && extras_close(run) && close_to_reference(run, result);
    if (!ok || run->given->demands.once)
        return ok;
    ok = same_bits(run, FILL_ZERO, ALL, "second run");
    for (int fill = FILL_ZERO + 1; ok && fill < FILL_COUNT; fill++) {
        char what[64];
        snprintf(what, sizeof what, "filled with %s", tensors_fill_names[fill]);
        ok = same_bits(run, (enum tensors_fill)fill, ALL, what) && extras_close(run);
    }
    for (unsigned wanted = 0; ok && wanted < ALL; wanted++) {
        char what[64];
        snprintf(what, sizeof what, "wanted of d_q, d_k, d_v: bits %u", wanted);
        ok = same_bits(run, FILL_NAN, wanted, what);
    }
    for (size_t i = 0; ok && i < sizeof spoilt / sizeof *spoilt; i++)
        ok = bad_element(run, spoilt[i]);
    return ok;
}

bool backward_right(const struct attention_case *given, struct compare_gradients *result) {
    struct run run = {.given = given};
    *result = (struct compare_gradients){0};
    tensors_make(&run.tensors, &given->tensors, given->scale, given->context);
    bool ok = right(&run, result);
    outcome_free(&run.clean);
    tensors_free(&run.tensors);
    return ok;
}
