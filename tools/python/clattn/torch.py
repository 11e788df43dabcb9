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


def _problem(which, q, k, v, left, right, softcap, start, mask, sink):
    q_type = _type("q", q)
    problem = problem_of(which, tuple(q.shape), tuple(k.shape), tuple(v.shape),
                         (q_type, _type("k", k), _type("v", v), q_type, 0), False, (left, right),
                         softcap, "start" if start else "end", None, _extras(mask, sink),
                         0 if mask is None or mask.dtype == torch.bool else _type("mask", mask))
    wide = (problem.batch, problem.heads_q, problem.seq_q, problem.seq_kv)
    if mask is not None and (mask.dim() != 4 or any(
            n not in (1, m) for n, m in zip(mask.shape, wide)) or mask.shape[3] != wide[3]):
        raise ValueError(f"mask: its shape is {tuple(mask.shape)}, not {wide}, or 1 in place of one "
                         "of the first three")
    if sink is not None and (sink.shape != wide[1:2] or sink.dtype != torch.float32):
        raise ValueError(f"sink: {wide[1]} numbers of float32 are wanted")
    return problem


def _extras(mask, sink):
    """By the library's names: a mask of truth values hides keys, another one is a bias."""
    found = {}
    if mask is not None:
        found["mask" if mask.dtype == torch.bool else "bias"] = mask
    if sink is not None:
        found["sink"] = sink
    return found


def _run(problem, given, results, scale, mask, sink):
    host = _device.host()
    given = {name: tensor if name == "lse" or name == "d_lse" and tensor.is_contiguous()
             else _readable(tensor) for name, tensor in given.items()}
    extras = {n: _readable(t) for n, t in _extras(mask, sink).items()}
    views = {n: _view(t) for n, t in given.items()}
    for name, tensor in extras.items():
        if name == "sink":
            begin = tensor.data_ptr()
            views[name] = begin, begin + tensor.nbytes, 0, 1, 0
        else:
            views[name] = _view(tensor)  # a length of 1 has a stride of 0: repeated
    _host.run(host, problem, views,
              {n: _view(t) for n, t in results.items()}, number("scale", scale, s.SCALE_DEFAULT),
              (given, results, extras))


@torch.library.custom_op("clattn::attention", mutates_args=(), device_types="cpu")
def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, left: int, right: int,
               scale: float | None, softcap: float,
               start: bool, mask: torch.Tensor | None = None,
               sink: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    problem = _problem(s.FORWARD, q, k, v, left, right, softcap, start, mask, sink)
    o = torch.empty(q.shape[:3] + v.shape[3:], dtype=q.dtype)
    lse = torch.empty(q.shape[:3], dtype=torch.float32)
    if o.numel():
        _run(problem, {"q": q, "k": k, "v": v}, {"o": o, "lse": lse}, scale, mask, sink)
    return o, lse


@_attention.register_fake
def _(q, k, v, left, right, scale, softcap, start, mask=None, sink=None):
    return (q.new_empty(q.shape[:3] + v.shape[3:]),
            q.new_empty(q.shape[:3], dtype=torch.float32))


@torch.library.custom_op("clattn::attention_backward", mutates_args=(), device_types="cpu")
def _backward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, o: torch.Tensor,
              lse: torch.Tensor, d_o: torch.Tensor, d_lse: torch.Tensor | None, left: int,
              right: int, scale: float | None, softcap: float,
              start: bool, mask: torch.Tensor | None = None,
              sink: torch.Tensor | None = None
              ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    problem = _problem(s.BACKWARD, q, k, v, left, right, softcap, start, mask, sink)
    results = {n: torch.empty(t.shape, dtype=t.dtype)
               for n, t in (("d_q", q), ("d_k", k), ("d_v", v))}
    given = {"q": q, "k": k, "v": v, "o": o, "lse": lse, "d_o": d_o}
    if d_lse is not None:
        given["d_lse"] = d_lse.contiguous()
    if q.numel() and k.numel():
        _run(problem, given, results, scale, mask, sink)
    else:
        for result in results.values():
            result.zero_()
    return results["d_q"], results["d_k"], results["d_v"]


