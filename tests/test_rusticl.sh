#!/bin/sh
# The portable kernels on a second, independent OpenCL: Mesa's Rusticl on its
# software driver llvmpipe.
#
#     test_rusticl.sh TEST_ATTENTION SOLVER
#
# That driver ends every loop of a kernel after 65,535 rounds without a word, so
# only the small cases run.  Debian 12: apt-get install mesa-opencl-icd libclc-15
set -u

test_attention=$1
icd=/etc/OpenCL/vendors/rusticl.icd
if [ ! -e "$icd" ]; then
    echo "skipped: Rusticl is not installed ($icd is missing)"
    exit 77
fi
export OCL_ICD_VENDORS="$icd" RUSTICL_ENABLE=llvmpipe CLATTN_TEST_DEVICE=rusticl

"$test_attention" --solver "$2" --small
result=$?
if [ "$result" -eq 4 ]; then
    echo "skipped: Rusticl offers no device (is libclc installed?)"
    exit 77
fi
exit "$result"
