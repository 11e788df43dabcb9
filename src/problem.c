#include "problem.h"

#include <assert.h>
#include <float.h>

#include "feature.h"
#include "pass.h"
#include "sized.h"

static const struct {
    clattn_type type;
    const char *name;
    cl_uint block, bytes; /* elements of a block, 1 where each stands alone; and its bytes */
} types[] = {{CLATTN_F32, "f32", 1, 4},
             {CLATTN_F16, "f16", 1, 2},
             {CLATTN_BF16, "bf16", 1, 2},
             {CLATTN_Q8_0, "q8_0", 32, 34},
             {CLATTN_Q4_0, "q4_0", 32, 18}};

enum { TYPES = sizeof types / sizeof types[0] };

const char *problem_type_name(clattn_type type) {
    for (size_t i = 0; i < TYPES; i++) {
        if (types[i].type == type) {
            return types[i].name;
        }
    }
    return NULL;
}

static size_t index_of_type(clattn_type type) {
    size_t i = 0;
    while (i < TYPES && types[i].type != type) {
        i++;
    }
    assert(i < TYPES && "problem_from_desc has let another type pass");
    return i;
}

const char *problem_element_name(clattn_type type) {
    return type == PROBLEM_BYTE ? "u8" : type == PROBLEM_INT ? "i32" : problem_type_name(type);
}

cl_uint problem_type_block(clattn_type type) {
    return type == PROBLEM_BYTE || type == PROBLEM_INT ? 1 : types[index_of_type(type)].block;
}

cl_uint problem_type_bytes(clattn_type type) {
    return type == PROBLEM_BYTE  ? 1
           : type == PROBLEM_INT ? (cl_uint)sizeof(cl_int)
                                 : types[index_of_type(type)].bytes;
}

bool problem_blocked(const struct problem *p) {
    return problem_type_block(p->type_k) > 1 || problem_type_block(p->type_v) > 1;
}

/* Only k and v come in blocks, only where nobody needs gradients, and a row is whole blocks. */
static cl_int check_blocks(const struct problem *p, struct status *status) {
    const struct {
        const char *name, *width;
        clattn_type type;
        cl_uint dim;
    } tensors[] = {{"type_k", "head_dim", p->type_k, p->head_dim},
                   {"type_v", "head_dim_v", p->type_v, p->head_dim_v}};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        const cl_uint block = problem_type_block(tensors[i].type);
        const char *type = problem_type_name(tensors[i].type);
        if (block > 1 && p->pass == CLATTN_BACKWARD) {
            return status_set(status, CLATTN_UNSUPPORTED,
                              "desc: %s is %s, which the backward pass does not take",
                              tensors[i].name, type);
        }
        if (tensors[i].dim % block != 0) {
            return status_set(status, CLATTN_UNSUPPORTED,
                              "desc: %s is %u, but with %s in %s only multiples of %u are offered",
                              tensors[i].width, tensors[i].dim, tensors[i].name, type, block);
        }
    }
    return CL_SUCCESS;
}

void problem_fill_types(struct problem *p) {
    p->type_k = p->type_k ? p->type_k : p->type;
    p->type_v = p->type_v ? p->type_v : p->type_k;
    p->type_o = p->type_o ? p->type_o : p->type;
}

bool problem_mixed(const struct problem *p) {
    return p->type_k != p->type || p->type_v != p->type || p->type_o != p->type;
}

bool problem_masked(const struct problem *p) {
    return p->band_left != CLATTN_UNBOUNDED || p->band_right != CLATTN_UNBOUNDED;
}

/* The most of `length` rows that lie in the band. */
static cl_uint within_band(const struct problem *p, cl_uint length) {
    const cl_ulong band = (cl_ulong)p->band_left + (cl_ulong)p->band_right + 1;
    const bool open = p->band_left == CLATTN_UNBOUNDED || p->band_right == CLATTN_UNBOUNDED;
    return open || band > length ? length : (cl_uint)band;
}

cl_uint problem_keys(const struct problem *p) {
    return within_band(p, p->seq_kv);
}

cl_uint problem_queries(const struct problem *p) {
    return within_band(p, p->seq_q);
}

