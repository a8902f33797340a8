"""The one table that every implementation of the voxel kernels passes.

A row is an operation's inputs under a name; `expected` gives what `conformance.reference` makes of
them, and `conformance.check.check` compares. An implementation has one test module:

    WARP = {"warp": lambda row: my_warp(row.volume, row.displacement, row.mode)}

    @pytest.mark.parametrize("row", rows_of(WARP), ids=str)
    def test_row(row):
        check(row, WARP[row.operation](row))

and leaves rows out only by a trait, with a reason: ``rows_of(WARP, without={Trait.SIZE_ONE})``.

What is not a number
--------------------
ONNX does not say what a coordinate of NaN gives. ONNX Runtime 1.32's GridSample takes NaN,
infinite and very large (1e30) coordinates for voxel 0, PyTorch's on the CPU for a place outside;
others read whatever memory the conversion to an integer leads to. Here they all lie outside, for
every axis and every mode: the value is 0, the label 0 with a share of 1. The function body of
``vxm::Warp3d`` sees to that before GridSample does. A NaN in the *volume* spreads to what has it
among its eight corners.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from conformance import reference
from conformance.reference import Expected

__all__ = [
    "AffineRow",
    "CarryRow",
    "ComposeRow",
    "IntegrateRow",
    "JacobianRow",
    "ResizeRow",
    "Row",
    "Trait",
    "WarpRow",
    "rows_of",
]

Array = NDArray[Any]

VALUE_ERROR = 1e-4
"""Of the range: what 1e-4 voxel does where neighbours differ by the whole range."""

VOXEL_ERROR = 1e-4
"""Voxels that a displacement may be off: some ten roundings of float32 coordinates up to 256."""

DETERMINANT_ERROR = 1e-4
"""Of the largest determinant, which is a sum of products of three derivatives."""


class Trait(StrEnum):
    """What an implementation may be unable to do, and then says why."""

    SIZE_ONE = "an axis of size 1"
    NOT_FINITE = "a displacement that is not finite"
    FLOAT16 = "a float16 volume"
    LABELS = "a volume of integers"
    VOTE = "the label vote"
    TIES = "nearest or vote where a tie decides"
    CHANNELS = "other than one channel"


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the table.

    Parameters
    ----------
    name
        Unique within the operation.
    traits
        What it needs beyond the operation's core.
    """

    name: str
    traits: frozenset[Trait]

    operation: ClassVar[str]

    def __str__(self) -> str:
        return f"{self.operation}: {self.name}"

    def expected(self) -> Expected:
        """What the operation gives."""
        raise NotImplementedError

    def tolerance(self) -> float:
        """Largest absolute error of a value."""
        return VOXEL_ERROR

    def result_type(self) -> np.dtype[Any]:
        """Type of the result where values are compared."""
        return np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class WarpRow(Row):
    """``volume(x + displacement(x))``.

    Parameters
    ----------
    volume
        ``(C, D, H, W)`` float32, float16 or labels (uint8, int16, int32).
    displacement
        ``(3, D', H', W')`` float32 voxels.
    mode
        ``linear`` or ``nearest`` -> the volume's type; ``label`` -> ``(C, D', H', W')`` labels, or
        the pair of labels and float32 shares, each of that shape.
    """

    volume: Array
    displacement: Array
    mode: str

    operation = "warp"

    def expected(self) -> Expected:
        where = reference.places(self.displacement)
        parts = [
            reference.look_up(channel, where, self.mode, ties_are_exact=Trait.TIES in self.traits)
            for channel in self.volume
        ]
        return stacked(parts)

    def tolerance(self) -> float:
        return value_error(self.volume)

    def result_type(self) -> np.dtype[Any]:
        return self.volume.dtype


@dataclass(frozen=True, eq=False)
class IntegrateRow(Row):
    """Scaling and squaring of a ``(3, d, h, w)`` float32 velocity, in `steps` squarings."""

    velocity: Array
    steps: int

    operation = "integrate"

    def expected(self) -> Expected:
        return Expected(reference.integrate(self.velocity, self.steps))


