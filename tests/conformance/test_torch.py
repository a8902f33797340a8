"""``vmexport.networks``, the PyTorch code that artifacts are made from, on the rows it supports."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from conformance.check import check
from conformance.rows import ComposeRow, IntegrateRow, ResizeRow, Row, Trait, WarpRow, rows_of
from vmexport.networks import Tail
from vmexport.networks.resize import ResizeField
from vmexport.networks.warp import warp as torch_warp


def batch(data: Any) -> torch.Tensor:
    return torch.from_numpy(data)[None]


def warp(row: WarpRow) -> Any:
    return torch_warp(batch(row.volume), batch(row.displacement), row.mode)[0].numpy()


def integrate(row: IntegrateRow) -> Any:
    return Tail(int_steps=row.steps)(batch(row.velocity))[0].numpy()


def resize(row: ResizeRow) -> Any:
    return ResizeField(row.factor)(batch(row.field))[0].numpy()


def compose(row: ComposeRow) -> Any:
    first, second = batch(row.first), batch(row.second)
    return (second + torch_warp(first, second))[0].numpy()


RUN: dict[str, Any] = {
    "warp": warp,
    "integrate": integrate,
    "resize": resize,
    "compose": compose,
}

# grid_sample with align_corners sees the one voxel everywhere; labels are carried by the runtime.
FLOATS = rows_of({"warp", "integrate", "compose"}, {Trait.SIZE_ONE, Trait.LABELS})


@pytest.mark.parametrize("row", [*FLOATS, *rows_of({"resize"})], ids=str)
def test_row(row: Row) -> None:
    check(row, RUN[row.operation](row))
