"""Where the slices lie, and which way up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn_pages import (
    SHAPE,
    VOXEL_SIZE,
    column,
    register,
    world_ramp,
)
from synthetic_scans import ORIENTATIONS, affine_of, textured
from vmruntime import (
    Grid,
    Volume,
)
from vmruntime.figure import draw_figure
from vmruntime.figure.slices import PLANES, View

pytest.importorskip("matplotlib", reason="the figure extra is not installed")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_slices_are_upright(orientation: str) -> None:
    grid = Grid(SHAPE, affine_of(orientation, VOXEL_SIZE))
    fixed = Volume(textured(SHAPE, 1, 1.0), grid)
    view = View.of(fixed)
    for axis in range(3):
        across, up = (other for other in range(3) if other != axis)
        # Right or anterior grows to the right, superior or anterior grows upward.
        assert (np.diff(view.cut(world_ramp(grid, across), axis), axis=1) > 0).all()
        assert (np.diff(view.cut(world_ramp(grid, up), axis), axis=0) < 0).all()
        through = view.cut(world_ramp(grid, axis), axis)
        position = (view.grid.affine @ [*view.index, 1])[axis]
        # float32 ramp of some 50 mm
        np.testing.assert_allclose(through, position, rtol=0, atol=1e-4)


@pytest.mark.parametrize("orientation", ["RAS", "LIA", "PSR", "IAL"])
def test_a_bright_corner_is_at_the_upper_right(
    orientation: str, drawn: list[dict[str, Any]], tmp_path: Path
) -> None:
    grid = Grid(SHAPE, affine_of(orientation, VOXEL_SIZE))
    bright = np.full(SHAPE, 0.3, np.float32)
    corner = np.ones(SHAPE, bool)
    for axis in range(3):
        ramp = world_ramp(grid, axis)
        corner &= ramp > np.quantile(ramp, 0.35)  # so that the slices through the middle meet it
    bright[corner] = 1
    registration = register(grid.affine, fixed=bright)
    draw_figure(tmp_path / "page.png", registration, registration.quality(local=False))
    from matplotlib.image import imread

    picture = imread(tmp_path / "page.png")[..., :3].mean(axis=2)
    fixed = column(drawn, "Fixed")
    assert len(fixed) == len(PLANES)
    for image in fixed:
        x, y, w, h = image["box"]
        panel = picture[y + 30 : y + h - 5, x + 5 : x + w - 5]  # below the letters
        rows, columns = panel.shape[0] // 2, panel.shape[1] // 2
        quarters = [
            panel[:rows, :columns], panel[:rows, columns:], panel[rows:, :columns],
            panel[rows:, columns:],
        ]  # fmt: skip
        assert int(np.argmax([quarter.mean() for quarter in quarters])) == 1


@pytest.mark.parametrize("orientation", ["RAS", "LIA", "SPL"])
def test_voxels_keep_their_aspect(
    orientation: str, drawn: list[dict[str, Any]], tmp_path: Path
) -> None:
    registration = register(affine_of(orientation, VOXEL_SIZE))
    draw_figure(tmp_path / "page.png", registration, registration.quality(local=False))
    step = dict(zip((letter for letter in orientation), VOXEL_SIZE, strict=True))
    mm = [
        next(size for letter, size in step.items() if letter in pair) for pair in ("LR", "PA", "IS")
    ]
    for number, (_, axis, _, _) in enumerate(PLANES):
        across, up = (other for other in range(3) if other != axis)
        image = column(drawn, "Moved")[number]
        (rows, columns), (_, _, w, h) = image["data"].shape, image["box"]
        # Panels have whole pixels: half a pixel either way of a hundred or more.
        assert w / (columns * mm[across]) == pytest.approx(h / (rows * mm[up]), rel=0.01)


def test_the_foreground_is_in_the_picture() -> None:
    grid = Grid((30, 40, 50), affine_of("LIA", VOXEL_SIZE))
    data = np.zeros(grid.shape, np.float32)
    data[4:10, 20:35, 30:44] = textured((6, 15, 14), 3, 1.0) + 0.5
    view = View.of(Volume(data, grid))
    for axis in range(3):
        part = view.cut(data, axis)
        assert part.any()
        assert part.size < np.prod(grid.shape) / grid.shape[0] / 3


def test_the_slices_go_through_what_is_there(drawn: list[dict[str, Any]], tmp_path: Path) -> None:
    spot = np.zeros(SHAPE, np.float32)
    spot[3, 9, 5] = 1
    registration = register(affine_of("PSR", VOXEL_SIZE, (8.0, -40.0, 11.0)), fixed=spot)
    draw_figure(tmp_path / "page.png", registration, registration.quality(local=False))
    texts = {text.get_text() for text in drawn[0]["page"].figure.texts}
    # Toward P, S, R: y = -40 - 3 * 1, z = 11 + 9 * 2, x = 8 + 5 * 3.5.
    assert {"Axial, z = 29 mm", "Coronal, y = -43 mm", "Sagittal, x = 26 mm"} <= texts
    for image in column(drawn, "Fixed"):
        assert image["data"].max() == 1