/* Drops a side of the band that can hide nothing.  Opposite key of query i:
 * c = i + seq_kv - seq_q (END) or i (START).  A bound that hides nothing at
 * these lengths hides nothing at smaller ones.  ALiBi counts from the opposite key without a band,
 * too. */
static void normalise_band(struct problem *p) {
    cl_uint left_reach = p->align == CLATTN_ALIGN_END ? p->seq_kv : p->seq_q;
    cl_uint right_reach = p->align == CLATTN_ALIGN_END ? p->seq_q : p->seq_kv;
    if (p->band_left >= 0 && (cl_uint)p->band_left + 1 >= left_reach) {
        p->band_left = CLATTN_UNBOUNDED;
    }
    if (p->band_right >= 0 && (cl_uint)p->band_right + 1 >= right_reach) {
        p->band_right = CLATTN_UNBOUNDED;
    }
    if (!problem_masked(p) && !(p->features & feature_diagonal())) {
        p->align = CLATTN_ALIGN_END;
    }
}

/* A merge knows of q, k and v only what shapes o and lse. */
static void normalise_merge(struct problem *p) {
    p->type_k = p->type_v = p->type;
    p->heads_kv = p->heads_q;
    p->seq_kv = p->seq_q;
    p->head_dim = p->head_dim_v;
    p->band_left = p->band_right = CLATTN_UNBOUNDED;
    p->align = CLATTN_ALIGN_END;
    p->softcap = 0;
    p->promises = 0;
}

void problem_for_queries(const struct problem *p, cl_uint queries, struct problem *few) {
    *few = *p;
    few->seq_q = queries;
    few->seq_q_least = 0;
    normalise_band(few);
}

