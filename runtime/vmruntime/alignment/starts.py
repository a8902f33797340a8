"""The search for the pose that the fine fit starts from."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vmruntime.alignment.checks import DOUBTFUL_CORRELATION
from vmruntime.alignment.foreground import centre, volume_mm3
from vmruntime.alignment.optimise import Fit, fit
from vmruntime.alignment.pyramid import Level, Pyramid
from vmruntime.alignment.rotations import all_rotations, nearby_rotations
from vmruntime.alignment.samples import Frame, Samples

__all__ = ["Search", "best_start"]

Search = Literal["quick", "full"]
"""How far the scans may be turned against each other: some 60 degrees, or any rotation."""

KEPT = 4
# Similarities need fewer samples than affine maps.
EVERY = 2
SIMILARITY_STEPS, AFFINE_STEPS = 12, 25
TOLERANCE_MM = 0.5


def best_start(
    moving: Pyramid, fixed: Pyramid, samples: Samples, frame: Frame, search: Search
) -> Fit:
    """The best fit at the coarsest level over many rotations.

    Similarities are fitted from every rotation, starting with the foregrounds' centres on each
    other and their volumes equal, and from the headers' own word, which helps where a cut field
    of view spoils centres and volumes; the best of them go on as affine maps. Where a quick
    search ends in doubt, all rotations are tried; their answer counts only if it leaves none,
    since scans of poor quality may fit as well upside down.

    Parameters
    ----------
    moving, fixed
        The scans; both usable.
    samples
        Of the coarsest fixed level.
    frame
        Unit coordinates of the samples.
    search
        Which rotations to start from.
    """
    level = moving.levels[0]
    volumes = [
        volume_mm3(scan.coarse_foreground, scan.levels[0].affine) for scan in (moving, fixed)
    ]
    scale = frame.radius * (volumes[0] / volumes[1]) ** (1 / 3)
    middle = centre(moving.coarse_foreground, level.affine)

    def starts(rotations: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return [np.column_stack([scale * rotation, middle]) for rotation in rotations]

    if search == "full":
        return _best(level, samples, starts(all_rotations()), frame)
    by_header = np.column_stack([frame.radius * np.eye(3), frame.centre])
    near = _best(level, samples, [*starts(nearby_rotations()), by_header], frame)
    if near.correlation >= DOUBTFUL_CORRELATION:
        return near
    far = _best(level, samples, starts(all_rotations()), frame)
    return far if far.correlation >= DOUBTFUL_CORRELATION else near


def _best(level: Level, samples: Samples, starts: list[NDArray[np.float64]], frame: Frame) -> Fit:
    few = Samples(samples.points[:, ::EVERY], samples.values[::EVERY])
    similar = [
        fit(level, few, start, freedom=7, tolerance=TOLERANCE_MM, steps=SIMILARITY_STEPS)
        for start in starts
    ]
    similar.sort(key=lambda found: -found.correlation)
    affine = [
        fit(level, samples, kept.pose, freedom=12, tolerance=TOLERANCE_MM, steps=AFFINE_STEPS)
        for kept in _different(similar, frame)
    ]
    return max(affine, key=lambda found: found.correlation)


def _different(fits: list[Fit], frame: Frame) -> list[Fit]:
    """The best fits that did not end at the same pose."""
    kept: list[Fit] = []
    for candidate in fits:
        if all(_distance(candidate.pose, other.pose) > 0.1 * frame.radius for other in kept):
            kept.append(candidate)
        if len(kept) == KEPT:
            break
    return kept


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Largest difference between two poses, in mm at unit distance."""
    return float(np.abs(one - other).max())
