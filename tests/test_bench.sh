#!/bin/sh
# test_bench.sh CLATTN_BENCH COMPARE_TORCH: tiny problems on the test device.  The table,
# JSON and CSV hold what they must and agree with arithmetic, as the comparison with PyTorch
# does; what cannot be measured is one sentence.
set -eu
bench=$1
compare=$2
device=${CLATTN_TEST_DEVICE:-0}
failed=0
complain() { echo "FAILED: $*"; failed=1; }

# Exit code, then the arguments; out.txt and err.txt are left.
answers() {
    wanted=$1
    shift
    code=0
    "$bench" --device "$device" "$@" >out.txt 2>err.txt || code=$?
    [ "$code" = "$wanted" ] || complain "$*: exit code $code, not $wanted: $(cat err.txt)"
}

# Exit code, a pattern, and the arguments: one sentence that matches, and no result.
refuses() {
    wanted=$1
    pattern=$2
    shift 2
    answers "$wanted" "$@"
    [ "$(grep -c '^clattn-bench: ' err.txt)" = 1 ] || complain "$*: not one sentence: $(cat err.txt)"
    grep -q -e "$pattern" err.txt || complain "$*: nothing like '$pattern': $(cat err.txt)"
    ! grep -q 'FLOP/s  *[0-9.]*%' out.txt || complain "$*: has a result: $(cat out.txt)"
}

set -- --repeat 3 --time 0.01
full="f32 b2 h4:2 q48 k64 d32"
causal="f16 h2 q33 k33 d16:24 causal"

echo "== table"
answers 0 "$@" --variants "auto; fwd_rows" "$full"
cat out.txt err.txt
grep -q '^peak .*FLOP/s in f32' out.txt || complain "table: no peak"
grep -q '^copy .* GB/s' out.txt || complain "table: no copy"
grep -q '^read .* GB/s' out.txt || complain "table: no read"
[ "$(grep -c 'FLOP/s .*  0 B .*\(auto: \|fwd_rows\)' out.txt)" = 2 ] || complain "table: not two variants"
! grep -q "^clattn-bench: " err.txt || complain "table: said something: $(cat err.txt)"
label=$(sed -n 's/^device  \(.*\), driver .*/\1/p' out.txt)

echo "== features"
answers 0 "$@" --variants "auto;fwd_rows" "f16 b2 h4:2 q48 k64 d32 causal alibi"
[ "$(grep -c 'FLOP/s .*\(auto: \|fwd_rows\)' out.txt)" = 2 ] || complain "features: $(cat out.txt err.txt)"

echo "== JSON"
answers 0 "$@" --json --variants "auto;memory_efficient" --layout bshd "$full" "$causal"
cat out.txt
if command -v python3 >/dev/null; then
    python3 -B - "$(dirname "$compare")" "$label" <<'END' || complain "JSON: see above"
import json, sys
sys.path.append(sys.argv[1])
from compare_torch import Problem
answer = json.load(open("out.txt", encoding="utf-8"))
assert answer["device"] == sys.argv[2], (answer["device"], sys.argv[2])
assert list(answer) == ["device", "driver", "limits", "results"], list(answer)
limits = answer["limits"]
assert limits["fma_gflops"] > 0 and limits["copy_gbs"] > 0 and limits["read_gbs"] > 0, limits
keys = ["problem", "variant", "ms", "ms_spread", "wall_ms", "gflops", "model_bytes",
        "workspace_bytes", "max_error", "error_bound", "ill_rows", "peak_fraction", "bandwidth_fraction", "read_fraction",
        "sets",
        "asked"]
