#!/bin/sh
# check_symbols.sh SHARED_LIBRARY HEADER: the library exports what the header
# declares, and nothing else.
set -eu
declared=$(grep -oE '\bclattn_[a-z_]+\(' "$2" | tr -d '(' | sort -u)
# A sanitizer adds names of its own, beginning with two underscores.
exported=$(nm -D --defined-only "$1" | awk '{ print $NF }' | grep -v '^__' | sort -u)
[ -n "$declared" ]
if [ "$declared" != "$exported" ]; then
    echo "declared by the header:" $declared
    echo "exported by the library:" $exported
    exit 1
fi
