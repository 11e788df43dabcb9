"""attention and attention_backward for pyopencl.array.Array: on their queue, without waiting."""

import ctypes
from ctypes import byref, c_void_p

import numpy as np
import pyopencl as cl
import pyopencl.array as cla

from . import _device, _host
from . import _structs as s
from ._attention import gradients, shapes
from ._problem import number, problem_of, type_of

_TENSOR = ctypes.sizeof(s.Tensor)


def attention(q, k, v, causal, window, scale, softcap, align, alibi, return_lse, out, queue,
              wait_for, device, variant):
    """As clattn.attention, whose arguments these are."""
    queue = _queue(queue, q, device)
    o, lse = out if isinstance(out, (tuple, list)) and len(out) == 2 else (out, None)
    if lse is not None and not return_lse:
        raise ValueError("out: a pair without return_lse")
    for name, array in (("k", k), ("v", v)) + ((("out", o),) if o is not None else ()):
        _array(name, array)
    type_q = type_of("q", q.dtype)
    types = (type_q, type_of("k", k.dtype), type_of("v", v.dtype),
             type_q if o is None else type_of("out", o.dtype), 0)
    problem = problem_of(s.FORWARD, q.shape, k.shape, v.shape, types, causal, window, softcap,
                         align, variant, alibi is not None)
    shape = q.shape[:3] + v.shape[3:]
    o = _output("out", o, shape, q.dtype if o is None else o.dtype, queue, q)
    arrays = {"q": q, "k": k, "v": v, "o": o}
    results = [o]
    if return_lse:
        lse = arrays["lse"] = _output("out[1]", lse, shape[:3], np.float32, queue, q)
        results.append(lse)
    if 0 not in shape:
        _run(problem, queue, arrays, results, scale, alibi, wait_for)
    return (o, lse) if return_lse else o


def attention_backward(q, k, v, o, lse, d_o, d_lse, causal, window, scale, softcap, align, alibi,
                       needs, out, queue, wait_for, device, variant):
    """As clattn.attention_backward, whose arguments these are."""
    queue = _queue(queue, q, device)
    arrays = {"q": q, "k": k, "v": v, "o": o, "lse": lse, "d_o": d_o}
    if d_lse is not None:
        arrays["d_lse"] = d_lse
    for name, array in arrays.items():
        _array(name, array)
    types = tuple(type_of(n, arrays[n].dtype) for n in ("q", "k", "v", "o")) + (0,)
    problem = problem_of(s.BACKWARD, q.shape, k.shape, v.shape, types, causal, window, softcap,
                         align, variant, alibi is not None)
    shapes(arrays, q.shape[:3] + v.shape[3:])
    results = {}
    for name, like, (need, given) in zip(("d_q", "d_k", "d_v"), (q, k, v), gradients(needs, out)):
        if need:
            results[name] = _output(name, given, like.shape, like.dtype, queue, q)
    if results and problem.batch and problem.heads_q:
        _run(problem, queue, {**arrays, **results}, list(results.values()), scale, alibi, wait_for)
    return results.get("d_q"), results.get("d_k"), results.get("d_v")


def _queue(queue, q, device):
    if device is not None:
        raise ValueError("device: it is the queue's where arrays are PyOpenCL's")
    queue = q.queue if queue is None else queue
    if not isinstance(queue, cl.CommandQueue):
        raise ValueError("queue: q has none, and none is given" if queue is None else
                         f"queue: a pyopencl.CommandQueue is wanted, not {type(queue).__name__}")
    return queue


def _array(name, array):
    if not isinstance(array, cla.Array):
        raise ValueError(f"{name}: a pyopencl.array.Array is wanted, as for all tensors of the "
                         f"call, not {type(array).__name__}")


def _output(name, array, shape, dtype, queue, q):
    if array is None:
        return cla.Array(queue, shape, dtype, allocator=q.allocator)
    _array(name, array)
    if array.shape != tuple(shape):
        raise ValueError(f"{name}: its shape is {array.shape}, not {tuple(shape)}")
    if array.dtype != dtype:
        raise ValueError(f"{name}: its type is {array.dtype}, not {np.dtype(dtype)}")
    return array


def _tensor(name, array):
    size, strides = array.dtype.itemsize, array.strides
    if len(strides) == 4:
        if strides[3] != size and array.shape[3] > 1:
            raise ValueError(f"{name}: its last dimension is not contiguous")
    elif len(strides) != 3:
        raise ValueError(f"{name}: it has {len(strides)} dimensions")
    batch, head, row = (t // size for t in strides[:3])
    if not array.size:
        return s.Tensor(_TENSOR, None, None, 0, abs(batch), abs(head), abs(row))
    for n, stride in zip(array.shape, strides):
        if n > 1 and (stride < 0 or stride % size):
            raise ValueError(f"{name}: a stride is {stride} bytes: negative, or no multiple of "
                             f"{size}")
    memory = array.base_data
    if isinstance(memory, cl.MemoryObjectHolder):
        return s.Tensor(_TENSOR, memory.int_ptr, None, array.offset, batch, head, row)
    return s.Tensor(_TENSOR, None, memory.svm_ptr, array.offset, batch, head, row)


def _slopes(alibi, problem):
    if alibi is None:
        return None
    _array("alibi", alibi)
    if alibi.dtype != np.float32 or not alibi.flags.c_contiguous:
        raise ValueError("alibi: a contiguous array of float32 is wanted")
    if alibi.shape not in ((problem.heads_q,), (problem.batch, problem.heads_q)):
        raise ValueError(f"alibi: its shape is {alibi.shape}, not ({problem.heads_q},) or "
                         f"({problem.batch}, {problem.heads_q})")
    memory, batch = alibi.base_data, problem.heads_q if alibi.ndim == 2 else 0
    if isinstance(memory, cl.MemoryObjectHolder):
        return s.Tensor(_TENSOR, memory.int_ptr, None, alibi.offset, batch, 1, 0)
    return s.Tensor(_TENSOR, None, memory.svm_ptr, alibi.offset, batch, 1, 0)


def _run(problem, queue, arrays, results, scale, alibi, wait_for):
    context = _device.of_context(queue.context.int_ptr, queue.device.int_ptr)
    plan = context.plan(problem)
    tensors = {name: _tensor(name, array) for name, array in arrays.items()}
    # The driver keeps the buffer until the kernels are done.
    workspace = (cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, plan.workspace)
                 if plan.workspace else None)
    args = _host.arguments(problem, plan, tensors, number("scale", scale, s.SCALE_DEFAULT),
                           _slopes(alibi, problem), workspace.int_ptr if workspace else None)
    waits = [e.int_ptr for e in wait_for or ()]
    for array in [*arrays.values()] + ([] if alibi is None else [alibi]):
        waits += [e.int_ptr for e in array.events]
    events = (c_void_p * len(waits))(*waits) if waits else None
    event = c_void_p()
    _host.enqueue(problem, plan, queue.int_ptr, args, len(waits), events, byref(event))
    done = cl.Event.from_int_ptr(event.value, retain=False)
    for array in results:
        array.add_event(done)
