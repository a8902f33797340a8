"""Two made-up heads on any grid: what a model is tried on where no scans are given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["phantom_heads"]

SHELLS = (1.0, 0.8, 0.55, 0.25)
"""Radii of the phantom's nested structures, as a share of its outline; labels 1, 2, 3, 4."""

WHITE, GREY, DARK = 0.45, 0.3, 0.1
"""Intensities of FreeSurfer's normalised T1 scans, as a share of 255."""


def phantom_heads(
    shape: tuple[int, int, int], channels: tuple[int, int] = (1, 1)
) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Two ball-shaped heads of nested structures with folded outlines: moving, then fixed.

    Not a brain, but scans as a network meets them: a dark background, smooth regions with sharp
    borders, noise, and shapes that differ by a few voxels. Always the same for one shape.

    Parameters
    ----------
    shape
        ``(D, H, W)``.
    channels
        Channels of the moving and of the fixed scan; further channels repeat the first, dimmed.

    Returns
    -------
    list
        For each head the scan, ``(C, D, H, W)`` in [0, 1], and its labels, ``(D, H, W)``.
    """
    noise = np.random.default_rng(0)
    axes = [np.linspace(-1.2, 1.2, size, dtype=np.float32) for size in shape]
    d, h, w = np.meshgrid(*axes, indexing="ij", sparse=True)
    heads = []
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
        heads.append((scan.astype(np.float32) * dimming, labels))
    return heads
