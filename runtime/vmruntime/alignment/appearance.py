"""What a single scan looks like: cut off by its field of view, a whole head or only a brain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmruntime.alignment.foreground import dilated, volume_mm3
from vmruntime.alignment.pyramid import Pyramid

__all__ = ["looks_like_head", "touches_edge"]

TISSUE = 0.25
# A patch this large, relative to the foreground's cross-section: some 16 x 16 mm of a brain.
TOUCHING_SHARE = 0.02
# Layers of 4 mm, inward from the surface. Set on 13 skull-stripped scans and templates and on 5
# heads: a T1 brain brightens inward (1.1 and more times its second layer, T2 0.96), a head gets
# darker in its skull (T1 0.83 to 0.88, PD and T2 0.98 to 1.0).
LAYERS = 5
CERTAIN_RATIO, POSSIBLE_RATIO = 0.9, 1.05
# Share of the outline that is tissue: dark skull and air leave 0.96 to 0.983 of a head, a brain
# fills 0.986 and more.
FILLED_SHARE = 0.99


def touches_edge(pyramid: Pyramid) -> bool:
    """Whether the foreground is cut by the edge of the field of view."""
    level = pyramid.levels[1]
    tissue = level.data > TISSUE
    volume = volume_mm3(tissue, level.affine)
    voxel = abs(float(np.linalg.det(level.affine[:3, :3])))
    size = np.sqrt((level.affine[:3, :3] ** 2).sum(axis=0))
    for axis in range(3):
        face = voxel / size[axis]
        for end in (0, -1):
            touching = np.count_nonzero(np.take(tissue, end, axis=axis)) * face
            if touching > TOUCHING_SHARE * volume ** (2 / 3):
                return True
    return False


def looks_like_head(pyramid: Pyramid) -> bool:
    """Whether skull and scalp are still there."""
    data = pyramid.levels[1].data
    outline = _filled(pyramid.foreground)
    layers = []
    for _ in range(LAYERS):
        # Where the field of view ends is no surface: a head goes on there.
        inner = ~dilated(~outline, 1)
        rim = outline & ~inner
        if not rim.any():
            return False
        layers.append(float(data[rim].mean()))
        outline = inner
    darkest, surface = min(layers[2:]), layers[1]
    tissue = data > TISSUE
    filled = np.count_nonzero(tissue) >= FILLED_SHARE * np.count_nonzero(_filled(tissue))
    return darkest < CERTAIN_RATIO * surface or (darkest < POSSIBLE_RATIO * surface and not filled)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels with mask on both sides along all three axes."""
    filled = np.ones_like(mask)
    for axis in range(3):
        filled &= np.logical_or.accumulate(mask, axis=axis)
        filled &= np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    return filled
