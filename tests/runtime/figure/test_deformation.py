"""The grid, the change of volume and the length of a displacement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drawn_pages import (
    SHAPE,
    VOXEL_SIZE,
    column,
    png_of,
    register,
    world_ramp,
)
from synthetic_scans import affine_of, textured
from vmruntime import (
    Displacement,
    Grid,
    Volume,
)
from vmruntime.figure.deformation import Deformation
from vmruntime.figure.slices import View
from vmruntime.quality import jacobian_determinant

pytest.importorskip("matplotlib", reason="the figure extra is not installed")


def world_field(grid: Grid, offset: tuple[float, ...]) -> NDArray[np.float32]:
    """The voxel displacement of one offset everywhere, RAS+ mm."""
    voxels = np.linalg.inv(grid.affine[:3, :3]) @ offset
    return np.broadcast_to(voxels[:, None, None, None], (3, *grid.shape)).astype(np.float32)


@pytest.mark.parametrize("orientation", ["RAS", "LIA", "PSR", "IAL"])
def test_the_grid_shows_where_the_moving_scan_comes_from(orientation: str) -> None:
    grid = Grid(SHAPE, affine_of(orientation, VOXEL_SIZE))
    view = View.of(Volume(textured(SHAPE, 1, 1.0), grid))
    offset = (3.0, -2.0, 5.0)
    shown = Deformation(Displacement(world_field(grid, offset), grid), view)
    for across in range(3):
        for along in (other for other in range(3) if other != across):
            ramp = world_ramp(grid, along)
            looked_at = view.cut(ramp - ramp.min(), across) + offset[along]
            # float32 positions of some 50 mm
            np.testing.assert_allclose(shown.coordinate(across, along), looked_at, atol=1e-4)
            levels = shown.levels(along)
            assert levels[0] == 0
            assert levels[-1] <= np.ptp(ramp) + grid.voxel_size[0] * 3.5
            np.testing.assert_allclose(np.diff(levels), shown.spacing_mm)
        np.testing.assert_allclose(shown.length_mm(across), np.linalg.norm(offset), rtol=1e-5)


@pytest.mark.parametrize(("size", "spacing"), [(1.0, 5), (0.1, 0.5), (1.2, 10), (0.001, 0.005)])
def test_the_spacing_is_a_round_number(size: float, spacing: float) -> None:
    grid = Grid((8, 20, 224), affine_of("RAS", (size, size, size)))
    field = np.zeros((3, *grid.shape), np.float32)
    view = View.of(Volume(np.ones(grid.shape, np.float32), grid))
    assert Deformation(Displacement(field, grid), view).spacing_mm == pytest.approx(spacing)


@pytest.mark.parametrize("orientation", ["RAS", "LIA", "PSR", "IAL"])
def test_the_volume_change_is_that_of_the_whole_field(orientation: str) -> None:
    grid = Grid(SHAPE, affine_of(orientation, VOXEL_SIZE))
    field = np.random.default_rng(4).normal(0, 0.5, (3, *SHAPE)).astype(np.float32)
    view = View.of(Volume(textured(SHAPE, 1, 1.0), grid))
    whole = jacobian_determinant(field)
    for across in range(3):
        wanted = view.cut(whole, across)
        found = Deformation(Displacement(field, grid), view).log2_change(across)
        assert (wanted <= 0).any()
        np.testing.assert_array_equal(np.isnan(found), wanted <= 0)
        kept = wanted > 0
        np.testing.assert_allclose(found[kept], np.log2(wanted[kept]), rtol=1e-6)


def test_growth_is_orange_shrinking_purple_and_folds_black(
    drawn: list[dict[str, Any]], tmp_path: Path
) -> None:
    from matplotlib.image import imread

    index = np.indices(SHAPE).astype(np.float32)
    seen = {}
    # Looking half as far shows what is there twice as large.
    for name, factor in (("enlarged", 0.5), ("shrunk", 2.0), ("folded", -1.0)):
        field = (factor - 1) * index
        drawn.clear()
        registration = register(field=field)
        (tmp_path / "page.png").write_bytes(png_of(registration))
        x, y, w, h = column(drawn, "Volume change")[0]["box"]
        seen[name] = imread(tmp_path / "page.png")[y + h // 2, x + w // 2, :3]
    red, green, blue = seen["enlarged"]
    assert red > green > blue
    red, green, blue = seen["shrunk"]
    assert blue > red > green
    assert not seen["folded"].any()


def test_one_folded_voxel_is_seen(drawn: list[dict[str, Any]], tmp_path: Path) -> None:
    from matplotlib.image import imread

    shape = (96, 96, 96)
    registration = register(affine_of("RAS", (1.0, 1.0, 1.0)), shape, textured(shape, 1, 1.0))
    view = View.of(registration.pair.fixed)
    field = np.zeros((3, *shape), np.float32)
    i, j, k = view.index
    # Central differences on either side of a voxel: it alone turns over.
    field[0, i + 1, j, k], field[0, i - 1, j, k] = -1.5, 1.5
    registration = register(
        affine_of("RAS", (1.0, 1.0, 1.0)), shape, textured(shape, 1, 1.0), field=field
    )
    assert int((jacobian_determinant(field) <= 0).sum()) == 1
    (tmp_path / "page.png").write_bytes(png_of(registration))
    x, y, w, h = column(drawn, "Volume change")[0]["box"]
    panel = imread(tmp_path / "page.png")[y + 30 : y + h - 2, x + 2 : x + w - 2, :3]
    assert 9 <= (panel.max(axis=2) == 0).sum() <= 60
