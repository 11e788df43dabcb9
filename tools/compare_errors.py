#!/usr/bin/env python3
"""The errors of clattn's solvers beside those of PyTorch's back ends, on inputs that are hard.

clattn-run computes each of --variants from a file; PyTorch's scaled_dot_product_attention computes
each of --back-ends from the same 16-bit tensors; attention in float64 on PyTorch's device is the
truth.  An error is the largest |o - truth| of an input's elements; Inf and NaN in o make it inf,
and what is at most 2^-40 * max |v| counts as 0, since the truth is rounded, too.  The limit is the
larger of the errors of flash (FlashAttention-2) and cudnn, of those that ran; for long sums it is
flash's alone.  A ratio is clattn's error by the limit:

  0    clattn's error is 0, or the limit alone is inf
  inf  the limit is 0 and clattn's error is not, or clattn's error is inf

A ratio above 1.1 fails.  So clattn's error has to be 0 where flash and cudnn both give 0.

Ill-conditioned rows have lines of their own, "N ill".  Scores in float32 do not decide such a row:
an error of e_j = 4 * 2^-24 * (8 + sum of |terms of score j|) in each score may move the row by
more than max |v|, say between two keys of equal and large score.  Such a line shows the ratio and
does not judge it; it fails where clattn's o leaves the range of v, which makes the error inf there.

Inputs, "TYPE KIND X" (q, k and v are random; v is in -1..1 where nothing else is said):

  signs      entries of q and k are +X or -X
  uniform    entries of q and k are in -X..X
  match      as signs, and each query equals one of the keys
  largest-v  as uniform, and v is the type's largest value throughout
  equal      as signs, and all keys are equal
  constant   q, k and v are X throughout; one key
  long       as uniform, and v is in 0..1; 262,144 keys; a long sum
  tenth      as equal, and v is 0.1 throughout; 4,096 to 262,144 keys; a long sum

An input runs at each of its problems (keys, head dimensions).  The table shows each input once,
at the problem of its largest ratio, and besides all that fail.

Exit code: 0 nothing fails; 1 something fails; 2 wrong usage; 5 something could not be compared
(PyTorch or its device is missing, clattn-run failed, or nothing that sets the limit ran).
"""

import argparse
import collections
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zlib

from compare_torch import back_ends, find_tool, first_line

LIMIT = 1.1
PAIRS = 2**24  # of a query and a key, at a time in float64
NOISE = 2**-40  # errors of the truth itself, by the largest |v|
HUGE = 1e300  # weights end here, so that 0 times them is 0

# Kind, type, values of X, heads, queries, numbers of keys, head dimensions.
ORDINARY = (4, 256, (64, 1024), (64, 128))
INPUTS = (
    ("signs", "f16", (30, 100, 1e3, 1e4, 2e4, 6e4), *ORDINARY),
    ("uniform", "f16", (30, 100, 1e3, 1e4, 2e4, 6e4), *ORDINARY),
    ("match", "f16", (1, 100, 2e4), *ORDINARY),
    ("largest-v", "f16", (1, 30), *ORDINARY),
    ("signs", "bf16", (10, 1e3, 1e5, 1e7, 1e9, 1e11, 1e13, 1e15, 1e17), *ORDINARY),
    ("uniform", "bf16", (10, 1e3, 1e5, 1e7, 1e9, 1e11, 1e13, 1e15, 1e17), *ORDINARY),
    ("match", "bf16", (1, 1e3, 1e15), *ORDINARY),
    ("equal", "f16", (1, 6e4), 4, 256, (40, 64), (64,)),
    ("equal", "bf16", (1, 1e17), 4, 256, (40, 64), (64,)),
    ("constant", "f16", (33120,), 4, 256, (1,), (64,)),
    ("constant", "bf16", (133120,), 4, 256, (1,), (64,)),
    ("long", "f16", (1,), 1, 64, (262144,), (64,)),
    ("long", "bf16", (1,), 1, 64, (262144,), (64,)),
    ("tenth", "f16", (1,), 1, 64, (4096, 16384, 65536, 262144), (64,)),
    ("tenth", "bf16", (1,), 1, 64, (4096, 16384, 65536, 262144), (64,)),
)
UNIFORM = ("uniform", "largest-v", "long")  # the others have entries of +X and -X
LONG_SUMS = ("long", "tenth")

