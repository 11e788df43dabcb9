#!/bin/sh
# test_run.sh CLATTN_RUN MAKE_SAFETENSORS SAMPLE FAILING_LAYER: clattn-run from outside:
# its answers, its options, its exit codes, and what it leaves of OUT.
# CLATTN_TEST_DEVICE chooses the device, as in the other tests.
set -u
run=$1 make=$2 sample=$3 layer=$4
device=${CLATTN_TEST_DEVICE:-0}
here=$(mktemp -d "$PWD/test_run-XXXXXX")
trap 'rm -rf "$here"' EXIT
trap 'exit 1' INT TERM
cd "$here" || exit 1
checks=0 failures=0

complain() {
    failures=$((failures + 1))
    echo "FAILED: $*"
    sed 's/^/    /' stderr
}

# expect CODE WHAT ARGUMENT...: runs the tool on in.safetensors to out.safetensors.
# A failure must leave one sentence on stderr (notes apart), the old OUT, and no other file.
expect() {
    code=$1 what=$2
    shift 2
    echo old >out.safetensors
    ls -a >before
    "$run" --device "$device" "$@" >stdout 2>stderr
    got=$?
    ls -a >after
    checks=$((checks + 1))
    if [ $got -ne "$code" ]; then
        complain "$what: exit code $got, not $code"
    elif ! cmp -s before after; then
        complain "$what: files were left or removed: $(diff before after | tr '\n' ' ')"
    elif [ "$code" -ne 0 ]; then
        lines=$(grep '^clattn-run: .' stderr | grep -vc '^clattn-run: note: ')
        [ "$lines" -eq 1 ] || complain "$what: $lines sentences on stderr, not one"
        [ "$(cat out.safetensors)" = old ] || complain "$what: OUT was touched"
    elif [ "$(head -c 3 out.safetensors)" = old ]; then
        complain "$what: OUT was not written"
    fi
}
answer() { expect 0 "$1" in.safetensors -o out.safetensors; }
io='in.safetensors -o out.safetensors'
: >before
: >after
: >stdout
: >stderr

# ---- Files that are wrong: exit code 1 ----
# damaged WHAT LENGTH HEADER DATA: as make_safetensors raw takes them.
damaged() {
    "$make" raw in.safetensors "$2" "$3" "$4" || exit 1
    expect 1 "$1" $io
}
entry() { printf '"%s":{"dtype":"%s","shape":%s,"data_offsets":%s}' "$1" "$2" "$3" "$4"; }
# file Q K V: a header of three F32 entries' shapes, each with its data after the last
q=$(entry q F32 '[1,1,2,4]' '[0,32]')
k=$(entry k F32 '[1,1,2,4]' '[32,64]')
v=$(entry v F32 '[1,1,2,4]' '[64,96]')

