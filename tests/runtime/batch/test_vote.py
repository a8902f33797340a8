"""Voting of several segmentations."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from synthetic_scans import textured
from vmruntime.batch.vote import FLOOR, GAIN, RADIUS, LocalWeights, vote


def test_the_majority_wins() -> None:
    labels = np.array([[1, 7, 5, 0], [1, 7, 2, 0], [1, 3, 2, 0]], np.int16)
    winners, shares = vote(labels)
    assert winners.tolist() == [1, 7, 2, 0]
    assert winners.dtype == np.int16
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, [1, 2 / 3, 2 / 3, 1], rtol=1e-6)


def test_of_equal_votes_the_smallest_label_wins_in_any_order() -> None:
    for order in ([9, 4, 6], [6, 9, 4], [4, 6, 9], [9, 9, 4, 4]):
        winners, shares = vote(np.array(order, np.int32)[:, None])
        assert winners.tolist() == [4]
        assert shares[0] == pytest.approx(order.count(4) / len(order))
    assert vote(np.array([[0], [5]], np.uint8))[0].tolist() == [0]


def test_a_heavy_vote_outweighs_two() -> None:
    labels = np.array([[8], [3], [3]])
    weights = np.array([[0.9], [0.3], [0.4]], np.float32)
    winners, shares = vote(labels, weights)
    assert winners.tolist() == [8]
    assert shares[0] == pytest.approx(0.9 / 1.6)


def test_against_counting_voxel_by_voxel() -> None:
    random = np.random.default_rng(2)
    labels = random.choice([0, 2, 41, 77, 12175], (7, 500)).astype(np.int16)
    weights = random.uniform(0.01, 1, labels.shape).astype(np.float32)
    winners, shares = vote(labels, weights)
    for column in range(labels.shape[1]):
        totals: Counter[int] = Counter()
        for label, weight in zip(labels[:, column], weights[:, column], strict=True):
            totals[int(label)] += float(weight)  # type: ignore[assignment]
        best, most = max(totals.items(), key=lambda item: item[1])
        assert winners[column] == best
        assert shares[column] == pytest.approx(most / sum(totals.values()), rel=1e-5)


def test_weights_are_local_correlations() -> None:
    shape = (14, 12, 13)
    fixed, moved = textured(shape, 1), textured(shape, 2)
    weights = LocalWeights(fixed).of(moved)
    assert weights.dtype == np.float32
    for place in ((7, 6, 6), (0, 0, 0), (13, 3, 12)):
        window = tuple(
            slice(max(i - RADIUS, 0), min(i + RADIUS + 1, n))
            for i, n in zip(place, shape, strict=True)
        )
        found = np.corrcoef(fixed[window].ravel(), moved[window].ravel())[0, 1]
        assert weights[place] == pytest.approx(max(max(found, 0) ** GAIN, FLOOR), rel=1e-4)


def test_a_likeness_in_other_intensities_weighs_all() -> None:
    fixed = textured((12, 12, 12), 1)
    np.testing.assert_allclose(LocalWeights(fixed).of(fixed * 3 + 7), 1, atol=1e-4)
    assert (LocalWeights(fixed).of(-fixed) == np.float32(FLOOR)).all()


def test_where_nothing_is_seen_all_weigh_the_same() -> None:
    fixed = textured((12, 12, 12), 1)
    dark = np.zeros_like(fixed)
    for weights in (LocalWeights(fixed).of(dark), LocalWeights(dark).of(fixed)):
        assert (weights == np.float32(FLOOR)).all()
