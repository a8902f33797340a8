"""Whether a transform and its inverse undo each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Consistency", "consistency"]

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Consistency:
    """Distance between a place and where there and back leads, in millimetres.

    Parameters
    ----------
    mean_mm, p99_mm, max_mm
        Over the fixed scan's foreground.
    """

    mean_mm: float
    p99_mm: float
    max_mm: float


def consistency(
    forward: Callable[[Points], Points], backward: Callable[[Points], Points], points: Points
) -> Consistency:
    """Send ``(N, 3)`` places, RAS+ mm, there and back."""
    error = np.linalg.norm(backward(forward(points)) - points, axis=1)
    return Consistency(float(error.mean()), float(np.percentile(error, 99)), float(error.max()))
