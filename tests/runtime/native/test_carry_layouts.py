"""Carrying volumes that are large enough for what is done about layout and background."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from synthetic_scans import smooth_displacement
from vmruntime.kernels import kernels_in_use, native_kernels
from vmruntime.native import NativeKernels, NativeMap

SHAPE = (44, 52, 48)
"""More voxels than the least that is copied (look.cpp), no multiple of a tile."""

KINDS = [
    (np.uint8, "linear"), (np.int16, "linear"), (np.float16, "linear"), (np.float32, "linear"),
    (np.uint8, "nearest"), (np.uint16, "nearest"), (np.int64, "nearest"), (np.float32, "nearest"),
    (np.int32, "label"), (np.uint8, "label"),
]  # fmt: skip


@pytest.fixture
def kernels() -> NativeKernels:
    found = native_kernels()
    if found is None:
        pytest.skip(kernels_in_use())
    return found


def volume(dtype: Any) -> np.ndarray:
    random = np.random.default_rng(5)
    data = np.zeros(SHAPE)
    data[3:30, 7:41, 2:45] = random.integers(1, 100, (27, 34, 43))
    return data.astype(dtype)


def laid_out(data: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """The same values with the axes in another order in memory."""
    turned = np.ascontiguousarray(data.transpose(order))
    return turned.transpose(np.argsort(order))


def turned(axes: tuple[int, ...]) -> np.ndarray:
    """Output axes to volume axes, a little oblique."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[list(axes)] + np.random.default_rng(1).normal(0, 0.02, (3, 3))
    return matrix


@pytest.mark.parametrize("axes", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize(("dtype", "mode"), KINDS, ids=str)
def test_every_order_of_memory_gives_the_same(
    kernels: NativeKernels, dtype: Any, mode: Any, axes: tuple[int, ...]
) -> None:
    data = volume(dtype)
    where = NativeMap((40, 41, 42), turned(axes), None, np.eye(4))
    expected = None
    for order in ((0, 1, 2), (2, 1, 0)):  # C and Fortran order: what files and numpy give
        ((found, share),) = kernels.carry(where, [(laid_out(data, order), mode)], threads=2)
        if expected is None:
            expected = found, share
            assert np.count_nonzero(found) > found.size // 10
        np.testing.assert_array_equal(found, expected[0])
        if share is not None:
            np.testing.assert_array_equal(share, expected[1])


@pytest.mark.parametrize(("dtype", "mode"), KINDS, ids=str)
@pytest.mark.parametrize("size", [2.0, 30.0])
def test_background_that_is_left_out_is_background(
    kernels: NativeKernels, dtype: Any, mode: Any, size: float
) -> None:
    """Structures here and there, and displacements that lead to them from far away."""
    data = np.zeros(SHAPE, dtype)
    random = np.random.default_rng(2)
    for corner in ((0, 0, 0), (2, 40, 30), (38, 5, 44), (20, 20, 20), (43, 51, 47)):
        part = tuple(slice(at, at + 5) for at in corner)
        data[part] = random.integers(1, 100, data[part].shape)
    field = smooth_displacement(SHAPE, size, 3).astype(np.float32)
    field[:, 5, 5, 5:9] = np.nan
    where = NativeMap(SHAPE, np.eye(4), field, np.eye(4))
    for order in ((0, 1, 2), (2, 1, 0)):
        ((found, share),) = kernels.carry(where, [(laid_out(data, order), mode)], threads=2)
        expected, its_share = kernels.warp(data[None], field, mode, threads=1)
        np.testing.assert_array_equal(found, expected[0])
        if share is not None and its_share is not None:
            np.testing.assert_array_equal(share, its_share[0])


def test_images_with_background_in_different_places(kernels: NativeKernels) -> None:
    one, other = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.float32)
    one[:10, :10, :10], other[30:, 30:, 30:] = 7, 3.5
    field = smooth_displacement(SHAPE, 3.0, 4).astype(np.float32)
    where = NativeMap(SHAPE, np.eye(4), field, np.eye(4))
    together = kernels.carry(where, [(one, "nearest"), (other, "linear")], threads=2)
    for image, mode, (found, _) in zip((one, other), ("nearest", "linear"), together, strict=True):
        expected, _ = kernels.warp(image[None], field, mode, threads=1)
        np.testing.assert_array_equal(found, expected[0])
