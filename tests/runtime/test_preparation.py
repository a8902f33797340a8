"""Scans of any grid through the Registrar, around an engine whose displacement is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from fake_backend import FakeBackend, translation
from synthetic_scans import (
    MODEL_SHAPE,
    ORIENTATIONS,
    affine_of,
    model_volume,
    oblique_affine,
    parcellation,
    textured,
    waves,
)
from vmruntime import Grid, GridMismatchError, Manifest, Registrar, ScanError, Volume
from vmruntime.errors import AlignmentError, TransformError
from vmruntime.io.affine_files import write_affine

Build = Callable[..., Registrar]

INTENSITY = 2e-4
"""Of 255: two ways of composing the same map in float32, times the slope between voxels."""

CORNER_MM = 1.0
"""Issue 3: where an alignment must bring the corners of the foreground."""

WHOLE = translation(2, -1, 3)

SHEAR = np.array(
    [[0.98, 0.06, -0.03, 2.1], [-0.05, 1.04, 0.08, -1.3], [0.04, -0.07, 0.95, 0.8], [0, 0, 0, 1.0]]
)


def centred(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Grid:
    """A grid with these axes around the world's origin."""
    moved = affine.copy()
    moved[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, moved)


def reoriented(volume: Volume, orientation: str) -> Volume:
    """The same voxels in another order."""
    image = nib.Nifti1Image(volume.data, volume.grid.affine)
    ways = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(orientation))
    )
    turned = image.as_reoriented(ways)
    data = np.asarray(turned.dataobj)
    return Volume(data, Grid(data.shape, turned.affine), None, orientation)


@pytest.fixture
def moving() -> Volume:
    shape = (21, 17, 26)
    return Volume(textured(shape, 3), centred(shape, affine_of("LIA", (1.3, 1.7, 1.1))), None, "m")


@pytest.fixture
def fixed() -> Volume:
    shape = (15, 19, 13)
    grid = centred(shape, oblique_affine())
    return Volume(textured(shape, 4), grid, None, "f")


def naive_moved(
    moving: Volume, output: Grid, model: Grid, affine: NDArray[np.float64], step: NDArray
) -> NDArray[np.float64]:
    """The moved scan for a constant displacement in model voxels, where it does not fade."""
    voxels = np.indices(output.shape).reshape(3, -1)
    world = output.affine[:3, :3] @ voxels + output.affine[:3, 3:]
    world += model.affine[:3, :3] @ step.reshape(3, 1)
    there = affine[:3, :3] @ world + affine[:3, 3:]
    back = np.linalg.inv(moving.grid.affine)
    places = (back[:3, :3] @ there + back[:3, 3:]).reshape(3, *output.shape)
    return map_coordinates(np.pad(moving.data.astype(float), 3), places + 3, order=1)


def within(output: Grid, model: Grid) -> NDArray[np.bool_]:
    voxels = np.indices(output.shape).reshape(3, -1)
    to_model = np.linalg.inv(model.affine) @ output.affine
    places = to_model[:3, :3] @ voxels + to_model[:3, 3:]
    last = np.array(model.shape).reshape(3, 1) - 1
    inside: NDArray[np.bool_] = ((places >= 0) & (places <= last)).all(axis=0)
    return inside.reshape(output.shape)


# One interpolation through everything ------------------------------------------------------------


