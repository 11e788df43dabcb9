#!/bin/sh
# test_examples.sh EXAMPLES PHOTO TEXT: the examples in the directory EXAMPLES give the answers
# that they must, and 03_denoise and 04_train refuse what they should, with one sentence and no
# file.  (test_denoise checks the pictures, test_train the training.)
set -eu
examples=$1
photo=$2
text=$3
failed=0
complain() { echo "FAILED: $*"; failed=1; }

# Name and a pattern that its output must have; exit code 0.
answers() {
    echo "== $1"
    "$examples/$1" >out.txt 2>err.txt || complain "$1: exit code $?"
    cat out.txt err.txt
    grep -q "$2" out.txt || complain "$1: printed nothing like: $2"
}
answers 00_forward '^last row 499\.5000 (expected 499\.5000), '
answers 01_events '; 0 of 8192 values differ$'
answers 02_workspace '^workspace: [0-9]* bytes$'
[ "$(grep -c '^  chosen ' out.txt)" = 4 ] || complain "02_workspace: not four problems"
[ "$(grep -c '^  .* fwd_rows' out.txt)" -ge 4 ] || complain "02_workspace: fwd_rows left out"

echo "== 03_denoise"
device=${CLATTN_TEST_DEVICE:-0}
rm -f small.png small-noisy.png
"$examples/03_denoise" --device "$device" --crop 48x48 "$photo" small.png >out.txt ||
    complain "03_denoise: exit code $?"
cat out.txt
gain=$(sed -n 's/^PSNR .* (+\([0-9.]*\) dB)$/\1/p' out.txt)
awk -v gain="${gain:-0}" 'BEGIN { exit !(gain >= 6) }' ||
    complain "03_denoise: the PSNR rose by ${gain:-nothing}, not by 6 dB"
for line in '^device ' '^variant fwd_' '^S 2304, D 78, Dv 3$' '^time .* GFLOP/s$' '20\.2 MiB$'; do
    grep -q "$line" out.txt || complain "03_denoise: printed nothing like: $line"
done
[ -s small.png ] && [ -s small-noisy.png ] || complain "03_denoise: a picture is missing"

# Exit code, then the arguments of $example.
example=03_denoise
refuses() {
    wanted=$1
    shift
    rm -f refused.* refused-noisy.png
    code=0
    "$examples/$example" "$@" >out.txt 2>err.txt || code=$?
    [ "$code" = "$wanted" ] || complain "$example $*: exit code $code, not $wanted"
    [ "$(grep -c . err.txt)" = 1 ] || complain "$example $*: not one sentence: $(cat err.txt)"
    grep -q "^$example: " err.txt || complain "$example $*: $(cat err.txt)"
    for file in refused.*; do
        [ ! -e "$file" ] || complain "$example $*: wrote $file"
    done
}
head -c 30000 "$photo" >truncated.png
head -c 100 "$photo" >header.png
: >empty.png
echo 'no picture' >text.png
for file in truncated header empty text missing; do
    refuses 1 $file.png refused.png
done
refuses 1 . refused.png
refuses 1 --crop 271x10 "$photo" refused.png
refuses 1 --crop 8x8 "$photo" no/such/directory/refused.png
refuses 1 --clean small.png "$photo" refused.png
refuses 1 --device 'no such device' --crop 8x8 "$photo" refused.png
refuses 1 --device 999 --crop 8x8 "$photo" refused.png
refuses 2 --crop 0x8 "$photo" refused.png
refuses 2 --crop 8x8x8 "$photo" refused.png
refuses 2 --sigma -1 "$photo" refused.png
refuses 2 --sigma nan "$photo" refused.png
refuses 2 --sigma 0 "$photo" refused.png
refuses 2 --sigma 25x "$photo" refused.png
refuses 2 --patch 4 "$photo" refused.png
refuses 2 --patch 15 "$photo" refused.png
refuses 2 --h 0 "$photo" refused.png
refuses 2 --reach
refuses 2 --nonsense 1 "$photo" refused.png
refuses 2 "$photo" refused.png third.png

if [ -x "$examples/04_train" ]; then
    echo "== 04_train"
    example=04_train
    head -c 640 "$text" >short.txt
    head -c 10000 /dev/zero >zeros.txt
    for file in short.txt zeros.txt empty.png missing .; do
        refuses 1 -o refused.safetensors --plot refused.svg $file
    done
    refuses 1 -o no/such/directory/refused "$text"
    refuses 1 --plot no/such/directory/refused "$text"
    refuses 1 -o . "$text"
    refuses 1 --device 'no such device' "$text"
    refuses 2 --steps 0 "$text"
    refuses 2 --steps 2.5 "$text"
    refuses 2 --batch many "$text"
    refuses 2 --seed -1 "$text"
    refuses 2 --rate nan "$text"
    refuses 2 --rate -1 "$text"
    refuses 2 --temperature 0 "$text"
    refuses 2 --heads 3 "$text"
    refuses 2 --heads 8 "$text"
    refuses 2 --width 1024 --heads 1 "$text"
    refuses 2 --batch 4096 --context 65536 "$text"
    refuses 2 --nonsense 1 "$text"
    refuses 2 "$text" --steps
    refuses 2 "$text" second.txt
fi
exit $failed
