#!/bin/sh
# demo.sh: clattn's main job on real input, from a fresh machine.  Installs what the
# build needs, builds into build/, computes attention on the sample tensors and checks
# it against the double reference, denoises a photograph, and trains a small language
# model for about a minute.  Results: build/demo/.
set -eu
cd "$(dirname "$0")/.."
sh tools/setup.sh

echo "demo: building in build/"
mkdir -p build
cmake -S . -B build -DCLATTN_BUILD_TESTS=OFF -DCLATTN_WERROR=OFF >build/build.log 2>&1 &&
    cmake --build build --parallel 2 >>build/build.log 2>&1 || {
    cat build/build.log >&2
    exit 1
}
out=build/demo
mkdir -p "$out"

echo "demo: attention on examples/data/sample.safetensors"
build/tools/clattn-run examples/data/sample.safetensors -o "$out/attention.safetensors" --verify
echo "demo: denoising examples/data/photo.png"
build/examples/03_denoise examples/data/photo.png "$out/denoised.png"
if [ -x build/examples/04_train ]; then
    echo "demo: training on examples/data/alice.txt; CLBlast compiles its kernels first"
    build/examples/04_train examples/data/alice.txt --steps 400 --sample 200 \
        --plot "$out/loss.svg" -o "$out/model.safetensors"
else
    echo "demo: no training: the build found no CLBlast"
fi
echo "demo: the tensors are in $out/attention.safetensors, the picture in $out/denoised.png"
