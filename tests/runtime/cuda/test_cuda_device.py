"""`CudaDevice` on a fake driver, through the real bindings; and, where there is one, on a GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import device_sessions
from vmruntime.cuda.cuda_device import CudaDevice
from vmruntime.cuda.probe import probe

TESTS = Path(__file__).resolve().parents[2]
ROOT = TESTS.parent

needs_gpu = pytest.mark.skipif(not probe().devices, reason=probe().reason or "a GPU is there")


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the fake ``libcuda.so.1``."""
    pytest.importorskip("cuda.bindings", reason="the gpu extra is not installed")
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("driver")
    subprocess.run(
        ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type",
         "-shared", "-fPIC", "-fvisibility=hidden", TESTS / "fake_driver" / "fake_cuda.cpp",
         "-o", folder / "libcuda.so.1"],
        check=True,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("session", device_sessions.SESSIONS)
def test_on_the_fake_driver(fake_driver: Path, session: str) -> None:
    paths = [ROOT / "runtime", TESTS]
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(fake_driver),
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", TESTS / "device_sessions.py", session],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("session", ["in_two_threads", "registers", "repeats"])
def test_on_a_gpu(session: str) -> None:
    device_sessions.SESSIONS[session](CudaDevice)


@pytest.mark.gpu
@needs_gpu
def test_large_copies_on_a_gpu() -> None:
    """More than the staging area holds, there and back."""
    device = CudaDevice()
    data = np.random.default_rng(0).integers(0, 2**31, 5_000_003, np.int32)
    memory = device.allocate(data.nbytes)
    device.upload(data, memory)
    expected = data.copy()
    data[:] = 0
    found = device.download(memory, data.shape, np.int32)
    np.testing.assert_array_equal(found, expected)
    device.clear(memory)
    assert not device.download(memory, data.shape, np.int32).any()
    np.testing.assert_array_equal(found, expected)
    device.free(memory)
    device.close()
    np.testing.assert_array_equal(found, expected)
