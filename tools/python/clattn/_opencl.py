"""attention and attention_backward for pyopencl.array.Array: on their queue, without waiting."""

from ctypes import c_void_p

import numpy as np
import pyopencl as cl
import pyopencl.array as cla

from . import _device, _host
from . import _library as l
from . import _structs as s
from ._attention import gradients, shapes
from ._problem import number, problem_of, type_of


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


def _fill(tensor, name, array):
    size, strides = array.dtype.itemsize, array.strides
    if len(strides) == 4:
        if strides[3] != size and array.shape[3] > 1:
            raise ValueError(f"{name}: its last dimension is not contiguous")
    elif len(strides) != 3:
        raise ValueError(f"{name}: it has {len(strides)} dimensions")
    for n, stride in zip(array.shape, strides):
        if n > 1 and (stride < 0 or stride % size):
            raise ValueError(f"{name}: a stride is {stride} bytes: negative, or no multiple of "
                             f"{size}")
    tensor.stride_batch, tensor.stride_head, tensor.stride_row = (
        abs(strides[0]) // size, abs(strides[1]) // size, abs(strides[2]) // size)
    _memory(tensor, array)


def _memory(tensor, array):
    tensor.buffer = tensor.svm = None
    tensor.offset = array.offset
    if array.size:
        memory = array.base_data
        if isinstance(memory, cl.MemoryObjectHolder):
            tensor.buffer = memory.int_ptr
        else:
            tensor.svm = memory.svm_ptr


def _slopes(tensor, alibi, problem):
    _array("alibi", alibi)
    if alibi.dtype != np.float32 or not alibi.flags.c_contiguous:
        raise ValueError("alibi: a contiguous array of float32 is wanted")
    if alibi.shape not in ((problem.heads_q,), (problem.batch, problem.heads_q)):
        raise ValueError(f"alibi: its shape is {alibi.shape}, not ({problem.heads_q},) or "
                         f"({problem.batch}, {problem.heads_q})")
    tensor.stride_batch = problem.heads_q if alibi.ndim == 2 else 0
    tensor.stride_head = 1
    _memory(tensor, alibi)


def _run(problem, queue, arrays, results, scale, alibi, wait_for):
    cl_context = queue.context
    plan = _device.of_context(cl_context.int_ptr, queue.device.int_ptr).plan(problem)
    if alibi is not None:
        arrays = {**arrays, "alibi": alibi}
    names = tuple(arrays)
    call = _host.take(plan, problem.which, names)
    waits = [e.int_ptr for e in wait_for] if wait_for else []
    for name, array in arrays.items():
        if name == "alibi":
            _slopes(call.tensors[name], array, problem)
        else:
            _fill(call.tensors[name], name, array)
        if array.events:
            waits += [e.int_ptr for e in array.events]
    args = call.args
    args.scale = number("scale", scale, s.SCALE_DEFAULT)
    # The driver keeps the buffer until the kernels are done.
    workspace = (cl.Buffer(cl_context, cl.mem_flags.READ_WRITE, plan.workspace)
                 if plan.workspace else None)
    args.workspace = workspace.int_ptr if workspace else None
    events = (c_void_p * len(waits))(*waits) if waits else None
    call.event.value = None
    status = call.enqueue(plan.handle, queue.int_ptr, call.args_ref, len(waits), events,
                          call.event_ref)
    if status:
        l.check(status, "the enqueue")
    done = cl.Event.from_int_ptr(call.event.value, retain=False)
    _host.give(plan, names, call)
    for array in results:
        array.add_event(done)
