"""Levenberg-Marquardt on the correlation of two scans, over similarities or all affine maps.

The residual is ``gain * moving(y(x)) + offset - fixed(x)`` with the gain and the offset fitted
along, whose least squares are ``var(fixed) * (1 - correlation^2)``: the fit maximises the squared
correlation and does not care how bright either scan is. All that an iteration needs are the inner
products of the fifteen columns

    d moving / d pose (12), moving, 1, fixed

over the samples: the Gauss-Newton step, the gain, the offset and the correlation follow from that
15 x 15 matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vmruntime.alignment.interpolate import values_and_gradients
from vmruntime.alignment.pyramid import Level
from vmruntime.alignment.rotations import rotation_about
from vmruntime.alignment.samples import Samples

__all__ = ["Fit", "Freedom", "correlation_at", "fit"]

Freedom = Literal[7, 12]
"""Degrees of freedom: rotation, translation and one scale, or any affine map."""

POSE, MOVING, ONE, FIXED = slice(0, 12), 12, 13, 14
# Temporaries of this many points stay in a core's cache.
POINTS_PER_CHUNK = 8192

FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-6, 1e3
# Noise in the gradients makes Gauss-Newton steps too short on unsmoothed levels, for many steps
# in the same direction: as long as they succeed they grow.
STRIDE_GROWTH, LONGEST_STRIDE = 1.4, 4.0


@dataclass(frozen=True, eq=False)
class Fit:
    """Where a fit ended.

    Parameters
    ----------
    pose
        ``(3, 4)`` float64: unit coordinates of the fixed scan to RAS+ mm of the moving scan.
    correlation
        Pearson correlation over the samples; 0 where a scan is constant there.
    """

    pose: NDArray[np.float64]
    correlation: float


def fit(
    level: Level,
    samples: Samples,
    start: NDArray[np.float64],
    *,
    freedom: Freedom,
    tolerance: float,
    steps: int,
) -> Fit:
    """Improve a pose at one level.

    Parameters
    ----------
    level
        The moving scan.
    samples
        The fixed scan.
    start
        ``(3, 4)`` float64, unit coordinates to RAS+ mm.
    freedom
        7 needs a similarity as `start` and keeps it one.
    tolerance
        Stop when a step moves a point at unit distance by less, mm.
    steps
        Stop after this many evaluations.
    """
    pose, products = start, _products(level, samples, start)
    best, damping, stride = _correlation(products), FIRST_DAMPING, 1.0
    for _ in range(steps):
        step = _step(products, _directions(pose, freedom), damping)
        if step is None:
            break
        candidate = _moved(pose, stride * step, freedom)
        moved_by = float(np.abs(candidate - pose).max())
        correlation = -1.0
        if np.isfinite(moved_by) and np.linalg.det(candidate[:, :3]) > 0:
            candidate_products = _products(level, samples, candidate)
            correlation = _correlation(candidate_products)
        if correlation > best:
            pose, products, best = candidate, candidate_products, correlation
            damping = max(damping / 10, LEAST_DAMPING)
            stride = min(stride * STRIDE_GROWTH, LONGEST_STRIDE)
        elif stride > 1:
            stride = 1.0
            continue
        else:
            damping *= 10
        if moved_by < tolerance or damping > MOST_DAMPING:
            break
    return Fit(pose, best)


def correlation_at(level: Level, samples: Samples, pose: NDArray[np.float64]) -> float:
    """Pearson correlation of the samples with the moving scan at a ``(3, 4)`` pose."""
    return _correlation(_products(level, samples, pose))


def _products(level: Level, samples: Samples, pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(15, 15)`` float64 inner products of the columns, see the module."""
    to_index = np.linalg.inv(level.affine)
    linear = (to_index[:3, :3] @ pose[:, :3]).astype(np.float32)
    shift = (to_index[:3, :3] @ pose[:, 3:] + to_index[:3, 3:]).astype(np.float32)
    # Derivatives per voxel to derivatives per mm.
    to_world = np.ascontiguousarray(to_index[:3, :3].T, dtype=np.float32)
    total = np.zeros((15, 15))
    number = samples.points.shape[1]
    for start in range(0, number, POINTS_PER_CHUNK):
        points = samples.points[:, start : start + POINTS_PER_CHUNK]
        columns = np.empty((15, points.shape[1]), np.float32)
        columns[MOVING], gradient = values_and_gradients(level, _times(linear, points) + shift)
        by_axis = columns[POSE].reshape(3, 4, -1)
        by_axis[:, 3] = _times(to_world, gradient)
        np.multiply(by_axis[:, 3:], points, out=by_axis[:, :3])
        columns[ONE] = 1
        columns[FIXED] = samples.values[start : start + POINTS_PER_CHUNK]
        # In float64, and without BLAS where the result is float32: what it rounds differs from
        # processor to processor, and the last steps of a fit depend on it. As the C library does.
        wide = columns.astype(np.float64)
        total += wide @ wide.T
    return total


