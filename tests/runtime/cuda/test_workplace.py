"""A whole registration on the kernels' own source, run on the CPU, against the CPU code."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pytest

from device_backend import BackendOnDevice
from emulated_device import EmulatedDevice, why_not_emulated
from fake_backend import FakeBackend, Field
from synthetic_scans import (
    MODEL_SHAPE,
    affine_of,
    model_volume,
    oblique_affine,
    parcellation,
    textured,
    waves,
    write_nifti,
)
from vmruntime import Grid, Manifest, Registrar, Registration, Transform, Volume
from vmruntime.artifact import Artifact
from vmruntime.backends.onnxruntime import OnnxRuntimeBackend
from vmruntime.cuda.lazy import DeviceDisplacement
from vmruntime.cuda.workplace import DeviceWorkplace
from vmruntime.errors import BackendError

pytestmark = pytest.mark.skipif(why_not_emulated() is not None, reason=str(why_not_emulated()))

OF_RANGE = 1e-4
"""Share of an image's range: coordinates rounded to float32 in another order, some 1e-5 voxel."""

VOXELS = 1e-4
"""Of a displacement; the network sees scans that differ by the roundings above."""

LABELS = 1e-4
"""Share of voxels that the same roundings may decide otherwise, as they lie on a tie."""

DETERMINANT = 1e-5
"""Absolute, of values about 1."""

Pairs = Callable[..., tuple[Registrar, Registrar]]


@pytest.fixture
def gpu() -> Iterator[EmulatedDevice]:
    device = EmulatedDevice()
    yield device
    device.close()


@pytest.fixture
def both(manifest: Manifest, gpu: EmulatedDevice) -> Pairs:
    """The same model on the host and on the device."""

    def build(displacement: Field, rule: str = "divide:255") -> tuple[Registrar, Registrar]:
        model = replace(manifest, intensity=rule)
        host = Registrar(model, FakeBackend(displacement), 1)
        return host, Registrar(model, BackendOnDevice(FakeBackend(displacement), gpu), 1)

    return build


def native(
    shape: tuple[int, int, int], affine: np.ndarray, seed: int, dtype: Any = np.float32
) -> Volume:
    data = textured(shape, seed)
    if np.dtype(dtype).kind in "iu":
        data = np.rint(data)
    return Volume(data.astype(dtype), Grid(shape, affine), None, f"scan {seed}")


def centred(orientation: str, size: tuple[float, ...], shape: tuple[int, int, int]) -> np.ndarray:
    """An affine whose grid has its middle where the model's has it."""
    model = Grid(MODEL_SHAPE, affine_of())
    affine = affine_of(orientation, size)
    wanted = model.corners.mean(axis=0)
    affine[:3, 3] += wanted - Grid(shape, affine).corners.mean(axis=0)
    return affine


def smooth(shape: tuple[int, ...]) -> np.ndarray:
    return waves(shape, 1.3, 14)


def close(one: np.ndarray, other: np.ndarray, limit: float) -> None:
    """The largest difference; equal shapes and types."""
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    assert np.abs(one.astype(np.float64) - other).max() <= limit


def agree(here: Registration, there: Registration) -> None:
    """A registration on the device is that on the host."""
    close(there.moved.data, here.moved.data, OF_RANGE * np.ptp(here.moved.data))
    assert there.moved.grid is not None
    assert there.moved.grid.matches(here.moved.grid)
    assert there.moved.name == here.moved.name
    close(there.displacement.data, here.displacement.data, VOXELS)
    for role in ("moving", "fixed"):
        one, other = getattr(there.pair, role), getattr(here.pair, role)
        close(one.data, other.data, OF_RANGE)
        assert one.grid.matches(other.grid)
    assert len(there.moved_labels) == len(here.moved_labels)
    for one, other in zip(there.moved_labels, here.moved_labels, strict=True):
        assert one.data.dtype == other.data.dtype
        assert (one.data != other.data).mean() <= LABELS
        assert np.unique(one.data).size > 2
    assert there.warnings == here.warnings


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize(
    ("orientation", "size", "shape"),
    [
        ("RAS", (2.2, 1.9, 2.6), (19, 33, 27)),
        ("LIA", (2.0, 2.0, 2.0), (17, 35, 49)),
        ("PSR", (3.1, 2.4, 1.7), (21, 13, 41)),
    ],
)
def test_native_scans(
    both: Pairs, dtype: Any, orientation: str, size: tuple[float, ...], shape: tuple[int, int, int]
) -> None:
    host, device = both(smooth)
    moving = native(shape, centred(orientation, size, shape), 0, dtype)
    fixed_shape = (23, 29, 37)
    fixed = native(fixed_shape, centred("RSP", (1.9, 2.2, 2.3), fixed_shape), 1, dtype)
    labels = Volume(parcellation(shape), moving.grid)
    for how in ("nearest", "label"):
        results = [
            opened.register(
                moving, fixed, affine="header", labels=[labels, labels],
                label_interpolation=how,  # type: ignore[arg-type]
            )
            for opened in (host, device)
        ]  # fmt: skip
        agree(*results)


