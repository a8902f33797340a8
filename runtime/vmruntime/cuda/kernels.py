"""Launching the kernels of ``runtime/csrc/cuda`` on arrays of an arena.

One method for each operation; what the numbers mean stands beside the kernels. Nothing waits for
the device but what says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.cuda.arena import Arena, Scope
from vmruntime.cuda.device import Argument, DeviceArray, Dim
from vmruntime.errors import BackendError
from vmruntime.transform import Interpolation

__all__ = [
    "BLOCK",
    "Kernels",
    "Look",
    "Placement",
    "require_countable",
    "value_blocks",
    "voxel_blocks",
]

BLOCK: Dim = (32, 4, 2)
"""Threads of a block of voxels; see ``grid.cuh``."""

THREADS = 256
VALUES_A_THREAD = 8
"""Of a launch over values: the histograms of a block are worth it for some thousand only."""
MOST_BLOCKS = 1024

MOST_ALONG_AXIS = 65535
"""Blocks of a launch along y and z; each thread takes several voxels beyond."""

MOST_VOXELS = 2**31 - 1
"""Indices of voxels are C's int."""

PLANES_A_THREAD = 4
MANY_BLOCKS = 16384
"""A few for each place on the largest GPUs, of which 132 multiprocessors hold eight blocks each."""

TYPES = {"f4": 0, "f2": 1, "i1": 2, "u1": 3, "i2": 4, "u2": 5, "i4": 6, "u4": 7, "i8": 8, "u8": 9}
"""Of numpy's types, ``enum Type`` of ``carry.cuh``."""

LOOK_UPS: dict[Interpolation, int] = {"linear": 0, "nearest": 1, "label": 2}

IMAGE = np.dtype(
    [("data", "u8"), ("moved", "u8"), ("share", "u8"), ("type", "i4"), ("look_up", "i4")]
)
"""``struct Image`` of ``carry.cuh``."""

TOGETHER = 4
"""Images of one launch."""

STATISTICS = np.dtype(
    [("smallest", "u4"), ("largest", "u4"), ("nonzero", "u8"), ("not_finite", "u8")]
)
"""``struct Statistics`` of ``statistics.cuh``."""

SELECTION_BYTES = 65632
"""``struct Selection`` of ``intensity.cuh``."""

DIVIDE, MINMAX, PERCENTILE = 0, 1, 2
"""``enum Rule`` of ``intensity.cuh``."""

PASSES = 3
"""Of the radix selection."""

NULL = np.uint64(0)

NEGLIGIBLE = 1e-9
"""Factors closer than this to 0 are 0, as in `vmruntime.mapping`."""


@dataclass(frozen=True, eq=False)
class Look:
    """One image that `Kernels.carry` looks up.

    Parameters
    ----------
    data
        ``(D, H, W)`` on the moving grid, of a type of `TYPES`.
    interpolation
        ``"linear"``, ``"nearest"`` or ``"label"``.
    share
        Whether the winners' shares are wanted (``"label"`` only).
    """

    data: DeviceArray
    interpolation: Interpolation
    share: bool = False


@dataclass(frozen=True, eq=False)
class Placement:
    """Where output voxels look.

    Parameters
    ----------
    shape
        Of the output.
    to_model
        ``(4, 4)`` float64, output voxel to model voxel; without a displacement to moving voxel.
    displacement
        ``(3, D, H, W)`` float32, or None.
    to_moving
        ``(4, 4)`` float64, model voxel to moving voxel; unused without a displacement.
    corner
        Where output voxels are model voxels: the first one's index. Else None.
    """

    shape: tuple[int, int, int]
    to_model: NDArray[np.float64]
    displacement: DeviceArray | None = None
    to_moving: NDArray[np.float64] | None = None
    corner: tuple[int, int, int] | None = None


