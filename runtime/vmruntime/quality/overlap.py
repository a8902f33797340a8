"""How well two label images on one grid agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Overlap", "count_labels", "mask_dice", "overlap"]

DENSE_LIMIT = 1 << 20
"""Label values below this are counted in a table, others by sorting."""


@dataclass(frozen=True)
class Overlap:
    """Dice overlap of two label images.

    Parameters
    ----------
    labels
        Dice of each label, 0 to 1.
    mean
        Their mean; NaN where there is no label.
    """

    labels: Mapping[int, float]
    mean: float


def overlap(one: NDArray[Any], other: NDArray[Any], labels: Iterable[int] | None = None) -> Overlap:
    """Dice (1945) of each label: twice the common voxels over the sum of both.

    Parameters
    ----------
    one, other
        ``(D, H, W)`` integers.
    labels
        Labels to measure; None for all that occur in both, without 0 (background). A label that is
        named here and occurs in one of them only has Dice 0; one in neither is left out.
    """
    in_one, in_other, common = (
        count_labels(one),
        count_labels(other),
        count_labels(one[one == other]),
    )
    if labels is None:
        wanted = sorted((in_one.keys() & in_other.keys()) - {0})
    else:
        wanted = sorted({int(label) for label in labels} & (in_one.keys() | in_other.keys()))
    dice = {
        label: 2 * common.get(label, 0) / (in_one.get(label, 0) + in_other.get(label, 0))
        for label in wanted
    }
    return Overlap(dice, sum(dice.values()) / len(dice) if dice else float("nan"))


def count_labels(labels: NDArray[Any]) -> dict[int, int]:
    """Number of voxels of each label."""
    if labels.size == 0:
        return {}
    if labels.min() >= 0 and labels.max() < DENSE_LIMIT:
        # NumPy 1 counts no unsigned 64-bit integers.
        counts = np.bincount(labels.ravel().astype(np.intp, copy=False))
        values = np.flatnonzero(counts)
        return dict(zip(values.tolist(), counts[values].tolist(), strict=True))
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def mask_dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Dice of two masks on one grid; 0 where both are empty."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return float(2 * np.count_nonzero(one & other) / total) if total else 0.0
