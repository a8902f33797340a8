"""Everything that is measured about one registration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vmruntime.quality.jacobian import Regularity
from vmruntime.quality.overlap import Overlap
from vmruntime.quality.similarity import Similarity

__all__ = ["Quality"]


@dataclass(frozen=True)
class Quality:
    """Figures of one registration; "before" is the moving scan as it was on the model's grid.

    Parameters
    ----------
    similarity_before, similarity_after
        Moving and moved scan against the fixed one, in the model's intensities.
    regularity
        Of the displacement, in voxels of the fixed grid.
    overlap_before, overlap_after
        Of the labels, where both scans have some.
    """

    similarity_before: Similarity
    similarity_after: Similarity
    regularity: Regularity
    overlap_before: Overlap | None = None
    overlap_after: Overlap | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
