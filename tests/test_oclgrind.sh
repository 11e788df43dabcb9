#!/bin/sh
# One shape for each family of kernels in Oclgrind, which interprets the kernel and
# reports data races, divergent barriers, accesses out of bounds and the use of
# uninitialised values.
#
#     test_oclgrind.sh TEST_ATTENTION [04_train TEXT]
#
# "tight" leaves no guard zone around a tensor, so that every access beyond it is
# out of bounds.  By the standard, work-items that write the same value are a race,
# too: --uniform-writes.  Oclgrind exits with 0 whatever it finds: any line in its
# log fails.  Its view of uninitialised values needs unoptimised code.
set -u

test_attention=$1
if ! command -v oclgrind > /dev/null; then
    echo "skipped: oclgrind is not installed"
    exit 77
fi
export CLATTN_TEST_DEVICE=Oclgrind
log=oclgrind.log
failures=0

check() {
    solver=$1 problem=$2 layout=$3
    rm -f "$log"
    oclgrind --data-races --uniform-writes --uninitialized --build-options -cl-opt-disable \
        --log "$log" "$test_attention" --solver "$solver" --problem "$problem" --layout "$layout" \
        --with tight
    result=$?
    if [ "$result" -ne 0 ] || [ ! -e "$log" ] || [ -s "$log" ]; then
        echo "FAILED: $solver | $problem | $layout: exit code $result; oclgrind says"
        head -n 40 "$log"
        failures=$((failures + 1))
    fi
}

check fwd_rows "f32 h2:1 q9 k13 d6:3 causal" bshd
check fwd_rows "f16 q5 k7 d8" bhsd
check fwd_rows "f32 b2 h2:1 q5 k7 d6 alibi" padded
check "fwd_tile BLOCK_M=8 BLOCK_N=8 BLOCK_D=8 THREADS_M=2 THREADS_N=2" \
    "f32 h2:1 q9 k13 d10:12 causal" bshd
check "fwd_tile BLOCK_M=8 BLOCK_N=8 BLOCK_D=8 THREADS_M=4 THREADS_N=2 PREFETCH=1" \
    "f16 q11 k19 d8:12" bhsd
check "fwd_tile BLOCK_M=8 BLOCK_N=8 BLOCK_D=16 THREADS_M=2 THREADS_N=2 THREADS_D=2 PREFETCH=1" \
    "f32 q11 k19 d20:12 causal" bhsd
check memory_efficient "f32 h2:1 q9 k13 d10:12 causal" bshd
check "fwd_lanes LANES=4 ROW_VECTORS=1" "f32 h2:1 q9 k13 d6:3 causal" bshd
check "fwd_lanes LANES=8 ROW_VECTORS=1" "f16 q9 k13 d8" bhsd
check "fwd_tile BLOCK_M=8 BLOCK_N=8 BLOCK_D=8 THREADS_M=4 THREADS_N=2 PREFETCH=1" \
    "f32 kf16 vbf16 of16 q9 k13 d10 causal" bshd
check "fwd_mma ENGINE=intel_dpas8 EMULATED=1 WAVES=2 BLOCK_N=16" "f16 q9 k17 d8" bhsd
check "fwd_mma ENGINE=amd_wmma11 EMULATED=1 WAVES=1 BLOCK_N=16" "bf16 q9 k19 d10:12 causal" bshd
check bwd_rows "f32 h2:1 q9 k13 d6:3 causal" bshd
check bwd_rows "f16 q5 k7 d8 softcap3" bhsd
lanes="LANES=4 VECTORS=1 TILE_ROWS=8 DOT_UNROLL=2 SUM_UNROLL=2"
check "bwd_lanes SWEEP=0 $lanes" "f32 h2:1 q9 k13 d6:3 causal" bshd
check "bwd_lanes SWEEP=2 $lanes" "f16 h2:1 q9 k13 d6:3 causal softcap3" bshd
keys="DKV_BLOCK_M=8 DKV_BLOCK_N=4 DKV_BLOCK_D=8 DKV_THREADS_M=2 DKV_THREADS_N=2"
rows="DQ_BLOCK_M=4 DQ_BLOCK_N=8 DQ_BLOCK_D=8 DQ_THREADS_M=2 DQ_THREADS_N=2"
check "bwd_tile $keys DKV_OWN_RESIDENT=1 $rows DQ_OWN_RESIDENT=1" "f32 h2:1 q9 k13 d10:12 causal" bshd
check "bwd_tile $keys DKV_OWN_RESIDENT=0 $rows DQ_OWN_RESIDENT=0" "f16 q9 k11 d8:12 softcap3" bhsd

# The kernels of the example.  Those of CLBlast, which it calls, read what nothing wrote, where it
# does not matter: values are not followed here.
if [ $# -eq 3 ]; then
    rm -f "$log"
    head -c 600 "$3" >short.txt
    oclgrind --data-races --uniform-writes --build-options -cl-opt-disable --log "$log" "$2" \
        --device Oclgrind --layers 1 --width 32 --heads 1 --batch 1 --context 16 --steps 1 \
        --sample 1 short.txt
    result=$?
    if [ "$result" -ne 0 ] || [ ! -e "$log" ] || [ -s "$log" ]; then
        echo "FAILED: 04_train: exit code $result; oclgrind says"
        head -n 40 "$log"
        failures=$((failures + 1))
    fi
fi

[ "$failures" -eq 0 ]
