#!/bin/sh
# check_kernels.sh COMPOSER: every composed program passes clang's OpenCL front end
# without a warning.  COMPOSER is check_kernels.c, built.
set -eu
command -v clang >/dev/null || { echo "skipped: no clang"; exit 77; }
directory=kernels
rm -rf "$directory"
mkdir "$directory"
CLATTN_DUMP=$directory "$1"
result=0
count=0
for file in "$directory"/*.cl; do
    [ -e "$file" ] || break
    count=$((count + 1))
    # An engine's inline assembly has its own machine's constraints.
    case $(head -n 1 "$file") in
    *" ENGINE=nv"*"EMULATED=0"*) target="-target nvptx64 -Xclang -cl-ext=+cl_khr_fp16" ;;
    *" ENGINE=amd"*"EMULATED=0"*) target="-target amdgcn" ;;
    *) target="" ;;
    esac
    # shellcheck disable=SC2086
    clang $target -x cl -cl-std=CL1.2 -Xclang -finclude-default-header -Wall -Wextra -Werror \
        -fsyntax-only "$file" || { head -n 1 "$file"; result=1; }
done
echo "$count different programs checked"
[ "$count" -gt 0 ] || result=1
exit $result