"$make" raw in.safetensors - "{$q,$k,$v}" 96
expect 0 'the file that the others are made from' $io
: >in.safetensors
expect 1 'an empty file' $io
printf '1234567' >in.safetensors
expect 1 '7 bytes' $io
damaged 'a length and no header' 10 '' 0
damaged 'a header longer than the file' 1000000 "{$q,$k,$v}" 96
damaged 'a header of 2^64-1 bytes' 18446744073709551615 "{$q,$k,$v}" 96
damaged 'a header of 2^63 bytes' 9223372036854775808 "{$q,$k,$v}" 96
"$make" raw in.safetensors 100000001 "{$q,$k,$v}" 96
truncate -s 110M in.safetensors
expect 1 'a header of over 100 MB' $io
"$make" raw in.safetensors 100000000 "{$q,$k,$v}" 96
truncate -s 110M in.safetensors
expect 1 'a header of 100 MB, mostly of zeros' $io
damaged 'no header' - '' 96
damaged 'a header that is a list' - "[1,2]" 0
damaged 'a header that is cut' - "{$q,$k," 96
damaged 'a header with a comma too many' - "{$q,$k,$v,}" 96
damaged 'something after the header' - "{$q,$k,$v} x" 96
damaged 'a header shorter than its text' 20 "{$q,$k,$v}" 96
damaged 'bytes that are not UTF-8' - "{$q,$k,$v,$(printf '"\377\376":1')}" 96
damaged 'an overlong UTF-8 sequence' - "{$q,$k,$v,$(printf '"\300\257":1')}" 96
damaged 'a byte order mark' - "$(printf '\357\273\277{')$q,$k,$v}" 96
damaged 'a NUL in a name' - "{$q,$k,$v,\"\\u0000\":1}" 96
damaged 'a lone surrogate in a name' - "{$q,$k,$v,\"\\ud800\":1}" 96
damaged 'two tensors of one name' - "{$q,$k,$v,$q}" 96
damaged 'brackets 100000 deep' - "$(printf '{"q":' && head -c 100000 /dev/zero | tr '\0' '[')" 0
damaged 'no q' - "{$(entry Q F32 '[1,1,2,4]' '[0,32]'),$k,$v}" 96
damaged 'no k' - "{$q,$(entry key F32 '[1,1,2,4]' '[32,64]'),$v}" 96
damaged 'no v' - "{$q,$k,$(entry x F32 '[1,1,2,4]' '[64,96]')}" 96
damaged 'no tensors' - '{}' 0
damaged 'an entry that is a number' - "{\"q\":3,$k,$v}" 96
damaged 'no dtype' - "{\"q\":{\"shape\":[1,1,2,4],\"data_offsets\":[0,32]},$k,$v}" 96
damaged 'a dtype that is a number' - "{\"q\":{\"dtype\":32,\"shape\":[8],\"data_offsets\":[0,32]},$k,$v}" 96
damaged 'no shape' - "{\"q\":{\"dtype\":\"F32\",\"data_offsets\":[0,32]},$k,$v}" 96
damaged 'no data_offsets' - "{\"q\":{\"dtype\":\"F32\",\"shape\":[1,1,2,4]},$k,$v}" 96
damaged 'one offset' - "{$(entry q F32 '[1,1,2,4]' '[32]'),$k,$v}" 96
damaged 'three offsets' - "{$(entry q F32 '[1,1,2,4]' '[0,32,64]'),$k,$v}" 96
damaged 'a negative offset' - "{$(entry q F32 '[1,1,2,4]' '[-32,0]'),$k,$v}" 96
damaged 'an offset of 2^64' - "{$(entry q F32 '[1,1,2,4]' '[0,18446744073709551616]'),$k,$v}" 96
damaged 'an offset that is no integer' - "{$(entry q F32 '[1,1,2,4]' '[0,32.0]'),$k,$v}" 96
damaged 'an end before its begin' - "{$(entry q F32 '[1,1,2,4]' '[32,0]'),$k,$v}" 96
damaged 'a tensor that overlaps another' - "{$q,$(entry k F32 '[1,1,2,4]' '[16,48]'),$v}" 96
damaged 'a gap between two tensors' - "{$q,$k,$(entry v F32 '[1,1,2,4]' '[68,100]')}" 100
damaged 'data before the first tensor' - "{$(entry q F32 '[1,1,2,4]' '[96,128]'),$k,$v}" 128
damaged 'data after the last tensor' - "{$q,$k,$v}" 97
damaged 'a byte of data too few' - "{$q,$k,$v}" 95
damaged 'no data' - "{$q,$k,$v}" 0
damaged 'a shape larger than its data' - "{$(entry q F32 '[1,1,3,4]' '[0,32]'),$k,$v}" 96
damaged 'a shape smaller than its data' - "{$(entry q F32 '[1,1,1,4]' '[0,32]'),$k,$v}" 96
damaged 'a shape whose product is 2^64' - "{$(entry q F32 '[4294967296,1,1073741824,1]' '[0,0]'),$k,$v}" 96
damaged 'a shape with a negative length' - "{$(entry q F32 '[1,-1,-2,4]' '[0,32]'),$k,$v}" 96
damaged 'a shape with a string' - "{$(entry q F32 '[1,"1",2,4]' '[0,32]'),$k,$v}" 96
damaged 'metadata that is not strings' - "{\"__metadata__\":{\"a\":1},$q,$k,$v}" 96
damaged 'metadata that is a list' - "{\"__metadata__\":[],$q,$k,$v}" 96
damaged 'q of 3 dimensions' - "{$(entry q F32 '[1,2,4]' '[0,32]'),$k,$v}" 96
damaged 'v of 5 dimensions' - "{$q,$k,$(entry v F32 '[1,1,1,2,4]' '[64,96]')}" 96
damaged 'batches that differ' - "{$(entry q F32 '[2,1,1,4]' '[0,32]'),$k,$v}" 96
damaged 'head dimensions that differ' - "{$(entry q F32 '[1,1,4,2]' '[0,32]'),$k,$v}" 96
damaged 'rows of k and v that differ' - "{$q,$k,$(entry v F32 '[1,1,4,2]' '[64,96]')}" 96
damaged 'heads of k and v that differ' - "{$q,$k,$(entry v F32 '[1,2,1,4]' '[64,96]')}" 96
damaged 'heads that do not divide' - \
    "{$(entry q F32 '[1,3,1,4]' '[0,48]'),$(entry k F32 '[1,2,1,4]' '[48,80]'),$(entry v F32 '[1,2,1,4]' '[80,112]')}" 112
