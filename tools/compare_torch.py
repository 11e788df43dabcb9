#!/usr/bin/env python3
"""clattn beside PyTorch's scaled_dot_product_attention, on the same problems.

For each problem and in each round, clattn-bench runs (a process of its own) and then
each of PyTorch's back ends, in every other round the other way round.  Both draw random
inputs of variance 1 and rotate sets of them.  On a GPU device times are compared, of
many passes at a time; on a CPU, what one call takes until its result is there.  A ratio
is PyTorch's time by clattn's, above 1 where clattn is faster: the median over rounds of
what one round showed, so that a clock that drifts does not count.

Of a problem with the word bwd, PyTorch's autograd gives the gradients of q, k and v for the
gradient of o, again and again from one forward pass of the same back end; with fwd+bwd each
call is a forward pass and its gradients.

--plot draws speed over length through gnuplot, full and causal in one panel, and a panel for
each type, head dimension, number of heads and other mask; with --results it draws what an
earlier run left by --json, on a machine that has gnuplot.

The last lines hold the geometric mean of the ratios of each of --variants and each back end, over
the problems that all of --variants ran and that this back end ran: means of two back ends can be
over different problems.  How many they are stands beside each.

--json writes an object:
  torch, torch_device, device  PyTorch's version, its device, and clattn's device
  times      "device" or "wall": which times are compared
  rounds     as asked
  results    one for each problem and variant: problem, asked (of --variants), variant (that ran), ms, gflops,
             and torch: for each back end ms, gflops, ratio, ratio_low, ratio_high (the least and
             the greatest of the rounds), or skipped: why
  means      one for each of --variants and each back end: variant, back_end, problems (how many), ratio

Exit code: 0 done, or PyTorch is missing; 2 wrong usage, or a file that cannot be read or
written; 5 nothing could be compared, no gnuplot, or the results could not be written.
"""

import argparse
import contextlib
import glob
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import warnings

SAMPLE_SECONDS = 0.02
MOST_SAMPLES = 31
LEAST_SAMPLES = 3
CACHE_BYTES = 2**27  # sets are rotated until they take this much


def say(text):
    print(f"compare_torch: {text}", file=sys.stderr)


class Problem:
    """What a problem text says."""

    def __init__(self, text):
        self.type, self.batch, self.align_start, self.softcap = "f32", 1, False, False
        self.left, self.right, self.k = -1, -1, None
        self.passes = "fwd"  # or "bwd", or "fwd+bwd"
        self.hq = self.hkv = 1
        self.q = self.d = self.dv = None
        for word in text.split():
            number = re.fullmatch(r"([bhqkd])(\d+)(?::(\d+))?", word)
            window = re.fullmatch(r"window(-?\d+),(-?\d+)", word)
            if word in ("f32", "f16", "bf16"):
                self.type = word
            elif word in ("fwd", "bwd", "fwd+bwd"):
                self.passes = word
            elif word == "causal":
                self.right = 0
            elif word in ("end", "start"):
                self.align_start = word == "start"
            elif word.startswith("softcap"):
                self.softcap = True
            elif window:
                self.left, self.right = int(window[1]), int(window[2])
            elif number:
                first, second = int(number[2]), int(number[3] or number[2])
                if number[1] == "b":
                    self.batch = first
                elif number[1] == "h":
                    self.hq, self.hkv = first, second
                elif number[1] == "q":
                    self.q = first
                elif number[1] == "k":
                    self.k = first
                else:
                    self.d, self.dv = first, second
            else:
                raise ValueError(f"'{word}' is not known here")
        if self.q is None or self.d is None:
            raise ValueError("its q or its d is missing")
        if not self.d or not self.dv:
            raise ValueError("its head dimension is 0")
        if not self.hq or not self.hkv or self.hq % self.hkv:
            raise ValueError("the heads of k and v do not divide those of q")
        self.k = self.q if self.k is None else self.k

    def diagonal(self):
        return 0 if self.align_start else self.k - self.q

    def keys_of(self, row):
        opposite = row + self.diagonal()
        first = max(0, opposite - self.left) if self.left >= 0 else 0
        last = min(self.k, opposite + self.right + 1) if self.right >= 0 else self.k
        return max(0, last - first)

    def operations(self):
        pairs = sum(self.keys_of(row) for row in range(self.q))
        terms = {"fwd": self.d + self.dv, "bwd": 3 * self.d + 2 * self.dv}
        return 2 * pairs * sum(terms[word] for word in self.passes.split("+")) * self.batch * self.hq


