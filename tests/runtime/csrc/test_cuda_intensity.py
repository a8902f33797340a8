"""Intensity rules, statistics and regularity by the CUDA kernels' source, run on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conformance.cuda_operations import NULL, Session
from emulated_device import EmulatedDevice, why_not_emulated
from vmruntime.intensity import IntensityRule
from vmruntime.quality.jacobian import regularity

STATISTICS = np.dtype(
    [("smallest", "u4"), ("largest", "u4"), ("nonzero", "u8"), ("not_finite", "u8")]
)
SELECTION_BYTES = 65632
DIVIDE, MINMAX, PERCENTILE = range(3)


@pytest.fixture(scope="module")
def device() -> Iterator[EmulatedDevice]:
    if reason := why_not_emulated():
        pytest.skip(reason)
    device = EmulatedDevice()
    yield device
    device.close()


def statistics_of(session: Session, values: Any, count: int) -> Any:
    memory = session.empty(STATISTICS.itemsize)
    session.along("vm_statistics_begin", memory, blocks=1)
    session.along("vm_statistics", values, np.int64(count), memory)
    return memory


def scaled(device: EmulatedDevice, data: NDArray[np.float32], rule: str) -> NDArray[np.float32]:
    parsed = IntensityRule.parse(rule)
    count = np.int64(data.size)
    with Session(device) as session:
        values = session.up(data)
        bounds = session.empty(8)
        if parsed.kind == "divide":
            number = DIVIDE
            device.upload(np.array([0, parsed.numbers[0]], np.float32), bounds)
        elif parsed.kind == "minmax":
            number = MINMAX
            statistics = statistics_of(session, values, data.size)
            session.along("vm_bounds", statistics, NULL, np.int32(number), bounds, blocks=1)
        else:
            number = PERCENTILE
            statistics = statistics_of(session, values, data.size)
            selection = session.empty(SELECTION_BYTES)
            shares = [np.float64(percent / 100) for percent in parsed.numbers]
            session.along("vm_select_begin", selection, *shares, blocks=1)
            for digit in range(3):
                session.along("vm_select_count", values, count, selection, np.int32(digit))
                session.along("vm_select_digit", selection, np.int32(digit), blocks=1)
            session.along("vm_bounds", statistics, selection, np.int32(number), bounds, blocks=1)
        session.along("vm_scale", values, values, count, np.int32(number), bounds)
        return device.download(values, data.shape, np.float32)


def scans() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(7)
    brain = random.normal(100, 30, (13, 11, 9)).astype(np.float32)
    brain[:6] = 0
    one = np.zeros((3, 3, 3), np.float32)
    one[1, 1, 1] = 5
    outlier = np.zeros((5, 5, 5), np.float32)
    outlier[0], outlier[1, 0, 0] = 1, 1e30
    return {
        "half background": brain,
        "no background": random.normal(0, 1, (7, 9, 8)).astype(np.float32),
        "negative": -np.abs(brain),
        "whole numbers": np.round(brain),
        "two values": (brain > 100).astype(np.float32) + 1,
        "one foreground voxel": one,
        "nearly constant with an outlier": outlier,
        "many sizes": np.exp(random.normal(0, 20, (9, 9, 9))).astype(np.float32),
        "negative zeros": np.where(brain == 0, np.float32(-0.0), brain),
    }


@pytest.mark.parametrize("rule", [
    "divide:255", "minmax", "percentile:0,100", "percentile:1,99", "percentile:0,99.9",
    "percentile:33.3,66.7", "percentile:49,51",
])  # fmt: skip
@pytest.mark.parametrize("name", scans())
def test_rules_give_numpys_very_values(device: EmulatedDevice, name: str, rule: str) -> None:
    data = scans()[name]
    with np.errstate(invalid="ignore"):
        expected = IntensityRule.parse(rule).apply(data)
    np.testing.assert_array_equal(scaled(device, data, rule), expected)


def test_statistics(device: EmulatedDevice) -> None:
    data = np.array([3, 0, -7.5, np.nan, np.inf, -np.inf, 0, 2], np.float32)
    with Session(device) as session:
        memory = statistics_of(session, session.up(data), data.size)
        found = device.download(memory, (1,), STATISTICS)[0]
    assert (int(found["nonzero"]), int(found["not_finite"])) == (3, 3)
    assert value_of(int(found["smallest"])) == -7.5
    assert value_of(int(found["largest"])) == 3


def value_of(key: int) -> float:
    bits = key & 0x7FFFFFFF if key & 0x80000000 else ~key & 0xFFFFFFFF
    return float(np.array([bits], np.uint32).view(np.float32)[0])


def test_regularity(device: EmulatedDevice) -> None:
    displacement = np.random.default_rng(2).normal(0, 0.3, (3, 9, 8, 7)).astype(np.float32)
    expected = regularity(displacement)
    voxels = 9 * 8 * 7
    with Session(device) as session:
        determinant, _ = session.out((9, 8, 7), np.float32)
        sizes = [np.int32(n) for n in (9, 8, 7)]
        session.over(
            (9, 8, 7), "vm_jacobian_determinant", session.up(displacement), determinant, *sizes
        )
        sums = session.up(np.zeros(4))
        session.along("vm_regularity", determinant, np.int64(voxels), sums)
        folds, others, log, squares = device.download(sums, (4,), np.float64)
    assert folds == expected.folding_voxels > 0
    assert folds + others == voxels
    spread = np.sqrt(squares / others - (log / others) ** 2)
    # Logarithms of two libraries, each rounded to float32.
    assert spread == pytest.approx(expected.sd_log_jacobian, rel=1e-5)
