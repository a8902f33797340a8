"""How float32 values are spread, counted exactly by their leading bits.

Values are counted by the upper half of their bits: sign, exponent and seven bits of the mantissa,
so that a bin is at most 1/128 of its value wide, from the smallest number to the largest. Nothing
has to be known before: one pass is enough, and counts of several scans are added up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "COARSE", "Histogram", "count"]

BINS = 1 << 16
COARSE = 1 << 12
"""Bins of a channel: sign, exponent, three bits of the mantissa."""

HALF_LARGEST = 65504.0
HALF_OVERFLOW = 65520.0
"""From here on float16 rounds to infinity."""
HALF_FLUSH = 2.0**-25
"""Up to here float16 rounds to zero."""
HALF_SUBNORMAL = 2.0**-14
"""Below this float16 has fewer than 11 bits."""


def count(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number of values in each of the `BINS`, by their leading 16 bits."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    leading = flat.view(np.uint16)[1::2]  # little-endian: the upper half comes second
    return np.bincount(leading, minlength=BINS).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values, by their leading bits.

    Parameters
    ----------
    counts
        ``(BINS,)`` int64, or ``(COARSE,)``.
    """

    counts: NDArray[np.int64]

    @property
    def total(self) -> int:
        """How many values there were."""
        return int(self.counts.sum())

    def quantiles(self, shares: list[float]) -> list[float]:
        """Values below which these shares lie; right within a bin's width."""
        low, high, counts = self._ordered()
        reached = np.cumsum(counts)
        found = []
        for share in shares:
            wanted = share * reached[-1]
            at = int(np.searchsorted(reached, wanted, side="left"))
            at = min(at, len(counts) - 1)
            before = reached[at] - counts[at]
            inside = (wanted - before) / counts[at] if counts[at] else 0.0
            found.append(float(low[at] + (high[at] - low[at]) * min(max(inside, 0.0), 1.0)))
        return found

    def share_not_below(self, value: float) -> float:
        """Share of values whose absolute value is at least `value`, a power of two."""
        edges, _, counts = self._absolute()
        return float(counts[edges >= value].sum() / max(self.total, 1))

    def share_flushed(self) -> float:
        """Share of the values other than zero that float16 makes zero."""
        return self._share_below(HALF_FLUSH)

    def share_subnormal(self) -> float:
        """Share of the values other than zero that float16 holds with fewer bits."""
        return self._share_below(HALF_SUBNORMAL)

    def absolute(self, bins: int, largest: float) -> NDArray[np.float64]:
        """Counts of absolute values in equal bins from 0 to `largest`, spread within each bin."""
        low, high, counts = self._absolute()
        edges = np.linspace(0, largest, bins + 1)
        # The cumulative count is piecewise linear; its differences are the new counts.
        places = np.concatenate([low, high[-1:]])
        reached = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
        return np.diff(np.interp(edges, places, reached))

    def _share_below(self, value: float) -> float:
        low, _, counts = self._absolute()
        counts = counts.copy()
        counts[0] -= self._zeros()
        other = max(int(counts.sum()), 1)
        return float(counts[low < value].sum() / other)

    def _zeros(self) -> int:
        """Values in the bins next to zero, which are zero for all that matters (under 1e-40)."""
        half = len(self.counts) // 2
        return int(self.counts[0] + self.counts[half])

    def _absolute(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Lower and upper edges of absolute values, and counts, without infinite ones."""
        half = len(self.counts) // 2
        low, high = _edges(half)
        both = self.counts[:half] + self.counts[half:]
        keep = len(low)
        return low, high, both[:keep]

    def _ordered(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Edges and counts from the lowest value to the highest."""
        half = len(self.counts) // 2
        low, high = _edges(half)
        keep = len(low)
        negative = self.counts[half:][:keep][::-1]
        positive = self.counts[:half][:keep]
        return (
            np.concatenate([-high[::-1], low]),
            np.concatenate([-low[::-1], high]),
            np.concatenate([negative, positive]),
        )


def _edges(half: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges of the bins of positive finite values."""
    shift = 31 - (half.bit_length() - 1)
    finite = 0x7F800000 >> shift
    bits = np.arange(finite + 1, dtype=np.uint32) << np.uint32(shift)
    edges = bits.view(np.float32).astype(np.float64)
    edges[-1] = float(np.finfo(np.float32).max)
    return edges[:-1], edges[1:]
