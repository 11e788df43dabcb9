#!/bin/sh
# test_info.sh CLATTN_INFO READ_JSON FAILING_LAYER: clattn-info from outside.
# PoCL gives two devices here (POCL_DEVICES), if it is the first platform.
set -u
info=$1 read_json=$2 layer=$3
device=${CLATTN_TEST_DEVICE:-0}
here=$(mktemp -d "$PWD/test_info-XXXXXX")
trap 'rm -rf "$here"' EXIT
trap 'exit 1' INT TERM
cd "$here" || exit 1
checks=0 failures=0

complain() {
    failures=$((failures + 1))
    echo "FAILED: $*"
    sed 's/^/    /' stdout stderr
}

# expect CODE WHAT ARGUMENT...: a failure leaves a sentence on stderr.
expect() {
    code=$1 what=$2
    shift 2
    "$info" "$@" >stdout 2>stderr
    got=$?
    checks=$((checks + 1))
    if [ $got -ne "$code" ]; then
        complain "$what: exit code $got, not $code"
    elif [ "$code" -ne 0 ]; then
        lines=$(grep '^clattn-info: .' stderr | grep -vc '^clattn-info: note: ')
        [ "$lines" -eq 1 ] || complain "$what: $lines sentences on stderr, not one"
    fi
}
# says WHAT REGEX: a line of stdout matches.
says() {
    checks=$((checks + 1))
    grep -qE -e "$2" stdout || complain "$1: does not say '$2'"
}
# holds WHAT TEXT: stdout holds the text as it is; for names, which may hold anything.
holds() {
    checks=$((checks + 1))
    grep -qF -e "$2" stdout || complain "$1: does not say '$2'"
}
# has WHAT VALUE KEY...: the value at that place of the JSON on stdout; * for any.
has() {
    what=$1 value=$2
    shift 2
    checks=$((checks + 1))
    got=$("$read_json" "$@" <stdout) || complain "$what: $* is not there"
    case $got in
    $value) ;;
    *) complain "$what: $* is '$got', not '$value'" ;;
    esac
}

# ---- Platforms and devices ----
expect 0 'everything'
says 'everything' '^platform 0: .'
says 'everything' '^  device 0: .'
says 'everything' '^    local_memory  *[0-9]'
checks=$((checks + 1))
! grep -q '^ .* $' stdout || complain 'everything: blanks at the end of a line'
checks=$((checks + 1))
! grep -q '^    plan' stdout || complain 'everything: plans without a problem'
expect 0 'one device' --device "$device"
checks=$((checks + 1))
[ "$(grep -c '^  device ' stdout)" -ge 1 ] || complain 'one device: none'
name=$(sed -n 's/^    name  *//p' stdout | head -n 1)
tuning_name=$(sed -n 's/^    tuning_name  *//p' stdout | head -n 1)
checks=$((checks + 1))
[ -n "$name" ] || complain 'one device: no name'
expect 0 'a device by its name' --device "$(printf '%s\n' "$name" | tr '[:lower:]' '[:upper:]')"
holds 'a device by its name' ": $name ("

# ---- Plans ----
problem='f16 b2 h32:8 q64 k96 d128 causal'
expect 0 'a problem' --device "$device" "$problem"
says 'a problem' '^    plan$'
says 'a problem' '^      problem f16 b2 h32:8 q64 k96 d128 causal$'
says 'a problem' '^      fwd_[a-z]+ chosen: fwd_[a-z]+ '
cp stdout one
expect 0 'a problem of many words' --device "$device" f16 b2 h32:8 q64 k96 d128 causal
checks=$((checks + 1))
cmp -s stdout one || complain 'a problem of many words: another answer than for one'
expect 3 'a problem that no device supports' --device "$device" 'q16 d513'
says 'a problem that no device supports' '^      error: CLATTN_UNSUPPORTED: .'

# Another variant for every device, and for every name that is not quite the device's.
{
    printf '* ; f32 ; fwd_rows WORK_GROUP=1\n"x%s ; * ; fwd_rows WORK_GROUP=4 # x\n' "${tuning_name#?}"
    printf '%s ; f32 ; fwd_rows WORK_GROUP=2 # "x" ; x\n' "$tuning_name"
} >tuning.txt
expect 0 'a device named in a tuning file' --device "$device" --tuning=tuning.txt 'f32 q300 d64'
says 'a device named in a tuning file' \
    'fwd_rows chosen: fwd_rows WORK_GROUP=2.* \(from the tuning file tuning.txt:3\)'
printf '\357\273\277* ; f32 ; fwd_rows WORK_GROUP=2\n' >marked.txt
expect 0 'a tuning file with a byte order mark' --device "$device" --tuning=marked.txt 'f32 q300 d64'
says 'a tuning file with a byte order mark' '\(from the tuning file marked.txt:1\)'
printf '# mine\n* ; f32 ; fwd_rows WORK_GROUP=2\n' >tuning.txt
printf '# mine\n* ; f32 nonsense ; fwd_rows\n' >malformed.txt
expect 0 'a tuning file' --device "$device" --tuning=tuning.txt 'f32 q300 d64'
says 'a tuning file' 'fwd_rows chosen: fwd_rows WORK_GROUP=2.* \(from the tuning file tuning.txt:2\)'
for option in '' --json; do
    expect 2 'a tuning file that is not there' $option --tuning=no_such_file.txt
    checks=$((checks + 1))
    grep -q 'cannot open "no_such_file.txt"' stderr || complain 'no tuning file: not the reason'
    expect 0 'a malformed line of a tuning file' $option --device "$device" --tuning=malformed.txt 'f32 q300 d64'
    checks=$((checks + 1))
    grep -q 'note: malformed.txt:2: ' stderr ||
        complain 'a malformed line of a tuning file: not the place'
