"""Signed distances to simple solids, and smooth noise, over sets of points in millimetres.

Points are three arrays ``x, y, z``: toward left, toward the front, upward.  Distances are
negative inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

FloatArray = NDArray[np.float32]
Point = tuple[float, float, float]

FIELD_OF_VIEW = (160.0, 192.0, 224.0)
"""Extent in millimetres that the default spacing fits into the grid."""


def lattice_noise(rng: np.random.Generator, step: float, high_pass: float = 0.0) -> FloatArray:
    """Draw white noise on a lattice that covers the field of view.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of random numbers.
    step : float
        Distance of lattice points in millimetres.
    high_pass : float
        Standard deviation, in lattice steps, of the low-pass that is subtracted; 0 for none.

    Returns
    -------
    ndarray, float32
        Lattice values, to be read with `sample_lattice`; independent of any image grid.
    """
    size = [int(np.ceil(extent * 1.25 / step)) + 1 for extent in FIELD_OF_VIEW]
    values = rng.standard_normal(size, dtype=np.float32)
    if high_pass:
        values -= gaussian_filter(values, high_pass)
    return values


def sample_lattice(
    values: FloatArray, step: float, points: Sequence[FloatArray], order: int = 3
) -> FloatArray:
    """Evaluate lattice noise as a B-spline at points.

    Parameters
    ----------
    values : ndarray, float32, (A, B, C)
        Spline coefficients on the lattice, axes toward left, inferior, anterior.
    step : float
        Distance of lattice points in millimetres.
    points : sequence of three ndarray, float32
        Coordinates ``x, y, z`` in millimetres.
    order : int
        Spline order, 1 or 3.

    Returns
    -------
    ndarray, float32
        One value for each point.
    """
    x, y, z = points
    index = [c / step + (n - 1) / 2 for c, n in zip((x, -z, y), values.shape, strict=True)]
    result: FloatArray = map_coordinates(
        values, index, output=np.float32, order=order, mode="nearest", prefilter=False
    )
    return result


def ellipsoid(
    p: Sequence[FloatArray], centre: Point, radii: Point, tilt: float = 0.0
) -> FloatArray:
    """Signed distance (first-order) to an ellipsoid turned by ``tilt`` radians about z."""
    x, y, z = (c - o for c, o in zip(p, centre, strict=True))
    if tilt:
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        x, y = cos * x + sin * y, cos * y - sin * x
    a, b, c = (x / radii[0]) ** 2, (y / radii[1]) ** 2, (z / radii[2]) ** 2
    norm = np.sqrt(a + b + c)
    slope = np.sqrt(a / radii[0] ** 2 + b / radii[1] ** 2 + c / radii[2] ** 2)
    result: FloatArray = norm * (norm - 1) / np.maximum(slope, 1e-4)
    # At the very centre the ratio is 0 / 0; the true depth there is the smallest radius.
    return np.where(norm < 0.05, np.float32(-min(radii)), result)


def plate(p: Sequence[FloatArray], centre: Point, half: Point) -> FloatArray:
    """Signed distance to a flat box; an ellipsoid this thin would bend the distances."""
    q = [np.abs(c - o) - h for c, o, h in zip(p, centre, half, strict=True)]
    outside = np.sqrt(sum(np.maximum(c, 0) ** 2 for c in q))
    result: FloatArray = outside + np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0)
    return result


def tube(p: Sequence[FloatArray], path: Sequence[Point], radii: Sequence[float]) -> FloatArray:
    """Signed distance to a polyline whose radius changes linearly between its points."""
    best = np.full(p[0].shape, np.inf, dtype=np.float32)
    for start, end, r0, r1 in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
        way = [e - s for s, e in zip(start, end, strict=True)]
        rel = [c - s for c, s in zip(p, start, strict=True)]
        along = sum(r * w for r, w in zip(rel, way, strict=True))
        t = np.clip(along / np.float32(sum(w * w for w in way)), 0, 1)
        square = sum((r - t * w) ** 2 for r, w in zip(rel, way, strict=True))
        best = np.minimum(best, np.sqrt(square) - (r0 + t * (r1 - r0)))
    return best


def soft_min(a: FloatArray, b: FloatArray, width: float) -> FloatArray:
    """Smooth minimum: a union without a crease."""
    h = np.maximum(width - np.abs(a - b), 0) / width
    result: FloatArray = np.minimum(a, b) - h * h * (width / 4)
    return result
