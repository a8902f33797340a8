"""Foreground masks: their threshold, dilation, centre and volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOREGROUND", "centre", "dilated", "volume_mm3"]

FOREGROUND = 0.1
"""Scaled intensity above which a voxel counts as foreground."""


def dilated(mask: NDArray[np.bool_], voxels: int) -> NDArray[np.bool_]:
    """Grow a mask by a cube of `voxels` voxels to each side."""
    grown = mask.copy()
    for axis in range(3):
        for _ in range(voxels):
            along = np.moveaxis(grown, axis, 0)
            before = along.copy()
            along[1:] |= before[:-1]
            along[:-1] |= before[1:]
    return grown


def centre(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre of a mask's voxels, ``(3,)`` float64, RAS+ mm."""
    index = np.argwhere(mask).mean(axis=0)
    position: NDArray[np.float64] = affine[:3, :3] @ index + affine[:3, 3]
    return position


def volume_mm3(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> float:
    """Volume of a mask in cubic millimetres."""
    return float(np.count_nonzero(mask) * abs(np.linalg.det(affine[:3, :3])))
