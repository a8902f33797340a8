"""Going through a chain of transforms backwards, point by point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmruntime.chain import AffineStep, Chain, WarpStep
from vmruntime.errors import TransformError

__all__ = ["TOLERANCE_MM", "map_backwards"]

TOLERANCE_MM = 1e-3
"""How far from the given point the chain may lead the point that was found."""

# Aimed for at each warp, so that several warps and a scaling affine together stay below.
STEP_TOLERANCE_MM = 1e-5

ITERATIONS = 300
"""Halving steps where the plain iteration overshoots converges within some tens."""


def map_backwards(chain: Chain, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points of the fixed world that a chain takes to given points of the moving world.

    Parameters
    ----------
    chain
        Fixed to moving.
    points
        ``(N, 3)`` float64 in the moving world, RAS+ mm.

    Returns
    -------
    ndarray
        ``(N, 3)`` float64 in the fixed world, RAS+ mm; the chain takes each to within
        `TOLERANCE_MM` of its point. Where a warp folds or its field ends there may be several such
        places, of which one is found.

    Raises
    ------
    TransformError
        Some point has no such place, or none was found: the warp folds there, or the point lies
        where the warp's field ends.
    """
    places = points
    for step in reversed(chain.steps):
        places = (
            step.inverse().map(places) if isinstance(step, AffineStep) else _unwarp(step, places)
        )
    residual = np.linalg.norm(chain.map(places) - points, axis=-1)
    if residual.size and residual.max() > TOLERANCE_MM:
        worst = int(residual.argmax())
        raise TransformError(
            f"{np.count_nonzero(residual > TOLERANCE_MM)} of {len(points)} points have no inverse "
            f"to {TOLERANCE_MM:g} mm, the worst, point {worst + 1} at "
            f"{', '.join(f'{value:.2f}' for value in points[worst])}, is {residual[worst]:.3g} mm "
            "off: the warp folds or ends there; use the inverse warp's file with --direction "
            "fixed-to-moving"
        )
    return places


def _unwarp(warp: WarpStep, targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points that a warp takes to the targets, as near as the iteration came.

    Fixed point of ``x = target - u(x)`` (Chen et al. 2008, "A simple fixed-point approach to
    invert a deformation field"), each point with a step length of its own that is halved whenever
    its residual grew: the plain iteration diverges where the warp more than doubles distances.
    """
    best = targets.copy()
    residual = warp.map(best) - targets
    length = np.ones(len(targets))
    error = np.linalg.norm(residual, axis=1)
    for _ in range(ITERATIONS):
        busy = np.flatnonzero(error > STEP_TOLERANCE_MM)
        if not busy.size:
            break
        trial = best[busy] - length[busy, None] * residual[busy]
        trial_residual = warp.map(trial) - targets[busy]
        trial_error = np.linalg.norm(trial_residual, axis=1)
        better = trial_error < error[busy]
        length[busy[~better]] /= 2
        chosen = busy[better]
        best[chosen], residual[chosen] = trial[better], trial_residual[better]
        error[chosen] = trial_error[better]
    return best
