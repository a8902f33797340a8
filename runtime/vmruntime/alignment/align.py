"""Affine alignment of two scans: coarse search, then ever finer fits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vmruntime.alignment.alignment import Alignment
from vmruntime.alignment.checks import (
    Figures,
    looks_of_scans,
    reason_against,
    warnings_about,
)
from vmruntime.alignment.foreground import FOREGROUND, centre, dilated
from vmruntime.alignment.interpolate import values_and_gradients
from vmruntime.alignment.optimise import correlation_at, fit
from vmruntime.alignment.pyramid import Pyramid, coarse_step
from vmruntime.alignment.samples import Frame, draw_samples
from vmruntime.alignment.shape import fields_overlap, rotation_degrees, singular_values
from vmruntime.alignment.starts import Search, best_start
from vmruntime.volume import Volume

__all__ = ["align"]

# Upper bounds. A brain and its rim have some 8,000 voxels at 8 mm; on the finer levels two samples
# are drawn in each of their 4 mm blocks. Four gained nothing.
COARSE_SAMPLES, SAMPLES = 10_000, 120_000
# How far the fixed foreground is grown, so that its outline is seen: 8 mm at either level.
COARSE_RIM, RIM = 1, 2
# The finer the level, the smaller the step that still matters; corners of the field of view move
# two to three times as far. Stopping earlier costs Dice.
TOLERANCES_MM = (0.1, 0.05, 0.01)
STEPS = 15


def align(
    moving: Volume, fixed: Volume, *, search: Search = "quick", threads: int = 1
) -> Alignment:
    """Find the affine map that carries the fixed scan's world onto the moving scan's.

    Twelve degrees of freedom, by correlation, from steps of 8 mm down to the native voxels. The
    same scans always give the same answer.

    Parameters
    ----------
    moving, fixed
        Scans of any orientation, spacing, size, real type and intensity scale, of the same
        contrast, both skull-stripped or both not.
    search
        ``"quick"`` starts from scans that are turned against each other by up to some 60 degrees
        in world space, and tries all rotations where that ends in doubt; ``"full"`` always does,
        at about twice the cost.
    threads
        Number of threads to use; they only help to reduce the scans, most of the work is serial.

    Returns
    -------
    Alignment
        Never raises for what a scan holds: an empty scan or one without contrast gives an
        implausible identity, and a wrong answer says so in `Alignment.reason`.
    """
    step = coarse_step(moving, fixed)
    with ThreadPoolExecutor(max(1, min(threads, 2))) as pool:
        moving_scan, fixed_scan = pool.map(partial(Pyramid.of, coarse=step), (moving, fixed))
    unusable = [
        name for name, scan in (("moving", moving_scan), ("fixed", fixed_scan)) if not scan.usable
    ]
    if unusable:
        return _refused(
            f"the {' and the '.join(unusable)} scan is empty, constant or not finite: nothing "
            "to align"
        )

    frame = _frame(fixed_scan)
    coarse, middle = fixed_scan.levels[:2]
    coarse_samples = draw_samples(
        coarse, dilated(fixed_scan.coarse_foreground, COARSE_RIM), coarse, frame, COARSE_SAMPLES
    )
    pose = best_start(moving_scan, fixed_scan, coarse_samples, frame, search).pose
    rim = dilated(fixed_scan.foreground, RIM)
    for number, tolerance in enumerate(TOLERANCES_MM, start=1):
        samples = draw_samples(fixed_scan.levels[number], rim, middle, frame, SAMPLES)
        level = moving_scan.levels[number]
        pose = fit(level, samples, pose, freedom=12, tolerance=tolerance, steps=STEPS).pose

    matrix = np.vstack([pose @ frame.from_world, [0, 0, 0, 1]])
    overlap, outside = _overlap(moving_scan, fixed_scan, matrix)
    figures = Figures(
        correlation_at(moving_scan.levels[0], coarse_samples, pose),
        overlap,
        outside,
        singular_values(matrix),
    )
    looks = looks_of_scans(moving_scan, fixed_scan)
    reason = reason_against(figures, looks)
    if not fields_overlap(moving.grid, fixed.grid):
        apart = "the fields of view have no point in common in the world, one header is wrong"
        reason = f"{apart}; {reason}" if reason else apart
    right, anterior, superior = pose[:, 3] - frame.centre
    return Alignment(
        matrix=matrix,
        correlation=figures.correlation,
        foreground_overlap=overlap,
        fixed_outside=outside,
        scale=figures.scale,
        rotation_degrees=rotation_degrees(matrix),
        translation_mm=(float(right), float(anterior), float(superior)),
        warnings=(*warnings_about(figures), *looks),
        reason=reason,
    )


def _frame(fixed: Pyramid) -> Frame:
    level = fixed.levels[0]
    middle = centre(fixed.coarse_foreground, level.affine)
    index = np.argwhere(fixed.coarse_foreground)
    away = index @ level.affine[:3, :3].T + level.affine[:3, 3] - middle
    # One voxel alone still has a size.
    voxel = float(np.cbrt(abs(np.linalg.det(level.affine[:3, :3]))))
    return Frame(middle, max(float(np.sqrt((away**2).sum(axis=1).mean())), voxel / 2))


def _overlap(moving: Pyramid, fixed: Pyramid, matrix: NDArray[np.float64]) -> tuple[float, float]:
    """Dice of the foregrounds on the coarse fixed grid; share of the fixed one that looks outside.

    Parameters
    ----------
    moving, fixed
        The scans.
    matrix
        ``(4, 4)``, fixed RAS+ mm to moving RAS+ mm.
    """
    level, seen = fixed.levels[0], moving.levels[0]
    to_index = (np.linalg.inv(seen.affine) @ matrix @ level.affine)[:3]
    index = np.indices(level.data.shape).reshape(3, -1)
    position = (to_index[:, :3] @ index + to_index[:, 3:]).astype(np.float32)
    value, _ = values_and_gradients(seen, position)
    foreground = fixed.coarse_foreground.ravel()
    found = value > FOREGROUND
    total = np.count_nonzero(foreground) + np.count_nonzero(found)
    size = np.array(seen.data.shape, np.float32)[:, None]
    outside = np.any((position < -0.5) | (position > size - 0.5), axis=0)
    return (
        float(2 * np.count_nonzero(foreground & found) / total),
        float(np.count_nonzero(outside & foreground) / np.count_nonzero(foreground)),
    )


def _refused(reason: str) -> Alignment:
    """The identity, for scans that cannot be aligned at all."""
    return Alignment(
        matrix=np.eye(4),
        correlation=0.0,
        foreground_overlap=0.0,
        fixed_outside=0.0,
        scale=(1.0, 1.0, 1.0),
        rotation_degrees=0.0,
        translation_mm=(0.0, 0.0, 0.0),
        warnings=(),
        reason=reason,
    )
