"""Borders between the tissues of a scan, as intensities that they run along."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.figure.slices import sample

__all__ = ["border_levels", "smoothed"]

BINS = 64


def border_levels(scan: NDArray[np.float32]) -> NDArray[np.float64]:
    """Two intensities that part a scan's foreground into three classes; none where it is flat.

    In a T1-weighted brain these are the borders of the cortex, inside and outside. Multi-level
    Otsu (1979): the thresholds that leave the least variance within the classes.
    """
    used = sample(scan[scan > 0])
    if not used.size or used.min() == used.max():
        return np.empty(0)
    # A few bright vessels must not stretch the bins.
    counts, ends = np.histogram(used, BINS, (float(used.min()), float(np.percentile(used, 99.5))))
    weight = np.concatenate([[0], np.cumsum(counts)])
    total = np.concatenate([[0], np.cumsum(counts * (ends[1:] + ends[:-1]) / 2)])
    i, j = np.triu_indices(BINS + 1, 1)
    between = np.zeros(len(i))
    for low, high in ((0, i), (i, j), (j, BINS)):
        share = weight[high] - weight[low]
        between += (total[high] - total[low]) ** 2 / np.maximum(share, 1)
    best = int(between.argmax())
    return np.unique(ends[[i[best], j[best]]]).astype(np.float64)


def smoothed(part: NDArray[np.float32]) -> NDArray[np.float32]:
    """A slice with its noise dampened (binomial, 5 voxels), so that its borders are lines."""
    result: NDArray[Any] = part
    for axis in (0, 1):
        size = result.shape[axis]
        index = np.clip(np.arange(-2, size + 2), 0, size - 1)
        wide = result.take(index, axis)
        shifted = [wide.take(np.arange(k, k + size), axis) for k in range(5)]
        result = (shifted[0] + 4 * shifted[1] + 6 * shifted[2] + 4 * shifted[3] + shifted[4]) / 16
    return result
