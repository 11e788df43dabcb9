#!/bin/sh
# test_python.sh SOURCE: builds the Python package of SOURCE as pip does, and runs its tests.
#
# Python is the environment variable CLATTN_PYTHON, or that of build-python/, which
# tools/setup.sh --tests makes.  Tests of packages that this Python does not have (torch, transformers)
# are skipped, and the output says which.  Skipped (77) where the packages are not there at all.
set -u
source=$1
python=${CLATTN_PYTHON:-$source/build-python/bin/python}
if ! "$python" -c "import numpy, pytest, pyopencl, ml_dtypes, scikit_build_core" 2>/dev/null; then
    echo "skipped: $python has no numpy, pytest, pyopencl, ml_dtypes and scikit-build-core;" \
        "sh tools/setup.sh --tests gets them"
    exit 77
fi
# Into a folder of this test: the Python stays as it is.
rm -rf package
"$python" -m pip -q install --disable-pip-version-check --no-deps --no-build-isolation --target package \
    "$source/tools/python" || exit 1
# python -m pytest would put the source, which has no library, before it.
CLATTN_DEVICE=${CLATTN_TEST_DEVICE-} PYTHONPATH=$PWD/package PYTHONDONTWRITEBYTECODE=1 \
    "$python" -m pytest -q -rs -p no:cacheprovider "$source/tools/python/tests"
