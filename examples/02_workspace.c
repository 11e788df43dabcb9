/*
 * Many plans, one workspace.  A plan says how many bytes an enqueue needs (0 is common);
 * the application owns them, and gives the same ones to every plan: commands of an
 * in-order queue run one at a time.  The same holds for the tensors here.
 *
 * Each problem is answered by the variant that clattn chooses and by variants that are asked for
 * by name; all answers to a problem must agree.  Variants that do not apply are left out.
 */
#include <clattn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const problems[] = {
    "f32 h8 q512 k512 d64 causal",    /* training or prefill */
    "f32 h32:8 q1 k4000 d128",        /* decoding with grouped queries */
    "f32 b2 h4 q200 k300 d80:48",     /* cross attention, a value dimension of its own */
    "f32 h4 q700 k700 d64 window99,0" /* a sliding window */
};
static const char *const variants[] = {NULL, "fwd_rows", "fwd_tile", "fwd_lanes",
                                       "memory_efficient"};

enum {
    PROBLEMS = sizeof problems / sizeof problems[0],
    VARIANTS = sizeof variants / sizeof variants[0],
    ELEMENTS = 8 * 4000 * 128 /* in the largest tensor of the problems */
};

static float input[3][ELEMENTS]; /* q, k, v of every problem: the first so many */
static float output[VARIANTS][ELEMENTS];

static void check(cl_int status, const char *what) {
    if (status != CL_SUCCESS) {
        fprintf(stderr, "02_workspace: %s: %s\n", what, clattn_status_name(status));
        exit(EXIT_FAILURE);
    }
}

static cl_mem create_buffer(cl_context cl, size_t bytes, void *host) {
    cl_int status;
    cl_mem_flags flags = CL_MEM_READ_WRITE | (host ? CL_MEM_COPY_HOST_PTR : 0);
    cl_mem buffer = clCreateBuffer(cl, flags, bytes, host, &status);
    check(status, "clCreateBuffer");
    return buffer;
}

/* NULL if the variant does not apply to the problem on this device. */
static clattn_plan create_plan(clattn_context context, clattn_desc desc, const char *variant) {
    clattn_plan plan;
    desc.variant = variant;
    cl_int status = clattn_plan_create(context, &desc, &plan);
    if (variant && (status == CLATTN_INVALID_VARIANT || status == CLATTN_UNSUPPORTED))
        return NULL;
    check(status, "clattn_plan_create");
    return plan;
}

static size_t elements_of_output(const clattn_desc *desc) {
    cl_uint dim_v = desc->head_dim_v ? desc->head_dim_v : desc->head_dim;
    return (size_t)desc->batch * desc->heads_q * desc->seq_q * dim_v;
}

static void run(clattn_plan plan, const clattn_desc *desc, cl_command_queue queue,
                const cl_mem tensors[4], cl_mem workspace, float *result) {
    cl_uint heads_kv = desc->heads_kv ? desc->heads_kv : desc->heads_q;
    cl_uint dim_v = desc->head_dim_v ? desc->head_dim_v : desc->head_dim;
    clattn_tensor q = CLATTN_TENSOR_BHSD(tensors[0], desc->heads_q, desc->seq_q, desc->head_dim);
    clattn_tensor k = CLATTN_TENSOR_BHSD(tensors[1], heads_kv, desc->seq_kv, desc->head_dim);
    clattn_tensor v = CLATTN_TENSOR_BHSD(tensors[2], heads_kv, desc->seq_kv, dim_v);
    clattn_tensor o = CLATTN_TENSOR_BHSD(tensors[3], desc->heads_q, desc->seq_q, dim_v);
    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    args.q = &q;
    args.k = &k;
    args.v = &v;
    args.o = &o;
    args.workspace = workspace; /* may be larger than this plan needs, or NULL if none does */
    check(clattn_enqueue_forward(plan, queue, &args, 0, NULL, NULL), "clattn_enqueue_forward");
    check(clEnqueueReadBuffer(queue, tensors[3], CL_FALSE, 0,
                              elements_of_output(desc) * sizeof(float), result, 0, NULL, NULL),
          "clEnqueueReadBuffer");
}

