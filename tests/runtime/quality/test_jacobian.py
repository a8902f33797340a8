"""Jacobian determinants against deformations whose determinant is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import smooth_displacement
from vmruntime.quality import jacobian_determinant, regularity
from vmruntime.quality.jacobian import PLANES_PER_SLAB

DEPTHS = [
    2,
    3,
    PLANES_PER_SLAB - 1,
    PLANES_PER_SLAB,
    PLANES_PER_SLAB + 1,  # the last slab is one plane
    2 * PLANES_PER_SLAB + 1,
    2 * PLANES_PER_SLAB + 5,
]

FLOAT32 = 1e-5
"""Differences of float32 positions up to 30 voxels, in products of three."""

LINEAR = np.array([[1.2, 0.1, -0.2], [0.3, 0.9, 0.1], [-0.1, 0.2, 1.1]])


def affine_field(matrix: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``u(x) = (A - I) x``."""
    field = np.einsum("ij,jdhw->idhw", matrix - np.eye(3), np.indices(shape))
    return field.astype(np.float32)


def whole_determinant(field: NDArray[np.float32]) -> NDArray[np.float64]:
    """The same differences without slabs and in float64."""
    rows = [np.stack(np.gradient(component.astype(np.float64)), -1) for component in field]
    return np.linalg.det(np.stack(rows, -2) + np.eye(3))


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_affine_deformation_has_one_determinant(depth: int) -> None:
    shape = (depth, 5, 7)
    determinant = jacobian_determinant(affine_field(LINEAR, shape), threads=2)
    assert determinant.shape == shape
    assert determinant.dtype == np.float32
    np.testing.assert_allclose(determinant, np.linalg.det(LINEAR), rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("matrix", [np.diag([2, 1, 1]), np.diag([1, 3, 1]), np.diag([-1.0, 2, 2])])
def test_each_axis_counts(matrix: NDArray[np.float64]) -> None:
    determinant = jacobian_determinant(affine_field(matrix, (9, 3, 2)))
    np.testing.assert_allclose(determinant, np.linalg.det(matrix), rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("depth", DEPTHS)
def test_only_the_true_border_is_one_sided(depth: int) -> None:
    # d(0.05 x^2) / dx = 0.1 x by central differences; one-sided ones would be off by 0.05.
    x = np.arange(depth)
    field = np.zeros((3, depth, 3, 4), np.float32)
    field[0] = (0.05 * x**2)[:, None, None]
    expected = 1 + 0.1 * x
    expected[0] += 0.05
    expected[-1] -= 0.05
    found = jacobian_determinant(field)
    np.testing.assert_allclose(found[:, 1, 2], expected, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("shape", [(2, 2, 2), (PLANES_PER_SLAB + 1, 6, 5), (19, 2, 9)])
@pytest.mark.parametrize("threads", [1, 3])
def test_slabs_and_threads_change_nothing(shape: tuple[int, ...], threads: int) -> None:
    field = np.random.default_rng(1).normal(0, 0.5, (3, *shape)).astype(np.float32)
    found = jacobian_determinant(field, threads=threads)
    np.testing.assert_allclose(found, whole_determinant(field), rtol=0, atol=FLOAT32)


def test_the_input_stays_as_it_is() -> None:
    field = smooth_displacement((9, 6, 5))
    before = field.copy()
    jacobian_determinant(field)
    np.testing.assert_array_equal(field, before)


def test_no_displacement_is_perfectly_regular() -> None:
    result = regularity(np.zeros((3, 9, 4, 5), np.float32))
    assert (result.folding_voxels, result.folding_percent, result.sd_log_jacobian) == (0, 0, 0)


def test_a_planted_fold_is_counted() -> None:
    # Positions 0 1 2 5 4 3 6 7 8 9: the central difference is negative at the middle of the swap.
    depth, height, width = 10, 3, 4
    field = np.zeros((3, depth, height, width), np.float32)
    field[0, 3, :2], field[0, 5, :2] = 2, -2
    result = regularity(field, threads=2)
    assert result.folding_voxels == 2 * width
    assert result.folding_percent == pytest.approx(100 * 2 / (depth * height), abs=1e-12)


def test_a_collapse_is_folding() -> None:
    # Every voxel looks at the same place: the determinant is 0, not negative.
    result = regularity(affine_field(np.zeros((3, 3)), (4, 3, 5)))
    assert (result.folding_voxels, result.folding_percent) == (60, 100)
    assert result.sd_log_jacobian == 0


def test_nan_is_folding() -> None:
    field = np.zeros((3, 9, 5, 5), np.float32)
    field[1, 4, 2, 2] = np.nan
    # Its two neighbours along each axis see it; at the voxel itself differences skip it.
    assert regularity(field).folding_voxels == 6


def test_the_spread_of_the_logarithm() -> None:
    # Half of the voxels with det J = 1, half with det J = 1.21.
    field = np.zeros((3, 4, 8, 4), np.float32)
    field[:, :, 4:] = affine_field(np.diag([1.1, 1.0, 1.1]), (4, 4, 4))
    expected = math.log(1.21) / 2
    inner = np.log(jacobian_determinant(field)[:, [0, 1, 2, 5, 6, 7]])
    assert float(inner.std()) == pytest.approx(expected, abs=FLOAT32)
    spread = regularity(affine_field(LINEAR, (9, 5, 4))).sd_log_jacobian
    assert spread == pytest.approx(0, abs=FLOAT32)
    logs = np.log(jacobian_determinant(field))
    assert regularity(field).sd_log_jacobian == pytest.approx(float(logs.std()), abs=FLOAT32)
