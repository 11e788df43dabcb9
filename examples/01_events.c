/*
 * Events and an out-of-order queue: nothing waits but the host, once, at the end.
 *
 *     write q --+
 *     write k --+--> attention --> read o --> host
 *     write v --+
 *
 * The attention is a table look-up.  Key j is the j-th unit vector, query i a large
 * multiple of the unit vector of the key it wants: every other key's weight is exp(-200),
 * which is 0 in 32 bits, and the output is exactly the value of that key.
 */
#include <clattn.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 64, QUERIES = 256, DIM = KEYS, DIM_V = 32 };

static void CL_CALLBACK print_sentence(cl_int status, const char *sentence, void *user_data) {
    (void)user_data;
    fprintf(stderr, "%s: %s\n", clattn_status_name(status), sentence);
}

static void check(cl_int status, const char *what) {
    if (status != CL_SUCCESS) {
        fprintf(stderr, "01_events: %s: %s\n", what, clattn_status_name(status));
        exit(EXIT_FAILURE);
    }
}

/* Out-of-order where the device can; elsewhere the same events are merely redundant. */
static cl_command_queue create_queue(cl_context cl, cl_device_id device) {
    cl_command_queue_properties offered = 0;
    check(clGetDeviceInfo(device, CL_DEVICE_QUEUE_PROPERTIES, sizeof offered, &offered, NULL),
          "clGetDeviceInfo");
    cl_command_queue_properties wanted = offered & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
    cl_int status;
    cl_command_queue queue = clCreateCommandQueue(cl, device, wanted, &status);
    check(status, "clCreateCommandQueue");
    printf("queue: %s\n", wanted ? "out-of-order" : "in-order");
    return queue;
}

static cl_mem create_buffer(cl_context cl, cl_mem_flags flags, size_t bytes) {
    cl_int status;
    cl_mem buffer = clCreateBuffer(cl, flags, bytes, NULL, &status);
    check(status, "clCreateBuffer");
    return buffer;
}

static clattn_plan create_plan(clattn_context context) {
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.seq_q = QUERIES;
    desc.seq_kv = KEYS;
    desc.head_dim = DIM;
    desc.head_dim_v = DIM_V;
    clattn_plan plan;
    check(clattn_plan_create(context, &desc, &plan), "clattn_plan_create");
    return plan;
}

static int wanted_key(int query) {
    return query * 37 % KEYS;
}

int main(void) {
    static float q[QUERIES][DIM], k[KEYS][DIM], v[KEYS][DIM_V], o[QUERIES][DIM_V];
    for (int i = 0; i < QUERIES; i++)
        q[i][wanted_key(i)] = 200.0f;
    for (int j = 0; j < KEYS; j++) {
        k[j][j] = 1.0f;
        for (int c = 0; c < DIM_V; c++)
            v[j][c] = (float)(100 * j + c);
    }

    cl_platform_id platform;
    cl_device_id device;
    cl_int status;
    check(clGetPlatformIDs(1, &platform, NULL), "clGetPlatformIDs");
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "clGetDeviceIDs");
    cl_context cl = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    check(status, "clCreateContext");
    cl_command_queue queue = create_queue(cl, device);

    clattn_context_desc context_desc = CLATTN_CONTEXT_DESC_INIT;
    context_desc.context = cl;
    context_desc.device = device;
    context_desc.notify = print_sentence;
    clattn_context context;
    check(clattn_context_create(&context_desc, &context), "clattn_context_create");
    clattn_plan plan = create_plan(context);

    cl_mem memory_q = create_buffer(cl, CL_MEM_READ_ONLY, sizeof q);
    cl_mem memory_k = create_buffer(cl, CL_MEM_READ_ONLY, sizeof k);
    cl_mem memory_v = create_buffer(cl, CL_MEM_READ_ONLY, sizeof v);
    cl_mem memory_o = create_buffer(cl, CL_MEM_WRITE_ONLY, sizeof o);
    size_t workspace_size;
    check(clattn_plan_workspace_size(plan, &workspace_size), "clattn_plan_workspace_size");
    cl_mem workspace =
        workspace_size > 0 ? create_buffer(cl, CL_MEM_READ_WRITE, workspace_size) : NULL;

    cl_event written[3], attended, read;
    check(clEnqueueWriteBuffer(queue, memory_q, CL_FALSE, 0, sizeof q, q, 0, NULL, &written[0]),
          "write q");
    check(clEnqueueWriteBuffer(queue, memory_k, CL_FALSE, 0, sizeof k, k, 0, NULL, &written[1]),
          "write k");
    check(clEnqueueWriteBuffer(queue, memory_v, CL_FALSE, 0, sizeof v, v, 0, NULL, &written[2]),
          "write v");

    clattn_tensor tensor_q = CLATTN_TENSOR_BHSD(memory_q, 1, QUERIES, DIM);
    clattn_tensor tensor_k = CLATTN_TENSOR_BHSD(memory_k, 1, KEYS, DIM);
    clattn_tensor tensor_v = CLATTN_TENSOR_BHSD(memory_v, 1, KEYS, DIM_V);
    clattn_tensor tensor_o = CLATTN_TENSOR_BHSD(memory_o, 1, QUERIES, DIM_V);
    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    args.q = &tensor_q;
    args.k = &tensor_k;
    args.v = &tensor_v;
    args.o = &tensor_o;
    args.workspace = workspace;
    args.scale = 1.0f;
    check(clattn_enqueue_forward(plan, queue, &args, 3, written, &attended),
          "clattn_enqueue_forward");
    check(clEnqueueReadBuffer(queue, memory_o, CL_FALSE, 0, sizeof o, o, 1, &attended, &read),
          "read o");
    check(clFlush(queue), "clFlush");
    check(clWaitForEvents(1, &read), "clWaitForEvents");

    int wrong = 0;
    for (int i = 0; i < QUERIES; i++)
        for (int c = 0; c < DIM_V; c++)
            wrong += o[i][c] != v[wanted_key(i)][c];
    printf("query 1 wants key %d: value %g (expected %g); %d of %d values differ\n", wanted_key(1),
           o[1][0], v[wanted_key(1)][0], wrong, QUERIES * DIM_V);

    cl_event events[] = {written[0], written[1], written[2], attended, read};
    for (int i = 0; i < 5; i++)
        clReleaseEvent(events[i]);
    cl_mem memory[] = {memory_q, memory_k, memory_v, memory_o, workspace};
    for (int i = 0; i < (workspace ? 5 : 4); i++)
        clReleaseMemObject(memory[i]);
    clattn_plan_destroy(plan);
    clattn_context_destroy(context);
    clReleaseCommandQueue(queue);
    clReleaseContext(cl);
    return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
