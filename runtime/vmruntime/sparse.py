"""Enough of a large scan for shares and percentiles."""

from __future__ import annotations

__all__ = ["every", "sparse"]

ENOUGH = 64
"""Voxels along an axis from which shares and percentiles are as good as from all of a large scan;
a small one, or one of a few slices, is taken whole."""


def every(shape: tuple[int, ...]) -> list[int]:
    """Every how many voxels along each axis are enough."""
    return [max(1, size // ENOUGH) for size in shape]


def sparse(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """An index that takes these voxels, and no others, of an array of a shape."""
    return tuple(slice(None, None, step) for step in every(shape))
