"""attention and attention_backward for NumPy arrays; those of PyOpenCL go to _opencl."""

import ctypes
import sys

import numpy as np

from . import _device, _host
from . import _library as l
from . import _structs as s
from ._problem import number, problem_of, refuse, type_of

_addressof, _first = ctypes.addressof, ctypes.c_char.from_buffer


def attention(q, k, v, *, causal=False, window=None, scale=None, softcap=None, align="end",
              bias=None, mask=None, alibi=None, sink=None, dropout=0.0, seed=None,
              return_lse=False, out=None, queue=None, wait_for=None, device=None, variant=None):
    """softmax(mask(softcap(scale * q k^T))) v, exactly, in memory that grows with the sequence.

    q: [batch, heads, queries, head dimension], k and v: [batch, heads_kv, keys, ...]; heads is a
    multiple of heads_kv (query head h reads key head h // (heads // heads_kv)), v may have a head
    dimension of its own.  All three are numpy.ndarray, or all three pyopencl.array.Array, of
    float32, float16 or ml_dtypes.bfloat16; their types may differ.  Sums are in float32.

    causal      query i sees no key to the right of the opposite one.
    window      keys seen on each side of the opposite one: a number for both sides, or (left,
                right); -1 is no bound.  causal makes right 0.
    align       which key lies opposite query i: i + keys - queries ("end"), or i ("start").
    scale       default 1 / sqrt(head dimension).
    softcap     scores s become softcap * tanh(s / softcap).
    alibi       slopes, float32 [heads] or [batch, heads]: the score of a key at distance n from
                the opposite one is lowered by slope * n.
    return_lse  also return the natural logarithm of each row's sum of exp(score), float32
                [batch, heads, queries]; attention_backward needs it.
    out         an array for the result; with return_lse it may be a pair.  Its last dimension is
                contiguous.
    device      for NumPy arrays: a clattn.Device, a part of a device's name, its number in
                clattn.devices(), or None: what the environment variable CLATTN_DEVICE says, else
                the first GPU, else the first CPU.
    queue       for PyOpenCL arrays: where it runs; default q.queue.
    wait_for    for PyOpenCL arrays: events to wait for beside the arrays' own.
    variant     a solver, or a solver with parameters, in place of clattn's choice.
    bias, mask, sink, dropout, seed: this version does not offer them (ValueError).

    Returns o [batch, heads, queries, v's head dimension] of q's type, or (o, lse).  A query that
    sees no key gets 0, and lse -inf.  NumPy: the call returns when o is there; on a CPU device
    nothing is copied unless an array's last dimension is not contiguous or a stride is negative.
    PyOpenCL: the call does not wait; o.events has its event.

    Raises ValueError, with a sentence, for what cannot be computed; clattn.Error where OpenCL
    fails.  Any number of threads may call.
    """
    refuse(bias=bias, mask=mask, sink=sink, dropout=dropout, seed=seed)
    if type(q) is not np.ndarray and _is_opencl(q):
        from . import _opencl
        return _opencl.attention(q, k, v, causal, window, scale, softcap, align, alibi, return_lse,
                                 out, queue, wait_for, device, variant)
    _no_queue(queue, wait_for)
    for name, array in (("q", q), ("k", k), ("v", v)):
        _array(name, array)
    o, lse = out if isinstance(out, (tuple, list)) and len(out) == 2 else (out, None)
    if lse is not None and not return_lse:
        raise ValueError("out: a pair without return_lse")
    type_q = type_of("q", q.dtype)
    types = (type_q, type_of("k", k.dtype), type_of("v", v.dtype),
             type_q if o is None else type_of("out", _array("out", o).dtype), 0)
    problem = problem_of(s.FORWARD, q.shape, k.shape, v.shape, types, causal, window, softcap,
                         align, variant, alibi is not None)
    shape = q.shape[:3] + v.shape[3:]
    o = np.empty(shape, q.dtype) if o is None else _output("out", o, shape)
    if return_lse:
        lse = (np.empty(shape[:3], np.float32) if lse is None
               else _output("out[1]", _array("out[1]", lse), shape[:3], np.float32))
    if o.size:
        host = _device.host(device)
        inputs, keep = _inputs({"q": q, "k": k, "v": v})
        if alibi is not None:
            inputs["alibi"] = _slopes(alibi, problem, keep)
        outputs, results = {}, {"o": o, "lse": lse} if return_lse else {"o": o}
        copies = _outputs(host, results, outputs, keep)
        _host.run(host, problem, inputs, outputs, number("scale", scale, s.SCALE_DEFAULT),
                  keep)
        for to, copy in copies:
            to[...] = copy
    return (o, lse) if return_lse else o


