"""Where the model's grid lies around a fixed scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import (
    MODEL_SHAPE,
    MODEL_VOXEL_SIZE,
    ORIENTATIONS,
    affine_of,
    model_volume,
    oblique_affine,
)
from vmruntime import Grid, Manifest, Volume
from vmruntime.placement import (
    MARGIN,
    foreground,
    foreground_centre,
    place_model_grid,
    share_outside,
)

MILLIMETRES = 1e-9
"""float64 throughout."""

SHAPE = (13, 27, 18)


def box_scan(
    affine: NDArray[np.float64],
    bounds: tuple[tuple[int, int], ...] = ((3, 8), (10, 24), (2, 13)),
    shape: tuple[int, int, int] = SHAPE,
) -> Volume:
    """A bright box in the dark: some voxels of noise do not make a foreground."""
    data = np.random.default_rng(0).uniform(0, 3, shape).astype(np.float32)
    data[tuple(slice(*b) for b in bounds)] = 100
    return Volume(data, Grid(shape, affine), None, "box")


def middle_of(grid: Grid, voxel: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    index = (np.array(grid.shape) - 1) / 2 if voxel is None else voxel
    middle: NDArray[np.float64] = grid.affine[:3, :3] @ index + grid.affine[:3, 3]
    return middle


AFFINES = {
    **{name: affine_of(name, (1.1, 0.9, 1.4), (31, -7, 12)) for name in ORIENTATIONS[::7]},
    "oblique": oblique_affine(),
}


def test_a_scan_on_the_model_grid_keeps_it(manifest: Manifest) -> None:
    scan = model_volume(0)
    assert place_model_grid(manifest, scan) is scan.grid
    tilted = scan.grid.affine.copy()
    angle = np.radians(12)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    tilted[:3, :3] = turn @ tilted[:3, :3]
    scan = Volume(scan.data, Grid(MODEL_SHAPE, tilted))
    assert place_model_grid(manifest, scan) is scan.grid


@pytest.mark.parametrize("name", AFFINES)
def test_any_other_scan_is_centred(manifest: Manifest, name: str) -> None:
    scan = box_scan(AFFINES[name])
    model = place_model_grid(manifest, scan)
    assert manifest.grid_differences(model) == []
    assert model.shape == MODEL_SHAPE
    # Along the world's axes, whatever the scan's are.
    assert np.count_nonzero(model.affine[:3, :3]) == 3
    centre = middle_of(scan.grid, np.array([5, 16.5, 7]))
    assert np.abs(middle_of(model) - centre).max() < MILLIMETRES
    assert np.abs(foreground_centre(foreground(scan), scan.grid) - centre).max() < MILLIMETRES


@pytest.mark.parametrize("orientation", ["LIA", "RAS", "PSR"])
@pytest.mark.parametrize("name", AFFINES)
def test_a_model_of_any_shape(manifest: Manifest, name: str, orientation: str) -> None:
    """Multiples of the stride, just large enough for the foreground and its margin."""
    size = (1.5, 2.0, 1.2)
    free = replace(manifest, shape=None, stride=8, orientation=orientation, voxel_size=size)
    scan = box_scan(AFFINES[name])
    model = place_model_grid(free, scan)
    assert free.grid_differences(model) == []
    assert all(n % 8 == 0 for n in model.shape)
    voxels = np.argwhere(foreground(scan))
    to_model = np.linalg.inv(model.affine) @ scan.grid.affine
    places = voxels @ to_model[:3, :3].T + to_model[:3, 3]
    assert (places.min(axis=0) >= MARGIN - 0.5).all()
    assert (places.max(axis=0) <= np.array(model.shape) - 1 - MARGIN + 0.5).all()
    # No larger than needed: one stride less would not hold box and margin.
    corners = np.array([[a, b, c] for a in (3, 8) for b in (10, 24) for c in (2, 13)])
    extent = np.ptp(corners @ to_model[:3, :3].T, axis=0) + 2 * MARGIN
    assert (np.array(model.shape) - 8 < extent + 1e-9).all()


def test_a_scan_that_a_free_model_takes_as_it_is(manifest: Manifest) -> None:
    free = replace(manifest, shape=None)
    scan = model_volume(0)
    assert place_model_grid(free, scan) is scan.grid
    shape = (16, 32, 40)  # no multiple of 16
    cut = Volume(scan.data[:, :, :40], Grid(shape, scan.grid.affine))
    assert place_model_grid(free, cut).shape != shape


def test_voxel_size_and_orientation_are_the_models(manifest: Manifest) -> None:
    model = place_model_grid(manifest, box_scan(oblique_affine()))
    assert model.orientation == manifest.orientation
    np.testing.assert_allclose(model.voxel_size, MODEL_VOXEL_SIZE, rtol=1e-12)


# Foreground --------------------------------------------------------------------------------------


def test_the_foreground() -> None:
    scan = box_scan(affine_of())
    mask = foreground(scan)
    assert mask.sum() == 5 * 14 * 11
    assert foreground(scan.with_data(scan.data * 1e-3)).sum() == mask.sum()
    outlier = scan.data.copy()
    outlier[0, 0, 0] = 1e6  # a few hot voxels do not change what is bright
    assert foreground(scan.with_data(outlier)).sum() == mask.sum() + 1


def test_a_foreground_of_negative_values() -> None:
    data = np.full(SHAPE, -1000, np.float32)
    data[4:6] = -20
    assert foreground(Volume(data, Grid(SHAPE, affine_of()))).sum() == 2 * 27 * 18


def test_no_foreground_has_its_centre_at_the_grids() -> None:
    grid = Grid(SHAPE, oblique_affine())
    centre = foreground_centre(np.zeros(SHAPE, bool), grid)
    assert np.abs(centre - middle_of(grid)).max() < MILLIMETRES
    assert share_outside(np.zeros(SHAPE, bool), grid, grid, np.eye(4)) == 0


@pytest.mark.parametrize("name", ["LIA", "oblique"])
def test_the_share_outside(name: str) -> None:
    affine = affine_of() if name == "LIA" else oblique_affine()
    grid = Grid(SHAPE, affine)
    mask = np.zeros(SHAPE, bool)
    mask[2:12, 5:9, 3:4] = True
    assert share_outside(mask, grid, grid, np.eye(4)) == 0
    half = grid.box([(0, 7), (0, 27), (0, 18)])
    assert share_outside(mask, grid, half, np.eye(4)) == pytest.approx(0.5)
    # The same after both were moved by the same affine.
    shift = np.eye(4)
    shift[:3, 3] = 40, -3, 9
    moved = Grid(half.shape, shift @ half.affine)
    assert share_outside(mask, grid, moved, shift) == pytest.approx(0.5)
    assert share_outside(mask, grid, moved, np.eye(4)) == 1


def test_the_share_outside_of_many_voxels_is_sampled() -> None:
    shape = (70, 80, 60)
    grid = Grid(shape, affine_of())
    part = grid.box([(0, 52), (0, 80), (0, 60)])
    found = share_outside(np.ones(shape, bool), grid, part, np.eye(4))
    assert found == pytest.approx(18 / 70, abs=1e-3)
