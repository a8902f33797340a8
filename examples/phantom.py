"""Pairs of labelled, brain-like 3-D phantoms with random contrast, from numpy and scipy alone.

>>> pair = make_pair((80, 96, 112), seed=1)
>>> pair.moving.dtype, pair.moving_labels.dtype
(dtype('float32'), dtype('int16'))

Arrays are in LIA order: axis 0 runs toward left, axis 1 toward inferior, axis 2 toward anterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from phantom_anatomy import CLASSES, Anatomy, make_anatomy
from phantom_shapes import FloatArray

Contrast = Literal["t1", "random"]

_T1 = {
    "background": 0.0, "csf": 0.28, "white": 1.0, "cortex": 0.68, "cerebellum_white": 0.95,
    "cerebellum_cortex": 0.66, "brain_stem": 0.86, "ventral_dc": 0.86, "thalamus": 0.84,
    "caudate": 0.74, "putamen": 0.78, "pallidum": 0.90, "accumbens": 0.70, "hippocampus": 0.69,
    "amygdala": 0.67, "ventricle": 0.20, "choroid": 0.40,
}  # fmt: skip


@dataclass(frozen=True)
class PhantomPair:
    """A registration problem with known labels.

    Attributes
    ----------
    moving, fixed : ndarray, float32, (X, Y, Z)
        Skull-stripped images, 0 outside the brain, white matter near the chosen level.
    moving_labels, fixed_labels : ndarray, int16, (X, Y, Z)
        FreeSurfer-like label numbers.
    """

    moving: FloatArray
    fixed: FloatArray
    moving_labels: NDArray[np.int16]
    fixed_labels: NDArray[np.int16]


def random_contrast(rng: np.random.Generator, kind: Contrast = "t1") -> FloatArray:
    """Draw one intensity per tissue class.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of random numbers.
    kind : {"t1", "random"}
        T1-like values with a random spread, or values without any order.

    Returns
    -------
    ndarray, float32, (C,)
        Intensities in the order of ``CLASSES``; white matter is 1 for T1, background 0.
    """
    if kind == "random":
        values = rng.uniform(0.2, 1.0, len(CLASSES))
        values /= values[1:].max()
    else:
        values = np.array([_T1[name] for name in CLASSES])
        # A power below or above one widens or narrows the grey-white contrast.
        values = values ** rng.uniform(0.7, 1.5) * np.exp(rng.normal(0, 0.04, len(CLASSES)))
        values /= values[CLASSES.index("white")]
    values[0] = 0
    return values.astype(np.float32)


def smooth_field(rng: np.random.Generator, shape: Sequence[int], points: int) -> FloatArray:
    """Draw a smooth field with unit standard deviation from a coarse random lattice."""
    coarse = rng.standard_normal([points] * 3)
    field = zoom(coarse, [n / points for n in shape], order=3, mode="nearest", grid_mode=True)
    result: FloatArray = (field / field.std()).astype(np.float32)
    return result


def render(
    anatomy: Anatomy,
    intensities: FloatArray,
    rng: np.random.Generator,
    *,
    bias: float = 0.06,
    noise: float = 0.02,
    gamma: float = 0.08,
    blur: float = 0.5,
) -> FloatArray:
    """Turn an anatomy into an image.

    Parameters
    ----------
    anatomy : Anatomy
        Tissue fractions of one subject.
    intensities : ndarray, float32, (C,)
        One intensity per tissue class.
    rng : numpy.random.Generator
        Source of bias field, noise, gain and gamma.
    bias, noise, gamma : float
        Standard deviations of the log bias field, of the noise relative to white matter, and of
        the log gamma and log gain.
    blur : float
        Largest standard deviation of the blur, in voxels.

    Returns
    -------
    ndarray, float32, (X, Y, Z)
        The image, exactly 0 outside the brain.
    """
    image = np.zeros(anatomy.labels.shape, dtype=np.float32)
    for share, value in zip(anatomy.fractions, intensities, strict=True):
        image += share * (value / np.float32(255))
    inside = anatomy.fractions[0] < 128
    image = gaussian_filter(image, rng.uniform(0, blur))
    image *= np.exp(np.float32(bias) * smooth_field(rng, image.shape, 4))
    image += np.float32(noise) * rng.standard_normal(image.shape, dtype=np.float32)
    image = np.maximum(image, 0) ** np.float32(np.exp(rng.normal(0, gamma)))
    image *= np.float32(np.exp(rng.normal(0, gamma)))
    return np.where(inside, image, np.float32(0))


def make_pair(
    shape: Sequence[int],
    seed: int,
    *,
    family: int = 0,
    contrast: Contrast = "t1",
    white: float = 110.0,
    spacing: float | None = None,
    variation: float = 1.0,
) -> PhantomPair:
    """Make two subjects of one family with the same kind of contrast.

    Parameters
    ----------
    shape : sequence of three int
        Grid; axes toward left, inferior, anterior.
    seed : int
        Pair; the same numbers always give the same arrays.
    family : int
        Mean anatomy and common folding pattern.
    contrast : {"t1", "random"}
        Kind of intensities, see `random_contrast`.
    white : float
        Intensity that 1 is scaled to; 110 is FreeSurfer's white matter.
    spacing : float, optional
        Voxel edge in millimetres; by default the whole brain just fits.
    variation : float
        Strength of the deformation between the subjects.

    Returns
    -------
    PhantomPair
        Images and labels.
    """
    rng = np.random.default_rng([3, family, seed])
    intensities = random_contrast(rng, contrast)
    subjects = [make_anatomy(shape, 2 * seed + k, family, spacing, variation) for k in (0, 1)]
    moving, fixed = (np.float32(white) * render(a, intensities, rng) for a in subjects)
    return PhantomPair(moving, fixed, subjects[0].labels, subjects[1].labels)