Problem = collections.namedtuple("Problem", "type heads queries keys dim")
Line = collections.namedtuple("Line", "input problem rows ill errors ratios")


def say(text):
    print(f"compare_errors: {text}", file=sys.stderr)


def text_of(problem):
    return f"{problem.type} h{problem.heads} q{problem.queries} k{problem.keys} d{problem.dim}"


def name_of(kind, problem, x):
    return f"{problem.type} {kind} {x:.6g}"


def inputs_by_problem(only):
    """{problem: [(kind, X)]}: inputs of one problem share a file, as its batches."""
    found = {}
    for kind, storage, values, heads, queries, lengths, dims in INPUTS:
        for keys in lengths:
            for dim in dims:
                problem = Problem(storage, heads, queries, keys, dim)
                some = [(kind, x) for x in values if f" {only}" in f" {name_of(kind, problem, x)}"]
                if some:
                    found.setdefault(problem, []).extend(some)
    return found


def type_of(torch, storage):
    return {"f16": torch.float16, "bf16": torch.bfloat16}[storage]


def draw(torch, device, problem, kind, x, seed):
    """q, k, v of one input, [heads, length, dim].  The same whichever inputs run beside it."""
    torch.manual_seed(zlib.crc32(f"{seed} {kind} {x:g} {text_of(problem)}".encode()))
    def uniform(length):
        return torch.rand(problem.heads, length, problem.dim, device=device) * 2 - 1

    def entries(length):
        some = uniform(length)
        return x * (some if kind in UNIFORM else torch.where(some < 0, -1.0, 1.0))

    q, k, v = entries(problem.queries), entries(problem.keys), uniform(problem.keys)
    if kind == "match":
        q = k[:, torch.randint(problem.keys, (problem.queries,), device=device)]
    elif kind == "largest-v":
        v = torch.full_like(v, torch.finfo(type_of(torch, problem.type)).max)
    elif kind == "constant":
        q, k, v = (torch.full_like(tensor, x) for tensor in (q, k, v))
    elif kind == "long":
        v = v / 2 + 0.5
    if kind in ("equal", "tenth"):
        k = k[:, :1].expand_as(k)
    if kind == "tenth":
        v = torch.full_like(v, 0.1)
    return q, k, v


def attend(torch, q, k, v):
    """Attention in float64 of one head and a block of queries, and which rows are ill-conditioned.

    The largest error of a row's elements: sum_j p_j (exp(e_j + max e) - 1) max_d |v_jd - o_d|.
    """
    scale = 1 / math.sqrt(q.shape[1])
    logs = torch.log_softmax(q @ k.T * scale, -1)
    o = logs.exp() @ v
    e = 4 * 2**-24 * (8 + q.abs() @ k.abs().T * scale)
    moved = (logs + e + e.amax(-1, keepdim=True)).exp().clamp(max=HUGE) - logs.exp()
    bound = (moved * torch.cdist(o, v, p=math.inf)).sum(-1)
    return o, bound > v.abs().max()


def truth(torch, q, k, v):
    """o in float64 [batch, head, row, dim]; which rows are ill-conditioned [batch, head, row]."""
    o = torch.empty(*q.shape[:3], v.shape[3], dtype=torch.float64, device=q.device)
    ill = torch.empty(q.shape[:3], dtype=torch.bool, device=q.device)
    rows = max(1, PAIRS // k.shape[2])
    for batch in range(q.shape[0]):
        for head in range(q.shape[1]):
            keys, values = k[batch, head].double(), v[batch, head].double()
            for first in range(0, q.shape[2], rows):
                block = slice(first, first + rows)
                queries = q[batch, head, block].double()
                o[batch, head, block], ill[batch, head, block] = attend(torch, queries, keys, values)
    return o, ill


def write_tensors(torch, path, tensors, storage):
    """A safetensors file: length of the header, header, tensors."""
    header, at = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": storage.upper(), "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            data = bytearray(tensor.numel() * tensor.element_size())
            torch.frombuffer(data, dtype=tensor.dtype).copy_(tensor.reshape(-1))
            file.write(data)


def read_tensor(torch, path, name, dtype):
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + length + begin)
        data = bytearray(file.read(end - begin))
    return torch.frombuffer(data, dtype=dtype).reshape(entry["shape"])