@pytest.mark.parametrize("source", ["header", "matrix", "file"])
def test_a_known_affine_and_displacement(
    registrar: Build, moving: Volume, fixed: Volume, source: str, tmp_path: Path
) -> None:
    affine = np.eye(4) if source == "header" else SHEAR
    given: object = {"header": "header", "matrix": SHEAR, "file": tmp_path / "a.txt"}[source]
    if source == "file":
        write_affine(tmp_path / "a.txt", SHEAR)
    result = registrar(WHOLE).register(moving, fixed, affine=given)  # type: ignore[arg-type]
    model = result.pair.fixed.grid
    assert model.shape == MODEL_SHAPE
    assert result.pair.affine_source == {"file": str(tmp_path / "a.txt")}.get(source, source)
    assert result.pair.alignment is None
    np.testing.assert_allclose(result.transform.affine, affine, atol=1e-12)
    expected = naive_moved(moving, fixed.grid, model, affine, np.array([2, -1, 3.0]))
    seen = within(fixed.grid, model)
    assert seen.mean() > 0.8
    assert result.moved.grid is fixed.grid
    assert np.abs(result.moved.data - expected)[seen].max() < INTENSITY * 255
    assert result.moved.data.max() > 100


def test_the_network_sees_both_scans_in_its_own_frame(
    registrar: Build, moving: Volume, fixed: Volume
) -> None:
    opened = registrar(WHOLE)
    result = opened.register(moving, fixed, affine=SHEAR)
    (feeds,) = opened.backend.feeds  # type: ignore[attr-defined]
    model = result.pair.fixed.grid
    assert model.orientation == "LIA"
    for name, scan, affine in (("moving", moving, SHEAR), ("fixed", fixed, np.eye(4))):
        expected = naive_moved(scan, model, model, affine, np.zeros(3)) / 255
        assert np.abs(feeds[name][0, 0] - expected).max() < INTENSITY


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_of_the_moving_file(
    registrar: Build, moving: Volume, fixed: Volume, orientation: str
) -> None:
    field = waves(MODEL_SHAPE, 1.5)
    labels = Volume(parcellation(moving.data.shape), moving.grid)
    expected = registrar(lambda _: field).register(moving, fixed, affine=SHEAR)
    found = registrar(lambda _: field).register(
        reoriented(moving, orientation), fixed, affine=SHEAR
    )
    difference = np.abs(found.moved.data - expected.moved.data)
    assert difference.max() < INTENSITY * 255
    same = found.warp_labels(reoriented(labels, orientation)).data
    assert (same != expected.warp_labels(labels).data).mean() < 1e-3


def test_an_inverse_leads_back_over_any_grids(
    registrar: Build, moving: Volume, fixed: Volume
) -> None:
    field = waves(MODEL_SHAPE, 1.5)
    result = registrar(lambda _: field).register(moving, fixed, affine=SHEAR, inverse=True)
    assert result.inverse is not None
    assert result.inverse.fixed is moving.grid
    assert result.inverse.moving is fixed.grid
    quality = result.quality(local=False)
    assert quality.consistency is not None
    # Voxels of 2 mm, a field that changes over 16 of them.
    assert quality.consistency.mean_mm < 0.05
    assert quality.consistency.p99_mm < 0.3


@pytest.mark.parametrize("name", ["fixed", "model", "moving", "other"])
def test_grids_of_the_outputs(registrar: Build, moving: Volume, fixed: Volume, name: str) -> None:
    other = centred((9, 12, 10), affine_of("PSR", (2.1, 1.8, 2.4)))
    opened = registrar(WHOLE)
    result = opened.register(
        moving,
        fixed,
        affine=SHEAR,
        grid=other if name == "other" else name,  # type: ignore[arg-type]
    )
    model = result.pair.fixed.grid
    grid = {"fixed": fixed.grid, "model": model, "moving": moving.grid, "other": other}[name]
    assert result.moved.grid is grid
    assert result.transform.fixed is fixed.grid
    labels = result.warp_labels(Volume(parcellation(moving.data.shape), moving.grid))
    assert labels.grid is grid
    expected = naive_moved(moving, grid, model, SHEAR, np.array([2, -1, 3.0]))
    seen = within(grid, model)
    assert np.abs(result.moved.data - expected)[seen].max() < INTENSITY * 255
    # What is measured does not depend on where the outputs lie.
    quality = result.quality(moving_labels=Volume(parcellation(moving.data.shape), moving.grid))
    at_fixed = opened.register(moving, fixed, affine=SHEAR).quality(
        moving_labels=Volume(parcellation(moving.data.shape), moving.grid)
    )
    assert quality.to_dict() == at_fixed.to_dict()


