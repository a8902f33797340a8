"""Block means, their places and the intensity scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vmruntime import Grid, Volume
from vmruntime.alignment.pyramid import BRIGHTEST, Pyramid, coarse_step

Build = Callable[..., Any]

ROUNDING = 1e-5


@pytest.fixture
def noise() -> Volume:
    data = np.random.default_rng(1).random((24, 36, 40)).astype(np.float32)
    return Volume(data, Grid(data.shape, np.diag([1.0, 0.7, 1.0, 1.0])))


def test_means_of_blocks(noise: Volume) -> None:
    fine = Pyramid.of(noise, 8.0).levels[2]
    assert fine.block == (2, 3, 2)
    means = noise.data.reshape(12, 2, 12, 3, 20, 2).mean(axis=(1, 3, 5))
    native = Pyramid.of(noise, 8.0).levels[3]
    expected = np.clip((means - native.offset) * native.gain, 0, BRIGHTEST)
    assert np.abs(fine.data - expected).max() < ROUNDING


@pytest.mark.parametrize("shape", [(7, 11, 13), (4, 5, 30), (16, 16, 16)])
def test_a_ramp_stays_in_place(shape: tuple[int, int, int]) -> None:
    """Blocks that reach past the end excepted, a block's mean is the ramp at its centre."""
    affine = np.array([[0, 1.1, 0, 3], [-0.9, 0, 0, 5], [0, 0, 1.3, -7], [0, 0, 0, 1.0]])
    index = np.indices(shape).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    ramp = (np.array([2.0, -3.0, 1.0]) @ world).reshape(shape).astype(np.float32)
    fine = Pyramid.of(Volume(ramp, Grid(shape, affine)), 8.0).levels[2]
    whole = tuple(slice(0, n // b) for n, b in zip(shape, fine.block, strict=True))
    index = np.indices(fine.data.shape)
    at = np.einsum("ij,j...->i...", fine.affine[:3, :3], index)
    at += fine.affine[:3, 3].reshape(3, 1, 1, 1)
    expected = np.einsum("i,i...->...", np.array([2.0, -3.0, 1.0]), at)[whole]
    native = Pyramid.of(Volume(ramp, Grid(shape, affine)), 8.0).levels[3]
    scaled = np.clip((expected - native.offset) * native.gain, 0, BRIGHTEST)
    assert np.abs(fine.data[whole] - scaled).max() < 1e-4


def test_native_level_is_the_scan_itself(noise: Volume) -> None:
    assert np.shares_memory(Pyramid.of(noise, 8.0).levels[3].data, noise.data)
    turned = noise.with_data(np.asfortranarray(noise.data))
    native = Pyramid.of(turned, 8.0).levels[3]
    assert np.shares_memory(native.data, turned.data)
    assert native.data.flags.c_contiguous
    corner = native.affine @ (39, 0, 0, 1)
    assert corner == pytest.approx(noise.grid.affine @ (0, 0, 39, 1))


@pytest.mark.parametrize(("gain", "offset"), [(0.2, 0), (5, 0), (1, 100), (1, -40)])
def test_intensity_scale_does_not_matter(phantom: Build, gain: float, offset: float) -> None:
    scan = phantom((30, 36, 34))
    first = Pyramid.of(scan, 8.0).levels
    second = Pyramid.of(scan.with_data(scan.data * gain + offset), 8.0).levels
    for one, other in zip(first[:3], second[:3], strict=True):
        assert np.abs(one.data - other.data).max() < 1e-4


def test_something_small_in_a_large_field_of_view_is_seen() -> None:
    data = np.zeros((100, 100, 100), np.float32)
    index = np.indices(data.shape) - 40
    data[(index**2).sum(axis=0) < 64] = 10  # 0.2 % of the voxels
    scan = Pyramid.of(Volume(data, Grid(data.shape, np.eye(4))), 8.0)
    assert scan.usable
    assert 1 <= np.count_nonzero(scan.coarse_foreground) < 60


def test_coarse_step(noise: Volume) -> None:
    head = Volume(np.zeros((256, 256, 256), np.uint8), Grid((256, 256, 256), np.eye(4)))
    assert coarse_step(head) == 8
    assert coarse_step(head, noise) < 2
