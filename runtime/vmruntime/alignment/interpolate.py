"""Trilinear values and gradients of a scan at scattered points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.alignment.pyramid import BRIGHTEST, Level

__all__ = ["values_and_gradients"]


def values_and_gradients(
    level: Level, position: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scaled intensity and its derivative.

    Parameters
    ----------
    level
        The scan. Up to half a voxel beyond the outermost centres its border repeats; farther
        outside the value and the gradient are 0.
    position
        ``(3, N)`` float32, index coordinates of `level`.

    Returns
    -------
    value, gradient
        ``(N,)`` and ``(3, N)`` float32, the latter per voxel along each axis. The gradient is
        that of the interpolant, hence 0 where the value is clipped.
    """
    shape = level.data.shape
    inside = np.ones(position.shape[1], bool)
    step, fraction = [], []
    base: NDArray[Any] = np.zeros(position.shape[1], np.intp)
    for axis, size in enumerate(shape):
        # NaN-free by construction: poses are finite, see `optimise`.
        at = position[axis]
        inside &= np.abs(at - np.float32((size - 1) / 2)) <= np.float32(size / 2)
        at = np.clip(at, 0, size - 1)
        # The last voxel pairs with the one before it, so that no corner lies outside.
        lower = np.minimum(at.astype(np.intp), max(size - 2, 0))
        fraction.append(at - lower.astype(np.float32))
        base *= size
        base += lower
        step.append(int(np.prod(shape[axis + 1 :])) if size > 1 else 0)

    flat = level.data.ravel()

    def corner(offset: int) -> NDArray[np.float32]:
        # "clip" is the fastest mode; nothing is out of range.
        taken = flat.take(base + offset if offset else base, mode="clip")
        return taken.astype(np.float32, copy=False)

    def along_last(offset: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Value and slope on the edge of the cell that runs along the last axis."""
        near = corner(offset)
        slope = corner(offset + step[2]) - near
        return near + fraction[2] * slope, slope

    def blend(
        near: NDArray[np.float32], far: NDArray[np.float32], axis: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Interpolate along an axis; also the difference."""
        difference = far - near
        return near + fraction[axis] * difference, difference

    faces = []
    for offset in (0, step[0]):
        near, near_slope = along_last(offset)
        far, far_slope = along_last(offset + step[1])
        value, slope_h = blend(near, far, 1)
        slope_w, _ = blend(near_slope, far_slope, 1)
        faces.append((value, slope_h, slope_w))
    gradient = np.empty((3, position.shape[1]), np.float32)
    value, gradient[0] = blend(faces[0][0], faces[1][0], 0)
    gradient[1], _ = blend(faces[0][1], faces[1][1], 0)
    gradient[2], _ = blend(faces[0][2], faces[1][2], 0)

    value = level.scaled(value)
    weight = (inside & (value > 0) & (value < np.float32(BRIGHTEST))).astype(np.float32)
    weight *= np.float32(level.gain)
    gradient *= weight
    value *= inside
    return value, gradient
