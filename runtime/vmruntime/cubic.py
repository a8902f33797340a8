"""Cubic look-up of a volume.

Catmull-Rom and not a cubic B-spline: it needs no prefilter over the whole volume (a recursion that
numpy cannot run quickly, and that rings at the volume's border), passes through the voxels'
values and looks at 4 x 4 x 4 of them. Like every cubic it overshoots at sharp edges by some
percent of the step, so that values below the scan's minimum occur. Source: Keys 1981, "Cubic
convolution interpolation for digital image processing", a = -1/2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.sampling import Coordinates, Sampler

__all__ = ["cubic_sampler"]


def cubic_sampler(volume: NDArray[Any]) -> Sampler:
    """Cubic look-up of a ``(D, H, W)`` volume; zeros outside are blended in; float32 values."""
    # A place up to two voxels outside still reaches a voxel; its own four reach two further.
    padded = np.pad(volume.astype(np.float32, copy=False), (3, 4))
    flat = padded.ravel()
    shape = volume.shape
    plane, row = padded.shape[1] * padded.shape[2], padded.shape[2]

    def sample(coordinates: Coordinates) -> NDArray[np.float32]:
        lower, weights = [], []
        for coordinate, size in zip(coordinates, shape, strict=True):
            clipped = np.clip(coordinate, -2, size + 1)
            floor = np.floor(clipped)
            lower.append(floor.astype(np.int32))
            weights.append(_weights(clipped - floor))
        # The first of the four voxels is the one before the lower one.
        base = (lower[0] + 2) * plane + (lower[1] + 2) * row + (lower[2] + 2)
        total = np.zeros(base.shape, np.float32)
        for i, weight_d in enumerate(weights[0]):
            for j, weight_h in enumerate(weights[1]):
                line = np.zeros(base.shape, np.float32)
                for k, weight_w in enumerate(weights[2]):
                    line += weight_w * flat.take(base + (i * plane + j * row + k))
                line *= weight_d * weight_h
                total += line
        return total

    return sample


def _weights(t: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Weights of the voxels at -1, 0, 1 and 2 for a place at `t` between 0 and 1."""
    half = np.float32(0.5)
    return [
        half * ((2 - t) * t - 1) * t,
        half * ((3 * t - 5) * t * t + 2),
        half * ((4 - 3 * t) * t + 1) * t,
        half * (t - 1) * t * t,
    ]
