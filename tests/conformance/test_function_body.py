"""The function body of ``vxm::Warp3d`` under ONNX Runtime on the rows that it supports."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from conformance.check import check
from conformance.rows import Row, Trait, rows_of
from conformance.warp_models import run_compose, run_integrate, run_warp

RUN: dict[str, Any] = {"warp": run_warp, "integrate": run_integrate, "compose": run_compose}

WITHOUT = {
    # GridSample with align_corners sees the one voxel everywhere.
    Trait.SIZE_ONE,
    # Labels are carried by the runtime; the operator takes float32 and float16.
    Trait.LABELS,
}


def as_it_is(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


@pytest.mark.parametrize("row", rows_of(RUN, WITHOUT), ids=str)
def test_row(row: Row) -> None:
    check(row, RUN[row.operation](as_it_is, row))
