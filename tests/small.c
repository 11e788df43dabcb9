#include "small.h"

#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POISON = 0xA5 };

/* A NULL, a failed call: the test cannot go on. */
static void need(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "small problem: %s failed\n", what);
        abort();
    }
}

/* Numbers in [-2, 2). */
static void draw(float *values, size_t count, cl_uint seed) {
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 8) / 4194304.0f - 2.0f;
    }
}

static void place(struct small *small, int tensor, cl_uint heads, cl_uint rows, cl_uint dim) {
    small->tensors[tensor] = (clattn_tensor)CLATTN_TENSOR_BHSD(NULL, heads, rows, dim);
    small->bytes[tensor] = sizeof(float) * small->desc.batch * heads * rows * dim;
}

void small_open(struct small *small, cl_context context, cl_command_queue queue, const char *text,
                cl_uint seed) {
    memset(small, 0, sizeof *small);
    clattn_desc *const d = &small->desc;
    *d = (clattn_desc)CLATTN_DESC_INIT;
    need(clattn_desc_parse(text, d) == CL_SUCCESS && d->type == CLATTN_F32, text);
    d->heads_kv = d->heads_kv ? d->heads_kv : d->heads_q;
    d->head_dim_v = d->head_dim_v ? d->head_dim_v : d->head_dim;
    place(small, SMALL_Q, d->heads_q, d->seq_q, d->head_dim);
    place(small, SMALL_K, d->heads_kv, d->seq_kv, d->head_dim);
    place(small, SMALL_V, d->heads_kv, d->seq_kv, d->head_dim_v);
    place(small, SMALL_O, d->heads_q, d->seq_q, d->head_dim_v);
    place(small, SMALL_LSE, d->heads_q, d->seq_q, 1);

    float *inputs[SMALL_O] = {0};
    for (int i = 0; i < SMALL_TENSORS; i++) {
        cl_int status;
        small->buffers[i] = clCreateBuffer(context, i < SMALL_O ? CL_MEM_READ_ONLY : 0,
                                           small->bytes[i], NULL, &status);
        need(status == CL_SUCCESS, "clCreateBuffer");
        small->tensors[i].buffer = small->buffers[i];
        if (i < SMALL_O) {
            inputs[i] = malloc(small->bytes[i]);
            need(inputs[i] != NULL, "malloc");
            draw(inputs[i], small->bytes[i] / sizeof(float), seed + (cl_uint)i);
            need(clEnqueueWriteBuffer(queue, small->buffers[i], CL_TRUE, 0, small->bytes[i],
                                      inputs[i], 0, NULL, NULL) == CL_SUCCESS,
                 "clEnqueueWriteBuffer");
        }
    }
    reference_forward(d, CLATTN_SCALE_DEFAULT, inputs[SMALL_Q], inputs[SMALL_K], inputs[SMALL_V],
                      &small->expected);
    for (int i = 0; i < SMALL_O; i++) {
        free(inputs[i]);
    }
    small->args = (clattn_forward_args)CLATTN_FORWARD_ARGS_INIT;
    small->args.q = &small->tensors[SMALL_Q];
    small->args.k = &small->tensors[SMALL_K];
    small->args.v = &small->tensors[SMALL_V];
    small->args.o = &small->tensors[SMALL_O];
    small->args.lse = &small->tensors[SMALL_LSE];
    small_poison(small, queue);
}

void small_close(struct small *small) {
    for (int i = 0; i < SMALL_TENSORS; i++) {
        if (small->buffers[i]) {
            clReleaseMemObject(small->buffers[i]);
        }
    }
    reference_free(&small->expected);
    memset(small, 0, sizeof *small);
}

void small_poison(struct small *small, cl_command_queue queue) {
    const unsigned char poison = POISON;
    for (int i = SMALL_O; i <= SMALL_LSE; i++) {
        need(clEnqueueFillBuffer(queue, small->buffers[i], &poison, 1, 0, small->bytes[i], 0, NULL,
                                 NULL) == CL_SUCCESS,
             "clEnqueueFillBuffer");
    }
    need(clFinish(queue) == CL_SUCCESS, "clFinish");
}

static void *fetch(struct small *small, cl_command_queue queue, int tensor) {
    void *bytes = malloc(small->bytes[tensor]);
    need(bytes != NULL, "malloc");
    need(clFinish(queue) == CL_SUCCESS, "clFinish");
    need(clEnqueueReadBuffer(queue, small->buffers[tensor], CL_TRUE, 0, small->bytes[tensor], bytes,
                             0, NULL, NULL) == CL_SUCCESS,
         "clEnqueueReadBuffer");
    return bytes;
}

bool small_untouched(struct small *small, cl_command_queue queue) {
    bool untouched = true;
    for (int i = SMALL_O; i <= SMALL_LSE; i++) {
        unsigned char *const bytes = fetch(small, queue, i);
        for (size_t at = 0; at < small->bytes[i]; at++) {
            untouched = untouched && bytes[at] == POISON;
        }
        free(bytes);
    }
    return untouched;
}

bool small_right(struct small *small, cl_command_queue queue) {
    float *const o = fetch(small, queue, SMALL_O), *const lse = fetch(small, queue, SMALL_LSE);
    struct compare_result result;
    const bool right = compare_forward(&small->desc, &small->expected, o, lse, &result);
    free(o);
    free(lse);
    return right && !result.ill_rows;
}