int main(void) {
    unsigned random = 1;
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < ELEMENTS; i++) {
            random = random * 1664525u + 1013904223u;
            input[t][i] = (float)(random >> 8) / (float)(1u << 23) - 1.0f; /* -1 ... 1 */
        }

    cl_platform_id platform;
    cl_device_id device;
    cl_int status;
    check(clGetPlatformIDs(1, &platform, NULL), "clGetPlatformIDs");
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "clGetDeviceIDs");
    cl_context cl = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    check(status, "clCreateContext");
    cl_command_queue queue = clCreateCommandQueue(cl, device, 0, &status);
    check(status, "clCreateCommandQueue");
    clattn_context_desc context_desc = CLATTN_CONTEXT_DESC_INIT;
    context_desc.context = cl;
    context_desc.device = device;
    clattn_context context;
    check(clattn_context_create(&context_desc, &context), "clattn_context_create");

    /* All plans first; then one workspace that is large enough for any of them. */
    clattn_desc descs[PROBLEMS];
    clattn_plan plans[PROBLEMS][VARIANTS];
    size_t largest = 0;
    for (int p = 0; p < PROBLEMS; p++) {
        descs[p] = (clattn_desc)CLATTN_DESC_INIT;
        check(clattn_desc_parse(problems[p], &descs[p]), problems[p]);
        for (int r = 0; r < VARIANTS; r++) {
            size_t bytes = 0;
            plans[p][r] = create_plan(context, descs[p], variants[r]);
            if (plans[p][r])
                check(clattn_plan_workspace_size(plans[p][r], &bytes), "workspace size");
            if (bytes > largest)
                largest = bytes;
        }
    }
    cl_mem workspace = largest > 0 ? create_buffer(cl, largest, NULL) : NULL;
    cl_mem tensors[4] = {
        create_buffer(cl, sizeof input[0], input[0]), create_buffer(cl, sizeof input[1], input[1]),
        create_buffer(cl, sizeof input[2], input[2]), create_buffer(cl, sizeof output[0], NULL)};
    printf("workspace: %zu bytes\n", largest);

    /* |score| <= sqrt(128) < 12, |v| <= 1: each answer is within 4 ulp * (12 + 8) of the truth. */
    const float bound = 2 * 4 * 0x1p-24f * (12 + 8);
    size_t wrong = 0;
    for (int p = 0; p < PROBLEMS; p++) {
        for (int r = 0; r < VARIANTS; r++)
            if (plans[p][r])
                run(plans[p][r], &descs[p], queue, tensors, workspace, output[r]);
        check(clFinish(queue), "clFinish");
        printf("%s\n", problems[p]);
        for (int r = 0; r < VARIANTS; r++) {
            if (!plans[p][r])
                continue;
            float worst = 0.0f;
            for (size_t i = 0; i < elements_of_output(&descs[p]); i++) {
                float difference = fabsf(output[r][i] - output[0][i]);
                worst = fmaxf(worst, difference);
                wrong += !(difference <= bound); /* NaN is wrong, too */
            }
            printf("  %-6s %s: differs by %.2g\n", variants[r] ? "" : "chosen",
                   clattn_plan_variant(plans[p][r]), worst);
        }
    }

    for (int p = 0; p < PROBLEMS; p++)
        for (int r = 0; r < VARIANTS; r++)
            clattn_plan_destroy(plans[p][r]);
    clattn_context_destroy(context);
    for (int t = 0; t < 4; t++)
        clReleaseMemObject(tensors[t]);
    if (workspace)
        clReleaseMemObject(workspace);
    clReleaseCommandQueue(queue);
    clReleaseContext(cl);
    return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