def test_another_image_of_the_moving_subject(
    registrar: Build, moving: Volume, fixed: Volume
) -> None:
    result = registrar(WHOLE).register(moving, fixed, affine=SHEAR)
    again = result.warp(reoriented(moving, "SPR"))
    assert np.abs(again.data - result.moved.data).max() < INTENSITY * 255
    labels = Volume(parcellation((5, 6, 7)), Grid((5, 6, 7), moving.grid.affine))
    with pytest.raises(GridMismatchError, match="not on the moving scan's grid"):
        result.warp_labels(labels)


def test_a_model_of_any_shape(manifest: Manifest, moving: Volume, fixed: Volume) -> None:
    opened = Registrar(replace(manifest, shape=None), FakeBackend(WHOLE), 2)
    result = opened.register(moving, fixed, affine=SHEAR)
    shape = result.pair.fixed.grid.shape
    assert all(n % 16 == 0 for n in shape)
    assert result.pair.outside["fixed"] == 0
    expected = naive_moved(
        moving, fixed.grid, result.pair.fixed.grid, SHEAR, np.array([2, -1, 3.0])
    )
    assert np.abs(result.moved.data - expected).max() < INTENSITY * 255


# Intensities and warnings ------------------------------------------------------------------------


def test_outside_a_scan_is_as_dark_as_its_background(
    registrar: Build, moving: Volume, fixed: Volume
) -> None:
    """A rule with an offset comes before the resampling, which fills with 0."""
    shifted = moving.with_data(moving.data + 1000)
    plain = registrar(WHOLE).register(moving, fixed, affine="header", intensity="minmax")
    found = registrar(WHOLE).register(shifted, fixed, affine="header", intensity="minmax")
    assert plain.pair.moving.data.min() == 0
    assert np.abs(found.pair.moving.data - plain.pair.moving.data).max() < 1e-5


def test_foreground_outside_the_grid_is_warned_of(registrar: Build, moving: Volume) -> None:
    shape = (60, 20, 20)
    long = Volume(textured(shape), centred(shape, affine_of("RAS")), None, "long.nii")
    result = registrar(WHOLE).register(moving, long, affine="header")
    (text,) = [text for code, text in result.warnings if code == "foreground-outside-grid"]
    # 58 bright voxels of 2 mm to the right, where the model's grid has 16.
    assert result.pair.outside["fixed"] == pytest.approx(1 - 16 / 58, abs=0.02)
    assert text.startswith("long.nii: 7")
    assert "of the fixed scan's foreground lies outside the model's grid" in text
    codes = [code for code, _ in registrar(WHOLE).register(long, moving, affine="header").warnings]
    assert codes == ["foreground-outside-grid"]


@pytest.mark.parametrize("rule", ["divide:255", "minmax", "percentile:1,99"])
@pytest.mark.parametrize("source", ["header", "matrix"])
def test_scans_that_do_not_overlap(
    registrar: Build, moving: Volume, fixed: Volume, source: str, rule: str
) -> None:
    away = np.eye(4)
    away[:3, 3] = 400
    far = Volume(moving.data, Grid(moving.grid.shape, away @ moving.grid.affine), None, "far.nii")
    opened = registrar(WHOLE)
    given = "header" if source == "header" else np.eye(4)
    with pytest.raises(AlignmentError, match=r"far.nii: all of the moving scan's foreground"):
        opened.register(far, fixed, affine=given, intensity=rule)
    assert opened.backend.feeds == []  # type: ignore[attr-defined]
    result = opened.register(far, fixed, affine=given, intensity=rule, force_affine=True)
    assert not result.moved.data.any()


