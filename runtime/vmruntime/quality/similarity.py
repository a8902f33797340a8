"""How alike two scans on one grid are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
    mean_a, mean_b = _window_mean(one), _window_mean(other)
    covariance = _window_mean(one * other) - mean_a * mean_b
    variance_a = _window_mean(one * one) - mean_a * mean_a
    variance_b = _window_mean(other * other) - mean_b * mean_b
    foreground = (variance_a > FLAT) & (variance_b > FLAT)
    if not foreground.any():
        return 0.0
    squared = covariance[foreground] ** 2 / (variance_a[foreground] * variance_b[foreground])
    return float(np.clip(squared, 0, 1).mean())


def _window_mean(data: NDArray[np.float32]) -> NDArray[Any]:
    """Mean over the window around each voxel, cut at the border; float64 for its running sums."""
    result: NDArray[Any] = data
    for axis, size in enumerate(data.shape):
        sums = np.cumsum(result, axis=axis, dtype=np.float64)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis)
        index = np.arange(size)
        low = np.maximum(index - WINDOW // 2, 0)
        high = np.minimum(index + WINDOW // 2 + 1, size)
        along = [1, 1, 1]
        along[axis] = -1
        result = (sums.take(high, axis) - sums.take(low, axis)) / (high - low).reshape(along)
    return result
