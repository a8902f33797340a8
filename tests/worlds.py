"""Grids, matrices and points for the tests of transforms, and ITK's view of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic_scans import affine_of, oblique_affine, smooth_displacement
from vmruntime import Grid
from vmruntime.chain import AffineStep, Chain, WarpStep

LPS = np.array([-1.0, -1.0, 1.0])

FIXED = Grid((9, 13, 11), oblique_affine())
MOVING = Grid((12, 7, 10), affine_of("PIR", (1.4, 2.7, 1.9), (32, -3, 22)))

GRIDS = {
    "oblique": FIXED,
    "PIR": MOVING,
    "RAS": Grid((7, 9, 5), affine_of("RAS", (1.1, 0.7, 1.9))),
    "LIA": Grid((8, 6, 11), affine_of("LIA", (2.0, 1.0, 3.0))),
    "ASR": Grid((5, 10, 7), affine_of("ASR", (0.9, 1.7, 2.1), (-80.5, 20, 300))),
}


def matrix(seed: int = 0, shift: float = 3.0) -> NDArray[np.float64]:
    """A matrix with rotation, scale, shear and translation, none of them small."""
    random = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] += random.normal(0, 0.15, (3, 3))
    affine[:3, 3] = random.normal(0, shift, 3)
    return affine


def warp(grid: Grid = FIXED, peak: float = 2.5) -> WarpStep:
    """A smooth displacement of at most `peak` mm along each world axis."""
    return WarpStep(np.moveaxis(smooth_displacement(grid.shape, peak), 0, -1), grid)


def chain() -> Chain:
    """A warp on the fixed grid and then an affine, as registration gives them."""
    return Chain((warp(), AffineStep(matrix())))


def points(grid: Grid = FIXED, margin: float = 0.0, count: int = 200) -> NDArray[np.float64]:
    """Places inside a grid, ``(count, 3)`` in RAS+ mm, up to `margin` voxels outside it."""
    random = np.random.default_rng(1)
    top = np.array(grid.shape) - 1 + margin
    index = random.uniform(-margin, top, (count, 3))
    placed: NDArray[np.float64] = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return placed


def through_itk(transform: Any, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a SimpleITK transform takes points in RAS+ mm."""
    return np.array([transform.TransformPoint(place.tolist()) for place in places * LPS]) * LPS


def applied(affine: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a matrix takes points."""
    moved: NDArray[np.float64] = places @ affine[:3, :3].T + affine[:3, 3]
    return moved


def itk_field(sitk: Any, step: WarpStep) -> Any:
    """A warp as a SimpleITK image of vectors."""
    grid = step.grid
    vectors = np.ascontiguousarray((step.displacement_mm * LPS).transpose(2, 1, 0, 3))
    image = sitk.GetImageFromArray(vectors.astype(np.float64), isVector=True)
    image.SetSpacing(grid.voxel_size)
    image.SetOrigin((grid.affine[:3, 3] * LPS).tolist())
    direction = LPS[:, None] * grid.affine[:3, :3] / grid.voxel_size
    image.SetDirection(direction.ravel().tolist())
    return image


def written(path: Path, content: str | bytes) -> Path:
    """A file with this content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