def attention_backward(q, k, v, o, lse, d_o, *, d_lse=None, causal=False, window=None, scale=None,
                       softcap=None, align="end", bias=None, mask=None, alibi=None, sink=None,
                       dropout=0.0, seed=None, needs=(True, True, True), out=None, queue=None,
                       wait_for=None, device=None, variant=None):
    """The gradients (d_q, d_k, d_v) of attention, from its inputs, its o and lse, and o's gradient.

    o, lse: what attention(..., return_lse=True) gave for the same options.  d_o: o's gradient, of
    o's shape and type; d_lse: that of lse, if it has one.  needs: which of the three gradients are
    computed; the others are None.  out: a triple of arrays for them (None: a new one).  alibi's
    slopes get no gradient.  All else is as for attention.

    Results repeat to the bit.  They are right where all scores are at most 2^16 in magnitude.
    """
    refuse(bias=bias, mask=mask, sink=sink, dropout=dropout, seed=seed)
    if type(q) is not np.ndarray and _is_opencl(q):
        from . import _opencl
        return _opencl.attention_backward(q, k, v, o, lse, d_o, d_lse, causal, window, scale,
                                          softcap, align, alibi, needs, out, queue, wait_for,
                                          device, variant)
    _no_queue(queue, wait_for)
    given = {"q": q, "k": k, "v": v, "o": o, "lse": lse, "d_o": d_o}
    if d_lse is not None:
        given["d_lse"] = d_lse
    for name, array in given.items():
        _array(name, array)
    types = tuple(type_of(n, given[n].dtype) for n in ("q", "k", "v", "o")) + (0,)
    problem = problem_of(s.BACKWARD, q.shape, k.shape, v.shape, types, causal, window, softcap,
                         align, variant, alibi is not None)
    shape = q.shape[:3] + v.shape[3:]
    shapes(given, shape)
    wanted = gradients(needs, out)
    results = {}
    for (name, like), (need, given_out) in zip((("d_q", q), ("d_k", k), ("d_v", v)), wanted):
        if need:
            results[name] = (np.empty(like.shape, like.dtype) if given_out is None
                             else _output(name, _array(name, given_out), like.shape, like.dtype))
    if problem.batch and problem.heads_q and results:
        if not (problem.seq_q and problem.seq_kv):  # no scores at all
            for array in results.values():
                array[...] = 0
        else:
            host = _device.host(device)
            inputs, keep = _inputs(given)
            if alibi is not None:
                inputs["alibi"] = _slopes(alibi, problem, keep)
            outputs = {}
            copies = _outputs(host, results, outputs, keep)
            _host.run(host, problem, inputs, outputs, number("scale", scale, s.SCALE_DEFAULT),
                      keep)
            for to, copy in copies:
                to[...] = copy
    return results.get("d_q"), results.get("d_k"), results.get("d_v")


def shapes(given, shape):
    """o, lse and their gradients fit q and v."""
    for name, wanted in (("o", shape), ("d_o", shape), ("lse", shape[:3]), ("d_lse", shape[:3])):
        array = given.get(name)
        if array is not None and tuple(array.shape) != tuple(wanted):
            raise ValueError(f"{name}: its shape is {tuple(array.shape)}, not {tuple(wanted)}")
        if array is not None and "lse" in name and array.dtype != np.float32:
            raise ValueError(f"{name}: its type is {array.dtype}, not float32")
    if given["d_o"].dtype != given["o"].dtype:
        raise ValueError(f"d_o: its type is {given['d_o'].dtype}, that of o {given['o'].dtype}")


def gradients(needs, out):
    """(is it needed, the array that was given for it) for d_q, d_k and d_v."""
    if len(needs) != 3:
        raise ValueError("needs: three truth values are wanted, for d_q, d_k and d_v")
    out = (None, None, None) if out is None else out
    if not isinstance(out, (tuple, list)) or len(out) != 3:
        raise ValueError("out: a triple of arrays (or None) is wanted, for d_q, d_k and d_v")
    return list(zip(needs, out))


