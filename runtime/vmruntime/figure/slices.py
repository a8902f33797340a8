"""Upright slices through a volume of any orientation, for figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from vmruntime.grid import Grid
from vmruntime.volume import Volume

__all__ = ["PLANES", "View", "sample", "window"]

PLANES = (("Axial", 2, "z", "LR"), ("Coronal", 1, "y", "LR"), ("Sagittal", 0, "x", "PA"))
"""Name, the world axis that is looked along, its letter, what is at the left and at the right."""


@dataclass(frozen=True, eq=False)
class View:
    """Three upright slices through a grid of any orientation, cropped to the fixed foreground.

    Parameters
    ----------
    orientation
        ``(3, 2)`` float64, nibabel's map from the array axes to R, A, S.
    grid
        The grid with its axes along R, A, S.
    index, box
        Voxel of it that the slices go through, and what they show.
    """

    orientation: NDArray[np.float64]
    grid: Grid
    index: tuple[int, ...]
    box: tuple[slice, ...]

    @classmethod
    def of(cls, fixed: Volume) -> View:
        """Through the foreground's centre of mass, the sagittal slice to the right of it."""
        low, high = window(fixed.data)
        orientation = io_orientation(fixed.grid.affine)
        foreground = apply_orientation(fixed.data > low + 0.1 * (high - low), orientation)
        index, box = [], []
        for axis, size in enumerate(foreground.shape):
            mass = foreground.sum(axis=tuple({0, 1, 2} - {axis}))
            mass = mass if mass.any() else np.ones(size)
            inside = np.flatnonzero(mass)
            centre = float(np.average(np.arange(size), weights=mass))
            if axis == 0:  # The midline shows little but the gap between the hemispheres.
                centre += (inside[-1] - centre) / 4
            index.append(round(centre))
            margin = 2 + len(inside) // 25
            box.append(slice(max(inside[0] - margin, 0), min(inside[-1] + margin + 1, size)))
        affine = fixed.grid.affine @ inv_ornt_aff(orientation, fixed.grid.shape)
        return cls(orientation, Grid(foreground.shape, affine), tuple(index), tuple(box))

    def cut(self, data: NDArray[Any], axis: int) -> NDArray[Any]:
        """The slice across world axis `axis` of a ``(D, H, W)`` array, rows from top to bottom.

        Superior is up, in the axial plane anterior; right is right, in the sagittal plane anterior.
        """
        return self.cut_upright(apply_orientation(data, self.orientation), axis)

    def cut_upright(self, data: NDArray[Any], axis: int) -> NDArray[Any]:
        """`cut` for an array whose axes already run along R, A, S."""
        part: list[Any] = list(self.box)
        part[axis] = self.index[axis]
        plane: NDArray[Any] = data[tuple(part)]
        return plane.T[::-1]

    def array_axis(self, axis: int) -> tuple[int, int]:
        """The array axis that runs along world axis `axis`, and 1 or -1 for with or against it."""
        found = int(np.flatnonzero(self.orientation[:, 0] == axis)[0])
        return found, int(self.orientation[found, 1])

    def array_plane(self, axis: int) -> tuple[int, int]:
        """The array axis across the slice that `cut` takes, and the slice's index along it."""
        found, sign = self.array_axis(axis)
        index = self.index[axis]
        return found, index if sign > 0 else self.grid.shape[axis] - 1 - index


def window(*scans: NDArray[np.float32]) -> tuple[float, float]:
    """Intensities that are drawn black and white, the same for all scans."""
    ends = [np.percentile(sample(scan[scan != 0]), (0.5, 99.5)) for scan in scans if scan.any()]
    low, high = (float(end) for end in np.percentile([(0, 0), *ends], (0, 100)))
    return low, high if high > low else low + 1


def sample(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evenly taken values of many, whose percentiles are the same to within half a percent."""
    return values[:: max(1, values.size // 100_000)]