class Kernels:
    """The operations, on arrays of one arena.

    Parameters
    ----------
    arena
        Where results and what is needed on the way come from.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._device = arena.device

    def carry(
        self, scope: Scope, looks: Sequence[Look], place: Placement
    ) -> list[tuple[DeviceArray, DeviceArray | None]]:
        """Look images of one grid up, four in a launch.

        Returns
        -------
        list
            Each image's values, ``(D, H, W)``: float32 for ``"linear"``, else of its own type; and
            its winners' shares, float32, where they were asked for.
        """
        field = place.displacement
        for shape in (looks[0].data.shape, place.shape, () if field is None else field.shape[1:]):
            require_countable(shape)
        moved: list[tuple[DeviceArray, DeviceArray | None]] = []
        for look in looks:
            kind = np.dtype(np.float32) if look.interpolation == "linear" else look.data.dtype
            share = scope.take(place.shape, np.float32) if look.share else None
            moved.append((scope.take(place.shape, kind), share))
        for start in range(0, len(looks), TOGETHER):
            part = slice(start, start + TOGETHER)
            self._carry_some(looks[part], moved[part], place)
        return moved

    def determinant(self, scope: Scope, displacement: DeviceArray) -> DeviceArray:
        """``det J`` of ``x + u(x)``, ``(D, H, W)`` float32; every axis at least 2 long."""
        shape = displacement.shape[1], displacement.shape[2], displacement.shape[3]
        result = scope.take(shape, np.float32)
        sizes = _sizes(shape)
        self._over_voxels("vm_jacobian_determinant", shape, displacement, result, *sizes)
        return result

    def divide(self, values: DeviceArray, scaled: DeviceArray, divisor: float) -> None:
        """``values / divisor``; `scaled` may be `values`, float32 both."""
        self._scale(values, scaled, DIVIDE, (0.0, divisor))

    def stretch(self, values: DeviceArray, scaled: DeviceArray, low: float, high: float) -> None:
        """``(values - low) / (high - low)``; `scaled` may be `values`, float32 both."""
        self._scale(values, scaled, MINMAX, (low, high))

    def minmax(self, values: DeviceArray, scaled: DeviceArray) -> None:
        """Stretched from their minimum and maximum to 0 and 1."""
        with self._arena.scope() as aside:
            bounds = aside.take((2,), np.float32)
            statistics = self._statistics(aside, values)
            self._one("vm_bounds", statistics, NULL, np.int32(MINMAX), bounds)
            self._over_values("vm_scale", values, scaled, _count(values), np.int32(MINMAX), bounds)

    def percentiles(
        self, values: DeviceArray, scaled: DeviceArray, low: float, high: float
    ) -> None:
        """The foreground from two percentiles to 0 and 1; see `IntensityRule`."""
        with self._arena.scope() as aside:
            bounds = self._percentile_bounds(aside, values, low, high)
            rule = np.int32(PERCENTILE)
            self._over_values("vm_scale", values, scaled, _count(values), rule, bounds)

    def brightest(self, values: DeviceArray, percent: float) -> float | None:
        """A percentile of what is not 0, None where everything is; waits for the device."""
        with self._arena.scope() as aside:
            statistics = self._statistics(aside, values)
            if not int(self._fetch(statistics, STATISTICS)[0]["nonzero"]):
                return None
            # From 0 on: the kernel takes two equal ones for a foreground without contrast.
            bounds = self._percentile_bounds(aside, values, 0, percent)
            return float(self._fetch(bounds, np.dtype(np.float32), 2)[1])

    def count_not_finite(self, values: DeviceArray) -> int:
        """How many values are NaN or infinite; waits for the device."""
        with self._arena.scope() as aside:
            statistics = self._statistics(aside, values)
            return int(self._fetch(statistics, STATISTICS)[0]["not_finite"])

    def _carry_some(
        self,
        looks: Sequence[Look],
        moved: Sequence[tuple[DeviceArray, DeviceArray | None]],
        place: Placement,
    ) -> None:
        table = np.zeros(TOGETHER, IMAGE)
        for number, (look, (values, share)) in enumerate(zip(looks, moved, strict=True)):
            table[number] = (
                look.data.memory.address,
                values.memory.address,
                share.memory.address if share else 0,
                TYPES[look.data.dtype.str[1:]],
                LOOK_UPS[look.interpolation],
            )
        last = np.eye(4) if place.to_moving is None else place.to_moving
        last = np.where(np.abs(last) > NEGLIGIBLE, last, 0)
        field = place.displacement
        self._over_voxels(
            "vm_carry",
            place.shape,
            table,
            np.int32(len(looks)),
            *_sizes(looks[0].data.shape),
            np.ascontiguousarray(place.to_model[:3], np.float64),
            NULL if field is None else field,
            *_sizes((0, 0, 0) if field is None else field.shape[1:]),
            np.ascontiguousarray(last[:3], np.float32),
            np.int32(place.corner is not None),
            *_sizes(place.corner or (0, 0, 0)),
            *_sizes(place.shape),
        )

    def _scale(
        self, values: DeviceArray, scaled: DeviceArray, rule: int, bounds: tuple[float, float]
    ) -> None:
        with self._arena.scope() as aside:
            sent = aside.take((2,), np.float32)
            self._device.upload(np.array(bounds, np.float32), sent.memory)
            self._over_values("vm_scale", values, scaled, _count(values), np.int32(rule), sent)

    def _statistics(self, aside: Scope, values: DeviceArray) -> DeviceArray:
        result = aside.take((STATISTICS.itemsize,), np.uint8)
        self._one("vm_statistics_begin", result)
        self._over_values("vm_statistics", values, _count(values), result)
        return result

    def _percentile_bounds(
        self, aside: Scope, values: DeviceArray, low: float, high: float
    ) -> DeviceArray:
        bounds = aside.take((2,), np.float32)
        statistics = self._statistics(aside, values)
        selection = aside.take((SELECTION_BYTES,), np.uint8)
        shares = np.float64(low / 100), np.float64(high / 100)
        self._one("vm_select_begin", selection, *shares)
        for number in range(PASSES):
            at = np.int32(number)
            self._over_values("vm_select_count", values, _count(values), selection, at)
            self._one("vm_select_digit", selection, at)
        self._one("vm_bounds", statistics, selection, np.int32(PERCENTILE), bounds)
        return bounds

    def _fetch(self, array: DeviceArray, kind: np.dtype[Any], count: int = 1) -> NDArray[Any]:
        return self._device.download(array.memory, (count,), kind)

    def _over_voxels(self, kernel: str, shape: tuple[int, int, int], *arguments: Argument) -> None:
        self._device.launch(kernel, voxel_blocks(shape), BLOCK, arguments)

    def _over_values(self, kernel: str, values: DeviceArray, *arguments: Argument) -> None:
        blocks = value_blocks(values.size)
        self._device.launch(kernel, blocks, (THREADS, 1, 1), (values, *arguments))

    def _one(self, kernel: str, *arguments: Argument) -> None:
        self._device.launch(kernel, (1, 1, 1), (THREADS, 1, 1), arguments)


def value_blocks(count: int) -> Dim:
    """Blocks of `THREADS` of a launch over an array."""
    return min(-(-count // (THREADS * VALUES_A_THREAD)), MOST_BLOCKS), 1, 1


def require_countable(shape: Sequence[int]) -> None:
    """Refuse a grid with more voxels than the kernels count.

    Raises
    ------
    BackendError
        It is too large.
    """
    if np.prod(shape, dtype=object) > MOST_VOXELS:
        raise BackendError(
            f"a grid of {' x '.join(map(str, shape))} voxels is too large for a GPU; up to 2^31 "
            "are possible"
        )


def voxel_blocks(shape: tuple[int, int, int]) -> Dim:
    """Blocks of a launch over a grid; see `require_countable` for what that may raise."""
    require_countable(shape)
    blocks = [-(-size // side) for size, side in zip(reversed(shape), BLOCK, strict=True)]
    x, y, z = (min(count, MOST_ALONG_AXIS) for count in blocks)
    # What a thread does once is worth doing for several planes, where there are blocks enough.
    return x, y, -(-z // PLANES_A_THREAD) if x * y * z > MANY_BLOCKS else z


def _sizes(shape: Sequence[int]) -> list[np.int32]:
    return [np.int32(size) for size in shape]


def _count(values: DeviceArray) -> np.int64:
    return np.int64(values.size)
