"""Volume change and folding of whole transforms, and whether an inverse leads back."""

from __future__ import annotations

import numpy as np
import pytest

from synthetic_scans import affine_of, oblique_affine, waves
from vmruntime import Displacement, Grid, Transform, Volume
from vmruntime.regularity import jacobian_on, measure_regularity, round_trip

SHAPE = (18, 15, 21)

FLOAT32 = 1e-5
"""Relative, of products of a few float32 numbers."""

DIFFERENCES = 0.03
"""Central differences over two voxels and a linear look-up, of a field that changes over some
twenty voxels."""


def centred(shape: tuple[int, int, int], affine: np.ndarray) -> Grid:
    moved = affine.copy()
    moved[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, moved)


MODEL = centred(SHAPE, affine_of("LIA", (1.5, 1.5, 1.5)))
FIXED = centred((9, 11, 8), oblique_affine())
SHEAR = np.array([[1.1, 0.1, 0, 3], [-0.05, 0.9, 0.2, -2], [0.1, 0, 1.3, 1], [0, 0, 0, 1.0]])


def stretched(factors: tuple[float, float, float]) -> Displacement:
    """Model voxels pulled apart by a factor along each axis."""
    index = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    steps = np.array(factors).reshape(3, 1, 1, 1) - 1
    return Displacement((steps * index).astype(np.float32), MODEL)


def test_the_affine_alone() -> None:
    scale = np.linalg.det(SHEAR[:3, :3])
    found = jacobian_on(Transform(FIXED, MODEL, SHEAR))
    assert found.grid is FIXED
    assert found.data.dtype == np.float32
    np.testing.assert_allclose(found.data, scale, rtol=FLOAT32)


def test_a_stretch_times_the_affine() -> None:
    inner = centred((5, 6, 4), oblique_affine())
    transform = Transform(inner, MODEL, SHEAR, stretched((1.2, 0.8, 1.1)))
    expected = 1.2 * 0.8 * 1.1 * np.linalg.det(SHEAR[:3, :3])
    np.testing.assert_allclose(jacobian_on(transform, threads=2).data, expected, rtol=FLOAT32)


def test_a_flip_is_negative() -> None:
    flip = np.diag([-1.0, 1, 1, 1])
    assert (jacobian_on(Transform(FIXED, MODEL, flip)).data == -1).all()


def test_beyond_the_model_grid_it_is_the_affines() -> None:
    wide = centred((15, 14, 13), affine_of("RAS", (6, 6, 6)))
    transform = Transform(wide, MODEL, SHEAR, stretched((1.2, 0.8, 1.1)))
    data = jacobian_on(transform).data
    scale = np.linalg.det(SHEAR[:3, :3])
    np.testing.assert_allclose(data[0], scale, rtol=FLOAT32)
    np.testing.assert_allclose(data[:, :, -1], scale, rtol=FLOAT32)
    np.testing.assert_allclose(data[7, 7, 6], 1.056 * scale, rtol=FLOAT32)


def test_it_is_the_derivative_of_the_map() -> None:
    """Against differences of `map_points`, in the interior of the model's grid."""
    inner = centred((7, 6, 8), affine_of("ASR", (1.9, 2.2, 1.4)))
    transform = Transform(inner, MODEL, SHEAR, Displacement(waves(SHAPE, 1.2, 20), MODEL))
    found = jacobian_on(transform).data
    places = np.argwhere(np.ones(inner.shape)) @ inner.affine[:3, :3].T + inner.affine[:3, 3]
    step = 1.5  # one model voxel, as the central differences take
    columns = [
        (transform.map_points(places + d) - transform.map_points(places - d)) / (2 * step)
        for d in step * np.eye(3)
    ]
    expected = np.linalg.det(np.stack(columns, axis=-1)).reshape(inner.shape)
    assert np.ptp(expected) > 0.5
    assert np.abs(found - expected).max() < DIFFERENCES * np.abs(expected).max()


def folded() -> Displacement:
    """Folds in one slab of three planes: positions 6 7 8 there run backward."""
    field = np.zeros((3, *SHAPE), np.float32)
    field[0, 8], field[0, 10] = 2, -2
    return Displacement(field, MODEL)


def test_folding_on_the_model_grid() -> None:
    found = measure_regularity(folded(), MODEL)
    assert found.folding_voxels == SHAPE[1] * SHAPE[2]
    assert found.folding_percent == pytest.approx(100 / SHAPE[0])


def test_folding_is_counted_in_voxels_of_the_fixed_grid() -> None:
    # Half the voxel size along every axis: eight times the voxels, the same share.
    fine = Grid(tuple(2 * n for n in SHAPE), MODEL.affine @ np.diag([0.5, 0.5, 0.5, 1.0]))
    found = measure_regularity(folded(), fine, threads=2)
    # Halves round to even voxels, so that a plane of the model gives one to three fine ones.
    planes = found.folding_voxels / (4 * SHAPE[1] * SHAPE[2])
    assert 0.9 <= planes <= 3.1
    assert found.folding_percent == pytest.approx(100 * found.folding_voxels / np.prod(fine.shape))
    away = Grid(FIXED.shape, np.diag([1, 1, 1, 1.0]) @ affine_of(origin=(500, 0, 0)))
    assert measure_regularity(folded(), away).folding_voxels == 0


def test_the_spread_is_measured_on_the_model_grid() -> None:
    displacement = Displacement(waves(SHAPE, 1.0, 20), MODEL)
    one, other = (measure_regularity(displacement, grid) for grid in (MODEL, FIXED))
    assert one.sd_log_jacobian == other.sd_log_jacobian > 0.05
    assert one.folding_voxels == other.folding_voxels == 0


def test_nan_is_folding() -> None:
    field = np.zeros((3, *SHAPE), np.float32)
    field[1, 4, 5, 6] = np.nan
    displacement = Displacement(field, MODEL)
    assert measure_regularity(displacement, MODEL).folding_voxels == 6


def test_there_and_back() -> None:
    shift = np.eye(4)
    shift[:3, 3] = 3, 0, 4
    data = np.zeros(SHAPE, np.float32)
    data[5:9, 4:8, 6:12] = 1
    fixed = Volume(data, MODEL)
    forward = Transform(MODEL, MODEL, SHEAR)
    exact = Transform(MODEL, MODEL, np.linalg.inv(SHEAR))
    found = round_trip(forward, exact, fixed)
    assert found.max_mm < 1e-9
    off = Transform(MODEL, MODEL, shift @ np.linalg.inv(SHEAR))
    found = round_trip(forward, off, fixed)
    assert found.mean_mm == pytest.approx(5)
    assert found.p99_mm == pytest.approx(5)
    assert found.max_mm == pytest.approx(5)
