#!/bin/sh
# setup_compilers.sh [FOLDER]: unpacks into FOLDER (build-compilers/) what the tests use and
# the system must not see: compilers of devices that are not here, for the tests labelled
# offline, and Intel's OpenCL implementation for CPUs, for the tests labelled intel.  libclc-22,
# if installed, would keep Rusticl's libclc-15 out; a driver of Intel would be one more OpenCL
# implementation for every program.  NVIDIA's assembler and Intel's CPU runtime come from the
# Python package index, under NVIDIA's and Intel's licences.  What is there stays; what cannot
# be had is said, and is no error.  Called by setup.sh --tests, which installs clang-22 and the rest.
set -eu
folder=${1-$(dirname "$0")/../build-compilers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The reason is the last line of what was said.
without() {
    echo "setup: without $1, which $2"
    [ ! -s log ] || tail -n 1 log
    rm -rf ./*
}

# Into $work/root.
unpack_packages() { # PACKAGE...
    apt-get -qq download "$@" >log 2>&1 || return 1
    for package in *.deb; do
        dpkg-deb -x "$package" root >log 2>&1 || return 1
    done
    rm -f -- *.deb
}

unpack_wheels() { # NAME==VERSION...
    python3 -m pip -q download --no-deps --only-binary=:all: "$@" >log 2>&1 || return 1
    for wheel in *.whl; do
        python3 -m zipfile -e "$wheel" root >log 2>&1 || return 1
        rm "$wheel"
    done
}

# Never half of a file; the last FILE is what the next run looks for.
keep() { # FILE...
    for file in "$@"; do
        mkdir -p "$folder/${file%/*}"
        cp -a "root/$file" "$folder/$file.part"
        mv "$folder/$file.part" "$folder/$file"
    done
    rm -rf root log
}

clc=usr/lib/clc/nvptx64--nvidiacl.bc
if [ ! -e "$folder/$clc" ]; then
    if unpack_packages libclc-22; then
        keep $clc
        echo "setup: unpacked libclc-22"
    else
        without libclc-22 "this distribution does not have"
    fi
fi

# The assembler of CUDA 13.0; a disassembler that reads what it writes.
bin=nvidia/cu13/bin
if [ ! -e "$folder/$bin/ptxas" ]; then
    if unpack_wheels nvidia-cuda-nvcc==13.0.88 nvidia-cuda-nvdisasm==13.2.86; then
        chmod +x root/$bin/ptxas root/$bin/nvdisasm
        keep $bin/nvdisasm $bin/ptxas
        echo "setup: unpacked ptxas and nvdisasm"
    else
        without ptxas "needs python3 -m pip, the package index, and its kind of machine"
    fi
fi

# Versions after this one are packaged otherwise.
intel="intel-opencl-icd libigdgmm12 libigc1 libigdfcl1 libopencl-clang14 libllvmspirvlib14"
if [ ! -e "$folder/usr/bin/ocloc" ]; then
    # shellcheck disable=SC2086 # a list of words
    if apt-cache policy intel-opencl-icd 2>/dev/null | grep -q 'Candidate: 22\.43' &&
        unpack_packages $intel; then
        version() { apt-cache policy "$1" | sed -n 's/^ *Candidate: *//p'; }
        echo "ocloc $(version intel-opencl-icd), IGC $(version libigc1)" >root/ocloc.txt
        # shellcheck disable=SC2046
        keep ./ocloc.txt $(cd root && find usr/lib -name '*.so*') usr/bin/ocloc
        echo "setup: unpacked ocloc"
    else
        without ocloc "setup knows in Debian 12 alone"
    fi
fi

# OpenCL for x86-64 CPUs, of Intel and of AMD: 275 MB to load, 400 MB unpacked.  Its libraries
# find one another in their own folder.  Left out: a second copy of each library, the loader,
# the debugger's script, and tcmlib and hwloc, which tbb does without.
runtime="intel-opencl"
library=$runtime/libintelocl.so
if [ "$(uname -m)" != x86_64 ]; then
    without "Intel's CPU runtime" "is for x86-64"
elif [ ! -e "$folder/$library" ]; then
    if unpack_wheels intel-opencl-rt==2026.2.0 intel-cmplr-lib-rt==2026.2.0 tbb==2023.2.0; then
        mkdir root/$runtime
        (
            cd root
            mv intel_opencl_rt-*.dist-info/LICENSE.txt ./*.data/data/lib/cl.cfg \
                ./*.data/data/lib/cl*.rtl ./*.data/data/lib/cllibrary*.o \
                ./*.data/data/lib/libcommon_clang.so.* ./*.data/data/lib/libocl_svml_*.so \
                ./*.data/data/lib/libimf.so ./*.data/data/lib/libintlc.so.5 \
                ./*.data/data/lib/libirng.so ./*.data/data/lib/libsvml.so \
                ./*.data/data/lib/libtbb.so.12 ./*.data/data/lib/libtbbmalloc.so.2 \
                ./*.data/data/lib/libintelocl.so $runtime
        )
        # shellcheck disable=SC2046
        keep $(cd root && find $runtime -type f ! -path $library) $library
        echo "setup: unpacked Intel's CPU runtime"
    else
        without "Intel's CPU runtime" "needs python3 -m pip, the package index, and a free GB"
    fi
fi
