"""A dense displacement field in voxels of its own grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import BackendError
from vmruntime.grid import Grid

__all__ = ["Displacement"]


@dataclass(frozen=True, eq=False)
class Displacement:
    """How far each voxel of a grid looks away for its value.

    Parameters
    ----------
    data
        ``(3, D, H, W)`` float32 in voxels; channel i displaces along array axis i, and the field
        pulls: ``moved(x) = moving(x + u(x))`` (Balakrishnan et al. 2019, section III).
    grid
        The grid of the voxels x.

    Raises
    ------
    BackendError
        The field does not fit the grid.
    """

    data: NDArray[np.float32]
    grid: Grid

    def __post_init__(self) -> None:
        if self.data.shape != (3, *self.grid.shape):
            raise BackendError(
                f"a displacement on a grid of {self.grid.shape} has shape (3, D, H, W), "
                f"not {self.data.shape}"
            )
