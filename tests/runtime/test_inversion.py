"""Inverting displacements whose inverse is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from synthetic_scans import affine_of, waves
from vmruntime import Displacement, Grid
from vmruntime.inversion import invert_displacement
from vmruntime.quality import jacobian_determinant

SHAPE = (33, 28, 41)

MEAN, P99, MAX = 0.01, 0.05, 0.2
"""Voxels that there and back may miss by, for fields that change over some ten voxels: what linear
interpolation of field and inverse leaves."""


def displacement(field: NDArray[np.float32]) -> Displacement:
    return Displacement(field, Grid(field.shape[1:], affine_of("LIA")))


def looked_up(field: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float64]:
    components = field.astype(float)
    return np.stack([map_coordinates(c, places, order=1, mode="nearest") for c in components])


def errors(
    field: NDArray[np.float32], inverse: NDArray[np.float32], margin: float
) -> NDArray[np.float64]:
    """``|x - (there and back)|`` in voxels at random places that stay inside the grid."""
    random = np.random.default_rng(0)
    shape = np.array(field.shape[1:])
    places = random.uniform(margin, shape - 1 - margin, (20_000, 3)).T
    there = places + looked_up(inverse, places)
    inside = ((there > 0) & (there < shape[:, None] - 1)).all(axis=0)
    back = there + looked_up(field, there)
    assert inside.mean() > 0.5
    return np.linalg.norm(back - places, axis=0)[inside]


def radial(shape: tuple[int, ...], factor: float, radius: float) -> NDArray[np.float32]:
    """Pulls places toward the middle (`factor` < 0) within a smooth ball; strongest at its centre,
    where det J = (1 + factor)^3."""
    index = np.indices(shape).astype(float)
    away = index - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    weight = np.exp(-(away**2).sum(axis=0) / (2 * radius**2))
    return (factor * weight * away).astype(np.float32)


def check(
    field: NDArray[np.float32], start: NDArray[np.float32] | None, margin: float = 3
) -> NDArray[np.float64]:
    inverse = invert_displacement(displacement(field), start, threads=2)
    found = errors(field, inverse.data, margin)
    assert found.mean() < MEAN
    assert np.percentile(found, 99) < P99
    assert found.max() < MAX
    return inverse.data


def test_nothing_to_invert() -> None:
    zero = np.zeros((3, 5, 6, 7), np.float32)
    for start in (None, zero):
        result = invert_displacement(displacement(zero), start)
        assert not result.data.any()
        assert result.data.dtype == np.float32


def test_a_translation() -> None:
    field = np.zeros((3, *SHAPE), np.float32)
    field[0], field[2] = 1.25, -2.5
    result = invert_displacement(displacement(field)).data
    inner = (slice(None), *[slice(4, -4)] * 3)
    np.testing.assert_array_equal(result[inner], -field[inner])


def test_a_stretch() -> None:
    """``x + u(x) = a x + b`` has the inverse ``(y - b) / a``, exactly."""
    index = np.indices(SHAPE).astype(float)
    middle = (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    factor = np.array([0.85, 1.1, 0.95]).reshape(3, 1, 1, 1)
    field = ((factor - 1) * (index - middle)).astype(np.float32)
    exact = (1 / factor - 1) * (index - middle)
    there = index + exact
    last = np.array(SHAPE).reshape(3, 1, 1, 1) - 1
    inside = ((there >= 2) & (there <= last - 2)).all(axis=0)
    result = invert_displacement(displacement(field)).data
    assert np.abs(result - exact)[:, inside].max() < 0.01


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("with_start", [True, False], ids=["start", "none"])
def test_waves(seed: int, with_start: bool) -> None:
    field = waves(SHAPE, 1.0, 20, seed)
    determinant = jacobian_determinant(field)
    assert determinant.min() < 0.75
    rough = (-0.7 * field).astype(np.float32) if with_start else None
    check(field, rough)


@pytest.mark.parametrize(("factor", "radius"), [(-0.3, 5.0), (-0.5, 6.0), (0.8, 6.0), (1.2, 8.0)])
def test_compression_and_expansion(factor: float, radius: float) -> None:
    """det J of .34, .125, 5.8, 10.6 in the middle: plain iteration fails beyond a factor of 1."""
    field = radial(SHAPE, factor, radius)
    check(field, None)


def test_where_plain_iteration_does_not_converge() -> None:
    field = radial(SHAPE, 1.2, 8.0)
    plain = -field
    index = np.indices(SHAPE).astype(float)
    for _ in range(40):
        plain = -looked_up(field, index + plain).astype(np.float32)
    assert errors(field, plain, 3).max() > 1
    check(field, None)


def test_a_start_is_not_changed() -> None:
    field = waves(SHAPE, 1.0, 20)
    start = (-0.8 * field).astype(np.float32)
    copy = start.copy()
    invert_displacement(displacement(field), start)
    np.testing.assert_array_equal(start, copy)


def test_the_border_is_consistent_with_the_fading(  # the transform's own border, not zeros
) -> None:
    """Where the inverse looks outside the model's grid, it undoes what the transform does there."""
    from vmruntime.mapping import displaced

    field = np.zeros((3, *SHAPE), np.float32)
    field[1] = 2.0
    given = displacement(field)
    inverse = invert_displacement(given)
    index = [x.astype(np.float32) for x in np.indices(SHAPE)]
    there = displaced(given)([x + v for x, v in zip(index, inverse.data, strict=True)])
    missed = np.abs(np.stack(there) - np.stack(index))
    # The last step trades some of the error at the voxels for that between them.
    assert missed.max() < 0.05
    assert missed.mean() < 1e-3


@pytest.mark.parametrize("with_start", [True, False])
def test_folding_does_no_harm(with_start: bool) -> None:
    """There is no inverse where it folds; elsewhere there is, and nothing runs away."""
    field = waves(SHAPE, 4.0, 14)
    determinant = jacobian_determinant(field)
    assert (determinant <= 0).mean() > 0.01
    with np.errstate(all="raise"):
        result = invert_displacement(displacement(field), -field if with_start else None).data
    assert np.isfinite(result).all()
    assert np.abs(result).max() < 20


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 9, 3), (3, 3, 40)])
def test_small_grids(shape: tuple[int, int, int]) -> None:
    result = invert_displacement(displacement(np.full((3, *shape), 0.1, np.float32)))
    assert result.data.shape == (3, *shape)
    assert np.isfinite(result.data).all()
