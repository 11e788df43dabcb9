#!/bin/sh
# check_kernels.sh COMPOSER: every composed program passes clang's OpenCL front end
# without a warning.  COMPOSER is check_kernels.c, built.
#
# An engine's instructions are linted for its own machine.  Where this clang is older than
# them, the program is linted with EMULATED=1 instead, and the last lines say so.
set -eu
clang=
for name in clang-22 clang-21 clang-20 clang-19 clang; do
    [ -n "$clang" ] || ! command -v "$name" >/dev/null || clang=$name
done
[ -n "$clang" ] || { echo "skipped: no clang"; exit 77; }
directory=kernels
rm -rf "$directory" emulated.txt
mkdir "$directory"
CLATTN_DUMP=$directory "$1"

# What Intel's compilers declare for cl_intel_subgroup_matrix_multiply_accumulate; A is int8 on
# devices whose smallest sub-group is 8, short8 where it is 16.
cat >dpas.h <<'END'
#define cl_intel_subgroup_matrix_multiply_accumulate 1
__attribute__((overloadable)) float8 intel_sub_group_f16_f16_matrix_mad_k16(A, int8, float8);
__attribute__((overloadable)) float8 intel_sub_group_bf16_bf16_matrix_mad_k16(A, int8, float8);
END

lint() { # FILE OPTION...
    file=$1
    shift
    "$clang" "$@" -x cl -cl-std=CL1.2 -Xclang -finclude-default-header -Wall -Wextra -Werror \
        -fsyntax-only "$file"
}

# Does this clang know the builtin of that AMD chip?
knows() { # CHIP BUILTIN
    printf '#if !__has_builtin(%s)\n#error\n#endif\n' "$2" >builtin.cl
    "$clang" -target amdgcn-amd-amdhsa -mcpu="$1" -nogpulib -x cl -fsyntax-only builtin.cl 2>builtin.log
}

lint_amd() { # FILE CHIP BUILTIN
    if knows "$2" "$3"; then
        lint "$1" -target amdgcn-amd-amdhsa -mcpu="$2" -nogpulib
    else
        echo "$2: linted with EMULATED=1, $clang is too old for $3" >>emulated.txt
        case $1 in */probe-*) return 0 ;; esac # it needs the builtin: that is its purpose
        sed 's/^#define EMULATED 0/#define EMULATED 1/' "$1" >emulated.cl
        lint emulated.cl
    fi
}

result=0
count=0
for file in "$directory"/*.cl; do
    [ -e "$file" ] || break
    count=$((count + 1))
    case $(sed -n 's/^#define ENGINE //p' "$file") in
    nv80) lint "$file" -target nvptx64 -Xclang -cl-ext=+cl_khr_fp16 ;;
    amd_wmma11) lint_amd "$file" gfx1100 __builtin_amdgcn_wmma_f32_16x16x16_f16_w32 ;;
    amd_wmma12) lint_amd "$file" gfx1201 __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12 ;;
    amd_mfma) lint_amd "$file" gfx90a __builtin_amdgcn_mfma_f32_16x16x16bf16_1k ;;
    intel_dpas8) lint "$file" -target spir64 -DA=int8 -include dpas.h ;;
    intel_dpas16) lint "$file" -target spir64 -DA=short8 -include dpas.h ;;
    *)
        case $(head -n 1 "$file") in
        *" fwd_wgmma "*) lint "$file" -target nvptx64 -Xclang -cl-ext=+cl_khr_fp16 ;;
        *) lint "$file" ;;
        esac
        ;;
    esac || { head -n 1 "$file"; result=1; }
done
echo "$count different programs checked by $("$clang" --version | head -n 1)"
[ ! -e emulated.txt ] || sort -u emulated.txt
[ "$count" -gt 0 ] || result=1
exit $result
