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
answers 0 "$@" --rows "auto; fwd_rows" "$full"
cat out.txt err.txt
grep -q '^peak .*FLOP/s in f32' out.txt || complain "table: no peak"
grep -q '^copy .* GB/s' out.txt || complain "table: no copy"
[ "$(grep -c 'FLOP/s .*  0 B .*\(auto: \|fwd_rows\)' out.txt)" = 2 ] || complain "table: not two rows"
! grep -q "^clattn-bench: " err.txt || complain "table: said something: $(cat err.txt)"

echo "== JSON"
answers 0 "$@" --json --rows "auto;memory_efficient" --layout bshd "$full" "$causal"
cat out.txt
if command -v python3 >/dev/null; then
    python3 -B - "$(dirname "$compare")" <<'END' || complain "JSON: see above"
import json, sys
sys.path.append(sys.argv[1])
from compare_torch import Problem
answer = json.load(open("out.txt"))
assert list(answer) == ["device", "driver", "limits", "results"], list(answer)
limits = answer["limits"]
assert limits["fma_gflops"] > 0 and limits["copy_gbs"] > 0, limits
keys = ["problem", "row", "ms", "ms_spread", "wall_ms", "gflops", "model_bytes",
        "workspace_bytes", "max_error", "error_bound", "peak_fraction", "bandwidth_fraction", "sets"]
# operations, bytes of q, k, v, o and lse, workspace of memory_efficient
full = 2 * 2 * 4 * 48 * 64 * (32 + 32), 4 * 2 * (2 * 4 * 48 * 32 + 2 * 2 * 64 * 32 + 4 * 48), 4 * 2 * 4 * 48
causal = 2 * 2 * 33 * 34 // 2 * (16 + 24), 2 * 2 * 33 * (16 + 16 + 24 + 24) + 4 * 2 * 33, 4 * 2 * 33
expected = [full[:2] + (0,), full, causal[:2] + (0,), causal]
assert len(answer["results"]) == 4, len(answer["results"])
for i, (result, (operations, model, workspace)) in enumerate(zip(answer["results"], expected)):
    workspace = 512 if result["row"].startswith("fwd_wgmma ") else workspace  # its tensor maps
    assert list(result) == keys, list(result)
    assert result["row"].startswith("memory_efficient" if i % 2 else "fwd_"), result["row"]
    assert result["ms"] > 0 and result["wall_ms"] > 0 and result["ms_spread"] >= 0, result
    assert abs(result["gflops"] * result["ms"] * 1e6 / operations - 1) < 1e-3, (result, operations)
    assert Problem(result["problem"]).operations() == operations, (result, operations)
    assert result["workspace_bytes"] == workspace, (result, workspace)
    assert result["model_bytes"] == model + 2 * workspace, (result, model)
    assert 0 <= result["max_error"] <= result["error_bound"] < 0.1, result
    bandwidth = result["model_bytes"] / result["ms"] / 1e6 / limits["copy_gbs"]
    assert abs(result["bandwidth_fraction"] / bandwidth - 1) < 1e-3, (result, bandwidth)
    assert result["peak_fraction"] > 0, result
    assert result["sets"] >= 2, result
END
else
    echo "python3 is missing: the JSON was not read"
fi

echo "== tuning"
printf '# mine\n* ; f32 ; fwd_rows WORK_GROUP=2\n' >tuning.txt
printf '# mine\n* ; f32 nonsense ; fwd_rows\n' >malformed.txt
answers 0 "$@" --csv --tuning=tuning.txt "$full"
grep -q 'fwd_rows WORK_GROUP=2' out.txt || complain "tuning: another row: $(cat out.txt)"
refuses 2 'cannot open "no_such_file.txt"' "$@" --tuning=no_such_file.txt "$full"
refuses 2 'malformed.txt:2: ' "$@" --tuning=malformed.txt "$full"
refuses 2 '--tuning' "$@" --tuning '' "$full"

echo "== CSV, and a preset that is cut before it begins"
refuses 5 'all 33 problems are left out: the budget of 0.001 s is spent' "$@" --csv --preset cpu \
    --budget 0.001 "$full"
header=problem,row,ms,ms_spread,wall_ms,gflops,model_bytes,workspace_bytes,max_error,error_bound
[ "$(head -n 1 out.txt)" = "$header,peak_fraction,bandwidth_fraction,sets" ] || complain "CSV: the header"
answers 0 "$@" --csv --rows "nonsense;auto" "$full" "f16 q8 d1000" "$causal"
cat out.txt err.txt
awk -F, 'NR > 1 { gsub(/"[^"]*"/, "x") } NF != 13 { exit 1 }' out.txt || complain "CSV: not 13 columns"
[ "$(grep -c . out.txt)" = 3 ] || complain "CSV: not two results"
[ "$(grep -c 'nonsense: .*no solver' err.txt)" = 2 ] || complain "an unknown row: $(cat err.txt)"
[ "$(grep -c 'd1000: .*head_dim' err.txt)" = 1 ] || complain "an unsupported problem: $(cat err.txt)"

echo "== sets of tensors"
for sets in 1 5; do
    answers 0 "$@" --csv --sets "$sets" "$full" "$causal"
    [ "$(awk -F, 'NR > 1 && $NF == wanted' wanted="$sets" out.txt | grep -c .)" = 2 ] ||
        complain "--sets $sets: $(cat out.txt)"
