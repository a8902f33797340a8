"""Cubic look-up, against Keys' kernel point by point."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import textured
from vmruntime.cubic import cubic_sampler

SHAPE = (9, 7, 11)

ROUNDING = 1e-5
"""Of the range: 64 products in float32."""


def kernel(distance: float) -> float:
    """Keys 1981, equation 15 with a = -1/2."""
    s = abs(distance)
    if s < 1:
        return 1.5 * s**3 - 2.5 * s**2 + 1
    return -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2 if s < 2 else 0.0


def naive(volume: NDArray[np.float32], place: NDArray[np.float32]) -> float:
    weights = [
        [kernel(float(coordinate) - i) for i in range(size)]
        for coordinate, size in zip(place, volume.shape, strict=True)
    ]
    return float(np.einsum("ijk,i,j,k", volume.astype(np.float64), *weights))


def test_against_the_kernel_inside_and_outside() -> None:
    volume = textured(SHAPE)
    random = np.random.default_rng(0)
    places = [random.uniform(-3, n + 2, 300).astype(np.float32) for n in SHAPE]
    found = cubic_sampler(volume)(places)
    expected = [naive(volume, place) for place in np.array(places).T]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=ROUNDING * 255)


def test_voxels_keep_their_values() -> None:
    volume = textured(SHAPE)
    np.testing.assert_array_equal(
        cubic_sampler(volume)(list(np.indices(SHAPE, np.float32))), volume
    )


def test_a_quadratic_is_exact_inside() -> None:
    """Which linear interpolation is not: Keys' kernel has third order."""
    index = np.indices(SHAPE, np.float32)
    random = np.random.default_rng(1)
    places = [random.uniform(1, n - 2, 100).astype(np.float32) for n in SHAPE]

    def quadratic(x: NDArray[np.float32], y: NDArray[np.float32], z: NDArray[np.float32]):  # type: ignore[no-untyped-def]
        return 1 + x - 2 * y + z + x * x - x * y + 3 * z * z + y * y

    found = cubic_sampler(quadratic(*index))(places)
    np.testing.assert_allclose(found, quadratic(*places), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64])
def test_other_types_come_as_float32(kind: type) -> None:
    volume = textured(SHAPE).astype(kind)
    middle = [np.full(1, n / 2, np.float32) for n in SHAPE]
    found = cubic_sampler(volume)(middle)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, cubic_sampler(volume.astype(np.float32))(middle))


def test_far_outside_is_zero_and_arguments_are_kept() -> None:
    volume = textured(SHAPE) + 1
    for far in (-1e9, -2.0, SHAPE[0] + 1.0, 1e9):
        places = [np.full((2, 3), far, np.float32), *[np.full((2, 3), 3, np.float32)] * 2]
        assert (cubic_sampler(volume)(places) == 0).all()
        assert (places[0] == np.float32(far)).all()