# operations, bytes of q, k, v, o and lse, workspace of memory_efficient
full = 2 * 2 * 4 * 48 * 64 * (32 + 32), 4 * 2 * (2 * 4 * 48 * 32 + 2 * 2 * 64 * 32 + 4 * 48), 8 * 2 * 4 * 48
causal = 2 * 2 * 33 * 34 // 2 * (16 + 24), 2 * 2 * 33 * (16 + 16 + 24 + 24) + 4 * 2 * 33, 8 * 2 * 33
expected = [full[:2] + (0,), full, causal[:2] + (0,), causal]
assert len(answer["results"]) == 4, len(answer["results"])
for i, (result, (operations, model, workspace)) in enumerate(zip(answer["results"], expected)):
    workspace = 512 if result["variant"].startswith("fwd_wgmma ") else workspace  # its tensor maps
    assert list(result) == keys, list(result)
    assert result["variant"].startswith("memory_efficient" if i % 2 else "fwd_"), result["variant"]
    assert result["ms"] > 0 and result["wall_ms"] > 0 and result["ms_spread"] >= 0, result
    assert abs(result["gflops"] * result["ms"] * 1e6 / operations - 1) < 1e-3, (result, operations)
    assert Problem(result["problem"]).operations() == operations, (result, operations)
    assert result["workspace_bytes"] == workspace, (result, workspace)
    assert result["model_bytes"] == model + 2 * workspace, (result, model)
    assert 0 <= result["max_error"] <= result["error_bound"] < 0.1, result
    bandwidth = result["model_bytes"] / result["ms"] / 1e6 / limits["copy_gbs"]
    assert abs(result["bandwidth_fraction"] / bandwidth - 1) < 1e-3, (result, bandwidth)
    assert abs(result["read_fraction"] / bandwidth * limits["read_gbs"] / limits["copy_gbs"] - 1) < 1e-3, result
    assert result["peak_fraction"] > 0, result
    assert result["sets"] >= 2, result
    assert result["ill_rows"] == 0, result
    assert result["asked"] == ("memory_efficient" if i % 2 else "auto"), result
END
else
    echo "python3 is missing: the JSON was not read"
fi

echo "== backward"
answers 0 "$@" --csv --variants "auto;bwd_rows WORK_GROUP=8" "f32 b2 h4:2 q48 k64 d32:16 bwd"
cat out.txt err.txt
# operations; bytes of q, k, v, o, lse, do, dq, dk and dv, and the workspace, which is at least
# delta, written and read
awk -F, 'NR > 1 {
    operations = 2 * 2 * 4 * 48 * 64 * (3 * 32 + 2 * 16)
    bytes = 4 * (2 * 2 * 4 * 48 * 32 + 2 * 2 * 2 * 64 * (32 + 16) + 2 * 2 * 4 * 48 * 16 + 2 * 4 * 48)
    ratio = $3 * $6 * 1e6 / operations
    if (ratio < 0.999 || ratio > 1.001 || $7 != bytes + 2 * $8 || $8 < 4 * 2 * 4 * 48 || !($9 <= $10)) exit 1
    if ($2 ~ /bwd_rows/ && $8 != 4 * 2 * 4 * 48) exit 1
    rows++
} END { if (rows != 2) exit 1 }' out.txt || complain "backward: the figures: $(cat out.txt)"
grep -q ' bwd","bwd_rows WORK_GROUP=8",' out.txt || complain "backward: another variant: $(cat out.txt)"
answers 0 "$@" --variants "auto;fwd_rows" "f16 q20 d8 causal bwd"
grep -q 'fwd_rows: variant: fwd_rows is a solver of the forward pass' err.txt ||
    complain "backward: a forward solver: $(cat err.txt)"

echo "== both passes"
answers 0 "$@" --csv --variants "auto;bwd_rows WORK_GROUP=8 + fwd_rows WORK_GROUP=4;fwd_rows;fwd_rows BLOCK_Q=3" \
    "f32 b2 h4:2 fwd+bwd q48 k64 d32:16"
cat out.txt err.txt
# As above, and what forward reads, writes and computes beside.
awk -F, 'NR > 1 {
    operations = 2 * 2 * 4 * 48 * 64 * (4 * 32 + 3 * 16)
    forward = 4 * (2 * 4 * 48 * 32 + 2 * 2 * 64 * (32 + 16) + 2 * 4 * 48 * 16 + 2 * 4 * 48)
    bytes = 4 * (2 * 2 * 4 * 48 * 32 + 2 * 2 * 2 * 64 * (32 + 16) + 2 * 2 * 4 * 48 * 16 + 2 * 4 * 48) + forward
    if ($1 !~ / fwd\+bwd"$/) exit 1
    ratio = $3 * $6 * 1e6 / operations
    if (ratio < 0.999 || ratio > 1.001 || $7 != bytes + 2 * $8 || $8 < 4 * 2 * 4 * 48 || !($9 <= $10)) exit 1
    rows++
} END { if (rows != 3) exit 1 }' out.txt || complain "both passes: the figures: $(cat out.txt)"
grep -q '"fwd_rows WORK_GROUP=4 + bwd_rows WORK_GROUP=8",.*"bwd_rows WORK_GROUP=8 + fwd_rows WORK_GROUP=4"$' out.txt ||
    complain "both passes: a variant of each: $(cat out.txt)"