done
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
from compare_torch import Problem, summarise
fast, slow, alone = ([{"torch": {"flash": {"ratio": r}, "math": {"skipped": "no"}}} for r in some]
                     for some in ((4, 9), (1, 1), (100,)))
assert [(m["row"], m["back_end"], m["problems"], round(m["ratio"], 9))
        for m in summarise(["auto", " b"], [fast, slow, alone])] == [("auto", "flash", 2, 2), ("b", "flash", 2, 3)]
for text, pairs in (("q3 d1", 9), ("q4 k6 d1 causal", 3 + 4 + 5 + 6), ("q4 k6 d1 causal start", 1 + 2 + 3 + 4),
                    ("q6 k4 d1 causal", 0 + 0 + 1 + 2 + 3 + 4), ("q5 d1 window1,2", 3 + 4 + 4 + 3 + 2),
                    ("q5 k2 d1 window0,-1 start", 2 + 1), ("q5 d1 window1,0", 1 + 2 + 2 + 2 + 2)):
    assert Problem(text).operations() == 4 * pairs, (text, Problem(text).operations())
END
! command -v python3 >/dev/null || python3 -B problems.py "$(dirname "$compare")" ||
    complain "compare_torch counts pairs differently"

echo "== plot"
rm -f plot.svg "it's.svg"
if command -v gnuplot >/dev/null; then
    answers 0 "$@" --plot "it's.svg" --rows "auto;fwd_rows" "$full" "$causal"
    grep -q '</svg>' "it's.svg" || complain "plot: not an SVG"
    grep -q 'f16 h2 d16:24 causal' "it's.svg" || complain "plot: the key is not there"
    answers 5 "$@" --plot no/such/directory/plot.svg "$full"
    grep -q 'gnuplot could not draw' err.txt || complain "plot: $(cat err.txt)"
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
 {"problem": "f16 q1024 d64", "row": "fwd_mma ENGINE=nv80", "ms": 1, "gflops": 2000,
  "torch": {"flash": {"ms": 1, "gflops": 1500, "ratio": 0.75}, "math": {"skipped": "no"}}},
 {"problem": "f16 q1024 d64 causal", "row": "fwd_mma ENGINE=nv80", "ms": 1, "gflops": 1000, "torch": {}},
 {"problem": "f32 q1024 d64:96", "row": "fwd_tile", "ms": 1, "gflops": 30000, "torch": {}}]}
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
    for word in '</svg>' 'f16, D 64 ' 'f32, D 64:96 ' 'PyTorch flash' 'fwd_tile' 'TFLOP/s'; do
        grep -q "$word" compared.svg || complain "plot of a comparison: no '$word'"
    done
    ! grep -q 'math' compared.svg || complain "plot of a comparison: shows what was skipped"
    draws 5 'gnuplot could not draw' --results compared.json --plot no/such/directory/plot.svg
fi
if command -v python3 >/dev/null; then
    draws 2 'it has no results' --results empty.json --plot compared.svg
    draws 2 'is not what --json leaves' --results broken.json --plot compared.svg
    draws 2 'is not what --json leaves' --results missing.json --plot compared.svg
    draws 2 'goes with --plot' --results compared.json
    draws 2 'goes with --plot' --results compared.json --plot compared.svg "$full"
fi

echo "== refusals"
refuses 2 'no solver' "$@" --rows nonsense "$full"
refuses 2 'BLOCK_Q' "$@" --rows "fwd_rows BLOCK_Q=3" "$full"
refuses 3 'head_dim' "$@" "f32 q4 d1000"
refuses 2 'heads_q 32 is not a multiple of heads_kv 7' "$@" "h32:7 q1 d64"
refuses 5 'nothing to measure' "$@" "f32 q4 k0 d8"
refuses 5 'nothing to measure' "$@" "f32 q0 d1"
refuses 5 'nothing to measure' "$@" "f32 b0 q4 d1"
refuses 5 'its tensors take' "$@" "f32 b100000 q400000 d8"
refuses 5 'its tensors take' "$@" --sets 100000 "f32 q400000 d8"
refuses 2 'no problem' "$@"
refuses 2 'is not a problem' "$@" "f32 nonsense"
refuses 2 'is not a problem' "$@" ""
refuses 2 '--rows' --rows "auto;;auto" "$full"
refuses 2 '--rows' --rows "" "$full"
refuses 2 '--preset' --preset nonsense
refuses 2 '--type' --type f64 "$full"
refuses 2 '--layout' --layout sbhd "$full"
refuses 2 '--repeat' --repeat 0 "$full"
refuses 2 '--repeat' --repeat 3x "$full"
refuses 2 '--sets' --sets 0 "$full"
refuses 2 '--sets' --sets -1 "$full"
refuses 2 '--sets' --sets 1x "$full"
refuses 2 '--sets' --sets '' "$full"
refuses 2 '--time' --time -1 "$full"
refuses 2 '--time' --time nan "$full"
refuses 2 '--budget' --budget 0 "$full"
refuses 2 '--json contradicts --csv' --json --csv "$full"
refuses 2 '--json contradicts --csv' --csv --json "$full"
refuses 2 '--nonsense' --nonsense "$full"
device='no such device'
refuses 4 'no such device' "$full"
exit $failed
