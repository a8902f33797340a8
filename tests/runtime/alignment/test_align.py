"""Alignment of phantoms whose true affine is known, on any grid and from any start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import ORIENTATIONS
from vmruntime import Grid, Volume
from vmruntime.alignment import align
from vmruntime.alignment.rotations import rotation_about

Build = Callable[..., Any]

SAME_MM = 1.0
"""At the corners of the field of view, where an error is two to three times that in the brain."""

ON_OTHER_GRID_MM = 1.5
"""The same phantom sampled at 4 mm on another grid: partial volumes differ."""

NOISY_MM = 6.0
"""At the corners, with noise as strong as the contrast of the phantom's parts."""

IDENTITY = np.eye(4)


@pytest.fixture(scope="module")
def fixed(phantom: Build) -> Volume:
    return phantom()


@pytest.fixture(scope="module")
def moving(phantom: Build) -> Volume:
    return phantom(subject=1)


@pytest.fixture(scope="module")
def unperturbed(moving: Volume, fixed: Volume) -> NDArray[np.float64]:
    return align(moving, fixed).matrix


def pose(
    degrees: float = 0.0,
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0),
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
    shear: float = 0.0,
) -> NDArray[np.float64]:
    unit = np.array(axis) / np.linalg.norm(axis)
    sheared = np.eye(3) + shear * np.triu(np.ones((3, 3)), 1)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_about(np.radians(degrees) * unit) @ np.diag(scale) @ sheared
    matrix[:3, 3] = translation
    return matrix


def corner_error(found: NDArray[np.float64], expected: NDArray[np.float64], grid: Grid) -> float:
    """Largest distance in mm at the corners of a grid."""
    difference = found - expected
    return float(
        np.linalg.norm(grid.corners @ difference[:3, :3].T + difference[:3, 3], axis=1).max()
    )


def renamed(volume: Volume, change: NDArray[np.float64], gain: float = 1.0) -> Volume:
    """The same voxels with another header."""
    grid = Grid(volume.grid.shape, change @ volume.grid.affine)
    return Volume(volume.data * np.float32(gain), grid)


@pytest.mark.parametrize(
    ("change", "gain"),
    [
        (pose(45, (1, 0.2, -0.4), (40, -35, 20)), 0.2),
        (pose(-45, (0, 1, 1), (-20, 10, -55), (0.8, 1.25, 1.0), 0.1), 5.0),
        (pose(44, (0.3, -1, 0.2), (5, 59, 0), (1.25, 1.25, 1.25), -0.1), 0.5),
        (pose(30, (-1, 0.5, 2), (0, 0, 60), (0.8, 0.8, 0.8), 0.1), 1.0),
    ],
)
def test_undoes_a_perturbed_header(
    moving: Volume,
    fixed: Volume,
    unperturbed: NDArray[np.float64],
    change: NDArray[np.float64],
    gain: float,
) -> None:
    result = align(renamed(moving, change, gain), fixed)
    assert result.plausible, result.reason
    undone = np.linalg.inv(change) @ result.matrix
    assert corner_error(undone, unperturbed, fixed.grid) < SAME_MM


@pytest.mark.parametrize("degrees", [90, 135, 180])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (1, -1, 1)])
def test_full_search_finds_any_rotation(
    moving: Volume,
    fixed: Volume,
    unperturbed: NDArray[np.float64],
    degrees: float,
    axis: tuple[float, float, float],
) -> None:
    change = pose(degrees, axis, (15, -20, 10))
    result = align(renamed(moving, change), fixed, search="full")
    undone = np.linalg.inv(change) @ result.matrix
    assert corner_error(undone, unperturbed, fixed.grid) < SAME_MM


def test_reports_the_pose_that_was_put_in(fixed: Volume) -> None:
    change = pose(20, (0, 0, 1), (11, -7, 5), (1.1, 1.1, 1.1))
    result = align(renamed(fixed, change), fixed)
    assert corner_error(result.matrix, change, fixed.grid) < SAME_MM
    assert result.rotation_degrees == pytest.approx(20, abs=0.1)
    assert result.scale == pytest.approx((1.1, 1.1, 1.1), abs=0.005)
    assert result.correlation > 0.99
    assert result.foreground_overlap > 0.95
    assert result.fixed_outside == 0
    assert result.warnings == ()
    assert result.plausible
    assert not result.reason


