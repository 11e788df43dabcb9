#!/bin/sh
# setup_python.sh [FOLDER]: a virtual environment in FOLDER (build-python/) with what the tests of the
# Python package use: numpy, pytest, pyopencl, ml_dtypes, and scikit-build-core to build it.
# PyTorch and transformers are large and are not installed: their tests are skipped, and say so,
# unless you install them there or CLATTN_PYTHON names a Python that has all of it.  What cannot be
# had is said, and is no error.  Called by setup.sh --tests.
set -eu
folder=${1-$(dirname "$0")/../build-python}
[ ! -e "$folder/complete" ] || exit 0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if python3 -m venv "$folder" >"$log" 2>&1 &&
    "$folder/bin/python" -m pip -q install numpy pytest pyopencl ml_dtypes scikit-build-core \
        >"$log" 2>&1; then
    touch "$folder/complete"
    echo "setup: the Python packages for tests are in $folder; without torch and transformers," \
        "whose tests are skipped"
else
    echo "setup: without the Python packages for tests, which need python3-venv and the package index"
    tail -n 1 "$log"
fi
