"""The written warp, as SimpleITK understands it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import ORIENTATIONS, affine_of, oblique_affine, smooth_displacement, textured
from vmruntime import Displacement, Grid, Transform, Volume

SHAPE = (9, 13, 11)
MAXIMUM = 255.0

ITK_DIFFERENCE = 1e-3
"""Of the intensity range; ITK resamples in float64 world coordinates from a float32 warp."""


def resampled_by_itk(folder: Path) -> NDArray[Any]:
    """`moving.nii.gz` through `warp.nii.gz` on the grid of `fixed.nii.gz`, ``(D, H, W)``."""
    sitk = pytest.importorskip("SimpleITK", reason="the test extra is not installed")
    warp = sitk.ReadImage(str(folder / "warp.nii.gz"), sitk.sitkVectorFloat64)
    moved = sitk.Resample(
        sitk.ReadImage(str(folder / "moving.nii.gz"), sitk.sitkFloat64),
        sitk.ReadImage(str(folder / "fixed.nii.gz"), sitk.sitkFloat64),
        sitk.DisplacementFieldTransform(warp),
        sitk.sitkLinear,
        0.0,
        sitk.sitkFloat64,
    )
    return np.asarray(sitk.GetArrayFromImage(moved)).T


def inside(displacement: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a voxel looks inside the moving scan; outside ITK does not blend zeros in."""
    where = displacement + np.indices(displacement.shape[1:])
    last = np.array(displacement.shape[1:]).reshape(3, 1, 1, 1) - 1
    return ((where >= 0) & (where <= last)).all(axis=0)


def check(folder: Path, fixed: NDArray[np.float64], moving: NDArray[np.float64]) -> None:
    displacement = smooth_displacement(SHAPE, 1.8)
    scan = Volume(textured(SHAPE, maximum=MAXIMUM), Grid(SHAPE, moving))
    transform = Transform.voxelwise(Displacement(displacement, Grid(SHAPE, fixed)), scan.grid)
    scan.save(folder / "moving.nii.gz")
    Volume(textured(SHAPE, 1), transform.fixed).save(folder / "fixed.nii.gz")
    transform.save(folder / "warp.nii.gz")
    found = np.abs(resampled_by_itk(folder) - transform.apply(scan).data)[inside(displacement)]
    assert found.size > 0.4 * scan.data.size
    assert found.max() < ITK_DIFFERENCE * MAXIMUM


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation(orientation: str, tmp_path: Path) -> None:
    affine = affine_of(orientation, (0.8, 1.7, 2.3))
    check(tmp_path, affine, affine)


@pytest.mark.parametrize(
    ("fixed", "moving"),
    [
        (oblique_affine(), oblique_affine()),
        (oblique_affine(), affine_of("PIR", (1.1, 0.7, 1.9), (80, -20, 300))),
        (affine_of("LIA"), oblique_affine()),
        (affine_of("RAS"), affine_of("LPS", (1, 3, 2), (-100, 50, 0))),
    ],
    ids=["oblique", "oblique-fixed", "oblique-moving", "flipped"],
)
def test_oblique_and_different_affines(
    fixed: NDArray[np.float64], moving: NDArray[np.float64], tmp_path: Path
) -> None:
    check(tmp_path, fixed, moving)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_layout(tmp_path: Path, suffix: str) -> None:
    fixed = Grid(SHAPE, oblique_affine())
    moving = Grid(SHAPE, affine_of("PIR"))
    displacement = smooth_displacement(SHAPE)
    transform = Transform.voxelwise(Displacement(displacement, fixed), moving)
    transform.save(tmp_path / f"warp{suffix}")
    image = nib.load(tmp_path / f"warp{suffix}")
    assert image.shape == (*SHAPE, 1, 3)
    assert image.header["dim"].tolist() == [5, *SHAPE, 1, 3, 1, 1]
    assert int(image.header["intent_code"]) == 1007
    assert int(image.header["qform_code"]) == int(image.header["sform_code"]) == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.get_data_dtype() == np.dtype("float32")
    # The proxy's scaling: what a reader that knows none (libnifti, ITK) sees are the values.
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    np.testing.assert_allclose(image.affine, fixed.affine, atol=1e-4)
    np.testing.assert_allclose(image.get_qform(), fixed.affine, atol=1e-3)
    values = np.asarray(image.dataobj)[:, :, :, 0]
    np.testing.assert_array_equal(values, transform.displacement_mm() * np.float32([-1, -1, 1]))


def test_saving_leaves_the_transform_alone(tmp_path: Path) -> None:
    displacement = smooth_displacement(SHAPE)
    grid = Grid(SHAPE, oblique_affine())
    transform = Transform.voxelwise(Displacement(displacement, grid), grid)
    before = transform.displacement_mm()
    transform.save(tmp_path / "warp.nii")
    np.testing.assert_array_equal(transform.displacement_mm(), before)
    np.testing.assert_array_equal(transform.displacement.data, displacement)
