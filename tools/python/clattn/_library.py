"""Finds an OpenCL loader, then libclattn; both are loaded at the first use, not at the import.

The loader, libOpenCL, is not part of the wheel.  The first of these is taken:

1. the file that the environment variable CLATTN_OPENCL names;
2. the system's;
3. that of the Python package intel-opencl-rt (the extra clattn[cpu]);
4. that of the Python package pyopencl.

intel-opencl-rt also holds a device, the CPU, which no loader knows of: its .icd file names a folder
of another machine.  While the loader reads its list of drivers, once, OCL_ICD_VENDORS names a folder
with the system's list and this driver; then the variable is as before.  If the user has set
OCL_ICD_VENDORS, it stays, and the driver is not added.
"""

import ctypes
import glob
import importlib.metadata
import importlib.util
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

from . import _structs as s

log = logging.getLogger("clattn")
_lock = threading.Lock()
_pid = None
cl = None  # the loader
lib = None  # libclattn
loader_path = None


class Error(RuntimeError):
    """The OpenCL driver, or the machine, failed; what the caller did wrong is a ValueError."""


def _package_files(package, name):
    """Paths of the installed shared libraries of a Python package whose names begin with name."""
    try:
        files = importlib.metadata.distribution(package).files or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = [str(f.locate()) for f in files
             if f.name.startswith(name) and re.fullmatch(r".*\.so[.0-9]*", f.name)]
    return sorted({os.path.realpath(f) for f in found if os.path.exists(f)})


def _loaders():
    bundled = _bundled_with_pyopencl()
    given = os.environ.get("CLATTN_OPENCL")
    if given:
        return [given]
    if sys.platform == "win32":
        return ["OpenCL.dll"]
    if sys.platform == "darwin":
        return ["/System/Library/Frameworks/OpenCL.framework/OpenCL"]
    return (["libOpenCL.so.1"] + _package_files("intel-opencl-rt", "libOpenCL.so.1")
            + bundled)


def _bundled_with_pyopencl():
    # Not imported for this: its import starts the loader.
    spec = importlib.util.find_spec("pyopencl")
    if spec is None or not spec.origin:
        return []
    folder = os.path.dirname(os.path.abspath(spec.origin))
    found = sorted(glob.glob(os.path.join(glob.escape(folder), ".libs", "libOpenCL*"))
                   + glob.glob(os.path.join(glob.escape(folder) + ".libs", "libOpenCL*")))
    if found:
        # This loader reads the variable, which PyOpenCL sets, and crashes without.
        os.environ.setdefault("PYOPENCL_HOME", folder)
    return found


def _load_opencl():
    # Intel's loader and driver need these, and do not know in which folder they are.
    for name in ("libintlc.so.5", "libimf.so", "libirng.so", "libsvml.so"):
        for path in _package_files("intel-cmplr-lib-rt", name):
            try:
                ctypes.CDLL(path)
            except OSError as error:
                log.info("%s is not used: %s", path, error)
    reasons = []
    for path in _loaders():
        try:
            # Global: libclattn's own references to OpenCL are found in it.
            return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL), path
        except OSError as error:
            reasons.append(str(error))
    raise Error("no OpenCL loader was found: install one for the system (Debian: apt-get install "
                "ocl-icd-libopencl1 and a driver), or, without root, pip install 'clattn[cpu]'; "
                "the environment variable CLATTN_OPENCL may name one (" + "; ".join(reasons) + ")")


def _read_drivers(opencl):
    """Makes the loader read its list of drivers, with that of intel-opencl-rt in it."""
    count = c_uint32()
    drivers = _package_files("intel-opencl-rt", "libintelocl.so")
    if not drivers or "OCL_ICD_VENDORS" in os.environ or sys.platform != "linux":
        opencl.clGetPlatformIDs(0, None, byref(count))
        return
    folder = tempfile.mkdtemp(prefix="clattn-")
    try:
        for path in glob.glob("/etc/OpenCL/vendors/*.icd"):
            try:
                shutil.copy(path, folder)
            except OSError as error:
                log.warning("%s is not used: %s", path, error)
        with open(os.path.join(folder, "zz-intel-opencl-rt.icd"), "w") as icd:
            icd.write(drivers[0] + "\n")  # the real path: its neighbours are found from it
        os.environ["OCL_ICD_VENDORS"] = folder
        opencl.clGetPlatformIDs(0, None, byref(count))
    finally:
        os.environ.pop("OCL_ICD_VENDORS", None)
        shutil.rmtree(folder, ignore_errors=True)


def _file():
    name = {"win32": "clattn.dll", "darwin": "libclattn.dylib"}.get(sys.platform, "libclattn.so")
    path = os.path.join(os.path.dirname(__file__), name)
    if not os.path.exists(path):
        raise Error(f"{path} is missing: the package was not built; pip install tools/python does")
    return path


