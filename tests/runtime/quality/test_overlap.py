"""Dice overlap against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from synthetic_scans import parcellation
from vmruntime.quality import overlap
from vmruntime.quality.overlap import DENSE_LIMIT

ONE = np.array([[[0, 0, 1, 1], [1, 1, 2, 5]]], np.int16)
OTHER = np.array([[[0, 1, 1, 1], [2, 2, 2, 7]]], np.int16)
"""Label 1: 4 and 3 voxels, 2 common. Label 2: 1 and 3, 1 common. 5 and 7: in one of them only."""


def test_dice_by_hand() -> None:
    result = overlap(ONE, OTHER)
    assert dict(result.labels) == {1: 4 / 7, 2: 2 / 4}
    assert result.mean == pytest.approx((4 / 7 + 2 / 4) / 2, abs=1e-15)


def test_the_background_counts_only_where_it_is_named() -> None:
    assert 0 not in overlap(ONE, OTHER).labels
    assert dict(overlap(ONE, OTHER, [0]).labels) == {0: 2 / 3}


def test_a_named_label_that_is_in_one_of_them_has_no_overlap() -> None:
    result = overlap(ONE, OTHER, [5, 7, 2, 2])
    assert dict(result.labels) == {2: 0.5, 5: 0, 7: 0}
    assert result.mean == pytest.approx(0.5 / 3, abs=1e-15)


def test_a_named_label_that_is_in_neither_is_left_out() -> None:
    assert dict(overlap(ONE, OTHER, [2, 99]).labels) == {2: 0.5}


@pytest.mark.parametrize("named", [None, [99], []])
def test_no_label_has_no_mean(named: list[int] | None) -> None:
    nothing = np.zeros((2, 3, 4), np.uint8)
    result = overlap(nothing, nothing, named)
    assert dict(result.labels) == {}
    assert math.isnan(result.mean)


def test_labels_that_do_not_meet_have_no_mean() -> None:
    assert math.isnan(overlap(np.full((2, 2, 2), 3), np.full((2, 2, 2), 4)).mean)


def test_empty_images() -> None:
    empty = np.zeros((0, 3, 4), np.int32)
    assert math.isnan(overlap(empty, empty).mean)


def test_equal_images_overlap_fully() -> None:
    labels = parcellation((9, 7, 11))
    assert dict(overlap(labels, labels).labels) == {2: 1, 41: 1, 77: 1}


@pytest.mark.parametrize(
    ("offset", "kind"),
    [
        (0, np.uint8),
        (0, np.uint64),
        (DENSE_LIMIT - 2, np.int32),  # 1 is the last that is counted in a table, 2 the first not
        (DENSE_LIMIT, np.int32),
        (1 << 40, np.int64),
        (-4, np.int16),
        (-(1 << 30), np.int32),
    ],
)
def test_any_label_value_and_type(offset: int, kind: type[np.integer[object]]) -> None:
    one = np.where(ONE > 0, ONE.astype(np.int64) + offset, 0).astype(kind)
    other = np.where(OTHER > 0, OTHER.astype(np.int64) + offset, 0).astype(kind)
    assert dict(overlap(one, other).labels) == {1 + offset: 4 / 7, 2 + offset: 2 / 4}


def test_two_types_and_a_flipped_array() -> None:
    result = overlap(ONE[..., ::-1].astype(np.uint8), OTHER[..., ::-1].astype(np.int64))
    assert dict(result.labels) == {1: 4 / 7, 2: 2 / 4}


def test_labels_are_plain_numbers() -> None:
    for values in (ONE, ONE.astype(np.int64) << 30):
        assert {type(label) for label in overlap(values, values).labels} == {int}
