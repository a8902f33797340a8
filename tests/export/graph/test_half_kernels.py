"""Kernels in float16 whose errors cancel."""

from __future__ import annotations

import numpy as np
import pytest

from vmexport.graph.half_kernels import half_kernels


@pytest.mark.parametrize("shape", [(4, 3, 3, 3, 3), (3, 5, 4, 4, 4), (2, 2, 1, 1, 1), (1, 1, 3)])
def test_sums_are_kept_and_weights_stay_close(shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).normal(0, 0.2, shape).astype(np.float32)
    rounded = half_kernels(weights)
    assert (rounded.dtype, rounded.shape) == (np.float16, weights.shape)
    axes = tuple(range(2, weights.ndim))
    unit = np.spacing(np.abs(rounded)).astype(np.float64)
    wide = weights.astype(np.float64)
    assert (np.abs(rounded - wide) <= unit.max(axis=axes, keepdims=True)).all()
    last = np.take_along_axis(
        unit.reshape(*shape[:2], -1),
        np.abs(weights).reshape(*shape[:2], -1).argmin(axis=2)[..., None], 2,
    )[..., 0]  # fmt: skip
    assert (np.abs((rounded - wide).sum(axis=axes)) <= last / 2 + 1e-12).all()


def test_they_are_better_than_one_by_one_on_smooth_features() -> None:
    weights = np.random.default_rng(1).normal(0, 0.2, (16, 16, 3, 3, 3)).astype(np.float32)
    axes = (2, 3, 4)
    exact = weights.astype(np.float64).sum(axis=axes)
    plain = np.abs(weights.astype(np.float16).astype(np.float64).sum(axis=axes) - exact).mean()
    kept = np.abs(half_kernels(weights).astype(np.float64).sum(axis=axes) - exact).mean()
    assert kept < plain / 20


def test_what_float16_holds_is_not_changed() -> None:
    weights = np.arange(-13, 14, dtype=np.float32).reshape(1, 1, 3, 3, 3) / 8
    np.testing.assert_array_equal(half_kernels(weights), weights)


def test_what_it_does_not_hold_is_infinite_and_spoils_nothing_else() -> None:
    weights = np.full((1, 1, 3, 3, 3), 0.25, np.float32)
    weights[0, 0, 1, 1, 1] = 1e6
    rounded = half_kernels(weights)
    assert np.isinf(rounded[0, 0, 1, 1, 1])
    assert (rounded.ravel() == 0.25).sum() == 26
