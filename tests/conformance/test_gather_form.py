"""The gather form of ``vxm::Warp3d`` on its rows, and next to the native form."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from conformance.check import check
from conformance.rows import IntegrateRow, Row, Trait, rows_of
from conformance.warp_models import run_compose, run_integrate, run_warp
from vmexport.engine.warp_forms import with_warp_form

RUN: dict[str, Any] = {"warp": run_warp, "integrate": run_integrate, "compose": run_compose}

gather = partial(with_warp_form, form="gather")
native = partial(with_warp_form, form="native")


def rows(*without: Trait) -> list[Row]:
    """Rows with a warp to replace; labels are carried by the runtime, not by the operator."""
    found = rows_of(RUN, {Trait.LABELS, *without})
    return [row for row in found if not (isinstance(row, IntegrateRow) and row.steps == 0)]


@pytest.mark.parametrize("row", rows(), ids=str)
def test_row(row: Row) -> None:
    check(row, RUN[row.operation](gather, row))


# GridSample with align_corners sees the one voxel of an axis of size 1 everywhere; gather does not.
@pytest.mark.parametrize("row", rows(Trait.SIZE_ONE), ids=str)
def test_both_forms_agree_with_free_shapes(row: Row) -> None:
    run = RUN[row.operation]
    one, other = run(gather, row, free=True), run(native, row, free=True)
    check(row, other)
    decided = row.expected().decided
    where = np.ones(one.shape, bool) if decided is None else decided
    # Rounding to float16 may fall either way.
    limit = row.tolerance() + (
        2.0**-10 * np.nanmax(np.abs(other)) if one.dtype == np.float16 else 0
    )
    np.testing.assert_allclose(one[where], other[where], rtol=0, atol=limit)
