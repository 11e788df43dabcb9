"""Devices, and for each a context, a queue and the plans that were asked for."""

import os
import threading
from ctypes import (byref, c_int32, c_size_t, c_uint32, c_uint64, c_void_p,
                    create_string_buffer, sizeof)
from dataclasses import dataclass, field

from . import _library as l
from . import _structs as s

CPU, GPU = 2, 4
_PLATFORM_NAME, _DEVICE_NAME, _DEVICE_TYPE = 0x0902, 0x102B, 0x1000
_DEVICE_DRIVER, _DEVICE_UNIFIED, _DEVICE_SVM = 0x102D, 0x1035, 0x1053
_SVM_SYSTEM = 4
_PLANS, _CONTEXTS = 256, 16

_lock = threading.RLock()


@dataclass(frozen=True)
class Device:
    """An OpenCL device: what clattn.devices() lists and device= takes."""

    platform: str
    name: str
    driver: str
    kind: str  #: "gpu", "cpu" or "other"
    id: int = field(repr=False)  #: the cl_device_id

    def __str__(self):
        return f"{self.platform} / {self.name}"


def _number(function, handle, what, kind):
    value = kind()
    return value.value if function(handle, what, sizeof(kind), byref(value), None) == 0 else 0


def _words(function, handle, what):
    size = c_size_t()
    if function(handle, what, 0, None, byref(size)) != 0:
        return ""
    buffer = create_string_buffer(size.value + 1)
    function(handle, what, size.value, buffer, None)
    return buffer.value.decode(errors="replace").strip()


_devices = None


def devices():
    """All OpenCL devices of this machine, as a list of Device; empty if there is none.

    Raises clattn.Error where there is no OpenCL loader.
    """
    global _devices
    l.load()
    with _lock:
        if _devices is None:
            _devices = _list()
        return list(_devices)


def _handles(function, *arguments):
    count = c_uint32()
    if function(*arguments, 0, None, byref(count)) != 0 or count.value == 0:
        return []
    handles = (c_void_p * count.value)()
    function(*arguments, count.value, handles, None)
    return list(handles)


def _list():
    found = []
    for platform in _handles(l.cl.clGetPlatformIDs):
        for device in _handles(l.cl.clGetDeviceIDs, platform, c_uint64(0xFFFFFFFF)):
            kind = _number(l.cl.clGetDeviceInfo, device, _DEVICE_TYPE, c_uint64)
            found.append(Device(_words(l.cl.clGetPlatformInfo, platform, _PLATFORM_NAME),
                                _words(l.cl.clGetDeviceInfo, device, _DEVICE_NAME),
                                _words(l.cl.clGetDeviceInfo, device, _DEVICE_DRIVER),
                                "gpu" if kind & GPU else "cpu" if kind & CPU else "other", device))
    return found


def select(device=None):
    """The Device that device= means.

    None: that of the environment variable CLATTN_DEVICE, else the first GPU, else the first CPU,
    else the first device.  A text: the first whose "platform / name" contains it.  A number: its
    place in devices().
    """
    if isinstance(device, Device):
        return device
    there = devices()
    if not there:
        raise l.Error("there is no OpenCL device: install a driver, or, for an x86-64 CPU, "
                      "pip install 'clattn[cpu]'")
    if device is None:
        device = os.environ.get("CLATTN_DEVICE") or None
    if device is None:
        order = {"gpu": 0, "cpu": 1, "other": 2}
        return min(there, key=lambda d: order[d.kind])
    if isinstance(device, int) and not isinstance(device, bool):
        if not 0 <= device < len(there):
            raise ValueError(f"device: there are {len(there)} devices, and {device} is none of them")
        return there[device]
    if isinstance(device, str):
        for d in there:
            if device.lower() in str(d).lower():
                return d
        raise ValueError(f"device: no device has {device!r} in its name; there are "
                         + ", ".join(str(d) for d in there))
    raise ValueError("device: a clattn.Device, a text, a number or None is wanted, not "
                     + type(device).__name__)