damaged 'a head dimension of 0' - \
    "{$(entry q F32 '[1,1,2,0]' '[0,0]'),$(entry k F32 '[1,1,2,0]' '[0,0]'),$(entry v F32 '[1,1,2,4]' '[0,32]')}" 32
damaged 'no heads' - \
    "{$(entry q F32 '[1,0,2,4]' '[0,0]'),$(entry k F32 '[1,0,2,4]' '[0,0]'),$(entry v F32 '[1,0,2,4]' '[0,0]')}" 0
damaged 'two slopes for one head' - "{$q,$k,$v,$(entry alibi F32 '[2]' '[96,104]')}" 104
damaged 'slopes of 2 dimensions' - "{$q,$k,$v,$(entry alibi F32 '[1,1]' '[96,100]')}" 100
damaged 'a bias of 3 dimensions' - "{$q,$k,$v,$(entry bias F32 '[1,2,2]' '[96,112]')}" 112
damaged 'a bias of fewer keys' - "{$q,$k,$v,$(entry bias F32 '[1,1,2,1]' '[96,104]')}" 104
damaged 'a mask of more rows' - "{$q,$k,$v,$(entry mask BOOL '[1,1,3,2]' '[96,102]')}" 102
damaged 'two sinks for one head' - "{$q,$k,$v,$(entry sink F32 '[2]' '[96,104]')}" 104
rm in.safetensors
expect 1 'a file that is not there' $io
mkdir in.safetensors
expect 1 'a directory' $io
rmdir in.safetensors
mkfifo in.safetensors
expect 1 'a pipe' $io
rm in.safetensors

# ---- Sound, but not offered: exit code 3 ----
unsupported() {
    "$make" raw in.safetensors - "$2" "$3" || exit 1
    expect 3 "$1" $io
}
unsupported 'f64' "{$(entry q F64 '[1,1,1,4]' '[0,32]'),$(entry k F64 '[1,1,1,4]' '[32,64]'),$(entry v F64 '[1,1,1,4]' '[64,96]')}" 96
unsupported 'a type that nobody knows' "{$(entry q F99 '[1,1,2,4]' '[0,32]'),$k,$v}" 96
unsupported 'slopes in f16' "{$q,$k,$v,$(entry alibi F16 '[1]' '[96,98]')}" 98
unsupported 'a bias of bytes' "{$q,$k,$v,$(entry bias U8 '[1,1,2,2]' '[96,100]')}" 100
unsupported 'a mask of floats' "{$q,$k,$v,$(entry mask F32 '[1,1,2,2]' '[96,112]')}" 112
unsupported 'a head dimension over 512' "{$(entry q F32 '[1,1,1,513]' '[0,2052]'),$(entry k F32 '[1,1,1,513]' '[2052,4104]'),$(entry v F32 '[1,1,1,1]' '[4104,4108]')}" 4108
unsupported 'over 2^32 rows' "{$(entry q F32 '[0,1,4294967296,4]' '[0,0]'),$(entry k F32 '[0,1,1,4]' '[0,0]'),$(entry v F32 '[0,1,1,4]' '[0,0]')}" 0