grep -q '"fwd_rows WORK_GROUP=[0-9]* + bwd_[^"]*",.*"fwd_rows"$' out.txt || complain "both passes: of one: $(cat out.txt)"
grep -q 'd32:16 fwd+bwd: fwd_rows BLOCK_Q=3: variant: ' err.txt || complain "both passes: $(cat err.txt)"
refuses 2 "'bwd' and a word before it are of one kind" "$@" "f32 q20 d8 fwd+bwd bwd"
refuses 2 "'fwd+bwd+' is none of the words" "$@" "f32 q20 d8 fwd+bwd+"
refuses 2 "'fwd_rows + fwd_tile' is not one variant for each pass" "$@" --variants "fwd_rows + fwd_tile" "$full"
refuses 2 "is not one variant for each pass" "$@" --variants "auto; fwd_rows + " "$full"

echo "== tuning"
printf '# mine\n* ; f32 ; fwd_rows WORK_GROUP=2\n' >tuning.txt
printf '# mine\n* ; f32 nonsense ; fwd_rows\n' >malformed.txt
answers 0 "$@" --csv --tuning=tuning.txt "$full"
grep -q 'fwd_rows WORK_GROUP=2' out.txt || complain "tuning: another variant: $(cat out.txt)"
refuses 2 'cannot open "no_such_file.txt"' "$@" --tuning=no_such_file.txt "$full"
answers 0 "$@" --csv --tuning=malformed.txt "$full"
grep -q 'note: malformed.txt:2: ' err.txt || complain "a malformed line of a tuning file: $(cat err.txt)"
answers 0 "$@" --csv --tuning '' "$full"

echo "== CSV, and a preset that is cut before it begins"
for preset in 'train 16' 'decode 8'; do
    refuses 5 "${preset#* } of ${preset#* } problems are left out" "$@" --csv --preset "${preset% *}" --budget 0.001
done
refuses 5 '33 of 33 problems are left out: the budget of 0.001 s is spent' "$@" --csv --preset cpu \
    --budget 0.001 "$full"
last=$(head -n 1 out.txt)
refuses 5 '1 of 1 problem is left out' "$@" --budget 0.001 "$full"
header=problem,variant,ms,ms_spread,wall_ms,gflops,model_bytes,workspace_bytes,max_error,error_bound,ill_rows
[ "$last" = "$header,peak_fraction,bandwidth_fraction,read_fraction,sets,asked" ] || complain "CSV: the header"
answers 0 "$@" --csv --variants "fwd_rows BLOCK_Q=3;auto" "$full" "f16 q8 d1000" "$causal"
cat out.txt err.txt
awk -F, 'NR > 1 { gsub(/"[^"]*"/, "x") } NF != 16 { exit 1 }' out.txt || complain "CSV: not 16 columns"
[ "$(grep -c . out.txt)" = 3 ] || complain "CSV: not two results"
[ "$(grep -c ',"auto"$' out.txt)" = 2 ] || complain "CSV: not what was asked for: $(cat out.txt)"
[ "$(grep -c 'fwd_rows BLOCK_Q=3: variant: ' err.txt)" = 2 ] || complain "a variant that does not fit: $(cat err.txt)"
[ "$(grep -c 'd1000: .*head_dim' err.txt)" = 1 ] || complain "an unsupported problem: $(cat err.txt)"

echo "== sets of tensors"
for sets in 1 5; do
    answers 0 "$@" --csv --sets "$sets" "$full" "$causal"
    [ "$(awk -F, 'NR > 1 && $(NF - 1) == wanted' wanted="$sets" out.txt | grep -c .)" = 2 ] ||
        complain "--sets $sets: $(cat out.txt)"
