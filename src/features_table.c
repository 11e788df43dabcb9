#include "feature.h"

const struct feature features_table[] = {
    {CLATTN_FEATURE_ALIBI, "alibi", .scored = true, .diagonal = true},
    {0},
};
