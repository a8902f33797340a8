"""What a displacement does to a pair: the registration terms in which two of them are compared.

One implementation for whoever asks whether an artifact, an engine or a number format does what its
source does: ``vm-export`` verifies with it, ``vm-calibrate`` measures with it. `agreement` is its
other half: how far two displacements are apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.quality.jacobian import Regularity, regularity
from vmruntime.quality.overlap import Overlap, overlap
from vmruntime.quality.similarity import Similarity, similarity
from vmruntime.warp import warp_linear, warp_nearest

__all__ = ["Effect", "effect"]


@dataclass(frozen=True)
class Effect:
    """A displacement's figures on one pair.

    Parameters
    ----------
    regularity
        Where it folds.
    overlap
        Dice of the moved labels, where the pair has labels.
    similarity
        Of the moved scan to the fixed one, where the scans were given.
    """

    regularity: Regularity
    overlap: Overlap | None = None
    similarity: Similarity | None = None


def effect(
    displacement: NDArray[np.float32],
    *,
    scans: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    labels: tuple[NDArray[Any], NDArray[Any]] | None = None,
    wanted: Iterable[int] | None = None,
    threads: int = 1,
) -> Effect:
    """Measure a ``(3, D, H, W)`` float32 displacement in voxels of the pair's grid.

    Parameters
    ----------
    displacement
        The displacement.
    scans
        Moving and fixed scan, ``(D, H, W)`` float32.
    labels
        Their segmentations, ``(D, H, W)`` integers; carried to the nearest voxel.
    wanted
        Labels to measure; None for all that both have.
    threads
        Number of threads to use.
    """
    found = None
    if labels is not None:
        found = overlap(warp_nearest(labels[0], displacement, threads=threads), labels[1], wanted)
    alike = None
    if scans is not None:
        moved = warp_linear(scans[0], displacement, threads=threads)
        alike = similarity(moved, scans[1], local=False)
    return Effect(regularity(displacement, threads=threads), found, alike)
