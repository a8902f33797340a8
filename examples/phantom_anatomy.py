"""Geometry of a labelled, brain-like phantom, made from formulas and random numbers alone.

Nothing here is measured from a scan.  Each structure is a signed distance function in
millimetres around an origin near the anterior commissure: ``x`` toward the left, ``y`` toward
the front and ``z`` upward.  The sizes are rounded textbook figures.  A *family* fixes a mean
anatomy and a common folding pattern, a *subject* is a random variation of its family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from phantom_shapes import (
    FIELD_OF_VIEW,
    FloatArray,
    Point,
    ellipsoid,
    lattice_noise,
    plate,
    sample_lattice,
    soft_min,
    tube,
)

CLASSES = (
    "background", "csf", "white", "cortex", "cerebellum_white", "cerebellum_cortex",
    "brain_stem", "ventral_dc", "thalamus", "caudate", "putamen", "pallidum", "accumbens",
    "hippocampus", "amygdala", "ventricle", "choroid",
)  # fmt: skip
"""Tissue classes that share one intensity; the order is that of ``Anatomy.fractions``."""

_CLASS = {name: index for index, name in enumerate(CLASSES)}

LEFT_RIGHT = (
    (2, 41), (3, 42), (4, 43), (5, 44), (7, 46), (8, 47), (10, 49), (11, 50), (12, 51),
    (13, 52), (17, 53), (18, 54), (26, 58), (28, 60), (31, 63),
)  # fmt: skip
"""FreeSurfer label numbers of paired structures, left then right."""

_RIGHT = dict(LEFT_RIGHT)


@dataclass(frozen=True)
class Anatomy:
    """One subject.

    Attributes
    ----------
    labels : ndarray, int16, (X, Y, Z)
        FreeSurfer-like label numbers, 0 outside the brain.
    fractions : ndarray, uint8, (C, X, Y, Z)
        Share of each tissue class in a voxel, 0..255, summing to about 255 (``C`` classes in
        the order of `CLASSES`).
    """

    labels: NDArray[np.int16]
    fractions: NDArray[np.uint8]


class _Shape:
    """Random sizes and places of one subject: family mean times subject jitter."""

    def __init__(self, family: np.random.Generator, subject: np.random.Generator) -> None:
        self._family, self._subject = family, subject

    def size(self, *values: float) -> Point:
        """Scale three radii by a common and an individual random factor."""
        common = self._family.normal(0, 0.05) + self._subject.normal(0, 0.06)
        own = self._family.normal(0, 0.05, 3) + self._subject.normal(0, 0.05, 3)
        a, b, c = (float(v * np.exp(common + o)) for v, o in zip(values, own, strict=True))
        return a, b, c

    def place(self, x: float, y: float, z: float) -> Point:
        """Move a point by about 1.2 mm; the midline stays where it is."""
        d = self._family.normal(0, 1.0, 3) + self._subject.normal(0, 0.7, 3)
        return x + (float(d[0]) if x else 0.0), y + float(d[1]), z + float(d[2])

    def path(self, *points: Point) -> list[Point]:
        """Move every point of a polyline."""
        return [self.place(*point) for point in points]

    def factor(self, family: float, subject: float) -> float:
        """Draw a log-normal factor with these two spreads."""
        return float(np.exp(self._family.normal(0, family) + self._subject.normal(0, subject)))


def _subject_points(
    shape: Sequence[int], spacing: float, rng: np.random.Generator, strength: float
) -> list[FloatArray]:
    """Map voxel centres into the family's space by a random diffeomorphism.

    The velocity is noise at two scales; seven squarings on a 6 mm lattice integrate it, so that
    the map stays invertible for every strength.
    """
    step = 6.0
    size = [int(np.ceil(extent * 1.25 / step)) + 1 for extent in FIELD_OF_VIEW]
    velocity = np.zeros((3, *size), dtype=np.float32)
    for sigma, rms in ((4.0, 2.6), (1.8, 1.2)):
        noise = gaussian_filter(
            rng.standard_normal(velocity.shape, dtype=np.float32), (0, sigma, sigma, sigma)
        )
        velocity += noise * np.float32(strength * rms / (step * noise.std()))
    flow = velocity / 128
    grid = np.indices(size, dtype=np.float32)
    for _ in range(7):
        moved = grid + flow
        flow += np.stack([map_coordinates(f, moved, order=1, mode="nearest") for f in flow])
    scale = [float(strength * rng.normal(0, 0.025)) for _ in range(3)]
    axes = [((np.arange(n) - (n - 1) / 2) * spacing).astype(np.float32) for n in shape]
    left, inferior, anterior = np.meshgrid(*axes, indexing="ij")
    voxels = (left, anterior, -inferior)
    u = [sample_lattice(f, step, voxels, order=1) * np.float32(step) for f in flow]
    # Lattice axes run left, inferior, anterior; the points are left, anterior, superior.
    return [
        ((c * (1 + s) + d) / 1.06).astype(np.float32)
        for c, s, d in zip(voxels, scale, (u[0], u[2], -u[1]), strict=True)
    ]


def make_anatomy(
    shape: Sequence[int],
    seed: int,
    family: int = 0,
    spacing: float | None = None,
    variation: float = 1.0,
) -> Anatomy:
    """Make the anatomy of one subject.

    Parameters
    ----------
    shape : sequence of three int
        Grid; axes toward left, inferior, anterior.
    seed : int
        Subject; the same numbers always give the same arrays.
    family : int
        Mean anatomy and common folding that the subject varies.
    spacing : float, optional
        Voxel edge in millimetres; by default the whole brain just fits.
    variation : float
        Strength of the deformation between subjects, 1 for a lifelike one.

    Returns
    -------
    Anatomy
        Labels and tissue fractions.
    """
    if spacing is None:
        spacing = max(e / n for e, n in zip(FIELD_OF_VIEW, shape, strict=True))
    family_rng = np.random.default_rng([7, family])
    rng = np.random.default_rng([11, family, seed])
    signed = _subject_points(shape, spacing, rng, variation * float(rng.uniform(0.7, 1.2)))
    left = signed[0] > 0
    p = (np.abs(signed[0]), signed[1], signed[2])
    s = _Shape(family_rng, rng)

    # Brain surface: cerebellum, and a cerebrum with temporal lobes that leaves room for it.
    lobe = ellipsoid(p, s.place(26, -60, -39), s.size(29, 31, 23))
    lobe = soft_min(lobe, ellipsoid(p, s.place(0, -60, -34), s.size(13, 26, 21)), 8.0)
    hull = ellipsoid(p, s.place(0, -14, 19), s.size(67, 86, 59))
    hull = soft_min(hull, ellipsoid(p, s.place(43, -14, -22), s.size(22, 44, 20), 0.15), 14.0)
    hull = np.maximum(hull, 1.2 - lobe)
    # The fissure between the hemispheres stops at the core: corpus callosum and below.
    core = ellipsoid(p, (0.0, -7.0, 5.0), s.size(30, 37, 22))
    atrophy = s.factor(0.1, 0.25)
    gap = np.maximum(p[0] - 0.7 * atrophy, np.float32(0))
    medial = np.sqrt(gap**2 + np.maximum(-core, 0) ** 2)
    depth = np.minimum(-hull, medial)

    # Folds are the zero crossings of band-passed noise, down to a varying depth.  Reading the
    # noise near the surface point above each voxel makes them run inward, not all ways.
    fold_step, fine_step = 6.0, 3.2
    inward = np.gradient(depth, spacing)
    gx, gy, gz = inward[0], inward[2], -inward[1]
    lift = np.float32(0.6) * np.clip(depth, 0, 25)
    above = [c - lift * g for c, g in zip(signed, (gx, gy, gz), strict=True)]
    share = np.float32(rng.uniform(0.88, 0.98))
    common, own = lattice_noise(family_rng, fold_step, 1.8), lattice_noise(rng, fold_step, 1.8)
    noise = sample_lattice(share * common + np.sqrt(1 - share**2) * own, fold_step, above)
    slope = np.sqrt(sum(np.square(g) for g in np.gradient(noise, spacing)))
    sheet = np.abs(noise) / np.maximum(slope, 0.3 * slope.mean())
    uneven = sample_lattice(lattice_noise(family_rng, 14.0), 14.0, signed)
    reach = float(family_rng.uniform(13, 20)) * s.factor(0, 0.08) * np.exp(0.8 * uneven)
    fold = np.sqrt(sheet**2 + np.maximum(depth - reach, 0) ** 2) - 0.45 * atrophy * np.maximum(
        1.3 - depth / reach, 0
    )
    slit = plate(p, s.place(53, -8, 0), s.size(14, 26, 0.8 * atrophy))
    insula = plate(p, s.place(39, 2, 1), s.size(0.7 * atrophy, 16, 10))
    to_csf = np.minimum(np.minimum(depth, fold), np.minimum(slit, insula))
    ribbon = to_csf - 2.8 * s.factor(0.05, 0.06)

    # Cerebellum: folia are finer sheets; the white core branches with the same noise.
    folia = sample_lattice(lattice_noise(family_rng, fine_step), fine_step, signed)
    arbor = ellipsoid(p, s.place(20, -57, -39), s.size(20, 19, 11)) + 2.5 * folia / folia.std()
    arbor = np.maximum(arbor, lobe + 4.0)

    # Ventricles: one tube for body and horns; atrophy widens it along with the folds.
    wide = s.factor(0.15, 0.3)
    body = s.path((11, 28, 1), (8, 10, 13), (10, -10, 20), (17, -28, 19), (25, -40, 8),
                  (25, -62, 6))  # fmt: skip
    ventricle = tube(p, body, [wide * r for r in (4.0, 5.0, 4.8, 5.2, 6.0, 2.2)])
    horn = tube(p, [body[4], *s.path((34, -28, -9), (31, -12, -20))],
                 [wide * r for r in (4.0, 1.7, 1.9)])  # fmt: skip
    choroid = tube(p, s.path((14, -24, 17), (23, -37, 9)), (1.2 * wide, 1.9 * wide))
    stem = tube(p, s.path((0, -22, -12), (0, -25, -31), (0, -40, -64)), (11.5, 15.0, 7.5))
    # What skull stripping leaves around the brain differs from scan to scan.
    rest = np.maximum(sample_lattice(gaussian_filter(lattice_noise(rng, 9.0), 1), 9.0, signed), 0)
    rim = 0.6 * atrophy + float(rng.uniform(0, 3)) * rest / rest.max()
    layers: list[tuple[str, int, FloatArray]] = [
        ("csf", 24, np.minimum(np.minimum(hull, lobe), stem) - rim),
        ("cerebellum_cortex", 8, np.maximum(lobe, -np.maximum(1.1 - np.abs(folia) * 3, 0))),
        ("cerebellum_white", 7, arbor),
        ("brain_stem", 16, stem),
        ("csf", 24, hull - 0.4),
        ("cortex", 3, -to_csf),
        ("white", 2, -ribbon),
        ("brain_stem", 16, np.maximum(stem, p[2] + 6.0)),
        ("ventral_dc", 28, ellipsoid(p, s.place(9, -14, -8), s.size(9, 9, 6))),
        ("hippocampus", 17, tube(p, s.path((22, -10, -21), (29, -22, -17), (27, -35, -6)),
                                  s.size(5.4, 4.8, 3.2))),
        ("amygdala", 18, ellipsoid(p, s.place(23, -3, -20), s.size(7.5, 7, 7))),
        ("accumbens", 26, ellipsoid(p, s.place(10, 11, -7), s.size(4.5, 5.5, 4))),
        ("putamen", 12, ellipsoid(p, s.place(26.5, 3, 0), s.size(6.2, 17, 10), -0.2)),
        ("pallidum", 13, ellipsoid(p, s.place(19.5, -3, -1), s.size(4.5, 9.5, 6.5), -0.4)),
        ("caudate", 11, soft_min(
            ellipsoid(p, s.place(13, 14, 5), s.size(5.5, 10, 9)),
            tube(p, s.path((15, 4, 14), (18, -12, 20), (24, -27, 17)), s.size(4.2, 3.2, 2.2)),
            3.0)),
        ("thalamus", 10, ellipsoid(p, s.place(11.5, -18, 8), s.size(9, 15.5, 9), -0.3)),
        ("ventricle", 4, ventricle),
        ("ventricle", 5, horn),
        ("choroid", 31, np.maximum(choroid, ventricle + 0.3)),
        ("ventricle", 14, ellipsoid(p, (0.0, -9.0, -2.0), s.size(2.0 * wide, 14, 11))),
        ("ventricle", 15, ellipsoid(p, s.place(0, -44, -34), s.size(7, 6 * wide**0.5, 11))),
    ]  # fmt: skip
    return _compose(layers, left, spacing)


def _compose(
    layers: Sequence[tuple[str, int, FloatArray]], left: NDArray[np.bool_], spacing: float
) -> Anatomy:
    """Paint the layers over each other, with partial volume at their borders."""
    labels = np.zeros(left.shape, dtype=np.int16)
    fractions = np.zeros((len(CLASSES), *left.shape), dtype=np.float32)
    fractions[0] = 1
    for name, label, distance in layers:
        cover = np.clip(0.5 - distance / np.float32(spacing), 0, 1)
        where = cover > 0
        # Only touched voxels change, which saves most of the work for small structures.
        fractions[:, where] *= 1 - cover[where]
        fractions[_CLASS[name]][where] += cover[where]
        inside = cover >= 0.5
        labels[inside] = np.where(left[inside], label, _RIGHT.get(label, label))
    return Anatomy(labels, np.rint(fractions * 255).astype(np.uint8))
