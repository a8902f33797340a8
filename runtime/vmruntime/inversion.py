"""The inverse of a displacement, from nothing or from an estimate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vmruntime.displacement import Displacement
from vmruntime.kernels import native_kernels
from vmruntime.mapping import displaced
from vmruntime.sampling import Coordinates, over_slabs, vector_sampler

__all__ = ["invert_displacement"]

GOOD_ENOUGH = 1e-2
"""Voxels that all but one of a thousand places may miss by: less than any scan can show."""

MOST_STEPS = 8
"""Where the deformation folds there is no inverse; elsewhere two to five steps are enough."""

CELL = 2
"""Voxels along a cell in which a first estimate of the inverse is gathered."""

LONGEST_STEP = 1.0
"""Voxels; keeps places with no inverse from running away."""

Field = NDArray[np.float32]


def invert_displacement(
    displacement: Displacement, start: Field | None = None, *, threads: int = 1
) -> Displacement:
    """Solve ``v(x) + u(x + v(x)) = 0`` by Newton's method.

    The Jacobian that a step needs, ``(I + du)^-1`` at ``x + v(x)``, is ``I + dv`` of the inverse
    itself, so that it costs differences instead of look-ups. Plain fixed-point iteration does not
    converge where a deformation compresses to less than half, as ventricles do.

    A last step takes off what is missed between the voxels, where the inverse will be interpolated:
    it halves the error over the whole volume.

    Parameters
    ----------
    displacement
        ``u``; beyond its grid it fades, see `vmruntime.mapping.displaced`.
    start
        ``(3, D, H, W)`` float32, an inverse to improve, such as the integral of minus the velocity;
        None starts from where the voxels of `displacement` land.
    threads
        Number of threads to use.

    Returns
    -------
    Displacement
        ``v`` on the same grid: ``x + v(x)`` is where the value at ``x`` goes.
    """
    native = native_kernels()
    if native and min(displacement.grid.shape) > 1:
        found = native.invert(displacement.data, start, threads=threads)
        return Displacement(found, displacement.grid)
    # The very map that is to be undone: with another border many places there have no answer, and
    # the steps go on for them.
    displace = displaced(displacement)
    inverse = _landings(displacement.data) if start is None else start.copy()
    for _ in range(MOST_STEPS):
        missed = _missed(inverse, displace, 0.0, threads)
        if np.percentile(np.abs(missed[:, ::2, ::2, ::2]), 99.9) < GOOD_ENOUGH:
            break
        _step(inverse, missed)
    between = _missed(_average(inverse), displace, 0.5, threads)
    rim = ((0, 0), (1, 1), (1, 1), (1, 1))
    _step(inverse, _average(np.pad(between, rim, mode="edge")))
    return Displacement(inverse, displacement.grid)


def _landings(field: Field) -> Field:
    """An inverse within a voxel or so: every voxel leaves its way back where it lands.

    Averaged over cells of 2 x 2 x 2 voxels and their neighbours, then interpolated. From ``-u``
    Newton's method does not arrive where a field of some voxels changes quickly.
    """
    shape = field.shape[1:]
    cells = tuple(-(-size // CELL) for size in shape)
    landed = np.zeros(shape, np.intp)
    inside = np.ones(shape, bool)
    for x, u, size, count in zip(
        np.ogrid[[slice(n) for n in shape]], field, shape, cells, strict=True
    ):
        place = np.rint(x + u).astype(np.intp)
        inside &= (place >= 0) & (place < size)
        landed = landed * count + place // CELL
    landed = landed[inside]
    sums = [
        np.bincount(landed, weights, np.prod(cells)).astype(np.float32).reshape(cells)
        for weights in (None, *(component[inside] for component in field))
    ]
    number, *totals = (_smoothed(values) for values in sums)
    back = -np.stack(totals) / np.maximum(number, np.float32(1e-6))
    sample = vector_sampler(back)
    inverse = np.empty_like(field)
    # A cell's middle lies between its voxels.
    lines = [
        np.clip((np.arange(n, dtype=np.float32) - (CELL - 1) / 2) / CELL, 0, count - 1)
        for n, count in zip(shape, cells, strict=True)
    ]

    def one_slab(part: slice) -> None:
        grid = np.meshgrid(lines[0][part], *lines[1:], indexing="ij")
        inverse[:, part] = sample([x.astype(np.float32) for x in grid])

    over_slabs(one_slab, shape)
    return inverse


def _smoothed(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted with 1 2 1 along each axis; the border counts twice."""
    for axis in range(3):
        rim = [(1, 1) if other == axis else (0, 0) for other in range(3)]
        padded = np.moveaxis(np.pad(values, rim, mode="edge"), axis, 0)
        total = padded[:-2] + 2 * padded[1:-1] + padded[2:]
        values = np.moveaxis(total / np.float32(4), 0, axis)
    return values


def _missed(
    inverse: Field,
    displace: Callable[[Coordinates], Coordinates],
    offset: float,
    threads: int,
) -> Field:
    """``v(x) + u(x + v(x))`` at the voxels, or at places `offset` voxels behind them."""
    shape = inverse.shape[1:]
    missed = np.empty_like(inverse)

    def one_slab(part: slice) -> None:
        index = np.ogrid[part, 0 : shape[1], 0 : shape[2]]
        starts = [(x + offset).astype(np.float32) for x in index]
        places = [x + v for x, v in zip(starts, inverse[:, part], strict=True)]
        for axis, (there, x) in enumerate(zip(displace(places), starts, strict=True)):
            missed[axis, part] = there - x

    over_slabs(one_slab, shape, threads)
    return missed


def _step(inverse: Field, missed: Field) -> None:
    """Subtract ``(I + dv) missed`` in place."""
    steps = [
        missed[row] + sum(slope * miss for slope, miss in zip(slopes, missed, strict=True))
        for row, slopes in enumerate(map(np.gradient, inverse))
    ]
    for component, step in zip(inverse, steps, strict=True):
        component -= np.clip(step, -LONGEST_STEP, LONGEST_STEP)


def _average(field: Field) -> Field:
    """Mean of the eight neighbours around every point between voxels, ``(3, D-1, H-1, W-1)``."""
    field = field[:, :-1] + field[:, 1:]
    field = field[:, :, :-1] + field[:, :, 1:]
    return (field[..., :-1] + field[..., 1:]) / np.float32(8)
