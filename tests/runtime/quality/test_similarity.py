"""Similarity of two scans, against the formulas written out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import textured
from vmruntime.quality import similarity
from vmruntime.quality.similarity import FLAT, WINDOW, local_ncc, mse, ncc

SHAPE = (7, 12, 10)
"""Smaller than the window of the local correlation along one axis, larger along the others."""

FLOAT32 = 1e-6
"""Relative; sums of a thousand float32 products, against float64."""


def pair(shape: tuple[int, ...] = SHAPE) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two scans in 0..1 that are alike in places, with a flat border."""
    one, other = textured(shape, 0, 1.0), textured(shape, 1, 1.0)
    return one, (0.6 * one + 0.4 * other).astype(np.float32)


def naive_local_ncc(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean squared correlation of the windows that are not flat, one window at a time."""
    values = []
    for centre in product(*map(range, one.shape)):
        window = tuple(slice(max(c - WINDOW // 2, 0), c + WINDOW // 2 + 1) for c in centre)
        a, b = one[window].astype(np.float64), other[window].astype(np.float64)
        if a.var() > FLAT and b.var() > FLAT:
            covariance = ((a - a.mean()) * (b - b.mean())).mean()
            values.append(covariance**2 / (a.var() * b.var()))
    return float(np.mean(values))


def test_mse_is_the_mean_of_squares() -> None:
    one, other = pair()
    expected = ((one.astype(np.float64) - other) ** 2).mean()
    assert mse(one, other) == pytest.approx(expected, rel=FLOAT32)
    assert mse(one, one) == 0


def test_ncc_is_pearson() -> None:
    one, other = pair()
    expected = np.corrcoef(one.ravel().astype(np.float64), other.ravel())[0, 1]
    assert ncc(one, other) == pytest.approx(expected, rel=FLOAT32)


def test_ncc_ignores_scale_and_offset_but_not_sign() -> None:
    one, _ = pair()
    assert ncc(one, 3 * one + 2) == pytest.approx(1, abs=FLOAT32)
    assert ncc(one, 1 - one) == pytest.approx(-1, abs=FLOAT32)


def test_sums_of_many_voxels_keep_their_digits() -> None:
    # One float32 running sum of this many ones ends at 2 ** 24.
    one = np.ones((20, 1024, 1024), np.float32)
    assert mse(one, np.zeros_like(one)) == 1


def test_constant_scans_have_no_correlation() -> None:
    one, _ = pair()
    flat = np.full(SHAPE, 0.1, np.float32)  # 0.1 is no binary fraction: its mean is rounded
    for a, b in ((flat, one), (one, flat), (flat, flat)):
        assert ncc(a, b) == 0
        assert local_ncc(a, b) == 0
    assert mse(flat, flat) == 0


def test_local_ncc_is_the_mean_over_windows() -> None:
    one, other = pair()
    expected = naive_local_ncc(one, other)
    assert 0.1 < expected < 0.98
    # Variances down to FLAT are differences of float32 squares of about 1e-7 relative error.
    assert local_ncc(one, other) == pytest.approx(expected, abs=1e-4)


def test_local_ncc_leaves_out_the_background() -> None:
    shape = (24, 11, 12)
    one, other = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    one[:7], other[:7] = pair((7, 11, 12))
    assert local_ncc(one, other) == pytest.approx(naive_local_ncc(one, other), abs=1e-4)


def test_local_ncc_is_blind_to_local_contrast() -> None:
    one, _ = pair()
    assert local_ncc(one, one) == pytest.approx(1, abs=1e-4)
    assert local_ncc(one, 1 - one) == pytest.approx(1, abs=1e-4)


def test_similarity_holds_all_three() -> None:
    one, other = pair()
    full = similarity(one, other)
    assert (full.mse, full.ncc) == (mse(one, other), ncc(one, other))
    assert full.local_ncc == local_ncc(one, other)
    assert similarity(one, other, local=False).local_ncc is None
