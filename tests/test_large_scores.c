/*
 * Scores and values as large as they may be: all weights but a few are then 0 or 1, and o is
 * the v of the key that scores highest.
 *
 *     test_large_scores --solver VARIANT|auto ...    (suite.h)
 *
 * fwd_mma and fwd_wgmma compute a block of rows twice where a row's largest score is far from 0
 * (state_is_far in cl/state.cl): the table has rows on either side of that limit.
 *
 * No row is ill-conditioned: scores of random numbers lie further apart than f32 can confuse
 * them, seeds are such that no two of the highest are equal by chance, and where scores have to
 * be equal, their values are.  The exceptions say ill=N, and why.  On a CPU a driver needs
 * seconds for each kernel: the table has three of f16, two of bf16, three of f32, and one of f16
 * with softcap for solvers that do not take f32.
 *
 * Backward has a table of its own: its scores are legal up to 2^16, and beyond all gradients are
 * finite.
 */
#include <string.h>

#include "suite.h"

static const struct test_case table[] = {
    /* f16: entries up to the largest number */
    {"f16 q5 k64 d64", "bhsd", "seed=6 q=signs:30 k=signs:30", NULL},
    {"f16 q5 k64 d64", "bhsd", "seed=6 q=signs:100 k=signs:100", NULL},
    {"f16 q5 k64 d64", "bhsd", "seed=6 q=signs:1000 k=signs:1000 exact", NULL},
    {"f16 q5 k64 d64", "bhsd", "seed=6 q=signs:10000 k=signs:10000 exact", NULL},
    {"f16 q5 k64 d64", "bhsd", "seed=6 q=signs:20000 k=signs:20000 exact", NULL},
    {"f16 q5 k64 d64", "bhsd", "seed=6 q=signs:60000 k=signs:60000 exact", NULL},
    {"f16 q70 k64 d64", "bshd", "q=uniform:30 k=uniform:30", NULL},
    {"f16 q70 k64 d64", "bshd", "q=uniform:100 k=uniform:100", NULL},
    {"f16 q70 k64 d64", "bshd", "q=uniform:1000 k=uniform:1000", NULL},
    {"f16 q70 k64 d64", "bshd", "q=uniform:10000 k=uniform:10000 exact", NULL},
    {"f16 q70 k64 d64", "bshd", "q=uniform:20000 k=uniform:20000 exact", NULL},
    {"f16 q70 k64 d64", "bshd", "q=uniform:60000 k=uniform:60000 exact", NULL},
    {"f16 h2 q70 k65 d64", "bhsd", "q=match:1 k=signs:1000 exact", NULL},
    {"f16 h2 q70 k65 d64", "bhsd", "q=match:1 k=signs:10000 exact", NULL},
    {"f16 h2 q70 k65 d64", "bhsd", "q=match:1 k=signs:20000 exact", NULL},
    {"f16 h2 q70 k65 d64", "bhsd", "q=match:1 k=signs:60000 exact", NULL},
    {"f16 h2 q70 k65 d64", "bhsd", "q=match:-1 k=uniform:60000 scale=-1 exact", NULL},
    {"f16 q70 k64 d64", "bhsd", "q=uniform:60000 k=uniform:60000 scale=0", NULL},
    {"f16 q70 k64 d64", "bhsd", "q=uniform:1 k=positive:1 scale=1e33 exact overflow", NULL},
    {"f16 q5 k300 d64", "bhsd", "q=match:1 k=signs:60000 exact", NULL},
    /* ... small ones first, for kernels that go by what they have seen */
    {"f16 h2 q70 k600 d64", "bhsd", "q=uniform:30 k=late:20000 exact", NULL},
    {"f16 h2 q70 k600 d64 causal", "bhsd", "q=uniform:30 k=late:20000 exact", NULL},
    {"f16 h2 q70 k600 d64", "bhsd", "q=uniform:1 k=late:1000", NULL},
    /* ... large ones below 0 first, which count for nothing then */
    {"f16 q70 k600 d64", "bhsd", "q=positive:20000 k=early:60000", NULL},
    /* ... from just beyond -2^9 (base 2) to just within, where kernels go over to another way */
    {"f16 q300 k300 d64", "bhsd", "q=edge:1 k=steep:1 scale=1", NULL},
    {"f16 h2 q300 k300 d64 window40,0", "bhsd", "q=uniform:60000 k=uniform:60000 exact", NULL},

    /* f16: one key, and keys that are all equal */
    {"f16 q5 k1 d64", "bhsd", "q=value:33120 k=value:33120 v=value:33120 exact", NULL},
    {"f16 q5 k1 d64", "bhsd", "q=uniform:60000 k=uniform:60000 v=uniform:60000 exact", NULL},
    {"f16 q5 k1 d64", "bhsd", "q=signs:60000 k=signs:60000 v=signs:65504 exact", NULL},
    {"f16 q5 k40 d64", "bhsd", "q=value:20000 k=value:20000 v=rows:1 exact", NULL},
    {"f16 q5 k40 d64", "bhsd", "q=uniform:60000 k=rows:60000 v=rows:60000 exact", NULL},

    /* f16: the largest V; weights of rest:-1 are 1 and, by that scale, just over a half and
     * the half of an ulp, so that all are rounded up */
    {"f16 q5 k64 d64", "bhsd", "q=value:1 k=value:1 v=value:65504 exact", NULL},
    {"f16 q5 k64 d64", "bhsd", "v=value:65504", NULL},
    {"f16 q5 k64 d64", "bhsd", "v=value:-65504", NULL},
    {"f16 q70 k64 d64", "bhsd", "v=signs:65504", NULL},
    {"f16 q5 k64 d64", "bhsd", "q=value:1 k=rest:-1 v=value:65504 scale=0.692649", NULL},
    {"f16 q5 k300 d64", "bhsd", "q=value:1 k=rest:-1 v=value:-65504 scale=0.692649", NULL},
    {"f16 q5 k64 d64", "bhsd", "q=value:1 k=rest:-1 v=rows:65504 scale=0.692649", NULL},
    {"f16 q5 k64 d64", "bhsd", "q=match:1 k=signs:60000 v=signs:65504 exact", NULL},

    /* f16, bands: grouped heads, and rows that see nothing beside rows with large scores */
    {"f16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:30 k=uniform:30", NULL},
    {"f16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1000 k=uniform:1000", NULL},
    {"f16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:20000 k=uniform:20000 exact", NULL},
    {"f16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:60000 k=uniform:60000 exact", NULL},
    {"f16 h2 q70 k33 d40 causal", "bshd", "q=uniform:60000 k=uniform:60000 exact", NULL},
    {"f16 h2 q70 k64 d40 window10,5", "bhsd", "q=uniform:60000 k=uniform:60000 exact", NULL},
    {"f16 h2 q70 k33 d40 causal", "bshd", "v=value:65504", NULL},
    {"f16 h2 q70 k33 d40 causal", "bhsd", "q=uniform:1 k=positive:1 scale=1e33 overflow", NULL},

    /* f16, ALiBi: large beside ordinary scores, both large, and rows that are far because of it */
    {"f16 h2 q70 k64 d64 alibi", "bhsd", "alibi=value:1e30 exact", NULL},
    {"f16 h2 q70 k64 d64 alibi", "bshd", "alibi=value:-1e30 exact", NULL},
    {"f16 h2 q70 k64 d64 causal alibi", "bhsd", "q=uniform:60000 k=uniform:60000 alibi=uniform:1e7",
     NULL},
    {"f16 h2 q300 k300 d64 causal alibi", "bhsd", "alibi=value:-20", NULL},
    {"f16 h2 q70 k64 d64 alibi", "bhsd", "q=uniform:1 k=positive:1 scale=1e33 exact overflow",
     NULL},

    /* bf16 */
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:30 k=uniform:30", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e2 k=uniform:1e2", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e3 k=uniform:1e3", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e4 k=uniform:1e4 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e5 k=uniform:1e5 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e6 k=uniform:1e6 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e7 k=uniform:1e7 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e8 k=uniform:1e8 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e9 k=uniform:1e9 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e10 k=uniform:1e10 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e11 k=uniform:1e11 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e12 k=uniform:1e12 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e13 k=uniform:1e13 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e14 k=uniform:1e14 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e15 k=uniform:1e15 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e16 k=uniform:1e16 exact", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e17 k=uniform:1e17 exact", NULL},
    {"bf16 h2 q5 k64 d40 causal", "bhsd", "q=match:1 k=signs:1e3 exact", NULL},
    {"bf16 h2 q5 k64 d40 causal", "bhsd", "q=match:1 k=signs:1e10 exact", NULL},
    {"bf16 h2 q5 k64 d40 causal", "bhsd", "q=match:1 k=signs:1e17 exact", NULL},
    {"bf16 h2 q70 k33 d40 causal", "bshd", "q=uniform:1e17 k=uniform:1e17 exact", NULL},
    {"bf16 h2 q70 k64 d40 window10,5", "bhsd", "q=uniform:1e17 k=uniform:1e17 exact", NULL},
    {"bf16 q70 k600 d40 causal", "bhsd", "q=positive:1e4 k=early:1e6", NULL},
    {"bf16 q5 k1 d40 causal start", "bhsd", "q=value:133120 k=value:133120 v=value:133120 exact",
     NULL},
    {"bf16 q1 k1 d40 causal", "bhsd", "q=uniform:1e17 k=uniform:1e17 v=uniform:3e38 exact", NULL},
    {"bf16 q1 k40 d40 causal", "bhsd", "q=value:1e17 k=value:1e17 v=rows:1 exact", NULL},
    {"bf16 q5 k64 d40 causal", "bhsd", "v=value:5.2e36", NULL},
    {"bf16 q5 k64 d40 causal", "bhsd", "q=value:1 k=value:1 v=value:5.2e36 exact", NULL},
    {"bf16 q5 k64 d40 causal", "bhsd", "q=value:1 k=rest:-1 v=value:5.2e36 scale=0.689171", NULL},
    {"bf16 h2 q70 k33 d40 causal", "bhsd", "q=uniform:1e-3 k=positive:3e38 exact overflow", NULL},
    {"bf16 h2 q70 k33 d40 causal", "bhsd", "q=uniform:1e17 k=signs:1e17 exact overflow", NULL},

    /* f32: scores up to 1e38, by large entries or by a large scale; entries far from 1 */
    {"f32 q70 k64 d64", "bhsd", "q=uniform:1e3 k=uniform:1e3", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:1e6 k=uniform:1e6 exact", NULL},
    {"f32 h2 q70 k64 d64 alibi", "bhsd", "alibi=value:2e36 exact", NULL},
    {"f32 h2 q70 k64 d64 alibi", "bhsd", "q=uniform:1e3 k=uniform:1e3 alibi=uniform:1e4", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:1e12 k=uniform:1e12 exact", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:3e18 k=uniform:3e18 exact", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:3e18 k=uniform:3e18 scale=1 exact", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:3e18 k=uniform:3e18 scale=-1 exact", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:3e18 k=uniform:3e18 scale=0", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:1e18 k=uniform:1e18 scale=1e-36", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:1e30 k=uniform:1e-30 scale=1e20 exact", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=signs:1e-37 k=uniform:1e37", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=signs:1e-37 k=uniform:1e37 scale=1e36 exact", NULL},
    {"f32 h2 q70 k65 d64", "bhsd", "q=match:1 k=signs:1e18 exact", NULL},
    {"f32 q5 k1 d64", "bhsd", "q=uniform:3e18 k=uniform:3e18 v=value:3.4e38 exact", NULL},
    {"f32 q5 k64 d64", "bhsd", "q=value:1125899906842624 k=value:1125899906842624 v=value:1 exact",
     NULL},
    {"f32 q5 k40 d64", "bhsd", "q=value:1e4 k=value:1e4 v=rows:1", NULL},
    {"f32 q5 k40 d64", "bhsd", "q=uniform:1e18 k=rows:1e18 v=rows:1", NULL},
    /* equal scores of 1e31: f32 tells them from one another as little as from others */
    {"f32 q5 k64 d64", "bhsd", "q=value:1125899906842624 k=value:1125899906842624 ill=5", NULL},
    {"f32 q5 k64 d64", "bhsd", "v=value:5.3e36", NULL},
    {"f32 q5 k64 d64", "bhsd", "v=signs:5.3e36", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:1e-3 k=positive:3e38 exact overflow", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:1e-3 k=value:-3.4e38 v=rows:1 overflow", NULL},
    {"f32 q70 k64 d64", "bhsd", "q=uniform:1e10 k=signs:1e10 exact overflow", NULL},
    {"f32 q70 k64 d64 softcap5", "bhsd", "q=uniform:1e15 k=uniform:1e15", NULL},
    {"f32 q70 k64 d64 softcap5", "bhsd", "q=uniform:3e18 k=uniform:3e18 scale=-1", NULL},
    {"f16 q70 k64 d64 softcap30", "bhsd", "q=uniform:60000 k=uniform:60000", NULL},
    {"f16 q70 k64 d64 softcap30", "bhsd", "q=uniform:60000 k=uniform:60000 scale=-1", NULL},
    {"f32 h4:2 q33 k65 d40 causal", "padded", "q=uniform:1e3 k=uniform:1e3", NULL},
    {"f32 h4:2 q33 k65 d40 causal", "padded", "q=uniform:3e18 k=uniform:3e18 scale=1 exact", NULL},
    {"f32 h2 q70 k33 d40 causal", "bshd", "q=uniform:1e18 k=uniform:1e18 exact", NULL},
    {"f32 h2 q70 k64 d40 window10,5", "bhsd", "q=uniform:1e18 k=uniform:1e18 exact", NULL},
    {"f32 h2 q70 k33 d40 causal", "bhsd", "q=uniform:1e-3 k=positive:3e38 exact overflow", NULL},
    {"f32 h2 q70 k33 d40 causal", "bhsd", "q=uniform:1e-3 k=value:-3.4e38 v=rows:1 overflow", NULL},
};

/* Scores up to 64,800: 64 products of 90 and 90, over 8. */
static const struct test_case backward[] = {
    /* one key has all of the weight, or some that are equal share it */
    {"f16 h2 q70 k65 d64", "bhsd", "q=match:1 k=signs:90", NULL},
    {"f16 h2 q70 k65 d64", "bshd", "q=match:-1 k=signs:90", NULL},
    {"f16 h4:2 q70 k65 d64", "bhsd", "seed=6 q=signs:90 k=signs:90", NULL},
    {"f16 q5 k1 d64", "bhsd", "q=value:90 k=value:90", NULL},
    {"f16 q70 k64 d64", "bhsd", "q=edge:13 k=steep:14 scale=1", NULL},
    /* all keys have the same score, high or low, and lse is rounded to 2^-8 */
    {"f16 h4:2 q70 k65 d64", "bhsd", "q=value:90 k=value:90", NULL},
    {"f16 h2 q70 k65 d64", "padded", "q=value:90 k=value:-90", NULL},
    {"f16 h2 q70 k65 d64", "bhsd", "q=value:1 k=rest:1 scale=65000", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=value:90 k=value:90", NULL},
    {"bf16 h2 q70 k33 d40 causal", "bhsd", "q=value:90 k=value:-90", NULL},
    {"bf16 h2 q33 k65 d40 causal", "bshd", "q=match:1 k=signs:100", NULL},
    {"f32 h4:2 q33 k65 d64", "bhsd", "q=value:90 k=value:90", NULL},
    {"f32 h4:2 q33 k65 d64", "padded", "q=uniform:150 k=uniform:150", NULL},
    {"f32 h2 q33 k65 d64", "bhsd", "q=rows:150 k=rows:150 scale=-1", NULL},
    /* ALiBi: few keys near one another in score, of large scores; distances that are the score */
    {"f32 h2 q70 k64 d64 alibi", "bhsd", "q=value:90 k=value:90 alibi=uniform:0.1", NULL},
    {"f32 h2 q70 k64 d64 alibi", "bshd", "alibi=value:1000", NULL},
    {"f32 h2 q70 k64 d64 alibi", "bhsd", "alibi=value:-1000", NULL},
    /* softcap: large scores, and large products */
    {"f32 q70 k64 d64 softcap60000", "bhsd", "q=uniform:150 k=uniform:150", NULL},
    {"f32 q70 k64 d64 softcap60000", "bhsd", "q=value:90 k=value:90", NULL},
    {"f32 q70 k64 d64 softcap5", "bhsd", "q=uniform:1e15 k=uniform:1e15", NULL},
    /* beyond 2^16: P can be anything from 0 to 1 */
    {"f16 h2 q70 k65 d64", "bhsd", "q=value:20000 k=value:20000 ill=1", NULL},
    {"f16 h2 q70 k65 d64", "bhsd", "q=value:60000 k=value:-60000 ill=1", NULL},
    {"f16 h2 q70 k65 d64", "bhsd", "q=uniform:60000 k=uniform:60000 ill=1", NULL},
    {"bf16 h4:2 q33 k65 d40 causal", "padded", "q=value:1e6 k=value:1e6 ill=1", NULL},
    {"f32 h4:2 q33 k65 d64", "bhsd", "q=uniform:1e9 k=uniform:1e9 ill=1", NULL},
    {"f32 h4:2 q33 k65 d64", "bhsd", "q=value:1e9 k=value:1e9 ill=1", NULL},
    {"f32 h2 q70 k64 d64 alibi", "bhsd", "alibi=value:-1e9 ill=1", NULL},
};

/* An engine's emulation is built for seconds: one kernel of each type.  The softcap of f16 is
 * for those that do not take f32. */
static bool affords(const char *variant, cl_device_type device, const clattn_desc *desc) {
    const bool masked = desc->band_right != CLATTN_UNBOUNDED;
    (void)device;
    if (strstr(variant, "EMULATED=1"))
        return desc->type != CLATTN_F32 && desc->softcap == 0 &&
               masked == (desc->type == CLATTN_BF16);
    return desc->type != CLATTN_F16 || desc->softcap == 0 || cases_solver_of(variant)->halves;
}

int main(int argc, char **argv) {
    const struct suite_subject subject = {"test_large_scores",
                                          table,
                                          sizeof table / sizeof *table,
                                          backward,
                                          sizeof backward / sizeof *backward,
                                          affords};
    return suite_main(argc, argv, &subject);
}
