"""Counting by leading bits against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from vmcalibration.histogram import BINS, COARSE, Histogram, count

WIDTH = 1 / 128
"""Relative width of the widest bin."""


@pytest.fixture
def values() -> np.ndarray:
    noise = np.random.default_rng(0)
    return (noise.normal(0.3, 2, 100_000) ** 3).astype(np.float32)


def test_quantiles(values: np.ndarray) -> None:
    shares = [0.001, 0.01, 0.25, 0.5, 0.9, 0.999]
    found = Histogram(count(values)).quantiles(shares)
    expected = np.quantile(values, shares)
    assert np.abs(found - expected).max() / np.abs(expected).max() < WIDTH
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=1e-4)


def test_coarse_counts_are_of_the_same_values(values: np.ndarray) -> None:
    fine = count(values)
    coarse = Histogram(fine.reshape(COARSE, -1).sum(1))
    assert coarse.total == len(values)
    np.testing.assert_allclose(
        coarse.quantiles([0.1, 0.9]), Histogram(fine).quantiles([0.1, 0.9]), rtol=0.15
    )


def test_counts_add_up(values: np.ndarray) -> None:
    np.testing.assert_array_equal(count(values[:10]) + count(values[10:]), count(values))
    assert count(values).shape == (BINS,)


def test_absolute_values_in_equal_bins(values: np.ndarray) -> None:
    largest = float(np.abs(values).max())
    found = Histogram(count(values)).absolute(50, largest)
    expected, _ = np.histogram(np.abs(values), 50, (0, largest))
    assert found.sum() == pytest.approx(len(values), rel=1e-3)
    assert np.abs(found - expected).max() < 0.02 * len(values)


def test_what_float16_does_not_hold() -> None:
    values = np.array([0, 0, 1e-9, -1e-8, 1e-7, 1, -70000, 1e-5], np.float32)
    found = Histogram(count(values))
    assert found.share_flushed() == pytest.approx(2 / 6)
    assert found.share_subnormal() == pytest.approx(4 / 6)
    assert found.share_not_below(65536.0) == pytest.approx(1 / 8)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    assert np.isinf(half).sum() == 1
    assert (half == 0).sum() - (values == 0).sum() == 2


def test_nothing_but_zero() -> None:
    found = Histogram(count(np.zeros(5, np.float32)))
    assert found.share_flushed() == 0
    assert abs(found.quantiles([0.5])[0]) < 1e-38