done
code=0 # 0.5 GiB in one allocation: PoCL gives a quarter of its memory, others may give it
POCL_MEMORY_LIMIT=1 "$bench" --device "$device" "$@" --sets 64 "f32 q4096 k1 d512:1" >out.txt 2>err.txt || code=$?
[ "$code" = 0 ] || grep -q 'at most .* GiB at once\|its tensors take' err.txt || complain "one allocation: $(cat err.txt)"
answers 0 "$@" --sets 1 "$full"
grep -q '^sets  *1, the same tensors' out.txt || complain "--sets: not in the table: $(cat out.txt)"
answers 0 "$@" --sets 2 "$full"
grep -q '^sets  *2 of tensors' out.txt || complain "--sets 2: not in the table: $(cat out.txt)"
answers 0 "$@" "$full"
! grep -q '^sets' out.txt || complain "sets in the table, though nobody asked: $(cat out.txt)"

echo "== PyTorch, missing"
if command -v python3 >/dev/null; then
    mkdir -p missing/torch
    echo 'raise ImportError("as if it were not there")' >missing/torch/__init__.py
    PYTHONPATH=missing python3 "$compare" --bench "$bench" "$full" >out.txt 2>err.txt ||
        complain "compare_torch: exit code $?"
    [ "$(grep -c 'PyTorch .* is missing' err.txt)" = 1 ] || complain "compare_torch: $(cat err.txt)"
    [ ! -s out.txt ] || complain "compare_torch: printed $(cat out.txt)"
    for text in "f32 nonsense" "f32 q4" "d8" "" "h32:7 q1 d64" "q4 d0"; do
        code=0
        PYTHONPATH=missing python3 "$compare" --bench "$bench" "$full" "$text" >out.txt 2>err.txt ||
            code=$?
        [ "$code" = 2 ] || complain "compare_torch '$text': exit code $code, not 2"
        grep -q "'$text' is not a problem: " err.txt || complain "compare_torch: $(cat err.txt)"
    done
    code=0
    python3 "$compare" --bench "$bench" --back-ends flash,fast "$full" >out.txt 2>err.txt || code=$?
    [ "$code" = 2 ] || complain "compare_torch --back-ends: exit code $code, not 2"
    grep -q "there is no 'fast'" err.txt || complain "compare_torch --back-ends: $(cat err.txt)"
fi
cat >problems.py <<'END'
import sys
sys.path.append(sys.argv[1])
from compare_torch import Problem, panels, summarise
fast, slow, alone = ([{"torch": {"flash": {"ratio": r}, "math": {"skipped": "no"}}} for r in some]
                     for some in ((4, 9), (1, 1), (100,)))
assert [(m["variant"], m["back_end"], m["problems"], round(m["ratio"], 9))
        for m in summarise(["auto", " b"], [fast, slow, alone])] == [("auto", "flash", 2, 2), ("b", "flash", 2, 3)]
for text, pairs in (("q3 d1", 9), ("q4 k6 d1 causal", 3 + 4 + 5 + 6), ("q4 k6 d1 causal start", 1 + 2 + 3 + 4),
                    ("q6 k4 d1 causal", 0 + 0 + 1 + 2 + 3 + 4), ("q5 d1 window1,2", 3 + 4 + 4 + 3 + 2),
                    ("q5 k2 d1 window0,-1 start", 2 + 1), ("q5 d1 window1,0", 1 + 2 + 2 + 2 + 2)):
    assert Problem(text).operations() == 4 * pairs, (text, Problem(text).operations())
assert Problem("q3 d4:2 bwd").operations() == 2 * 9 * (3 * 4 + 2 * 2), Problem("q3 d4:2 bwd").operations()
assert Problem("q3 d4:2 fwd+bwd").operations() == 2 * 9 * (4 * 4 + 3 * 2), Problem("q3 d4:2 fwd+bwd").operations()
def drawn(*results):
    return panels([{"problem": text, "variant": variant, "asked": asked, "gflops": 1, "torch": {"flash": {"gflops": 2}}}
                   for text, variant, asked in results])
found = drawn(*((text, "fwd_tile", "auto") for text in (
    "f32 h8 q4 d8", "f32 h16 q4 d8", "f32 h8 q4 d8 causal", "f32 h8 q4 d8 window1,0", "f32 h8 q1 k4 d8", "f32 h8:4 q4 d8")))