# ---- Usage: exit code 2; device: 4; the rest: 5 ----
"$make" random in.safetensors F32 bhsd 1 2 1 5 7 4 3 || exit 1
expect 2 'no arguments'
expect 2 'no OUT' in.safetensors
expect 2 'no IN' -o out.safetensors
expect 2 'two files to read' in.safetensors also.safetensors -o out.safetensors
grep -qF "'also.safetensors'" stderr || complain 'two files to read: not which'
expect 2 'an empty OUT' in.safetensors -o ''
expect 2 'an option that is not there' $io --casual
expect 2 'an option without its argument' $io --variant
expect 2 'a wrong layout' $io --layout bsh
expect 2 'a wrong alignment' $io --align middle
grep -qF -- "--align: 'middle' is not end or start" stderr || complain 'a wrong alignment: not what it may be'
for word in 3 3, ,3 -2,0 0,-2 1,2,3 a,b 1.5,2 99999999999,0 '1, x' ''; do
    expect 2 "--window '$word'" $io --window "$word"
done
for word in '' x 1x 1/8 nan inf -inf 1e39 3.402823466e38; do
    expect 2 "--scale '$word'" $io --scale="$word"
    grep -qF -- "--scale: '$word' is not a number like 0.125 or -1e-3, at most 3.4e38" stderr ||
        complain "--scale '$word': not what it may be"
done
# Numbers, but the kernels' factor is no float.
for option in --scale=3e38 --scale=-3e38 --scale=1e-45 --softcap=1.7e38 --softcap=1e38 --softcap=1e-45; do
    expect 2 "$option" $io $option
    grep -q 'args: scale .* with softcap .* is beyond 32-bit' stderr || complain "$option: not the reason"
done
for word in '' x -1 nan inf 1/8 1.8e38 3e38 1e39; do
    expect 2 "--softcap '$word'" $io --softcap="$word"
    grep -qF -- "--softcap: '$word' is not a number like 30 or 1.5e2, from 0 (none) to 1.7e38" stderr ||
        complain "--softcap '$word': not what it may be"
done
for word in '' 0 -1 1.5 x 10001; do
    expect 2 "--repeat '$word'" $io --repeat "$word"
done
expect 2 '--causal and a window to the right' $io --causal --window 3,3
expect 2 'a solver that is not there' $io --variant fwd_nothing
expect 2 'a parameter that is not there' $io --variant 'fwd_rows NOTHING=1'
expect 2 'a number that nothing holds' $io --variant 'fwd_tile BLOCK_M=99999999999999999999'
grep -q '"BLOCK_M=99999999999999999999" is no 32-bit number' stderr ||
    complain 'a number that nothing holds: not the reason'