def describe(q, k, v, *, causal=False, window=None, softcap=None, align="end", alibi=None,
             device=None, variant=None, backward=False):
    """Which variant would run for these NumPy arrays on the device, and why, as a text.

    Arguments as for attention.  Nothing is compiled.  Where nothing can run, the text says why.
    """
    types = tuple(type_of(n, _array(n, a).dtype) for n, a in (("q", q), ("k", k), ("v", v)))
    problem = problem_of(s.BACKWARD if backward else s.FORWARD, q.shape, k.shape, v.shape,
                         types + (types[0], 0), causal, window, softcap, align, variant,
                         alibi is not None)
    host = _device.host(device)
    return l.text(l.lib.clattn_supports, host.handle, _device.desc_of(problem))[1]


def _is_opencl(q):
    return "pyopencl.array" in sys.modules and isinstance(q, sys.modules["pyopencl.array"].Array)


def _no_queue(queue, wait_for):
    if queue is not None or wait_for is not None:
        raise ValueError("queue and wait_for are for PyOpenCL arrays")


def _array(name, array):
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name}: a numpy.ndarray is wanted, as for all tensors of the call, not "
                         f"{type(array).__name__}" + (" (see clattn.torch)" if
                         type(array).__module__.startswith("torch") else ""))
    return array


def _direct(array):
    """Whether clattn can read the array where it lies."""
    size, strides = array.itemsize, array.strides
    if array.ndim == 4 and array.shape[3] > 1 and strides[3] != size:
        return False
    for n, stride in zip(array.shape, strides):
        if n > 1 and (stride < 0 or stride % size):
            return False
    return _address(array) % size == 0


def _address(array):
    try:
        return _addressof(_first(array))  # four times as fast as the other way
    except (TypeError, ValueError):  # read-only, or a type that buffers do not know
        return array.__array_interface__["data"][0]


def _view(array):
    size = array.itemsize
    if not array.flags.c_contiguous:
        strides = [t // size if n > 1 else 0 for n, t in zip(array.shape, array.strides)]
        return _host.view(_address(array), array.shape, strides, size)
    if array.ndim == 4:
        _, h, r, d = array.shape
    else:
        (_, h, r), d = array.shape, 1
    if not array.size:
        return 0, 0, h * r * d, r * d, d
    begin = _address(array)
    return begin, begin + array.nbytes, h * r * d, r * d, d


def _inputs(arrays):
    """(views by name, what they are views of: the arrays, or copies that clattn can read)."""
    keep, views = [], {}
    for name, array in arrays.items():
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned) and not _direct(array):
            array = np.ascontiguousarray(array)
            if not _direct(array):
                array = array.copy()
        keep.append(array)
        views[name] = _view(array)
    return views, keep


def _output(name, array, shape, dtype=None):
    if array.shape != tuple(shape):
        raise ValueError(f"{name}: its shape is {array.shape}, not {tuple(shape)}")
    if dtype is not None and array.dtype != dtype:
        raise ValueError(f"{name}: its type is {array.dtype}, not {np.dtype(dtype)}")
    if not array.flags.writeable:
        raise ValueError(f"{name}: the array is read-only")
    if not _direct(array):
        raise ValueError(f"{name}: its last dimension is not contiguous, a stride is negative, or "
                         "its memory is not aligned to its elements")
    return array


def _outputs(host, results, outputs, keep):
    """Fills outputs with a view of each result; returns (array, what is copied to it) pairs."""
    copies = []
    for name, array in results.items():
        if not host.unified and not host.system_svm and not array.flags.c_contiguous:
            # What lies between its rows is not read, and so cannot be written back.
            copies.append((array, np.empty(array.shape, array.dtype)))
            array = copies[-1][1]
        keep.append(array)
        outputs[name] = _view(array)
    return copies


def _slopes(alibi, problem, keep):
    """The view of ALiBi's slopes."""
    slopes = np.ascontiguousarray(_array("alibi", alibi))
    if slopes.dtype != np.float32:
        raise ValueError(f"alibi: its type is {slopes.dtype}, not float32")
    if slopes.shape == (problem.heads_q,):
        batch = 0
    elif slopes.shape == (problem.batch, problem.heads_q):
        batch = problem.heads_q
    else:
        raise ValueError(f"alibi: its shape is {slopes.shape}, not ({problem.heads_q},) or "
                         f"({problem.batch}, {problem.heads_q})")
    keep.append(slopes)
    begin = _address(slopes)
    return begin, begin + slopes.nbytes, batch, 1, 0
