#!/bin/sh
# check_kernels.sh COMPOSER FIXTURES: every composed program passes clang's OpenCL front end
# without a warning.  COMPOSER is check_kernels.c, built; FIXTURES is tests/fixtures.
#
# An engine's instructions are linted for its own machine, by the vendor that its name begins with.
# Where this clang is older than them, the program is linted with EMULATED=1 instead, and the last
# lines say so.
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
fixtures=$2

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

# The chip of a fixture that has the engine, and the builtin that the engine's part asks for first.
amd_chip() { # ENGINE
    grep -lx "matrix $1" "$fixtures"/*.txt | while read -r fixture; do
        sed -n 's@^architecture amd/@@p' "$fixture"
    done | head -n 1
}
amd_builtin() { # FILE
    sed -n 's/.*__has_builtin(\(__builtin_amdgcn_[a-z0-9_]*\)).*/\1/p' "$1" | head -n 1
}

# Does this clang know the builtin of that AMD chip?
knows() { # CHIP BUILTIN
    printf '#if !__has_builtin(%s)\n#error\n#endif\n' "$2" >builtin.cl
    "$clang" -target amdgcn-amd-amdhsa -mcpu="$1" -nogpulib -x cl -fsyntax-only builtin.cl 2>builtin.log
}

lint_amd() { # FILE ENGINE
    chip=$(amd_chip "$2") builtin=$(amd_builtin "$1")
    [ -n "$chip" ] || { echo "no file of $fixtures has the engine $2: for which chip is it?"; return 1; }
    [ -n "$builtin" ] || { echo "$2: its part asks for no __has_builtin"; return 1; }
    if knows "$chip" "$builtin"; then
        lint "$1" -target amdgcn-amd-amdhsa -mcpu="$chip" -nogpulib
    else
        echo "$chip: linted with EMULATED=1, $clang is too old for $builtin" >>emulated.txt
        case $1 in */probe-*) return 0 ;; esac # it needs the builtin: that is its purpose
        sed 's/^#define EMULATED 0/#define EMULATED 1/' "$1" >emulated.cl
        lint emulated.cl
    fi
}

lint_intel() { # FILE
    case $(sed -n 's/^#define ENGINE_LANES //p' "$1") in
    8) a=int8 ;;
    *) a=short8 ;;
    esac
    lint "$1" -target spir64 -DA=$a -include dpas.h
}

result=0
count=0
for file in "$directory"/*.cl; do
    [ -e "$file" ] || break
    count=$((count + 1))
    engine=$(sed -n 's/^#define ENGINE //p' "$file")
    case $engine in
    nv*) lint "$file" -target nvptx64 -Xclang -cl-ext=+cl_khr_fp16 ;;
    amd_*) lint_amd "$file" "$engine" ;;
    intel_*) lint_intel "$file" ;;
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
