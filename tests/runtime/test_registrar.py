"""Registrars around an engine whose displacement is known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from fake_backend import FakeBackend, translation
from synthetic_scans import (
    MODEL_SHAPE,
    affine_of,
    model_volume,
    parcellation,
    smooth_displacement,
    textured,
    waves,
)
from vmruntime import (
    BackendError,
    Displacement,
    Grid,
    GridMismatchError,
    Manifest,
    ManifestError,
    Registrar,
    ScanError,
    Transform,
    Volume,
)
from vmruntime.stages import Stages
from vmruntime.warp import warp_linear

Build = Callable[..., Registrar]

WHOLE = translation(2, -3, 0)

INVERSE_ERROR = 1e-5
"""Of the intensity range: half-voxel translations there and back, in float32."""

CORRECTED = 1e-2
"""Voxels; where the iteration ends, see `vmruntime.inversion.GOOD_ENOUGH`."""

ENGINE_ERROR = 1e-4
"""Voxels between onnxruntime and PyTorch."""


def points_inside(grid: Grid) -> np.ndarray:
    """Places at least four voxels inside a grid, ``(500, 3)`` RAS+ mm."""
    random = np.random.default_rng(2)
    voxels = random.uniform(4, np.array(grid.shape) - 5, (500, 3))
    places: np.ndarray = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return places


def shifted(data: np.ndarray) -> np.ndarray:
    """`data` pulled by `WHOLE`, with zeros where that looks outside."""
    moved = np.zeros_like(data)
    moved[:-2, 3:] = data[2:, :-3]
    return moved


def test_a_known_displacement_gives_the_known_image(registrar: Build) -> None:
    moving, fixed = model_volume(0, "moving"), model_volume(1, "fixed")
    with registrar(WHOLE) as opened:
        result = opened.register(moving, fixed)
    np.testing.assert_array_equal(result.moved.data, shifted(moving.data))
    assert result.moved.grid.matches(fixed.grid)
    assert result.inverse is None
    assert result.warnings == ()
    np.testing.assert_array_equal(result.transform.displacement.data[:, 3, 4, 5], [2, -3, 0])


def test_the_engine_is_fed_scaled_scans(registrar: Build) -> None:
    opened = registrar(WHOLE)
    moving, fixed = model_volume(0), model_volume(1)
    result = opened.register(moving, fixed)
    (feeds,) = opened.backend.feeds  # type: ignore[attr-defined]
    assert opened.backend.asked == [("displacement",)]  # type: ignore[attr-defined]
    for name, volume in (("moving", moving), ("fixed", fixed)):
        assert feeds[name].shape == (1, 1, *MODEL_SHAPE)
        assert feeds[name].dtype == np.float32
        np.testing.assert_array_equal(feeds[name][0, 0], volume.data / np.float32(255))
    np.testing.assert_array_equal(result.pair.moving.data, moving.data / np.float32(255))
    np.testing.assert_array_equal(result.moved_scaled(), shifted(moving.data / np.float32(255)))


def test_a_smooth_displacement(registrar: Build) -> None:
    field = smooth_displacement(MODEL_SHAPE)
    moving = model_volume(0)
    result = registrar(lambda _: field).register(moving, model_volume(1))
    np.testing.assert_array_equal(result.moved.data, warp_linear(moving.data, field))


def test_the_inverse_leads_back(registrar: Build) -> None:
    moving = model_volume(0)
    result = registrar(WHOLE).register(moving, model_volume(1), inverse=True)
    assert result.inverse is not None
    back = result.inverse.apply(result.moved)
    # Where it looks outside the model's grid the displacement fades, and so does its inverse; one
    # voxel before that the last step of the inversion takes in what lies between the voxels.
    np.testing.assert_array_equal(back.data[3:, :-4], moving.data[3:, :-4])
    assert back.grid.matches(moving.grid)


def test_a_wrong_inverse_of_the_engine_is_corrected(registrar: Build) -> None:
    moving = model_volume(0)
    right = registrar(WHOLE).register(moving, model_volume(1), inverse=True)
    for start in (translation(-2.4, 2.7, 0.3), translation(0, 0, 0)):
        result = registrar(WHOLE, start).register(moving, model_volume(1), inverse=True)
        assert result.inverse is not None
        assert right.inverse is not None
        difference = result.inverse.displacement.data - right.inverse.displacement.data
        assert np.abs(difference[:, 3:, :-4]).max() < CORRECTED


def test_inverse_consistency_is_measured(registrar: Build) -> None:
    moving, fixed = model_volume(0), model_volume(1)
    field = waves(MODEL_SHAPE, 0.8)
    opened = registrar(lambda _: field)
    assert opened.register(moving, fixed).quality(local=False).consistency is None
    found = opened.register(moving, fixed, inverse=True).quality(local=False).consistency
    assert found is not None
    assert 0 < found.mean_mm < found.p99_mm < found.max_mm
    # Voxels of 2 mm; the border, where the field fades, is part of this foreground.
    assert found.mean_mm < 0.02


def test_the_inverse_lies_on_the_moving_grid(registrar: Build) -> None:
    elsewhere = Grid(MODEL_SHAPE, affine_of(origin=(12.6, -33.25, 7.0)))
    moving = Volume(textured(MODEL_SHAPE), elsewhere)
    result = registrar(translation(0.5, 0, 0)).register(
        moving, model_volume(1), affine="none", inverse=True
    )
    assert result.inverse is not None
    assert result.inverse.fixed.matches(elsewhere)
    assert result.transform.moving.matches(elsewhere)
    back = result.inverse.apply(result.moved).data
    half = np.zeros((3, *MODEL_SHAPE), np.float32)
    half[0] = 0.5
    smoothed = warp_linear(warp_linear(moving.data, half), -half)
    # The first two planes look outside the model's grid, or are next to one that does.
    assert np.abs(back - smoothed)[2:].max() < INVERSE_ERROR * 255


def test_a_model_without_an_inverse_gets_it_by_iteration(manifest: Manifest) -> None:
    plain = replace(manifest, diffeomorphic=False, int_steps=0)
    opened = Registrar(plain, FakeBackend(WHOLE))
    moving = model_volume(0)
    result = opened.register(moving, model_volume(1), inverse=True)
    assert opened.backend.asked == [("displacement",)]  # type: ignore[attr-defined]
    assert result.inverse is not None
    back = result.inverse.apply(result.moved)
    np.testing.assert_array_equal(back.data[3:, :-4], moving.data[3:, :-4])


def test_takes_paths_and_nibabel_images(registrar: Build, pair: dict[str, Path]) -> None:
    opened = registrar(WHOLE)
    by_path = opened.register(pair["moving"], str(pair["fixed"]))
    by_image = opened.register(nib.load(pair["moving"]), nib.load(pair["fixed"]))
    np.testing.assert_array_equal(by_path.moved.data, by_image.moved.data)
    assert by_path.pair.moving.name == str(pair["moving"])


def test_the_moved_scan_has_the_fixed_header(
    registrar: Build, pair: dict[str, Path], tmp_path: Path
) -> None:
    image = nib.load(pair["fixed"])
    fixed = nib.Nifti1Image(image.get_fdata(dtype=np.float32), None, image.header)
    fixed.header["descrip"] = b"the fixed one"
    result = registrar(WHOLE).register(pair["moving"], fixed)
    result.moved.save(tmp_path / "moved.nii.gz")
    result.warp_labels(pair["moving_seg"]).save(tmp_path / "labels.nii.gz")
    for name in ("moved", "labels"):
        header = nib.load(tmp_path / f"{name}.nii.gz").header
        assert bytes(header["descrip"]).startswith(b"the fixed one")


# Intensities -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "moving", "fixed"),
    [
        ({}, 1, 1),
        ({"intensity": "divide:510"}, 0.5, 0.5),
        ({"intensity": "none", "fixed_intensity": "divide:127.5"}, 255, 2),
        ({"moving_intensity": "minmax"}, 1, 1),
    ],
)
def test_rules(registrar: Build, options: dict[str, str], moving: float, fixed: float) -> None:
    result = registrar(WHOLE).register(model_volume(0), model_volume(1), **options)
    assert result.pair.moving.data.max() == pytest.approx(moving)
    assert result.pair.fixed.data.max() == pytest.approx(fixed)
    assert result.moved.data.max() > 200  # the moved scan keeps its own intensities


def test_a_rule_that_is_none(registrar: Build) -> None:
    with pytest.raises(ManifestError, match="'z-score' is no intensity rule"):
        registrar(WHOLE).register(model_volume(0), model_volume(1), intensity="z-score")


def test_minmax_is_applied_before_moving(registrar: Build) -> None:
    """Zeros that come in from outside are not the minimum of a scan with an offset."""
    moving = model_volume(0).with_data(textured(MODEL_SHAPE) + 1000)
    result = registrar(WHOLE).register(moving, model_volume(1), intensity="minmax")
    assert result.moved_scaled().min() == 0
    assert result.moved_scaled().max() <= 1


@pytest.mark.parametrize(
    ("factor", "count"), [(1 / 255, 1), (1.0, 0), (1.99, 0), (2.5, 1), (255.0, 1)]
)
def test_implausible_intensities_are_warned_of(registrar: Build, factor: float, count: int) -> None:
    moving = model_volume(0, "moving.nii").with_data(textured(MODEL_SHAPE) * np.float32(factor))
    result = registrar(WHOLE).register(moving, model_volume(1))
    assert len(result.warnings) == count
    for code, text in result.warnings:
        assert code == "intensity-range"
        assert text.startswith("moving.nii: the foreground maximum is")


def test_a_scan_that_vanishes_is_warned_of(registrar: Build) -> None:
    data = np.zeros(MODEL_SHAPE, np.float32)
    data[5:9] = -40
    result = registrar(WHOLE).register(
        model_volume(0, "moving").with_data(data),
        model_volume(1, "fixed"),
        moving_intensity="percentile:1,99",
    )
    code, text = result.warnings[0]
    assert code == "intensity-range"
    assert text.startswith("moving: every voxel is 0 after")
    quality = result.quality()
    assert np.isfinite([quality.similarity_after.mse, quality.similarity_after.ncc]).all()


def test_scans_on_the_model_grid_at_different_places(registrar: Build) -> None:
    """Not taken voxel by voxel unless that is asked for: then whatever the headers claim."""
    grid = Grid(MODEL_SHAPE, affine_of(origin=(22.5, -33.25, 7)))
    far, fixed = Volume(textured(MODEL_SHAPE), grid, name="far"), model_volume(0, "fixed")
    result = registrar(WHOLE).register(far, fixed, force_affine=True)
    assert result.pair.affine_source == "auto"
    assert result.pair.alignment is not None
    result = registrar(WHOLE).register(far, fixed, affine="none")
    assert result.pair.affine_source == "none"
    assert result.pair.alignment is None
    np.testing.assert_array_equal(result.moved.data, shifted(far.data))
    np.testing.assert_allclose(result.transform.affine[:3, 3], [10, 0, 0], atol=1e-9)
    result = registrar(WHOLE).register(far, fixed, affine="header")
    expected = np.zeros_like(far.data)
    expected[:-5] = far.data[5:]  # 10 mm to the right: 5 voxels of 2 mm that run to the left
    np.testing.assert_allclose(
        result.moved.data, shifted(expected), atol=INVERSE_ERROR * 255, rtol=0
    )


# Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["moving", "fixed"])
@pytest.mark.parametrize(
    ("shape", "orientation", "size", "fact"),
    [
        ((16, 32, 47), "LIA", 2.0, "16 x 32 x 47 voxels instead of 16 x 32 x 48"),
        (MODEL_SHAPE, "RAS", 2.0, "orientation RAS instead of LIA"),
        (MODEL_SHAPE, "LIA", 1.0, "voxels of 1 x 1 x 1 mm instead of 2 x 2 x 2 mm"),
    ],
)
def test_a_scan_on_another_grid(
    registrar: Build,
    role: str,
    shape: tuple[int, int, int],
    orientation: str,
    size: float,
    fact: str,
) -> None:
    other = Volume(
        textured(shape), Grid(shape, affine_of(orientation, (size,) * 3)), None, "t1.nii"
    )
    scans = [other, model_volume(1)] if role == "moving" else [model_volume(0), other]
    opened = registrar(WHOLE)
    with pytest.raises(GridMismatchError) as found:
        opened.register(*scans, affine="none")
    assert str(found.value).startswith(
        f"t1.nii: the {role} scan is not on the model's grid: {fact}"
    )
    assert "resample it" in str(found.value)
    assert opened.backend.feeds == []  # type: ignore[attr-defined]


def test_a_free_model_needs_two_scans_of_one_shape(manifest: Manifest) -> None:
    opened = Registrar(replace(manifest, shape=None), FakeBackend(WHOLE))
    shape = (16, 16, 32)
    other = Volume(textured(shape), Grid(shape, affine_of()))
    assert opened.register(other, other).moved.grid.shape == shape
    with pytest.raises(
        GridMismatchError, match=r"\(16, 16, 32\) voxels, the fixed one \(16, 32, 48\)"
    ):
        opened.register(other, model_volume(1), affine="none")


def test_scans_that_cannot_be_used(registrar: Build) -> None:
    for value, fact in [(np.nan, "NaN"), (np.inf, "infinite"), (0.0, "every voxel is 0")]:
        data = textured(MODEL_SHAPE) if value else np.zeros(MODEL_SHAPE, np.float32)
        data[3, 4, 5] = value
        for scans in (
            [model_volume(0).with_data(data), model_volume(1)],
            [model_volume(0), model_volume(1).with_data(data)],
        ):
            with pytest.raises(ScanError, match=fact):
                registrar(WHOLE).register(*scans)


@pytest.mark.parametrize("name", ["displacement", "inverse_displacement"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_engine_that_gives_no_number(manifest: Manifest, name: str, value: float) -> None:
    def broken(shape: tuple[int, ...]) -> np.ndarray:
        field = np.zeros((3, *shape), np.float32)
        field[1, 2, 3, 4] = value
        return field

    fields = {"displacement": (broken, WHOLE), "inverse_displacement": (WHOLE, broken)}[name]
    opened = Registrar(manifest, FakeBackend(*fields))
    with pytest.raises(BackendError, match=rf"the model's {name} .*NaN"):
        opened.register(model_volume(0), model_volume(1), inverse=True)


def test_an_engine_that_gives_both_infinities(manifest: Manifest) -> None:
    def broken(shape: tuple[int, ...]) -> np.ndarray:
        return np.where(np.arange(shape[-1]) % 2, np.inf, -np.inf)

    with pytest.raises(BackendError, match="NaN"):
        Registrar(manifest, FakeBackend(broken)).register(model_volume(0), model_volume(1))


def test_an_engine_that_gives_another_shape(manifest: Manifest) -> None:
    class Wrong(FakeBackend):
        def run(self, feeds: Any, outputs: Any) -> Any:
            return {name: np.zeros((1, 3, 4, 4, 4), np.float32) for name in outputs}

    with pytest.raises(BackendError, match="displacement"):
        Registrar(manifest, Wrong(WHOLE)).register(model_volume(0), model_volume(1))


# Life ----------------------------------------------------------------------------------------


def test_a_closed_registrar(registrar: Build) -> None:
    opened = registrar(WHOLE)
    with opened as same:
        assert same is opened
        result = opened.register(model_volume(0), model_volume(1))
    assert opened.backend.closed == 1  # type: ignore[attr-defined]
    opened.close()
    with pytest.raises(BackendError, match="closed; load it again"):
        opened.register(model_volume(0), model_volume(1))
    # Results outlive it.
    labels = result.warp_labels(Volume(parcellation(MODEL_SHAPE), result.pair.moving.grid))
    assert labels.data.any()


def test_it_is_closed_when_the_block_fails(registrar: Build) -> None:
    opened = registrar(WHOLE)
    with pytest.raises(ZeroDivisionError), opened:
        raise ZeroDivisionError
    assert opened.backend.closed == 1  # type: ignore[attr-defined]


def test_two_threads_at_once(manifest: Manifest) -> None:
    """Both are inside the engine at the same time, and neither gets the other's result."""
    barrier = threading.Barrier(2, timeout=20)

    class Meeting(FakeBackend):
        def run(self, feeds: Any, outputs: Any) -> Any:
            barrier.wait()
            return super().run(feeds, outputs)

    opened = Registrar(manifest, Meeting(WHOLE), threads=2)
    volumes = [model_volume(seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda v: opened.register(v, model_volume(2)), volumes))
    for volume, result in zip(volumes, results, strict=True):
        np.testing.assert_array_equal(result.moved.data, shifted(volume.data))


