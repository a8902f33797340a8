"""The absolute value that becomes 127 in INT8: three ways to choose it from what was seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmcalibration.options import Method
from vmcalibration.ranges import TensorRange

__all__ = ["threshold"]

SHARE = 0.9999
"""Of the absolute values that the percentile keeps."""

FINE_BINS = 2048
LEVELS = 128
"""Of the entropy method: bins of absolute values, and what INT8 has for them."""


def threshold(held: TensorRange, method: Method) -> float:
    """Where to cut a tensor off.

    Parameters
    ----------
    held
        What the tensor held.
    method
        ``"minmax"``: nothing is cut off. ``"percentile"``: 1 value of 10,000 is. ``"entropy"``:
        where the distribution loses least by rounding and cutting (Kullback-Leibler divergence,
        as S. Migacz describes it for TensorRT, GTC 2017).
    """
    largest = held.largest
    if largest == 0:
        return 1.0
    if method == "percentile":
        return min(largest, _percentile(held, largest))
    if method == "entropy":
        return min(largest, _entropy(held.histogram.absolute(FINE_BINS, largest), largest))
    return largest


def _percentile(held: TensorRange, largest: float) -> float:
    counts = held.histogram.absolute(1 << 16, largest)
    reached = np.cumsum(counts)
    at = int(np.searchsorted(reached, SHARE * reached[-1]))
    return float((at + 1) * largest / len(counts))


def _entropy(counts: NDArray[np.float64], largest: float) -> float:
    counts = counts.copy()
    counts[0] = counts[1]  # zeros are exact at any threshold, and there are many of them
    total = np.concatenate([[0], np.cumsum(counts)])
    best, found = np.inf, len(counts)
    for size in range(LEVELS, len(counts) + 1, 8):
        kept = counts[:size].copy()
        kept[-1] += total[-1] - total[size]
        edges = np.linspace(0, size, LEVELS + 1).round().astype(np.int64)
        there = counts[:size] > 0
        sums = np.add.reduceat(counts[:size], edges[:-1])
        filled = np.maximum(np.add.reduceat(there.astype(np.float64), edges[:-1]), 1)
        rounded = np.repeat(sums / filled, np.diff(edges)) * there
        distance = _divergence(kept, rounded)
        if distance < best:
            best, found = distance, size
    return found * largest / len(counts)


def _divergence(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Kullback-Leibler divergence of two histograms; infinite where the second has a hole."""
    p, q = one / max(one.sum(), 1e-300), other / max(other.sum(), 1e-300)
    used = p > 0
    if (q[used] == 0).any():
        return float("inf")
    return float((p[used] * np.log(p[used] / q[used])).sum())
