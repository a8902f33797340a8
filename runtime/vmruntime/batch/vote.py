"""Voting of several segmentations, voxel by voxel.

Majority voting (Heckemann et al. 2006), and voting weighted by how alike each atlas's carried scan
and the subject are around a voxel (Artaechevarria et al. 2009, "local weighted voting").
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LocalWeights", "vote"]

RADIUS = 4
"""Half of the window's side, in voxels: windows of 9 x 9 x 9, as VoxelMorph's own measure."""

GAIN = 4
"""Power of the correlation that an atlas weighs by."""

FLOOR = 1e-3
"""What every atlas weighs at least: in the dark, where nothing correlates, the majority decides."""

FLAT = 1e-6
"""Variance of a window, in squares of the brightest value, below which it has no correlation."""


def vote(
    labels: NDArray[Any], weights: NDArray[np.float32] | None = None
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """The label with the most weight, and its share of all weight.

    Parameters
    ----------
    labels
        ``(K, N)`` integers: what K atlases say about N voxels.
    weights
        ``(K, N)`` float32, positive; None for one atlas, one vote.

    Returns
    -------
    tuple of ndarray
        ``(N,)`` labels of the same type; ``(N,)`` float32 shares, above 0, at most 1. Of labels
        with the same weight the smallest one wins.
    """
    if weights is None:
        weights = np.ones(labels.shape, np.float32)
    totals = np.zeros_like(weights)
    # In the same order for every label: atlases of one opinion get the very same total, and a tie
    # stays a tie.
    for opinion, weight in zip(labels, weights, strict=True):
        totals += np.where(labels == opinion, weight, np.float32(0))
    most = totals.max(axis=0)
    largest = np.iinfo(labels.dtype).max
    winners = np.where(totals == most, labels, largest).min(axis=0)
    return winners, np.minimum(most / weights.sum(axis=0), np.float32(1))


class LocalWeights:
    """Weights of atlases by their local correlation with one subject, in a block of planes.

    Parameters
    ----------
    fixed
        ``(D, H, n)`` float32, the subject's scan, with `RADIUS` planes more than are asked for at
        both ends, but at the ends of the volume.
    """

    def __init__(self, fixed: NDArray[np.float32]) -> None:
        self.shape = fixed.shape
        self._fixed = fixed
        self._mean = _window_mean(fixed)
        self._variance = _window_mean(np.square(fixed, dtype=np.float64)) - self._mean**2
        self._uneven = self._variance > FLAT * float(np.abs(fixed).max()) ** 2

    def of(self, moved: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights of one atlas's carried scan, of its shape, at least `FLOOR`, at most 1."""
        mean = _window_mean(moved)
        variance = _window_mean(np.square(moved, dtype=np.float64)) - mean**2
        covariance = _window_mean(np.multiply(moved, self._fixed, dtype=np.float64))
        covariance -= mean * self._mean
        where = self._uneven & (variance > FLAT * float(np.abs(moved).max()) ** 2)
        weights = np.full(moved.shape, FLOOR, np.float32)
        correlation = covariance[where] / np.sqrt(variance[where] * self._variance[where])
        weights[where] = np.clip(correlation, 0, 1) ** GAIN
        return np.maximum(weights, np.float32(FLOOR))


def _window_mean(data: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over the window around each voxel, cut at the border."""
    result: NDArray[Any] = data
    for axis, size in enumerate(data.shape):
        sums = np.cumsum(result, axis=axis, dtype=np.float64)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis)
        index = np.arange(size)
        low = np.maximum(index - RADIUS, 0)
        high = np.minimum(index + RADIUS + 1, size)
        along = [1, 1, 1]
        along[axis] = -1
        result = (sums.take(high, axis) - sums.take(low, axis)) / (high - low).reshape(along)
    return result
