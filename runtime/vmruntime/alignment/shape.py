"""Size, turn and shift that an affine map stands for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmruntime.grid import Grid

__all__ = ["fields_overlap", "rotation_degrees", "singular_values"]


def singular_values(matrix: NDArray[np.float64]) -> tuple[float, float, float]:
    """Scales of a ``(4, 4)`` affine map, largest first."""
    first, second, third = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return float(first), float(second), float(third)


def rotation_degrees(matrix: NDArray[np.float64]) -> float:
    """Angle of the rotation closest to the linear part of a ``(4, 4)`` map without reflection."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    cosine = (np.trace(left @ right) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def fields_overlap(one: Grid, other: Grid) -> bool:
    """Whether the boxes around two fields of view, along the world axes, have a point in common."""
    boxes = []
    for grid in (one, other):
        # Voxels reach half their size beyond their centres.
        half = np.abs(grid.affine[:3, :3]).sum(axis=1) / 2
        corners = grid.corners
        boxes.append((corners.min(axis=0) - half, corners.max(axis=0) + half))
    (low, high), (other_low, other_high) = boxes
    return bool((low <= other_high).all() and (other_low <= high).all())
