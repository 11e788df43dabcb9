#include "feature.h"

cl_ulong feature_all(void) {
    cl_ulong bits = 0;
    for (const struct feature *f = features_table; f->bit; f++) {
        bits |= f->bit;
    }
    return bits;
}

cl_ulong feature_scored(void) {
    cl_ulong bits = 0;
    for (const struct feature *f = features_table; f->bit; f++) {
        bits |= f->scored ? f->bit : 0;
    }
    return bits;
}

cl_ulong feature_hides(void) {
    cl_ulong bits = 0;
    for (const struct feature *f = features_table; f->bit; f++) {
        bits |= f->hides ? f->bit : 0;
    }
    return bits;
}

cl_ulong feature_diagonal(void) {
    cl_ulong bits = 0;
    for (const struct feature *f = features_table; f->bit; f++) {
        bits |= f->diagonal ? f->bit : 0;
    }
    return bits;
}
