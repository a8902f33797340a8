"""Chains of transforms, against SimpleITK and ANTs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import parcellation, textured
from vmruntime import Grid, Volume
from vmruntime.chain import AffineStep, Chain, WarpStep
from vmruntime.errors import TransformError
from vmruntime.io.affine_files import write_affine
from vmruntime.io.chain_files import read_chain
from worlds import (
    FIXED,
    GRIDS,
    MOVING,
    applied,
    chain,
    itk_field,
    matrix,
    points,
    through_itk,
    warp,
    written,
)

ITK_MM = 1e-5
"""The field is float32 here and float64 in ITK; places are some 100 mm from the origin."""

ITK_DIFFERENCE = 1e-5
"""Of the intensity range: voxel coordinates reach the samplers in float32."""


def itk_chain(sitk: Any, steps: Chain) -> Any:
    """The chain as SimpleITK's composite, which applies the last transform first."""
    parts = []
    for step in reversed(steps.steps):
        if isinstance(step, WarpStep):
            parts.append(sitk.DisplacementFieldTransform(itk_field(sitk, step)))
        else:
            flip = np.diag([-1.0, -1, 1, 1])
            lps = flip @ step.matrix @ flip
            affine = sitk.AffineTransform(3)
            affine.SetMatrix(lps[:3, :3].ravel().tolist())
            affine.SetTranslation(lps[:3, 3].tolist())
            parts.append(affine)
    return sitk.CompositeTransform(parts)


def voxels_in_moving(steps: Chain, fixed: Grid, moving: Grid) -> NDArray[np.float64]:
    """Where each voxel of the fixed grid looks, in voxels of the moving one, ``(D, H, W, 3)``."""
    index = np.moveaxis(np.indices(fixed.shape, float), 0, -1)
    return applied(np.linalg.inv(moving.affine), steps.map(applied(fixed.affine, index)))


def inside(steps: Chain, fixed: Grid, moving: Grid) -> NDArray[np.bool_]:
    """Which voxels look inside; outside, ITK does not blend zeros in."""
    where = voxels_in_moving(steps, fixed, moving)
    return ((where >= 0) & (where <= np.array(moving.shape) - 1)).all(axis=-1)


@pytest.mark.parametrize("name", GRIDS)
def test_a_warp_is_itks_inside_and_outside(sitk: Any, name: str) -> None:
    """Up to three voxels outside the field, where it is continued as zero."""
    step = warp(GRIDS[name])
    places = points(GRIDS[name], margin=3, count=500)
    transform = sitk.DisplacementFieldTransform(itk_field(sitk, step))
    np.testing.assert_allclose(step.map(places), through_itk(transform, places), atol=ITK_MM)
    moved = np.abs(step.map(places) - places).max(axis=1) > 0
    assert 0.05 < moved.mean() < 0.8


def test_a_warp_of_a_single_plane(sitk: Any) -> None:
    field = np.random.default_rng(0).normal(0, 1, (1, 9, 7, 3)).astype(np.float32)
    step = WarpStep(field, Grid((1, 9, 7), FIXED.affine))
    places = points(step.grid, margin=0.9)
    transform = sitk.DisplacementFieldTransform(itk_field(sitk, step))
    np.testing.assert_allclose(step.map(places), through_itk(transform, places), atol=ITK_MM)


def test_the_order_of_the_steps(sitk: Any) -> None:
    """``(warp, affine)`` is ``affine(warp(x))``."""
    places = points()
    by_hand = applied(matrix(), warp().map(places))
    np.testing.assert_allclose(chain().map(places), by_hand, atol=1e-12)
    transform = itk_chain(sitk, chain())
    np.testing.assert_allclose(by_hand, through_itk(transform, places), atol=ITK_MM)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 5, 3), (0, 3)])
def test_any_shape_of_points(shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape[:-1]))
    places = points(count=count)
    found = chain().map(places.reshape(shape))
    assert found.shape == shape
    np.testing.assert_array_equal(found.reshape(-1, 3), chain().map(places))


def test_a_chain_of_nothing_is_the_identity() -> None:
    places = points()
    np.testing.assert_array_equal(Chain(()).map(places), places)


