"""Runs a plan on memory of the host.

A View is where a tensor lies: (address, strides of batch, head and row in elements, the address
behind its last element).  How the device gets at it is one of three ways:

- it reads any memory of the process (fine-grained system SVM): the pointers are passed on;
- it shares the host's memory (CPUs, integrated GPUs): buffers of CL_MEM_USE_HOST_PTR, one for views
  that overlap, mapped at the end.  On a CPU nothing is copied;
- it has memory of its own: buffers, written before and read after.
"""

import ctypes
from ctypes import byref, c_int32, c_void_p, sizeof
from typing import NamedTuple

from . import _library as l
from . import _structs as s

_READ_WRITE, _USE_HOST_PTR = 1 << 0, 1 << 3
_MAP_READ = 1 << 0
_TENSOR, _FORWARD, _BACKWARD = sizeof(s.Tensor), sizeof(s.ForwardArgs), sizeof(s.BackwardArgs)
_EXTRAS = sizeof(s.Extras)

# What runs, and the memory that it uses: an interrupt (Ctrl-C) between the start of a call and its
# end leaves its memory here, where it stays alive.
_running = {}


class View(NamedTuple):
    address: int
    batch: int
    head: int
    row: int
    end: int


def view(address, shape, strides, itemsize):
    """The View of a tensor; strides in elements."""
    if 0 in shape:
        return View(0, strides[0], strides[1], strides[2], 0)
    last = sum((n - 1) * t for n, t in zip(shape, strides))
    return View(address, strides[0], strides[1], strides[2], address + (last + 1) * itemsize)


def arguments(problem, plan, tensors, scale, alibi, workspace):
    """The struct of an enqueue; tensors: a clattn_tensor or None for each name."""
    if problem.which == s.FORWARD:
        args = s.ForwardArgs(size=_FORWARD)
    else:
        args = s.BackwardArgs(size=_BACKWARD)
    for name, tensor in tensors.items():
        setattr(args, name, ctypes.pointer(tensor))
    args.workspace = workspace
    args.batch = args.seq_q = args.seq_kv = s.FROM_DESC
    args.scale = scale
    if alibi is not None:
        args.extras = ctypes.pointer(s.Extras(_EXTRAS, ctypes.pointer(alibi)))
    return args


def enqueue(problem, plan, queue, args, count, events, event):
    """clattn_enqueue_forward or _backward; raises on failure."""
    if problem.which == s.FORWARD:
        status = l.lib.clattn_enqueue_forward(plan.handle, queue, byref(args), count, events, event)
    else:
        status = l.lib.clattn_enqueue_backward(plan.handle, queue, byref(args), count, events, event)
    if status:
        l.check(status, "the enqueue")


class _Buffers:
    """cl_mem objects, released at the end of a call."""

    def __init__(self, host):
        self.host = host
        self.made = []

    def make(self, flags, size, pointer=None):
        status = c_int32()
        memory = l.cl.clCreateBuffer(self.host.cl_context, flags, size, pointer, byref(status))
        if status.value:
            l.check(status.value, f"a buffer of {size} bytes")
        self.made.append(memory)
        return memory

    def release(self):
        while self.made:
            l.cl.clReleaseMemObject(self.made.pop())


def _ranges(views):
    """Disjoint [begin, end) that hold all views, those that overlap in one."""
    found = []
    for begin, end in sorted({(v.address, v.end) for v in views if v.end}):
        if found and begin < found[-1][1]:
            found[-1][1] = max(end, found[-1][1])
        else:
            found.append([begin, end])
    return found


def run(host, problem, inputs, outputs, scale, alibi=None, keep=()):
    """Runs the problem and waits.  inputs, outputs: a View by name; keep: whose memory they are."""
    plan = host.plan(problem)
    buffers = _Buffers(host)
    token = object()
    _running[token] = keep
    event = c_void_p()
    views = {**inputs, **outputs}
    try:
        places = {}
        if not host.system_svm:
            flags = _READ_WRITE | (_USE_HOST_PTR if host.unified else 0)
            every = list(views.values()) if alibi is None else [*views.values(), alibi]
            for begin, end in _ranges(every):
                memory = buffers.make(flags, end - begin, begin if host.unified else None)
                places[begin, end] = memory
            if not host.unified:
                _write(host, places, [*inputs.values()] + ([alibi] if alibi else []))
        tensors = {name: _tensor(v, places) for name, v in views.items()}
        slopes = None if alibi is None else _tensor(alibi, places)
        workspace = buffers.make(_READ_WRITE, plan.workspace) if plan.workspace else None
        args = arguments(problem, plan, tensors, scale, slopes, workspace)
        try:
            enqueue(problem, plan, host.queue, args, 0, None, byref(event))
            if not host.system_svm:
                _read(host, places, outputs, event)
        finally:
            if event:
                status = l.cl.clWaitForEvents(1, byref(event))
        if status:
            l.check(status, "the kernels")
        del _running[token]
    except (ValueError, l.Error):  # nothing runs
        del _running[token]
        raise
    finally:
        if event:
            l.cl.clReleaseEvent(event)
        buffers.release()


def _tensor(v, places):
    if not v.end:
        return s.Tensor(_TENSOR, None, None, 0, v.batch, v.head, v.row)
    for (begin, end), memory in places.items():
        if begin <= v.address < end:
            return s.Tensor(_TENSOR, memory, None, v.address - begin, v.batch, v.head, v.row)
    return s.Tensor(_TENSOR, None, v.address, 0, v.batch, v.head, v.row)


def _write(host, places, inputs):
    for (begin, end), memory in places.items():
        if any(begin <= v.address < end for v in inputs):
            l.check(l.cl.clEnqueueWriteBuffer(host.queue, memory, 1, 0, end - begin, begin, 0, None,
                                              None), "a copy to the device")


def _read(host, places, outputs, event):
    """Waits for the event, and makes the host see what the device wrote."""
    status = c_int32()
    for v in outputs.values():
        for (begin, end), memory in places.items():
            if not (v.end and begin <= v.address < end):
                continue
            offset, size = v.address - begin, v.end - v.address
            if not host.unified:
                l.check(l.cl.clEnqueueReadBuffer(host.queue, memory, 1, offset, size, v.address, 1,
                                                 byref(event), None), "a copy from the device")
                continue
            mapped = l.cl.clEnqueueMapBuffer(host.queue, memory, 1, _MAP_READ, offset, size, 1,
                                             byref(event), None, byref(status))
            l.check(status.value, "a mapping")
            l.check(l.cl.clEnqueueUnmapMemObject(host.queue, memory, mapped, 0, None, None),
                    "a mapping")
