#include "feature.h"

const struct feature features_table[] = {
    {0, NULL},
};
