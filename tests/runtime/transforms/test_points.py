"""Lists of points: reading, writing, and going backwards through a chain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vmruntime.chain import AffineStep, Chain, WarpStep
from vmruntime.errors import TransformError
from vmruntime.invert_points import TOLERANCE_MM, map_backwards
from vmruntime.io.points import PointList, read_points, write_points
from worlds import FIXED, applied, chain, matrix, points, warp, written


def test_header_and_further_columns_are_kept(tmp_path: Path) -> None:
    text = 'x,y,z,name,note\n1.000000,-2.500000,3.000000,AC,"a, b"\n0.000000,0.000000,1.000000,PC\n'
    path = written(tmp_path / "points.csv", text)
    found = read_points(path)
    np.testing.assert_array_equal(found.points, [[1, -2.5, 3], [0, 0, 1]])
    assert found.rest == (("AC", "a, b"), ("PC",))
    assert found.header == ("x", "y", "z", "name", "note")
    write_points(tmp_path / "copy.csv", found)
    assert (tmp_path / "copy.csv").read_text() == text


@pytest.mark.parametrize("text", ["1,2,3\n", "\ufeff1,2,3\r\n\r\n", " 1 , 2e0 ,+3\n,,\n"])
def test_what_counts_as_points(tmp_path: Path, text: str) -> None:
    found = read_points(written(tmp_path / "points.csv", text))
    assert found.points.tolist() == [[1, 2, 3]]
    assert found.header is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no points"),
        ("x,y,z\n", "no points"),
        ("1,2\n", "line 1 begins with '1,2'"),
        ("1;2;3\n1;2;3\n", "line 2 begins with '1;2;3'"),
        ("x,y,z\n\n1,2,three\n", "line 3"),
        ("1,2,nan\n", "line 1"),
        ("1,inf,3\n", "line 1"),
        (b"\xff\xfe1\0,\0", "comma-separated text"),
    ],
)
def test_bad_lists(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        read_points(written(tmp_path / "bad.csv", content))


def test_missing_list(tmp_path: Path) -> None:
    with pytest.raises(TransformError, match="no such file"):
        read_points(tmp_path / "none.csv")


def test_no_negative_zero(tmp_path: Path) -> None:
    write_points(tmp_path / "zero.csv", PointList(np.array([[-1e-9, 0, 1]]), ((),), None))
    assert (tmp_path / "zero.csv").read_text() == "0.000000,0.000000,1.000000\n"


def test_there_and_back() -> None:
    """Through affine, warp, affine and another warp."""
    mild = np.eye(4) + 0.02 * (matrix(5) - np.eye(4))
    steps = Chain((warp(peak=0.5), AffineStep(mild), warp(peak=0.5), AffineStep(matrix())))
    # Near the edge of the field two places can go to the same one.
    middle = points()[np.linalg.norm(points() - FIXED.corners.mean(axis=0), axis=1) < 2.5]
    assert len(middle) > 1
    there = steps.map(middle)
    back = map_backwards(steps, there)
    # The tolerance holds in the moving world; the scales here are some tenths around 1.
    np.testing.assert_allclose(back, middle, atol=2 * TOLERANCE_MM)
    np.testing.assert_allclose(steps.map(back), there, atol=TOLERANCE_MM)


def test_an_affine_is_inverted_exactly() -> None:
    back = map_backwards(Chain((AffineStep(matrix()),)), applied(matrix(), points()))
    np.testing.assert_allclose(back, points(), atol=1e-9)


def slope(factor: float) -> WarpStep:
    """``x`` goes to ``(1 + factor) x`` along the first world axis, in a box of 40 mm."""
    from vmruntime import Grid

    affine = np.eye(4)
    affine[:3, 3] = -20
    field = np.zeros((41, 41, 41, 3), np.float32)
    field[..., 0] = factor * np.arange(-20, 21)[:, None, None]
    return WarpStep(field, Grid((41, 41, 41), affine))


@pytest.mark.parametrize("factor", [2.5, 1.0, 0.5, -0.5, -0.9])
def test_strong_stretching_and_shrinking(factor: float) -> None:
    """Beyond a factor of 1 the plain fixed-point iteration diverges."""
    step = slope(factor)
    places = np.random.default_rng(0).uniform(-5, 5, (50, 3))
    back = map_backwards(Chain((step,)), step.map(places))
    np.testing.assert_allclose(step.map(back), step.map(places), atol=TOLERANCE_MM)


def test_where_there_is_no_inverse() -> None:
    """At 30 mm nothing arrives: inside, places end at 0, and outside they begin at 20 mm."""
    step = slope(2.0)
    places = np.array([[0.0, 0, 0], [70.0, 0, 0]])
    np.testing.assert_allclose(map_backwards(Chain((step,)), places), places, atol=TOLERANCE_MM)
    stretched = WarpStep(step.displacement_mm * 0 + np.float32([15, 0, 0]), step.grid)
    # Places up to -20.5 mm stand still, and from there on they go to -5.5 mm and above.
    with pytest.raises(TransformError, match="1 of 2 points have no inverse") as caught:
        map_backwards(Chain((stretched,)), np.array([[0.0, 0, 0], [-12.0, 1, 2]]))
    message = str(caught.value)
    assert "point 2 at -12.00, 1.00, 2.00" in message
    assert "fixed-to-moving" in message


def test_no_points_at_all() -> None:
    assert map_backwards(chain(), np.empty((0, 3))).shape == (0, 3)
