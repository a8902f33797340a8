"""Where a deformation folds, and how evenly it stretches."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmruntime.kernels import native_kernels

__all__ = ["Regularity", "jacobian_determinant", "regularity", "spread_of_log"]

PLANES_PER_SLAB = 8


@dataclass(frozen=True)
class Regularity:
    """Regularity of a deformation, in voxels of the fixed grid.

    Parameters
    ----------
    folding_voxels
        Voxels where the Jacobian determinant is not positive.
    folding_percent
        Their share of all voxels, in percent.
    sd_log_jacobian
        Standard deviation of log det J over the other voxels.
    """

    folding_voxels: int
    folding_percent: float
    sd_log_jacobian: float


def jacobian_determinant(
    displacement: NDArray[np.float32], *, threads: int = 1
) -> NDArray[np.float32]:
    """Determinant of the Jacobian of ``x + u(x)`` at every voxel.

    Parameters
    ----------
    displacement
        ``(3, D, H, W)`` float32 voxels, every axis at least 2 long.
    threads
        Number of threads to use.

    Returns
    -------
    ndarray
        ``(D, H, W)`` float32; derivatives are central differences, one-sided at the border.
    """
    native = native_kernels()
    if native:
        return native.jacobian_determinant(displacement, threads=threads)
    depth = displacement.shape[1]
    determinant = np.empty(displacement.shape[1:], np.float32)

    def one_slab(start: int) -> None:
        stop = min(start + PLANES_PER_SLAB, depth)
        # One plane more on either side, so that only the true border is one-sided.
        low, high = max(start - 1, 0), min(stop + 1, depth)
        rows = [np.gradient(displacement[axis, low:high]) for axis in range(3)]
        (a, b, c), (d, e, f), (g, h, i) = (list(row) for row in rows)
        for diagonal in (a, e, i):
            diagonal += 1
        value = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
        determinant[start:stop] = value[start - low : stop - low]

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one_slab, range(0, depth, PLANES_PER_SLAB)))
    return determinant


def regularity(displacement: NDArray[np.float32], *, threads: int = 1) -> Regularity:
    """Folding and evenness of a ``(3, D, H, W)`` float32 voxel displacement."""
    determinant = jacobian_determinant(displacement, threads=threads)
    # Negated, so that NaN counts.
    folding = int(np.count_nonzero(~(determinant > 0)))
    return Regularity(folding, 100 * folding / determinant.size, spread_of_log(determinant))


def spread_of_log(determinant: NDArray[np.float32]) -> float:
    """Standard deviation of log det J over the voxels where it is positive; 0 where none is."""
    number, mean, squares = 0, 0.0, 0.0
    # Plane by plane, which stays in the processor's cache; put together as Chan, Golub and LeVeque
    # (1983) do.
    for plane in determinant:
        values = np.log(plane[plane > 0])
        if values.size:
            here = float(values.mean(dtype=np.float64))
            away = values - np.float32(here)
            together = number + values.size
            squares += float(away @ away) + (here - mean) ** 2 * number * values.size / together
            mean += (here - mean) * values.size / together
            number = together
    return math.sqrt(squares / number) if number else 0.0
