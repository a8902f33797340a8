"""How far two computations of one displacement differ, in registration terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """Length of the difference between two displacements, over all voxels.

    Parameters
    ----------
    mean, p99, max
        In voxels.
    mean_mm, p99_mm, max_mm
        In millimetres.
    where
        Voxel of the largest difference, in voxels.
    """

    mean: float
    p99: float
    max: float
    mean_mm: float
    p99_mm: float
    max_mm: float
    where: tuple[int, int, int]


def agreement(
    reference: NDArray[np.float32],
    displacement: NDArray[np.float32],
    voxel_size: tuple[float, float, float],
) -> Agreement:
    """Compare two ``(3, D, H, W)`` float32 displacements in voxels of one grid.

    Parameters
    ----------
    reference, displacement
        The two fields; a NaN in either makes every figure NaN.
    voxel_size
        Millimetres along each array axis.
    """
    difference = displacement - reference
    voxels = np.sqrt(np.einsum("idhw,idhw->dhw", difference, difference))
    scaled = difference * np.array(voxel_size, np.float32).reshape(3, 1, 1, 1)
    millimetres = np.sqrt(np.einsum("idhw,idhw->dhw", scaled, scaled))
    d, h, w = np.unravel_index(int(voxels.argmax()), voxels.shape)
    return Agreement(*_figures(voxels), *_figures(millimetres), (int(d), int(h), int(w)))


def _figures(lengths: NDArray[np.float32]) -> tuple[float, float, float]:
    mean = float(lengths.mean(dtype=np.float64))
    return mean, float(np.percentile(lengths, 99)), float(lengths.max())
