"""attention and attention_backward on PyOpenCL arrays."""

import os

import numpy as np
import pytest
from conftest import TYPES
from reference import backward, close, forward

cl = pytest.importorskip("pyopencl", reason="PyOpenCL is not installed")
cla = pytest.importorskip("pyopencl.array")

import clattn  # noqa: E402


def _devices():
    wanted = os.environ.get("CLATTN_DEVICE", "").lower()
    return [d for p in cl.get_platforms() for d in p.get_devices()
            if wanted in f"{p.name} / {d.name}".lower()]


@pytest.fixture(scope="module", params=["in order", "out of order"])
def queue(request):
    there = _devices()
    if not there:
        pytest.skip("PyOpenCL sees no device")
    context = cl.Context(there[:1])
    offered = there[0].queue_properties & cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE
    if request.param == "out of order" and not offered:
        pytest.skip("the device's queues are in order alone")
    return cl.CommandQueue(context, properties=offered if request.param == "out of order" else 0)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_both_passes(queue, make, dtype):
    q, k, v = make((1, 4, 33, 16), dtype), make((1, 2, 40, 16), dtype), make((1, 2, 40, 16), dtype)
    alibi = np.float32([.5, .25, .125, 0])
    on = [cla.to_device(queue, x) for x in (q, k, v)]
    slopes = cla.to_device(queue, alibi)
    o, lse = clattn.attention(*on, causal=True, alibi=slopes, return_lse=True)
    assert o.queue is queue and len(o.events) == 1 and o.dtype == dtype
    wanted_o, wanted_lse = forward(q, k, v, causal=True, alibi=alibi)
    close(o.get(), wanted_o)
    close(lse.get(), wanted_lse)
    d_o = make(q.shape, dtype)
    found = clattn.attention_backward(*on, o, lse, cla.to_device(queue, d_o), causal=True,
                                      alibi=slopes)
    for result, wanted in zip(found, backward(q, k, v, d_o, causal=True, alibi=alibi)):
        close(result.get(), wanted, factor=64)


def test_strides_and_offsets(queue, make):
    packed = make((2, 20, 3, 2, 8))
    on = cla.to_device(queue, packed)
    q, k, v = (on[:, :, i].transpose((0, 2, 1, 3)) for i in range(3))
    base = cla.zeros(queue, (2, 20, 2, 8), np.float32)
    out = base.transpose((0, 2, 1, 3))
    assert clattn.attention(q, k, v, out=out) is out
    wanted = forward(*(packed[:, :, i].transpose(0, 2, 1, 3) for i in range(3)))[0]
    queue.finish()
    close(base.get().transpose(0, 2, 1, 3), wanted)
    close(clattn.attention(q, k, v).get(), wanted)


def test_waits_for_events_alone(queue, make):
    """The call returns although its inputs are not there yet, and uses what comes later."""
    x = make((1, 2, 30, 8))
    on = cla.to_device(queue, x)
    clattn.attention(on, on, on).get()  # compiled
    gate = cl.UserEvent(queue.context)
    later = cla.zeros(queue, x.shape, np.float32)
    queue.finish()
    written = cl.enqueue_copy(queue, later.base_data, on.base_data, byte_count=x.nbytes,
                              wait_for=[gate])
    later.add_event(written)
    o = clattn.attention(later, later, later, wait_for=[gate])
    running = cl.command_execution_status.COMPLETE
    assert o.events[-1].command_execution_status != running
    gate.set_status(running)
    close(o.get(), forward(x, x, x)[0])


def test_no_elements(queue):
    q = cla.zeros(queue, (1, 2, 3, 8), np.float32)
    none = cla.Array(queue, (1, 2, 0, 8), np.float32)
    o, lse = clattn.attention(q, none, none, return_lse=True)
    assert not o.get().any() and np.isneginf(lse.get()).all()
    assert clattn.attention(none, q, q).shape == none.shape


def test_refused(queue, make):
    x = make((1, 2, 4, 8))
    on = cla.to_device(queue, x)
    other = cl.Context(_devices()[:1])
    foreign = cla.to_device(cl.CommandQueue(other), x)
    for arguments, options, sentence in [
            ((on, x, x), {}, "k: a pyopencl"), ((on, on, on), {"device": 0}, "device"),
            ((on, on, on), {"queue": 3}, "queue"), ((on, on, on), {"out": on}, "OVERLAP"),
            ((on[..., ::2], on[..., ::2], on), {}, "contiguous"),
            ((on, on[:, ::-1], on), {}, "negative"),
            ((on, on, on), {"alibi": on}, "alibi"),
            ((on, on, on), {"out": x}, "out: a pyopencl"),
            ((on, on, on.astype(np.float64)), {}, "float64"),
            ((x, on, on), {}, "numpy.ndarray")]:
        with pytest.raises(ValueError, match=sentence):
            clattn.attention(*arguments, **options)
    with pytest.raises((ValueError, clattn.Error), match="context|CONTEXT"):
        clattn.attention(on, foreign, on)
