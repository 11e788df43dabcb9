#include "clattn.h"

cl_uint clattn_version(void) {
    return CLATTN_VERSION;
}
