"""Integration and resizing in numpy, against the network's own tail."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from vmexport.networks import Tail
from vmexport.networks.resize import ResizeField
from vmruntime.unet.field import integrate, resize

VOXELS = 1e-4
"""Between two orders of the same float32 operations."""


def velocity(shape: tuple[int, int, int], size: float) -> np.ndarray:
    random = np.random.default_rng(3)
    return (size * random.standard_normal((3, *shape))).astype(np.float32)


@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize("threads", [1, 2])
def test_integration(steps: int, threads: int) -> None:
    field = velocity((9, 12, 7), 2.0)
    with torch.no_grad():
        expected = Tail(1, steps, 1)(torch.from_numpy(field)[None])[0].numpy()
    found = integrate(field, steps, threads)
    assert found.dtype == np.float32
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=VOXELS)


@pytest.mark.parametrize("factor", [Fraction(2), Fraction(1, 2), Fraction(4), Fraction(3, 2), 1])
@pytest.mark.parametrize("shape", [(6, 8, 10), (2, 4, 6)])
def test_resizing(factor: Fraction | int, shape: tuple[int, int, int]) -> None:
    factor = Fraction(factor)
    field = velocity(shape, 5.0)
    expected = ResizeField(factor)(torch.from_numpy(field)[None])[0].numpy()
    found = resize(field, factor)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=VOXELS)


def test_a_single_coarse_voxel() -> None:
    field = velocity((2, 2, 2), 1.0)
    expected = ResizeField(Fraction(1, 2))(torch.from_numpy(field)[None])[0].numpy()
    np.testing.assert_allclose(resize(field, Fraction(1, 2)), expected, rtol=0, atol=VOXELS)
