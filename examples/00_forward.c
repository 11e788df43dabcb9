/*
 * The shortest whole program.  All keys are equal, so a query gives the same weight to
 * every key that it sees: its output is the mean of their values.  Key j has the value
 * j, the mask is causal, query i sees keys 0 ... i: its output is i / 2.
 */
#include <clattn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 4, SEQ = 1000, DIM = 64, COUNT = HEADS * SEQ * DIM };

static void check(cl_int status, const char *what) {
    if (status != CL_SUCCESS) {
        fprintf(stderr, "%s: %s\n", what, clattn_status_name(status));
        exit(EXIT_FAILURE);
    }
}

int main(void) {
    static float data[4][COUNT]; /* q, k, v, o: each [HEADS, SEQ, DIM] */
    for (int i = 0; i < COUNT; i++) {
        data[0][i] = 1.0f;
        data[1][i] = 0.5f;
        data[2][i] = (float)(i / DIM % SEQ);
    }
    cl_int e;
    cl_platform_id platform;
    cl_device_id device;
    check(clGetPlatformIDs(1, &platform, NULL), "clGetPlatformIDs");
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "clGetDeviceIDs");
    cl_context cl = clCreateContext(NULL, 1, &device, NULL, NULL, &e);
    check(e, "clCreateContext");
    cl_command_queue queue = clCreateCommandQueue(cl, device, 0, &e);
    check(e, "clCreateCommandQueue");
    cl_mem memory[4];
    clattn_tensor tensors[4];
    for (int i = 0; i < 4; i++) {
        memory[i] = clCreateBuffer(cl, CL_MEM_COPY_HOST_PTR, sizeof data[i], data[i], &e);
        check(e, "clCreateBuffer");
        tensors[i] = (clattn_tensor)CLATTN_TENSOR_BHSD(memory[i], HEADS, SEQ, DIM);
    }

    clattn_context_desc context_desc = CLATTN_CONTEXT_DESC_INIT;
    context_desc.context = cl;
    context_desc.device = device;
    clattn_context context;
    check(clattn_context_create(&context_desc, &context), "clattn_context_create");
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.heads_q = HEADS;
    desc.seq_q = desc.seq_kv = SEQ;
    desc.head_dim = DIM;
    desc.band_right = 0; /* causal */
    clattn_plan plan;
    check(clattn_plan_create(context, &desc, &plan), "clattn_plan_create");

    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    args.q = &tensors[0];
    args.k = &tensors[1];
    args.v = &tensors[2];
    args.o = &tensors[3]; /* 02_workspace.c is for plans that need workspace */
    check(clattn_enqueue_forward(plan, queue, &args, 0, NULL, NULL), "clattn_enqueue_forward");
    check(clEnqueueReadBuffer(queue, memory[3], CL_TRUE, 0, sizeof data[3], data[3], 0, NULL, NULL),
          "clEnqueueReadBuffer");

    float worst = 0.0f;
    for (int i = 0; i < COUNT; i++)
        worst = fmaxf(worst, fabsf(data[3][i] - (float)(i / DIM % SEQ) / 2.0f));
    float bound = 4 * 0x1p-24f * (4 + 8) * (float)SEQ; /* 4 ulp * (max |score| + 8) * max |v| */
    printf("last row %.4f (expected %.4f), largest error %.2g (bound %.2g)\n", data[3][COUNT - 1],
           (SEQ - 1) / 2.0, worst, bound);
    clattn_plan_destroy(plan);
    clattn_context_destroy(context);
    for (int i = 0; i < 4; i++)
        clReleaseMemObject(memory[i]);
    clReleaseCommandQueue(queue);
    clReleaseContext(cl);
    return worst <= bound ? EXIT_SUCCESS : EXIT_FAILURE;
}
