"""Volumes, displacements and affines that the rows are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ODD = (7, 11, 5)
EXACT = (5, 9, 17)
"""Sizes at which coordinates normalised by size - 1 are exact, so that ties stay ties."""

BORDER = np.array([-1.5, -1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.5], np.float32)
"""Steps from the first or last voxel across the border, and beyond what blends with zero."""


def volume(shape: tuple[int, int, int], channels: int = 1, seed: int = 0) -> Array:
    """Noise from -1 to 2: neighbours that differ by most of the range, both signs."""
    noise = np.random.default_rng(seed).random((channels, *shape), np.float32)
    return noise * 3 - 1


def displacement(shape: tuple[int, int, int], size: float = 2, seed: int = 1) -> Array:
    """Independent vectors of normal distribution, standard deviation in voxels."""
    return np.random.default_rng(seed).normal(0, size, (3, *shape)).astype(np.float32)


def waves(shape: tuple[int, int, int], size: float = 2, seed: int = 1) -> Array:
    """A smooth field of at most about `size` voxels."""
    random = np.random.default_rng(seed)
    index = np.indices(shape)
    phases = random.uniform(0, 6, 3)
    turns = random.uniform(1, 2, (3, 3)) / np.array(shape)
    parts = [
        np.sin(np.tensordot(row * 2 * np.pi, index, 1) + phase)
        for row, phase in zip(turns, phases, strict=True)
    ]
    return (size * np.stack(parts)).astype(np.float32)


def labels(shape: tuple[int, int, int], dtype: Any = np.int16, seed: int = 0) -> Array:
    """Blocks of a few labels, among them the type's largest and, where there is one, smallest."""
    limits = np.iinfo(dtype)
    values = np.array([0, 2, 41, limits.max, limits.min], dtype)
    coarse = np.random.default_rng(seed).integers(0, len(values), [n // 2 + 1 for n in shape])
    for axis in range(3):
        coarse = coarse.repeat(2, axis=axis)
    d, h, w = shape
    return values[coarse[:d, :h, :w]]


def across_border(shape: tuple[int, int, int], axis: int, end: str) -> Array:
    """A displacement that puts whole lines at BORDER's steps from one face of the volume."""
    d, h, w = shape
    field = np.zeros((3, d, h, w), np.float32)
    index = np.arange(shape[axis], dtype=np.float32)
    target = 0 if end == "first" else shape[axis] - 1
    along = [1, 1, 1]
    along[axis] = -1
    steps = BORDER[np.arange(d * h * w).reshape(shape) % len(BORDER)]
    field[axis] = target + steps - index.reshape(along)
    return field


def ties(shape: tuple[int, int, int], seed: int = 3) -> Array:
    """Displacements in halves: most places lie in the middle between voxels, some outside."""
    whole = np.random.default_rng(seed).integers(-5, 6, (3, *shape))
    return (whole / 2).astype(np.float32)


def holed() -> Array:
    """A volume with one voxel NaN."""
    data = volume(ODD)
    data[0, 3, 5, 2] = np.nan
    return data


def between_voxels(shape: tuple[int, int, int]) -> Array:
    """Whole steps and a quarter to three quarters: which eight voxels are meant is beyond doubt."""
    random = np.random.default_rng(4)
    field = random.integers(-1, 2, (3, *shape)) + random.uniform(0.25, 0.75, (3, *shape))
    return field.astype(np.float32)


def broken(value: float) -> Array:
    """A displacement with one component of a few vectors not finite or huge."""
    field = displacement(ODD, 1)
    field[0, 1, 2, 3] = field[1, 3, 3, 3] = field[2, 5, 1, 2] = value
    field[:, 6, 10, 4] = value
    return field


def turned(scale: tuple[float, float, float], shift: tuple[float, float, float]) -> Array:
    """A ``(4, 4)`` affine: a turn of some degrees about every axis, scales, a shift."""
    matrix = np.eye(4)
    for axis, angle in enumerate((0.2, -0.3, 0.15)):
        a, b = [other for other in range(3) if other != axis]
        turn = np.eye(4)
        turn[[a, a, b, b], [a, b, a, b]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        matrix = matrix @ turn
    matrix[:3, :3] *= np.array(scale)
    matrix[:3, 3] = shift
    return matrix


def shifted(*steps: float) -> Array:
    """A ``(4, 4)`` translation."""
    matrix = np.eye(4)
    matrix[:3, 3] = steps
    return matrix


def flipped(shape: tuple[int, int, int]) -> Array:
    """Axes in another order and one of them backwards, onto a volume of this shape."""
    matrix = np.zeros((4, 4))
    matrix[0, 2] = matrix[1, 0] = matrix[3, 3] = 1
    matrix[2, 1], matrix[2, 3] = -1, shape[2] - 1
    return matrix
