"""Agreement of two displacements on planted differences."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest

from synthetic_scans import smooth_displacement
from vmruntime.quality import agreement

SHAPE = (5, 7, 9)
VOXEL_SIZE = (1.0, 2.0, 3.5)

FLOAT32 = 1e-6
"""Relative; lengths of differences of float32 numbers of about 1."""


def test_equal_fields_agree() -> None:
    field = smooth_displacement(SHAPE)
    result = agreement(field, field.copy(), VOXEL_SIZE)
    assert astuple(result)[:6] == (0,) * 6
    assert result.where == (0, 0, 0)


def test_one_planted_difference() -> None:
    reference = np.zeros((3, *SHAPE), np.float32)
    changed = reference.copy()
    changed[:, 3, 5, 8] = 1, -2, 2
    result = agreement(reference, changed, VOXEL_SIZE)
    assert result.where == (3, 5, 8)
    assert result.max == pytest.approx(3, rel=FLOAT32)
    assert result.mean == pytest.approx(3 / math.prod(SHAPE), rel=FLOAT32)
    assert result.p99 == 0  # one of 315 voxels is below one percent
    length_mm = math.hypot(1 * 1.0, 2 * 2.0, 2 * 3.5)
    assert result.max_mm == pytest.approx(length_mm, rel=FLOAT32)
    assert result.mean_mm == pytest.approx(length_mm / math.prod(SHAPE), rel=FLOAT32)
    assert result.p99_mm == 0


def test_percentile_of_a_ramp() -> None:
    reference = np.zeros((3, 101, 2, 3), np.float32)
    changed = reference.copy()
    changed[2] = np.arange(101, dtype=np.float32)[:, None, None]
    result = agreement(reference, changed, (1.0, 1.0, 0.5))
    # 6 voxels of each length: the 99th percentile of 606 lies among those of length 99.
    assert result.p99 == pytest.approx(99, rel=FLOAT32)
    assert result.p99_mm == pytest.approx(49.5, rel=FLOAT32)
    assert (result.mean, result.max) == (50, 100)
    assert result.where == (100, 0, 0)


def test_millimetres_follow_their_own_axis() -> None:
    reference = np.zeros((3, *SHAPE), np.float32)
    for axis, size in enumerate(VOXEL_SIZE):
        changed = reference.copy()
        changed[axis] = 0.25
        result = agreement(reference, changed, VOXEL_SIZE)
        assert (result.mean, result.p99, result.max) == (0.25, 0.25, 0.25)
        expected = 0.25 * size
        assert (result.mean_mm, result.p99_mm, result.max_mm) == (expected,) * 3


def test_order_does_not_matter() -> None:
    one, other = smooth_displacement(SHAPE, seed=1), smooth_displacement(SHAPE, seed=2)
    assert agreement(one, other, VOXEL_SIZE) == agreement(other, one, VOXEL_SIZE)


@pytest.mark.parametrize("which", [0, 1])
def test_nan_is_never_agreement(which: int) -> None:
    fields = [smooth_displacement(SHAPE), smooth_displacement(SHAPE)]
    fields[which][1, 2, 6, 4] = np.nan
    result = agreement(*fields, VOXEL_SIZE)
    assert all(math.isnan(figure) for figure in astuple(result)[:6])
    assert result.where == (2, 6, 4)
