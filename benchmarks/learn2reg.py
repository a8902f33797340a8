"""Dice, HD95 and SDlogJ as the Learn2Reg challenge's evaluation defines them.

The definitions are those of evaluation/utils.py and evaluation.py of github.com/MDL-UzL/L2R
(version 2.0) and of DeepMind's surface-distance, which it calls, written anew:

- A label that the fixed or the moving segmentation lacks is left out of the means.
- HD95 is in voxels whatever the spacing. Surface elements stand where 2 x 2 x 2 voxels are neither
  all inside nor all outside; each has the area that marching cubes gives it, and 95 % of the area,
  not of the elements, lies closer than the result. The larger of both directions counts.
- SDlogJ is the standard deviation of ``log(clip(det J + 3, 1e-9, 1e9))`` by central differences,
  without two voxels at each border. The 3 damps it: it is not the SD of log det J that
  `vmruntime.quality.regularity` gives.

One thing is *not* done as there: the evaluation counts foldings on the determinant after 3 was
added and it was clipped, ``(clip(det J + 3) <= 0).sum()``, which is 0 for every displacement.
`folding_voxels` counts ``det J <= 0``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.quality import count_labels, jacobian_determinant

__all__ = ["folding_voxels", "hd95", "labels_agree", "sd_log_j", "surfel_areas"]

BORDER = 2
OFFSET, LOWEST, HIGHEST = 3.0, 1e-9, 1e9
SHARE = 0.95

CORNER, EDGE = 3**0.5 / 8, 0.5**0.5
"""Areas that marching cubes cuts off at one corner of a cube, and along one edge."""

AREAS = {
    0b00000000: 0.0,
    0b00000001: CORNER,
    0b00000011: EDGE,
    0b00000110: 2 * CORNER,
    0b00011000: 2 * CORNER,
    0b00000111: 0.5 + 3 * CORNER,
    0b00010110: 3 * CORNER,
    0b00011001: CORNER + EDGE,
    0b00001111: 1.0,
    0b00010111: 6 * CORNER,
    0b00011011: EDGE + 4 * CORNER,
    0b00011110: 0.5 + 4 * CORNER,
    0b00111100: 2 * EDGE,
    0b01101001: 4 * CORNER,
}
"""Area of each arrangement of up to four corners, all others being these turned or mirrored.

Of bits ``4i + 2j + k`` for the corner (i, j, k), counted from the highest.
"""


def labels_agree(
    fixed: NDArray[Any], moving: NDArray[Any], carried: NDArray[Any], labels: Sequence[int]
) -> dict[str, Any]:
    """Mean Dice and mean HD95 over the labels.

    Parameters
    ----------
    fixed, moving, carried
        ``(D, H, W)`` integers, 0 for background: the fixed scan's labels, the moving scan's, and
        those carried onto the fixed scan's grid.
    labels
        What to measure.
    """
    in_fixed, in_moving, in_carried = (count_labels(image) for image in (fixed, moving, carried))
    common = count_labels(fixed[fixed == carried])
    present = [label for label in labels if label in in_fixed and label in in_moving]
    dice = [
        2 * common.get(label, 0) / (in_fixed[label] + in_carried.get(label, 0)) for label in present
    ]
    boxes = _boxes(fixed, carried, present)
    distances = [
        hd95(fixed[box] == label, carried[box] == label)
        for label, box in zip(present, boxes, strict=True)
    ]
    nothing = float("nan")
    return {
        "dice": float(np.mean(dice)) if dice else nothing,
        "hd95": float(np.mean(distances)) if distances else nothing,
        "labels": len(present),
    }


def hd95(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """HD95 of two ``(D, H, W)`` masks, in voxels; infinite where one is empty."""
    from scipy.spatial import cKDTree

    if not (one.any() and other.any()):
        return float("inf")
    areas = [surfel_areas(mask) for mask in (one, other)]
    surfaces = [area > 0 for area in areas]
    found = []
    for mine, theirs in ((0, 1), (1, 0)):
        away = np.zeros(areas[mine].shape)
        apart = surfaces[mine] & ~surfaces[theirs]  # elsewhere the distance is 0
        tree = cKDTree(np.argwhere(surfaces[theirs]))
        away[apart] = tree.query(np.argwhere(apart), workers=-1)[0]
        found.append(_share(away[surfaces[mine]], areas[mine][surfaces[mine]]))
    return max(found)


def surfel_areas(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Area of the surface in every cube between voxel centres, one voxel of outside around.

    ``(D, H, W)`` gives ``(D + 1, H + 1, W + 1)``.
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    d, h, w = padded.shape
    codes = np.zeros((d - 1, h - 1, w - 1), np.uint8)
    for i, j, k in itertools.product((0, 1), repeat=3):
        codes = 2 * codes + padded[i : d - 1 + i, j : h - 1 + j, k : w - 1 + k]
    return _area_of_codes()[codes]


def sd_log_j(displacement: NDArray[np.float32]) -> float:
    """SDlogJ of a ``(3, D, H, W)`` displacement in voxels, every axis at least 5 long."""
    shifted = np.clip(_inner_determinant(displacement) + OFFSET, LOWEST, HIGHEST)
    return float(np.log(shifted).std())


def folding_voxels(displacement: NDArray[np.float32]) -> int:
    """Voxels with det J <= 0, without two at each border."""
    return int(np.count_nonzero(_inner_determinant(displacement) <= 0))


def _inner_determinant(displacement: NDArray[np.float32]) -> NDArray[np.float64]:
    inside = (slice(BORDER, -BORDER),) * 3
    return jacobian_determinant(displacement)[inside].astype(np.float64)


def _boxes(
    one: NDArray[Any], other: NDArray[Any], labels: Sequence[int]
) -> list[tuple[slice, ...]]:
    """For each label, which the first image has, the part of the grid where either has it."""
    from scipy.ndimage import find_objects

    found = [find_objects(image.astype(np.int32)) for image in (one, other)]
    boxes = []
    for label in labels:
        parts = [slices[label - 1] for slices in found if label <= len(slices)]
        there = [part for part in parts if part is not None]
        sides = [[part[axis] for part in there] for axis in range(3)]
        boxes.append(
            tuple(slice(min(s.start for s in side), max(s.stop for s in side)) for side in sides)
        )
    return boxes


def _share(distances: NDArray[np.float64], areas: NDArray[np.float64]) -> float:
    """Distance that `SHARE` of the area is no farther than."""
    order = np.argsort(distances, kind="stable")
    below = np.cumsum(areas[order])
    index = int(np.searchsorted(below / below[-1], SHARE))
    return float(distances[order][min(index, len(order) - 1)])


@cache
def _area_of_codes() -> NDArray[np.float64]:
    """Area for each of the 256 arrangements."""
    return np.array([AREAS[_turned(code)] for code in range(256)])


def _turned(code: int) -> int:
    """The arrangement of `AREAS` that another one is, turned, mirrored or inside out."""
    cube = np.unpackbits(np.uint8(code)).reshape(2, 2, 2)
    found = []
    for corners in (cube, 1 - cube):
        for axes in itertools.permutations(range(3)):
            for flips in itertools.product((1, -1), repeat=3):
                turned = corners.transpose(axes)[:: flips[0], :: flips[1], :: flips[2]]
                found.append(int(np.packbits(turned)[0]))
    return min(found)
