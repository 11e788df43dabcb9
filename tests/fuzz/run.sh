#!/bin/sh
# run.sh FOLDER SEEDS TARGET SECONDS: a fuzz target, from what the case tables hold.
#
# What libFuzzer adds stays in the folder corpus, so that a longer run can go on with it.  A finding is
# a file in the folder findings; FOLDER/fuzz_TARGET FILE repeats it.
set -eu
folder=$1 seeds=$2 target=$3 seconds=$4
mkdir -p findings
trap 'rm -f fuzz-??????' EXIT
rm -rf corpus/seeds-"$target"
mkdir -p corpus/seeds-"$target" corpus/"$target"
"$seeds" "$target" corpus/seeds-"$target"
# allocator_may_return_null: a file may ask for more memory than there is, and is to be told so.
ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 "$folder/fuzz_$target" \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -malloc_limit_mb=100000 \
    -artifact_prefix=findings/ -print_final_stats=1 -max_len=2000 -verbosity=0 corpus/"$target" \
    corpus/seeds-"$target"
