#!/bin/sh
# check_header.sh SOURCE CC: the header compiles as C99 and as C++11 without a warning.
set -eu
source=$1 cc=$2

compile() {
    "$@" -Wall -Wextra -pedantic -Werror -fsyntax-only -DCL_TARGET_OPENCL_VERSION=300 \
        -I"$source/include" "$source/tests/check_header.c"
}

compile "$cc" -std=c99 -Wstrict-prototypes
if ! command -v c++ >/dev/null; then
    echo "no C++ compiler: C99 checked, C++11 skipped"
    exit 77
fi
compile c++ -x c++ -std=c++11
