/*
 * The copy of the layer (layer.h) that the OpenCL loader has loaded.
 */
#ifndef FIND_LAYER_H
#define FIND_LAYER_H

#include "layer.h"

/* NULL, after saying why, where OPENCL_LAYERS does not name the layer or the loader loads none. */
const struct layer_controls *find_layer(void);

#endif