expect 2 'a variant that is not one' $io --variant '= ='
expect 2 'an empty device' $io --device ''
expect 4 'a device number too high' $io --device 4711
expect 4 'a device name that nobody has' $io --device 'no such device'
expect 5 'OUT in a directory that is not there' in.safetensors -o nowhere/out.safetensors
! grep -q '^device ' stderr || complain 'OUT in a directory that is not there: computed first'
mkdir directory
expect 5 'OUT that is a directory' in.safetensors -o directory
mkfifo pipe
expect 5 'OUT that is a pipe' in.safetensors -o pipe
if [ -z "${CLATTN_TEST_DEVICE:-}" ]; then
    mkdir no_platforms # not every loader can be told where to look
    vendors=${OCL_ICD_VENDORS-}
    export OCL_ICD_VENDORS="$PWD/no_platforms"
    expect 4 'no OpenCL platform' $io --device 0
    unset OCL_ICD_VENDORS
    [ -z "$vendors" ] || export OCL_ICD_VENDORS="$vendors"
    layers=${OPENCL_LAYERS-}
    export OPENCL_LAYERS="$layer${layers:+:$layers}"
    # The first call: of the first platform, so of the device that is number 0.
    for call in clCreateContext clCreateBuffer clEnqueueReadBuffer; do
        export CLATTN_FAIL=$call
        expect 5 "$call fails" $io
    done
    CLATTN_FAIL=clGetDeviceIDs
    expect 4 'no platform lists its devices' $io --device 'Portable Computing Language'
    grep -q 'note: Portable Computing Language does not list its devices' stderr ||
        complain 'a platform that fails is not named'
    CLATTN_FAIL=clCreateCommandQueue
    expect 0 'a queue without profiling' $io
    grep -q 'host clock' stderr || complain 'a queue without profiling: not timed by the host'
    unset CLATTN_FAIL OPENCL_LAYERS
    [ -z "$layers" ] || export OPENCL_LAYERS="$layers"
fi

# ---- Answers that are known ----
# values TENSOR: that tensor of out.safetensors as numbers on one line. The tool
# writes lse first, then o: both F32 here, so the last $1 of the file or those before.
values() { tail -c $((4 * $1)) out.safetensors | head -c $((4 * $2)) | od -An -v -tf4 | tr -s ' \n' ' '; }
same() {
    checks=$((checks + 1))
    [ "$2" = "$3" ] || complain "$1: $2, expected $3"
}
# All weights are equal, so o is the mean of the rows seen and lse the log of their number.
"$make" steps in.safetensors bhsd 4 || exit 1
answer 'the mean of all'
same 'the mean of all' "$(values 8 8)" ' 1.5 1.5 1.5 1.5 15 15 15 15 '
same 'log of 4' "$(values 16 8)" ' 1.3862944 1.3862944 1.3862944 1.3862944 1.3862944 1.3862944 1.3862944 1.3862944 '
expect 0 'causal' $io --causal
same 'causal' "$(values 8 8)" ' 0 0.5 1 1.5 0 5 10 15 '
expect 0 'a window' $io --window 0,1
same 'a window' "$(values 8 8)" ' 0.5 1.5 2.5 3 5 15 25 30 '
expect 0 'a window and causal' $io --window 1,-1 --causal
same 'a window and causal' "$(values 8 8)" ' 0 0.5 1.5 2.5 0 5 15 25 '
"$make" steps in.safetensors bshd 4 || exit 1
expect 0 'bshd' $io --causal --layout bshd
same 'bshd' "$(values 8 8)" ' 0 0 0.5 5 1 10 1.5 15 '
"$make" raw in.safetensors - "{$(entry q F32 '[1,1,3,1]' '[0,12]'),$(entry k F32 '[1,1,1,1]' '[12,16]'),$(entry v F32 '[1,1,1,1]' '[16,20]')}" 20
expect 0 'align end' $io --causal
same 'align end' "$(values 6 3)" ' -inf -inf 0 '
expect 0 'align start' $io --causal --align start
same 'align start' "$(values 6 3)" ' 0 0 0 '
"$make" raw in.safetensors - "{$(entry q F32 '[1,1,2,1]' '[0,8]'),$(entry k F32 '[1,1,0,1]' '[8,8]'),$(entry v F32 '[1,1,0,2]' '[8,8]')}" 8
expect 0 'no keys' $io --verify
same 'no keys: lse' "$(values 6 2)" ' -inf -inf '
same 'no keys: o' "$(values 4 4)" ' 0 0 0 0 '
"$make" raw in.safetensors - "{$(entry q BF16 '[0,1,2,1]' '[0,0]'),$(entry k BF16 '[0,1,2,1]' '[0,0]'),$(entry v BF16 '[0,1,2,2]' '[0,0]')}" 0
expect 0 'no batches' $io --verify