def test_points_are_left_alone() -> None:
    places = points()
    chain().map(places)
    np.testing.assert_array_equal(places, points())


@pytest.mark.parametrize("fixed", GRIDS)
def test_resampling_is_itks(sitk: Any, tmp_path: Path, fixed: str) -> None:
    """Onto a grid that is neither the warp's nor the image's."""
    grid, steps = GRIDS[fixed], chain()
    scan = Volume(textured(MOVING.shape), MOVING)
    scan.save(tmp_path / "moving.nii")
    Volume(np.zeros(grid.shape, np.uint8), grid).save(tmp_path / "fixed.nii")
    expected = sitk.Resample(
        sitk.ReadImage(str(tmp_path / "moving.nii"), sitk.sitkFloat64),
        sitk.ReadImage(str(tmp_path / "fixed.nii"), sitk.sitkFloat64),
        itk_chain(sitk, steps),
        sitk.sitkLinear,
    )
    moved = steps.resample(scan, grid, threads=2)
    assert moved.grid is grid
    assert moved.data.dtype == np.float32
    difference = np.abs(moved.data - sitk.GetArrayFromImage(expected).T)
    where = inside(steps, grid, MOVING)
    if where.any():
        # Header affines are float32, which moves a voxel by up to 1e-5 of its size.
        assert difference[where].max() < 10 * ITK_DIFFERENCE * 255
    far = voxels_in_moving(steps, grid, MOVING)
    outside = ((far < -1) | (far > np.array(MOVING.shape))).any(axis=-1)
    assert (moved.data[outside] == 0).all()


def test_slabs_and_threads_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    from vmruntime import sampling

    scan = Volume(textured(MOVING.shape), MOVING)
    whole = chain().resample(scan, FIXED)
    monkeypatch.setattr(sampling, "VOXELS_PER_SLAB", 1)
    np.testing.assert_array_equal(chain().resample(scan, FIXED, threads=3).data, whole.data)


@pytest.mark.parametrize("interpolation", ["nearest", "label"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.int64])
def test_labels_keep_type_and_values(interpolation: Any, kind: type) -> None:
    values = (0, 2, 41, 200)
    labels = Volume(parcellation(MOVING.shape, values).astype(kind), MOVING, None, "labels")
    moved = chain().resample(labels, FIXED, interpolation)
    assert moved.data.dtype == kind
    assert set(np.unique(moved.data)) == set(values)
    assert moved.name == "labels"


def test_the_confidence_lies_on_the_same_grid() -> None:
    labels = Volume(parcellation(MOVING.shape), MOVING)
    moved, confidence = chain().resample_labels(labels, FIXED, threads=2)
    assert confidence.grid is moved.grid is FIXED
    assert confidence.data.dtype == np.float32
    # Eight corners of different labels leave the winner at least an eighth.
    assert 0.125 <= confidence.data.min() < 0.9
    assert confidence.data.max() == 1


def test_identity_changes_nothing() -> None:
    scan = Volume(textured(FIXED.shape), FIXED)
    identity = Chain((AffineStep(np.eye(4)),))
    for interpolation in ("linear", "cubic"):
        moved = identity.resample(scan, FIXED, interpolation)  # type: ignore[arg-type]
        # The way through the world costs some 1e-6 voxel.
        np.testing.assert_allclose(moved.data, scan.data, atol=1e-5 * 255)


def test_a_field_that_does_not_fit_its_grid() -> None:
    with pytest.raises(TransformError, match=r"\(D, H, W, 3\)"):
        WarpStep(np.zeros((3, *FIXED.shape), np.float32), FIXED)


def test_matrix_of_a_chain() -> None:
    one, two = AffineStep(matrix(1)), AffineStep(matrix(2))
    found = Chain((one, two)).matrix("two")
    np.testing.assert_allclose(applied(found, points()), Chain((one, two)).map(points()))
    with pytest.raises(TransformError, match="both: holds a displacement field"):
        chain().matrix("both")