def test_oblique_scans_and_files(both: Pairs, tmp_path: Path) -> None:
    """NIfTI files lie in memory with the first axis fastest."""
    shape = (24, 31, 29)
    affine = oblique_affine()
    affine[:3, 3] += Grid(MODEL_SHAPE, affine_of()).corners.mean(axis=0) - Grid(
        shape, affine
    ).corners.mean(axis=0)
    moving = write_nifti(
        tmp_path / "moving.nii", np.rint(textured(shape, 3)).astype(np.uint8), affine
    )
    fixed = write_nifti(tmp_path / "fixed.nii.gz", textured(shape, 4), affine)
    labels = write_nifti(tmp_path / "labels.nii.gz", parcellation(shape), affine)
    host, device = both(smooth)
    results = [
        opened.register(moving, fixed, affine="header", labels=[labels])
        for opened in (host, device)
    ]
    agree(*results)
    for name in ("label", "nearest"):
        one, other = (result.warp_labels(labels, name).data for result in results)  # type: ignore[arg-type]
        assert (one != other).mean() <= LABELS


def test_small_integers_go_up_as_they_are(both: Pairs, gpu: EmulatedDevice, tmp_path: Path) -> None:
    shape = (24, 31, 29)
    affine = centred("RAS", (2, 2, 2), shape)
    paths = [
        write_nifti(
            tmp_path / f"{seed}.nii.gz", np.rint(textured(shape, seed)).astype(np.uint8), affine
        )
        for seed in (0, 1)
    ]
    _, device = both(smooth)
    device.register(*paths, affine="header")
    # Both scans once, and a few numbers.
    assert 2 * np.prod(shape) <= gpu.uploaded <= 2 * np.prod(shape) + 100


@pytest.mark.parametrize("rule", ["divide:255", "minmax", "percentile:1,99", "none"])
def test_every_intensity_rule(both: Pairs, rule: str) -> None:
    host, device = both(smooth, rule)
    shape = (19, 33, 27)
    moving = native(shape, centred("RAS", (2.2, 1.9, 2.6), shape), 0, np.int16)
    fixed = native(shape, centred("ASL", (2.2, 1.9, 2.6), shape), 1)
    results = [opened.register(moving, fixed, affine="header") for opened in (host, device)]
    for role in ("moving", "fixed"):
        one, other = (getattr(result.pair, role).data for result in results)
        close(one, other, OF_RANGE * np.ptp(one))
    # What looks wrong about "none" is said by both, with the same number.
    assert results[0].warnings == results[1].warnings
    assert ("intensity-range" in dict(results[0].warnings)) == (rule == "none")


def test_scans_on_the_models_grid_are_taken_as_they_are(both: Pairs) -> None:
    host, device = both(smooth)
    pair = model_volume(0, "moving"), model_volume(1, "fixed")
    results = [opened.register(*pair) for opened in (host, device)]
    np.testing.assert_array_equal(results[0].pair.moving.data, results[1].pair.moving.data)
    np.testing.assert_array_equal(results[0].pair.fixed.data, results[1].pair.fixed.data)
    agree(*results)


@pytest.mark.parametrize("where", ["fixed", "model", "moving"])
def test_every_output_grid(both: Pairs, where: Literal["fixed", "model", "moving"]) -> None:
    host, device = both(smooth)
    shape = (19, 33, 27)
    moving = native(shape, centred("RAS", (2.2, 1.9, 2.6), shape), 0)
    results = [
        opened.register(moving, model_volume(1, "fixed"), affine="header", grid=where)
        for opened in (host, device)
    ]
    agree(*results)