# ---- Types that differ: o has q's, or what --output-type says ----
# The header of out.safetensors.
header() { head -c 300 out.safetensors | tr -d '\000' | grep -o '"o":{"dtype":"[A-Z0-9]*"'; }
mixed() { # WHAT PROBLEM TYPE OPTION...
    what=$1 problem=$2 type=$3
    shift 3
    expect 0 "$what" $io --verify "$@"
    grep -q '^verify     passed: ' stdout || complain "$what: not verified"
    same "$what: type of o" "$(header)" "\"o\":{\"dtype\":\"$type\""
    grep -q "^problem    $problem h" stderr || complain "$what: another problem"
}
"$make" random in.safetensors F32,F16,F16 bhsd 2 6 2 19 33 20 12 || exit 1
mixed 'q in F32, k and v in F16' 'f32 kf16 b2' F32
mixed '... to F16' 'f32 kf16 of16 b2' F16 --output-type f16 --causal
mixed '... to BF16' 'f32 kf16 obf16 b2' BF16 --output-type bf16 --variant fwd_rows
"$make" random in.safetensors BF16,F16,F32 bshd 2 6 2 19 33 20 12 || exit 1
mixed 'three types' 'bf16 kf16 vf32 b2' BF16 --layout bshd
"$make" random in.safetensors F16,F16,F16 bhsd 2 6 2 19 33 20 12 || exit 1
mixed 'F16 to F32' 'f16 of32 b2' F32 --output-type f32
for wrong in F32 f64 f3 ''; do
    expect 2 "--output-type '$wrong'" $io --output-type "$wrong"
done

# ---- Every type, layout and option, against the definition in double ----
verified() {
    what=$1
    shift
    expect 0 "$what" $io --verify "$@"
    grep -q '^verify     passed: ' stdout || complain "$what: not verified"
    for word in problem device variant time rate workspace; do
        grep -q "^$word  *[^ ]" stderr || complain "$what: stderr does not say '$word'"
    done
}
# differs WHAT OPTION...: the option changes what the last answer was.
differs() {
    cp out.safetensors last
    verified "$@"
    checks=$((checks + 1))
    ! cmp -s out.safetensors last || complain "$1: changes nothing"
    rm last
}
for type in F32 F16 BF16; do
    for layout in bhsd bshd; do
        "$make" random in.safetensors $type $layout 2 6 2 19 33 20 12 || exit 1
        verified "$type $layout" --layout $layout
        differs "$type $layout causal" --layout $layout --causal
        "$make" random in.safetensors $type $layout 2 6 2 19 33 20 12 1 alibi || exit 1
        differs "$type $layout causal alibi" --layout $layout --causal
        grep -q '^problem .* causal alibi$' stderr || complain "$type $layout alibi: not in the problem"
    done
done
# Zeros: the mask of one row for both queries hides all keys, and the sink is left.
"$make" raw in.safetensors - "{$q,$k,$v,$(entry bias F16 '[1,1,2,2]' '[96,104]'),$(entry mask BOOL '[1,1,1,2]' '[104,106]'),$(entry sink F32 '[1]' '[106,110]')}" 110 || exit 1
verified 'bias, mask and sink'
grep -q '^used       q, k, v, bias, mask, sink$' stderr || complain 'bias, mask and sink: not what was used'
grep -q '^problem .* biasf16 mask sink$' stderr || complain 'bias, mask and sink: not in the problem'
differs 'sink alone' --ignore bias --ignore mask
"$make" random in.safetensors F32 bhsd 1 2 1 40 56 16 8 || exit 1
verified 'plain'
differs '--window' --window 9,2
differs '--align start' --window 9,2 --align start
differs '--scale' --scale 0.7
differs '--scale, negative' --scale=-0.125
differs '--softcap' --softcap 1.5
verified '--repeat' --repeat 5
grep -q '^time .*median of 5' stderr || complain '--repeat: not the median of 5'
# The default device is a CPU; another one may not be.
solvers='fwd_rows fwd_tile'
[ -n "${CLATTN_TEST_DEVICE:-}" ] || solvers="$solvers fwd_lanes"
for solver in $solvers; do
    if "$run" --device "$device" $io --variant "$solver" 2>&1 | grep -q 'PoCL after 3.1'; then
        echo "--variant $solver: refused, as PoCL miscompiles it"
        continue
    fi
    verified "--variant $solver" --variant $solver
    grep -q "^variant *$solver " stderr || complain "--variant $solver: another one ran"