cl_int problem_from_desc(struct problem *p, const clattn_desc *desc, struct status *status) {
    const cl_int invalid = CLATTN_INVALID_DESC;
    clattn_desc d = CLATTN_DESC_INIT;
    const cl_int code = sized_copy(&sized_desc, "desc", &d, desc, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    const struct {
        const char *name;
        clattn_type type;
        bool has_default, may_be_blocked;
    } given[] = {{"type", d.type, false, false},    {"type_k", d.type_k, true, true},
                 {"type_v", d.type_v, true, true},  {"type_o", d.type_o, true, false},
                 {"type_d", d.type_d, true, false}, {"type_bias", d.type_bias, true, false}};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        if (!problem_type_name(given[i].type) && !(given[i].has_default && given[i].type == 0)) {
            return status_set(status, invalid, "desc: %s %u is none of CLATTN_F32, _F16, _BF16%s",
                              given[i].name, given[i].type,
                              given[i].may_be_blocked ? ", _Q8_0, _Q4_0" : "");
        }
        if (given[i].type && !given[i].may_be_blocked && problem_type_block(given[i].type) > 1) {
            return status_set(status, invalid, "desc: %s is %s, which only k and v may have",
                              given[i].name, problem_type_name(given[i].type));
        }
    }
    d.heads_kv = d.heads_kv ? d.heads_kv : d.heads_q;
    d.head_dim_v = d.head_dim_v ? d.head_dim_v : d.head_dim;
    const struct {
        const char *name;
        cl_uint value, low, high;
    } ranges[] = {
        {"batch", d.batch, 0, PROBLEM_MAX_LENGTH},
        {"heads_q", d.heads_q, 1, PROBLEM_MAX_LENGTH},
        {"heads_kv", d.heads_kv, 1, PROBLEM_MAX_LENGTH},
        {"seq_q", d.seq_q, 0, PROBLEM_MAX_LENGTH},
        {"seq_kv", d.seq_kv, 0, PROBLEM_MAX_LENGTH},
        {"head_dim", d.head_dim, 1, PROBLEM_MAX_HEAD_DIM},
        {"head_dim_v", d.head_dim_v, 1, PROBLEM_MAX_HEAD_DIM},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (ranges[i].value < ranges[i].low) {
            return status_set(status, invalid, "desc: %s is %u, but must be at least %u",
                              ranges[i].name, ranges[i].value, ranges[i].low);
        }
        if (ranges[i].value > ranges[i].high) {
            return status_set(status, CLATTN_UNSUPPORTED,
                              "desc: %s is %u, but at most %u is offered", ranges[i].name,
                              ranges[i].value, ranges[i].high);
        }
    }
    if (d.heads_q % d.heads_kv != 0) {
        return status_set(status, invalid, "desc: heads_q %u is not a multiple of heads_kv %u",
                          d.heads_q, d.heads_kv);
    }
    if ((cl_ulong)d.batch * d.heads_q > PROBLEM_MAX_LENGTH) {
        return status_set(status, CLATTN_UNSUPPORTED,
                          "desc: batch %u times heads_q %u is over the %d that is offered", d.batch,
                          d.heads_q, PROBLEM_MAX_LENGTH);
    }
    if (d.band_left < CLATTN_UNBOUNDED || d.band_right < CLATTN_UNBOUNDED) {
        return status_set(status, invalid,
                          "desc: band_left %d, band_right %d: a bound is CLATTN_UNBOUNDED (-1) or "
                          "not negative",
                          d.band_left, d.band_right);
    }
    if (d.align != CLATTN_ALIGN_END && d.align != CLATTN_ALIGN_START) {
        return status_set(status, invalid,
                          "desc: align %u is neither CLATTN_ALIGN_END nor CLATTN_ALIGN_START",
                          d.align);
    }
    if (!(d.softcap >= 0 && d.softcap <= FLT_MAX / 2)) {
        return status_set(status, invalid, "desc: softcap %g is not a number from 0 to %g",
                          (double)d.softcap, (double)(FLT_MAX / 2));
    }
    if (d.features & ~feature_all()) {
        return status_set(status, invalid,
                          "desc: features has bits, 0x%llx, that are none of CLATTN_FEATURE_*",
                          (unsigned long long)(d.features & ~feature_all()));
    }
    const cl_ulong unknown = d.promises & ~CLATTN_PROMISE_ALIGNED;
    if (unknown) {
        return status_set(status, invalid,
                          "desc: promises has bits, 0x%llx, that are none of CLATTN_PROMISE_*",
                          (unsigned long long)unknown);
    }
    if (d.pass >= PASSES) {
        return status_set(status, invalid,
                          "desc: pass %u is none of CLATTN_FORWARD, _BACKWARD, _MERGE", d.pass);
    }
    if (d.pass == CLATTN_MERGE && d.features) {
        return status_set(status, invalid, "desc: pass CLATTN_MERGE has no features, not 0x%llx",
                          (unsigned long long)d.features);
    }
    if (d.unused) {
        return status_set(status, invalid, "desc: unused is %u, not 0", d.unused);
    }
    if (d.seq_q_least > d.seq_q) {
        return status_set(status, invalid, "desc: seq_q_least %u is over seq_q %u", d.seq_q_least,
                          d.seq_q);
    }
    *p = (struct problem){
        .type = d.type,
        .type_k = d.type_k,
        .type_v = d.type_v,
        .type_o = d.type_o,
        .type_bias = d.features & CLATTN_FEATURE_BIAS && d.type_bias != d.type ? d.type_bias : 0,
        .type_d = d.type_d,
        .batch = d.batch,
        .heads_q = d.heads_q,
        .heads_kv = d.heads_kv,
        .seq_q = d.seq_q,
        .seq_kv = d.seq_kv,
        .seq_q_least = d.seq_q_least < d.seq_q && d.pass == CLATTN_FORWARD ? d.seq_q_least : 0,
        .head_dim = d.head_dim,
        .head_dim_v = d.head_dim_v,
        .band_left = d.band_left,
        .band_right = d.band_right,
        .align = d.align,
        .softcap = d.softcap,
        .features = d.features,
        .promises = d.promises,
        .pass = d.pass,
    };
    problem_fill_types(p);
    /* A forward pass has no gradients; and a type that all of them have anyway is the default. */
    if (p->pass != CLATTN_BACKWARD ||
        (p->type_d == p->type && p->type_d == p->type_k && p->type_d == p->type_v)) {
        p->type_d = 0;
    }
    if (p->pass == CLATTN_MERGE) {
        normalise_merge(p);
    }
    normalise_band(p);
    return check_blocks(p, status);
}
