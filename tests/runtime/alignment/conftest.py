"""A phantom of a few ellipsoids and texture that is defined in the world, hence on any grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import affine_of
from vmruntime import Grid, Volume

# Centre and semi-axes in mm (right, anterior, superior), and what each adds to the intensity.
# Nothing is symmetric, so that only one rotation is right.
PARTS = (
    ((0, 0, 0), (66, 84, 62), 60.0),  # a brain
    ((0, 2, 2), (57, 74, 53), 50.0),  # its white matter
    ((-12, 6, 10), (10, 30, 14), -70.0),  # ventricles
    ((13, 4, 12), (8, 26, 12), -70.0),
    ((24, 10, -4), (10, 18, 12), -35.0),  # nuclei
    ((-26, 8, -6), (9, 16, 11), -30.0),
    ((0, -48, -48), (46, 28, 22), 85.0),  # cerebellum
    ((0, -22, -60), (13, 14, 34), 95.0),  # stem
    ((38, 42, 14), (14, 12, 10), -25.0),
    ((-44, -30, 20), (10, 16, 12), 30.0),
)
SCALP, SKULL = 96.0, 84.0
EDGE_MM = 1.5


def intensity(
    world: NDArray[np.float64], subject: int = 0, *, head: bool = False
) -> NDArray[np.float64]:
    """Intensities at ``(3, ...)`` RAS mm; a subject is a variation of its parts by some mm."""
    random = np.random.default_rng(subject)
    total = np.zeros(world.shape[1:])
    for number, (middle, axes, value) in enumerate(PARTS):
        shift = random.normal(0, 1.5, 3) if number and subject else np.zeros(3)
        grown = np.array(axes) * (1 + (random.normal(0, 0.04, 3) if number and subject else 0))
        total += value * _ellipsoid(world, np.array(middle) + shift, grown)
    texture = np.zeros_like(total)
    for _ in range(8):
        wave = random.normal(0, 1, 3)
        wave *= 2 * np.pi / random.uniform(25, 60) / np.linalg.norm(wave)
        texture += np.cos(np.tensordot(wave, world, 1) + random.uniform(0, 6))
    total *= 1 + 0.03 * texture
    if head:
        outer, inner = (
            _ellipsoid(world, np.array([0, -4, -10]), np.array([size, size + 16, size + 20]))
            for size in (SCALP, SKULL)
        )
        total += 110 * (outer - inner)
    return np.maximum(total, 0)


Build = Callable[..., Any]


@pytest.fixture(scope="session", name="phantom")
def _phantom() -> Build:
    """`phantom` itself: test modules cannot import from beside them."""
    return phantom


@pytest.fixture(scope="session", name="centred")
def _centred() -> Build:
    """`centred` itself."""
    return centred


def phantom(
    shape: tuple[int, int, int] = (58, 70, 66),
    affine: NDArray[np.float64] | None = None,
    *,
    subject: int = 0,
    pose: NDArray[np.float64] | None = None,
    head: bool = False,
) -> Volume:
    """The phantom on a grid; where `pose` is given it maps the phantom's world to the grid's."""
    affine = centred(shape) if affine is None else affine
    to_phantom = affine if pose is None else np.linalg.inv(pose) @ affine
    index = np.indices(shape).reshape(3, -1)
    world = (to_phantom[:3, :3] @ index + to_phantom[:3, 3:]).reshape(3, *shape)
    data = intensity(world, subject, head=head).astype(np.float32)
    return Volume(data, Grid(shape, affine), None, "phantom")


def centred(
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float] = (3.0, 3.0, 3.0),
    orientation: str = "LIA",
) -> NDArray[np.float64]:
    """Affine of a grid around the phantom's centre."""
    affine = affine_of(orientation, voxel_size, (0.0, 0.0, 0.0))
    affine[:3, 3] = np.array([0, 0, -8]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _ellipsoid(
    world: NDArray[np.float64], middle: NDArray[np.float64], axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1 inside, 0 outside, with an edge that no grid of a few mm can miss."""
    scaled = (world - middle.reshape(3, 1, 1, 1)) / axes.reshape(3, 1, 1, 1)
    depth = (1 - np.sqrt((scaled**2).sum(axis=0))) * axes.min()
    return 1 / (1 + np.exp(np.clip(-depth / EDGE_MM, -50, 50)))
