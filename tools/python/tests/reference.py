"""Attention and its gradients by their definition in double, and how near results must be to them.

The C library's tests hold each element to a bound of its own (tests/compare.h).  Here results are only to
show that the right tensors reached the library: `close` allows a multiple of the type's unit, of the
tensor's largest magnitude.
"""

import numpy as np


def scores(q, k, causal=False, window=(-1, -1), scale=None, softcap=0.0, align="end", alibi=None,
           bias=None, mask=None, sink=None):
    """(scores with -inf where hidden, derivative of the softcap, q and k with all heads)."""
    q, k = q.astype(np.float64), k.astype(np.float64)
    k = np.repeat(k, q.shape[1] // k.shape[1], axis=1)
    scale = 1 / np.sqrt(q.shape[3]) if scale is None else scale
    s = q @ k.swapaxes(2, 3) * scale
    slope = np.ones_like(s)
    if softcap:
        tanh = np.tanh(s / softcap)
        s, slope = softcap * tanh, 1 - tanh**2
    rows, cols = s.shape[2:]
    c = np.arange(rows)[:, None] + (cols - rows if align == "end" else 0)
    j = np.arange(cols)[None, :]
    if bias is not None:
        s = s + np.asarray(bias, np.float64)
    if mask is not None:
        s = np.where(mask, s, -np.inf)
    if alibi is not None:
        s = s - np.broadcast_to(alibi, s.shape[:2])[:, :, None, None] * np.abs(j - c)
    left, right = window
    right = 0 if causal else right
    hidden = np.zeros((rows, cols), bool)
    if left >= 0:
        hidden |= j < c - left
    if right >= 0:
        hidden |= j > c + right
    return np.where(hidden, -np.inf, s), slope, q, k, scale


def forward(q, k, v, **options):
    """(o, lse) in double."""
    s = scores(q, k, **options)[0]
    v = np.repeat(v.astype(np.float64), q.shape[1] // v.shape[1], axis=1)
    if s.shape[3] == 0:
        return np.zeros(q.shape[:3] + v.shape[3:]), np.full(q.shape[:3], -np.inf)
    sinks = np.full(s.shape[:2], -np.inf)
    if options.get("sink") is not None:
        sinks = np.broadcast_to(options["sink"].astype(np.float64), s.shape[:2])
    sinks = sinks[:, :, None, None]
    m = np.maximum(s.max(axis=3, keepdims=True), sinks)
    p = np.exp(s - np.where(np.isinf(m), 0, m))
    total = p.sum(axis=3, keepdims=True) + np.exp(sinks - np.where(np.isinf(m), 0, m))
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + np.where(np.isinf(m), 0, m))[..., 0]
    return (p @ v) / np.where(total == 0, 1, total), np.where(total[..., 0] == 0, -np.inf, lse)


def backward(q, k, v, d_o, d_lse=None, **options):
    """(d_q, d_k, d_v) in double."""
    heads_kv = k.shape[1]
    s, slope, q64, k64, scale = scores(q, k, **options)
    o, lse = forward(q, k, v, **options)
    v64 = np.repeat(v.astype(np.float64), q.shape[1] // v.shape[1], axis=1)
    d_o = d_o.astype(np.float64)
    p = np.where(np.isinf(s), 0, np.exp(s - np.where(np.isinf(lse), 0, lse)[..., None]))
    d_v = p.swapaxes(2, 3) @ d_o
    delta = (d_o * o).sum(axis=3) - (0 if d_lse is None else d_lse)
    d_s = p * (d_o @ v64.swapaxes(2, 3) - delta[..., None]) * slope * scale
    d_q, d_k = d_s @ k64, d_s.swapaxes(2, 3) @ q64

    def group(x):
        b, h, n, d = x.shape
        return x.reshape(b, heads_kv, h // heads_kv, n, d).sum(axis=2)

    return d_q, group(d_k), group(d_v)


# Half the distance of 1 and its neighbour.
UNIT = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def close(result, wanted, factor=16):
    """Asserts |result - wanted| <= factor * unit * (|wanted| + the tensor's largest magnitude)."""
    result64 = np.asarray(result, dtype=np.float64)
    assert result64.shape == wanted.shape
    assert np.array_equal(np.isneginf(result64), np.isneginf(wanted))
    finite = np.isfinite(wanted)
    if not finite.any():
        return
    assert np.isfinite(result64[finite]).all()
    largest = np.abs(wanted[finite]).max()
    error = np.abs(result64[finite] - wanted[finite])
    bound = factor * UNIT[str(result.dtype)] * (np.abs(wanted[finite]) + largest)
    assert (error <= bound).all(), f"error {error.max()} of {largest}"
