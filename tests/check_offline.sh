#!/bin/sh
# check_offline.sh TARGET CHECKER BUDGETS COMPILERS: the programs of a device that is not
# here go through the compilers of its vendor's kind, and CHECKER (check_offline.c, built)
# judges what comes out.  BUDGETS: the folder of the reviewed budgets.  COMPILERS: where
# tools/setup_compilers.sh unpacked what cannot be installed.  Works in the current folder.
#
# No driver is needed, and none is asked: for AMD it is clang and ROCm's device library,
# for NVIDIA clang and ptxas (its driver has another front end, but the same ptxas), for
# Intel the driver's own compiler, IGC.
#
# check_offline.sh --renew RUNS BUDGETS: takes what the last run of each target under RUNS
# measured for its budget from now on.
# shellcheck disable=SC2317 # functions are called by their vendor's name
set -eu
if [ "$1" = --renew ]; then
    for new in "$2"/offline_*/budget.txt; do
        [ -e "$new" ] || continue
        name=${new%/budget.txt}
        name=${name##*/offline_}
        cp "$new" "$3/$name.txt"
        echo "renewed $3/$name.txt"
    done
    exit 0
fi
target=$1 checker=$2 budgets=$3 compilers=$4
programs=programs outputs=outputs figures=figures.txt new=budget.txt

need() { # WHAT PATH...: the first that is there
    what=$1
    shift
    for path in "$@"; do
        ! command -v "$path" || return 0
        [ ! -f "$path" ] || { echo "$path"; return 0; }
    done
    echo "skipped: no $what; sh tools/setup.sh --tests gets it on Debian 12" >&2
    exit 77
}

# For awk, at each instruction of a matrix engine: how many there are, and how many moves to
# and from memory, for want of registers, stand among them.
count='
    function matrix_instruction() {
        among += matrix++ ? waiting : 0
        waiting = 0
    }'

# "22.1.8", "13.0.88"
version() { sed -n 's/.*\(version\|, V\) *\([0-9.]*[0-9]\).*/\2/p' | head -n 1; }

# ---- AMD ----
# What a driver would decide: the control variables of the device library, whose own
# copies end at the chips of its day.
amd_control() { # ISA WAVE64
    cat <<END
__constant int __oclc_ISA_version = $1, __oclc_ABI_version = 500;
__constant bool __oclc_wavefrontsize64 = $2, __oclc_daz_opt = 0,
                __oclc_finite_only_opt = 0, __oclc_unsafe_math_opt = 0,
                __oclc_correctly_rounded_sqrt32 = 0;
END
}

amd_begin() {
    clang=$(need clang-22 clang-22) || exit 77
    readelf=$(need readelf readelf) || exit 77
    library=$(need rocm-device-libs /usr/lib/x86_64-linux-gnu/amdgcn/bitcode/opencl.bc) || exit 77
    case $target in
    gfx90a) isa=9010 wave64=1 ;;
    gfx942) isa=9402 wave64=1 ;;
    gfx1100) isa=11000 wave64=0 ;;
    gfx1201) isa=12001 wave64=0 ;;
    esac
    amd="-target amdgcn-amd-amdhsa -mcpu=$target"
    amd_control "$isa" "$wave64" >control.cl
    # shellcheck disable=SC2086 # a list of options
    "$clang" -x cl -cl-std=CL2.0 $amd -nogpulib -emit-llvm -c control.cl -o control.bc
    # Symbols that nobody outside asks for go: clang keeps a second copy of each kernel, to
    # be called from others.
    amd_options="$amd -nogpulib -mllvm -amdgpu-internalize-symbols"
    for part in "${library%/*}/opencl.bc" "${library%/*}/ocml.bc" "${library%/*}/ockl.bc" control.bc; do
        amd_options="$amd_options -Xclang -mlink-builtin-bitcode -Xclang $part"
    done
    echo "# clang $("$clang" --version | version)," \
        "rocm-device-libs $(dpkg-query -W -f '${Version}' rocm-device-libs 2>/dev/null || echo unknown)"
}

# To assembly, then to an object: the first is read, the second finds what is missing.
amd_compile() { # TEXT OUTPUT
    # shellcheck disable=SC2086
    "$clang" -x cl $options $amd_options -O3 -S "$1" -o "$2.s" &&
        "$clang" $amd -c "$2.s" -o "$2.o" || return 1
    undefined=$("$readelf" -sW "$2.o" | awk '$7 == "UND" && $8 != "" { print $8 }')
    [ -z "$undefined" ] || { echo "undefined: $undefined"; return 1; }
    awk '
    /; .*Folded (Spill|Reload)/ { waiting++ }
    /^[ \t]*v_s?w?mf?ma_/ { matrix_instruction() }
    /^amdhsa.kernels:/ { notes = 1 }
    notes && $1 ~ /^\.(vgpr_count|vgpr_spill_count|sgpr_spill_count|group_segment_fixed_size)/ { f[$1] = $2 }
    notes && $1 ~ /^\.(private_segment_fixed_size|max_flat_workgroup_size)/ { f[$1] = $2 }
    END {
        printf "threads %d registers %d local %d scratch %d spills %d matrix %d among %d\n",
            f[".max_flat_workgroup_size:"], f[".vgpr_count:"], f[".group_segment_fixed_size:"],
            f[".private_segment_fixed_size:"], f[".vgpr_spill_count:"] + f[".sgpr_spill_count:"], matrix, among
    }'"$count" "$2.s"
}

