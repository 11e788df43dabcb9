#!/bin/sh
# test_examples.sh EXAMPLES PHOTO: the examples in the directory EXAMPLES give the answers
# that they must, and 03_denoise refuses what it should, with one sentence and no picture.
# (test_denoise checks its pictures.)
set -eu
examples=$1
photo=$2
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

# Exit code, then the arguments.
refuses() {
    wanted=$1
    shift
    rm -f refused.png refused-noisy.png
    code=0
    "$examples/03_denoise" "$@" >out.txt 2>err.txt || code=$?
    [ "$code" = "$wanted" ] || complain "03_denoise $*: exit code $code, not $wanted"
    [ "$(grep -c . err.txt)" = 1 ] || complain "03_denoise $*: not one sentence: $(cat err.txt)"
    grep -q '^03_denoise: ' err.txt || complain "03_denoise $*: $(cat err.txt)"
    [ ! -e refused.png ] || complain "03_denoise $*: wrote a picture"
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
exit $failed
