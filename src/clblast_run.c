#include "clblast_run.h"

#include <assert.h>

#include "size.h"

/* Can CLBlast count the elements of each matrix? */
static bool countable(const struct problem *p, cl_ulong stride, cl_ulong wider) {
    const cl_ulong width = stride > wider ? stride : wider;
    const cl_ulong slices = (cl_ulong)p->batch * p->heads_q,
                   slices_kv = (cl_ulong)p->batch * p->heads_kv;
    return slices_kv <= CLBLAST_MOST_MATRICES &&
           size_mul_capped(size_mul_capped(slices, p->seq_q), width) <= CLBLAST_MOST_ELEMENTS &&
           size_mul_capped(size_mul_capped(slices_kv, p->seq_kv), wider) <= CLBLAST_MOST_ELEMENTS;
}

const char *clblast_run_refuses(const struct problem *p, const struct device *d, cl_ulong stride,
                                cl_ulong wider) {
    return d->base_alignment > PART_BYTES ? "the device aligns buffers to over 4096 bytes"
           : !countable(p, stride, wider)
               ? "CLBlast counts in 32 bits: at most 2^30 scores or elements of a "
                 "tensor, 2^15 heads"
               : clblast_missing();
}

cl_int clblast_run_legal(const struct device *d, long long group, long long lanes, long long local,
                         struct status *status) {
    if ((group & (group - 1)) != 0) {
        return status_set(status, CLATTN_INVALID_VARIANT, "WORK_GROUP=%lld is not a power of two",
                          group);
    }
    if (lanes != 1 && lanes != 4 && lanes != 8 && lanes != 16) {
        return status_set(status, CLATTN_INVALID_VARIANT, "LANES=%lld is none of 1, 4, 8, 16",
                          lanes);
    }
    return solvers_check_group(d, group, 4 * local * group, status);
}

/* A CPU goes through a row alone, in its own vectors; elsewhere a work-group shares it, but has no
 * more than a vector for each work-item. */
bool clblast_run_candidate(const struct problem *p, const struct device *d, size_t i,
                           long long *group, long long *lanes) {
    const bool cpu = d->type == DEVICE_CPU;
    const cl_ulong width = cpu ? d->float_width : 4;
    *group = cpu ? 1 : 256;
    while (*group > 32 && *group * 2 >= (long long)p->seq_kv) {
        *group /= 2;
    }
    *group >>= i;
    *lanes = width >= 16 ? 16 : width >= 8 ? 8 : 4;
    return *group > 0;
}

cl_ulong clblast_run_part_floats(cl_ulong floats) {
    return size_div_up(floats, PART_FLOATS) * PART_FLOATS;
}

cl_ulong clblast_run_bytes(cl_ulong floats) {
    return 4 * floats + PART_BYTES;
}

cl_int clblast_run_begin(struct clblast_run *run, const struct launch *l, struct status *status) {
    *run = (struct clblast_run){.launch = l, .status = status, .problem = *l->problem};
    run->problem.batch = (cl_uint)l->params->batch;
    run->problem.seq_q = (cl_uint)l->params->seq_q;
    run->problem.seq_kv = (cl_uint)l->params->seq_kv;
    if (l->workspace->svm) {
        return status_set(status, CLATTN_UNSUPPORTED,
                          "%s: its workspace is SVM, but CLBlast takes buffers alone", l->name);
    }
    size_t origin = 0;
    cl_int code =
        clGetMemObjectInfo(l->workspace->buffer, CL_MEM_OFFSET, sizeof origin, &origin, NULL);
    if (code == CL_SUCCESS && l->count > 0) {
        code = clEnqueueBarrierWithWaitList(l->queue, l->count, l->list, NULL);
    }
    if (code != CL_SUCCESS) {
        return status_set(status, code, "%s: the driver refuses to begin", l->name);
    }
    const cl_ulong begin = origin + 4 * (cl_ulong)l->params->workspace;
    run->start = (size_div_up(begin, PART_BYTES) * PART_BYTES - origin) / 4;
    assert(4 * run->start <
           4 * (cl_ulong)l->params->workspace + PART_BYTES); /* as clblast_run_bytes counts */
    return CL_SUCCESS;
}

cl_int clblast_run_next(const struct clblast_run *run, cl_int code) {
    if (code == CL_SUCCESS) {
        code = clEnqueueBarrierWithWaitList(run->launch->queue, 0, NULL, NULL);
    }
    return code == CL_SUCCESS ? code
                              : status_set(run->status, code, "%s: the driver refuses to go on",
                                           run->launch->name);
}

cl_int clblast_run_kernel(const struct clblast_run *run, size_t kernel, cl_ulong part) {
    struct params params = *run->launch->params;
    struct launch l = *run->launch;
    params.workspace = (cl_long)(run->start + part);
    l.params = &params;
    const cl_int code = launch_stage(&l, kernel, 0, NULL, NULL, run->status);
    return code == CL_SUCCESS ? clblast_run_next(run, code) : code;
}

struct matrices clblast_run_part(const struct clblast_run *run, cl_ulong part, cl_ulong rows,
                                 cl_ulong width) {
    return (struct matrices){run->launch->workspace->buffer, 4 * (run->start + part), rows, width};
}

cl_int clblast_run_end(const struct clblast_run *run, cl_int code) {
    const struct launch *l = run->launch;
    if (code == CL_SUCCESS && l->event) {
        code = clEnqueueMarkerWithWaitList(l->queue, 0, NULL, l->event);
        if (code != CL_SUCCESS) {
            status_set(run->status, code, "%s: the driver refuses a marker", l->name);
        }
    }
    return code;
}
