"""`vmruntime`'s numpy code on every row of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from conformance.check import check
from conformance.rows import AffineRow, CarryRow, JacobianRow, Row, WarpRow, rows_of
from numpy_kernels import numpy_kernels
from vmruntime import Displacement, Grid
from vmruntime.label_vote import label_sampler
from vmruntime.mapping import voxel_map
from vmruntime.quality.jacobian import jacobian_determinant
from vmruntime.sampling import Coordinates, linear_sampler, nearest_sampler
from vmruntime.warp import warp_linear, warp_nearest


@pytest.fixture(autouse=True)
def _in_numpy() -> Iterator[None]:
    with numpy_kernels():
        yield


def looked_up(volume: Any, coordinates: Coordinates, mode: str) -> Any:
    samplers = {"linear": linear_sampler, "nearest": nearest_sampler, "label": label_sampler}
    return samplers[mode](volume)(coordinates)


def warp(row: WarpRow) -> Any:
    if row.mode == "label":
        index = np.indices(row.displacement.shape[1:]).astype(np.float32)
        with np.errstate(over="ignore"):
            coordinates = list(index + row.displacement)
        parts = [label_sampler(channel)(coordinates) for channel in row.volume]
        return tuple(np.stack(part) for part in zip(*parts, strict=True))
    function = warp_linear if row.mode == "linear" else warp_nearest
    found = np.stack([function(channel, row.displacement) for channel in row.volume])
    # Linear look-ups are float32 whatever the volume; storing them is the caller's.
    return found.astype(row.volume.dtype)


def affine_resample(row: AffineRow) -> Any:
    coordinates = voxel_map(Grid(row.shape, np.eye(4)), None, np.vstack([row.matrix, [0, 0, 0, 1]]))
    return looked_up(row.volume, coordinates(slice(None)), row.mode)


def carry(row: CarryRow) -> Any:
    model = Grid(row.displacement.shape[1:], np.eye(4))
    output = Grid(row.shape, row.to_model)
    coordinates = voxel_map(output, Displacement(row.displacement, model), row.to_moving)
    return looked_up(row.volume, coordinates(slice(None)), row.mode)


def jacobian(row: JacobianRow) -> Any:
    return jacobian_determinant(row.displacement)


RUN: dict[str, Any] = {
    "warp": warp,
    "affine_resample": affine_resample,
    "carry": carry,
    "jacobian_determinant": jacobian,
}
"""Integration, resizing and composition of fields are the network's; numpy has none."""


@pytest.mark.parametrize("row", rows_of(RUN), ids=str)
def test_row(row: Row) -> None:
    check(row, RUN[row.operation](row))