def run_clattn(torch, options, problem, folder, q):
    """{variant: o} of the file in folder, less the variants that clattn-run refuses."""
    found = {}
    for variant in options.variants:
        path = os.path.join(folder, "o.safetensors")
        command = [options.run, "--variant", variant, os.path.join(folder, "qkv.safetensors"), "-o", path]
        if options.device is not None:
            command += ["--device", options.device]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode == 0:
            found[variant] = read_tensor(torch, path, "o", q.dtype).to(q.device)
        else:
            say(f"{text_of(problem)}: {variant}: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}")
    return found


def run_torch(torch, options, problem, q, k, v):
    """{back end: o}, less the back ends that do not offer this."""
    from torch.nn.attention import sdpa_kernel

    found = {}
    for name, back_end in options.names.items():
        with torch.no_grad(), sdpa_kernel(back_end), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found[name] = torch.nn.functional.scaled_dot_product_attention(q, k, v)
            except RuntimeError as error:
                say(f"{text_of(problem)}: PyTorch {name}: {first_line(error)}")
    return found


def ratio_of(error, limit):
    if math.isinf(error) or (limit == 0 and error > 0):
        return math.inf
    return error / limit if error else 0.0


def ratios_of(kind, errors, variants):
    """{variant: ratio}; no variant where nothing sets the limit."""
    limits = [errors[name] for name in ("flash",) + ("cudnn",) * (kind not in LONG_SUMS) if name in errors]
    return {variant: ratio_of(errors[variant], max(limits)) for variant in variants if limits and variant in errors}


def error_of(o, right, v, rows, ill):
    """Of some rows of one input."""
    distance = (o.double() - right).abs().nan_to_num(nan=math.inf, posinf=math.inf)
    if ill:
        distance[(o < v.amin(1, keepdim=True)) | (o > v.amax(1, keepdim=True))] = math.inf
    largest = distance[rows].max().item()
    return largest if largest > NOISE * v.abs().max().item() else 0.0


def compare(torch, options, problem, inputs, folder):
    """Lines of the inputs of one problem."""
    tensors = zip(*(draw(torch, options.torch_device, problem, kind, x, options.seed) for kind, x in inputs))
    q, k, v = (torch.stack(some).to(type_of(torch, problem.type)) for some in tensors)
    write_tensors(torch, os.path.join(folder, "qkv.safetensors"), {"q": q, "k": k, "v": v}, problem.type)
    answers = run_torch(torch, options, problem, q, k, v)
    answers.update(run_clattn(torch, options, problem, folder, q))
    right, ill_rows = truth(torch, q, k, v)
    lines = []
    for batch, (kind, x) in enumerate(inputs):
        for ill in (False, True):
            rows = ill_rows[batch] == ill
            if rows.any():
                errors = {name: error_of(o[batch], right[batch], v[batch], rows, ill) for name, o in answers.items()}
                ratios = ratios_of(kind, errors, options.variants)
                lines.append(Line(name_of(kind, problem, x), problem, int(rows.sum()), ill, errors, ratios))
    return lines


def worst(line):
    return max(line.ratios.values(), default=-1.0)


def fails(line, variants):
    if line.ill:
        return any(math.isinf(line.errors.get(variant, 0)) for variant in variants)
    return worst(line) > LIMIT


def chosen(lines, options):
    """Each input at the problem of its largest ratio, and all that fail, in the inputs' order."""
    largest = {}
    for line in lines:
        key = (line.input, line.ill)
        if key not in largest or worst(line) > worst(largest[key]):
            largest[key] = line
    order = list(dict.fromkeys(line.input for line in lines))
    some = [line for line in lines if fails(line, options.variants) or line is largest[line.input, line.ill]]
    return sorted(some, key=lambda line: (order.index(line.input), line.ill))


