"""How good a registration is: similarity, overlap of labels, regularity of the deformation."""

from vmruntime.quality.agreement import Agreement, agreement
from vmruntime.quality.consistency import Consistency, consistency
from vmruntime.quality.effect import Effect, effect
from vmruntime.quality.jacobian import (
    Regularity,
    jacobian_determinant,
    regularity,
    spread_of_log,
)
from vmruntime.quality.overlap import Overlap, count_labels, mask_dice, overlap
from vmruntime.quality.quality import Quality
from vmruntime.quality.similarity import Similarity, similarity

__all__ = [
    "Agreement",
    "Consistency",
    "Effect",
    "Overlap",
    "Quality",
    "Regularity",
    "Similarity",
    "agreement",
    "consistency",
    "count_labels",
    "effect",
    "jacobian_determinant",
    "mask_dice",
    "overlap",
    "regularity",
    "similarity",
    "spread_of_log",
]