_status = c_int32
_events = (c_uint32, c_void_p, c_void_p)
_OPENCL = {
    "clGetPlatformIDs": (_status, c_uint32, c_void_p, c_void_p),
    "clGetPlatformInfo": (_status, c_void_p, c_uint32, c_size_t, c_void_p, c_void_p),
    "clGetDeviceIDs": (_status, c_void_p, c_uint64, c_uint32, c_void_p, c_void_p),
    "clGetDeviceInfo": (_status, c_void_p, c_uint32, c_size_t, c_void_p, c_void_p),
    "clCreateContext": (c_void_p, c_void_p, c_uint32, c_void_p, c_void_p, c_void_p, c_void_p),
    "clCreateCommandQueue": (c_void_p, c_void_p, c_void_p, c_uint64, c_void_p),
    "clCreateBuffer": (c_void_p, c_void_p, c_uint64, c_size_t, c_void_p, c_void_p),
    "clEnqueueWriteBuffer": (_status, c_void_p, c_void_p, c_uint32, c_size_t, c_size_t, c_void_p,
                             *_events),
    "clEnqueueReadBuffer": (_status, c_void_p, c_void_p, c_uint32, c_size_t, c_size_t, c_void_p,
                            *_events),
    "clEnqueueMapBuffer": (c_void_p, c_void_p, c_void_p, c_uint32, c_uint64, c_size_t, c_size_t,
                           *_events, c_void_p),
    "clEnqueueUnmapMemObject": (_status, c_void_p, c_void_p, c_void_p, *_events),
    "clReleaseMemObject": (_status, c_void_p),
    "clReleaseEvent": (_status, c_void_p),
    "clReleaseCommandQueue": (_status, c_void_p),
    "clReleaseContext": (_status, c_void_p),
    "clWaitForEvents": (_status, c_uint32, c_void_p),
    "clFinish": (_status, c_void_p),
}
_text = (c_char_p, c_size_t, POINTER(c_size_t))
_CLATTN = {
    "clattn_version": (c_uint32,),
    "clattn_status_name": (c_char_p, c_int32),
    "clattn_context_create": (_status, POINTER(s.ContextDesc), POINTER(c_void_p)),
    "clattn_context_destroy": (None, c_void_p),
    "clattn_context_describe": (_status, c_void_p, *_text),
    "clattn_desc_format": (_status, POINTER(s.Desc), *_text),
    "clattn_supports": (_status, c_void_p, POINTER(s.Desc), *_text),
    "clattn_plan_find": (_status, c_void_p, POINTER(s.Desc), POINTER(c_void_p)),
    "clattn_plan_destroy": (None, c_void_p),
    "clattn_plan_workspace_size": (_status, c_void_p, POINTER(c_size_t)),
    "clattn_plan_variant": (c_char_p, c_void_p),
    "clattn_enqueue_forward": (_status, c_void_p, c_void_p, POINTER(s.ForwardArgs), *_events),
    "clattn_enqueue_backward": (_status, c_void_p, c_void_p, POINTER(s.BackwardArgs), *_events),
}


def _declare(library, functions):
    for name, (result, *arguments) in functions.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


def load():
    """Loads what is not loaded yet.  Raises Error, also in a child that was forked after that."""
    global cl, lib, loader_path, _pid
    if _pid == os.getpid():
        return
    with _lock:
        if lib is None:
            opencl, loader_path = _load_opencl()
            _declare(opencl, _OPENCL)
            _read_drivers(opencl)
            library = ctypes.CDLL(_file())
            _declare(library, _CLATTN)
            cl, lib, _pid = opencl, library, os.getpid()
        elif _pid != os.getpid():
            raise Error("this process was forked after clattn had begun to use OpenCL, whose drivers "
                        "do not work in the child: use the start method 'spawn' or 'forkserver', or "
                        "call clattn in the children alone")


def alive():
    """Whether objects may be given back: not in a forked child, not while Python ends."""
    return _pid == os.getpid() and not sys.is_finalizing()


_said = threading.local()


def _notify(status, message, _user_data):
    text = message.decode(errors="replace") if message else ""
    if status == 0:
        log.info("%s", text)
    else:
        _said.sentence = text


notify = s.NOTIFY(_notify)


def check(status, what):
    """Raises ValueError with the library's sentence, Error where OpenCL failed."""
    if status == 0:
        return
    name = lib.clattn_status_name(status).decode()
    sentence, _said.sentence = getattr(_said, "sentence", None), None
    if s.INVALID_FIRST <= status <= s.INVALID_LAST:
        raise ValueError(f"{sentence or what} ({name})")
    raise Error(f"{sentence or what} ({name})")


def text(function, *arguments):
    """What a function of clattn writes: (status, text)."""
    needed = c_size_t()
    status = function(*arguments, None, 0, byref(needed))
    buffer = ctypes.create_string_buffer(max(needed.value, 1))
    status = function(*arguments, buffer, len(buffer), byref(needed))
    return status, buffer.value.decode()
