"""The fit's inner products, steps and degrees of freedom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vmruntime.alignment.optimise import correlation_at, fit
from vmruntime.alignment.pyramid import Level, Pyramid
from vmruntime.alignment.rotations import rotation_about
from vmruntime.alignment.samples import Frame, Samples, draw_samples

Build = Callable[..., Any]

FRAME = Frame(np.zeros(3), 60.0)
START = np.column_stack([60 * np.eye(3), np.zeros(3)])


@pytest.fixture(scope="module")
def level(phantom: Build) -> Level:
    return Pyramid.of(phantom(), 8.0).levels[1]


@pytest.fixture(scope="module")
def samples(level: Level) -> Samples:
    return draw_samples(level, np.ones(level.data.shape, bool), level, FRAME, 20_000)


def turned(degrees: float, scale: float = 1.0) -> NDArray[np.float64]:
    linear = scale * rotation_about(np.radians(degrees) * np.array([0.6, 0, 0.8]))
    return np.column_stack([60 * linear, [4.0, -3.0, 2.0]])


def test_correlation_with_itself(level: Level, samples: Samples) -> None:
    assert correlation_at(level, samples, START) == pytest.approx(1, abs=1e-5)


def test_gain_and_offset_do_not_matter(level: Level, samples: Samples) -> None:
    other = Samples(samples.points, samples.values * np.float32(0.3) + np.float32(0.5))
    expected = correlation_at(level, samples, turned(5))
    assert correlation_at(level, other, turned(5)) == pytest.approx(expected, abs=1e-4)


def test_no_contrast_gives_zero(level: Level, samples: Samples) -> None:
    away = START + np.array([0, 0, 0, 5000.0])
    assert correlation_at(level, samples, away) == 0
    stuck = fit(level, samples, away, freedom=12, tolerance=0.1, steps=10)
    assert np.array_equal(stuck.pose, away)
    nothing = Samples(np.empty((3, 0), np.float32), np.empty(0, np.float32))
    assert fit(level, nothing, START, freedom=7, tolerance=0.1, steps=10).correlation == 0


@pytest.mark.parametrize("freedom", [7, 12])
def test_finds_the_way_back(level: Level, samples: Samples, freedom: int) -> None:
    found = fit(level, samples, turned(15, 1.1), freedom=freedom, tolerance=0.01, steps=40)
    assert found.correlation > 0.9999
    assert np.abs(found.pose - START).max() < 0.2


def test_a_similarity_stays_one(level: Level, samples: Samples) -> None:
    found = fit(level, samples, turned(25, 0.8), freedom=7, tolerance=0.01, steps=5)
    linear = found.pose[:, :3]
    product = linear.T @ linear
    assert np.allclose(product, product[0, 0] * np.eye(3), atol=1e-6 * product[0, 0])


def test_never_ends_below_its_start(level: Level, samples: Samples) -> None:
    for degrees in (40, 90, 180):
        before = correlation_at(level, samples, turned(degrees))
        for freedom in (7, 12):
            found = fit(level, samples, turned(degrees), freedom=freedom, tolerance=0.1, steps=6)
            assert found.correlation >= before
            assert np.linalg.det(found.pose[:, :3]) > 0