def test_real_artifact_from_two_threads(tiny_artifact: Path) -> None:
    volumes = [model_volume(seed) for seed in range(4)]
    fixed = model_volume(9)
    with Registrar.load(tiny_artifact, threads=1) as opened:
        alone = [opened.register(volume, fixed).moved.data for volume in volumes]
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(lambda v: opened.register(v, fixed).moved.data, volumes))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_timings(registrar: Build) -> None:
    announced: list[str] = []
    stages = Stages(announced.append)
    result = registrar(WHOLE).register(model_volume(0), model_volume(1), stages=stages)
    assert list(result.timings) == ["read", "align", "prepare", "network", "resample"] == announced
    before = result.timings["resample"]
    result.warp_labels(Volume(parcellation(MODEL_SHAPE), result.pair.moving.grid))
    assert list(result.timings)[-1] == "labels"
    assert all(seconds >= 0 for seconds in result.timings.values())
    assert result.timings["resample"] == before


def test_the_real_artifact(tiny_artifact: Path, tiny_network: Any) -> None:
    """Against PyTorch: the network in the file is the network it was made from."""
    import torch

    moving, fixed = model_volume(0), model_volume(1)
    with Registrar.load(tiny_artifact, precision="fp32") as opened:
        result = opened.register(moving, fixed, inverse=True)
    with torch.no_grad():
        tensors = [torch.from_numpy(v.data / np.float32(255))[None, None] for v in (moving, fixed)]
        expected = tiny_network(*tensors)[0].numpy()
        backward = tiny_network.tail(-tiny_network.velocity(*tensors))[0].numpy()
    assert np.abs(expected).max() > 0.5
    assert np.abs(result.displacement.data - expected).max() < ENGINE_ERROR
    with Registrar.load(tiny_artifact, precision="fp32") as opened:
        feeds = {
            role: volume.data[None, None]
            for role, volume in (("moving", result.pair.moving), ("fixed", result.pair.fixed))
        }
        raw = opened.backend.run(feeds, ["inverse_displacement"])["inverse_displacement"][0]
    assert np.abs(raw - backward).max() < ENGINE_ERROR
    # Registering improves it: nearer to the exact inverse, on the whole not far away.
    assert result.inverse is not None
    refined = result.inverse.displacement
    assert np.abs(refined.data - backward).mean() < 0.05
    grid = result.pair.fixed.grid
    places = points_inside(grid)
    errors = [
        np.linalg.norm(
            Transform(grid, grid, np.eye(4), Displacement(field, grid)).map_points(
                Transform(grid, grid, np.eye(4), result.displacement).map_points(places)
            )
            - places,
            axis=1,
        )
        for field in (backward, refined.data)
    ]
    assert errors[1].mean() < errors[0].mean() / 2
