"""Whole transforms by the compiled kernels and in numpy, against each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numpy_kernels import numpy_kernels
from synthetic_scans import ORIENTATIONS, affine_of, smooth_displacement, waves
from vmruntime import Displacement, Grid, Transform, Volume
from vmruntime.inversion import invert_displacement
from vmruntime.kernels import kernels_in_use, native_kernels
from vmruntime.quality import jacobian_determinant
from vmruntime.regularity import jacobian_on
from vmruntime.unet.field import integrate
from vmruntime.warp import warp_linear, warp_nearest

VALUE = 1e-4
"""Of the range: coordinates up to some 100 voxels, a handful of roundings in another order."""

VOXELS = 1e-4
MILLIMETRES = 2e-4

FLIPPED = 2e-3
"""Share of the voxels where nearest or vote may fall to either side of a tie."""

MODEL, FIXED, MOVING = (13, 17, 9), (21, 15, 18), (16, 23, 19)

SCANS = [np.uint8, np.int16, np.uint16, np.int32, np.float16, np.float32, np.float64]
LABELS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64]


@pytest.fixture(autouse=True)
def _compiled() -> None:
    if native_kernels() is None:
        pytest.skip(kernels_in_use())


def both(function: Callable[[], Any]) -> tuple[Any, Any]:
    """What the compiled kernels and what numpy make of it."""
    native = function()
    with numpy_kernels():
        return native, function()


def centred(shape: tuple[int, int, int], orientation: str, voxel_size: tuple[float, ...]) -> Grid:
    """A grid whose middle is the world's origin."""
    affine = affine_of(orientation, voxel_size)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def transform(seed: int, orientation: str, size: float = 2.0) -> Transform:
    """Three grids of different shapes, orientations and voxel sizes, and an oblique affine."""
    random = np.random.default_rng(seed)
    turn = np.eye(4)
    turn[:3, :3] += random.normal(0, 0.15, (3, 3))
    turn[:3, 3] = random.normal(0, 3, 3)
    others = random.choice(len(ORIENTATIONS), 2)
    fixed = centred(FIXED, orientation, tuple(random.uniform(0.7, 2, 3)))
    moving = centred(MOVING, ORIENTATIONS[others[0]], (1.1, 0.9, 1.3))
    model = centred(MODEL, ORIENTATIONS[others[1]], (1.5, 1.2, 1.8))
    field = Displacement(smooth_displacement(MODEL, size), model)
    return Transform(fixed, moving, turn, field)


