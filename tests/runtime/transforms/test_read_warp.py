"""Displacement fields: what SimpleITK, ANTs and vm-infer write is read, what looks alike is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from synthetic_scans import smooth_displacement
from vmruntime import Displacement, Transform
from vmruntime.errors import TransformError
from vmruntime.io.itk import read_warp, write_warp
from worlds import FIXED, GRIDS, MOVING, itk_field, points, through_itk, warp, written

HEADER_MM = 1e-4
"""The header's affine is float32, over places some 100 mm from the origin and slopes below 1."""


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("name", GRIDS)
def test_reads_what_itk_writes(sitk: Any, tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"warp{suffix}"
    image = itk_field(sitk, warp(GRIDS[name]))
    sitk.WriteImage(image, str(path))
    step = read_warp(path)
    assert step.displacement_mm.dtype == np.float32
    assert step.grid.matches(GRIDS[name])
    np.testing.assert_allclose(
        step.displacement_mm, warp(GRIDS[name]).displacement_mm, atol=HEADER_MM
    )
    transform = sitk.DisplacementFieldTransform(image)
    places = points(GRIDS[name])
    np.testing.assert_allclose(step.map(places), through_itk(transform, places), atol=HEADER_MM)


def test_reads_what_is_written(tmp_path: Path) -> None:
    transform = Transform.voxelwise(Displacement(smooth_displacement(FIXED.shape), FIXED), FIXED)
    write_warp(tmp_path / "warp.nii.gz", transform)
    step = read_warp(tmp_path / "warp.nii.gz")
    np.testing.assert_array_equal(step.displacement_mm, transform.displacement_mm())
    assert step.grid.matches(FIXED)


def test_reads_what_ants_writes(ants: Any, tmp_path: Path) -> None:
    step = warp()
    vectors = step.displacement_mm * np.float32([-1, -1, 1])
    grid = step.grid
    direction = np.array([[-1], [-1], [1]]) * grid.affine[:3, :3] / grid.voxel_size
    image = ants.from_numpy(
        vectors,
        origin=(grid.affine[:3, 3] * [-1, -1, 1]).tolist(),
        spacing=list(grid.voxel_size),
        direction=direction,
        has_components=True,
    )
    ants.image_write(image, str(tmp_path / "ants.nii.gz"))
    found = read_warp(tmp_path / "ants.nii.gz")
    np.testing.assert_allclose(found.displacement_mm, step.displacement_mm, atol=HEADER_MM)
    assert found.grid.matches(grid)


def look_alike(path: Path, shape: tuple[int, ...], intent: int) -> Path:
    image = nib.Nifti1Image(np.zeros(shape, np.float32), FIXED.affine)
    image.header.set_intent(intent, allow_unknown=True)
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    ("shape", "intent"),
    [
        ((4, 5, 6, 3), 1007),
        ((4, 5, 6, 3), 0),
        ((4, 5, 6, 1, 3), 0),
        ((4, 5, 6, 1, 3), 1006),
        ((4, 5, 6, 1, 3), 2006),
        ((4, 5, 6, 1, 2), 1007),
        ((4, 5, 6, 3, 1), 1007),
        ((4, 5, 6), 1007),
    ],
)
def test_look_alikes_are_refused(tmp_path: Path, shape: tuple[int, ...], intent: int) -> None:
    with pytest.raises(TransformError, match="intent 1007"):
        read_warp(look_alike(tmp_path / "alike.nii.gz", shape, intent))


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(TransformError, match="no such file"):
        read_warp(tmp_path / "none.nii.gz")
    for content in (b"", b"text", b"\x1f\x8b" + bytes(30)):
        with pytest.raises(TransformError, match="cannot be read"):
            read_warp(written(tmp_path / "bad.nii.gz", content))
    Path(tmp_path / "bad.nii.gz").unlink()
    path = look_alike(tmp_path / "whole.nii", (4, 5, 6, 1, 3), 1007)
    with pytest.raises(TransformError, match="truncated"):
        read_warp(written(tmp_path / "cut.nii", path.read_bytes()[:-100]))
    image = nib.Nifti1Image(np.full((4, 5, 6, 1, 3), np.nan, np.float32), MOVING.affine)
    image.header.set_intent(1007)
    nib.save(image, tmp_path / "nan.nii")
    with pytest.raises(TransformError, match="NaN"):
        read_warp(tmp_path / "nan.nii")
    nib.save(nib.MGHImage(np.zeros((4, 5, 6), np.float32), np.eye(4)), tmp_path / "scan.mgz")
    with pytest.raises(TransformError, match="intent 1007"):
        read_warp(tmp_path / "scan.mgz")
