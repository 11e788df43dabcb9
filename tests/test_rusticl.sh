#!/bin/sh
# The portable kernels on a second, independent OpenCL: Mesa's Rusticl on its
# software driver llvmpipe.
#
#     test_rusticl.sh TEST_SUBJECT SOLVER [OPTION...]
#
# That driver ends every loop of a kernel after 65,535 rounds without a word, so
# only the small cases run, or what the options of the test say.  Debian 12: apt-get install mesa-opencl-icd libclc-15
set -u

test=$1
icd=/etc/OpenCL/vendors/rusticl.icd
if [ ! -e "$icd" ]; then
    echo "skipped: Rusticl is not installed ($icd is missing)"
    exit 77
fi
export OCL_ICD_VENDORS="$icd" RUSTICL_ENABLE=llvmpipe CLATTN_TEST_DEVICE=rusticl

solver=$2
shift 2
[ $# -gt 0 ] || set -- --small
"$test" --solver "$solver" "$@"
result=$?
if [ "$result" -eq 4 ]; then
    echo "skipped: Rusticl offers no device (is libclc installed?)"
    exit 77
fi
exit "$result"