# Affines that are none ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((4, 4)),
        np.diag([1.0, 1, 0, 1]),
        np.full((4, 4), np.nan),
        np.eye(3),
        np.diag([1.0, 1, 1, 2]),
    ],
    ids=["zero", "flat", "NaN", "3x3", "projective"],
)
def test_matrices_that_are_no_affine(
    registrar: Build, moving: Volume, fixed: Volume, matrix: NDArray[np.float64]
) -> None:
    with pytest.raises(TransformError, match="the affine: "):
        registrar(WHOLE).register(moving, fixed, affine=matrix)


def test_files_that_are_no_affine(
    registrar: Build, moving: Volume, fixed: Volume, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("no affine")
    for name in ("text.txt", "absent.txt"):
        with pytest.raises(TransformError, match=name):
            registrar(WHOLE).register(moving, fixed, affine=str(tmp_path / name))


# Computed alignment ------------------------------------------------------------------------------

BIG = (48, 64, 64)
"""Model grid of the phantoms, of 3 mm."""


def head(grid: Grid, pose: NDArray[np.float64] | None = None) -> Volume:
    """A few ellipsoids, nowhere symmetric, that `pose` moves in the world."""
    to_head = np.linalg.inv(np.eye(4) if pose is None else pose) @ grid.affine
    voxels = np.indices(grid.shape).reshape(3, -1)
    world = (to_head[:3, :3] @ voxels + to_head[:3, 3:]).reshape(3, *grid.shape)
    data = np.zeros(grid.shape)
    for middle, axes, value in (
        ((0, 0, 0), (52, 70, 48), 110),
        ((-14, 12, 10), (12, 26, 14), -60),
        ((22, 20, -6), (12, 18, 12), -40),
        ((4, -40, -30), (36, 24, 20), 90),
        ((-30, -24, 20), (14, 18, 14), 60),
        ((30, 34, 16), (14, 12, 12), -50),
    ):
        scaled = (world - np.reshape(middle, (3, 1, 1, 1))) / np.reshape(axes, (3, 1, 1, 1))
        depth = (1 - np.sqrt((scaled**2).sum(axis=0))) * min(axes)
        data += value / (1 + np.exp(np.clip(-depth / 2, -40, 40)))
    # So that what an ellipsoid leaves far away does not count as anything.
    return Volume(np.where(data > 2, data, 0).astype(np.float32), grid, None, "head.nii")


@pytest.fixture
def big(manifest: Manifest) -> Registrar:
    """Displaces nothing, on a grid that holds a head."""
    large = replace(manifest, shape=BIG, voxel_size=(3.0, 3.0, 3.0))
    return Registrar(large, FakeBackend(translation(0, 0, 0)), 2)


def test_two_scans_are_aligned(big: Registrar) -> None:
    pose = SHEAR.copy()
    pose[:3, 3] = 25, -14, 31
    fixed = head(centred((58, 60, 66), affine_of("LIA", (2.7, 3.0, 2.6))))
    moving = head(centred((70, 64, 62), affine_of("PIR", (3.0, 3.2, 2.9))), pose)
    moving = moving.with_data(moving.data * np.float32(0.7))
    result = big.register(moving, fixed, inverse=True)
    assert result.pair.affine_source == "auto"
    assert result.pair.alignment is not None
    assert result.pair.alignment.plausible
    corners = np.array([[a * 52, b * 70, c * 48] for a, b, c in np.ndindex(2, 2, 2)]) * 2.0
    corners -= [52, 70, 48]
    off = result.transform.map_points(corners) - (corners @ pose[:3, :3].T + pose[:3, 3])
    assert np.linalg.norm(off, axis=1).max() < CORNER_MM
    quality = result.quality(local=False)
    assert quality.similarity_after.ncc > 0.99
    assert quality.foreground_after is not None
    assert quality.foreground_after > 0.98
    assert quality.consistency is not None
    assert quality.consistency.max_mm < 1e-3
    assert result.inverse is not None
    assert result.pair.outside["fixed"] == 0


def test_a_reference_places_the_grid(big: Registrar) -> None:
    turned = np.eye(4)
    turned[:3, :3] = [[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]]
    turned[:3, 3] = 12, 5, -9
    template = head(centred((60, 64, 58), affine_of("LAS", (3.0, 3.0, 3.0))))
    fixed = head(centred((64, 66, 60), affine_of("LIA", (3.0, 3.0, 3.0))), turned)
    moving = head(centred((58, 60, 66), affine_of("RAS", (2.7, 3.0, 2.6))), turned)
    result = big.register(moving, fixed, reference=template)
    model = result.pair.fixed.grid
    plain = big.register(moving, template, affine="header").pair.fixed.grid
    # The model's grid lies in the fixed scan as it lies in the template.
    expected = turned @ plain.affine
    difference = Grid(BIG, expected).offset_mm(model)
    assert difference < 2 * CORNER_MM
    assert result.quality(local=False).similarity_after.ncc > 0.99


def test_noise_is_refused(big: Registrar) -> None:
    shape = (50, 52, 54)
    grid = centred(shape, affine_of("LIA", (3.0, 3.0, 3.0)))
    noise = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    with pytest.raises(AlignmentError, match=r"noise.nii could not be aligned to head.nii: "):
        big.register(Volume(noise, grid, None, "noise.nii"), head(grid))
    assert big.backend.feeds == []  # type: ignore[attr-defined]
    result = big.register(Volume(noise, grid, None, "noise.nii"), head(grid), force_affine=True)
    assert np.isfinite(result.moved.data).all()


def test_heads_that_do_not_overlap_in_the_world(big: Registrar) -> None:
    grid = centred((50, 52, 54), affine_of("LIA", (3.0, 3.0, 3.0)))
    away = np.eye(4)
    away[:3, 3] = 900
    far = head(Grid(grid.shape, away @ grid.affine), away)
    with pytest.raises(AlignmentError, match="no point in common"):
        big.register(far, head(grid))
    result = big.register(far, head(grid), force_affine=True)
    assert result.quality(local=False).similarity_after.ncc > 0.99


@pytest.mark.parametrize("axis", range(3))
def test_a_fixed_scan_of_three_slices(big: Registrar, axis: int) -> None:
    shape = [50, 52, 54]
    shape[axis] = 3
    grid = centred((shape[0], shape[1], shape[2]), affine_of("LIA", (3.0, 3.0, 3.0)))
    moving = head(centred((50, 52, 54), affine_of("RAS", (3.0, 3.0, 3.0))))
    for affine in ("auto", "header"):
        result = big.register(moving, head(grid), affine=affine, inverse=True)
        assert result.moved.data.shape == grid.shape
        # The phantom is sharp enough to be found by three slices of it.
        assert np.abs(result.moved.data - head(grid).data).mean() < 3
        assert np.isfinite(result.quality(local=False).similarity_after.ncc)


def test_an_empty_moving_scan(big: Registrar) -> None:
    grid = centred((50, 52, 54), affine_of("LIA", (3.0, 3.0, 3.0)))
    empty = Volume(np.zeros(grid.shape, np.float32), grid, None, "empty.nii")
    with pytest.raises(ScanError, match=r"empty.nii: every voxel is 0"):
        big.register(empty, head(grid), force_affine=True)


def test_the_default_depends_on_the_grids(registrar: Build, moving: Volume) -> None:
    """Both on the model's grid at one place: voxel by voxel; nothing is resampled."""
    one, other = model_volume(0), model_volume(1)
    result = registrar(WHOLE).register(one, other)
    assert result.pair.affine_source == "none"
    np.testing.assert_array_equal(result.transform.affine, np.eye(4))
    np.testing.assert_array_equal(result.pair.moving.data, one.data / np.float32(255))
    forced = registrar(WHOLE).register(moving, other, force_affine=True)
    assert forced.pair.affine_source == "auto"
