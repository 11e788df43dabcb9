#include "tune_shapes.h"

static cl_uint least(cl_uint a, cl_uint b) {
    return a < b ? a : b;
}

/* Unbounded and causal stay what they are. */
static cl_int narrow(cl_int band, cl_int most) {
    return band > most ? most : band;
}

void tune_shapes(const clattn_desc *desc, clattn_desc shapes[TUNE_SHAPES]) {
    static const struct {
        cl_uint queries, keys;
        cl_int left, right;
    } lengths[TUNE_SHAPES] = {{197, 197, 83, 45}, {67, 323, 139, 21}, {131, 59, 37, 31}};
    for (int i = 0; i < TUNE_SHAPES; i++) {
        clattn_desc *s = &shapes[i];
        const cl_uint group = desc->heads_kv ? desc->heads_q / desc->heads_kv : 1;
        *s = *desc;
        s->variant = NULL;
        s->batch = least(desc->batch, 2);
        s->heads_kv = least(desc->heads_kv, 2);
        s->heads_q = s->heads_kv * group;
        s->seq_q = desc->seq_q == 1 ? 1 : lengths[i].queries;
        s->seq_kv = lengths[i].keys;
        s->band_left = narrow(desc->band_left, lengths[i].left);
        s->band_right = narrow(desc->band_right, lengths[i].right);
    }
}
