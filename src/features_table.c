#include "feature.h"

const struct feature features_table[] = {
    {CLATTN_FEATURE_ALIBI, "alibi", .scored = true, .diagonal = true},
    {CLATTN_FEATURE_BIAS, "bias", .scored = true, .hides = true},
    {CLATTN_FEATURE_MASK, "mask", .scored = true, .hides = true},
    {CLATTN_FEATURE_SINK, "sink", .hides = false},
    {0},
};