class Plan:
    """A plan of clattn_plan_find, given back when nobody refers to it any more."""

    __slots__ = ("handle", "workspace", "context", "idle")

    def __init__(self, context, desc):
        self.handle = None
        self.context = context
        self.idle = {}  # for _host
        handle = c_void_p()
        l.check(l.lib.clattn_plan_find(context.handle, byref(desc), byref(handle)), "the plan")
        self.handle = handle.value
        size = c_size_t()
        l.check(l.lib.clattn_plan_workspace_size(self.handle, byref(size)), "the workspace")
        self.workspace = size.value

    def __del__(self):
        if self.handle and l.alive():
            l.lib.clattn_plan_destroy(self.handle)


class Context:
    """A clattn_context and its plans, for a cl_context and a cl_device_id (as numbers)."""

    def __init__(self, cl_context, device):
        self.handle = None
        self.cl_context, self.device = cl_context, device
        desc = s.ContextDesc(sizeof(s.ContextDesc), cl_context, device, l.notify, None, None)
        handle = c_void_p()
        l.check(l.lib.clattn_context_create(byref(desc), byref(handle)), "the context")
        self.handle = handle.value
        self.plans = {}

    def plan(self, problem):
        """The plan of a problem (_problem.Problem): made once, then found."""
        plan = self.plans.get(problem)
        if plan is None:
            plan = Plan(self, desc_of(problem))
            with _lock:
                while len(self.plans) >= _PLANS:
                    del self.plans[next(iter(self.plans))]
                self.plans[problem] = plan
        return plan

    def __del__(self):
        if self.handle and l.alive():
            l.lib.clattn_context_destroy(self.handle)


def desc_of(problem):
    """The clattn_desc of a problem."""
    left, right = problem.band
    q, k, v, o, d = problem.types
    variant = None if problem.variant is None else problem.variant.encode()
    return s.Desc(sizeof(s.Desc), q, problem.batch, problem.heads_q, problem.heads_kv,
                  problem.seq_q, problem.seq_kv, problem.head_dim, problem.head_dim_v, left, right,
                  problem.align, problem.softcap, variant, problem.features, 0, k, v, o, d,
                  problem.which, 0)


class Host(Context):
    """A device with a context and queue of clattn's own, for memory of the host."""

    def __init__(self, device):
        status = c_int32()
        ids = (c_void_p * 1)(device.id)
        context = l.cl.clCreateContext(None, 1, ids, None, None, byref(status))
        l.check(status.value, f"clCreateContext on {device}")
        self.queue = l.cl.clCreateCommandQueue(context, device.id, 0, byref(status))
        l.check(status.value, f"clCreateCommandQueue on {device}")
        super().__init__(context, device.id)
        info = l.cl.clGetDeviceInfo
        self.unified = bool(_number(info, device.id, _DEVICE_UNIFIED, c_uint32)) or device.kind == "cpu"
        # The device reads any memory of the process: no buffers are needed.
        self.system_svm = bool(_number(info, device.id, _DEVICE_SVM, c_uint64) & _SVM_SYSTEM)


_hosts = {}
_contexts = {}


def host(device=None):
    """The Host of device= (as select), made at the first call."""
    l.load()
    try:
        found = _hosts.get(device)
    except TypeError:  # cannot be a key
        found = None
    if found is None:
        chosen = select(device)
        with _lock:
            found = _hosts.get(chosen)
            if found is None:
                found = _hosts[chosen] = Host(chosen)
            _hosts[device] = found
    return found


def of_context(cl_context, device):
    """The Context of somebody else's cl_context; the last 16 are kept."""
    l.load()
    key = (cl_context, device)
    found = _contexts.get(key)
    if found is None:
        with _lock:
            found = _contexts.get(key)
            if found is None:
                while len(_contexts) >= _CONTEXTS:
                    del _contexts[next(iter(_contexts))]
                found = _contexts[key] = Context(cl_context, device)
    return found
