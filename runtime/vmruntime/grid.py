"""Where an array of voxels lies in the world."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vmruntime.errors import ScanError

__all__ = ["Grid"]

# Headers store affines in float32; FreeSurfer's and SimpleITK's round trips move a corner of a
# 256 mm volume by up to some 1e-4 mm. A hundredth of a millimetre is far above that and far
# below anything that matters.
CORNER_TOLERANCE_MM = 1e-2

# Far beyond any scan, and far from where squares and products overflow or vanish.
SMALLEST_MM, LARGEST_MM = 1e-6, 1e6


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in world space.

    Parameters
    ----------
    shape
        Number of voxels along each array axis, ``(D, H, W)``.
    affine
        ``(4, 4)`` float64: voxel index to RAS+ millimetres.

    Raises
    ------
    ScanError
        The shape is not three positive sizes, or the affine is singular, absurd or not finite.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __init__(self, shape: tuple[int, ...], affine: ArrayLike) -> None:
        if len(shape) != 3 or min(shape) < 1:
            raise ScanError(f"a grid needs three positive sizes, not {tuple(shape)}")
        matrix = np.array(affine, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ScanError(
                "the affine must be a 4 x 4 matrix of finite numbers; repair the header"
            )
        scale = np.abs(matrix[:3, :3]).max()
        if scale and (scale < SMALLEST_MM or np.abs(matrix).max() > LARGEST_MM):
            raise ScanError(
                f"the affine holds {np.abs(matrix).max():.3g}; voxel sizes and positions lie "
                f"between {SMALLEST_MM:g} and {LARGEST_MM:g} millimetres: repair the header"
            )
        # Relative to the voxel size, so that micron-sized voxels are not called singular.
        if scale == 0 or abs(np.linalg.det(matrix[:3, :3] / scale)) < 1e-9:
            raise ScanError(
                "the affine is singular (two voxel axes point the same way, or one has no length); "
                "repair the header"
            )
        matrix.setflags(write=False)
        d, h, w = (int(size) for size in shape)
        object.__setattr__(self, "shape", (d, h, w))
        object.__setattr__(self, "affine", matrix)

    @property
    def orientation(self) -> str:
        """World direction that each array axis runs toward, such as ``"LIA"``."""
        return "".join(nib.orientations.aff2axcodes(self.affine))

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Length of a voxel along each array axis, in millimetres."""
        d, h, w = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(d), float(h), float(w)

    @property
    def corners(self) -> NDArray[np.float64]:
        """World positions of the eight corner voxels, ``(8, 3)`` float64, RAS+ mm."""
        extent = np.array(self.shape) - 1
        index = np.array(list(np.ndindex(2, 2, 2))) * extent
        positions: NDArray[np.float64] = index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return positions

    def box(self, bounds: ArrayLike) -> Grid:
        """Part of the grid: first and one past the last voxel along each axis, ``(3, 2)``."""
        low, high = np.asarray(bounds).T
        shift = np.eye(4)
        shift[:3, 3] = low
        return Grid(tuple(high - low), self.affine @ shift)

    def offset_mm(self, other: Grid) -> float:
        """Largest distance in millimetres between matching corners of two grids."""
        return float(np.linalg.norm(self.corners - other.corners, axis=1).max())

    def matches(self, other: Grid) -> bool:
        """Whether both grids have the same voxels at the same places."""
        return self.shape == other.shape and self.offset_mm(other) <= CORNER_TOLERANCE_MM

    def describe(self) -> str:
        """Shape, orientation and voxel size in one phrase for messages."""
        size = " x ".join(str(n) for n in self.shape)
        voxel = " x ".join(f"{v:.4g}" for v in self.voxel_size)
        return f"{size} {self.orientation} at {voxel} mm"
