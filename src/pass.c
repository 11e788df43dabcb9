#include "pass.h"

const struct pass passes_table[PASSES] = {
    [CLATTN_FORWARD] =
        {.word = "fwd", .name = "forward", .reads = "q k v", .writes = "o lse", .optional = "lse"},
    [CLATTN_BACKWARD] = {.word = "bwd",
                         .name = "backward",
                         .reads = "q k v o lse d_o d_lse",
                         .writes = "d_q d_k d_v",
                         .optional = "d_lse d_q d_k d_v"},
    [CLATTN_MERGE] = {.word = "merge",
                      .name = "merge",
                      .reads = "o_1 lse_1 o_2 lse_2",
                      .writes = "o lse",
                      .optional = "lse",
                      .in_place = true},
};
