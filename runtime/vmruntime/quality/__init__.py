"""How good a registration is: similarity, overlap of labels, regularity of the deformation."""

from vmruntime.quality.agreement import Agreement, agreement
from vmruntime.quality.jacobian import Regularity, jacobian_determinant, regularity
from vmruntime.quality.overlap import Overlap, overlap
from vmruntime.quality.quality import Quality
from vmruntime.quality.similarity import Similarity, similarity

__all__ = [
    "Agreement",
    "Overlap",
    "Quality",
    "Regularity",
    "Similarity",
    "agreement",
    "jacobian_determinant",
    "overlap",
    "regularity",
    "similarity",
]
