"""Warnings, refusals and degenerate scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vmruntime import Grid, Volume
from vmruntime.alignment import Alignment, align
from vmruntime.alignment.checks import Figures, reason_against, warnings_about

Build = Callable[..., Any]

HEAD_SHAPE = (76, 88, 84)
GOOD = Figures(0.98, 0.95, 0.0, (1.1, 1.0, 0.9))


@pytest.fixture(scope="module")
def brain(phantom: Build) -> Volume:
    return phantom()


def codes(result: Alignment) -> list[str]:
    return [code for code, _ in result.warnings]


def moved(volume: Volume, by: float) -> Volume:
    affine = volume.grid.affine.copy()
    affine[2, 3] += by
    return Volume(volume.data, Grid(volume.grid.shape, affine))


def test_texts_are_one_line(phantom: Build, brain: Volume) -> None:
    head = phantom(HEAD_SHAPE, head=True)
    result = align(head, brain)
    for text in (result.reason, *(text for _, text in result.warnings)):
        assert text
        assert "\n" not in text


@pytest.mark.parametrize("head_is", ["moving", "fixed"])
def test_one_head_and_one_brain(phantom: Build, brain: Volume, head_is: str) -> None:
    head = phantom(HEAD_SHAPE, head=True)
    result = align(head, brain) if head_is == "moving" else align(brain, head)
    assert "skull-strip-mismatch" in codes(result)
    assert (
        f"the {head_is} scan looks like a whole head"
        in dict(result.warnings)["skull-strip-mismatch"]
    )
    assert not result.plausible
    assert "skull-strip both" in result.reason


def test_two_heads(phantom: Build) -> None:
    result = align(phantom(HEAD_SHAPE, head=True, subject=1), phantom(HEAD_SHAPE, head=True))
    assert codes(result) == ["not-skull-stripped"]
    assert result.plausible


def test_two_brains_give_no_warning(phantom: Build, brain: Volume) -> None:
    assert align(phantom(subject=1), brain).warnings == ()


@pytest.mark.parametrize("cut_is", ["moving", "fixed"])
def test_foreground_at_the_edge(brain: Volume, cut_is: str) -> None:
    affine = brain.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ (0, 0, 16)
    cut = Volume(brain.data[:, :, 16:], Grid(brain.data[:, :, 16:].shape, affine))
    result = align(cut, brain) if cut_is == "moving" else align(brain, cut)
    assert f"the {cut_is} scan touches" in dict(result.warnings)["foreground-at-edge"]


def test_another_pattern_is_doubtful_or_refused(brain: Volume) -> None:
    random = np.random.default_rng(0).random((8, 8, 8))
    blobs = np.kron(random, np.ones((8, 8, 8))).astype(np.float32)
    result = align(Volume(blobs, Grid(blobs.shape, np.diag([3.0, 3, 3, 1]))), brain)
    assert "affine-low-correlation" in codes(result)
    assert not result.plausible


def test_no_common_field_of_view(brain: Volume) -> None:
    near = align(moved(brain, 190), brain)
    assert near.plausible
    far = align(moved(brain, 1000), brain)
    assert not far.plausible
    assert "no point in common" in far.reason
    assert far.matrix[2, 3] == pytest.approx(1000, abs=1)


def spot() -> np.ndarray:
    data = np.zeros((20, 21, 22), np.float32)
    data[3, 4, 5] = 1
    return data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (np.zeros((20, 21, 22), np.float32), "empty, constant or not finite"),
        (np.full((20, 21, 22), 7, np.int16), "empty, constant or not finite"),
        (np.full((20, 21, 22), np.nan, np.float32), "empty, constant or not finite"),
        (np.where(np.arange(22) == 5, np.inf, np.ones((20, 21, 22))), "not finite"),
        (np.full((20, 21, 22), 3e38, np.float32), "empty, constant or not finite"),
        (np.ones((1, 1, 1), np.float32), "empty, constant or not finite"),
        (spot(), ""),
        (np.eye(22, dtype=np.float32)[None], ""),
        (np.random.default_rng(0).normal(size=(20, 21, 22)), ""),
        (-np.random.default_rng(0).random((2, 40, 2)), ""),
    ],
)
def test_degenerate_scans(brain: Volume, data: np.ndarray, reason: str) -> None:
    degenerate = Volume(data, Grid(data.shape, np.diag([2.0, 2, 2, 1])))
    for result in (align(degenerate, brain), align(brain, degenerate)):
        assert np.isfinite(result.matrix).all()
        assert not result.plausible
        assert reason in result.reason


@pytest.mark.parametrize("thickness", [3.0, 12.0])
@pytest.mark.parametrize("slices", [1, 3])
def test_few_slices(
    phantom: Build, centred: Build, brain: Volume, slices: int, thickness: float
) -> None:
    """The in-plane position is found from three thick slices; thinner slabs may be refused."""
    shape = (58, slices, 66)
    slab = phantom(shape, centred(shape, (3.0, thickness, 3.0)))
    for result in (align(brain, slab), align(slab, brain)):
        assert np.isfinite(result.matrix).all()
        assert np.isfinite([result.correlation, result.fixed_outside, *result.scale]).all()


def test_nothing_against_good_figures() -> None:
    assert reason_against(GOOD, ()) == ""
    assert warnings_about(GOOD) == ()


@pytest.mark.parametrize(
    ("figures", "part"),
    [
        (Figures(0.92, 0.95, 0.0, (1.1, 1.0, 0.9)), "correlate with 0.920"),
        (Figures(float("nan"), 0.95, 0.0, (1.1, 1.0, 0.9)), "correlate with nan"),
        (Figures(0.98, 0.6, 0.0, (1.1, 1.0, 0.9)), "Dice of 0.60"),
        (Figures(0.98, 0.95, 0.6, (1.1, 1.0, 0.9)), "60% of the fixed foreground"),
        (Figures(0.98, 0.95, 0.0, (2.6, 1.0, 0.9)), "scales by 0.90 to 2.60"),
        (Figures(0.98, 0.95, 0.0, (1.1, 1.0, 0.3)), "scales by 0.30 to 1.10"),
    ],
)
def test_reasons(figures: Figures, part: str) -> None:
    assert part in reason_against(figures, ())


def test_doubtful_but_not_refused() -> None:
    doubtful = Figures(0.95, 0.95, 0.0, (1.1, 1.0, 0.9))
    assert reason_against(doubtful, ()) == ""
    assert [code for code, _ in warnings_about(doubtful)] == ["affine-low-correlation"]
