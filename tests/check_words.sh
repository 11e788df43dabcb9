#!/bin/sh
# check_words.sh SOURCE: the parameters that the kernels ask for are those that
# cl/README.md explains, no more and no fewer.
set -eu
cd "$1"
asked=$(sed -n 's/^ *# *error "\([A-Z_0-9]*\): .*/\1/p' cl/*.cl | sort -u)
explained=$(sed -n 's/^| `\([A-Z_0-9]*\)` | .*/\1/p' cl/README.md | sort)
[ -n "$asked" ] || { echo "found no parameter in cl/*.cl"; exit 1; }
[ "$asked" = "$explained" ] && exit 0
for word in $asked; do
    echo "$explained" | grep -qx "$word" || echo "cl/README.md: does not explain $word"
done
for word in $explained; do
    echo "$asked" | grep -qx "$word" || echo "cl/README.md: $word is asked for nowhere, or twice"
done
exit 1
