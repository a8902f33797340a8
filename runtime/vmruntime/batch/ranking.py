"""Which pairs of a cohort to look at first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vmruntime.batch.results import Result

__all__ = ["MEASURES", "Measure", "Ranked", "worst_first"]


@dataclass(frozen=True)
class Measure:
    """A figure that tells good registrations from bad ones.

    Parameters
    ----------
    name
        What people call it.
    rises
        More is better.
    least
        A difference that matters: one that is smaller is never far out, however alike the rest is.
    """

    name: str
    rises: bool
    least: float


MEASURES: Mapping[str, Measure] = {
    "dice_after": Measure("mean Dice of the labels", True, 0.01),
    "ncc_after": Measure("correlation (NCC)", True, 0.003),
    "foreground_dice_after": Measure("Dice of the foregrounds", True, 0.003),
    "affine_correlation": Measure("correlation of the affine alignment", True, 0.005),
    "folding_percent": Measure("folding (%)", False, 0.02),
    "sd_log_jacobian": Measure("SD of ln det J", False, 0.02),
}


@dataclass(frozen=True)
class Ranked:
    """A registered pair and how far out it is.

    Parameters
    ----------
    result
        The pair.
    distance
        How far its worst figure is on the bad side of the cohort's median, in robust standard
        deviations (1.4826 times the median absolute deviation).
    reason
        Key of that figure in `MEASURES`; empty where none was measured.
    """

    result: Result
    distance: float
    reason: str


def worst_first(results: Sequence[Result]) -> list[Ranked]:
    """The registered pairs, those with warnings first, then by how far out they are."""
    done = [result for result in results if result.status == "done"]
    spread: dict[str, tuple[float, float]] = {}
    for key, measure in MEASURES.items():
        values = [value for result in done if (value := result.figures.get(key)) is not None]
        if values:
            middle = float(np.median(values))
            deviation = 1.4826 * float(np.median(np.abs(np.array(values) - middle)))
            spread[key] = middle, max(deviation, measure.least)
    ranked = [_rank(result, spread) for result in done]
    return sorted(ranked, key=lambda r: (-len(r.result.warnings), -r.distance, r.result.pair.id))


def _rank(result: Result, spread: Mapping[str, tuple[float, float]]) -> Ranked:
    worst, reason = -math.inf, ""
    for key, (middle, deviation) in spread.items():
        value = result.figures.get(key)
        if value is None:
            continue
        distance = (middle - value if MEASURES[key].rises else value - middle) / deviation
        if distance > worst:
            worst, reason = distance, key
    return Ranked(result, worst if reason else 0.0, reason)
