"""What the columns of the page show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn_pages import (
    SHAPE,
    column,
    png_of,
    register,
    texts_of,
    world_ramp,
)
from synthetic_scans import affine_of, parcellation
from vmruntime import (
    Grid,
    Volume,
)
from vmruntime.figure import draw_figure, figure_png
from vmruntime.figure.dice import MOST
from vmruntime.figure.edges import border_levels
from vmruntime.figure.labels import CYCLE, colours_of
from vmruntime.figure.page import GREY
from vmruntime.figure.slices import PLANES, View
from vmruntime.quality import Overlap

pytest.importorskip("matplotlib", reason="the figure extra is not installed")


def test_both_differences_have_one_centred_scale(
    drawn: list[dict[str, Any]], tmp_path: Path
) -> None:
    registration = register()
    draw_figure(tmp_path / "page.png", registration, registration.quality(local=False))
    before, after = column(drawn, "Difference before"), column(drawn, "Difference after")
    styles = [image["style"] for image in (*before[:3], *after)]
    assert all(style == styles[0] for style in styles)
    assert styles[0]["vmin"] == -styles[0]["vmax"] < 0
    view = View.of(registration.pair.fixed)
    moved = registration.moved_scaled()
    np.testing.assert_array_equal(
        after[0]["data"], view.cut(moved - registration.pair.fixed.data, PLANES[0][1])
    )


@pytest.mark.parametrize(
    ("source", "title", "tile"),
    [
        ("none", "Moving", "scans taken voxel by voxel"),
        ("header", "Moving, by headers", "the headers are trusted"),
        ("matrix", "Moving, affine only", "given, not measured"),
        ("/x/to_fixed.lta", "Moving, affine only", "to_fixed.lta"),
    ],
)
def test_the_page_says_where_the_affine_comes_from(
    source: str, title: str, tile: str, drawn: list[dict[str, Any]]
) -> None:
    registration = register(source=source)
    png_of(registration)
    assert texts_of(drawn)[tile] == GREY
    view = View.of(registration.pair.fixed)
    shown = column(drawn, title)[0]["data"]
    np.testing.assert_array_equal(shown, view.cut(registration.pair.moving.data, PLANES[0][1]))


def test_the_levels_part_three_tissues() -> None:
    random = np.random.default_rng(3)
    tissues = random.choice([0.0, 0.2, 0.55, 0.8], (20, 20, 20)).astype(np.float32)
    noisy = np.where(tissues > 0, tissues + random.normal(0, 0.03, tissues.shape), 0)
    low, high = border_levels(noisy.astype(np.float32))
    # Histogram bins are .01 wide, and any level between two classes parts them as well.
    assert 0.25 < low < 0.5
    assert 0.6 < high < 0.75
    for flat in (np.zeros((4, 4, 4)), np.ones((4, 4, 4))):
        assert not border_levels(flat.astype(np.float32)).size


@pytest.mark.parametrize("orientation", ["RAS", "LIA", "PSR"])
def test_edges_lie_on_the_borders_of_the_fixed_scan(
    orientation: str, drawn: list[dict[str, Any]], tmp_path: Path
) -> None:
    grid = Grid((40, 44, 48), affine_of(orientation, (1.0, 1.0, 1.0)))
    fixed = np.full(grid.shape, 0.3, np.float32)  # foreground, so that nothing is cropped
    centre = grid.affine[:3, :3] @ (np.array(grid.shape) / 2) + grid.affine[:3, 3]
    low, high = np.add(centre, [[-12, -6, -9], [8, 13, 7]])  # no symmetry to hide a flip
    inside = np.ones(grid.shape, bool)
    for axis in range(3):
        ramp = world_ramp(grid, axis)
        inside &= (ramp > low[axis]) & (ramp < high[axis])
    fixed[inside] = 1
    (tmp_path / "page.png").write_bytes(png_of(register(grid.affine, grid.shape, fixed)))
    from matplotlib.image import imread

    picture = imread(tmp_path / "page.png")
    view = View.of(Volume(fixed, grid))
    for title in ("Edges before", "Edges after"):
        for image, (_, across, _, _) in zip(column(drawn, title)[::2], PLANES, strict=True):
            x, y, w, h = image["box"]
            panel = picture[y + 2 : y + h - 2, x + 2 : x + w - 2]
            orange = panel[..., 0] - panel[..., 2] > 0.3
            rows, columns = np.nonzero(orange)
            i, j = (axis for axis in range(3) if axis != across)
            size = [part.stop - part.start for part in view.box]
            first = view.grid.affine[:3, 3] + [part.start - 0.5 for part in view.box]
            right = first[i] + (columns + 2.5) * size[i] / w
            up = first[j] + (h - rows - 2.5) * size[j] / h
            # The lower level lies just above the surroundings, where smoothing has moved the border
            # out by 2 voxels; upside down it would be 7 off.
            assert right.min() == pytest.approx(low[i], abs=2.5)
            assert right.max() == pytest.approx(high[i], abs=2.5)
            assert up.min() == pytest.approx(low[j], abs=2.5)
            assert up.max() == pytest.approx(high[j], abs=2.5)


def test_labels_of_any_grid_are_drawn_where_they_lie(drawn: list[dict[str, Any]]) -> None:
    registration = register()
    values = parcellation(SHAPE)
    model = registration.pair.fixed.grid
    png_of(registration, fixed_labels=Volume(values, model))
    wanted = [image["data"] for image in column(drawn, "Labels")[1::2]]
    # The same labels, stored the other way round and twice as fine.
    turned = model.affine @ np.array(
        [[0, 0.5, 0, -0.25], [0, 0, -0.5, SHAPE[1] - 0.75], [0.5, 0, 0, -0.25], [0, 0, 0, 1]]
    )
    fine = values.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:, ::-1].transpose(2, 0, 1)
    drawn.clear()
    png_of(registration, fixed_labels=Volume(fine, Grid(fine.shape, turned)))
    found = [image["data"] for image in column(drawn, "Labels")[1::2]]
    for one, other in zip(wanted, found, strict=True):
        assert one[..., 3].any()
        np.testing.assert_array_equal(one, other)


def test_labels_that_touch_differ_in_colour() -> None:
    labels = np.array([[1, 1, 8, 8], [1, 15, 15, 8], [-3, -3, 15, 22]])
    colours = colours_of([labels, labels[:, ::-1].T])
    assert set(colours) == {1, 8, 15, -3, 22}
    for one, other in ((1, 8), (1, 15), (8, 15), (1, -3), (-3, 15), (15, 22), (8, 22)):
        assert colours[one] != colours[other]
    # One label more than there are colours, beside the label whose colour would be its turn.
    assert len(CYCLE) == 6
    colours = colours_of([np.array([[1, 7, 2, 3, 4, 5, 6]])])
    assert set(colours.values()) == set(CYCLE)
    assert colours[1] != colours[7] != colours[2]


@pytest.mark.parametrize("count", [1, 2, MOST, MOST + 1, 95])
def test_the_lowest_dice_come_first(count: int, drawn: list[dict[str, Any]]) -> None:
    registration = register()
    after = {1000 + label: 0.05 + 0.009 * label for label in range(count)}
    before = {label: value / 2 for label, value in after.items()} | {1000: 0.9}
    quality = replace(
        registration.quality(local=False),
        overlap_before=Overlap(before, 0.3),
        overlap_after=Overlap(dict(reversed(after.items())), 0.5),
    )
    figure_png(registration, quality)
    figure = drawn[0]["page"].figure
    names = [text for text in figure.texts if text.get_text().isdigit() and int(text.get_text())]
    assert [int(text.get_text()) for text in names] == [1000 + n for n in range(min(count, MOST))]
    assert (np.diff([text.get_position()[1] for text in names]) < 0).all()
    bars = [
        (bar.get_facecolor(), bar.get_width()) for bar in figure.axes[0].patches if bar.get_fill()
    ]
    assert len(bars) == 3 * len(names)  # room, after, before
    width = bars[0][1]
    shown = list(after)[: len(names)]
    np.testing.assert_allclose([w / width for _, w in bars[1::3]], [after[n] for n in shown])
    np.testing.assert_allclose([w / width for _, w in bars[2::3]], [before[n] for n in shown])
    assert len({colour for colour, _ in bars[1::3]}) == min(count, 2)
    assert bars[1][0][0] > bars[1][0][2]  # label 1000 is worse: not blue
    rest = [text for text in texts_of(drawn) if " more: " in text]
    lowest, highest = 0.05 + 0.009 * MOST, 0.05 + 0.009 * (count - 1)
    more = [f"{count - MOST} more: {lowest:.2f} to {highest:.2f}"] if count > MOST else []
    assert rest == more