done
name=$(sed -n 's/^device *//p' stderr)
verified '--device NAME' --device "$(printf '%s\n' "$name" | tr '[:lower:]' '[:upper:]')"
printf '# mine\n* ; f32 ; fwd_rows WORK_GROUP=2\n' >tuning.txt
printf '# mine\n* ; f32 nonsense ; fwd_rows\n' >malformed.txt
verified '--tuning' --tuning=tuning.txt
grep -q '^variant *fwd_rows WORK_GROUP=2' stderr || complain '--tuning: another variant ran'
verified '--tuning and --variant' --tuning=tuning.txt --variant fwd_rows
! grep -q '^variant *fwd_rows WORK_GROUP=2' stderr || complain '--tuning and --variant: --variant does not count'
expect 2 'a tuning file that is not there' $io --tuning=no_such_file.txt
grep -q 'cannot open "no_such_file.txt"' stderr || complain 'no tuning file: not the reason'
expect 0 'a malformed line of a tuning file' $io --tuning=malformed.txt
grep -q 'note: malformed.txt:2: ' stderr || complain 'a malformed line of a tuning file: not the place'
expect 0 'no tuning file' $io --tuning ''

# ---- Gradients ----
holds() { head -c 1000 out.safetensors | grep -qa "\"$1\":" || complain "$2: OUT has no $1"; }
gradients() {
    verified "$@"
    [ "$(grep -c '^verify     passed: ' stdout)" -eq 2 ] || complain "$1: gradients not verified"
    [ "$(grep -c '^variant ' stderr)" -eq 2 ] || complain "$1: not two variants"
    for name in o lse dq dk dv; do
        holds $name "$1"
    done
}
for type in F32 F16 BF16; do
    "$make" random in.safetensors $type bhsd 2 6 2 19 33 20 12 1 do || exit 1
    gradients "$type gradients"
    cp out.safetensors without
    "$make" random in.safetensors $type bhsd 2 6 2 19 33 20 12 1 dlse || exit 1
    gradients "$type gradients, dlse"
    grep -q '^used       q, k, v, do, dlse$' stderr || complain "$type gradients: not what was used"
    checks=$((checks + 1))
    ! cmp -s out.safetensors without || complain "$type gradients: dlse changes nothing"
    gradients "$type gradients, without dlse" --ignore dlse
    grep -q '^not used   dlse$' stderr || complain "$type gradients: not what was ignored"
    checks=$((checks + 1))
    cmp -s out.safetensors without || complain "$type gradients: --ignore dlse does not ignore it"
    gradients "$type gradients causal, softcap" --causal --softcap 2 --scale=-0.4
