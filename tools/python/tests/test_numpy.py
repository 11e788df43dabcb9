"""attention and attention_backward on NumPy arrays, against attention by its definition."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
from conftest import TYPES
from reference import backward, close, forward

import clattn

CASES = {
    "full": ((2, 4, 37, 24), (2, 2, 53, 24), 24, {}),
    "causal": ((1, 4, 40, 64), (1, 4, 40, 64), 64, {"causal": True}),
    "start": ((1, 2, 17, 8), (1, 1, 31, 8), 12, {"causal": True, "align": "start"}),
    "no_key": ((1, 1, 40, 16), (1, 1, 8, 16), 16, {"causal": True}),
    "window": ((1, 2, 64, 16), (1, 2, 64, 16), 16, {"window": (5, 3)}),
    "softcap": ((1, 2, 20, 32), (1, 2, 20, 32), 32, {"softcap": 2.0, "scale": 0.7}),
    "alibi": ((2, 4, 20, 32), (2, 4, 25, 32), 32, {"alibi": np.float32([.5, .25, .1, -.01])}),
    "one": ((1, 1, 1, 1), (1, 1, 1, 1), 1, {}),
}
# A driver compiles a second for each: all types in two cases alone.
TYPED = ([pytest.param(c, np.float32, id=c) for c in CASES]
         + [pytest.param(c, t, id=f"{c}-{t}") for c in ("causal", "alibi") for t in TYPES[1:]])


def options(given):
    """The same options for the reference."""
    wanted = dict(given)
    if "window" in wanted and not isinstance(wanted["window"], tuple):
        wanted["window"] = (wanted["window"],) * 2
    return wanted


@pytest.mark.parametrize("case,dtype", TYPED)
def test_forward(make, case, dtype):
    q, k, dv, given = CASES[case]
    q, k, v = make(q, dtype), make(k, dtype), make(k[:3] + (dv,), dtype)
    o, lse = clattn.attention(q, k, v, return_lse=True, **given)
    wanted_o, wanted_lse = forward(q, k, v, **options(given))
    assert o.dtype == dtype and lse.dtype == np.float32
    close(o, wanted_o)
    close(lse, wanted_lse)
    assert np.array_equal(clattn.attention(q, k, v, **given), o)


@pytest.mark.parametrize("case,dtype", TYPED)
def test_backward(make, case, dtype):
    q, k, dv, given = CASES[case]
    q, k, v = make(q, dtype), make(k, dtype), make(k[:3] + (dv,), dtype)
    o, lse = clattn.attention(q, k, v, return_lse=True, **given)
    d_o, d_lse = make(o.shape, dtype), make(lse.shape)
    d_lse[np.isinf(lse)] = 0
    found = clattn.attention_backward(q, k, v, o, lse, d_o, d_lse=d_lse, **given)
    for result, wanted in zip(found, backward(q, k, v, d_o, d_lse, **options(given))):
        assert result.dtype == dtype
        close(result, wanted, factor=64)
    d_q, d_k, d_v = clattn.attention_backward(q, k, v, o, lse, d_o, d_lse=d_lse,
                                              needs=(False, True, False), **given)
    assert d_q is None and d_v is None
    close(d_k, found[1].astype(np.float64), factor=64)


def test_types_may_differ(make):
    q, k = make((1, 2, 20, 16)), make((1, 2, 30, 16), np.float16)
    v = make((1, 2, 30, 16), ml_dtypes.bfloat16)
    close(clattn.attention(q, k, v), forward(q, k, v)[0])
    o = np.empty((1, 2, 20, 16), np.float16)
    assert clattn.attention(q, k, v, out=o) is o
    close(o, forward(q, k, v)[0])


def test_layouts(make):
    """Transposed, sliced, reversed, broadcast, unaligned and read-only inputs."""
    base = make((2, 30, 4, 40))
    q = base.transpose(0, 2, 1, 3)[..., 3:19]
    k = np.broadcast_to(make((1, 1, 33, 16)), (2, 2, 33, 16))
    v = make((2, 2, 66, 32))[:, ::-1, ::2, ::2]
    unaligned = np.frombuffer(b"x" + k.tobytes(), np.uint8)[1:].view(np.float32).reshape(k.shape)
    assert not unaligned.flags.aligned and not unaligned.flags.writeable
    wanted = forward(q, k, v)[0]
    close(clattn.attention(q, k, v), wanted)
    close(clattn.attention(q, unaligned, v), wanted)
    close(clattn.attention(q, q, q), forward(q, q, q)[0])  # the same memory three times
    whole = np.full((2, 30, 4, 20), 7, np.float32)
    out = whole.transpose(0, 2, 1, 3)[..., 2:18]
    assert clattn.attention(q, k, v, out=out) is out
    close(out, wanted)
    assert (whole[..., :2] == 7).all() and (whole[..., 18:] == 7).all()
    packed = make((1, 20, 3, 2, 8))
    q, k, v = (packed[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
    close(clattn.attention(q, k, v), forward(q, k, v)[0])


@pytest.mark.parametrize("q,k", [((0, 2, 3, 8), (0, 2, 4, 8)), ((1, 0, 3, 8), (1, 0, 4, 8)),
                                 ((1, 2, 0, 8), (1, 2, 4, 8)), ((1, 2, 3, 8), (1, 2, 0, 8))])
def test_no_elements(q, k):
    q, k = np.ones(q, np.float32), np.ones(k, np.float32)
    o, lse = clattn.attention(q, k, k, return_lse=True)
    assert o.shape == q.shape and (o == 0).all() and np.isneginf(lse).all()
    d_q, d_k, d_v = clattn.attention_backward(q, k, k, o, lse, o)
    assert d_q.shape == q.shape and d_k.shape == d_v.shape == k.shape
    assert not d_q.any() and not d_k.any() and not d_v.any()


X = np.zeros((1, 2, 4, 8), np.float32)
READ_ONLY = X.copy()
READ_ONLY.flags.writeable = False
BAD = {
    "list": (([[1.0]], X, X), {}, "numpy.ndarray"),
    "double": ((X.astype(np.float64), X, X), {}, "float64"),
    "swapped": ((X.astype(">f4"), X, X), {}, ">f4"),
    "int": ((X, X, X.astype(np.int16)), {}, "v: its type"),
    "three": ((X[0], X, X), {}, "4 dimensions"),
    "batch": ((X, np.zeros((2, 2, 4, 8), np.float32), X), {}, "batches"),
    "heads": ((X, X[:, :1], X), {}, "k and v"),
    "multiple": ((X, *[np.zeros((1, 3, 4, 8), np.float32)] * 2), {}, "multiple"),
    "no heads": ((X, X[:, :0], X[:, :0]), {}, "multiple"),
    "dim": ((X, X[..., :4], X), {}, "head dimensions"),
    "dim 0": ((X[..., :0], X[..., :0], X), {}, "1 to 512"),
    "dim_v 0": ((X, X, X[..., :0]), {}, "1 to 512"),
    "dim 513": (([np.zeros((1, 1, 1, 513), np.float32)] * 3), {}, "1 to 512"),
    "read-only": ((X, X, X), {"out": READ_ONLY}, "read-only"),
    "out shape": ((X, X, X), {"out": X[:, :1].copy()}, "out: its shape"),
    "out strides": ((X, X, X), {"out": np.zeros((1, 2, 4, 16), np.float32)[..., ::2]}, "contiguous"),
    "out reversed": ((X, X, X), {"out": np.zeros((1, 2, 4, 8), np.float32)[:, ::-1]}, "negative"),
    "out input": ((X, X, X), {"out": X}, "overlap|shares"),
    "out pair": ((X, X, X), {"out": (X, X)}, "return_lse"),
    "window": ((X, X, X), {"window": 1.5}, "window"),
    "window -2": ((X, X, X), {"window": (-2, 0)}, "window"),
    "align": ((X, X, X), {"align": "middle"}, "align"),
    "scale": ((X, X, X), {"scale": float("nan")}, "scale"),
    "scale text": ((X, X, X), {"scale": "big"}, "scale"),
    "softcap": ((X, X, X), {"softcap": -1.0}, "softcap"),
    "alibi": ((X, X, X), {"alibi": np.zeros(3, np.float32)}, "alibi"),
    "variant": ((X, X, X), {"variant": "fwd_none"}, "fwd_none"),
    "device": ((X, X, X), {"device": "no such device"}, "no such device"),
    "device 99": ((X, X, X), {"device": 99}, "99"),
    "device list": ((X, X, X), {"device": []}, "device"),
    "queue": ((X, X, X), {"queue": 1}, "PyOpenCL"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused(bad):
    arrays, given, sentence = BAD[bad]
    with pytest.raises(ValueError, match=sentence):
        clattn.attention(*arrays, **given)


@pytest.mark.parametrize("name,value", [("bias", X), ("mask", X), ("sink", X[0, :, 0, 0]),
                                        ("dropout", 0.1), ("seed", 3)])
def test_not_offered(name, value):
    with pytest.raises(ValueError, match=f"^{name}: "):
        clattn.attention(X, X, X, **{name: value})


def test_backward_refused():
    lse = np.zeros((1, 2, 4), np.float32)
    for changed, sentence in [({"d_o": X.astype(np.float16)}, "d_o"), ({"lse": lse[:, :1]}, "lse"),
                              ({"lse": lse.astype(np.float16)}, "lse"), ({"needs": (True,)}, "needs"),
                              ({"out": X}, "triple"), ({"out": (READ_ONLY, None, None)}, "d_q"),
                              ({"dropout": 0.5}, "dropout")]:
        given = {"q": X, "k": X, "v": X, "o": X, "lse": lse, "d_o": X} | changed
        with pytest.raises(ValueError, match=sentence):
            clattn.attention_backward(**given)


def test_remarks_go_to_logging(tmp_path):
    """A tuning file that cannot be read costs a remark, and the call goes on."""
    program = ("import logging, numpy, clattn\n"
               "logging.basicConfig(level=logging.INFO)\n"
               "x = numpy.ones((1, 1, 4, 8), numpy.float32)\n"
               "assert (clattn.attention(x, x, x) == 1).all()\n")
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "CLATTN_TUNING": str(tmp_path / "missing.txt")})
    assert said.returncode == 0
    assert "INFO:clattn:" in said.stderr and "missing.txt" in said.stderr


def test_describe():
    text = clattn.describe(X, X, X, causal=True)
    assert "causal" in text and "fwd_" in text
    assert "bwd" in clattn.describe(X, X, X, backward=True)


def test_devices():
    there = clattn.devices()
    assert there and len(set(there)) == len(there)
    first = there[0]
    o = clattn.attention(X, X, X, device=first)
    assert np.array_equal(o, clattn.attention(X, X, X, device=0))
    assert np.array_equal(o, clattn.attention(X, X, X, device=str(first)))


def test_module():
    said = subprocess.run([sys.executable, "-m", "clattn"], capture_output=True, text=True)
    assert said.returncode == 0 and "* " in said.stdout and clattn.version() in said.stdout


def test_threads(make):
    """8 threads, each with a problem of its own and one that they share: the same bits as alone."""
    problems = [[make((1, 2, 40 + i, 16)) for _ in range(3)] for i in range(8)]
    alone = [clattn.attention(*p, causal=True) for p in problems]
    wrong = []

    def work(i):
        try:
            for _ in range(20):
                for j in (i, 0):
                    if not np.array_equal(clattn.attention(*problems[j], causal=True), alone[j]):
                        wrong.append(i)
        except Exception as error:  # reaches the assertion below
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def _child(queue):
    try:
        queue.put(float(clattn.attention(X, X, X).sum()))
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(method):
    clattn.attention(X, X, X)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    said = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    if method == "fork":
        assert "forked" in said and said.startswith("Error")
    else:
        assert said == 0.0


def test_fork_before_use():
    """A child that is the first to use clattn works."""
    program = ("import os, numpy, clattn\n"
               "pid = os.fork()\n"
               "x = numpy.ones((1, 1, 4, 8), numpy.float32)\n"
               "ok = (clattn.attention(x, x, x) == 1).all()\n"
               "if pid == 0: os._exit(0 if ok else 1)\n"
               "assert ok and os.waitpid(pid, 0)[1] == 0\n")
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_interrupt():
    """Ctrl-C ends a loop of calls, and the next call is right."""
    program = ("import numpy as np, clattn\n"
               "x = np.random.default_rng(1).standard_normal((1, 2, 500, 32), np.float32)\n"
               "first = clattn.attention(x, x, x)\n"
               "for i in range(3):\n"
               "    try:\n"
               "        print('ready', flush=True)\n"
               "        while True: clattn.attention(x, x, x)\n"
               "    except KeyboardInterrupt:\n"
               "        assert np.array_equal(clattn.attention(x, x, x), first)\n"
               "print('done', flush=True)\n")
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        for i in range(3):
            assert child.stdout.readline() == "ready\n"
            threading.Event().wait(0.1 + 0.037 * i)
            os.kill(child.pid, signal.SIGINT)
        assert child.stdout.readline() == "done\n"
        assert child.wait(timeout=60) == 0
    finally:
        child.kill()


def test_no_loader():
    """Where no loader can be loaded, the sentence says how to get one."""
    program = ("import numpy, clattn\n"
               "x = numpy.ones((1, 1, 4, 8), numpy.float32)\n"
               "try: clattn.attention(x, x, x)\n"
               "except clattn.Error as error: assert 'clattn[cpu]' in str(error), error\n"
               "else: raise SystemExit(1)\n")
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60,
                   env={**os.environ, "CLATTN_OPENCL": "/nowhere/libOpenCL.so"})
