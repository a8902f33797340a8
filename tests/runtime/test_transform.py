"""Transforms between a moving and a fixed grid."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from synthetic_scans import affine_of, oblique_affine, smooth_displacement, textured
from vmruntime import (
    BackendError,
    Displacement,
    Grid,
    GridMismatchError,
    OutputError,
    ScanError,
    Transform,
    Volume,
)

SHAPE = (7, 9, 5)

MILLIMETRES = 1e-4
"""float32 sums of terms up to 100 mm."""


@pytest.fixture
def moving() -> Volume:
    return Volume(textured(SHAPE), Grid(SHAPE, affine_of("PIR", (1.5, 0.9, 2.0))), None, "moving")


@pytest.fixture
def transform(moving: Volume) -> Transform:
    return Transform.voxelwise(
        Displacement(smooth_displacement(SHAPE), Grid(SHAPE, oblique_affine())), moving.grid
    )


def test_apply_puts_the_image_onto_the_fixed_grid(moving: Volume, transform: Transform) -> None:
    moved = transform.apply(moving)
    assert moved.grid is transform.fixed
    assert moved.data.dtype == np.float32
    assert not np.array_equal(moved.data, moving.data)


def test_a_whole_translation_is_exact(moving: Volume) -> None:
    field = np.zeros((3, *SHAPE), np.float32)
    field[1] = 2
    moved = Transform.voxelwise(Displacement(field, moving.grid), moving.grid).apply(
        moving, threads=2
    )
    np.testing.assert_array_equal(moved.data[:, :-2], moving.data[:, 2:])
    assert not moved.data[:, -2:].any()


def test_nearest_keeps_labels(moving: Volume, transform: Transform) -> None:
    labels = moving.with_data((moving.data > 100).astype(np.uint16) * np.uint16(12175))
    moved = transform.apply(labels, "nearest")
    assert moved.data.dtype == np.uint16
    assert set(np.unique(moved.data)) == {0, 12175}


def test_labels_on_another_grid_are_refused(moving: Volume) -> None:
    shifted = moving.grid.affine.copy()
    shifted[0, 3] += 0.5
    seg = Volume(moving.data, Grid(SHAPE, shifted), None, "seg")
    with pytest.raises(GridMismatchError, match=r"seg lies on .* 0\.5 mm away; resample it"):
        seg.require_grid(moving.grid, "moving")
    seg = Volume(moving.data[1:], Grid((6, 9, 5), shifted), None, "seg")
    with pytest.raises(GridMismatchError, match=r"seg lies on 6 x 9 x 5 .* resample it"):
        seg.require_grid(moving.grid, "moving")
    moving.require_grid(Grid(SHAPE, moving.grid.affine + 1e-5), "moving")


def test_grids_of_different_shape_are_refused(moving: Volume) -> None:
    field = Displacement(np.zeros((3, 7, 9, 6), np.float32), Grid((7, 9, 6), np.eye(4)))
    with pytest.raises(GridMismatchError, match=r"\(7, 9, 5\).*\(7, 9, 6\)"):
        Transform.voxelwise(field, moving.grid)


@pytest.mark.parametrize("shape", [(3, 7, 9, 6), (1, 3, *SHAPE), SHAPE, (2, *SHAPE)])
def test_a_displacement_that_does_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(BackendError, match="displacement"):
        Displacement(np.zeros(shape, np.float32), Grid(SHAPE, np.eye(4)))


def test_a_volume_that_does_not_fit_its_grid() -> None:
    with pytest.raises(ScanError, match="scan: data of shape"):
        Volume(np.zeros((7, 9, 6)), Grid(SHAPE, np.eye(4)), None, "scan")


def test_world_displacement(transform: Transform) -> None:
    world = transform.displacement_mm()
    assert world.dtype == np.float32
    for voxel in ((0, 0, 0), (6, 8, 4), (3, 2, 1)):
        u = transform.displacement.data[(slice(None), *voxel)]
        there = transform.moving.affine @ (*(voxel + u), 1)
        here = transform.fixed.affine @ (*voxel, 1)
        assert np.abs(world[voxel] - (there - here)[:3]).max() < MILLIMETRES


def test_world_displacement_on_one_grid_is_a_rotation_of_voxels(moving: Volume) -> None:
    field = smooth_displacement(SHAPE)
    world = Transform.voxelwise(Displacement(field, moving.grid), moving.grid).displacement_mm()
    expected = np.einsum("ij,jdhw->dhwi", moving.grid.affine[:3, :3], field.astype(np.float64))
    assert np.abs(world - expected).max() < MILLIMETRES


def test_a_moved_image_is_saved_where_it_lies(
    moving: Volume, transform: Transform, tmp_path: Path
) -> None:
    """On the fixed grid, although the header it carries is the moving scan's."""
    image = nib.Nifti1Image(moving.data, moving.grid.affine)
    image.header.set_xyzt_units("mm")
    headed = Volume(moving.data, moving.grid, image.header, "moving")
    transform.apply(headed).save(tmp_path / "moved.nii")
    saved = nib.load(tmp_path / "moved.nii")
    np.testing.assert_allclose(saved.affine, transform.fixed.affine, atol=MILLIMETRES)
    qform, code = saved.get_qform(coded=True)
    assert code > 0
    np.testing.assert_allclose(qform, transform.fixed.affine, atol=1e-3)


def test_save_needs_force(transform: Transform, tmp_path: Path) -> None:
    path = tmp_path / "warp.nii.gz"
    transform.save(path)
    with pytest.raises(OutputError, match="exists already"):
        transform.save(path)
    transform.save(path, force=True)
    with pytest.raises(OutputError, match="must end in"):
        transform.save(tmp_path / "warp.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["warp.nii.gz"]
