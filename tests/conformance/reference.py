"""What every operation of the voxel kernels gives: eight corners, float64, nothing clever.

Shares no code with `vmruntime`, `vmexport` or the kernels, and is not fast. Conventions:

- Channel i of a displacement moves along array axis i; ``moved(x) = volume(x + u(x))``, and the sum
  ``x + u(x)`` is rounded to float32 once.
- Voxels outside count as 0 and are blended in.
- A coordinate that is NaN or infinite lies outside: 0.
- A corner that is NaN makes the value NaN, unless it lies outside.
- Nearest: halves go to the even voxel. Label vote: the label with the largest trilinear share,
  ties to the smallest label.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FADE = 16.0
"""Voxels over which `carry`'s displacement fades beyond the model grid."""

NEAR_TIE = 1e-3
"""Voxels; what lies closer to the middle between two voxels float32 may decide either way."""

NEAR_VOTE = 1e-3
"""The same for the shares of two labels."""


@dataclass(frozen=True, eq=False)
class Expected:
    """What an operation gives, and where that can be asked for exactly.

    Parameters
    ----------
    values
        Float64, or the type of the labels.
    decided
        Where labels must be equal: false close to a tie; None where values are compared.
    share
        The winner's share of a label vote, else None.
    """

    values: Array
    decided: Array | None = None
    share: Array | None = None


def places(displacement: Array) -> Array:
    """``x + u(x)`` in float32, then float64, ``(3, D, H, W)``."""
    index = np.indices(displacement.shape[1:]).astype(np.float32)
    with np.errstate(over="ignore"):
        return (index + displacement.astype(np.float32)).astype(np.float64)


def corners(volume: Array, where: Array) -> list[tuple[Array, Array]]:
    """Weight and value of the eight voxels around ``(3, ...)`` places in ``(D, H, W)``."""
    where = tamed(where, volume.shape)
    floor = np.floor(where)
    found = []
    for corner in np.ndindex(2, 2, 2):
        index = [(floor[axis] + corner[axis]).astype(int) for axis in range(3)]
        weight = np.ones(where.shape[1:])
        inside = np.ones(where.shape[1:], bool)
        for axis, size in enumerate(volume.shape):
            fraction = where[axis] - floor[axis]
            weight = weight * (fraction if corner[axis] else 1 - fraction)
            inside &= (index[axis] >= 0) & (index[axis] < size)
            index[axis] = np.clip(index[axis], 0, size - 1)
        found.append((weight, np.where(inside, volume[tuple(index)], volume.dtype.type(0))))
    return found


def tamed(where: Array, shape: tuple[int, ...]) -> Array:
    """Places further outside than matters moved to where they still give 0, and NaN with them."""
    far = np.stack([np.clip(x, -2, size + 1) for x, size in zip(where, shape, strict=True)])
    return np.where(np.isfinite(where).all(axis=0), far, -2.0)


def linear(volume: Array, where: Array) -> Array:
    """Trilinear look-up, float64."""
    return sum(
        (weight * value for weight, value in corners(volume.astype(np.float64), where)),
        start=np.zeros(where.shape[1:]),
    )


def nearest(volume: Array, where: Array) -> Array:
    """Nearest look-up, in the volume's type."""
    where = tamed(where, volume.shape)
    index = np.rint(where).astype(int)
    inside = np.ones(where.shape[1:], bool)
    for axis, size in enumerate(volume.shape):
        inside &= (index[axis] >= 0) & (index[axis] < size)
        index[axis] = np.clip(index[axis], 0, size - 1)
    return np.where(inside, volume[tuple(index)], volume.dtype.type(0))


def off_ties(where: Array) -> Array:
    """Whether a place is not close to the middle between two voxels along any axis."""
    with np.errstate(invalid="ignore"):
        away = np.abs(where - np.floor(where) - 0.5) > NEAR_TIE
    return (away | ~np.isfinite(where)).all(axis=0)


def vote(labels: Array, where: Array) -> tuple[Array, Array, Array]:
    """Winner, its share, and how far it is ahead of the next label."""
    around = corners(labels, where)
    candidates = np.stack([value for _, value in around])
    shares = np.stack([sum(w * (v == value) for w, v in around) for _, value in around])
    most = shares.max(axis=0)
    tied = shares > most - 1e-12
    winner = np.where(tied, candidates, np.iinfo(labels.dtype).max).min(axis=0)
    second = np.where(candidates == winner, 0, shares).max(axis=0)
    return winner.astype(labels.dtype), most, most - second


def look_up(volume: Array, where: Array, mode: str, *, ties_are_exact: bool = False) -> Expected:
    """One ``(D, H, W)`` volume at ``(3, ...)`` places; where ties are exact, all is decided."""
    if mode == "linear":
        return Expected(linear(volume, where))
    everywhere = np.ones(where.shape[1:], bool)
    if mode == "nearest":
        decided = everywhere if ties_are_exact else off_ties(where)
        return Expected(nearest(volume, where), decided)
    winner, share, ahead = vote(volume, where)
    return Expected(winner, everywhere if ties_are_exact else ahead > NEAR_VOTE, share)


def integrate(velocity: Array, steps: int) -> Array:
    """Scaling and squaring, float64."""
    field = velocity.astype(np.float64) / 2**steps
    for _ in range(steps):
        field = field + compose_second(field, field)
    return field


def compose_second(field: Array, displacement: Array) -> Array:
    """``field(x + displacement(x))`` with all sums in float64."""
    where = np.indices(displacement.shape[1:]) + displacement
    return np.stack([linear(component, where) for component in field])


def resize(field: Array, factor: Fraction) -> Array:
    """Trilinear with the corner voxels kept at the corners; values scaled by the factor."""
    shape = [int(size * factor) for size in field.shape[1:]]
    ends = [
        (n - 1) / (m - 1) if m > 1 else 0.0 for n, m in zip(field.shape[1:], shape, strict=True)
    ]
    where = np.indices(shape) * np.array(ends).reshape(3, 1, 1, 1)
    return np.stack([linear(component, where) for component in field]) * float(factor)


def jacobian_determinant(displacement: Array) -> Array:
    """Determinant of the gradient of ``x + u(x)``; central differences, one-sided at the border."""
    rows = [np.gradient(component) for component in displacement.astype(np.float64)]
    matrix = np.moveaxis(np.array(rows), (0, 1), (-2, -1)) + np.eye(3)
    return np.linalg.det(matrix)


def affine_places(matrix: Array, shape: tuple[int, int, int]) -> Array:
    """Places ``(3, D, H, W)`` of a grid's voxels through ``(3, 4)`` or ``(4, 4)``."""
    return transformed(matrix, np.indices(shape).astype(np.float64))


def transformed(matrix: Array, where: Array) -> Array:
    """Places through an affine."""
    turned: Array = np.einsum("ij,j...->i...", matrix[:3, :3], where)
    return turned + matrix[:3, 3].reshape(3, 1, 1, 1)


def carry_places(
    shape: tuple[int, int, int], to_model: Array, displacement: Array, to_moving: Array
) -> Array:
    """Output voxel -> model voxel -> displaced, fading beyond the model grid -> moving voxel."""
    model = affine_places(to_model, shape)
    last = np.array(displacement.shape[1:]).reshape(3, 1, 1, 1) - 1
    inside = np.clip(model, 0, last)
    distance = np.sqrt(((model - inside) ** 2).sum(axis=0))
    weight = np.clip(1 - distance / FADE, 0, 1)
    step = np.stack([linear(component, inside) for component in displacement])
    return transformed(to_moving, model + weight * step)
