"""Measuring a transform: volume change, folding, whether its inverse leads back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmruntime.displacement import Displacement
from vmruntime.grid import Grid
from vmruntime.placement import foreground
from vmruntime.quality import (
    Consistency,
    Regularity,
    consistency,
    jacobian_determinant,
    spread_of_log,
)
from vmruntime.transform import Transform
from vmruntime.volume import Volume

__all__ = ["jacobian_on", "measure_regularity", "round_trip"]

POINTS = 100_000
"""Places that an error over the foreground is measured at; more change the third digit."""


def jacobian_on(transform: Transform, threads: int = 1) -> Volume:
    """Volume change ``det J`` of a whole transform, affine included, on the fixed scan's grid.

    Beyond the model's grid, the affine's.
    """
    scale = float(np.linalg.det(transform.affine[:3, :3]))
    data = np.full(transform.fixed.shape, scale, np.float32)
    if transform.displacement is not None:
        change = jacobian_determinant(transform.displacement.data, threads=threads) - 1
        model = transform.displacement.grid
        here = Transform(transform.fixed, model, np.eye(4))
        data += scale * here.apply(Volume(change, model), threads=threads).data
    return Volume(data, transform.fixed, name="jacobian")


def measure_regularity(displacement: Displacement, fixed: Grid, threads: int = 1) -> Regularity:
    """Folding in voxels of the fixed scan's grid, and evenness on the model's."""
    determinant = jacobian_determinant(displacement.data, threads=threads)
    # Negated, so that NaN counts.
    folds: NDArray[np.bool_] = ~(determinant > 0)
    if folds.any() and not fixed.matches(displacement.grid):
        here = Transform(fixed, displacement.grid, np.eye(4))
        volume = Volume(folds.astype(np.uint8), displacement.grid)
        folds = here.apply(volume, "nearest", threads=threads).data > 0
    count = int(np.count_nonzero(folds))
    return Regularity(count, 100 * count / folds.size, spread_of_log(determinant))


def round_trip(forward: Transform, backward: Transform, fixed: Volume) -> Consistency:
    """Inverse consistency over a scan's foreground."""
    voxels = np.argwhere(foreground(fixed))
    voxels = voxels[:: max(1, len(voxels) // POINTS)]
    if not len(voxels):
        voxels = np.argwhere(np.ones((2, 2, 2)))
    affine = fixed.grid.affine
    places = voxels @ affine[:3, :3].T + affine[:3, 3]
    return consistency(forward.map_points, backward.map_points, places)
