#!/bin/sh
# test_compare_blas.sh COMPARE_BLAS: its answers, and what it refuses.  Times are not judged.
set -eu
compare=$1
device=${CLATTN_TEST_DEVICE-0}
failed=0
complain() { echo "$*"; failed=1; }
code=0
"$compare" --device "$device" --rounds 1 "f32 h4:2 q70 d24:40 causal" "f32 b2 q33 k50 d8" \
    >compare_blas.txt 2>&1 || code=$?
cat compare_blas.txt
cp compare_blas.txt first.txt
if [ "$code" = 3 ] && grep -q 'is no CPU' compare_blas.txt; then
    exit 77
fi
[ "$code" = 0 ] || complain "exit code $code"
[ "$(grep -c 'GFLOP/s.*rows' compare_blas.txt)" = 2 ] || complain "not two lines of results"

# refuses CODE SENTENCE ARGUMENT...
refuses() {
    wanted=$1 sentence=$2
    shift 2
    code=0
    "$compare" --rounds 1 "$@" >compare_blas.txt 2>&1 || code=$?
    [ "$code" = "$wanted" ] || complain "$*: exit code $code, not $wanted"
    grep -q -e "$sentence" compare_blas.txt || complain "$*: $(cat compare_blas.txt)"
}
refuses 3 'f32 only' --device "$device" "f16 q4 d8"
refuses 3 'window' --device "$device" "f32 q4 d8 window1,0"
refuses 3 'more queries' --device "$device" "f32 q4 k3 d8"
refuses 2 'heads_q 32 is not a multiple of heads_kv 7' --device "$device" "h32:7 q1 d64"
refuses 2 'heads_q 32 is not a multiple of heads_kv 7' --device "$device" "h32:7 q0 d64"
refuses 5 'nothing to compare' --device "$device" "q0 d1"
refuses 5 'nothing to compare' --device "$device" "b0 q4 d1"
refuses 5 'nothing to compare' --device "$device" "q4 k0 d1"
refuses 2 "not a problem: 'nonsense' is none" --device "$device" "f32 nonsense"
refuses 2 'not a problem' --device "$device" "f32 q4 d8" "f32 nonsense"
! grep -q 'GFLOP/s' compare_blas.txt || complain "measured before it read all problems"
refuses 2 'from 1 to' --rounds 0
refuses 2 'from 1 to' --threads 0
refuses 2 'from 1 to' --threads 1001
most=$(sed -n 's/^OpenBLAS .*MAX_THREADS=\([0-9]*\).*/\1/p' first.txt)
[ -z "$most" ] || refuses 2 "from 1 to $most " --threads $((most + 1))
"$compare" --help >compare_blas.txt
grep -q '^  f32 h8 q4096 d128 causal$' compare_blas.txt || complain "help: no default problems"
refuses 2 '--nonsense' --nonsense
refuses 4 'no such device' --device "no such device"
exit $failed
