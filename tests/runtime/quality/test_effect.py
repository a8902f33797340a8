"""What a displacement does to a pair."""

from __future__ import annotations

import numpy as np
import pytest

from vmruntime.quality import effect, overlap, regularity, similarity
from vmruntime.warp import warp_linear, warp_nearest

SHAPE = (8, 10, 12)


@pytest.fixture
def displacement() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.6, (3, *SHAPE)).astype(np.float32)


def test_the_figures_are_those_of_the_parts(displacement: np.ndarray) -> None:
    noise = np.random.default_rng(1)
    scans = tuple(noise.random(SHAPE, np.float32) for _ in range(2))
    labels = tuple(noise.integers(0, 4, SHAPE) for _ in range(2))
    found = effect(displacement, scans=scans, labels=labels, wanted=[1, 3], threads=2)
    assert found.regularity == regularity(displacement)
    assert found.overlap == overlap(warp_nearest(labels[0], displacement), labels[1], [1, 3])
    moved = warp_linear(scans[0], displacement)
    assert found.similarity == similarity(moved, scans[1], local=False)


def test_without_scans_and_labels(displacement: np.ndarray) -> None:
    found = effect(displacement)
    assert found.overlap is None
    assert found.similarity is None
    assert found.regularity.folding_voxels > 0
