"""clattn for PyTorch: CPU tensors, both passes, without copies.

    from clattn.torch import scaled_dot_product_attention      # torch's signature
    with clattn.torch.enable(): ...                            # or in place of torch's own

The operators are torch.ops.clattn.attention and attention_backward, with autograd and with fake
tensors, so that torch.compile passes them through.
"""

import contextlib
import threading

import torch

from . import _device, _host
from . import _structs as s
from ._problem import number, problem_of

_TYPES = {torch.float32: s.F32, torch.float16: s.F16, torch.bfloat16: s.BF16}
_torch_attention = torch.nn.functional.scaled_dot_product_attention


def _type(name, tensor):
    found = _TYPES.get(tensor.dtype)
    if found is None:
        raise ValueError(f"{name}: its type is {tensor.dtype}; float32, float16 and bfloat16 are "
                         "possible")
    if tensor.device.type != "cpu":
        raise ValueError(f"{name}: it is on {tensor.device}; clattn.torch takes CPU tensors")
    return found


def _view(tensor):
    strides = [t if n > 1 else 0 for n, t in zip(tensor.shape, tensor.stride())]
    return _host.view(tensor.data_ptr(), tensor.shape, strides, tensor.element_size())


def _readable(tensor):
    """The tensor itself, unless its last dimension is not contiguous."""
    if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
        return tensor.contiguous()
    return tensor


def _problem(which, q, k, v, left, right, softcap, start):
    q_type = _type("q", q)
    problem = problem_of(which, tuple(q.shape), tuple(k.shape), tuple(v.shape),
                         (q_type, _type("k", k), _type("v", v), q_type, 0), False, (left, right),
                         softcap, "start" if start else "end", None, False)
    return problem


def _run(problem, given, results, scale):
    host = _device.host()
    given = {name: tensor if name == "lse" or name == "d_lse" and tensor.is_contiguous()
             else _readable(tensor) for name, tensor in given.items()}
    _host.run(host, problem, {n: _view(t) for n, t in given.items()},
              {n: _view(t) for n, t in results.items()}, number("scale", scale, s.SCALE_DEFAULT),
              (given, results))


@torch.library.custom_op("clattn::attention", mutates_args=(), device_types="cpu")
def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, left: int, right: int,
               scale: float | None, softcap: float,
               start: bool) -> tuple[torch.Tensor, torch.Tensor]:
    problem = _problem(s.FORWARD, q, k, v, left, right, softcap, start)
    o = torch.empty(q.shape[:3] + v.shape[3:], dtype=q.dtype)
    lse = torch.empty(q.shape[:3], dtype=torch.float32)
    if o.numel():
        _run(problem, {"q": q, "k": k, "v": v}, {"o": o, "lse": lse}, scale)
    return o, lse


@_attention.register_fake
def _(q, k, v, left, right, scale, softcap, start):
    return (q.new_empty(q.shape[:3] + v.shape[3:]),
            q.new_empty(q.shape[:3], dtype=torch.float32))


@torch.library.custom_op("clattn::attention_backward", mutates_args=(), device_types="cpu")
def _backward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, o: torch.Tensor,
              lse: torch.Tensor, d_o: torch.Tensor, d_lse: torch.Tensor | None, left: int,
              right: int, scale: float | None, softcap: float,
              start: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    problem = _problem(s.BACKWARD, q, k, v, left, right, softcap, start)
    results = {n: torch.empty(t.shape, dtype=t.dtype)
               for n, t in (("d_q", q), ("d_k", k), ("d_v", v))}
    given = {"q": q, "k": k, "v": v, "o": o, "lse": lse, "d_o": d_o}
    if d_lse is not None:
        given["d_lse"] = d_lse.contiguous()
    if q.numel() and k.numel():
        _run(problem, given, results, scale)
    else:
        for result in results.values():
            result.zero_()
    return results["d_q"], results["d_k"], results["d_v"]


@_backward.register_fake
def _(q, k, v, o, lse, d_o, d_lse, left, right, scale, softcap, start):
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _setup(ctx, inputs, output):
    q, k, v, *ctx.options = inputs
    ctx.save_for_backward(q, k, v, *output)
    ctx.set_materialize_grads(False)


def _differentiate(ctx, d_o, d_lse):
    q, k, v, o, lse = ctx.saved_tensors
    if d_o is None:
        d_o = torch.zeros_like(o)
    gradients = _backward(q, k, v, o, lse, d_o, d_lse, *ctx.options)
    return (*gradients, *[None] * len(ctx.options))


_attention.register_autograd(_differentiate, setup_context=_setup)


