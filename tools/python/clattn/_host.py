"""Runs a plan on memory of the host.

A view is where a tensor lies: (address, address behind its last element, strides of batch, head and
row in elements); both addresses are 0 where it has no elements.  How the device gets at it is one of
three ways:

- it reads any memory of the process (fine-grained system SVM): the pointers are passed on;
- it shares the host's memory (CPUs, integrated GPUs): buffers of CL_MEM_USE_HOST_PTR, one for views
  that overlap, mapped at the end.  On a CPU nothing is copied;
- it has memory of its own: buffers, written before and read after.
"""

import ctypes
from ctypes import byref, c_int32, c_void_p, sizeof

from . import _library as l
from . import _structs as s

_READ_WRITE, _USE_HOST_PTR = 1 << 0, 1 << 3
_MAP_READ = 1 << 0
_TENSOR, _FORWARD, _BACKWARD = sizeof(s.Tensor), sizeof(s.ForwardArgs), sizeof(s.BackwardArgs)
_EXTRAS = sizeof(s.Extras)

# What runs, and the memory that it uses: an interrupt (Ctrl-C) between the start of a call and its
# end leaves its memory here, where it stays alive.
_running = {}


def view(address, shape, strides, itemsize):
    """The view of a tensor; strides in elements."""
    if 0 in shape:
        return 0, 0, strides[0], strides[1], strides[2]
    last = sum((n - 1) * t for n, t in zip(shape, strides))
    return address, address + (last + 1) * itemsize, strides[0], strides[1], strides[2]


class Call:
    """The structs of an enqueue, filled anew for each: making them takes longer than filling."""

    def __init__(self, which, names):
        self.enqueue = (l.lib.clattn_enqueue_forward if which == s.FORWARD
                        else l.lib.clattn_enqueue_backward)
        self.args = (s.ForwardArgs(size=_FORWARD) if which == s.FORWARD
                     else s.BackwardArgs(size=_BACKWARD))
        self.args.batch = self.args.seq_q = self.args.seq_kv = s.FROM_DESC
        self.tensors = {name: s.Tensor(size=_TENSOR) for name in names}
        for name, tensor in self.tensors.items():
            if name == "alibi":
                self.args.extras = ctypes.pointer(s.Extras(_EXTRAS, ctypes.pointer(tensor)))
            else:
                setattr(self.args, name, ctypes.pointer(tensor))
        self.event, self.status = c_void_p(), c_int32()
        self.args_ref, self.event_ref = byref(self.args), byref(self.event)
        self.status_ref = byref(self.status)


def take(plan, which, names):
    """A Call for these tensors that nobody uses now; give it back with give."""
    try:
        return plan.idle[names].pop()
    except (KeyError, IndexError):
        return Call(which, names)


def give(plan, names, call):
    plan.idle.setdefault(names, []).append(call)


def run(host, problem, inputs, outputs, scale, keep=()):
    """Runs the problem and waits.  inputs, outputs: views by name; keep: whose memory they are."""
    plan = host.plan(problem)
    views = {**inputs, **outputs}
    names = tuple(views)
    call = take(plan, problem.which, names)
    _running[call] = keep
    made, event = [], None
    try:
        places = () if host.system_svm else _buffers(host, views, made, call)
        if places and not host.unified:
            _write(host, places, inputs)
        for (name, tensor), place in zip(call.tensors.items(), places or views.values()):
            _, tensor.stride_batch, tensor.stride_head, tensor.stride_row = views[name][1:]
            if places:
                tensor.buffer, tensor.offset = place[0], place[1]
            else:
                tensor.svm = place[0]
        args = call.args
        args.scale = scale
        args.workspace = (_buffer(host, _READ_WRITE, plan.workspace, None, made, call)
                          if plan.workspace else None)
        call.event.value = None
        try:
            status = call.enqueue(plan.handle, host.queue, call.args_ref, 0, None, call.event_ref)
            if status:
                l.check(status, "the enqueue")
            for name in outputs if places else ():
                _read(host, places[names.index(name)], views[name], call)
        finally:
            event = call.event.value
            if event:
                status = l.cl.clWaitForEvents(1, call.event_ref)
        if status:
            l.check(status, "the kernels")
    except (ValueError, l.Error):  # nothing runs
        del _running[call]
        raise
    finally:
        if event:
            l.cl.clReleaseEvent(event)
        for memory in made:
            l.cl.clReleaseMemObject(memory)
    del _running[call]
    give(plan, names, call)


def _buffer(host, flags, size, pointer, made, call):
    memory = l.cl.clCreateBuffer(host.cl_context, flags, size, pointer, call.status_ref)
    if call.status.value:
        l.check(call.status.value, f"a buffer of {size} bytes")
    made.append(memory)
    return memory


def _buffers(host, views, made, call):
    """(cl_mem, offset, begin, end) for each view: the buffer of the range [begin, end) and where in it."""
    flags = _READ_WRITE | _USE_HOST_PTR if host.unified else _READ_WRITE
    ranges, behind = [], 0
    for begin, end, *_ in sorted(views.values()):
        if begin < behind:
            ranges[-1][1] = behind = max(behind, end)
        elif end:
            ranges.append([begin, end])
            behind = end
    for r in ranges:
        r.append(_buffer(host, flags, r[1] - r[0], r[0] if host.unified else None, made, call))
    places = []
    for v in views.values():
        place = (None, 0, 0, 0)
        for begin, end, memory in ranges:
            if begin <= v[0] < end:
                place = (memory, v[0] - begin, begin, end)
                break
        places.append(place)
    return places


def _write(host, places, inputs):
    # The names of inputs come first among those of places.
    for memory, _, begin, end in {p for p, name in zip(places, inputs) if p[0]}:
        l.check(l.cl.clEnqueueWriteBuffer(host.queue, memory, 1, 0, end - begin, begin, 0, None,
                                          None), "a copy to the device")


def _read(host, place, v, call):
    """Waits for the call's event, and makes the host see what the device wrote."""
    memory, offset = place[:2]
    if not memory:
        return
    size = v[1] - v[0]
    if not host.unified:
        l.check(l.cl.clEnqueueReadBuffer(host.queue, memory, 1, offset, size, v[0], 1,
                                         call.event_ref, None), "a copy from the device")
        return
    mapped = l.cl.clEnqueueMapBuffer(host.queue, memory, 1, _MAP_READ, offset, size, 1,
                                     call.event_ref, None, call.status_ref)
    status = call.status.value or l.cl.clEnqueueUnmapMemObject(host.queue, memory, mapped, 0, None,
                                                               None)
    if status:
        l.check(status, "a mapping")