def test_far_outside_the_models_grid_the_affine_goes_on(both: Pairs) -> None:
    host, device = both(smooth)
    shape = (40, 80, 90)
    moving = native(shape, centred("LIA", (2, 2, 2), shape), 0)
    results = [
        opened.register(moving, model_volume(1, "fixed"), affine="header", grid="moving")
        for opened in (host, device)
    ]
    agree(*results)


def test_cubic_is_done_on_the_host(both: Pairs) -> None:
    host, device = both(smooth)
    pair = model_volume(0, "moving"), model_volume(1, "fixed")
    labels = Volume(parcellation(MODEL_SHAPE), pair[0].grid)
    one, other = (
        opened.register(*pair, interpolation="cubic", labels=[labels]) for opened in (host, device)
    )
    np.testing.assert_array_equal(one.moved.data, other.moved.data)
    assert (one.moved_labels[0].data != other.moved_labels[0].data).mean() <= LABELS


def test_later_work_on_a_result(both: Pairs, gpu: EmulatedDevice) -> None:
    host, device = both(smooth)
    shape = (19, 33, 27)
    moving = native(shape, centred("RAS", (2.2, 1.9, 2.6), shape), 0)
    fixed = native(shape, centred("LIA", (2.1, 1.8, 2.6), shape), 1)
    labels = Volume(parcellation(shape), moving.grid)
    here, there = (opened.register(moving, fixed, affine="header") for opened in (host, device))
    launched = len(gpu.launched)
    close(there.jacobian().data, here.jacobian().data, DETERMINANT)
    winners, shares = there.vote_labels(labels)
    expected, sure = here.vote_labels(labels)
    same = winners.data == expected.data
    assert (~same).mean() <= LABELS
    close(shares.data, sure.data, OF_RANGE)
    assert 0.2 < sure.data.min() < 0.6
    close(there.warp(moving).data, here.warp(moving).data, OF_RANGE * 255)
    assert gpu.launched[launched:].count("vm_carry") == 3
    assert "vm_jacobian_determinant" in gpu.launched[launched:]
    one = there.quality(moving_labels=labels, fixed_labels=Volume(parcellation(shape), fixed.grid))
    other = here.quality(moving_labels=labels, fixed_labels=Volume(parcellation(shape), fixed.grid))
    assert one.overlap_after is not None
    assert other.overlap_after is not None
    assert one.overlap_after.mean == pytest.approx(other.overlap_after.mean, abs=1e-3)
    assert one.regularity.sd_log_jacobian == pytest.approx(other.regularity.sd_log_jacobian)


def test_the_inverse(both: Pairs) -> None:
    host, device = both(smooth)
    pair = model_volume(0, "moving"), model_volume(1, "fixed")
    here, there = (opened.register(*pair, inverse=True) for opened in (host, device))
    agree(here, there)
    assert here.inverse is not None
    assert there.inverse is not None
    assert here.inverse.displacement is not None
    assert there.inverse.displacement is not None
    close(there.inverse.displacement.data, here.inverse.displacement.data, VOXELS)


def test_a_real_network(tiny_artifact: Path, gpu: EmulatedDevice) -> None:
    artifact = Artifact.read(tiny_artifact)
    shape = (19, 33, 27)
    moving = native(shape, centred("RAS", (2.2, 1.9, 2.6), shape), 0, np.uint8)
    fixed = native(shape, centred("LIA", (2.1, 1.8, 2.6), shape), 1, np.uint8)
    engine = BackendOnDevice(OnnxRuntimeBackend(artifact, threads=1), gpu)
    with (
        Registrar(artifact.manifest, OnnxRuntimeBackend(artifact, threads=1), 1) as host,
        Registrar(artifact.manifest, engine, 1) as device,
    ):
        here, there = (r.register(moving, fixed, affine="header") for r in (host, device))
        assert engine.ran_on_device == 1
        assert np.abs(here.displacement.data).max() > 0.5
        agree(here, there)


def test_nothing_comes_down_but_what_is_asked_for(both: Pairs, gpu: EmulatedDevice) -> None:
    _, device = both(smooth)
    pair = model_volume(0, "moving"), model_volume(1, "fixed")
    result = device.register(*pair)
    assert isinstance(result.transform.displacement, DeviceDisplacement)
    voxels = int(np.prod(MODEL_SHAPE))
    # The moved scan, and the numbers by which pair and field are judged.
    assert 4 * voxels <= gpu.downloaded < 4 * voxels + 200
    field = result.displacement.data
    assert field.nbytes <= gpu.downloaded - 4 * voxels < field.nbytes + 200
    before = gpu.downloaded
    assert result.displacement.data is field
    assert gpu.downloaded == before