done
expect 0 'no tuning file' --tuning ''

# ---- JSON ----
expect 0 'JSON' --json --device "$device" "$problem"
has 'JSON' '[0-9]*.[0-9]*.[0-9]*' clattn
at=$(grep -n '"number"' stdout | head -n 1)
checks=$((checks + 1))
[ -n "$at" ] || complain 'JSON: no device has a number'
platform=0
while [ "$("$read_json" platforms $platform devices <stdout)" = 0 ]; do
    platform=$((platform + 1))
done
has 'JSON' '?*' platforms $platform name
has 'JSON' '?*' platforms $platform version
has 'JSON' '?*' platforms $platform devices 0 name
has 'JSON' '[0-9]*' platforms $platform devices 0 number
has 'JSON' '[0-9]*' platforms $platform devices 0 facts local_memory
has 'JSON' '"?*"' platforms $platform devices 0 tuning_name
has 'JSON' '?*' platforms $platform devices 0 facts name
has 'JSON' 'fwd_*' platforms $platform devices 0 plan variant
has 'JSON' 'problem f16 b2 h32:8 q64 k96 d128 causal' platforms $platform devices 0 plan description 0
expect 3 'JSON, not supported' --json --device "$device" 'q16 d513'
has 'JSON, not supported' CLATTN_UNSUPPORTED platforms $platform devices 0 plan error status
has 'JSON, not supported' '*513*' platforms $platform devices 0 plan error message

# ---- Usage: 2; no device: 4 ----
expect 2 'an option that is not there' --jason
expect 2 'an option without its argument' --device
expect 2 'an empty device' --device ''
# refuses WHAT SENTENCE: stderr of the last command has these words.
refuses() {
    checks=$((checks + 1))
    grep -qF -e "$2" stderr || complain "$1: does not say '$2'"
}
expect 2 'a word that is none' 'f16 b2 h8 q64 d64 casual'
refuses 'a word that is none' "'f16 b2 h8 q64 d64 casual' is not a problem: 'casual' is none of the words"
expect 2 'a word of many that is none' f16 q64 d0 causal
refuses 'a word of many that is none' "'d0' is none of the words"
expect 2 'two words of a kind' 'f16 q64 d64 f32'
refuses 'two words of a kind' "'f32' and a word before it are of one kind"
expect 2 'no q' 'f16 d64 k3'
refuses 'no q' 'its q is missing'
expect 2 'no d' 'f16 q64'
refuses 'no d' 'its d is missing'
expect 2 'no words' ' '
refuses 'no words' 'its q and d are missing'
for words in 'q' 'f17 q3 d4' 'q3' 'd4' '' 'q3 d4 q3' 'q-1 d4' 'q3 d4 x'; do
    expect 2 "the problem '$words'" "$words"
done
for option in '' --json; do
    expect 2 'heads that do not divide' $option 'h32:7 q1 d64'
    checks=$((checks + 1))
    grep -q 'heads_q 32 is not a multiple of heads_kv 7' stderr ||
        complain 'heads that do not divide: not the reason'
done
expect 4 'a device number too high' --device 4711
expect 4 'a device name that nobody has' --device 'no such device'
if [ -z "${CLATTN_TEST_DEVICE:-}" ]; then # not every loader can be told where to look
    mkdir no_platforms
    vendors=${OCL_ICD_VENDORS-}
    export OCL_ICD_VENDORS="$PWD/no_platforms"
    expect 4 'no platform'
    expect 4 'no platform, JSON' --json
    has 'no platform, JSON' 0 platforms
    unset OCL_ICD_VENDORS
    [ -z "$vendors" ] || export OCL_ICD_VENDORS="$vendors"
fi
"$info" >/dev/full 2>stderr
code=$?
checks=$((checks + 1))
[ $code -eq 5 ] || complain "a full disk: exit code $code, not 5"

# ---- A driver that fails ----
if [ -z "${CLATTN_TEST_DEVICE:-}" ] &&
    [ "$("$info" --json | "$read_json" platforms 0 devices)" = 2 ]; then
    export OPENCL_LAYERS="$layer${OPENCL_LAYERS:+:$OPENCL_LAYERS}" CLATTN_FAIL=clCreateContext
    expect 0 'one of two devices fails' --json
    has 'one of two devices fails' CL_OUT_OF_RESOURCES platforms 0 devices 0 error status
    has 'one of two devices fails' '[0-9]*' platforms 0 devices 1 facts local_memory
    expect 5 'all devices fail' --device 0
    says 'all devices fail' '^    error: CL_OUT_OF_RESOURCES: .'
    CLATTN_FAIL=clGetDeviceIDs
    "$info" --json 2>/dev/null | "$read_json" platforms 0 error status >stdout 2>stderr
    says 'a platform that fails' '^CL_OUT_OF_RESOURCES$'
    unset CLATTN_FAIL
fi

"$info" --help >stdout 2>stderr && grep -q -- '--json' stdout && grep -q 'Exit code: 0' stdout ||
    complain '--help'
"$info" --version >stdout 2>stderr && grep -q '^clattn-info [0-9.]*$' stdout || complain '--version'

echo "$checks checks, $failures failures"
[ $failures -eq 0 ]
