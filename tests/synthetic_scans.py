"""Small synthetic scans on any grid, and what is needed to write and compare them."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vmruntime import Grid, Volume

MODEL_SHAPE = (16, 32, 48)
MODEL_ORIENTATION = "LIA"
MODEL_VOXEL_SIZE = (2.0, 2.0, 2.0)
"""Grid of the tiny artifact, see `conftest.tiny_artifact`."""

ORIENTATIONS = [
    "".join(letters) for axes in permutations(("LR", "PA", "IS")) for letters in product(*axes)
]
"""All 48 ways in which three array axes can run through the body."""

OBLIQUE = np.array(
    [
        [-1.0392, 0.3106, 0.9151, 41.7],
        [0.6000, 0.5379, 1.5850, -30.2],
        [0.0000, 2.0284, -0.8066, 12.9],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""Nearly orthogonal columns of 1.2, 2.1 and 2.0 mm; `oblique_affine` makes them exactly so."""


def affine_of(
    orientation: str = MODEL_ORIENTATION,
    voxel_size: tuple[float, ...] = MODEL_VOXEL_SIZE,
    origin: tuple[float, ...] = (12.5, -33.25, 7.0),
) -> NDArray[np.float64]:
    """Voxel index to RAS+ mm for array axes that run toward the letters of `orientation`."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (letter, size) in enumerate(zip(orientation, voxel_size, strict=True)):
        row = {"L": 0, "R": 0, "P": 1, "A": 1, "I": 2, "S": 2}[letter]
        affine[row, axis] = size if letter in "RAS" else -size
    affine[:3, 3] = origin
    return affine


def oblique_affine() -> NDArray[np.float64]:
    """An affine with orthogonal axes that are parallel to no world axis, anisotropic voxels."""
    affine = OBLIQUE.copy()
    axes, _ = np.linalg.qr(affine[:3, :3])
    axes *= np.sign((axes * affine[:3, :3]).sum(axis=0))
    affine[:3, :3] = axes * np.linalg.norm(affine[:3, :3], axis=0)
    return affine


def textured(shape: tuple[int, ...], seed: int = 0, maximum: float = 255.0) -> NDArray[np.float32]:
    """A smooth positive pattern of shape `shape` inside a border of zeros, float32."""
    random = np.random.default_rng(seed)
    index = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    pattern = np.zeros(shape)
    for _ in range(6):
        waves, phase = random.uniform(1, 9, len(shape)), random.uniform(0, 6)
        pattern += np.cos(sum(w * i for w, i in zip(waves, index, strict=True)) + phase)
    pattern = 0.1 + 0.9 * (pattern - pattern.min()) / np.ptp(pattern)
    for axis, n in enumerate(shape):
        along = [1] * len(shape)
        along[axis] = n
        pattern *= (np.minimum(np.arange(n), np.arange(n)[::-1]) > 0).reshape(along)
    return (pattern * maximum / pattern.max()).astype(np.float32)


def parcellation(
    shape: tuple[int, ...], values: tuple[int, ...] = (0, 2, 41, 77), seed: int = 1
) -> NDArray[np.int16]:
    """Labels `values` in smooth patches of shape `shape`, int16."""
    pattern = textured(shape, seed, 1.0) + textured(shape, seed + 100, 1e-3)
    levels = np.quantile(pattern[pattern > 0], np.linspace(0, 1, len(values) + 1)[1:-1])
    return np.array(values, np.int16)[np.digitize(pattern, levels)]


def smooth_displacement(
    shape: tuple[int, ...], peak: float = 1.5, seed: int = 3
) -> NDArray[np.float32]:
    """A smooth ``(3, *shape)`` float32 displacement of at most `peak` voxels along each axis."""
    fields = [2 * textured(shape, seed + axis, 1.0) - 1 for axis in range(3)]
    return (peak * np.stack(fields)).astype(np.float32)


def waves(
    shape: tuple[int, ...], peak: float = 1.0, wavelength: float = 16.0, seed: int = 5
) -> NDArray[np.float32]:
    """A ``(3, *shape)`` float32 displacement of sines, with derivatives up to some
    ``2 pi peak / wavelength``; unlike `smooth_displacement` it has no steps at the border."""
    random = np.random.default_rng(seed)
    index = np.indices(shape)
    fields = []
    for _ in range(3):
        direction = random.normal(size=3)
        direction *= 2 * np.pi / wavelength / np.linalg.norm(direction)
        fields.append(peak * np.sin(np.tensordot(direction, index, 1) + random.uniform(0, 6)))
    return np.stack(fields).astype(np.float32)


def model_volume(seed: int = 0, name: str = "scan") -> Volume:
    """A scan on the tiny artifact's grid."""
    return Volume(textured(MODEL_SHAPE, seed), Grid(MODEL_SHAPE, affine_of()), None, name)


def write_nifti(
    path: Path,
    data: NDArray[Any],
    affine: NDArray[np.float64] | None = None,
    *,
    kind: Any = nib.Nifti1Image,
    qform: int = 1,
    sform: int = 1,
) -> Path:
    """Write an image with the given form codes; 0 leaves that form out."""
    affine = affine_of() if affine is None else affine
    image = kind(data, None, dtype=data.dtype)
    image.set_qform(affine if qform else None, code=qform)
    image.set_sform(affine if sform else None, code=sform)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path