def labels(dtype: type, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(seed)
    values = np.array([0, 3, 41, limits.max, limits.min], dtype)
    coarse = random.integers(0, len(values), [n // 3 + 1 for n in shape])
    for axis in range(3):
        coarse = coarse.repeat(3, axis=axis)
    return values[coarse[tuple(map(slice, shape))]]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation(orientation: str) -> None:
    seed = ORIENTATIONS.index(orientation)
    way = transform(seed, orientation)
    random = np.random.default_rng(seed)
    scan = Volume(random.random(MOVING, np.float32), way.moving)
    parcels = Volume(labels(np.int16, MOVING, seed), way.moving)
    images = [(scan, "linear"), (scan, "cubic"), (parcels, "nearest"), (parcels, "label")]
    native, plain = both(lambda: way.apply_all(images, threads=2))  # type: ignore[arg-type]
    for (_, mode), found, expected in zip(images, native, plain, strict=True):
        assert found.data.dtype == expected.data.dtype
        if mode in ("linear", "cubic"):
            assert np.abs(found.data - expected.data).max() < VALUE
        else:
            assert (found.data != expected.data).mean() < FLIPPED
    assert native[0].data.any()
    offsets, expected = both(way.displacement_mm)
    assert np.abs(offsets - expected).max() < MILLIMETRES


@pytest.mark.parametrize("dtype", SCANS)
@pytest.mark.parametrize("order", ["C", "F", "swapped"])
def test_scans_of_every_type_and_memory_order(dtype: type, order: str) -> None:
    way = transform(1, "LIA")
    data = (np.random.default_rng(2).random(MOVING) * 200).astype(dtype)
    if order == "swapped":
        data = data.astype(data.dtype.newbyteorder("S"))
    else:
        data = np.require(data, requirements=order)
    native, plain = both(lambda: way.apply(Volume(data, way.moving)).data)
    assert native.dtype == plain.dtype == np.float32
    assert np.abs(native - plain).max() < 200 * VALUE


@pytest.mark.parametrize("dtype", LABELS)
@pytest.mark.parametrize("order", ["C", "F", "backwards"])
def test_labels_of_every_type_and_memory_order(dtype: type, order: str) -> None:
    way = transform(2, "PSR")
    data = np.require(labels(dtype, MOVING), requirements="F" if order == "F" else "C")
    if order == "backwards":
        data = data[:, ::-1]
    volume = Volume(data, way.moving)
    (native, share), (plain, expected) = both(lambda: way.vote(volume, threads=3))
    assert native.data.dtype == plain.data.dtype == dtype
    assert np.abs(share.data - expected.data).max() < VALUE
    clear = expected.data > 0.51
    np.testing.assert_array_equal(native.data[clear], plain.data[clear])
    native, plain = both(lambda: way.apply(volume, "nearest").data)
    assert native.dtype == dtype
    assert (native != plain).mean() < FLIPPED


@pytest.mark.parametrize("seed", range(4))
def test_few_voxels_in_a_large_field_of_view(seed: int) -> None:
    """The box outside which nothing is looked up."""
    way = transform(seed, "RAS", size=4)
    data = np.zeros(MOVING, np.float32)
    data[5:7, 9:12, 3:5] = np.random.default_rng(seed).random((2, 3, 2)) + 1
    native, plain = both(lambda: way.apply(Volume(data, way.moving)).data)
    assert np.abs(native - plain).max() < 2 * VALUE
    empty, _ = both(lambda: way.apply(Volume(data * 0, way.moving)).data)
    assert not empty.any()


@pytest.mark.parametrize("scale", [1, 100, 1e9])
def test_displacements_far_outside(scale: float) -> None:
    random = np.random.default_rng(3)
    volume = random.random(MOVING, np.float32)
    field = (random.normal(0, 2, (3, *FIXED)) * scale).astype(np.float32)
    native, plain = both(lambda: warp_linear(volume, field, threads=2))
    # In the same order of operations: the same bits.
    np.testing.assert_array_equal(native, plain)
    native, plain = both(lambda: warp_nearest(volume, field, threads=2))
    np.testing.assert_array_equal(native, plain)


def test_jacobian() -> None:
    field = smooth_displacement(FIXED, 3.0)
    native, plain = both(lambda: jacobian_determinant(field, threads=2))
    np.testing.assert_array_equal(native, plain)
    way = transform(5, "LPI")
    native, plain = both(lambda: jacobian_on(way, threads=2).data)
    assert np.abs(native - plain).max() < VALUE * np.abs(plain).max()


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("shape", [(24, 20, 28), (13, 9, 11), (2, 3, 2)])
def test_inverse(started: bool, shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, np.eye(4))
    forward = Displacement(waves(shape, 1.5), grid)
    start = -forward.data if started else None
    native, plain = both(lambda: invert_displacement(forward, start, threads=2).data)
    assert np.abs(native - plain).max() < 10 * VOXELS
    assert start is None or (start == -forward.data).all()


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    way = transform(7, "SAR")
    scan = Volume(np.random.default_rng(0).random(MOVING, np.float32), way.moving)
    one, many = (way.apply(scan, threads=n).data for n in (1, 7))
    np.testing.assert_array_equal(one, many)
    field = smooth_displacement((40, 30, 50), 2.0)
    native = native_kernels()
    assert native is not None
    one, many = (native.invert(field, threads=n) for n in (1, 7))
    np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("corner", [(0, 0, 0), (2, 1, 3)])
@pytest.mark.parametrize("orientation", ["LIA", "RAS"])
@pytest.mark.parametrize("size", [0.6, 3, 400])
def test_the_output_has_the_voxels_of_the_model(
    corner: tuple[int, int, int], orientation: str, size: float
) -> None:
    """Where no displacement is interpolated; LIA: nor any affine applied."""
    shape = (9, 10, 53)
    model = centred(shape, "LIA", (1.0, 1.0, 1.0))
    begin = model.affine.copy()
    begin[:3, 3] += model.affine[:3, :3] @ corner
    fixed = Grid(tuple(n - c for n, c in zip(shape, corner, strict=True)), begin)
    moving = model if orientation == "LIA" else centred(MOVING, orientation, (1.1, 0.9, 1.3))
    field = Displacement(smooth_displacement(shape, size), model)
    way = Transform(fixed, moving, np.eye(4), field)
    random = np.random.default_rng(5)
    scan, few = random.random(moving.shape, np.float32), np.zeros(moving.shape, np.float32)
    few[tuple(slice(n // 2 - 1, n // 2 + 1) for n in few.shape)] = 1 + random.random((2, 2, 2))
    parcels = labels(np.uint8, moving.shape)
    images = [(Volume(data, moving), "linear") for data in (scan, few)]
    images.append((Volume(parcels, moving), "nearest"))
    for chosen in (images, images[1:2]):
        native, plain = both(lambda: way.apply_all(chosen, threads=2))  # noqa: B023
        for (_, mode), found, expected in zip(chosen, native, plain, strict=True):
            assert (size > 10) or expected.data.any()
            if mode == "linear":
                assert np.abs(found.data - expected.data).max() < 2 * VALUE
            else:
                assert (found.data != expected.data).mean() < FLIPPED


@pytest.mark.parametrize("shape", [(3, 4, 50), (1, 5, 16), (6, 1, 33), (5, 6, 1), (4, 3, 7)])
@pytest.mark.parametrize("longest", [0.7, 5, 60])
def test_integration_of_short_and_long_velocities(
    shape: tuple[int, int, int], longest: float
) -> None:
    """Blocks of a row where the field is short are looked up in another way."""
    velocity = np.random.default_rng(6).uniform(-longest, longest, (3, *shape))
    velocity[:, :, :, : shape[2] // 2] *= 0.1
    velocity = velocity.astype(np.float32)
    native = native_kernels()
    assert native
    expected = integrate(velocity, 7)
    for threads in (1, 2):
        found = native.integrate(velocity, 7, threads=threads)
        # A rough field: what differs by rounding is looked up a little further off, seven times.
        assert np.abs(found - expected).max() < 1e-5 * max(1, longest) ** 2
