"""The result of an affine alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Alignment"]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the fixed scan looks in the moving scan, and how far that can be trusted.

    Parameters
    ----------
    matrix
        ``(4, 4)`` float64, fixed RAS+ mm to moving RAS+ mm (it pulls).
    correlation
        Pearson correlation of the scans at the coarse level of 8 mm, over the fixed foreground
        and a rim around it; what lies outside the moving field of view counts as 0.
    foreground_overlap
        Dice of the two foregrounds at that level, inside the fixed field of view.
    fixed_outside
        Share of the fixed foreground that looks outside the moving field of view, 0..1.
    scale
        Singular values of the linear part, largest first.
    rotation_degrees
        Angle of the rotation that is closest to the linear part.
    translation_mm
        How far the centre of the fixed foreground moves, along right, anterior and superior.
    warnings
        Pairs of a stable code and one line of text.
    reason
        Why the alignment is evidently wrong, one line; empty where it is not.
    """

    matrix: NDArray[np.float64]
    correlation: float
    foreground_overlap: float
    fixed_outside: float
    scale: tuple[float, float, float]
    rotation_degrees: float
    translation_mm: tuple[float, float, float]
    warnings: tuple[tuple[str, str], ...]
    reason: str

    @property
    def plausible(self) -> bool:
        """False where the alignment is evidently wrong; `reason` says why."""
        return not self.reason