def show(lines, options):
    titles = [*options.names] + [title for variant in options.variants for title in (variant, "ratio")]
    widths = [max(9, len(title)) for title in titles]

    def row_of(name, problem, rows, cells, mark=""):
        texts = (f"{cell:>{width}}" for cell, width in zip(cells, widths))
        print(f"{name:<20} {problem:<24} {rows:>8}", *texts, end=f"{mark}\n")

    row_of("input", "problem", "rows", titles)
    for line in chosen(lines, options):
        cells = [line.errors.get(name) for name in options.names]
        cells += [cell for variant in options.variants for cell in (line.errors.get(variant), line.ratios.get(variant))]
        cells = ("-" if cell is None else f"{cell:.3g}" for cell in cells)
        rows = f"{line.rows} ill" if line.ill else str(line.rows)
        row_of(line.input, text_of(line.problem), rows, cells, "  FAILS" if fails(line, options.variants) else "")


def conclude(lines, options):
    """Says how many fail; the exit code."""
    sound, ill = ([line for line in lines if line.ill == which] for which in (False, True))
    failed = sum(fails(line, options.variants) for line in lines)
    missing = sum(len(line.ratios) < len(options.variants) for line in lines)
    inputs = len({line.input for line in lines})
    print(f"\n{inputs} inputs, {len({(line.input, line.problem) for line in lines})} with their problems:", end=" ")
    print(f"{failed} lines fail, {missing} could not be compared")
    print(f"ill-conditioned: {sum(line.rows for line in ill)} of {sum(line.rows for line in lines)} rows;", end=" ")
    print(f"in {sum(worst(line) > LIMIT for line in ill)} of {len(ill)} lines of them a ratio is above {LIMIT}")
    for variant in options.variants:
        some = [line for line in sound if variant in line.ratios]
        if some:
            line = max(some, key=lambda line: line.ratios[variant])
            print(f"largest ratio of {variant}: {line.ratios[variant]:.3g} ({line.input}, {text_of(line.problem)})")
    return 1 if failed else 5 if missing else 0


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="clattn-run (default: the latest in build*/tools, or on the path)")
    parser.add_argument("--device", help="OpenCL device, as for clattn-run")
    parser.add_argument("--variants", default="fwd_wgmma;fwd_mma", help="with ; between (default: fwd_wgmma;fwd_mma)")
    parser.add_argument("--torch-device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument(
        "--back-ends",
        default="flash,cudnn",
        help="flash, cudnn, efficient, math with , between (default: flash,cudnn)",
    )
    parser.add_argument(
        "--only",
        metavar="TEXT",
        default="",
        help='inputs whose name holds TEXT from the start of a word, "f16 signs"',
    )
    parser.add_argument("--seed", type=int, default=0, help="other random inputs (default 0)")
    options = parser.parse_args()
    options.variants = [variant.strip() for variant in options.variants.split(";")]
    options.back_ends = options.back_ends.split(",")
    for name in options.back_ends:
        if name not in ("flash", "cudnn", "efficient", "math"):
            parser.error(f"--back-ends: there is no '{name}'")
    options.problems = inputs_by_problem(options.only)
    if not options.problems:
        parser.error(f"--only: no input's name holds '{options.only}'")
    options.run = options.run or find_tool("clattn-run")
    if not options.run or not shutil.which(options.run):
        parser.error(f"there is no clattn-run{' ' + options.run if options.run else ''}; see --run")
    return options


def main():
    options = parse_options()
    try:
        import torch
        import torch.nn.attention
    except ImportError as error:
        say(f"nothing is compared: PyTorch 2.3 or later is missing ({error})")
        return 5
    cuda = torch.cuda.is_available()
    options.torch_device = options.torch_device or ("cuda" if cuda else "cpu")
    if options.torch_device == "cuda" and not cuda:
        say("nothing is compared: PyTorch has no CUDA device")
        return 5
    known = back_ends(options.torch_device)
    options.names = {name: known[name] for name in options.back_ends if name in known}
    missing = [name for name in options.back_ends if name not in known]
    if missing:
        say(f"PyTorch's {options.torch_device} device has no back end {', '.join(missing)}")
    where = torch.cuda.get_device_name() if options.torch_device == "cuda" else "cpu"
    print(f"PyTorch {torch.__version__} ({where}); largest errors against float64, and clattn's by the limit")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for problem, inputs in options.problems.items():
            lines += compare(torch, options, problem, inputs, folder)
    show(lines, options)
    return conclude(lines, options)


if __name__ == "__main__":
    sys.exit(main())
