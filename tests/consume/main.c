/*
 * An outside program: three of these, built in three ways, use an installed clattn.
 *
 * All keys are equal, so that each query weighs them alike and each row of the
 * output is the mean of the values.  Exit code 77 says that there is no device.
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <clattn.h>
#include <math.h>
#include <stdio.h>

enum { ROWS = 5, DIM = 3, COUNT = ROWS * DIM };

static void CL_CALLBACK complain(cl_int status, const char *message, void *user_data) {
    (void)user_data;
    fprintf(stderr, "%s: %s\n", clattn_status_name(status), message);
}

static int compute(cl_context context, cl_device_id device, float *o) {
    float q[COUNT], k[COUNT], v[COUNT];
    for (int i = 0; i < COUNT; i++) {
        q[i] = (float)i;
        k[i] = 1.0f;
        v[i] = (float)i;
    }
    const cl_mem_flags input = CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR;
    cl_mem buffers[] = {
        clCreateBuffer(context, input, sizeof q, q, NULL),
        clCreateBuffer(context, input, sizeof k, k, NULL),
        clCreateBuffer(context, input, sizeof v, v, NULL),
        clCreateBuffer(context, CL_MEM_WRITE_ONLY, COUNT * sizeof *o, NULL, NULL),
    };
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, NULL);
    clattn_context attention = NULL;
    clattn_plan plan = NULL;

    clattn_context_desc context_desc = CLATTN_CONTEXT_DESC_INIT;
    context_desc.context = context;
    context_desc.device = device;
    context_desc.notify = complain;
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.seq_q = ROWS;
    desc.seq_kv = ROWS;
    desc.head_dim = DIM;
    const clattn_tensor tensor[] = {
        CLATTN_TENSOR_BHSD(buffers[0], 1, ROWS, DIM),
        CLATTN_TENSOR_BHSD(buffers[1], 1, ROWS, DIM),
        CLATTN_TENSOR_BHSD(buffers[2], 1, ROWS, DIM),
        CLATTN_TENSOR_BHSD(buffers[3], 1, ROWS, DIM),
    };
    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    args.q = &tensor[0];
    args.k = &tensor[1];
    args.v = &tensor[2];
    args.o = &tensor[3];

    size_t bytes = 0;
    int done = clattn_context_create(&context_desc, &attention) == CL_SUCCESS &&
               clattn_plan_create(attention, &desc, &plan) == CL_SUCCESS &&
               clattn_plan_workspace_size(plan, &bytes) == CL_SUCCESS;
    args.workspace = bytes ? clCreateBuffer(context, CL_MEM_READ_WRITE, bytes, NULL, NULL) : NULL;
    done = done && clattn_enqueue_forward(plan, queue, &args, 0, NULL, NULL) == CL_SUCCESS &&
           clEnqueueReadBuffer(queue, buffers[3], CL_TRUE, 0, COUNT * sizeof *o, o, 0, NULL,
                               NULL) == CL_SUCCESS;

    clattn_plan_destroy(plan);
    clattn_context_destroy(attention);
    clReleaseCommandQueue(queue);
    if (args.workspace) {
        clReleaseMemObject(args.workspace);
    }
    for (int i = 0; i < 4; i++) {
        clReleaseMemObject(buffers[i]);
    }
    return done;
}

int main(void) {
    cl_platform_id platform;
    cl_device_id device;
    if (clGetPlatformIDs(1, &platform, NULL) != CL_SUCCESS ||
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL) != CL_SUCCESS) {
        fprintf(stderr, "no OpenCL device: nothing computed\n");
        return 77;
    }
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    float o[COUNT] = {0};
    const int done = compute(context, device, o);
    clReleaseContext(context);
    if (!done) {
        fprintf(stderr, "not computed\n");
        return 1;
    }
    for (int i = 0; i < COUNT; i++) {
        const float mean = (float)(i % DIM + DIM * (ROWS - 1) / 2);
        if (fabsf(o[i] - mean) > 1e-5f * mean) {
            fprintf(stderr, "o[%d] is %g, not %g\n", i, (double)o[i], (double)mean);
            return 1;
        }
    }
    printf("clattn %d.%d.%d: right\n", CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
           CLATTN_VERSION_PATCH);
    return 0;
}