assert list(found) == ["f32, D 8, h8", "f32, D 8, h16", "f32, D 8, h8, window1,0", "f32, D 8, h8, q1",
                       "f32, D 8, h8:4"], found
assert all(len(points) == 1 for panel in found.values() for points in panel.values()), found
assert list(found["f32, D 8, h8"]) == [(name, mask) for mask in (False, True) for name in ("fwd_tile", "PyTorch flash")]
assert list(drawn(("q4 d8", "fwd_rows", "auto"), ("q4 d8 bwd", "bwd_rows", "auto"))) == [
    "f32, D 8, h1", "f32, D 8, h1, bwd"]
found = drawn(("b8 q4 d8", "fwd_rows", "auto"), ("b4 q8 d8", "fwd_rows", "auto"))
assert found["f32, D 8, h1"]["fwd_rows", False] == [(4, 1), (8, 1)], found
assert list(drawn(("b8 q4 d8", "fwd_rows", "auto"), ("b4 q4 d8", "fwd_rows", "auto"))) == [
    "f32, D 8, h1, b8", "f32, D 8, h1, b4"]
found = drawn(("q4 d8", "fwd_tile A=1", "auto"), ("q4 d8", "fwd_tile A=2", "fwd_tile A=2"), ("q4 d8", "fwd_rows", "fwd_rows"))
assert [name for name, _ in found["f32, D 8, h1"]] == ["auto: fwd_tile", "PyTorch flash", "fwd_tile A=2", "fwd_rows"], found
END
! command -v python3 >/dev/null || python3 -B problems.py "$(dirname "$compare")" ||
    complain "compare_torch counts pairs differently"

echo "== plot"
rm -f plot.svg "it's é.svg"
if command -v gnuplot >/dev/null; then
    answers 0 "$@" --plot "it's é.svg" --variants "auto;fwd_rows" "$full" "$causal"
    grep -q '</svg>' "it's é.svg" || complain "plot: not an SVG"
    grep -qF -e "$label" "it's é.svg" ||
        complain "plot: the device's name is not there as it is"
    grep -q 'f16 h2 d16:24 causal' "it's é.svg" || complain "plot: the key is not there"
    refuses 5 'plot.svg cannot be written' "$@" --plot no/such/directory/plot.svg "$full"
    [ ! -s out.txt ] || complain "plot: measured before it tried the file"
    mkdir -p fails
    printf '#!/bin/sh\n[ "$1" = --version ] && exit 0\ncat >/dev/null\necho "<svg>"\nexit 1\n' >fails/gnuplot
    chmod +x fails/gnuplot
    code=0
    PATH=$PWD/fails:$PATH "$bench" --device "$device" "$@" --csv --plot plot.svg "$full" >out.txt 2>err.txt || code=$?
    [ "$code" = 5 ] || complain "gnuplot fails: exit code $code, not 5"
    grep -q 'gnuplot could not draw' err.txt || complain "plot: $(cat err.txt)"
    ! grep -q '<svg>' out.txt || complain "plot: gnuplot wrote into the results"
    [ ! -e plot.svg ] || complain "plot: left an empty file"
else
    echo "gnuplot is missing: nothing was drawn"
fi
path=$PATH
PATH=/nowhere
export PATH
code=0
"$bench" "$@" --plot plot.svg "$full" >out.txt 2>err.txt || code=$?
PATH=$path
[ "$code" = 5 ] || complain "without gnuplot: exit code $code"
[ "$(cat err.txt)" = "clattn-bench: --plot: there is no gnuplot" ] || complain "$(cat err.txt)"

echo "== plot of a comparison"
cat >compared.json <<'END'
{"torch": "2", "torch_device": "cuda, it's one", "device": "a device", "results": [
 {"problem": "f16 q1024 d64", "variant": "fwd_mma ENGINE=nv80", "ms": 1, "gflops": 2000,
  "torch": {"flash": {"ms": 1, "gflops": 1500, "ratio": 0.75}, "math": {"skipped": "no"}}},
 {"problem": "f16 q1024 d64 causal", "variant": "fwd_mma ENGINE=nv80", "ms": 1, "gflops": 1000, "torch": {}},
 {"problem": "f32 q1024 d64:96", "variant": "fwd_tile", "ms": 1, "gflops": 30000, "torch": {}}]}
