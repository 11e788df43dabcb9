#!/bin/sh
# PROGRAM sees one OpenCL implementation of this machine alone, and tests run on it.
#
#     test_on.sh IMPLEMENTATION COMPILERS PROGRAM [ARGUMENT...]
#
# rusticl: Mesa's, on its software driver llvmpipe.  It ends every loop of a kernel after
# 65,535 rounds without a word: small cases alone mean something there.
# intel: Intel's for x86-64 CPUs, which tools/setup_compilers.sh unpacks into COMPILERS.
# Skipped (77) where the implementation is not there.
set -u

implementation=$1 compilers=$2
shift 2
skip() {
    echo "skipped: $1; sh tools/setup.sh --tests gets it $2"
    exit 77
}

case $implementation in
rusticl)
    [ -e /etc/OpenCL/vendors/rusticl.icd ] || skip "no Rusticl" "on Debian 12"
    library=$(cat /etc/OpenCL/vendors/rusticl.icd)
    export RUSTICL_ENABLE=llvmpipe CLATTN_TEST_DEVICE=rusticl
    ;;
intel)
    library=$compilers/intel-opencl/libintelocl.so
    [ -e "$library" ] || skip "no CPU runtime of Intel" "on x86-64"
    library=$(realpath "$library")
    export CLATTN_TEST_DEVICE=Intel
    ;;
*)
    echo "test_on.sh: no implementation is called $implementation" >&2
    exit 2
    ;;
esac
# A folder: Khronos' loader takes no file.
OCL_ICD_VENDORS=$(mktemp -d) || exit 1
trap 'rm -rf "$OCL_ICD_VENDORS"' EXIT
echo "$library" >"$OCL_ICD_VENDORS/only.icd"
export OCL_ICD_VENDORS

"$@"
result=$?
if [ "$implementation" = rusticl ] && [ "$result" -eq 4 ]; then
    skip "Rusticl offers no device: no libclc-15" "on Debian 12"
fi
exit "$result"
