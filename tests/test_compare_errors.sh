#!/bin/sh
# test_compare_errors.sh COMPARE_ERRORS CLATTN_RUN: what the comparison of errors judges, and
# refuses.  Where PyTorch is installed, a right and a wrong solver beside it, too.
set -eu
compare=$1
run=$2
device=${CLATTN_TEST_DEVICE:-0}
failed=0
complain() { echo "FAILED: $*"; failed=1; }
python=$(python3 -c 'import sys; print(sys.executable)') || { echo "skipped: no python3"; exit 77; }

# Exit code, a pattern, the arguments; out.txt and err.txt are left.
compares() {
    wanted=$1 pattern=$2 code=0
    shift 2
    "$python" -B "$compare" "$@" >out.txt 2>err.txt || code=$?
    [ "$code" = "$wanted" ] || complain "$*: exit code $code, not $wanted: $(cat out.txt err.txt)"
    [ -z "$pattern" ] || grep -q -e "$pattern" out.txt err.txt || complain "$*: nothing like '$pattern': $(cat out.txt err.txt)"
    ! grep -q Traceback err.txt || complain "$*: $(cat err.txt)"
}

echo "== refusals"
compares 2 "there is no 'fast'" --run "$run" --back-ends flash,fast
compares 2 "no input's name holds '16 signs'" --run "$run" --only "16 signs"
compares 2 'there is no clattn-run no/such' --run no/such
mkdir -p missing/torch
echo 'raise ImportError("as if it were not there")' >missing/torch/__init__.py
PYTHONPATH=missing
export PYTHONPATH
compares 5 'PyTorch .* is missing' --run "$run"
unset PYTHONPATH

echo "== judgement"
cat >judge.py <<'END'
import math, sys
from types import SimpleNamespace
sys.path.append(sys.argv[1])
from compare_errors import Line, chosen, conclude, fails, inputs_by_problem, ratio_of, ratios_of
inf = math.inf
for error, limit, ratio in ((1, 2, 0.5), (0, 0, 0), (0, 2, 0), (1e-9, 0, inf), (1, inf, 0), (inf, inf, inf), (inf, 1, inf)):
    assert ratio_of(error, limit) == ratio, (error, limit)
errors = {"flash": 1, "cudnn": 2, "math": 8, "a": 2, "b": 0}
assert ratios_of("signs", errors, ["a", "b", "gone"]) == {"a": 1, "b": 0}
assert ratios_of("long", errors, ["a", "b"]) == ratios_of("tenth", errors, ["a", "b"]) == {"a": 2, "b": 0}
assert ratios_of("long", {"cudnn": 2, "a": 1}, ["a"]) == ratios_of("signs", {"math": 2, "a": 1}, ["a"]) == {}

options = SimpleNamespace(variants=["a"])
problems = list(inputs_by_problem(""))
def line(problem, error, limit, ill=False, name="x"):
    ratios = {} if limit is None else {"a": ratio_of(error, limit)}
    return Line(name, problems[problem], 1, ill, {"a": error}, ratios)
right, close, above, zero, alone = line(0, 1, 1), line(1, 1.1, 1), line(2, 1.2, 1), line(3, 1, 0), line(0, 1, None)
ill, outside = line(0, 1.2, 1, True), line(1, inf, 1, True)
assert [fails(each, ["a"]) for each in (right, close, above, zero, alone, ill, outside)] == [
    False, False, True, True, False, False, True]
for lines, code in (([right, close, ill], 0), ([right, above], 1), ([zero], 1), ([outside], 1), ([right, alone], 5), ([above, alone], 1)):
    assert conclude(lines, options) == code, lines
other = line(0, 0, 0, name="y")
assert chosen([right, other, ill, close], options) == [close, ill, other]
assert chosen([above, right, zero, other], options) == [above, zero, other]

names = {problem: [f"{kind} {x}" for kind, x in some] for problem, some in inputs_by_problem("").items()}
assert all(len(set(some)) == len(some) for some in names.values()), names
assert {problem.keys for problem in inputs_by_problem("tenth")} == {4096, 16384, 65536, 262144}
assert list(inputs_by_problem("f16 constant").values()) == [[("constant", 33120)]]
END
"$python" -B judge.py "$(dirname "$compare")" >judge.txt || complain "judgement: $(cat judge.txt)"

if "$python" -c 'import torch.nn.attention' 2>err.txt; then
    echo "== beside PyTorch"
    set -- --run "$run" --device "$device" --torch-device cpu --back-ends flash
    compares 0 ' 0 lines fail, 0 could not' "$@" --variants fwd_rows --only "f16 constant"
    compares 0 ' 0 lines fail, 0 could not' "$@" --variants fwd_rows --only equal
    compares 5 'nonsense' "$@" --variants "fwd_rows;nonsense" --only "f16 constant"
    # Right sizes and types, wrong values: o is q.
    cat >wrong.py <<'END'
import json, sys
with open(sys.argv[sys.argv.index("-o") - 1], "rb") as file:
    length = int.from_bytes(file.read(8), "little")
    entry = json.loads(file.read(length))["q"]
    data = file.read(entry["data_offsets"][1])
header = json.dumps({"o": entry}).encode()
with open(sys.argv[sys.argv.index("-o") + 1], "wb") as file:
    file.write(len(header).to_bytes(8, "little") + header + data)
END
    printf '#!/bin/sh\nexec "%s" wrong.py "$@"\n' "$python" >wrong
    chmod +x wrong
    set -- --run ./wrong --torch-device cpu --back-ends flash --variants any
    compares 1 'FAILS' "$@" --only "f16 equal 1"
    compares 1 ' ill .*FAILS' "$@" --only "f16 equal 6"
else
    echo "PyTorch is missing: nothing ran beside it"
fi
exit "$failed"