@_backward.register_fake
def _(q, k, v, o, lse, d_o, d_lse, left, right, scale, softcap, start, mask=None, sink=None):
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _setup(ctx, inputs, output):
    q, k, v, *ctx.options, mask, sink = inputs
    ctx.save_for_backward(q, k, v, *output, mask, sink)
    ctx.set_materialize_grads(False)


def _differentiate(ctx, d_o, d_lse):
    q, k, v, o, lse, mask, sink = ctx.saved_tensors
    if d_o is None:
        d_o = torch.zeros_like(o)
    gradients = _backward(q, k, v, o, lse, d_o, d_lse, *ctx.options, mask, sink)
    return (*gradients, *[None] * (len(ctx.options) + 2))


_attention.register_autograd(_differentiate, setup_context=_setup)


def attention(q, k, v, *, causal=False, window=None, scale=None, softcap=None, align="end",
              mask=None, sink=None, return_lse=False):
    """clattn.attention for CPU tensors [batch, heads, sequence, head dimension], with autograd.

    Arguments as there; heads of q are a multiple of those of k and v.  mask: as torch's attn_mask,
    truth values (True: seen) or numbers that are added, broadcast to [batch, heads, queries, keys].
    sink: float32 [heads].  Neither gets a gradient.  Returns o, or (o, lse), of which both may have
    a gradient.
    """
    from ._problem import band_of
    left, right = band_of(causal, window)
    if align not in s.ALIGN:
        raise ValueError(f"align: 'end' or 'start' is wanted, not {align!r}")
    for name, tensor in (("mask", mask), ("sink", sink)):
        if _wants_gradient(tensor):
            raise ValueError(f"{name}: it wants a gradient, which clattn does not compute")
    o, lse = _attention(q, k, v, left, right, scale, number("softcap", softcap, 0.0),
                        align == "start", _wide(mask, k.shape[2]), sink)
    return (o, lse) if return_lse else o


def _wants_gradient(tensor):
    return tensor is not None and tensor.requires_grad and torch.is_grad_enabled()


def _wide(mask, keys):
    """The mask with four dimensions, and a number for each key."""
    if mask is None:
        return None
    mask = mask[(None,) * (4 - mask.dim())] if mask.dim() < 4 else mask
    return mask.expand(*mask.shape[:3], keys) if mask.shape[3] == 1 else mask


def _refusal(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa):
    """Why clattn cannot take this call of scaled_dot_product_attention, or None."""
    if attn_mask is not None:
        if is_causal:
            return "attn_mask: with is_causal"
        if _wants_gradient(attn_mask):
            return "attn_mask: it wants a gradient, which clattn does not compute"
        if attn_mask.dtype not in (torch.bool, query.dtype):
            return f"attn_mask: its type, {attn_mask.dtype}, is neither bool nor query's"
        wide = (*query.shape[:-1], key.shape[-2])
        if attn_mask.device.type != "cpu" or attn_mask.dim() > len(wide) or any(
                n not in (1, m) for n, m in zip(attn_mask.shape[::-1], wide[::-1])):
            return "attn_mask: its shape or device does not fit"
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
    Raises ValueError for what clattn does not offer: dropout_p, a gradient of attn_mask, other
    devices and types.  A query from which all keys are hidden gets 0.
    """
    reason = _refusal(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa)
    if reason:
        raise ValueError(reason)
    flat = query.dim() == 3
    if flat:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask.unsqueeze(1)
    o = _attention(query, key, value, s.UNBOUNDED, 0 if is_causal else s.UNBOUNDED, scale, 0.0, True,
                   _wide(attn_mask, key.shape[2]))[0]
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
    reason = _refusal(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa)
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


