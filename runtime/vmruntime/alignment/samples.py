"""The points of the fixed scan at which the two scans are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmruntime.alignment.pyramid import Level

__all__ = ["Frame", "Samples", "draw_samples"]


@dataclass(frozen=True, eq=False)
class Frame:
    """Unit coordinates ``u = (x - centre) / radius`` of the fixed scan's foreground.

    In them the columns of a pose have comparable effects, which keeps its fit well conditioned.

    Parameters
    ----------
    centre
        ``(3,)`` float64, RAS+ mm.
    radius
        Root of the mean squared distance of the foreground from its centre, mm.
    """

    centre: NDArray[np.float64]
    radius: float

    @property
    def from_world(self) -> NDArray[np.float64]:
        """``(4, 4)`` float64: RAS+ mm to unit coordinates."""
        matrix = np.diag([1 / self.radius] * 3 + [1.0])
        matrix[:3, 3] = -self.centre / self.radius
        return matrix


@dataclass(frozen=True, eq=False)
class Samples:
    """Points of the fixed scan.

    Parameters
    ----------
    points
        ``(3, N)`` float32, unit coordinates of the `Frame`.
    values
        ``(N,)`` float32, scaled intensities of the fixed scan there.
    """

    points: NDArray[np.float32]
    values: NDArray[np.float32]


def draw_samples(
    level: Level,
    mask: NDArray[np.bool_],
    mask_level: Level,
    frame: Frame,
    count: int,
) -> Samples:
    """Draw about `count` voxels of a level, spread evenly over a mask, always the same ones.

    Parameters
    ----------
    level
        The fixed scan.
    mask
        Voxels of `mask_level`, which is `level` itself or a coarser one.
    frame
        The unit coordinates.
    count
        Upper bound of the number of samples, up to rounding to whole blocks of the mask.
    """
    random = np.random.default_rng(0)
    blocks = np.argwhere(mask)
    ratio = np.array(mask_level.block) // np.array(level.block)
    each = min(int(np.prod(ratio)), max(1, count // max(1, len(blocks))))
    if len(blocks) > count:
        # In the order of the memory, for the cache.
        blocks = blocks[np.sort(random.choice(len(blocks), count, replace=False))]
    index = np.repeat(blocks * ratio, each, axis=0)
    if (ratio > 1).any():
        index += random.integers(0, ratio, index.shape)
        # The last block may reach past the end.
        index = index[(index < level.data.shape).all(axis=1)]
    at = np.ascontiguousarray(index.T)
    to_unit = (frame.from_world @ level.affine)[:3]
    points = to_unit[:, :3] @ at + to_unit[:, 3:]
    values = level.data[at[0], at[1], at[2]].astype(np.float32)
    return Samples(points.astype(np.float32), level.scaled(values))
