#!/bin/sh
# check_names.sh usual|worst LAYER SCRIPT ARGUMENT...: the test SCRIPT passes whatever the device is
# called.
#
# The device's name comes from the driver, and scripts hand it on: it is text, and no pattern, no
# format, no list and no shell word.  LAYER (layer.c) fakes it.  usual: what most Intel machines
# say.  worst: every sign that means something to some tool, and the device is chosen by that name.
set -eu
kind=$1 layer=$2
shift 2
if [ -n "${CLATTN_TEST_DEVICE:-}" ]; then
    echo "skipped: CLATTN_TEST_DEVICE chooses a device by a part of its own name"
    exit 77
fi
case $kind in
usual) CLATTN_LAYER_NAME='Intel(R) Xeon(R) Processor' ;;
worst)
    CLATTN_LAYER_NAME='A(R) B [x] "c" * %s \d; #é'
    export CLATTN_TEST_DEVICE="$CLATTN_LAYER_NAME"
    ;;
esac
export OPENCL_LAYERS="$layer" CLATTN_LAYER_NAME
sh "$@"