def memory_of(device: Registrar) -> Any:
    assert isinstance(device.workplace, DeviceWorkplace)
    return device.workplace.arena


def test_memory_does_not_grow(both: Pairs, gpu: EmulatedDevice) -> None:
    _, device = both(smooth)
    labels = Volume(parcellation(MODEL_SHAPE), model_volume(0).grid)
    arena = memory_of(device)
    sizes = []
    for number in range(7):
        result = device.register(model_volume(number), model_volume(1), labels=[labels])
        if number % 2:
            result.jacobian()
        gc.collect()
        sizes.append(gpu.allocated)
    assert len(set(sizes[3:])) == 1
    assert arena.nbytes == gpu.allocated
    # What is left in use is this result's: the pair as the network saw it, and the field.
    voxels = int(np.prod(MODEL_SHAPE))
    assert arena.nbytes_taken <= 1.25 * 4 * 5 * voxels
    del result
    gc.collect()
    assert arena.nbytes_taken == 0
    device.close()
    assert arena.nbytes == 0


def test_results_that_are_kept_do_not_fill_the_device(both: Pairs, gpu: EmulatedDevice) -> None:
    host, device = both(smooth)
    results, sizes = [], []
    for number in range(6):
        results.append(device.register(model_volume(number), model_volume(9)))
        sizes.append(gpu.allocated)
    assert len(set(sizes[3:])) == 1
    for number, result in enumerate(results):
        agree(host.register(model_volume(number), model_volume(9)), result)


def test_scans_of_many_sizes_do_not_fill_the_device(both: Pairs, gpu: EmulatedDevice) -> None:
    _, device = both(smooth)
    sizes = []
    for number in range(8):
        shape = (24 + 5 * number, 31, 29)
        moving = native(shape, centred("RAS", (2, 2, 2), shape), 0)
        device.register(moving, model_volume(1), affine="header", grid="model")
        sizes.append(gpu.allocated)
    largest = 4 * int(np.prod((24 + 5 * 7, 31, 29)))
    # At most three generations of the scan, and the fields of two results.
    assert sizes[-1] < 1.25 * (3 * largest + 2 * 4 * 7 * int(np.prod(MODEL_SHAPE))) + 200_000


def test_results_outlive_the_registrar(both: Pairs) -> None:
    host, device = both(smooth)
    pair = model_volume(0, "moving"), model_volume(1, "fixed")
    labels = Volume(parcellation(MODEL_SHAPE), pair[0].grid)
    here, there = (opened.register(*pair) for opened in (host, device))
    device.close()
    device.close()
    agree(here, there)
    np.testing.assert_array_equal(there.warp_labels(labels).data, here.warp_labels(labels).data)
    close(there.jacobian().data, here.jacobian().data, DETERMINANT)
    with pytest.raises(BackendError, match=r"closed; load it again"):
        device.register(*pair)


def test_an_affine_alone(both: Pairs, gpu: EmulatedDevice) -> None:
    host, device = both(smooth)
    shape = (19, 33, 27)
    moving = native(shape, centred("RAS", (2.2, 1.9, 2.6), shape), 0)
    affine = np.eye(4)
    affine[:3, 3] = 1.25, -2.5, 0.75
    transform = Transform(Grid(MODEL_SHAPE, affine_of()), moving.grid, affine)
    images: Any = [(moving, "linear"), (moving, "nearest")]
    ours = device.workplace.carry(transform, images, transform.fixed)
    theirs = host.workplace.carry(transform, images, transform.fixed)
    close(ours[0].data, theirs[0].data, OF_RANGE * 255)
    assert (ours[1].data != theirs[1].data).mean() <= LABELS
    assert "vm_carry" in gpu.launched


def test_an_mgh_file_is_big_endian(both: Pairs, tmp_path: Path) -> None:
    shape = (19, 33, 27)
    data = np.rint(textured(shape, 0)).astype(np.int16)
    image = nib.MGHImage(data, centred("RAS", (2.2, 1.9, 2.6), shape))
    nib.save(image, tmp_path / "scan.mgz")
    nib.save(image, tmp_path / "labels.mgz")
    host, device = both(smooth)
    results = [
        opened.register(
            tmp_path / "scan.mgz", model_volume(1), affine="header",
            labels=[tmp_path / "labels.mgz"],
        )
        for opened in (host, device)
    ]  # fmt: skip
    agree(*results)
