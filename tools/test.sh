#!/bin/sh
# test.sh [CTEST OPTION...]: all tests, from a fresh machine.  Installs what the build
# and the tests need, builds into build-test/ (optimised, with assertions) and runs
# ctest.  Options go to ctest: -L unit, -R choice.
set -eu
cd "$(dirname "$0")/.."
sh tools/setup.sh --tests

echo "test: building in build-test/"
mkdir -p build-test
cmake -S . -B build-test -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O2 -g" \
    -DCLATTN_BUILD_TESTS=ON >build-test/build.log 2>&1 &&
    cmake --build build-test --parallel 2 >>build-test/build.log 2>&1 || {
    cat build-test/build.log >&2
    exit 1
}
ctest --test-dir build-test --output-on-failure --parallel 2 --no-tests=error "$@"
