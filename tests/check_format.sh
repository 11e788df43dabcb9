#!/bin/sh
# check_format.sh SOURCE: clang-format 14 would change no file.  Other versions
# break lines differently, so that only 14 is asked.
set -eu
cd "$1"
for tool in clang-format-14 clang-format none; do
    [ "$tool" != none ] || { echo "skipped: no clang-format 14"; exit 77; }
    version=$("$tool" --version 2>/dev/null) || continue
    case $version in *"version 14."*) break ;; esac
done
result=0
for file in $(find include src cl tests examples tools -name '*.[ch]' -o -name '*.cl'); do
    "$tool" --dry-run -Werror "$file" 2>/dev/null || { echo "run: clang-format -i $file"; result=1; }
done
exit $result
