/* The public header, alone and twice, as C99 and as C++11; each macro used once. */
#include "clattn.h"
#include "clattn.h"

cl_int check_header(cl_mem buffer);

cl_int check_header(cl_mem buffer) {
    clattn_context_desc context_desc = CLATTN_CONTEXT_DESC_INIT;
    clattn_desc desc = CLATTN_DESC_INIT;
    clattn_tensor none = CLATTN_TENSOR_INIT;
    clattn_tensor bhsd = CLATTN_TENSOR_BHSD(buffer, 8, 128, 64);
    clattn_tensor bshd = CLATTN_TENSOR_BSHD(buffer, 8, 128, 64);
    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    clattn_extras extras = CLATTN_EXTRAS_INIT;
    clattn_context context;
    clattn_plan plan;
    cl_int status = clattn_context_create(&context_desc, &context);
    if (clattn_version() < CLATTN_VERSION) {
        return CLATTN_UNSUPPORTED;
    }
    if (status == CL_SUCCESS) {
        status = clattn_plan_create(context, &desc, &plan);
    }
    if (status == CL_SUCCESS) {
        args.q = &none;
        args.k = &bhsd;
        args.v = &bshd;
        args.extras = &extras;
        status = clattn_enqueue_forward(plan, NULL, &args, 0, NULL, NULL);
    }
    return status;
}
