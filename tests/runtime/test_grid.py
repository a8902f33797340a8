"""Grids in the world."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from synthetic_scans import ORIENTATIONS, affine_of, oblique_affine
from vmruntime import Grid, ScanError
from vmruntime.grid import CORNER_TOLERANCE_MM

SHAPE = (5, 7, 11)
SIZE = (0.8, 1.5, 3.2)

EXACT = 1e-9
"""Millimetres: a few roundings of float64 at distances of 100 mm."""


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation(orientation: str) -> None:
    grid = Grid(SHAPE, affine_of(orientation, SIZE))
    assert grid.orientation == orientation
    np.testing.assert_allclose(grid.voxel_size, SIZE, rtol=EXACT)
    assert grid.describe() == f"5 x 7 x 11 {orientation} at 0.8 x 1.5 x 3.2 mm"


def test_all_orientations_are_different() -> None:
    assert len(set(ORIENTATIONS)) == 48


def test_oblique_axes() -> None:
    grid = Grid(SHAPE, oblique_affine())
    assert grid.orientation == "LSA"
    np.testing.assert_allclose(grid.voxel_size, (1.2, 2.121, 2.0), atol=0.01)


@pytest.mark.parametrize("affine", [affine_of("PIR", SIZE), oblique_affine()])
def test_corners(affine: np.ndarray) -> None:
    grid = Grid(SHAPE, affine)
    expected = [(affine @ (*index, 1))[:3] for index in product(*((0, size - 1) for size in SHAPE))]
    np.testing.assert_allclose(grid.corners, expected, atol=EXACT)


def test_offset_is_the_farthest_corner() -> None:
    affine = affine_of("RAS", (1, 1, 1))
    stretched = affine.copy()
    stretched[2, 2] = 1.1
    assert Grid(SHAPE, affine).offset_mm(Grid(SHAPE, stretched)) == pytest.approx(0.1 * 10)
    shifted = affine.copy()
    shifted[:3, 3] += (3, 4, 0)
    assert Grid(SHAPE, affine).offset_mm(Grid(SHAPE, shifted)) == pytest.approx(5)


@pytest.mark.parametrize(("factor", "same"), [(0.5, True), (0.99, True), (1.01, False)])
def test_matches_within_rounding_of_headers(factor: float, same: bool) -> None:
    moved = oblique_affine()
    moved[1, 3] += factor * CORNER_TOLERANCE_MM
    assert Grid(SHAPE, oblique_affine()).matches(Grid(SHAPE, moved)) is same


def test_matches_survives_float32() -> None:
    """A header holds single precision."""
    affine = oblique_affine()
    affine[:3, 3] += 200
    rounded = affine.astype(np.float32).astype(np.float64)
    assert Grid((256, 256, 256), affine).matches(Grid((256, 256, 256), rounded))


def test_another_shape_or_orientation_never_matches() -> None:
    grid = Grid(SHAPE, affine_of("RAS", SIZE))
    assert not grid.matches(Grid((5, 7, 12), affine_of("RAS", SIZE)))
    assert not grid.matches(Grid(SHAPE, affine_of("LAS", SIZE)))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 0), (5, 7, -1), (5, 7, 11, 1), ()])
def test_wrong_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ScanError, match="three positive sizes"):
        Grid(shape, np.eye(4))


def broken(entry: tuple[int, int], value: float) -> np.ndarray:
    affine = affine_of("LIA", SIZE)
    affine[entry] = value
    return affine


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("entry", [(0, 0), (2, 3)])
def test_affines_that_are_not_finite(entry: tuple[int, int], value: float) -> None:
    with pytest.raises(ScanError, match="finite"):
        Grid(SHAPE, broken(entry, value))


@pytest.mark.parametrize("affine", [None, np.eye(3), np.zeros((4, 4, 1)), 1.0])
def test_things_that_are_no_affine(affine: object) -> None:
    with pytest.raises(ScanError, match="4 x 4"):
        Grid(SHAPE, affine)  # type: ignore[arg-type]


def test_singular_affines() -> None:
    parallel = affine_of("LIA", SIZE)
    parallel[:3, 1] = 2 * parallel[:3, 0]
    flat = affine_of("LIA", SIZE)
    flat[:3, 2] = 0
    for affine in (parallel, flat, np.zeros((4, 4))):
        with pytest.raises(ScanError, match="singular"):
            Grid(SHAPE, affine)


@pytest.mark.parametrize("entry", [(0, 0), (0, 3)])
@pytest.mark.parametrize("value", [1e30, 1e200, 1e308])
def test_absurd_affines(entry: tuple[int, int], value: float) -> None:
    """Distances of that size would overflow on the way."""
    with pytest.raises(ScanError, match=r"singular|millimetres"):
        Grid(SHAPE, broken(entry, value))


@pytest.mark.parametrize("size", [1e-200, 1e-9])
def test_absurdly_small_voxels(size: float) -> None:
    with pytest.raises(ScanError, match="millimetres"):
        Grid(SHAPE, affine_of("RAS", (size, size, size)))


@pytest.mark.parametrize("size", [0.001, 0.05, 1.0, 20.0])
def test_microscopy_is_welcome(size: float) -> None:
    assert Grid(SHAPE, affine_of("RSA", (size, size, size))).orientation == "RSA"


def test_the_affine_is_a_frozen_copy() -> None:
    affine = np.eye(4)
    grid = Grid(SHAPE, affine)
    affine[0, 0] = 5
    assert grid.affine[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2
    assert Grid((np.int16(5), 7, 11), np.eye(4)).shape == (5, 7, 11)
