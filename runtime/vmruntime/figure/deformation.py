"""Slices through a displacement: its grid, its change of volume, its length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.displacement import Displacement
from vmruntime.figure.slices import View
from vmruntime.quality import jacobian_determinant

__all__ = ["Deformation", "marks"]

CELLS = 50
"""Cells along the longest side, at most: more would be too small to see their shape."""


@dataclass(frozen=True, eq=False)
class Deformation:
    """What upright slices through a displacement show; the affine is left out.

    Parameters
    ----------
    displacement
        On the grid that the slices go through.
    view
        Where they go through.
    """

    displacement: Displacement
    view: View

    @property
    def spacing_mm(self) -> float:
        """Width of a cell of the grid: 1, 2 or 5 times a power of ten."""
        extent = np.array(self.view.grid.shape) * self.view.grid.voxel_size
        least = float(extent.max()) / CELLS
        power = 10.0 ** np.floor(np.log10(least))
        return float(next(n * power for n in (1, 2, 5, 10) if n * power >= least * (1 - 1e-9)))

    def levels(self, along: int) -> NDArray[np.float64]:
        """Where the lines across one axis of the moving scan lie, in millimetres from its edge."""
        length = self.view.grid.shape[along] * self.view.grid.voxel_size[along]
        return np.arange(0, length, self.spacing_mm)

    def coordinate(self, across: int, along: int) -> NDArray[np.float32]:
        """How far from the moving grid's edge every place of a slice looks, in millimetres.

        Its contours are the straight lines of the moving scan as they lie on the fixed one, in the
        frame of all other pictures; drawn from a slice, they leave out what goes through it.
        """
        size = self.view.grid.voxel_size[along]
        step = self.view.cut(self._component(along), across)
        index = np.arange(self.view.grid.shape[along], dtype=np.float32)
        shape = [1, 1, 1]
        shape[along] = -1
        straight = np.broadcast_to(index.reshape(shape), self.view.grid.shape)
        here: NDArray[np.float32] = (self.view.cut_upright(straight, across) + step) * size
        return here

    def log2_change(self, across: int) -> NDArray[np.float32]:
        """``log2 det J`` of a slice; NaN where the deformation folds."""
        axis, index = self.view.array_plane(across)
        part: list[Any] = [slice(None)] * 4
        # Derivatives across the slice need its neighbours and no more.
        start = max(index - 1, 0)
        part[1 + axis] = slice(start, index + 2)
        determinant = jacobian_determinant(self.displacement.data[tuple(part)])
        plane = determinant.take([index - start], axis)
        change = self.view.cut(np.broadcast_to(plane, self.displacement.grid.shape), across)
        logarithm = np.full(change.shape, np.nan, np.float32)
        np.log2(change, out=logarithm, where=change > 0)
        return logarithm

    def length_mm(self, across: int) -> NDArray[np.float32]:
        """Length of the displacement in a slice, in millimetres."""
        steps = np.stack([self.view.cut(step, across) for step in self.displacement.data])
        linear = self.displacement.grid.affine[:3, :3].astype(np.float32)
        offset = np.einsum("ij,jrc->irc", linear, steps)
        length: NDArray[np.float32] = np.linalg.norm(offset, axis=0)
        return length

    def _component(self, along: int) -> NDArray[np.float32]:
        """Displacement toward R, A or S (of the upright grid), in voxels."""
        axis, sign = self.view.array_axis(along)
        component: NDArray[np.float32] = self.displacement.data[axis] * np.float32(sign)
        return component


def marks(places: NDArray[np.bool_], w: int, h: int) -> NDArray[np.uint8]:
    """Places of a slice in black, ``(h, w, 4)`` uint8 RGBA, widened so that one voxel is seen."""
    rows, columns = places.shape
    large = np.pad(places[np.arange(h) * rows // h][:, np.arange(w) * columns // w], 1)
    for axis in (0, 1):
        large = large | np.roll(large, 1, axis) | np.roll(large, -1, axis)
    return large[1:-1, 1:-1, None] * np.array([0, 0, 0, 255], np.uint8)