def attention(q, k, v, *, causal=False, window=None, scale=None, softcap=None, align="end",
              return_lse=False):
    """clattn.attention for CPU tensors [batch, heads, sequence, head dimension], with autograd.

    Arguments as there; heads of q are a multiple of those of k and v.  Returns o, or (o, lse), of
    which both may have a gradient.
    """
    from ._problem import band_of
    left, right = band_of(causal, window)
    if align not in s.ALIGN:
        raise ValueError(f"align: 'end' or 'start' is wanted, not {align!r}")
    o, lse = _attention(q, k, v, left, right, scale, number("softcap", softcap, 0.0),
                        align == "start")
    return (o, lse) if return_lse else o


def _refusal(query, key, value, attn_mask, dropout_p, enable_gqa):
    """Why clattn cannot take this call of scaled_dot_product_attention, or None."""
    if attn_mask is not None:
        return "attn_mask: this version of clattn does not offer it"
    if dropout_p:
        return "dropout_p: this version of clattn does not offer it"
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.device.type != "cpu":
            return f"{name}: it is on {tensor.device.type}; clattn.torch takes CPU tensors"
        if tensor.dtype not in _TYPES or tensor.dtype != query.dtype:
            return f"{name}: its type, {tensor.dtype}, is none of clattn's, or not query's"
        if tensor.dim() not in (3, 4) or tensor.dim() != query.dim():
            return f"{name}: it has {tensor.dim()} dimensions; 3 or 4, the same for all, are possible"
        if tensor.shape[:-3] != query.shape[:-3] or tensor.dim() == 3 and tensor.shape[0] != query.shape[0]:
            return f"{name}: its batch is not query's"
        if not 1 <= tensor.shape[-1] <= 512:
            return f"{name}: its head dimension is {tensor.shape[-1]}; 1 to 512 are possible"
    if key.shape[:-1] != value.shape[:-1] or key.shape[-1] != query.shape[-1]:
        return "key and value: their shapes do not fit"
    if query.dim() == 4 and key.shape[1] != query.shape[1]:
        if not enable_gqa:
            return "key: its heads are not query's, and enable_gqa is False"
        if not key.shape[1] or query.shape[1] % key.shape[1]:
            return "query: its heads are no multiple of key's"
    return None


def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False,
                                 scale=None, enable_gqa=False):
    """torch.nn.functional.scaled_dot_product_attention by clattn, with its signature and meaning.

    As there, is_causal is aligned to the start, and fewer heads of key and value need enable_gqa.
    CPU tensors of 3 or 4 dimensions, of float32, float16 or bfloat16; forward and backward.
    Raises ValueError for what clattn does not offer: attn_mask, dropout_p, other devices and types.
    """
    reason = _refusal(query, key, value, attn_mask, dropout_p, enable_gqa)
    if reason:
        raise ValueError(reason)
    flat = query.dim() == 3
    if flat:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
    o = _attention(query, key, value, s.UNBOUNDED, 0 if is_causal else s.UNBOUNDED, scale, 0.0, True)[0]
    return o.squeeze(1) if flat else o


_lock = threading.Lock()
_counts = {}
_depth = 0


def _count(reason):
    if not torch.compiler.is_compiling():
        with _lock:
            _counts[reason] = _counts.get(reason, 0) + 1


# Below so many scores (batch * heads * queries * keys) a call's fixed cost is what counts.
_LEAST_SCORES = 1 << 19


def _instead(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
             enable_gqa=False):
    reason = _refusal(query, key, value, attn_mask, dropout_p, enable_gqa)
    if reason is None and query.shape[:-1].numel() * key.shape[-2] < _LEAST_SCORES:
        reason = "small: PyTorch's own is faster there"
    _count(reason or "clattn")
    function = _torch_attention if reason else scaled_dot_product_attention
    return function(query, key, value, attn_mask=attn_mask, dropout_p=dropout_p,
                    is_causal=is_causal, scale=scale, enable_gqa=enable_gqa)


class enable(contextlib.ContextDecorator):
    """Puts clattn in the place of torch.nn.functional.scaled_dot_product_attention.

    enable() does so until disable(); `with enable():` for the block.  What clattn does not offer,
    and what is faster without, goes to PyTorch's own; explain() says how often and why.
    Modules that imported the function by name before keep PyTorch's.
    """

    def __init__(self):
        global _depth
        with _lock:
            _depth += 1
            torch.nn.functional.scaled_dot_product_attention = _instead

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        disable()
        return False


def disable():
    """Ends one enable()."""
    global _depth
    with _lock:
        _depth = max(_depth - 1, 0)
        if _depth == 0:
            torch.nn.functional.scaled_dot_product_attention = _torch_attention


def explain():
    """How many calls since the first enable() clattn took ("clattn"), and PyTorch for which reason."""
    with _lock:
        return dict(_counts)


