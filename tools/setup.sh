#!/bin/sh
# setup.sh [--tests]: installs what building clattn needs on Debian 12 or later and
# Ubuntu 24.04 or later, with PoCL as an OpenCL device on the CPU, and CLBlast for the
# example 04_train and the baseline standard.  --tests adds what only the tests use.  As root, or as a user with sudo.  When all is there already it
# changes nothing and needs no network.
set -eu

needed="gcc libc6-dev make cmake pkg-config git
    ocl-icd-opencl-dev opencl-headers pocl-opencl-icd
    libpopt-dev libjansson-dev libpng-dev"
# What wants one of these is left out without it.
optional="libclblast-dev"
compilers="" python=""
case ${1-} in
"") ;;
--tests)
    needed="$needed g++ libcmocka-dev clang"
    optional="$optional clang-format-14 libclang-rt-dev oclgrind mesa-opencl-icd
        libopenblas-pthread-dev clang-22 rocm-device-libs python3-pip python3-venv mandoc"
    compilers=$(dirname "$0")/setup_compilers.sh
    python=$(dirname "$0")/setup_python.sh
    ;;
*)
    echo "usage: setup.sh [--tests]" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null; then
    cat >&2 <<END
setup.sh knows only Debian and Ubuntu.  Elsewhere, please install: a C11 compiler,
CMake 3.21, make or ninja, pkg-config, the OpenCL headers and loader, an OpenCL
implementation such as PoCL; for the tools popt and jansson; for the examples libpng
and CLBlast; for the tests cmocka, clang and a C++ compiler.
END
    exit 1
fi

present() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing() {
    for package in "$@"; do
        present "$package" || echo "$package"
    done
}

# The lists are words, and meant to be split.
# shellcheck disable=SC2086
wanted=$(missing $needed)
# shellcheck disable=SC2086
extra=$(missing $optional)
if [ -z "$wanted$extra" ]; then
    [ -z "$compilers" ] || sh "$compilers"
    [ -z "$python" ] || sh "$python"
    echo "setup: everything is there"
    exit 0
fi

as_root=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup.sh: neither root nor sudo; please have installed:" $wanted $extra >&2
        exit 1
    fi
    as_root=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y "$@" >"$log" 2>&1; }

if [ -n "$wanted" ] || ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
    echo "setup: reading the package lists"
    apt update || cat "$log" >&2
fi
if [ -n "$wanted" ]; then
    echo "setup: installing" $wanted
    # shellcheck disable=SC2086
    apt --no-install-recommends install $wanted || {
        cat "$log" >&2
        echo "setup.sh: apt-get could not install them" >&2
        exit 1
    }
fi
for package in $extra; do
    if ! apt-cache show "$package" >/dev/null 2>&1; then
        echo "setup: without $package, which this distribution does not have"
    elif apt --no-install-recommends install "$package"; then
        echo "setup: installed $package"
    else
        echo "setup: without $package, which apt-get could not install"
    fi
done
[ -z "$compilers" ] || sh "$compilers"
[ -z "$python" ] || sh "$python"
echo "setup: done"
