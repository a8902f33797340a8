"""The map from a fixed scan's world to a moving scan's: an affine and a displacement."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vmruntime.carrying import Carrying, Interpolation
from vmruntime.displacement import Displacement
from vmruntime.errors import GridMismatchError
from vmruntime.grid import Grid
from vmruntime.kernels import native_kernels
from vmruntime.mapping import SlabMap, displaced, native_map, voxel_map
from vmruntime.sampling import over_slabs
from vmruntime.volume import Volume

__all__ = ["Interpolation", "Transform"]


@dataclass(frozen=True, eq=False)
class Transform:
    """A place ``p`` in the fixed world looks at ``A(p + u(p))`` in the moving world.

    Parameters
    ----------
    fixed
        The fixed scan's grid, where carried images come to lie unless another grid is named.
    moving
        The moving scan's grid.
    affine
        ``A``: ``(4, 4)`` float64, fixed world to moving world, RAS+ mm.
    displacement
        ``u``, on the model's grid as it lies in the fixed world; None for the affine alone.
        Beyond that grid it fades, so that the transform goes on as the affine.
    """

    fixed: Grid
    moving: Grid
    affine: NDArray[np.float64]
    displacement: Displacement | None = None

    @classmethod
    def voxelwise(cls, displacement: Displacement, moving: Grid) -> Transform:
        """Voxel ``x`` of the displacement's grid looks at voxel ``x + u(x)`` of the moving grid.

        Raises
        ------
        GridMismatchError
            The two grids do not have the same shape.
        """
        fixed = displacement.grid
        if moving.shape != fixed.shape:
            raise GridMismatchError(
                f"the moving grid has {moving.shape} voxels, the displacement {fixed.shape}"
            )
        return cls(fixed, moving, moving.affine @ np.linalg.inv(fixed.affine), displacement)

    def affine_only(self) -> Transform:
        """The same without the displacement."""
        return replace(self, displacement=None)

    def apply(
        self,
        volume: Volume,
        interpolation: Interpolation = "linear",
        *,
        grid: Grid | None = None,
        threads: int = 1,
    ) -> Volume:
        """Carry an image of the moving scan onto the fixed scan, in one interpolation.

        Parameters
        ----------
        volume
            The image, anywhere in the moving world; 0 outside of it.
        interpolation
            ``"linear"`` or ``"cubic"`` for scans, float32; ``"nearest"`` or ``"label"`` (the label
            with the largest share of a voxel) for labels, which keep their type and values.
        grid
            Where it is to lie, in the fixed world; None for the fixed scan's grid.
        threads
            Number of threads to use.
        """
        return self.apply_all([(volume, interpolation)], grid=grid, threads=threads)[0]

    def apply_all(
        self,
        images: Sequence[tuple[Volume, Interpolation]],
        *,
        grid: Grid | None = None,
        threads: int = 1,
    ) -> list[Volume]:
        """Carry several images on one grid of the moving world over; see `apply`.

        Where they look is computed once for all of them.

        Raises
        ------
        GridMismatchError
            The images do not lie on one grid.
        """
        output = grid or self.fixed
        volumes = [volume for volume, _ in images]
        for volume in volumes[1:]:
            volume.require_grid(volumes[0].grid, "moving")
        moved = self._carrying(output, volumes[0].grid, threads).carry(
            [(volume.data, interpolation) for volume, interpolation in images]
        )
        return [
            Volume(data, output, volume.header, volume.name)
            for data, volume in zip(moved, volumes, strict=True)
        ]

    def vote(
        self, labels: Volume, *, grid: Grid | None = None, threads: int = 1
    ) -> tuple[Volume, Volume]:
        """Carry a label image over by linear voting; see `vmruntime.label_vote`.

        Parameters
        ----------
        labels
            Integers, anywhere in the moving world.
        grid
            Where it is to lie, in the fixed world; None for the fixed scan's grid.
        threads
            Number of threads to use.

        Returns
        -------
        tuple of Volume
            The label with the largest share of each voxel, in the labels' type, and that share,
            float32, 0 to 1.
        """
        output = grid or self.fixed
        winners, shares = self._carrying(output, labels.grid, threads).vote(labels.data)
        moved = Volume(winners, output, labels.header, labels.name)
        return moved, moved.with_data(shares)

    def voxel_map(self, output: Grid, moving: Grid | None = None) -> SlabMap:
        """Where the voxels of a grid in the fixed world look, in voxels of a moving grid."""
        target = moving or self.moving
        return self._map(output, np.linalg.inv(target.affine) @ self.affine)

    def displacement_mm(self, grid: Grid | None = None, *, threads: int = 1) -> NDArray[np.float32]:
        """World offset ``A(p + u(p)) - p`` of every voxel of a grid.

        Parameters
        ----------
        grid
            In the fixed world; None for the fixed scan's grid.
        threads
            Number of threads to use.

        Returns
        -------
        ndarray
            ``(D, H, W, 3)`` float32, RAS+ mm.
        """
        output = grid or self.fixed
        native = native_kernels()
        if native:
            start = self.displacement.grid if self.displacement else output
            where = native_map(output, self.displacement, self.affine @ start.affine)
            return native.offsets(where, output.affine, threads=threads)
        there = self._map(output, self.affine)
        here = voxel_map(output, None, output.affine)
        offset = np.empty((*output.shape, 3), np.float32)

        def one_slab(part: slice) -> None:
            for axis, (to, start) in enumerate(zip(there(part), here(part), strict=True)):
                offset[part, :, :, axis] = to - start

        over_slabs(one_slab, output.shape, threads)
        return offset

    def map_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places ``(N, 3)`` in the fixed world, RAS+ mm, to those they look at in the moving one.

        A landmark of the fixed scan is found there in the moving scan: points go the opposite way
        of images.
        """
        world = np.asarray(points, np.float64)
        if self.displacement is not None:
            model = self.displacement.grid.affine
            voxels = (world - model[:3, 3]) @ np.linalg.inv(model[:3, :3]).T
            columns = [np.ascontiguousarray(column, np.float32) for column in voxels.T]
            moved = np.stack(displaced(self.displacement)(columns), axis=-1)
            # The step in voxels added in float64: float32 positions would lose half a micron.
            world = world + (moved - np.stack(columns, axis=-1)) @ model[:3, :3].T
        return world @ self.affine[:3, :3].T + self.affine[:3, 3]

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

    def _carrying(self, output: Grid, moving: Grid, threads: int) -> Carrying:
        return Carrying(output, moving, self.affine, self.displacement, threads)

    def _map(self, output: Grid, from_world: NDArray[np.float64]) -> SlabMap:
        """`voxel_map` with an affine from the fixed world behind the displacement."""
        start = self.displacement.grid if self.displacement else output
        return voxel_map(output, self.displacement, from_world @ start.affine)
