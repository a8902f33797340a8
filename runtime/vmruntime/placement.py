"""Where the model's grid lies around a fixed scan, and where a scan's foreground is."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vmruntime.grid import Grid
from vmruntime.manifest import Manifest
from vmruntime.sparse import every, sparse
from vmruntime.volume import Volume

__all__ = [
    "foreground",
    "foreground_centre",
    "lies_inside",
    "place_model_grid",
    "share_outside",
]

FOREGROUND = 0.1
"""Share of the scan's bright end (99.5th percentile of what is not 0) that is foreground."""

MARGIN = 8
"""Voxels added on either side of the foreground where a model takes any shape."""


def foreground(volume: Volume) -> NDArray[np.bool_]:
    """Voxels of a scan that are not background, ``(D, H, W)``."""
    some = volume.data[sparse(volume.data.shape)]
    used = some[some > 0]
    if not used.size:
        lowest: NDArray[np.bool_] = volume.data > volume.data.min()
        return lowest
    bright = np.percentile(used, 99.5)
    mask: NDArray[np.bool_] = volume.data > FOREGROUND * bright
    return mask


def foreground_centre(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Middle of the box around a foreground, RAS+ mm; of the grid where there is none."""
    middle = []
    for axes, size in zip(((1, 2), (0, 2), (0, 1)), grid.shape, strict=True):
        used = np.flatnonzero(mask.any(axis=axes))
        middle.append((used[0] + used[-1]) / 2 if used.size else (size - 1) / 2)
    return grid.affine[:3, :3] @ middle + grid.affine[:3, 3]


def place_model_grid(manifest: Manifest, fixed: Volume) -> Grid:
    """Put the model's grid around a fixed scan, in the scan's world.

    A scan that stands on the model's grid keeps it, so that nothing is resampled. Any other gets a
    grid of the model's orientation and voxel size along the world's axes, its centre at the
    foreground's centre.
    """
    if not manifest.grid_differences(fixed.grid):
        return fixed.grid
    mask = foreground(fixed)
    centre = foreground_centre(mask, fixed.grid)
    axes = nib.orientations.axcodes2ornt(manifest.orientation)
    linear = np.zeros((3, 3))
    for column, ((axis, sign), size) in enumerate(zip(axes, manifest.voxel_size, strict=True)):
        linear[int(axis), column] = sign * size
    shape = manifest.shape or _shape_around(manifest, mask, fixed.grid, linear)
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = centre - linear @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def lies_inside(grid: Grid, model: Grid, affine: NDArray[np.float64]) -> bool:
    """Whether all of a grid lies inside the model's, through an affine from its world."""
    last = np.array(grid.shape) - 1
    corners = np.array(list(np.ndindex(2, 2, 2))) * last
    return bool(_inside(corners.T[:, :, None, None], grid, model, affine).all())


def share_outside(
    mask: NDArray[np.bool_], grid: Grid, model: Grid, affine: NDArray[np.float64]
) -> float:
    """Share of a foreground that lies outside the model's grid, 0 to 1.

    Parameters
    ----------
    mask
        On `grid`.
    affine
        ``(4, 4)``: world of `grid` to the world that `model` lies in.
    """
    steps = every(mask.shape)
    some = mask[sparse(mask.shape)]
    total = np.count_nonzero(some)
    if not total:
        return 0.0
    axes = np.ogrid[tuple(slice(n) for n in some.shape)]
    voxels = [axis * step for axis, step in zip(axes, steps, strict=True)]
    return 1 - np.count_nonzero(some & _inside(voxels, grid, model, affine)) / total


def _inside(
    voxels: Sequence[NDArray[np.int64]], grid: Grid, model: Grid, affine: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether voxels of a grid lie inside the model's.

    Parameters
    ----------
    voxels
        Index along each axis of `grid`, three arrays that broadcast.
    affine
        World of `grid` to the world that `model` lies in.
    """
    to_model = np.linalg.inv(model.affine) @ affine @ grid.affine
    inside = np.ones(np.broadcast_shapes(*(axis.shape for axis in voxels)), bool)
    for row, size in zip(to_model, model.shape, strict=False):
        place = row[0] * voxels[0] + row[1] * voxels[1] + (row[2] * voxels[2] + row[3])
        inside &= (place > -0.5) & (place < size - 0.5)
    return inside


def _shape_around(
    manifest: Manifest, mask: NDArray[np.bool_], grid: Grid, linear: NDArray[np.float64]
) -> tuple[int, int, int]:
    """Smallest multiples of the stride that hold the foreground with a margin."""
    voxels = np.argwhere(mask)
    if not voxels.size:
        voxels = np.array([[0, 0, 0], grid.shape])
    box = np.stack([voxels.min(axis=0), voxels.max(axis=0) + 1])
    corners = np.array([[box[i, 0], box[j, 1], box[k, 2]] for i, j, k in np.ndindex(2, 2, 2)])
    to_model = np.linalg.inv(linear) @ grid.affine[:3, :3]
    extent = np.ptp(corners @ to_model.T, axis=0) + 2 * MARGIN
    shape = (np.ceil(extent / manifest.stride) * manifest.stride).astype(int)
    d, h, w = (int(size) for size in shape)
    return d, h, w
