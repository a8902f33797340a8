"""The map from a fixed scan's voxels to places in a moving scan."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vmruntime.displacement import Displacement
from vmruntime.errors import GridMismatchError
from vmruntime.grid import Grid
from vmruntime.volume import Volume
from vmruntime.warp import warp_linear, warp_nearest

__all__ = ["Transform"]

Interpolation = Literal["linear", "nearest"]


@dataclass(frozen=True, eq=False)
class Transform:
    """Fixed voxel ``x`` looks at moving voxel ``x + u(x)``.

    Parameters
    ----------
    displacement
        ``u``, on the fixed scan's grid.
    moving
        The moving scan's grid, of the same shape. Its affine may differ from the fixed one:
        world positions follow from each scan's own affine.

    Raises
    ------
    GridMismatchError
        The two grids do not have the same shape.
    """

    displacement: Displacement
    moving: Grid

    def __post_init__(self) -> None:
        if self.moving.shape != self.fixed.shape:
            raise GridMismatchError(
                f"the moving grid has {self.moving.shape} voxels, "
                f"the displacement {self.fixed.shape}"
            )

    @property
    def fixed(self) -> Grid:
        """The fixed scan's grid, where moved images come to lie."""
        return self.displacement.grid

    def apply(
        self, volume: Volume, interpolation: Interpolation = "linear", *, threads: int = 1
    ) -> Volume:
        """Carry an image that lies on the moving grid onto the fixed grid.

        Parameters
        ----------
        volume
            The image; ``"linear"`` gives float32, ``"nearest"`` keeps its type and values.
        interpolation
            ``"linear"`` for scans, ``"nearest"`` for labels.
        threads
            Number of threads to use.

        Raises
        ------
        GridMismatchError
            The image does not lie on the moving grid.
        """
        if not volume.grid.matches(self.moving):
            raise GridMismatchError(
                f"{volume.name} lies on {volume.grid.describe()}, up to "
                f"{_offset(volume.grid, self.moving)} away from the moving scan's grid "
                f"{self.moving.describe()}; resample it onto the moving scan first"
            )
        warp = warp_linear if interpolation == "linear" else warp_nearest
        data: NDArray[Any] = warp(volume.data, self.displacement.data, threads=threads)
        return Volume(data, self.fixed, volume.header, volume.name)

    def displacement_mm(self) -> NDArray[np.float32]:
        """World displacement ``moving(x + u(x)) - fixed(x)``, ``(D, H, W, 3)`` float32, RAS+ mm."""
        linear = self.moving.affine[:3, :3]
        # One moving affine for every voxel: A_m (x + u) - A_f x = A_m u + (A_m - A_f) x.
        world: NDArray[np.float32] = np.einsum(
            "ij,jdhw->dhwi", linear.astype(np.float32), self.displacement.data
        )
        difference = self.moving.affine - self.fixed.affine
        if np.any(difference):
            for axis, size in enumerate(self.fixed.shape):
                along = [1, 1, 1, 1]
                along[axis] = size
                steps = np.arange(size)[:, None] * difference[:3, axis]
                along[3] = 3
                world += steps.reshape(along).astype(np.float32)
            world += difference[:3, 3].astype(np.float32)
        return world

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write as a displacement field that ITK, ANTs, Slicer and nitransforms read.

        Parameters
        ----------
        path
            ``.nii`` or ``.nii.gz``; an existing file is replaced only with `force`.

        Raises
        ------
        OutputError
            The file exists, has another suffix or cannot be written.
        """
        from vmruntime.io.itk import write_warp
        from vmruntime.io.outputs import Outputs

        with Outputs(force=force) as outputs:
            write_warp(outputs.image(path), self)


def _offset(one: Grid, other: Grid) -> str:
    if one.shape != other.shape:
        return "another shape"
    return f"{one.offset_mm(other):.3g} mm"
