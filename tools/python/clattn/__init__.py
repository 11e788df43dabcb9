"""Attention on any OpenCL device: exact, in memory that grows with the sequence.

    import clattn
    o = clattn.attention(q, k, v, causal=True)      # [batch, heads, sequence, head dimension]

NumPy arrays run on a device that clattn chooses; pyopencl.array.Array on their own queue.
clattn.torch is for PyTorch.  `python -m clattn` lists the devices.  Remarks go to
logging.getLogger("clattn").
"""

from ._attention import attention, attention_backward, describe
from ._device import Device, devices
from ._library import Error

__all__ = ["Device", "Error", "attention", "attention_backward", "describe", "devices", "version"]


def version():
    """The version of the C library, as "0.1.0"."""
    from . import _library
    _library.load()
    number = _library.lib.clattn_version()
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
