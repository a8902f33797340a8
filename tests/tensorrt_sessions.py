"""What a session of the C library does with plans for TensorRT, on the fake one.

Run as a program (``tensorrt_sessions.py NAME LIBRARY PLAN ENGINE``) it does one of `SESSIONS` with
the fake libcuda and libnvinfer that ``LD_LIBRARY_PATH`` leads to; see `tests/test_c_engines.py`.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from c_session import CLibrary, CSession
from synthetic_scans import MODEL_SHAPE, model_volume, parcellation
from vmruntime.plan_file import read_plan_manifest
from vmruntime.warp import warp_linear

VOXELS = 1e-4


def assert_nothing_left(driver: ctypes.CDLL, engine: ctypes.CDLL) -> None:
    """Memory, context and stream were given back, and TensorRT's objects deleted."""
    driver.fake_used.restype = ctypes.c_size_t
    assert (driver.fake_used(), driver.fake_left(), engine.fake_alive()) == (0, 0, 0)


def registers(library: CLibrary, plan: Path) -> None:
    """The plan's displacement is the result's; everything else is ours."""
    moving, fixed = model_volume(0), model_volume(1)
    labels = moving.with_data(np.asarray(parcellation(MODEL_SHAPE, (0, 2, 41), 0), np.uint16))
    with CSession(library, plan, None) as session:
        facts = session.describe()
        assert facts["engine"] == "tensorrt"
        assert facts["manifest"] == read_plan_manifest(plan.read_bytes())
        assert facts["precision"] == "fp32"
        for _ in range(2):
            found = session.register(moving, fixed, affine="none", labels=[labels])
            apart = (moving.data - fixed.data) / np.float32(255)
            wanted = np.float32(0.1) * np.stack([apart, 2 * apart, 3 * apart])
            assert np.abs(wanted).max() > 0.1
            assert np.abs(found["displacement"] - wanted).max() < 1e-5
            moved = warp_linear(moving.data, wanted)
            assert np.abs(found["moved"] - moved).max() < 255 * VOXELS
            assert found["labels"][0].dtype == np.uint16
            # The inverse starts at the plan's and is made exact.
            looked_up = [warp_linear(part, found["inverse"]) for part in wanted]
            assert np.percentile(np.abs(found["inverse"] + looked_up), 90) < 1e-3


def is_cancelled(library: CLibrary, plan: Path) -> None:
    """While the plan runs, and the session works on."""
    moving, fixed = model_volume(0), model_volume(1)
    with CSession(library, plan, None, name="tensorrt") as session:
        calls = itertools.count()
        session.register(moving, fixed, affine="none", cancel=lambda: next(calls) < 0)
        asked = next(calls)
        assert asked > 10
        # How often it is asked after the plan depends on the machine's speed.
        for end_at in range(8):
            left = iter([False] * end_at + [True])
            with pytest.raises(RuntimeError, match="cancelled by the"):
                session.register(moving, fixed, affine="none", cancel=left.__next__)
        session.register(moving, fixed, affine="none")


def says_why_not(library: CLibrary, plan: Path) -> None:
    """TensorRT's own reason, in one line."""
    os.environ["FAKE_TENSORRT_REASON"] = "the magic\ntag does not match"
    with pytest.raises(RuntimeError, match="cannot load the plan: the magic tag does not match"):
        CSession(library, plan, None)


def is_of_another_version(library: CLibrary, plan: Path) -> None:
    """Of TensorRT, than the headers are."""
    os.environ["FAKE_TENSORRT_VERSION"] = "91500"
    with pytest.raises(
        RuntimeError, match=r"is TensorRT 9\.15\.0, and this libvmruntime was built"
    ):
        CSession(library, plan, None)


def is_another_build(library: CLibrary, plan: Path) -> None:
    """A plan for another version, or for another GPU."""
    content = plan.read_bytes()
    for field, other in ((b'"version":"1', b'"version":"3'), (b"[90]", b"[12]")):
        at = content.rindex(field)
        plan.write_bytes(content[:at] + other + content[at + len(other) :])
        with pytest.raises(RuntimeError, match=r"the plan was built with TensorRT .* here are"):
            CSession(library, plan, None)


def has_no_memory(library: CLibrary, plan: Path) -> None:
    """Of the GPU: said, given back, and the next pair may do."""
    driver = ctypes.CDLL("libcuda.so.1")
    moving, fixed = model_volume(0), model_volume(1)
    with CSession(library, plan, None) as session:
        driver.fake_machine(13000, 1, ctypes.c_size_t(1000))
        with pytest.raises(RuntimeError, match="the GPU cannot give memory"):
            session.register(moving, fixed, affine="none")
        driver.fake_machine(13000, 1, ctypes.c_size_t(1 << 30))
        session.register(moving, fixed, affine="none")


def is_hidden(library: CLibrary, plan: Path) -> None:
    """The driver is there, and sees no GPU."""
    ctypes.CDLL("libcuda.so.1").fake_machine(13000, 0, ctypes.c_size_t(0))
    with pytest.raises(RuntimeError, match=r"needs an NVIDIA GPU, and the driver sees none"):
        CSession(library, plan, None)


SESSIONS: dict[str, Callable[[CLibrary, Path], None]] = {
    session.__name__: session
    for session in (
        registers,
        is_cancelled,
        says_why_not,
        is_of_another_version,
        is_another_build,
        has_no_memory,
        is_hidden,
    )
}


if __name__ == "__main__":
    name, path, plan_path, engine_path = sys.argv[1:]
    SESSIONS[name](CLibrary(Path(path)), Path(plan_path))
    assert_nothing_left(ctypes.CDLL("libcuda.so.1"), ctypes.CDLL(engine_path))
