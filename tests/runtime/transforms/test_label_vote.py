"""Voting, against the plain way: every label's mask interpolated, the largest taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import parcellation
from vmruntime.label_vote import label_sampler
from vmruntime.sampling import linear_sampler

ROUNDING = 1e-6
"""Sums of eight float32 weights, in another order."""


def places(
    shape: tuple[int, ...], margin: float = 2.5, count: int = 5000
) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return [random.uniform(-margin, n - 1 + margin, count).astype(np.float32) for n in shape]


def by_masks(
    volume: NDArray[Any], coordinates: list[NDArray[np.float32]]
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_]]:
    """Labels, weights, and where the first two are too close to tell apart."""
    values = np.unique(np.append(volume, 0))
    shares = np.stack([linear_sampler(volume == value)(coordinates) for value in values])
    # What the masks do not reach lies outside, which is label 0.
    shares[values == 0] += 1 - shares.sum(axis=0)
    ordered = np.sort(shares, axis=0)
    close = ordered[-1] - ordered[-2] < ROUNDING if len(values) > 1 else np.zeros(1, bool)
    return values[shares.argmax(axis=0)], ordered[-1], close


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("shape", [(9, 13, 11), (1, 6, 4), (5, 1, 1)])
def test_the_largest_mask_wins(shape: tuple[int, int, int], kind: Any) -> None:
    values = np.array([0, 3, 41, 77, 120], kind)
    volume = values[np.random.default_rng(1).integers(0, 5, shape)]
    labels, weights = label_sampler(volume)(places(shape))
    expected, share, close = by_masks(volume, places(shape))
    assert labels.dtype == kind
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, share, atol=ROUNDING)
    np.testing.assert_array_equal(labels[~close], expected[~close])
    assert close.mean() < 0.01


def test_large_and_negative_values_survive() -> None:
    values = (-5, 0, 12175, 2035)
    volume = parcellation((9, 13, 11), values)
    labels, _ = label_sampler(volume)(places(volume.shape, margin=0))
    assert set(np.unique(labels)) == set(values)


def test_many_labels() -> None:
    volume = np.random.default_rng(2).permutation(9 * 7 * 5).reshape(9, 7, 5).astype(np.int32)
    labels, weights = label_sampler(volume)(places(volume.shape))
    expected, share, close = by_masks(volume, places(volume.shape))
    np.testing.assert_array_equal(labels[~close], expected[~close])
    np.testing.assert_allclose(weights, share, atol=ROUNDING)


def test_ties_go_to_the_smaller_label() -> None:
    """Also where several corners together equal one, and with the order reversed."""
    volume = np.array([[[7, 3]], [[3, 9]]], np.int16)
    half = np.float32(0.5)
    for data, expected in ((volume, 3), (volume[::-1, :, ::-1], 3), (volume * -1, -3)):
        labels, weights = label_sampler(data)([np.array([half])] + [np.zeros(1, np.float32)] * 2)
        assert labels.tolist() == [min(data[0, 0, 0], data[1, 0, 0])]
        labels, weights = label_sampler(data)(
            [np.array([half]), np.zeros(1, np.float32), np.array([half])]
        )
        assert labels.tolist() == [expected]
        assert weights.tolist() == [0.5]


def test_on_voxels_and_outside() -> None:
    volume = np.full((3, 4, 5), 8, np.uint8)
    index = np.indices(volume.shape).astype(np.float32)
    labels, weights = label_sampler(volume)(list(index))
    np.testing.assert_array_equal(labels, volume)
    assert (weights == 1).all()
    # Half a voxel outside both weigh the same, and 0 is smaller; further out there is only 0.
    edge = np.array([-0.25, -0.5, -0.75, -1, -1e9, 1e9], np.float32)
    middle = np.ones_like(edge)
    labels, weights = label_sampler(volume)([edge, middle, middle])
    assert labels.tolist() == [8, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(weights, [0.75, 0.5, 0.75, 1, 1, 1])


def test_shapes_and_arguments_are_kept() -> None:
    volume = parcellation((9, 13, 11))
    flat = places(volume.shape, count=24)
    shaped = [coordinate.reshape(2, 3, 4) for coordinate in flat]
    copies = [coordinate.copy() for coordinate in shaped]
    labels, weights = label_sampler(volume)(shaped)
    assert labels.shape == weights.shape == (2, 3, 4)
    np.testing.assert_array_equal(labels.ravel(), label_sampler(volume)(flat)[0])
    for coordinate, copy in zip(shaped, copies, strict=True):
        np.testing.assert_array_equal(coordinate, copy)
