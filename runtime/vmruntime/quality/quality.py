"""Everything that is measured about one registration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vmruntime.quality.consistency import Consistency
from vmruntime.quality.jacobian import Regularity
from vmruntime.quality.overlap import Overlap
from vmruntime.quality.similarity import Similarity

__all__ = ["Quality"]


@dataclass(frozen=True)
class Quality:
    """Figures of one registration; "before" is after the affine alignment alone.

    Parameters
    ----------
    similarity_before, similarity_after
        Moving and moved scan against the fixed one, on the model's grid in its intensities.
    regularity
        Folding in voxels of the fixed grid.
    overlap_before, overlap_after
        Dice of the labels on the fixed grid, where both scans have some.
    foreground_before, foreground_after
        Dice of the two scans' foregrounds on the model's grid.
    outside
        Share of each scan's foreground outside the model's grid, 0 to 1.
    consistency
        Distance that transform and inverse miss each other by, where there is an inverse.
    volumes_mm3
        Volume of each carried label on the fixed grid, in cubic millimetres.
    """

    similarity_before: Similarity
    similarity_after: Similarity
    regularity: Regularity
    overlap_before: Overlap | None = None
    overlap_after: Overlap | None = None
    foreground_before: float | None = None
    foreground_after: float | None = None
    outside: Mapping[str, float] = field(default_factory=dict)
    consistency: Consistency | None = None
    volumes_mm3: Mapping[int, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
