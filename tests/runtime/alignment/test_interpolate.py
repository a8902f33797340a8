"""Trilinear values and gradients against scipy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from vmruntime.alignment.interpolate import values_and_gradients
from vmruntime.alignment.pyramid import Level

ROUNDING = 1e-5


def level(shape: tuple[int, ...], dtype: str = "f4") -> Level:
    data = np.random.default_rng(2).random(shape) * (100 if dtype != "f4" else 1)
    gain = 0.01 if dtype != "f4" else 1.0
    return Level(data.astype(dtype), np.eye(4), 0.0, gain, (1, 1, 1))


@pytest.mark.parametrize("shape", [(9, 10, 11), (2, 7, 5), (1, 8, 6), (5, 1, 1)])
@pytest.mark.parametrize("dtype", ["f4", "u1", "f8"])
def test_values(shape: tuple[int, ...], dtype: str) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    scan = level(shape, dtype)
    random = np.random.default_rng(3)
    size = np.array(shape)[:, None]
    position = random.uniform(-0.5, size - 0.5, (3, 500)).astype(np.float32)
    value, _ = values_and_gradients(scan, position)
    expected = ndimage.map_coordinates(
        scan.data.astype(np.float64), position, order=1, mode="nearest"
    )
    assert np.abs(value - expected * scan.gain).max() < ROUNDING


def test_gradients() -> None:
    scan = level((9, 10, 11))
    random = np.random.default_rng(4)
    # Away from the cells' faces, where the interpolant has a kink.
    cell = random.integers(0, np.array(scan.data.shape)[:, None] - 1, (3, 300))
    position = (cell + random.uniform(0.1, 0.9, cell.shape)).astype(np.float32)
    _, gradient = values_and_gradients(scan, position)
    for axis in range(3):
        step = np.zeros((3, 1), np.float32)
        step[axis] = 0.0625
        ahead, behind = (values_and_gradients(scan, position + s)[0] for s in (step, -step))
        # float32 values divided by an eighth.
        assert np.abs(gradient[axis] - (ahead - behind) / 0.125).max() < 1e-4


def test_outside_is_zero() -> None:
    scan = level((4, 5, 6))
    position = np.array([[-0.6, 1, 1], [1, 4.6, 1], [1, 1, 5.6], [-90, 9e8, 1]], np.float32).T
    value, gradient = values_and_gradients(scan, position)
    assert not value.any()
    assert not gradient.any()


def test_clipped_values_have_no_gradient() -> None:
    scan = Level(level((6, 6, 6)).data, np.eye(4), 0.4, 100.0, (1, 1, 1))
    position = np.random.default_rng(5).uniform(0, 5, (3, 200)).astype(np.float32)
    value, gradient = values_and_gradients(scan, position)
    clipped = (value == 0) | (value == 2)
    assert clipped.any()
    assert not gradient[:, clipped].any()