@pytest.fixture
def files(sitk: Any, tmp_path: Path) -> dict[str, Path]:
    """The chain as a warp and an affine, and as a composite; beside them images."""
    pytest.importorskip("h5py", reason="the h5 extra is not installed")
    from vmruntime.io.itk_composite import write_composite

    sitk.WriteImage(itk_field(sitk, warp()), str(tmp_path / "warp.nii.gz"))
    write_affine(tmp_path / "affine.txt", matrix())
    paths = {name: tmp_path / name for name in ("warp.nii.gz", "affine.txt", "both.h5")}
    write_composite(paths["both.h5"], chain())
    Volume(textured(MOVING.shape), MOVING).save(tmp_path / "moving.nii.gz")
    Volume(parcellation(MOVING.shape).astype(np.int32), MOVING).save(tmp_path / "labels.nii.gz")
    Volume(textured(FIXED.shape), FIXED).save(tmp_path / "fixed.nii.gz")
    return paths


def test_reading_a_chain(files: dict[str, Path]) -> None:
    steps = read_chain([files["warp.nii.gz"], files["affine.txt"]]).steps
    assert isinstance(steps[0], WarpStep)
    assert isinstance(steps[1], AffineStep)
    np.testing.assert_allclose(steps[1].matrix, matrix(), atol=1e-12)
    parts = read_chain([files["both.h5"]]).steps
    assert [type(step) for step in parts] == [WarpStep, AffineStep]
    twice = read_chain([files["affine.txt"], files["both.h5"]])
    assert len(twice.steps) == 3


def test_inverting(files: dict[str, Path]) -> None:
    there_and_back = read_chain([files["affine.txt"]] * 2, [False, True])
    np.testing.assert_allclose(there_and_back.map(points()), points(), atol=1e-9)
    for name in ("warp.nii.gz", "both.h5"):
        with pytest.raises(TransformError, match="--inverse-warp"):
            read_chain([files[name]], [True])


def test_an_fsl_matrix_stands_alone(tmp_path: Path, files: dict[str, Path]) -> None:
    write_affine(tmp_path / "flirt.mat", matrix(), moving=MOVING, fixed=FIXED)
    grids = {"moving": MOVING, "fixed": FIXED}
    found = read_chain([tmp_path / "flirt.mat"], **grids)
    np.testing.assert_allclose(found.map(points()), applied(matrix(), points()), atol=1e-6)
    # The inverse of the same file carries the fixed scan onto the moving one.
    back = read_chain([tmp_path / "flirt.mat"], [True], moving=FIXED, fixed=MOVING)
    np.testing.assert_allclose(back.map(found.map(points())), points(), atol=1e-6)
    with pytest.raises(TransformError, match="alone"):
        read_chain([files["warp.nii.gz"], tmp_path / "flirt.mat"], **grids)


def test_reading_a_chain_refuses(tmp_path: Path) -> None:
    for name in ("none.nii.gz", "none.h5", "none.txt"):
        with pytest.raises(TransformError, match="no such file"):
            read_chain([tmp_path / name])
    with pytest.raises(TransformError, match="cannot be read"):
        read_chain([written(tmp_path / "bad.nii", b"nothing")])


@pytest.mark.parametrize("names", [("warp.nii.gz", "affine.txt"), ("both.h5",)])
@pytest.mark.parametrize("interpolation", ["linear", "label"])
def test_resampling_is_ants(
    ants: Any,
    tmp_path: Path,
    files: dict[str, Path],
    names: tuple[str, ...],
    interpolation: Any,
) -> None:
    source = "moving.nii.gz" if interpolation == "linear" else "labels.nii.gz"
    moving = ants.image_read(str(tmp_path / source))
    found = ants.apply_transforms(
        fixed=ants.image_read(str(tmp_path / "fixed.nii.gz")),
        moving=moving,
        transformlist=[str(files[name]) for name in names],
        interpolator="linear" if interpolation == "linear" else "genericLabel",
    ).numpy()
    steps = read_chain([files[name] for name in names])
    data = moving.numpy().astype(np.float32 if interpolation == "linear" else np.int32)
    moved = steps.resample(Volume(data, MOVING), FIXED, interpolation)
    where = inside(steps, FIXED, MOVING)
    assert where.sum() > 200
    if interpolation == "linear":
        # ANTsPy transforms in single precision.
        assert np.abs(moved.data - found)[where].max() < 1e-4 * 255
    else:
        # One voxel in 10,000 is less than one here: all of them.
        np.testing.assert_array_equal(moved.data[where], found[where])