class Torch:
    """One problem for PyTorch: tensors, mask, and how long a call takes."""

    def __init__(self, torch, device, problem):
        self.torch, self.device, self.problem = torch, device, problem
        p = problem
        kind = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[p.type]
        size = 4 if p.type == "f32" else 2
        rows = p.hq * p.q * (p.d + p.dv) + p.hkv * p.k * (p.d + p.dv)
        sets = max(2, min(64, -(-CACHE_BYTES // (p.batch * rows * size))))

        def draw(heads, length, dim):
            x = torch.rand(p.batch, heads, length, dim, device=device)
            return ((x * 2 - 1) * 3**0.5).to(kind)

        self.sets = [
            (draw(p.hq, p.q, p.d), draw(p.hkv, p.k, p.d), draw(p.hkv, p.k, p.dv)) for _ in range(sets)
        ]
        self.d_o = [draw(p.hq, p.q, p.dv) for _ in self.sets] if p.passes != "fwd" else None
        for tensors in self.sets if self.d_o else ():
            for tensor in tensors:
                tensor.requires_grad_()
        self.options, self.next, self.o = {}, 0, []
        if p.hq != p.hkv:
            self.options["enable_gqa"] = True
        if p.left < 0 and p.right == 0 and p.diagonal() == 0:
            self.options["is_causal"] = True
        elif p.left >= 0 or p.right >= 0:
            row = torch.arange(p.q, device=device)[:, None] + p.diagonal()
            key = torch.arange(p.k, device=device)[None, :]
            mask = torch.ones(p.q, p.k, dtype=torch.bool, device=device)
            if p.left >= 0:
                mask &= key >= row - p.left
            if p.right >= 0:
                mask &= key <= row + p.right
            self.options["attn_mask"] = mask

    def forward(self, at):
        q, k, v = self.sets[at]
        return self.torch.nn.functional.scaled_dot_product_attention(q, k, v, **self.options)

    def call(self):
        at = self.next % (len(self.o) or len(self.sets))
        self.next += 1
        o = self.o[at] if self.o else self.forward(at)
        if self.d_o:
            self.torch.autograd.grad(o, self.sets[at], self.d_o[at], retain_graph=bool(self.o))

    def sample_gpu(self, calls):
        """Milliseconds a call, of `calls` enqueued at once."""
        first, last = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(calls):
            self.call()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / calls

    def sample_cpu(self, calls):
        """Milliseconds of the median call."""
        times = []
        for _ in range(calls):
            start = time.perf_counter()
            self.call()
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)

    def measure(self, back_end, seconds):
        """Median milliseconds of a back end; RuntimeError if it does not offer this."""
        from torch.nn.attention import SDPBackend, sdpa_kernel

        sample = self.sample_gpu if self.device == "cuda" else self.sample_cpu
        gradients = contextlib.nullcontext() if self.d_o else self.torch.no_grad()
        with gradients, sdpa_kernel(back_end), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The math back end keeps its scores for backward: two sets of them outgrow the caches.
            sets = len(self.sets) if back_end != SDPBackend.MATH else 2
            self.o = [self.forward(at) for at in range(sets)] if self.problem.passes == "bwd" else []
            sample(2)
            calls = max(1, min(1000, round(1e3 * SAMPLE_SECONDS / sample(1))))
            start, times = time.perf_counter(), []
            while len(times) < LEAST_SAMPLES or (
                len(times) < MOST_SAMPLES and time.perf_counter() - start < seconds
            ):
                times.append(sample(calls))
        self.o = []
        return statistics.median(times)


def back_ends(device):
    from torch.nn.attention import SDPBackend

    if device == "cpu":
        return {"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH}
    return {
        "flash": SDPBackend.FLASH_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "math": SDPBackend.MATH,
    }


def asked_back_ends(options):
    return {
        name: back_end
        for name, back_end in back_ends(options.torch_device).items()
        if options.back_ends is None or name in options.back_ends
    }


def too_large(torch, problem, device):
    """Why the math back end, which writes all scores, had better not be asked."""
    if device == "cuda":
        memory = torch.cuda.mem_get_info()[0]
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    # Scores, weights and the copy between them, in f32; for backward those of two sets, and gradients.
    needed = (3 if problem.passes == "fwd" else 9) * 4 * problem.batch * problem.hq * problem.q * problem.k
    return f"its scores would take {needed / 2**30:.3g} GiB" if needed > 0.8 * memory else None


def first_line(error):
    return (str(error).strip().splitlines() or ["it fails and says nothing"])[0]


def unwritable(path):
    """Why a file cannot be written, or None.  Leaves no file that was not there."""
    existed = os.path.lexists(path)
    try:
        with open(path, "ab"):
            pass
        if not existed:
            os.remove(path)
    except OSError as error:
        return error.strerror
    return None


def run_bench(options, text):
    command = [options.bench, "--json", "--variants", options.variants, "--time", str(options.time)]
    if options.device is not None:
        command += ["--device", options.device]
    done = subprocess.run(command + [text], capture_output=True, encoding="utf-8", errors="replace", check=False)
    sys.stderr.write(done.stderr)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return None


def run_torch(torch, options, subject, names, skipped):
    """Milliseconds of each back end that is still in the race."""
    times = {}
    for name, back_end in names.items():
        if name in skipped:
            continue
        try:
            times[name] = subject.measure(back_end, options.time)
        except RuntimeError as error:
            skipped[name] = first_line(error)
    if options.torch_device == "cuda":
        torch.cuda.empty_cache()  # clattn-bench may need what the scores took
    return times


def compare(torch, options, text):
    """Results of one problem, one for each variant; None if clattn-bench has none."""
    problem, subject, rounds, skipped = None, None, [], {}
    names = asked_back_ends(options)
    for turn in range(options.rounds):
        first = run_bench(options, text) if turn % 2 == 0 else None
        if turn == 0:
            if not first or not first["results"]:
                return None
            problem = Problem(first["results"][0]["problem"])
            why = too_large(torch, problem, options.torch_device)
            if why and "math" in names:
                skipped["math"] = why
            if problem.softcap:
                skipped = dict.fromkeys(names, "scaled_dot_product_attention has no softcap")
            else:
                try:
                    subject = Torch(torch, options.torch_device, problem)
                except RuntimeError as error:
                    skipped = dict.fromkeys(names, first_line(error))
        times = run_torch(torch, options, subject, names, skipped)
        answer = first or run_bench(options, text)
        if not answer or (rounds and len(answer["results"]) != len(rounds[0][0]["results"])):
            return None
        rounds.append((answer, times))
    return {"device": rounds[0][0]["device"], "results": conclude(options, problem, rounds, skipped)}


def conclude(options, problem, rounds, skipped):
    key = "ms" if options.torch_device == "cuda" else "wall_ms"
    results = []
    for i, result in enumerate(rounds[0][0]["results"]):
        ours = [answer["results"][i][key] for answer, _ in rounds]
        entry = {
            "problem": result["problem"],
            "asked": result["asked"],
            "variant": result["variant"],
            "ms": statistics.median(ours),
            "gflops": problem.operations() / statistics.median(ours) / 1e6,
            "torch": {name: {"skipped": why} for name, why in skipped.items()},
        }
        for name in rounds[0][1]:
            if name in skipped:
                continue
            theirs = [times[name] for _, times in rounds]
            ratios = [b / a for a, b in zip(ours, theirs)]
            entry["torch"][name] = {
                "ms": statistics.median(theirs),
                "gflops": problem.operations() / statistics.median(theirs) / 1e6,
                "ratio": statistics.median(ratios),
                "ratio_low": min(ratios),
                "ratio_high": max(ratios),
            }
        results.append(entry)
    return results


def show(results):
    for i, entry in enumerate(results):
        if i == 0:
            print(f"\n{entry['problem']}")
        print(f"  {entry['ms']:10.4g} ms {entry['gflops']:10.4g} GFLOP/s  {entry['variant']}")
        for name, other in entry["torch"].items():
            if "skipped" in other:
                print(f"  {'-':>10}    {'-':>10}          PyTorch {name}: {other['skipped']}")
            else:
                print(
                    f"  {other['ms']:10.4g} ms {other['gflops']:10.4g} GFLOP/s  PyTorch {name}: "
                    f"{other['ratio']:.3g} ({other['ratio_low']:.3g}..{other['ratio_high']:.3g})"
                )
    sys.stdout.flush()


def summarise(variants, problems):
    """For each of --variants and each back end, the geometric mean of its ratios."""
    means = []
    for place, variant in enumerate(variants):
        ratios = {}
        for results in problems:
            for name, other in results[place]["torch"].items() if len(results) == len(variants) else ():
                if "ratio" in other:
                    ratios.setdefault(name, []).append(other["ratio"])
        for name, some in ratios.items():
            mean = statistics.geometric_mean(some)
            means.append({"variant": variant.strip(), "back_end": name, "problems": len(some), "ratio": mean})
    return means


COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def family(problem):
    """What problems of one panel share: all but batch, length, and whether they are causal."""
    p = problem
    words = [p.type, f"D {p.d}" + (f":{p.dv}" if p.dv != p.d else "")]
    words.append(f"h{p.hq}" + (f":{p.hkv}" if p.hkv != p.hq else ""))
    if p.q != p.k:
        words.append(f"q{p.q}")
    if p.left >= 0 or p.right > 0:
        words.append(f"window{p.left},{p.right}")
    if p.align_start:
        words.append("start")
    if p.softcap:
        words.append("softcap")
    if p.passes != "fwd":
        words.append(p.passes)
    return ", ".join(words)


def panels(results):
    """{title: {(name, masked): [(length, GFLOP/s)]}}, in the order of the results."""
    asked, batches, found = {}, {}, {}
    for entry in results:
        p = Problem(entry["problem"])
        asked.setdefault(entry["variant"].split()[0], set()).add(entry.get("asked"))
        batches.setdefault((family(p), p.k, p.left, p.right), set()).add(p.batch)
    split = {key[0] for key, some in batches.items() if len(some) > 1}
    for entry in results:
        p = Problem(entry["problem"])
        title = family(p) + (f", b{p.batch}" if family(p) in split else "")
        panel = found.setdefault(title, {})
        masked = p.left >= 0 or p.right >= 0
        name = entry["variant"].split()[0]
        if len(asked[name]) > 1:  # the solver's name is not enough
            name = f"auto: {name}" if entry.get("asked") == "auto" else str(entry.get("asked"))
        panel.setdefault((name, masked), []).append((p.k, float(entry["gflops"])))
        for name, other in entry["torch"].items():
            if "gflops" in other:
                point = (p.k, float(other["gflops"]))
                points = panel.setdefault((f"PyTorch {name}", masked), [])
                if point not in points:  # once, also beside several variants
                    points.append(point)
    return found


def gnuplot_script(results, title, path):
    found = panels(results)
    names = list(dict.fromkeys(name for panel in found.values() for name, _ in panel))
    unit, scale = ("TFLOP/s", 1e-3) if max(float(e["gflops"]) for e in results) >= 1000 else ("GFLOP/s", 1)

    def quoted(text):
        """A line break would end the string, and what follows would be a command."""
        text = "".join(c if c.isprintable() else " " for c in text)
        return "'" + text.replace("'", "''") + "'"

    lines = [
        f"set terminal svg size {360 * len(found)},480 font 'sans-serif,12' background rgb 'white'",
        f"set output {quoted(path)}",
        f"set multiplot layout 1,{len(found)} title {quoted(title)} noenhanced",
        "set logscale x 2; set xlabel 'length'; set offsets 0,0,graph 0.05,0; set yrange [0:*]; set grid; set key bmargin center noenhanced height 1",
        f"set ylabel '{unit}'",
    ]
    for number, (heading, panel) in enumerate(found.items()):
        curves = []
        for curve, ((name, masked), points) in enumerate(panel.items()):
            data = "".join(f"{length} {speed * scale:.6g}\n" for length, speed in sorted(points))
            lines.append(f"$data{number}_{curve} << END\n{data}END")
            alone = not masked or (name, False) not in panel  # else the colour says who it is
            label = f"title {quoted(name)}" if alone else "notitle"
            curves.append(
                f"$data{number}_{curve} with linespoints lw 2 pt {7 if masked else 5} ps 0.6"
                f" dt {2 if masked else 1} lc rgb '{COLOURS[names.index(name) % len(COLOURS)]}' {label}"
            )
        lines.append(f"set title {quoted(heading + ' (dashed: masked)')} noenhanced\nplot {', '.join(curves)}")
    return "\n".join(lines) + "\nunset multiplot\n"


def plot(head, path):
    title = f"clattn on {head['device']}, PyTorch {head['torch']} on {head['torch_device']}"
    script = gnuplot_script(head["results"], title, path)
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0 or not os.path.exists(path):
        lines = done.stderr.strip().splitlines()
        say(f"gnuplot could not draw {path}: {lines[-1].strip() if lines else 'it says nothing'}")
        return False
    return True


def draw_results(options):
    """The exit code of --results."""
    try:
        with open(options.results, encoding="utf-8") as file:
            head = json.load(file)
        if not head["results"]:
            raise ValueError("it has no results")
        drawn = plot(head, options.plot)
    except OSError as error:
        say(f"--results: {options.results} cannot be read: {error.strerror}")
        return 2
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        say(f"--results: {options.results} is not what --json leaves: {type(error).__name__}: {error}")
        return 2
    return 0 if drawn else 5


def find_tool(name):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    built = glob.glob(os.path.join(root, "build*", "tools", name))
    return max(built, key=os.path.getmtime) if built else shutil.which(name)


def default_problems(device):
    kind, heads, lengths = ("f16", "b4 h16", (1024, 4096)) if device == "cuda" else ("f32", "h8", (512, 2048))
    return [
        f"{kind} {heads} q{length} d{dim}{mask}"
        for dim in (64, 128)
        for mask in ("", " causal")
        for length in lengths
    ]


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bench", help="clattn-bench (default: the latest in build*/tools, or on the path)")
    parser.add_argument("--device", help="OpenCL device, as for clattn-bench")
    parser.add_argument("--variants", default="auto", help="as for clattn-bench (default: auto)")
    parser.add_argument("--torch-device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--time", type=float, default=0.5, help="seconds for each measurement (default 0.5)")
    parser.add_argument("--back-ends", help="flash, cudnn, efficient, math with , between (default: all)")
    parser.add_argument("--threads", type=int, help="of PyTorch on a CPU (default: all that may run)")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too; -: only these, to stdout")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw speed over length; needs gnuplot")
    parser.add_argument("--results", metavar="FILE", help="draw those of an earlier --json; measure nothing")
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help='"f16 b2 h32:8 q4096 d128 causal"')
    options = parser.parse_args()
    threads = 1 if options.threads is None else options.threads
    if options.rounds < 1 or not 0 < options.time < 1e6 or threads < 1:
        parser.error("--rounds, --time and --threads are above 0")
    if options.back_ends is not None:
        options.back_ends = options.back_ends.split(",")
        for name in options.back_ends:
            if name not in ("flash", "cudnn", "efficient", "math"):
                parser.error(f"--back-ends: there is no '{name}'")
    if options.results is not None and (options.plot is None or options.problems):
        parser.error("--results goes with --plot and without problems")
    if options.plot is not None and not options.plot.endswith(".svg"):
        parser.error(f"--plot: '{options.plot}' does not end in .svg, which is what it would be")
    for name, path in (("--plot", options.plot), ("--json", options.json)):
        why = unwritable(path) if path not in (None, "-") else None
        if why:
            parser.error(f"{name}: {path} cannot be written: {why}")
    for text in options.problems:
        try:
            Problem(text)
        except ValueError as error:
            parser.error(f"'{text}' is not a problem: {error}")
    if options.results is not None:
        return options
    options.bench = options.bench or find_tool("clattn-bench")
    if not options.bench or not shutil.which(options.bench):
        parser.error(f"there is no clattn-bench{' ' + options.bench if options.bench else ''}; see --bench")
    return options


def main():
    options = parse_options()
    if options.plot is not None and not shutil.which("gnuplot"):
        say("--plot: there is no gnuplot")
        return 5
    if options.results is not None:
        return draw_results(options)
    try:
        import torch
        import torch.nn.attention
    except ImportError as error:
        say(f"nothing is compared: PyTorch 2.3 or later is missing ({error})")
        return 0
    cuda = torch.cuda.is_available()
    options.torch_device = options.torch_device or ("cuda" if cuda else "cpu")
    if options.torch_device == "cuda" and not cuda:
        say("nothing is compared: PyTorch has no CUDA device")
        return 0
    missing = [name for name in options.back_ends or () if name not in back_ends(options.torch_device)]
    if missing:
        say(f"PyTorch's {options.torch_device} device has no back end {', '.join(missing)}")
    if not asked_back_ends(options):
        say("nothing is compared")
        return 5
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    name = torch.cuda.get_device_name() if options.torch_device == "cuda" else f"{torch.get_num_threads()} threads"
    head = {
        "torch": torch.__version__,
        "torch_device": f"{options.torch_device}, {name}",
        "times": "device" if options.torch_device == "cuda" else "wall",
        "rounds": options.rounds,
        "device": None,
        "results": [],
        "means": [],
    }
    problems = []
    table = options.json != "-"
    if table:
        print(f"PyTorch {head['torch']} ({head['torch_device']}), {head['times']} times, ratio: its time by clattn's")
    for text in options.problems or default_problems(options.torch_device):
        found = compare(torch, options, text)
        if found is None:
            say(f"{text}: left out")
            continue
        head["device"] = found["device"]
        head["results"] += found["results"]
        problems.append(found["results"])
        if table:
            show(found["results"])
    variants = options.variants.split(";")
    head["means"] = summarise(variants, problems)
    partial = sum(len(results) != len(variants) for results in problems)
    if partial:
        which = f"{partial} of {len(problems)}" if partial < len(problems) else "all"
        say(f"geometric means: {which} problems are left out, as not all of --variants ran there")
    for mean in head["means"] if table else ():
        count = f"{mean['problems']} problem{'s' if mean['problems'] > 1 else ''}"
        print(f"\ngeometric mean over {count}: {mean['variant']} / PyTorch {mean['back_end']}: {mean['ratio']:.3g}")
    if options.json:
        try:
            with open(1 if options.json == "-" else options.json, "w", encoding="utf-8") as file:
                json.dump(head, file, indent=2)
                file.write("\n")
        except OSError as error:
            say(f"--json: {options.json} cannot be written: {error.strerror}")
            return 5
    if head["results"] and options.plot is not None and not plot(head, options.plot):
        return 5
    if not any("ratio" in other for entry in head["results"] for other in entry["torch"].values()):
        say("nothing could be compared")
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