END
# Exit code, a pattern, the arguments.
draws() {
    wanted=$1 pattern=$2 code=0
    shift 2
    python3 "$compare" "$@" >out.txt 2>err.txt || code=$?
    [ "$code" = "$wanted" ] || complain "compare_torch $*: exit code $code, not $wanted: $(cat err.txt)"
    [ -z "$pattern" ] || grep -q -e "$pattern" err.txt || complain "compare_torch $*: nothing like '$pattern': $(cat err.txt)"
}
rm -f compared.svg
echo '{"results": []}' >empty.json
echo '{"results": 3' >broken.json
if command -v python3 >/dev/null && command -v gnuplot >/dev/null; then
    draws 0 '' --results compared.json --plot compared.svg
    for word in '</svg>' 'f16, D 64, h1 ' 'f32, D 64:96, h1 ' 'PyTorch flash' 'fwd_tile' 'TFLOP/s'; do
        grep -q "$word" compared.svg || complain "plot of a comparison: no '$word'"
    done
    ! grep -q 'math' compared.svg || complain "plot of a comparison: shows what was skipped"
    draws 2 'cannot be written' --results compared.json --plot no/such/directory/plot.svg
    printf '%s' '{"torch": "2", "torch_device": "x", "device": "a\nsystem \u0027touch injected\u0027\u2028", "results": [
     {"problem": "f16 q1024 d64", "variant": "a\u000bb", "ms": 1, "gflops": 2, "torch": {"b\nsystem \"touch injected\"\n": {"gflops": 3}}}]}' >evil.json
    draws 0 '' --results evil.json --plot compared.svg
    [ ! -e injected ] || complain "plot of a comparison: a results file ran a command"
    sed 's/"gflops": 2,/"gflops": "2\\nEND\\nsystem \\"touch injected\\"\\n",/' evil.json >number.json
    draws 2 'is not what --json leaves' --results number.json --plot compared.svg
    [ ! -e injected ] || complain "plot of a comparison: a number ran a command"
fi
if command -v python3 >/dev/null && command -v gnuplot >/dev/null; then
    echo '{"torch": "2", "torch_device": "x", "device": "d", "results": [
     {"problem": "q4 d8", "variant": "", "gflops": 1, "torch": {}}]}' >blank.json
    draws 2 'it has no results' --results empty.json --plot compared.svg
    draws 2 'is not what --json leaves' --results broken.json --plot compared.svg
    draws 2 'is not what --json leaves' --results blank.json --plot compared.svg
    draws 2 'No such file' --results missing.json --plot compared.svg
fi
if command -v python3 >/dev/null; then
    draws 2 'does not end in .svg' --results compared.json --plot compared.png
    draws 2 'goes with --plot' --results compared.json
    draws 2 'goes with --plot' --results compared.json --plot compared.svg "$full"
fi

echo "== a comparison with what is not PyTorch"
mkdir -p fake/torch/nn
cat >fake/torch/__init__.py <<'END'
from types import SimpleNamespace
__version__, float32, float16, bfloat16 = "0", None, None, None
cuda = SimpleNamespace(is_available=lambda: False)
backends = SimpleNamespace(cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)))
import time
made = [] # gradients: of whose graph, whether it is kept
def grad(o, inputs, d_o, retain_graph):
    assert len(inputs) == 3 and all(x.wanted for x in inputs), inputs
    made.append(retain_graph)
    time.sleep(0.001)
autograd = SimpleNamespace(grad=grad)
class rand:
    wanted = False
    def __init__(self, *shape, device): pass
    def requires_grad_(self): self.wanted = True
    def to(self, kind): return self
    def __mul__(self, number): return self
    __sub__ = __mul__
class no_grad:
    def __enter__(self): pass
    def __exit__(self, *how): pass
