"""Where the voxels of one grid look in another: an affine, a displacement, an affine.

The one place where the parts of a transform are composed, so that every image and label costs one
interpolation however many parts there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vmruntime.displacement import Displacement
from vmruntime.grid import Grid
from vmruntime.kernels import native_kernels
from vmruntime.sampling import Coordinates, vector_sampler

if TYPE_CHECKING:
    from vmruntime.native import NativeMap

__all__ = ["SlabMap", "displaced", "native_map", "voxel_map"]

SlabMap = Callable[[slice], Coordinates]
"""Coordinates of a slab of planes of the output grid, in voxels of the grid to sample."""

FADE = np.float32(16)
"""Voxels over which a displacement fades beyond the model grid, where nothing is known of it.

Cut off at once it would tear the image at the grid's border; carried on it would move what the
network never saw. A displacement of 5 voxels at the border fades by a third of a voxel a voxel.
"""

NEGLIGIBLE = 1e-9
"""Voxels per voxel; factors closer than this to 0 or 1 are taken as such, which saves work."""

SAME_VOXEL = 1e-3
"""Voxels that a voxel may lie off another one's centre and still be it."""


def voxel_map(
    output: Grid, displacement: Displacement | None, to_moving: NDArray[np.float64]
) -> SlabMap:
    """Compose output voxel -> model voxel -> displaced -> moving voxel.

    Parameters
    ----------
    output
        The grid whose voxels look, in the fixed scan's world.
    displacement
        On the model's grid, in the same world; None for the affine alone.
    to_moving
        ``(4, 4)`` float64: voxel of the model's grid (of `output` without a displacement) to
        voxel, or world position, of the moving scan.
    """
    native = native_kernels()
    if native:
        where = native_map(output, displacement, to_moving)
        return lambda part: list(native.places(where, part))
    if displacement is None:
        return _affine_map(output.shape, to_moving)
    to_model = np.linalg.inv(displacement.grid.affine) @ output.affine
    positions = _affine_map(output.shape, to_model)
    box = _box_of(displacement, output, to_model)
    if box is not None:

        def from_box(part: slice) -> Coordinates:
            moved = [x + box[axis, part] for axis, x in enumerate(positions(part))]
            return _multiplied(moved, to_moving)

        return from_box

    displace = displaced(displacement)
    return lambda part: _multiplied(displace(positions(part)), to_moving)


def native_map(
    output: Grid, displacement: Displacement | None, to_moving: NDArray[np.float64]
) -> NativeMap:
    """The same map as the compiled kernels take it."""
    from vmruntime.native import NativeMap

    if displacement is None:
        return NativeMap(output.shape, np.eye(4), None, to_moving)
    to_model = np.linalg.inv(displacement.grid.affine) @ output.affine
    return NativeMap(output.shape, to_model, displacement.data, to_moving)


def displaced(displacement: Displacement) -> Callable[[Coordinates], Coordinates]:
    """Add a displacement to places given in voxels of its grid, fading outside it."""
    sample = vector_sampler(displacement.data)
    last = [np.float32(size - 1) for size in displacement.grid.shape]

    def displace(coordinates: Coordinates) -> Coordinates:
        if all(x.min() >= 0 and x.max() <= end for x, end in zip(coordinates, last, strict=True)):
            return [x + step for x, step in zip(coordinates, sample(coordinates), strict=True)]
        inside = [np.clip(x, 0, end) for x, end in zip(coordinates, last, strict=True)]
        distance = np.zeros_like(inside[0])
        for x, near in zip(coordinates, inside, strict=True):
            distance += np.square(x - near)
        if not distance.any():
            return [x + step for x, step in zip(coordinates, sample(inside), strict=True)]
        weight = np.clip(1 - np.sqrt(distance) / FADE, 0, 1)
        if not weight.any():
            return coordinates
        steps = sample(inside) * weight
        return [x + step for x, step in zip(coordinates, steps, strict=True)]

    return displace


def _box_of(
    displacement: Displacement, output: Grid, to_model: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """The displacement at the output's voxels where these are voxels of its grid, else None."""
    corner = np.rint(to_model[:3, 3]).astype(int)
    shifted = np.eye(4)
    shifted[:3, 3] = corner
    end = corner + output.shape
    off = np.abs(to_model - shifted)[:3]
    if (off[:, :3] @ output.shape + off[:, 3]).max() > SAME_VOXEL:
        return None
    if (corner < 0).any() or (end > displacement.grid.shape).any():
        return None
    return displacement.data[:, corner[0] : end[0], corner[1] : end[1], corner[2] : end[2]]


def _affine_map(shape: tuple[int, int, int], matrix: NDArray[np.float64]) -> SlabMap:
    """Coordinates of a grid's voxels through an affine of their indices."""
    # Each axis contributes a line; sums of lines are a third of the work of a matrix product.
    lines = [
        [matrix[row, axis] * np.arange(size) for axis, size in enumerate(shape)] for row in range(3)
    ]
    firsts = [
        (first + end).astype(np.float32)
        for (first, _, _), end in zip(lines, matrix[:3, 3], strict=True)
    ]
    planes = [(h[:, None] + w).astype(np.float32) for _, h, w in lines]

    def coordinates(part: slice) -> Coordinates:
        return [
            first[part, None, None] + plane for first, plane in zip(firsts, planes, strict=True)
        ]

    return coordinates


def _multiplied(coordinates: Coordinates, matrix: NDArray[np.float64]) -> Coordinates:
    """Coordinates through an affine; factors of 0 and 1 cost nothing."""
    result = []
    for *factors, offset in matrix[:3]:
        terms = [
            x if abs(factor - 1) < NEGLIGIBLE else np.float32(factor) * x
            for factor, x in zip(factors, coordinates, strict=True)
            if abs(factor) > NEGLIGIBLE
        ]
        total = sum(terms[1:], start=terms[0])
        result.append(total + np.float32(offset) if abs(offset) > NEGLIGIBLE else total)
    return result
