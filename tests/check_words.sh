#!/bin/sh
# check_words.sh SOURCE: lists that are kept by hand hold what the code does.
#
# The parameters that the kernels ask for are those that cl/README.md explains, no more and no
# fewer; each engine of src/engines.c has its part, and each part its engine.
set -eu
cd "$1"
asked=$(sed -n 's/^ *# *error "\([A-Z_0-9]*\): .*/\1/p' cl/*.cl cl/*.h | sort -u)
explained=$(sed -n 's/^| `\([A-Z_0-9]*\)` | .*/\1/p' cl/README.md | sort)
[ -n "$asked" ] || { echo "found no parameter in cl/"; exit 1; }
wrong=0
complain() {
    echo "$1"
    wrong=1
}
for word in $asked; do
    echo "$explained" | grep -qx "$word" || complain "cl/README.md: does not explain $word"
done
for word in $explained; do
    echo "$asked" | grep -qx "$word" || complain "cl/README.md: $word is asked for nowhere, or twice"
done

engines=$(sed -n 's/^    {"\([a-z0-9_]*\)", .*/\1/p' src/engines.c)
[ -n "$engines" ] || { echo "found no engine in src/engines.c"; exit 1; }
for engine in $engines; do
    [ -f "cl/engine_$engine.cl" ] || complain "src/engines.c: $engine has no cl/engine_$engine.cl"
done
for part in cl/engine_*.cl; do
    engine=${part#cl/engine_} engine=${engine%.cl}
    [ "$engine" = move ] || echo "$engines" | grep -qx "$engine" ||
        complain "$part: src/engines.c has no engine $engine"
done
exit "$wrong"