manual_seed = set_num_threads = lambda n: None
get_num_threads = lambda: 1
END
cat >fake/torch/nn/__init__.py <<'END'
import time
from types import SimpleNamespace
functional = SimpleNamespace(scaled_dot_product_attention=lambda *tensors, **options: time.sleep(0.001))
END
cat >fake/torch/nn/attention.py <<'END'
import contextlib
from types import SimpleNamespace
SDPBackend = SimpleNamespace(FLASH_ATTENTION=0, MATH=1)
@contextlib.contextmanager
def sdpa_kernel(back_end):
    yield
END
# Runs every variant but "broken", and says that it ran.
cat >fake/bench <<'END'
#!/bin/sh
echo "fake bench" >&2
for text; do :; done
second=', {"problem": "'$text'", "variant": "fwd_rows A=1", "asked": "fwd_rows", "ms": 1, "wall_ms": 1, "gflops": 1}'
case "$*" in
*broken*) second= ;;
*"--variants auto "*) second= ;;
esac
echo '{"device": "d", "results": [{"problem": "'$text'", "variant": "fwd_lanes", "asked": "auto", "ms": 1, "wall_ms": 1,'
echo ' "gflops": 1}'"$second"']}'
END
chmod +x fake/bench
# Exit code, a pattern, whether it measures, the arguments; answer.json is left.
compares() {
    wanted=$1 pattern=$2 runs=$3 code=0
    shift 3
    rm -f answer.json
    PYTHONPATH=fake "$python" -B "$compare" --bench "$PWD/fake/bench" --rounds 1 --time 0.01 "$@" >out.txt 2>err.txt || code=$?
    [ "$code" = "$wanted" ] || complain "compare_torch $*: exit code $code, not $wanted: $(cat err.txt)"
    [ -z "$pattern" ] || grep -q -e "$pattern" err.txt || complain "compare_torch $*: nothing like '$pattern': $(cat err.txt)"
    measured=no
    ! grep -q '^fake bench' err.txt || measured=yes
    [ "$measured" = "$runs" ] || complain "compare_torch $*: measured: $measured"
    ! grep -q Traceback err.txt || complain "compare_torch $*: $(cat err.txt)"
}
python=$(python3 -c 'import sys; print(sys.executable)') || python=
if [ -n "$python" ]; then
    compares 0 '' yes --json answer.json --variants "auto;fwd_rows" "f32 q4 d8" "f32 q8 d8"
    "$python" - <<'END' || complain "compare_torch --json: see above"
import json
answer = json.load(open("answer.json"))
assert list(answer) == ["torch", "torch_device", "times", "rounds", "device", "results", "means"], answer
assert len(answer["results"]) == 4, answer
for entry in answer["results"]:
    assert list(entry) == ["problem", "asked", "variant", "ms", "gflops", "torch"], entry
    for other in entry["torch"].values():
        assert list(other) == ["ms", "gflops", "ratio", "ratio_low", "ratio_high"], other
assert [(m["variant"], m["back_end"], m["problems"]) for m in answer["means"]] == [
    (variant, end, 2) for variant in ("auto", "fwd_rows") for end in ("flash", "math")], answer["means"]
END
    compares 0 '' yes --json answer.json "f32 q4 d8 bwd" "f32 q4 d8 fwd+bwd"
    "$python" - <<'END' || complain "compare_torch, backward: see above"
import json
answer = json.load(open("answer.json"))
assert [entry["problem"] for entry in answer["results"]] == ["f32 q4 d8 bwd", "f32 q4 d8 fwd+bwd"], answer
alone, both = (entry["torch"]["flash"]["ms"] for entry in answer["results"])
assert both > 1.5 * alone, (alone, both) # each of both sleeps for a ms
END
    compares 0 'all problems are left out, as not all of --variants' yes --variants "auto;broken" "f32 q4 d8"
    compares 0 'no back end cudnn' yes --back-ends cudnn,flash "f32 q4 d8"
    compares 5 'no back end cudnn, efficient' no --back-ends cudnn,efficient "f32 q4 d8"
    compares 5 'nothing could be compared' yes "f32 q4 d8 softcap2"
    compares 0 '' yes --json answer.json --back-ends flash "f32 q1000000 k1000000 d1"
    ! grep -q '"math"' answer.json || complain "compare_torch --back-ends flash: $(cat answer.json)"
    compares 0 '' yes "f32 q1000000 k1000000 d1"
    grep -q 'math: its scores would take' out.txt || complain "compare_torch, large: $(cat out.txt)"
    compares 2 'above 0' no --threads 0 "f32 q4 d8"
    compares 2 'results.json cannot be written: ' no --json no/such/results.json "f32 q4 d8"
    compares 2 'speed.svg cannot be written: ' no --plot no/such/speed.svg "f32 q4 d8"
    [ ! -e /dev/full ] || compares 5 'full cannot be written: ' yes --json /dev/full "f32 q4 d8"
    PATH=/nowhere
    code=0
    PYTHONPATH=fake "$python" -B "$compare" --bench "$PWD/fake/bench" --plot speed.svg "f32 q4 d8" >out.txt 2>err.txt || code=$?
    PATH=$path
    [ "$code" = 5 ] || complain "compare_torch without gnuplot: exit code $code"
    [ "$(cat err.txt)" = "compare_torch: --plot: there is no gnuplot" ] || complain "$(cat err.txt)"
