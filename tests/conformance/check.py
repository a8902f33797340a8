"""Whether an implementation's result of a row is right, by named tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.reference import Expected
from conformance.rows import Row

HALF = 2.0**-11
"""Relative error of rounding a value to float16, on top of the above."""

SHARE = 1e-4
"""Absolute error of a label's share, 0 to 1."""


def check(row: Row, result: Any) -> None:
    """Fail unless `result` is what the row asks for.

    Parameters
    ----------
    row
        The row.
    result
        An array of the expected shape; of the volume's type for a warp, affine resampling or carry
        in mode linear of float16 or of any labels, else float32. A label vote may give the pair
        ``(labels, share)``.
    """
    expected = row.expected()
    share = None
    if isinstance(result, tuple):
        result, share = result
    result = np.asarray(result)
    assert result.shape == expected.values.shape
    if expected.decided is None:
        compare_values(row, result, expected)
    else:
        assert result.dtype == expected.values.dtype
        wrong = (result != expected.values) & expected.decided
        # A NaN voxel is found, not interpolated.
        if result.dtype.kind == "f":
            wrong &= ~(np.isnan(result) & np.isnan(expected.values))
        assert not wrong.any(), f"{wrong.sum()} labels differ, first at {np.argwhere(wrong)[0]}"
        # A rare pattern of many ties would make the comparison empty.
        assert expected.decided.mean() > 0.5
    if share is not None:
        assert expected.share is not None
        assert share.dtype == np.float32
        assert np.abs(share - expected.share).max() <= SHARE


def compare_values(row: Row, result: NDArray[Any], expected: Expected) -> None:
    """Values within the row's tolerance, NaN exactly where NaN is expected."""
    assert result.dtype == row.result_type()
    nan = np.isnan(expected.values)
    assert np.array_equal(np.isnan(result), nan)
    assert not nan.all()
    error = np.abs(result.astype(np.float64) - expected.values)[~nan]
    limit = np.full(error.shape, row.tolerance())
    if result.dtype == np.float16:
        limit += HALF * np.abs(expected.values[~nan])
    worst = (error - limit).argmax()
    assert (error <= limit).all(), f"off by {error[worst]:.3g}, {limit[worst]:.3g} allowed"