@dataclass(frozen=True, eq=False)
class ResizeRow(Row):
    """A ``(3, d, h, w)`` float32 field resampled to `factor` times its size, and scaled by it."""

    field: Array
    factor: Fraction

    operation = "resize"

    def expected(self) -> Expected:
        return Expected(reference.resize(self.field, self.factor))


@dataclass(frozen=True, eq=False)
class ComposeRow(Row):
    """``second + warp(first, second)``: both ``(3, D, H, W)`` float32; `second` goes first."""

    first: Array
    second: Array

    operation = "compose"

    def expected(self) -> Expected:
        moved = reference.compose_second(self.first.astype(np.float64), self.second)
        return Expected(self.second.astype(np.float64) + moved)


@dataclass(frozen=True, eq=False)
class JacobianRow(Row):
    """Determinant of the Jacobian of ``x + u(x)``, ``(D, H, W)`` float32; axes of 2 or more."""

    displacement: Array

    operation = "jacobian_determinant"

    def expected(self) -> Expected:
        return Expected(reference.jacobian_determinant(self.displacement))

    def tolerance(self) -> float:
        return DETERMINANT_ERROR * float(np.abs(self.expected().values).max())


@dataclass(frozen=True, eq=False)
class AffineRow(Row):
    """A ``(D, H, W)`` volume at ``matrix @ (output voxel, 1)``.

    Parameters
    ----------
    volume
        float32; any other type for mode nearest.
    matrix
        ``(3, 4)`` float64: voxel of the output to voxel of the volume.
    shape
        Of the output.
    mode
        ``linear`` or ``nearest``.
    """

    volume: Array
    matrix: Array
    shape: tuple[int, int, int]
    mode: str

    operation = "affine_resample"

    def expected(self) -> Expected:
        where = reference.affine_places(self.matrix, self.shape)
        return reference.look_up(self.volume, where, self.mode)

    def tolerance(self) -> float:
        return value_error(self.volume)


@dataclass(frozen=True, eq=False)
class CarryRow(Row):
    """A volume carried from native grid to native grid in one interpolation.

    Parameters
    ----------
    volume
        ``(D, H, W)`` float32, or labels for modes nearest and label.
    shape
        Of the output.
    to_model
        ``(4, 4)`` float64: voxel of the output to voxel of the displacement's grid.
    displacement
        ``(3, d, h, w)`` float32 voxels; fades over 16 voxels beyond its grid.
    to_moving
        ``(4, 4)`` float64: voxel of the displacement's grid to voxel of the volume.
    mode
        ``linear``, ``nearest`` or ``label``.
    """

    volume: Array
    shape: tuple[int, int, int]
    to_model: Array
    displacement: Array
    to_moving: Array
    mode: str

    operation = "carry"

    def expected(self) -> Expected:
        where = reference.carry_places(self.shape, self.to_model, self.displacement, self.to_moving)
        return reference.look_up(self.volume, where, self.mode)

    def tolerance(self) -> float:
        return value_error(self.volume)


def rows_of(operations: Iterable[str], without: Iterable[Trait] = ()) -> list[Row]:
    """The rows of some operations, but for those with a trait that the implementation lacks."""
    from conformance.table import ROWS

    refused = frozenset(without)
    wanted = frozenset(operations)
    rows = [row for row in ROWS if row.operation in wanted and not row.traits & refused]
    missing = wanted - {row.operation for row in rows}
    if missing:
        raise ValueError(f"no rows of {sorted(missing)}")
    return rows


def stacked(parts: list[Expected]) -> Expected:
    """Channels put together."""

    def stack(name: str) -> Array | None:
        members = [getattr(part, name) for part in parts]
        return None if members[0] is None else np.stack(members)

    values = stack("values")
    assert values is not None
    return Expected(values, stack("decided"), stack("share"))


def value_error(volume: Array) -> float:
    """Largest error of a value interpolated in a volume."""
    finite = volume[np.isfinite(volume)].astype(np.float64)
    return VALUE_ERROR * float(max(finite.max(), 0) - min(finite.min(), 0))
