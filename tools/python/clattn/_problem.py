"""What is asked: the shapes, types and options of a call, checked, as the key of a plan."""

import sys
from typing import NamedTuple

import numpy as np

from . import _structs as s


class Problem(NamedTuple):
    """As clattn_desc.  types: those of q, k, v, o and of the gradients (0: as q, k and v)."""

    which: int
    types: tuple
    batch: int
    heads_q: int
    heads_kv: int
    seq_q: int
    seq_kv: int
    head_dim: int
    head_dim_v: int
    band: tuple
    align: int
    softcap: float
    variant: str | None
    features: int


_types = {np.dtype(np.float32): s.F32, np.dtype(np.float16): s.F16}


def type_of(name, dtype):
    """The clattn_type of a NumPy dtype; bf16 is ml_dtypes.bfloat16."""
    found = _types.get(dtype)
    if found is None:
        if str(dtype) == "bfloat16" and dtype.itemsize == 2 and "ml_dtypes" in sys.modules:
            found = _types[dtype] = s.BF16
        else:
            raise ValueError(f"{name}: its type is {dtype}; float32, float16 and "
                             "ml_dtypes.bfloat16 are possible")
    return found


def _int(name, value):
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if -1 <= value < 2**31:
            return int(value)
    raise ValueError(f"{name}: {value!r} is no whole number from -1 (no bound) to 2^31 - 1")


def band_of(causal, window):
    """(left, right) of clattn_desc: how many keys are seen on each side of the opposite one."""
    if window is None:
        left = right = s.UNBOUNDED
    elif isinstance(window, (tuple, list)):
        if len(window) != 2:
            raise ValueError("window: a number or a pair (left, right) is wanted")
        left, right = _int("window", window[0]), _int("window", window[1])
    else:
        left = right = _int("window", window)
    return left, 0 if causal else right


def number(name, value, default):
    """A float of an option, or the default where it is None."""
    if value is None:
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {value!r} is no number") from None


def refuse(**options):
    """ValueError for options that this version's library does not have."""
    for name, value in options.items():
        if value is not None and not (name == "dropout" and value == 0):
            raise ValueError(f"{name}: this version of clattn does not offer it")


def problem_of(which, q, k, v, types, causal, window, softcap, align, variant, alibi):
    """The Problem of three shapes [batch, heads, sequence, head dimension]."""
    for name, shape in (("q", q), ("k", k), ("v", v)):
        if len(shape) != 4:
            raise ValueError(f"{name}: 4 dimensions [batch, heads, sequence, head dimension] are "
                             f"wanted, not {len(shape)}")
    batch, heads_q, seq_q, head_dim = q
    if k[0] != batch or v[0] != batch:
        raise ValueError(f"q, k and v: their batches, {batch}, {k[0]} and {v[0]}, differ")
    if k[3] != head_dim:
        raise ValueError(f"q and k: their head dimensions, {head_dim} and {k[3]}, differ")
    if k[1] != v[1] or k[2] != v[2]:
        raise ValueError(f"k and v: {k[1]} and {v[1]} heads, {k[2]} and {v[2]} keys: they differ")
    if heads_q and (not k[1] or heads_q % k[1]):
        raise ValueError(f"q: its {heads_q} heads are no multiple of the {k[1]} heads of k and v")
    for name, dim in (("q and k", head_dim), ("v", v[3])):
        if not 1 <= dim <= 512:
            raise ValueError(f"{name}: the head dimension is {dim}; 1 to 512 are possible")
    if align not in s.ALIGN:
        raise ValueError(f"align: 'end' or 'start' is wanted, not {align!r}")
    if variant is not None and not isinstance(variant, str):
        raise ValueError("variant: a text is wanted, as 'fwd_rows'")
    return Problem(which, types, batch, heads_q, k[1], seq_q, k[2], head_dim, v[3],
                   band_of(causal, window), s.ALIGN[align], number("softcap", softcap, 0.0),
                   variant, s.FEATURE_ALIBI if alibi else 0)
