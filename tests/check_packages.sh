#!/bin/sh
# check_packages.sh CMAKE SOURCE: where a package is missing, cmake names it, says how to get it and
# which switch leaves it out; and that switch does.
set -eu
cmake=$1 source=$2
failed=0
rm -rf packages
mkdir -p packages/found
export PKG_CONFIG_LIBDIR="$PWD/packages/found" PKG_CONFIG_PATH=

# configure OPTION...: in one folder, so that the compiler is looked at once.
configure() {
    "$cmake" -S "$source" -B packages/build -DCLATTN_BUILD_TOOLS=OFF -DCLATTN_BUILD_EXAMPLES=OFF \
        -DCLATTN_BUILD_TESTS=OFF -DCLATTN_WITH_CLBLAST=OFF -DCMAKE_DISABLE_FIND_PACKAGE_OpenCL=OFF \
        -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=OFF "$@" >packages/log.txt 2>&1
}
complain() {
    echo "FAILED: $*"
    cat packages/log.txt
    failed=1
}
# misses PACKAGE DEBIAN SETUP SWITCH OPTION...: with these options the package is missed.
misses() {
    package=$1 debian=$2 setup=$3 switch=$4
    shift 4
    ! configure "$@" || complain "$package is missing, and cmake succeeds"
    # CMake breaks sentences where it likes, but no command.
    tr -s ' \n' ' ' <packages/log.txt | grep -qF -e " $package, which was not found." ||
        complain "$package is not named"
    for line in "apt-get install $debian" "$setup" ${switch:+"$switch"}; do
        grep -qxF -e "      $line" packages/log.txt || complain "$package: no line '$line'"
    done
}
all='sh tools/setup.sh'
misses OpenCL 'ocl-icd-opencl-dev opencl-headers libc6-dev' "$all" '' -DCMAKE_DISABLE_FIND_PACKAGE_OpenCL=ON
misses CLBlast libclblast-dev "$all" -DCLATTN_WITH_CLBLAST=OFF -DCLATTN_WITH_CLBLAST=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_CLBlast=ON
misses cmocka libcmocka-dev "$all --tests" -DCLATTN_BUILD_TESTS=OFF -DCLATTN_BUILD_TESTS=ON
misses libpng libpng-dev "$all" -DCLATTN_BUILD_EXAMPLES=OFF -DCLATTN_BUILD_EXAMPLES=ON
misses pkg-config 'libpopt-dev pkg-config' "$all" -DCLATTN_BUILD_TOOLS=OFF -DCLATTN_BUILD_TOOLS=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON
misses popt libpopt-dev "$all" -DCLATTN_BUILD_TOOLS=OFF -DCLATTN_BUILD_TOOLS=ON
printf 'Name: popt\nDescription: as if it were there\nVersion: 1\n' >packages/found/popt.pc
misses jansson libjansson-dev "$all" -DCLATTN_BUILD_TOOLS=OFF -DCLATTN_BUILD_TOOLS=ON
configure || complain "without tools, examples and tests cmake fails"
exit $failed
