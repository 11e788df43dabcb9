#!/bin/sh
# check_includes.sh SOURCE: who may use whom (CONTRIBUTING.md, "Directions").
set -eu
cd "$1"
failed=0
complain() { echo "$*"; failed=1; }

# A file of src/ may include a file of its own rank or of a lower one.
rank() {
    case $1 in
    clattn | version | size | sources | text) echo 0 ;;
    status | lock | sized) echo 0 ;;
    ptx | problem* | pass | feature* | device* | engines | tensor | cache | variant | operand | params) echo 1 ;;
    program | tuning* | log) echo 2 ;;
    solvers* | launch | clblast*) echo 3 ;;
    solver_*) echo 4 ;;
    cost | choose | candidates) echo 5 ;;
    plan | plans | propose | context | call | forward | backward | merge) echo 6 ;;
    *) echo unknown ;;
    esac
}

stem() { basename "$1" | sed 's/\.[ch]$//'; }

included() { sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$1"; }

for file in src/*.[ch]; do
    own=$(rank "$(stem "$file")")
    if [ "$own" = unknown ]; then
        complain "$file: has no place in the order of tests/check_includes.sh; give it one"
        continue
    fi
    for other in $(included "$file"); do
        other_rank=$(rank "$(stem "$other")")
        if [ "$other_rank" = unknown ] || [ "$other_rank" -gt "$own" ]; then
            complain "$file: must not include $other"
        fi
        case $(stem "$file"):$(stem "$other") in
        solver_*:solver_*)
            [ "$(stem "$file")" = "$(stem "$other")" ] ||
                complain "$file: solvers do not know one another, but it includes $other"
            ;;
        esac
    done
done

# These answer without a device.
for file in src/problem*.[ch] src/pass.[ch] src/feature*.[ch] src/tuning*.[ch] src/variant.[ch] src/operand.[ch] src/status*.[ch] src/text*.[ch]; do
    [ -e "$file" ] || continue
    calls=$(grep -nE '\bcl[A-Z][A-Za-z]* *\(' "$file") || continue
    complain "$file: must make no OpenCL call: $calls"
done

# Tools and examples are written as any application: only the public header.  What writes files
# they share: examples compile these two parts of tools/.
for file in tools/*.[ch] examples/*.[ch]; do
    [ -e "$file" ] || continue
    for other in $(included "$file"); do
        case $file:$other in examples/*:safetensors.h | examples/*:replace.h) continue ;; esac
        [ "$other" = clattn.h ] || [ -e "$(dirname "$file")/$other" ] ||
            complain "$file: must not include $other"
        case $other in */*) complain "$file: must not reach out to $other" ;; esac
    done
done

# Kernels: a main loop holds one kernel, of its own name; a part holds none.
for file in cl/*.cl; do
    name=$(basename "$file" .cl)
    kernels=$(sed 's@/\*.*\*/@@; s@//.*@@; /^ \*/d' "$file" | grep -cw __kernel) || :
    case $name in
    base | storage | slice | span | finite | score | state | grad | rows | dense* | ahead | lanes* | split | engine* | mma | mma_* | wgmma* | tile_*)
        [ "$kernels" = 0 ] || complain "$file: a part holds no kernel"
        ;;
    *)
        [ "$kernels" = 1 ] || complain "$file: holds $kernels kernels, not one"
        grep -qE "\b$name\(" "$file" || complain "$file: its kernel is not called $name"
        ;;
    esac
done
for file in cl/*.cl; do
    ! grep -nE '^ *# *include' "$file" || complain "$file: composed text includes nothing"
done
exit $failed
