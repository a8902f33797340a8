"""Carrying labels by label-wise linear voting.

Nearest-neighbour look-up gives jagged borders. Here each of the eight voxels around a place votes
for its label with its trilinear weight, and the label with the most weight wins: the same as
interpolating every label's mask linearly and taking the largest (ANTs' ``GenericLabel``, ITK's
LabelImageGenericInterpolateImageFunction), but the cost does not depend on how many labels there
are, and there is never a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.sampling import Coordinates, clipped

__all__ = ["LabelSampler", "label_sampler"]

LabelSampler = Callable[[Coordinates], tuple[NDArray[Any], NDArray[np.float32]]]
"""Labels at some points, and the weight of each between 0 and 1, in arrays of their shape."""


def label_sampler(volume: NDArray[Any]) -> LabelSampler:
    """Voting look-up of a ``(D, H, W)`` volume of integers.

    Parameters
    ----------
    volume
        Labels; outside counts as 0. Where two labels weigh the same the smaller one wins.

    Returns
    -------
    LabelSampler
        Gives labels of the volume's type, and float32 weights.
    """
    padded = np.pad(volume, (1, 2))
    flat = padded.ravel()
    shape = volume.shape
    strides = (padded.shape[1] * padded.shape[2], padded.shape[2], 1)
    corners = list(np.ndindex(2, 2, 2))

    def sample(coordinates: Coordinates) -> tuple[NDArray[Any], NDArray[np.float32]]:
        base = np.zeros(coordinates[0].size, np.int32)
        fractions = []
        for coordinate, size, stride in zip(coordinates, shape, strides, strict=True):
            place = clipped(coordinate.ravel(), size)
            floor = np.floor(place)
            base += (floor.astype(np.int32) + 1) * np.int32(stride)
            fractions.append(place - floor)
        offsets = [np.dot(corner, strides) for corner in corners]
        winner = flat.take(base)
        mixed = np.zeros(base.shape, bool)
        for offset in offsets[1:]:
            mixed |= flat.take(base + offset) != winner
        confidence = np.ones(base.shape, np.float32)
        # Most places lie inside one structure: only the others are put to the vote.
        where = np.flatnonzero(mixed)
        votes = np.stack([flat.take(base[where] + offset) for offset in offsets])
        weights = _weights([fraction[where] for fraction in fractions])
        winner[where], confidence[where] = _count(votes, weights)
        return winner.reshape(coordinates[0].shape), confidence.reshape(coordinates[0].shape)

    return sample


def _weights(fractions: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Trilinear weights of the corners in `np.ndindex`'s order, ``(8, N)``."""
    weights = np.ones((1, fractions[0].size), np.float32)
    for fraction in fractions:
        weights = np.concatenate(
            [w * part for w in weights[:, None] for part in (1 - fraction, fraction)]
        )
    return weights


def _count(
    votes: NDArray[Any], weights: NDArray[np.float32]
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """The label with the most weight of each column of ``(8, N)`` votes, and its weight."""
    totals = np.zeros_like(weights)
    # One corner's weight after another, in the same order for every label: corners of one label
    # get the very same total, and a tie stays a tie.
    for vote, weight in zip(votes, weights, strict=True):
        totals += np.where(votes == vote, weight, np.float32(0))
    most = totals.max(axis=0)
    last = np.iinfo(votes.dtype).max
    return np.where(totals == most, votes, last).min(axis=0), np.minimum(most, 1)