def _times(matrix: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Product of a ``(3, 3)`` and a ``(3, N)`` array, summed in one order everywhere."""
    product: NDArray[np.float32] = matrix[:, :1] * vectors[0]
    product += matrix[:, 1:2] * vectors[1]
    product += matrix[:, 2:] * vectors[2]
    return product


def _correlation(products: NDArray[np.float64]) -> float:
    number = products[ONE, ONE]
    if number == 0:
        return 0.0

    def covariance(a: int, b: int) -> float:
        return float(products[a, b] - products[a, ONE] * products[b, ONE] / number)

    variance = covariance(MOVING, MOVING) * covariance(FIXED, FIXED)
    # What rounding leaves of a constant image is no contrast.
    if not variance > 1e-12 * number**2:
        return 0.0
    return covariance(MOVING, FIXED) / float(np.sqrt(variance))


def _directions(pose: NDArray[np.float64], freedom: Freedom) -> NDArray[np.float64]:
    """``(12, freedom)`` float64: how the pose changes with each degree of freedom."""
    if freedom == 12:
        return np.eye(12)
    directions = np.zeros((3, 4, 7))
    for k in range(3):
        directions[:, :3, k] = np.cross(np.eye(3)[k], pose[:, :3], axisb=0, axisc=0)
        directions[k, 3, 3 + k] = 1
    directions[:, :3, 6] = pose[:, :3]
    return directions.reshape(12, 7)


def _step(
    products: NDArray[np.float64], directions: NDArray[np.float64], damping: float
) -> NDArray[np.float64] | None:
    """One damped Gauss-Newton step, or None where the scans say nothing.

    ``gain * (moving + J step) + offset = fixed`` is linear in ``gain * step``, `gain` and
    `offset`: its least squares give the step once divided by the gain.
    """
    freedom = directions.shape[1]
    basis = np.zeros((15, freedom + 2))
    basis[POSE, :freedom] = directions
    basis[MOVING, freedom] = basis[ONE, freedom + 1] = 1
    normal = basis.T @ products @ basis
    diagonal = np.diag(normal).copy()
    # A direction without effect (a single slice, all outside) gets a stop instead of a zero.
    floor = 1e-9 * max(float(diagonal[:freedom].max()), 1e-12)
    normal[range(freedom), range(freedom)] += damping * diagonal[:freedom] + floor
    try:
        solution = np.linalg.solve(normal, basis.T @ products[:, FIXED])
    except np.linalg.LinAlgError:
        return None
    gain = float(solution[freedom])
    # Without contrast, or with an inverted one, the step would lead away.
    if not gain > 1e-6:
        return None
    step = np.asarray(solution[:freedom] / gain, np.float64)
    return step if np.isfinite(step).all() else None


def _moved(
    pose: NDArray[np.float64], step: NDArray[np.float64], freedom: Freedom
) -> NDArray[np.float64]:
    if freedom == 12:
        affine: NDArray[np.float64] = pose + step.reshape(3, 4)
        return affine
    similar = pose.copy()
    # No step of a similarity may turn by more than half a turn or scale beyond measure.
    scale = float(np.exp(np.clip(step[6], -1, 1)))
    similar[:, :3] = scale * rotation_about(step[:3]) @ pose[:, :3]
    similar[:, 3] += step[3:6]
    return similar