done
"$make" random in.safetensors F32 bshd 1 2 1 9 17 8 4 1 dlse || exit 1
gradients 'bshd gradients' --layout bshd --window 5,2
expect 0 'gradients ignored' $io --layout bshd --ignore do --ignore dlse
grep -q '^used       q, k, v$' stderr || complain 'gradients ignored: they were used'
grep -q '^not used   do, dlse$' stderr || complain 'gradients ignored: not said'
checks=$((checks + 1))
! head -c 1000 out.safetensors | grep -qa '"dq"' || complain 'gradients ignored: OUT has dq'
expect 1 'gradients in the other layout' $io
expect 2 'a tensor to ignore that is not there' $io --layout bshd --ignore mask
expect 2 'an empty --ignore' $io --layout bshd --ignore ''
expect 1 'q ignored' $io --layout bshd --ignore q
gradients 'a variant of each pass' --layout bshd --variant 'bwd_rows WORK_GROUP=3' --variant fwd_rows
grep -q '^variant    bwd_rows WORK_GROUP=3$' stderr || complain 'a variant of each pass: not backward'
grep -q '^variant    fwd_rows ' stderr || complain 'a variant of each pass: not forward'
expect 2 'two variants of a pass' $io --layout bshd --variant fwd_rows --variant fwd_tile
expect 2 'a variant of backward, and no do' $io --layout bshd --ignore do --variant bwd_rows
grep -q "no tensor 'do'" stderr || complain 'a variant of backward: not the reason'
"$make" random in.safetensors F16 bhsd 1 4 2 19 33 16 8 1 alibi do || exit 1
gradients 'gradients with alibi' --causal
grep -q '^used       q, k, v, alibi, do$' stderr || complain 'gradients with alibi: not what was used'
cp out.safetensors without
gradients 'gradients without alibi' --causal --ignore alibi
checks=$((checks + 1))
! cmp -s out.safetensors without || complain 'gradients: alibi changes nothing'
wrong_gradient() {
    "$make" raw in.safetensors - "{$q,$k,$v,$2}" "$3" || exit 1
    expect 1 "$1" $io
}
wrong_gradient 'do of 3 dimensions' "$(entry do F32 '[1,2,4]' '[96,128]')" 128
wrong_gradient 'do of another type' "$(entry do F16 '[1,1,2,4]' '[96,112]')" 112
wrong_gradient 'do of an unknown type' "$(entry do F64 '[1,1,2,4]' '[96,160]')" 160
wrong_gradient 'do with more rows' "$(entry do F32 '[1,1,3,4]' '[96,144]')" 144
right=$(entry do F32 '[1,1,2,4]' '[96,128]')
wrong_gradient 'dlse of 4 dimensions' "$right,$(entry dlse F32 '[1,1,2,1]' '[128,136]')" 136
wrong_gradient 'dlse of another type' "$right,$(entry dlse F16 '[1,1,2]' '[128,132]')" 132
wrong_gradient 'dlse with fewer rows' "$right,$(entry dlse F32 '[1,1,1]' '[128,132]')" 132
"$make" raw in.safetensors - "{$q,$k,$v,$(entry dlse F16 '[1]' '[96,98]'),$(entry 'x\ty' I8 '[2]' '[98,100]')}" 100 || exit 1
expect 0 'dlse without do' $io
grep -q '^not used   dlse, x?y$' stderr || complain 'dlse without do: not said, or not in ASCII'
rm without
"$make" random in.safetensors F32 bhsd 1 2 1 40 56 16 8 || exit 1

# ---- OUT ----
expect 0 'to another file' $io
cp out.safetensors there
# elsewhere WHAT IN OUT REAL: writes OUT; then REAL must hold what went to another file.
elsewhere() {
    checks=$((checks + 1))
    "$run" --device "$device" "$2" -o "$3" 2>stderr || complain "$1: exit code $?"
    cmp -s "$4" there || complain "$1: not the same answer"
}
cp in.safetensors twin
elsewhere 'OUT that is IN' twin twin twin
echo old >target
ln -s target link
elsewhere 'OUT that is a link' in.safetensors link target
[ -L link ] || complain 'OUT that is a link: the link was replaced'

# ---- The sample, and what --help and --version say ----
expect 0 'the sample' "$sample" -o out.safetensors --verify
"$make" random again F16 bhsd 1 8 2 128 160 32 32 || exit 1
checks=$((checks + 1))
cmp -s again "$sample" || complain 'the sample is not what make_safetensors makes'
"$run" --help >stdout 2>stderr && grep -q -- '--softcap=X' stdout && grep -q 'Exit code: 0' stdout ||
    complain '--help'
"$run" --version >stdout 2>stderr && grep -q '^clattn-run [0-9.]*$' stdout || complain '--version'

echo "$checks checks, $failures failures"
[ $failures -eq 0 ]