def test_translation_is_that_of_the_foreground(fixed: Volume) -> None:
    """Not the last column of the matrix, which depends on where the world has its origin."""
    to_moving = pose(translation=(11, -7, 5))
    far = pose(translation=(100, 0, 0))
    turn = pose(10, (0, 0, 1))
    # The phantom's foreground centre is within some mm of its origin.
    change = far @ turn @ to_moving @ np.linalg.inv(far)
    result = align(renamed(renamed(fixed, far), change), renamed(fixed, far))
    expected = turn[:3, :3] @ (11, -7, 5)
    assert result.translation_mm == pytest.approx(expected, abs=3)


@pytest.fixture(scope="module")
def coarse(phantom: Build, centred: Build) -> Volume:
    return phantom((44, 53, 50), centred((44, 53, 50), (4.0, 4.0, 4.0)))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation(
    phantom: Build, centred: Build, coarse: Volume, orientation: str
) -> None:
    shape = (47, 51, 59)
    subject = phantom(shape, centred(shape, (3.9, 4.1, 3.7), orientation))
    error = corner_error(align(subject, coarse).matrix, IDENTITY, coarse.grid)
    assert error < ON_OTHER_GRID_MM


@pytest.mark.parametrize(
    ("shape", "voxel_size"),
    [((101, 119, 33), (1.7, 1.7, 6.0)), ((150, 30, 90), (1.3, 7.0, 2.2))],
)
def test_oblique_anisotropic(
    phantom: Build,
    centred: Build,
    fixed: Volume,
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float],
) -> None:
    affine = centred(shape, voxel_size, "PSR")
    turned = pose(25, (1, 1, 0.5)) @ affine
    for grid in (affine, turned):
        result = align(phantom(shape, grid), fixed)
        # Slices of 6 and 7 mm blur the phantom along one axis.
        assert corner_error(result.matrix, IDENTITY, fixed.grid) < 3


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", ">f4", "<f8"])
def test_any_type_gives_the_same(moving: Volume, fixed: Volume, dtype: str) -> None:
    whole = moving.with_data(np.rint(moving.data * (255 / moving.data.max())))
    expected = align(whole, fixed).matrix
    found = align(whole.with_data(whole.data.astype(dtype)), fixed).matrix
    # Sums in another type round differently.
    assert corner_error(found, expected, fixed.grid) < 0.05


def test_any_memory_layout_gives_the_same(moving: Volume, fixed: Volume) -> None:
    expected = align(moving, fixed).matrix
    flipped = np.ascontiguousarray(moving.data[::-1, :, ::-1])[::-1, :, ::-1]
    for data in (np.asfortranarray(moving.data), flipped):
        found = align(moving.with_data(data), fixed).matrix
        assert corner_error(found, expected, fixed.grid) < SAME_MM


def test_is_deterministic(moving: Volume, fixed: Volume) -> None:
    first = align(moving, fixed)
    second = align(moving, fixed, threads=2)
    assert np.array_equal(first.matrix, second.matrix)
    assert first.correlation == second.correlation


def test_leaves_the_scans_alone(moving: Volume, fixed: Volume) -> None:
    before = moving.data.copy(), fixed.data.copy()
    align(moving, fixed)
    assert np.array_equal(moving.data, before[0])
    assert np.array_equal(fixed.data, before[1])


@pytest.mark.parametrize("which", ["moving", "both"])
def test_background_noise_of_15_percent(phantom: Build, centred: Build, which: str) -> None:
    shape = (87, 105, 99)
    fixed = phantom(shape, centred(shape, (2.0, 2.0, 2.0)))
    change = pose(30, (0.2, 1, -0.4), (20, -30, 10))
    moving = renamed(fixed, change)
    random = np.random.default_rng(4)

    def noisy(volume: Volume) -> Volume:
        level = 0.15 * volume.data.max()
        parts = random.normal(0, level, (2, *volume.data.shape))
        magnitude = np.hypot(volume.data + parts[0], parts[1])
        return volume.with_data(magnitude.astype(np.float32))

    result = align(noisy(moving), noisy(fixed) if which == "both" else fixed)
    assert result.plausible, result.reason
    assert corner_error(result.matrix, change, fixed.grid) < NOISY_MM


def test_small_things_get_a_finer_pyramid(moving: Volume, fixed: Volume) -> None:
    """A mouse: a tenth of the size in both worlds."""
    tenth = np.diag([0.1, 0.1, 0.1, 1.0])
    expected = align(moving, fixed).matrix
    found = align(renamed(moving, tenth), renamed(fixed, tenth)).matrix
    back = np.linalg.inv(tenth) @ found @ tenth
    assert corner_error(back, expected, fixed.grid) < SAME_MM
