import os

import ml_dtypes
import numpy as np
import pytest

import clattn

TYPES = [np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


@pytest.fixture
def make():
    """make(shape, dtype): random numbers, the same in each run."""
    random = np.random.default_rng(7)

    def made(shape, dtype=np.float32):
        return random.standard_normal(shape, dtype=np.float32).astype(dtype)

    return made


def pytest_report_header():
    devices = clattn.devices()
    wanted = os.environ.get("CLATTN_DEVICE")
    return [f"clattn {clattn.version()}, devices: " + ", ".join(map(str, devices)),
            f"CLATTN_DEVICE: {wanted or 'not set, the default device is used'}"]
