"""Intensity rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synthetic_scans import textured
from vmruntime import IntensityRule, ManifestError

SHAPE = (5, 7, 9)

ROUNDING = 1e-6
"""Of values around 1 in float32, after two operations."""


def rules() -> st.SearchStrategy[IntensityRule]:
    """Any valid rule."""
    levels = st.tuples(st.floats(0, 100), st.floats(0, 100)).filter(lambda pair: pair[0] < pair[1])
    normal = levels.filter(lambda pair: all(n == 0 or n > 1e-90 for n in pair))
    return st.one_of(
        st.sampled_from([IntensityRule("none"), IntensityRule("minmax")]),
        st.floats(1e-6, 1e12).map(lambda number: IntensityRule("divide", (number,))),
        normal.map(lambda pair: IntensityRule("percentile", pair)),
    )


@given(rules())
def test_text_round_trip(rule: IntensityRule) -> None:
    assert IntensityRule.parse(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("divide:255", "divide:255"),
        (" divide:255.0 ", "divide:255"),
        ("divide:1234567", "divide:1234567.0"),
        ("percentile:1,99.5", "percentile:1,99.5"),
        ("percentile:0,1e2", "percentile:0,100"),
        ("minmax", "minmax"),
        ("none", "none"),
    ],
)
def test_printing(text: str, printed: str) -> None:
    assert str(IntensityRule.parse(text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "", "auto", "divide", "divide:", "divide:0", "divide:-1", "divide:nan", "divide:inf",
        "divide:1,2", "divide:1e99", "divide:1e-99", "divide:" + "9" * 500, "divide:0x10",
        "minmax:1", "none:0", "percentile", "percentile:1", "percentile:99,1", "percentile:1,101",
        "percentile:1,1", "percentile:1,2,3", "percentile:1;99", "Divide:255", "divide:1_0",
        "divide:255\nnone", "minmax,none",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(ManifestError, match=r"is no intensity rule; write divide:NUMBER, minmax"):
        IntensityRule.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_an_error(text: str) -> None:
    try:
        rule = IntensityRule.parse(text)
    except ManifestError:
        return
    assert IntensityRule.parse(str(rule)) == rule


def test_divide() -> None:
    data = textured(SHAPE)
    scaled = IntensityRule.parse("divide:255").apply(data)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, data / np.float32(255))


def test_none() -> None:
    data = textured(SHAPE)
    np.testing.assert_array_equal(IntensityRule.parse("none").apply(data), data)


@pytest.mark.parametrize("offset", [0, -300, 4096])
def test_minmax(offset: float) -> None:
    data = textured(SHAPE) + np.float32(offset)
    scaled = IntensityRule.parse("minmax").apply(data)
    assert scaled.dtype == np.float32
    assert (scaled.min(), scaled.max()) == (0, 1)
    expected = (data - data.min()) / np.ptp(data)
    assert np.abs(scaled - expected).max() < ROUNDING


def test_percentile_is_of_the_foreground() -> None:
    data = textured(SHAPE)
    scaled = IntensityRule.parse("percentile:2,98").apply(data)
    low, high = np.percentile(data[data != 0], [2, 98])
    expected = np.where(data == 0, 0, np.maximum((data - low) / (high - low), 0))
    assert scaled.dtype == np.float32
    assert np.abs(scaled - expected).max() < 10 * ROUNDING  # percentiles rounded to float32
    assert not scaled[data == 0].any()
    assert scaled.max() > 1  # only the lower end is clipped


@pytest.mark.parametrize("value", [1.0, 7.0, 1e-30, 1e12])
def test_percentile_of_a_constant_foreground(value: float) -> None:
    data = np.zeros(SHAPE, np.float32)
    data[2:4, 2:4] = value
    scaled = IntensityRule.parse("percentile:1,99").apply(data)
    np.testing.assert_allclose(scaled, data / np.float32(value), rtol=ROUNDING)


def test_a_foreground_of_one_negative_value_vanishes_with_a_warning() -> None:
    data = np.zeros(SHAPE, np.float32)
    data[2] = -5
    scaled = IntensityRule.parse("percentile:1,99").apply(data)
    assert not scaled.any()
    assert "every voxel is 0" in (IntensityRule.suspicion(scaled, "scan") or "")


@given(
    rules(),
    hnp.arrays(
        np.float32,
        (3, 2, 4),
        elements=st.one_of(st.just(0.0), st.floats(-(2.0**39), 2.0**39, width=32)),
    ),
)
def test_any_scan_is_scaled_without_a_crash(rule: IntensityRule, data: np.ndarray) -> None:
    if data.min() == data.max():
        return
    before = data.copy()
    scaled = rule.apply(data)
    assert scaled.shape == data.shape
    assert scaled.dtype == np.float32
    assert not np.isnan(scaled).any()
    np.testing.assert_array_equal(data, before)
    warning = IntensityRule.suspicion(scaled, "scan")
    assert warning is None or warning.startswith("scan: ")


@pytest.mark.parametrize(
    ("maximum", "suspicious"),
    [(0.09, True), (0.11, False), (1.0, False), (1.99, False), (2.01, True), (255.0, True)],
)
def test_suspicion(maximum: float, suspicious: bool) -> None:
    data = np.zeros((20, 20, 20), np.float32)
    data[5:15, 5:15, 5:15] = maximum
    warning = IntensityRule.suspicion(data, "t1.nii")
    assert (warning is not None) is suspicious
    if warning:
        assert f"t1.nii: the foreground maximum is {maximum:.3g}" in warning
        assert "--intensity" in warning


def test_suspicion_ignores_a_few_hot_voxels() -> None:
    data = np.ones((20, 20, 20), np.float32)
    data[3, 4, 5] = 900
    assert IntensityRule.suspicion(data, "scan") is None


@pytest.mark.parametrize(
    ("text", "proportional"),
    [("divide:255", True), ("none", True), ("minmax", False), ("percentile:1,99", False)],
)
def test_proportional_rules(text: str, proportional: bool) -> None:
    assert IntensityRule.parse(text).is_proportional is proportional
