#!/bin/sh
# check_man.sh FOLDER TOOL...: has each tool a page, FOLDER/NAME.1, that mandoc finds nothing wrong
# with, and are the page's options those that --help prints?
set -u
folder=$1
shift
failures=0
here=$(mktemp -d "$PWD/check_man-XXXXXX")
trap 'rm -rf "$here"' EXIT
complain() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}
for tool in "$@"; do
    name=$(basename "$tool")
    page=$folder/$name.1
    # Deeper than 6 blanks is the text of an option.
    "$tool" --help | sed '/^$/,$d' | sed -n 's/^ \{2,6\}\(-., \)\{0,1\}--\([a-z-]*\).*/\2/p' | sort >"$here/help"
    sed -n 's/^\.It .*Fl Fl \([a-z-]*\).*/\1/p' "$page" | sort >"$here/page"
    [ -s "$here/help" ] || complain "$name --help prints no option"
    diff "$here/help" "$here/page" || complain "$page: options (>) are not those of --help (<)"
    if command -v mandoc >/dev/null; then
        mandoc -Tlint -W warning "$page" || complain "$page: mandoc"
    fi
done
command -v mandoc >/dev/null || echo "note: mandoc is not there: the pages' syntax is not checked"
[ $failures -eq 0 ]
