"""The pair of scans that an artifact is verified on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import GridMismatchError
from vmruntime.intensity import IntensityRule
from vmruntime.io.images import Scan, read_labels, read_scan
from vmruntime.manifest import Manifest

__all__ = ["Pair", "pair_from_files", "phantom_pair"]

SHELLS = (1.0, 0.8, 0.55, 0.25)
"""Radii of the phantom's nested structures, as a share of its outline; labels 1, 2, 3, 4."""

WHITE, GREY, DARK = 0.45, 0.3, 0.1
"""Intensities of FreeSurfer's normalised T1 scans, as a share of 255."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scans on the model grid, in the model's intensities, with labels where there are some.

    Parameters
    ----------
    name
        Where they come from, for the manifest.
    moving, fixed
        ``(C, D, H, W)`` float32.
    moving_labels, fixed_labels
        ``(D, H, W)`` integers, or None.
    """

    name: str
    moving: NDArray[np.float32]
    fixed: NDArray[np.float32]
    moving_labels: NDArray[Any] | None = None
    fixed_labels: NDArray[Any] | None = None


def pair_from_files(
    manifest: Manifest,
    moving: Scan,
    fixed: Scan,
    moving_labels: Scan | None = None,
    fixed_labels: Scan | None = None,
) -> Pair:
    """Read a pair and bring it to the model's intensities.

    Raises
    ------
    ScanError
        A file cannot be used.
    GridMismatchError
        A scan is not on the model's grid, or labels are not on their scan's.
    """
    rule = IntensityRule.parse(manifest.intensity)
    scans = [read_scan(moving), read_scan(fixed)]
    labels = [None if file is None else read_labels(file) for file in (moving_labels, fixed_labels)]
    for scan, segmentation in zip(scans, labels, strict=True):
        differences = manifest.grid_differences(scan.grid)
        if differences:
            raise GridMismatchError(
                f"{scan.name}: is not on the model's grid: {', '.join(differences)}; "
                "give a pair that is, or none to verify on a phantom"
            )
        if segmentation is not None and not segmentation.grid.matches(scan.grid):
            raise GridMismatchError(
                f"{segmentation.name}: lies on {segmentation.grid.describe()}, not on its scan's "
                f"grid {scan.grid.describe()}; give the labels of that scan"
            )
    arrays = [rule.apply(scan.data)[np.newaxis] for scan in scans]
    segmentations = [None if s is None else s.data for s in labels]
    return Pair("files", arrays[0], arrays[1], segmentations[0], segmentations[1])


def phantom_pair(shape: tuple[int, int, int], channels: tuple[int, int] = (1, 1)) -> Pair:
    """Two ball-shaped heads of nested structures with folded outlines, for any grid.

    Not a brain, but scans as a network meets them: a dark background, smooth regions with sharp
    borders, noise, and shapes that differ by a few voxels. Always the same for one shape.

    Parameters
    ----------
    shape
        ``(D, H, W)``.
    channels
        Channels of the moving and of the fixed scan; further channels repeat the first, dimmed.
    """
    noise = np.random.default_rng(0)
    axes = [np.linspace(-1.2, 1.2, size, dtype=np.float32) for size in shape]
    d, h, w = np.meshgrid(*axes, indexing="ij", sparse=True)
    scans, segmentations = [], []
    for phase, count in zip((0.0, 0.7), channels, strict=True):
        # The outline's radius changes with direction; the phase makes the second head another one.
        folds = 0.05 * np.sin(7 * d + phase) * np.sin(6 * h - phase) + 0.06 * np.sin(4 * w + phase)
        radius = np.sqrt(d**2 + (h * (1.05 - 0.1 * phase)) ** 2 + w**2) * (1 + folds)
        labels = np.zeros(shape, np.uint8)
        for label, shell in enumerate(SHELLS, start=1):
            labels[radius < shell] = label
        levels = np.array([0, GREY, WHITE, GREY, DARK], np.float32)
        scan = levels[labels] * (1 + 0.1 * np.sin(2 * d + h))
        scan += (labels > 0) * noise.normal(0, 0.01, shape).astype(np.float32)
        dimming = 0.9 ** np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1)
        scans.append(scan.astype(np.float32) * dimming)
        segmentations.append(labels)
    return Pair("phantom", scans[0], scans[1], segmentations[0], segmentations[1])