fi

echo "== refusals"
refuses 2 "there is no solver 'nonsense'" "$@" --variants "auto;nonsense" "$full"
[ ! -s out.txt ] || complain "a variant that is none: measured before it was refused"
refuses 2 "there is no solver 'workspace'" "$@" --variants "workspace" "$full"
refuses 2 "'BLOCK_Q' is not of the form" "$@" --variants "auto;fwd_rows BLOCK_Q" "$full"
refuses 2 "'BLOCK_Q=' is not of the form" "$@" --variants "auto;fwd_rows BLOCK_Q=" "$full"
refuses 2 'BLOCK_Q' "$@" --variants "fwd_rows BLOCK_Q=3" "$full"
refuses 3 'head_dim' "$@" "f32 q4 d1000"
refuses 2 'heads_q 32 is not a multiple of heads_kv 7' "$@" "h32:7 q1 d64"
refuses 5 'nothing to measure' "$@" "f32 q4 k0 d8"
refuses 5 'nothing to measure' "$@" "f32 q0 d1"
refuses 5 'nothing to measure' "$@" "f32 b0 q4 d1"
refuses 5 'its tensors take' "$@" "f32 b100000 q400000 d8"
refuses 5 'its tensors take' "$@" --sets 100000 "f32 q400000 d8"
refuses 2 'no problem' "$@"
refuses 2 'is not a problem' "$@" "f32 nonsense"
refuses 2 "'casual' is none of the words" "$@" "f32 h8 q256 d64 casual"
refuses 2 "'d0' is none of the words" "$@" "f32 h8 q256 d0 causal"
refuses 2 'quotes make' "$@" f32 h8 q256 d64
refuses 2 "'q8' and a word before it are of one kind" "$@" "f32 q4 q8 d64"
refuses 2 'its d is missing' "$@" "f32 q4"
refuses 2 'is beyond 32-bit floating point' "$@" "f32 q4 d8 softcap1e38"
refuses 2 'plot.png. is not the name of a file that ends in .svg' "$@" --plot plot.png "$full"
refuses 2 'ends in .svg' "$@" --plot 'two
lines.svg' "$full"
refuses 2 'is not a problem' "$@" ""
refuses 2 'variant 2 of 3 is empty' --variants "auto;;auto" "$full"
refuses 2 '--variants' --variants "" "$full"
refuses 2 '--preset' --preset nonsense
refuses 2 '--type' --type f64 "$full"
refuses 2 '--layout' --layout sbhd "$full"
refuses 2 '--repeat' --repeat 0 "$full"
refuses 2 '--repeat' --repeat 3x "$full"
refuses 2 '--sets' --sets 0 "$full"
refuses 2 '--sets' --sets -1 "$full"
refuses 2 '--sets' --sets 1x "$full"
refuses 2 '--sets' --sets '' "$full"
refuses 2 "'-1' is not a number of seconds above 0" --time -1 "$full"
refuses 2 '--time' --time nan "$full"
refuses 2 '--budget' --budget 0 "$full"
refuses 2 '--json contradicts --csv' --json --csv "$full"
refuses 2 '--json contradicts --csv' --csv --json "$full"
refuses 2 '--nonsense' --nonsense "$full"
device='no such device'
refuses 4 'no such device' "$full"
exit $failed
