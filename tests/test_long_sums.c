/*
 * Sums over many keys, and in backward over many queries: their number may enter the error only as
 * compare.h says.
 *
 *     test_long_sums --solver VARIANT|auto ...    (suite.h)
 *
 * k=rows makes all keys equal, so that all weights are and nothing but sums can go wrong;
 * v=value is 0.1, which no type holds exactly.
 *
 * Backward: d_q is a sum over the keys, d_k and d_v over the queries of a group of heads.  SAME
 * makes all terms of all three equal: keys are, so that weights are; d_o . v is delta, and each d_s
 * so the weight times d_lse.
 */
#include <string.h>

#include "suite.h"

#define EQUAL_VALUES "once k=rows:2 v=value:0.1"
#define EQUAL_KEYS "once k=rows:2 v=positive:1"
#define SPREAD "once q=uniform:0.5 k=uniform:1 v=positive:1"

static const struct test_case table[] = {
    {"f32 q4 k4096 d16", "bhsd", EQUAL_VALUES, NULL},
    {"f32 q4 k4097 d16", "bhsd", EQUAL_KEYS, NULL},
    {"f32 q2 k8192 d16", "bhsd", EQUAL_VALUES, NULL},
    {"f32 q4 k16384 d16", "bhsd", EQUAL_VALUES, NULL},
    {"f32 q4 k16384 d16", "bhsd", EQUAL_KEYS, NULL},
    {"f32 q4 k20000 d16", "bhsd", SPREAD, NULL},
    {"f32 q2 k65536 d16", "bhsd", EQUAL_VALUES, NULL},
    {"f32 q2 k65536 d16", "bhsd", SPREAD, NULL},
    {"f32 q2 k262144 d16", "bhsd", EQUAL_VALUES, NULL},
    {"f32 q2 k262144 d16", "bhsd", EQUAL_KEYS, NULL},
    {"f32 q1 k262144 d16", "bhsd", SPREAD, NULL},
    {"f32 q1 k1048576 d16", "bhsd", EQUAL_VALUES, NULL},
    {"f32 q1 k1048576 d16", "bhsd", EQUAL_KEYS, NULL},
    {"f32 q3 k20000 d64 causal", "bshd", EQUAL_VALUES, NULL},
    {"f32 q3 k65536 d64 causal", "bshd", SPREAD, NULL},
    {"f32 q3 k20000 d64 causal alibi", "bshd", SPREAD " alibi=value:1e-4", NULL},
    {"f32 q4 k100000 d64 window4999,0", "bhsd", EQUAL_VALUES, NULL},
    {"f32 q4 k100000 d64 window4999,0", "bhsd", SPREAD, NULL},

    {"f16 q4 k4096 d16 causal", "bhsd", EQUAL_VALUES, NULL},
    {"f16 q4 k8192 d16 causal", "bhsd", EQUAL_VALUES, NULL},
    {"f16 q4 k8192 d16 causal", "bhsd", EQUAL_KEYS, NULL},
    {"f16 q4 k20000 d16 causal", "bhsd", EQUAL_KEYS, NULL},
    {"f16 q3 k20000 d16 causal", "bhsd", SPREAD, NULL},
    {"f16 q4 k20000 d16 window4999,0", "bhsd", SPREAD, NULL},
    {"f16 q3 k20000 d16 causal alibi", "bhsd", SPREAD " alibi=value:1e-4", NULL},
    {"f16 q4 k65536 d16 causal", "bhsd", EQUAL_KEYS, NULL},
    {"f16 q4 k100000 d16 window4999,0", "bhsd", EQUAL_KEYS, NULL},
    {"f16 q1 k262144 d16 causal", "bhsd", EQUAL_VALUES, NULL},
    {"f16 q1 k262144 d16 causal", "bhsd", SPREAD, NULL},
    {"f16 q1 k1048576 d16 causal", "bhsd", EQUAL_VALUES, NULL},

    {"bf16 q4 k4096 d24", "bhsd", EQUAL_VALUES, NULL},
    {"bf16 q4 k8192 d24", "bhsd", EQUAL_KEYS, NULL},
    {"bf16 q4 k20000 d24", "bhsd", SPREAD, NULL},
    {"bf16 q4 k65536 d24", "bhsd", EQUAL_VALUES, NULL},
    {"bf16 q1 k262144 d24", "bhsd", EQUAL_VALUES, NULL},
    {"bf16 q1 k1048576 d24", "bhsd", EQUAL_VALUES, NULL},
};

#define SAME "once q=value:0.1 k=rows:2 v=rows:0.1 d_o=value:0.1 d_lse=value:0.1"
#define MIXED "once q=value:0.1 k=rows:2 v=positive:1 d_o=positive:1 d_lse=uniform:1"

static const struct test_case backward[] = {
    {"f32 q4096 k2 d16", "bhsd", SAME, NULL},
    {"f32 q20000 k3 d16", "bhsd", MIXED, NULL},
    {"f32 h4:1 q20000 k2 d16", "bhsd", SAME, NULL},
    {"f32 h4:1 q20000 k2 d16", "bshd", MIXED, NULL},
    {"f32 h4:2 q65536 k1 d16", "bhsd", SAME, NULL},
    {"f32 q2 k20000 d16", "bhsd", SAME, NULL},
    {"f32 q2 k65536 d16", "bhsd", MIXED, NULL},
    {"f32 q1 k262144 d16", "bhsd", SAME, NULL},

    {"f16 h2:1 q20000 k4 d16 causal start", "bhsd", SAME, NULL},
    {"f16 h4:1 q20000 k2 d16 causal start", "bhsd", MIXED, NULL},
    {"f16 h2:1 q65536 k2 d16 causal start", "bhsd", SAME, NULL},
    {"f16 h2 q3 k20000 d16 causal", "bhsd", SAME, NULL},
    {"f16 h2 q3 k20000 d16 causal", "bhsd", MIXED, NULL},
    /* weights below 2^-14, all of them rounded alike */
    {"f16 df32 h2:1 q8 k60000 d16", "bhsd", "once q=value:0 d_o=value:0.1", NULL},
};

/* On a CPU a case takes about 1 s at 262144 keys and 4 s at 1048576 by every solver and engine,
 * most of it on the host, and a kernel 1 to 4 s to compile (PoCL 3.1, one core of a Xeon,
 * 2026-11-26).  Emulated engines are many: each has one kernel and 5 s. */
static bool affords(const char *variant, cl_device_type device, const clattn_desc *desc) {
    (void)device;
    return !strstr(variant, "EMULATED=1") || (desc->type == CLATTN_F16 && desc->seq_kv <= 262144);
}

int main(int argc, char **argv) {
    const struct suite_subject subject = {"test_long_sums",
                                          table,
                                          sizeof table / sizeof *table,
                                          backward,
                                          sizeof backward / sizeof *backward,
                                          affords};
    return suite_main(argc, argv, &subject);
}
