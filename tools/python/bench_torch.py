"""clattn.torch beside PyTorch's scaled_dot_product_attention on the CPU: a table, and geometric means.

    python bench_torch.py [--heads 4] [--dim 64] [--lengths 256,1024,4096] [--seconds 0.5]

Both take turns in one process, after a first call each; a number is the least of the turns.
"""

import argparse
import itertools
import math
import time

import torch

import clattn
import clattn.torch

options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
options.add_argument("--heads", type=int, default=4)
options.add_argument("--dim", type=int, default=64)
options.add_argument("--lengths", default="256,1024,4096")
options.add_argument("--seconds", type=float, default=0.5, help="for each line of the table")
options = options.parse_args()


def call(function, tensors, causal, backward):
    begin = time.perf_counter()
    o = function(*tensors, is_causal=causal)
    if backward:
        torch.autograd.grad(o, tensors, torch.ones_like(o))
    return time.perf_counter() - begin


functions = (torch.nn.functional.scaled_dot_product_attention,
             clattn.torch.scaled_dot_product_attention)
print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads; clattn {clattn.version()} "
      f"on {clattn._device.select()}; h{options.heads} d{options.dim}")
print(f"{'type':9} {'pass':8} {'mask':6} {'S':>6} {'PyTorch ms':>11} {'clattn ms':>10} {'times':>6}")
gains = {}
for dtype, backward in itertools.product((torch.float32, torch.bfloat16), (False, True)):
    for causal, length in itertools.product((False, True), map(int, options.lengths.split(","))):
        torch.manual_seed(1)
        tensors = [torch.randn(1, options.heads, length, options.dim, dtype=dtype,
                               requires_grad=backward) for _ in range(3)]
        for function in functions:
            call(function, tensors, causal, backward)
        times = ([], [])
        end = time.perf_counter() + options.seconds
        while time.perf_counter() < end or len(times[0]) < 3:
            for function, found in zip(functions, times):
                found.append(call(function, tensors, causal, backward))
        theirs, ours = (min(t) * 1e3 for t in times)
        kind = str(dtype).removeprefix("torch."), "fwd+bwd" if backward else "fwd"
        gains.setdefault(kind, []).append(theirs / ours)
        print(f"{kind[0]:9} {kind[1]:8} {'causal' if causal else 'full':6} {length:6} "
              f"{theirs:11.3f} {ours:10.3f} {theirs / ours:6.2f}", flush=True)
for kind, found in gains.items():
    print(*kind, f"geometric mean {math.exp(sum(map(math.log, found)) / len(found)):.2f}, "
          f"least {min(found):.2f}")
