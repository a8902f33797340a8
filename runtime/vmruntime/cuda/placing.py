"""How arrays of the host lie in memory, and on which voxels an output's fall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.cuda.device import DeviceArray
from vmruntime.grid import Grid
from vmruntime.mapping import SAME_VOXEL

__all__ = ["Uploaded", "on_grid", "reversed_rows", "stored_order"]


@dataclass(frozen=True, eq=False)
class Uploaded:
    """An image on the device, in the order in which it lay in the host's memory.

    Parameters
    ----------
    array
        ``(D, H, W)``, or ``(W, H, D)`` where `flipped`.
    flipped
        Whether the axes are reversed: NIfTI files run along the first axis fastest, and turning
        them round on the host would take longer than sending them.
    source
        The host's array, so that its identity stays its own.
    """

    array: DeviceArray
    flipped: bool
    source: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the array as it is."""
        first, second, third = self.array.shape
        return first, second, third


def stored_order(data: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """A volume as it lies in memory, C-contiguous, and whether its axes are reversed for that."""
    if data.flags.f_contiguous and not data.flags.c_contiguous:
        return data.T, True
    return np.ascontiguousarray(data), False


def reversed_rows(matrix: NDArray[np.float64], upload: Uploaded) -> NDArray[np.float64]:
    """A matrix that leads to an image's voxels, for the order in which it lies on the device."""
    return matrix[[2, 1, 0, 3]] if upload.flipped else matrix


def on_grid(
    model: Grid, output: Grid, to_model: NDArray[np.float64]
) -> tuple[int, int, int] | None:
    """Index of the output's first voxel, where all of them are voxels of the model's grid.

    The rule of `vmruntime.mapping`, where the displacement is read there instead of looked up.
    """
    corner = np.rint(to_model[:3, 3]).astype(int)
    shifted = np.eye(4)
    shifted[:3, 3] = corner
    off = np.abs(to_model - shifted)[:3]
    if (off[:, :3] @ output.shape + off[:, 3]).max() > SAME_VOXEL:
        return None
    if (corner < 0).any() or (corner + output.shape > model.shape).any():
        return None
    d, h, w = (int(index) for index in corner)
    return d, h, w
