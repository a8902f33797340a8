"""The CUDA kernels on every row of the table: their source on the CPU, and on a GPU.

On the CPU the very source runs that a GPU is given (see ``tests/emulated_device.py``); the rows on
a real device are unverified until ``pytest -m gpu`` has run on one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from conformance.check import check
from conformance.cuda_operations import OPERATIONS, Session, run
from conformance.rows import Row, WarpRow, rows_of
from emulated_device import EmulatedDevice, why_not_emulated
from vmruntime.cuda.device import Device

ROWS = rows_of(OPERATIONS)


@pytest.fixture(scope="module")
def emulated() -> Iterator[Device]:
    if reason := why_not_emulated():
        pytest.skip(reason)
    device = EmulatedDevice()
    yield device
    device.close()


@pytest.fixture(scope="module")
def gpu() -> Iterator[Device]:
    from vmruntime.cuda.probe import probe

    found = probe()
    if not found.devices:
        pytest.skip(found.reason)
    from vmruntime.cuda.cuda_device import CudaDevice

    device = CudaDevice()
    yield device
    device.close()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_source_on_the_cpu(emulated: Device, row: Row) -> None:
    with Session(emulated) as session:
        check(row, run(session, row))


@pytest.mark.gpu
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_on_a_gpu(gpu: Device, row: Row) -> None:
    with Session(gpu) as session:
        check(row, run(session, row))


@pytest.mark.gpu
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_cpu_and_gpu_agree_to_the_bit(emulated: Device, gpu: Device, row: Row) -> None:
    """No product and sum is contracted, so both round alike."""
    results = []
    for device in (emulated, gpu):
        with Session(device) as session:
            found = run(session, row)
        results.append(found if isinstance(found, tuple) else (found,))
    for on_cpu, on_gpu in zip(*results, strict=True):
        np.testing.assert_array_equal(on_cpu, on_gpu)


def test_any_launch_covers_the_grid(emulated: Device) -> None:
    """Threads stride over what a launch is too small for."""
    row: Any = next(r for r in ROWS if isinstance(r, WarpRow) and r.mode == "linear")
    for grid in ((1, 1, 1), (2, 1, 1), (1, 2, 3)):
        with Session(emulated, grid) as session:
            check(row, run(session, row))
