#!/bin/sh
# check_consume.sh find_package|pkg_config|fetchcontent static|shared SOURCE BUILD
#
# Builds and installs clattn, moves the installed tree, and builds and runs an
# outside project that uses it from there.  BUILD is emptied first.
set -eu
way=$1 kind=$2 source=$3 build=$4
shared=OFF
[ "$kind" = static ] || shared=ON

rm -rf "$build"
mkdir -p "$build"
project=$source/tests/consume/$way
program=$build/project/consume
if [ "$way" = fetchcontent ]; then
    cmake -S "$project" -B "$build/project" -DBUILD_SHARED_LIBS=$shared
    cmake --build "$build/project"
else
    tools=OFF
    [ "$kind" = static ] || tools=ON
    cmake -S "$source" -B "$build/clattn" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=$shared \
        -DCLATTN_BUILD_TESTS=OFF -DCLATTN_BUILD_EXAMPLES=OFF -DCLATTN_BUILD_TOOLS=$tools
    cmake --build "$build/clattn"
    cmake --install "$build/clattn" --prefix "$build/installed"
    mv "$build/installed" "$build/prefix"
    if [ $tools = ON ]; then
        "$build/prefix/bin/clattn-info" >"$build/info.txt"
    fi
    library=$(dirname "$(find "$build/prefix" -name 'libclattn.*' | head -n 1)")
    if [ "$way" = find_package ]; then
        cmake -S "$project" -B "$build/project" -DCMAKE_PREFIX_PATH="$build/prefix"
        cmake --build "$build/project"
    else
        mkdir "$build/project"
        PKG_CONFIG_PATH=$library/pkgconfig make -C "$project" BUILD="$build/project" \
            LDFLAGS="-Wl,-rpath,$library"
    fi
fi
"$program"
