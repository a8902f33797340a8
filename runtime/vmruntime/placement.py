"""Where the model's grid lies around a fixed scan, and where a scan's foreground is."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vmruntime.grid import Grid
from vmruntime.manifest import Manifest
from vmruntime.volume import Volume

__all__ = ["foreground", "foreground_centre", "place_model_grid", "share_outside"]

FOREGROUND = 0.1
"""Share of the scan's bright end (99.5th percentile of what is not 0) that is foreground."""

ENOUGH = 64
"""Voxels along an axis from which shares and percentiles are as good as from all of a large scan;
a small one, or one of a few slices, is taken whole."""

MARGIN = 8
"""Voxels added on either side of the foreground where a model takes any shape."""


def foreground(volume: Volume) -> NDArray[np.bool_]:
    """Voxels of a scan that are not background, ``(D, H, W)``."""
    sparse = volume.data[_sparse(_steps(volume.data.shape))]
    used = sparse[sparse > 0]
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
    steps = _steps(mask.shape)
    voxels = np.argwhere(mask[_sparse(steps)]) * steps
    if not voxels.size:
        return 0.0
    to_model = np.linalg.inv(model.affine) @ affine @ grid.affine
    places = voxels @ to_model[:3, :3].T + to_model[:3, 3]
    inside = ((places > -0.5) & (places < np.array(model.shape) - 0.5)).all(axis=1)
    return float(1 - inside.mean())


def _steps(shape: tuple[int, ...]) -> list[int]:
    """Every how many voxels along each axis are enough."""
    return [max(1, size // ENOUGH) for size in shape]


def _sparse(steps: list[int]) -> tuple[slice, ...]:
    return tuple(slice(None, None, step) for step in steps)


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
