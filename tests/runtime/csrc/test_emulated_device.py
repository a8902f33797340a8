"""The device of the tests refuses what a GPU would answer with garbage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from emulated_device import EmulatedDevice, why_not_emulated
from vmruntime.cuda.device import Memory
from vmruntime.errors import BackendError, DeviceMemoryError


@pytest.fixture
def device() -> Iterator[EmulatedDevice]:
    if reason := why_not_emulated():
        pytest.skip(reason)
    device = EmulatedDevice(1 << 20)
    yield device
    device.close()


def test_memory_that_was_never_written_is_not_zero(device: EmulatedDevice) -> None:
    assert np.isnan(device.download(device.allocate(40), (10,), np.float32)).all()


def test_memory_runs_out(device: EmulatedDevice) -> None:
    first = device.allocate(1 << 19)
    with pytest.raises(DeviceMemoryError, match="are free"):
        device.allocate((1 << 19) + 1)
    device.free(first)
    device.allocate(1 << 20)


@pytest.mark.parametrize(
    ("grid", "block", "count", "message"),
    [
        ((1, 1, 1), (256, 1, 1), np.int32(4), "arguments of"),
        ((0, 1, 1), (256, 1, 1), np.int64(4), "cannot be launched"),
        ((1, 65536, 1), (256, 1, 1), np.int64(4), "cannot be launched"),
        ((1, 1, 1), (512, 1, 1), np.int64(4), "256 threads"),
    ],
)
def test_launches_that_would_go_wrong(
    device: EmulatedDevice,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    count: np.generic,
    message: str,
) -> None:
    values, sums = device.allocate(16), device.allocate(32)
    with pytest.raises(BackendError, match=message):
        device.launch("vm_regularity", grid, block, [values, count, sums])


def test_a_kernel_that_writes_too_far(device: EmulatedDevice) -> None:
    values, bounds = device.allocate(16), device.allocate(8)
    device.upload(np.full(2, 2, np.float32), bounds)
    device.upload(np.ones(4, np.float32), values)
    arguments = [values, values, np.int64(5), np.int32(0), bounds]
    with pytest.raises(BackendError, match="wrote behind"):
        device.launch("vm_scale", (1, 1, 1), (256, 1, 1), arguments)


def test_memory_of_nobody(device: EmulatedDevice) -> None:
    with pytest.raises(BackendError, match="is not memory of"):
        device.download(Memory(4096, 16), (4,), np.float32)


def test_closed(device: EmulatedDevice) -> None:
    device.close()
    device.close()
    with pytest.raises(BackendError, match="was closed"):
        device.allocate(16)
