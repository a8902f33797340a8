"""How alike two scans on one grid are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Similarity", "local_ncc", "mse", "ncc", "similarity"]

WINDOW = 9
"""Voxels along each side of the local correlation's window (Balakrishnan et al. 2019)."""

FLAT = 1e-5
"""A window with less variance than this in a 0..1 image is background and has no correlation."""


@dataclass(frozen=True)
class Similarity:
    """Similarity of two scans in the model's intensities.

    Parameters
    ----------
    mse
        Mean squared difference over all voxels.
    ncc
        Pearson correlation over all voxels, -1 to 1.
    local_ncc
        Mean squared correlation in windows of 9 x 9 x 9 voxels, 0 to 1; None where not computed.
    """

    mse: float
    ncc: float
    local_ncc: float | None = None


def similarity(
    one: NDArray[np.float32], other: NDArray[np.float32], *, local: bool = True
) -> Similarity:
    """Compare two ``(D, H, W)`` float32 scans; `local` also computes the local correlation."""
    return Similarity(mse(one, other), ncc(one, other), local_ncc(one, other) if local else None)


def mse(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean squared difference of two ``(D, H, W)`` float32 scans."""
    difference = one - other
    return _dot(difference, difference) / difference.size


def ncc(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson correlation of two ``(D, H, W)`` float32 scans; 0 where one of them is constant."""
    a = one - np.float32(one.mean(dtype=np.float64))
    b = other - np.float32(other.mean(dtype=np.float64))
    norm = math.sqrt(_dot(a, a) * _dot(b, b))
    return _dot(a, b) / norm if norm > 0 else 0.0


def _dot(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Sum of products; plane by plane, since float32 sums of millions are wrong in digit three."""
    return math.fsum(float(np.vdot(a, b)) for a, b in zip(one, other, strict=True))


def local_ncc(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean squared correlation in windows around every voxel of the foreground.

    The measure that VoxelMorph trains on (Balakrishnan et al. 2019, equation 6, divided by the
    number of voxels), over the voxels where both windows are not flat.
    """
    total, voxels = 0.0, 0
    for mean_a, mean_b, mean_ab, mean_aa, mean_bb in _window_means(one, other):
        covariance = mean_ab - mean_a * mean_b
        variance_a = mean_aa - mean_a * mean_a
        variance_b = mean_bb - mean_b * mean_b
        foreground = (variance_a > FLAT) & (variance_b > FLAT)
        squared = covariance[foreground] ** 2 / (variance_a[foreground] * variance_b[foreground])
        total += float(np.clip(squared, 0, 1).sum())
        voxels += len(squared)
    return total / voxels if voxels else 0.0


def _window_means(
    one: NDArray[np.float32], other: NDArray[np.float32]
) -> Iterator[NDArray[np.float64]]:
    """Means of a, b, ab, aa and bb over the windows around each plane's voxels, ``(5, H, W)``.

    Plane after plane, so that what is at work stays in the processor's cache: on whole scans the
    same takes five times as long and a gigabyte. Windows are cut at the border.
    """
    reach = WINDOW // 2
    depth, height, width = one.shape
    rows, columns = (_in_window(size) for size in (height, width))
    sums: list[NDArray[np.float64]] = []
    running = np.zeros((5, height, width))
    for plane in range(depth + reach):
        if plane < depth:
            a, b = one[plane].astype(np.float64), other[plane].astype(np.float64)
            sums.append(_window_sums(np.stack([a, b, a * b, a * a, b * b])))
            running += sums[-1]
        if plane >= reach:
            centre = plane - reach
            if centre > reach:
                running -= sums.pop(0)
            planes = min(centre + reach, depth - 1) - max(centre - reach, 0) + 1
            yield running / (planes * rows[:, None] * columns)


def _window_sums(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the window along the last two axes of ``(5, H, W)``."""
    for axis in (1, 2):
        size = planes.shape[axis]
        reach = min(WINDOW // 2, size - 1)
        ahead = np.cumsum(planes, axis=axis)
        last = np.minimum(np.arange(size) + reach, size - 1)
        planes = ahead.take(last, axis)
        behind = [slice(None)] * 3
        behind[axis] = slice(WINDOW // 2 + 1, None)
        # The sum up to before the window; windows that begin at the border have none.
        begin = [slice(None)] * 3
        begin[axis] = slice(0, max(0, size - WINDOW // 2 - 1))
        planes[tuple(behind)] -= ahead[tuple(begin)]
    return planes


def _in_window(size: int) -> NDArray[np.int64]:
    """How many voxels of an axis are in the window around each."""
    index = np.arange(size)
    low = np.maximum(index - WINDOW // 2, 0)
    return np.minimum(index + WINDOW // 2 + 1, size) - low