# ---- NVIDIA ----
nvidia_begin() {
    clang=$(need clang-22 clang-22) || exit 77
    library=$(need libclc-22 "$compilers/usr/lib/clc/nvptx64--nvidiacl.bc") || exit 77
    ptxas=$(need ptxas "$compilers/nvidia/cu13/bin/ptxas" ptxas) || exit 77
    nvdisasm=$(need nvdisasm "$compilers/nvidia/cu13/bin/nvdisasm" nvdisasm) || exit 77
    nvidia="-target nvptx64--nvidiacl -Xclang -target-cpu -Xclang $target"
    nvidia="$nvidia -Xclang -target-feature -Xclang +ptx83" # fence.proxy.tensormap wants that
    # libclc leaves this one to a library of NVIDIA's own.
    echo "int __nv_isinff(float x) { return __builtin_isinf(x); }" >missing.cl
    # shellcheck disable=SC2086
    "$clang" -x cl $nvidia -emit-llvm -c missing.cl -o missing.bc
    echo "# clang $("$clang" --version | version), ptxas $("$ptxas" --version | version)"
}

# Clang is to do what NVIDIA's front end does: say that it is it, know "asm", and take exp2 for the
# chip's instruction, where libclc has a table.  Between its two halves, the kernel's body goes
# into the kernel (clang has it called, so that other kernels can), and reqd_work_group_size
# becomes what ptxas is told.  ptxas holds declared local memory to 48 KiB unless it is told,
# as drivers tell it, that the chip has more.  Eleven programs of which driver 580.159 made PTX
# spill in ptxas for sm_80 where they do here, but for two, at most 104 bytes apart.
nvidia_compile() { # TEXT OUTPUT
    # shellcheck disable=SC2086
    "$clang" -x cl $options -D__NV_CL_C_VERSION=120 -Dasm=__asm -Dexp2=native_exp2 $nvidia -O3 -Xclang -disable-llvm-passes \
        -emit-llvm -S "$1" -o "$2.clang.ll" || return 1
    awk '
    NR == FNR && /^![0-9]+ = !\{i32 [0-9]+, i32 [0-9]+, i32 [0-9]+\}/ {
        sizes[$1] = $0
        gsub(/.*\{|i32| |\}.*/, "", sizes[$1])
    }
    NR == FNR { next }
    /^attributes / { sub(/ noinline /, " ") }
    /^define .*@__clang_ocl_kern_imp_/ { sub(/^define [a-z_]*/, "define internal"); sub(/#[0-9]+/, "& alwaysinline") }
    /^define .* ptx_kernel / {
        size = ""
        for (i = 1; i < NF; i++)
            if ($i == "!reqd_work_group_size") size = sizes[$(i + 1)]
        sub(/#[0-9]+/, "& \"nvvm.reqntid\"=\"" size "\"")
    }
    { print }' "$2.clang.ll" "$2.clang.ll" >"$2.ll"
    # shellcheck disable=SC2086
    "$clang" -x ir $nvidia -Xclang -mlink-builtin-bitcode -Xclang "$library" \
        -Xclang -mlink-builtin-bitcode -Xclang missing.bc -O3 -S "$2.ll" -o "$2.ptx" || return 1
    chip=$target
    if grep -q '//@90a ' "$2.ptx"; then # as src/ptx.c does
        chip=${target}a
        sed -i 's@//\@90a @@; s/^\.target sm_90/&a/; /^\.reqntid /a .minnctapersm 1' "$2.ptx"
    fi
    if ! "$ptxas" -arch="$chip" --enable-extended-smem=true -v "$2.ptx" -o "$2.cubin" >"$2.log" 2>&1; then
        cat "$2.log"
        return 1
    fi
    # Matrix instructions one after the other that should overlap.
    ! grep -E 'C75[0-9][0-9]' "$2.log" || return 1
    "$nvdisasm" "$2.cubin" >"$2.sass" || return 1
    awk '
    FILENAME ~ /\.ptx$/ { if ($1 == ".reqntid") threads = $2 * $3 * $4; next }
    FILENAME ~ /\.sass$/ && / (STL|LDL)/ { waiting++ }
    FILENAME ~ /\.sass$/ && / [HQI]G?MMA/ { matrix_instruction() }
    FILENAME ~ /\.sass$/ { next }
    / bytes stack frame, / { scratch += $1; spills += $5 + $9 }
    / Used [0-9]+ registers/ {
        for (i = 1; i < NF; i++) {
            if ($(i + 1) ~ /^registers/) registers = $i
            if ($(i + 1) == "bytes" && $(i + 2) ~ /^smem/) local = $i
        }
    }
    END {
        printf "threads %d registers %d local %d scratch %d spills %d matrix %d among %d\n",
            threads, registers, local, scratch, spills, matrix, among
    }'"$count" "$2.ptx" "$2.sass" "$2.log"
}

# ---- Intel ----
intel_begin() {
    readelf=$(need readelf readelf) || exit 77
    ocloc=$(need ocloc "$compilers/usr/bin/ocloc") || exit 77
    # What the driver declares; rows of A are whole in the lanes of a sub-group of 16, halves in 8.
    case $target in
    dg2) a=int8 ;;
    pvc) a=short8 ;;
    esac
    cat >declared.cl <<END
#define cl_intel_subgroup_matrix_multiply_accumulate 1
__attribute__((overloadable)) float8 intel_sub_group_f16_f16_matrix_mad_k16($a, int8, float8);
__attribute__((overloadable)) float8 intel_sub_group_bf16_bf16_matrix_mad_k16($a, int8, float8);
#line 1
END
    echo "# $(cat "$compilers/ocloc.txt")"
}

# ELF output says what it needs (.ze_info), IGC's dump has the machine code.  A kernel that
# spills is compiled a second time with other means, and that is the one that counts.
intel_compile() { # TEXT OUTPUT
    mkdir "$2" "$2.dump"
    cat declared.cl "$1" >"$2.cl"
    LD_LIBRARY_PATH=$compilers/usr/lib/x86_64-linux-gnu IGC_EnableZEBinary=1 IGC_ShaderDumpEnable=1 \
        IGC_DumpToCustomDir=$PWD/$2.dump "$ocloc" compile -q -file "$2.cl" -device "$target" \
        -out_dir "$2" -options "$options" || return 1
    "$readelf" -p .ze_info "$2"/*.bin | sed 's/^  \[ *[0-9a-f]*\]  //; s/\\n$//' >"$2.info"
    width=$(awk '/- name:/ { kernel = $3 } /simd_size:/ && kernel !~ /^Intel_/ { print $2; exit }' "$2.info")
    code=$(find "$2.dump" -name "*_simd${width}_entry_*.asm" | sort | awk '
        { tries = match($0, /_[0-9]+_simd/) ? substr($0, RSTART + 1) + 0 : 0
          if (tries >= most) { most = tries; last = $0 } }
        END { print last }')
    [ -n "$code" ] || { echo "no machine code of width $width"; return 1; }
    awk '
    FILENAME ~ /\.asm$/ {
        if (/^\/\/\.spill size/) spills = $3
        if (/^[^\/].*scratch space/) waiting++
        if (/^[^\/]*dpas/) matrix_instruction()
        next
    }
    /- name:/ { ours = $3 !~ /^Intel_/ }
    !ours { next }
    $1 == "grf_count:" { registers = $2 }
    $1 == "slm_size:" { local = $2 }
    $1 == "required_work_group_size:" {
        gsub(/[^0-9 ]/, " ")
        threads = $1 * $2 * $3
    }
    /per_thread_memory_buffers:/ { buffers = 1 }
    /kernels_misc_info:|payload_arguments:/ { buffers = 0 }
    buffers && $1 == "size:" { scratch += $2 }
    END {
        printf "threads %d registers %d local %d scratch %d spills %d matrix %d among %d\n",
            threads, registers, local, scratch, spills, matrix, among
    }'"$count" "$code" "$2.info"
}

case $target in
gfx*) vendor=amd ;;
sm_*) vendor=nvidia ;;
*) vendor=intel ;;
esac

rm -rf "$programs" "$outputs" "$new"
mkdir "$programs" "$outputs"
"${vendor}_begin" >"$figures"
CLATTN_DUMP=$programs "$checker" compose "$target"

# The first line is a comment, the variant: texts that differ in it alone are one.  The second
# holds the options that the library builds it with.
for file in "$programs"/*.cl; do
    text=$(tail -n +2 "$file" | cksum | tr -d ' ')
    if [ ! -e "$outputs/$text.figures" ]; then
        options=$(sed -n '2s@^/\* options \(.*\) \*/$@\1@p' "$file")
        [ -n "$options" ] || { echo "$file does not say its options"; exit 1; }
        if "${vendor}_compile" "$file" "$outputs/$text" >"$outputs/$text.out" 2>&1; then
            tail -n 1 "$outputs/$text.out" >"$outputs/$text.figures"
        else
            head -n 1 "$file"
            head -n 40 "$outputs/$text.out"
            echo failed >"$outputs/$text.figures"
        fi
    fi
    echo "$(basename "$file") $(cat "$outputs/$text.figures")" >>"$figures"
done
echo "$target: $(find "$outputs" -name '*.figures' | wc -l) different texts compiled"

result=0
"$checker" judge "$target" "$programs" "$figures" "$budgets/$target.txt" "$new" || result=1
if [ $result != 0 ]; then
    echo "If that is meant: cp $PWD/$new $budgets/$target.txt, and the diff is for review"
fi
exit $result
