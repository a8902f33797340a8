"""The page to judge a registration by."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import (
    ORIENTATIONS,
    affine_of,
    oblique_affine,
    parcellation,
    textured,
)
from vmruntime import (
    Displacement,
    Grid,
    MissingDependencyError,
    Quality,
    Registration,
    Transform,
    Volume,
)
from vmruntime.figure import (
    BAD,
    CYCLE,
    GOOD,
    LONGEST_NAME,
    PLANES,
    WIDTH,
    _colours,
    _Page,
    draw_figure,
)
from vmruntime.intensity import IntensityRule
from vmruntime.quality import Overlap
from vmruntime.slices import View
from vmruntime.stages import Stages

pytest.importorskip("matplotlib", reason="the figure extra is not installed")

SHAPE = (11, 14, 9)
VOXEL_SIZE = (1.0, 2.0, 3.5)
LARGEST_FILE = 1_500_000
WARNING = (
    "/data/a_rather_long_folder/" * 6 + "scan.nii.gz: the foreground maximum is 255 after the "
    "intensity rule, the model expects about 1; choose another rule with --intensity"
)


def register(
    affine: NDArray[np.float64] | None = None,
    shape: tuple[int, ...] = SHAPE,
    fixed: NDArray[np.float32] | None = None,
    warnings: tuple[str, ...] = (),
    name: str = "/data/sub-1_T1w.nii.gz",
) -> Registration:
    """A registration as a Registrar would return it, without a network."""
    grid = Grid(shape, affine_of("LIA", VOXEL_SIZE) if affine is None else affine)
    data = textured(shape, 1, 1.0) if fixed is None else fixed
    moving, target = Volume(data[::-1].copy(), grid, None, name), Volume(data, grid, None, name)
    random = np.random.default_rng(2)
    field = random.normal(0, 0.2, (3, *shape)).astype(np.float32)
    transform = Transform(Displacement(field, grid), grid)
    return Registration(
        moved=transform.apply(moving),
        transform=transform,
        inverse=None,
        moving=moving,
        fixed=target,
        moving_rule=IntensityRule("none"),
        stages=Stages(),
        warnings=warnings,
        threads=1,
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every image that is drawn: its page, place, array and style."""
    images: list[dict[str, Any]] = []
    draw = _Page.image

    def record(page: _Page, x: int, y: int, w: int, h: int, data: Any, style: Any) -> None:
        images.append({"page": page, "box": (x, y, w, h), "data": data, "style": style})
        draw(page, x, y, w, h, data, style)

    monkeypatch.setattr(_Page, "image", record)
    return images


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, which must be one."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def world_ramp(grid: Grid, axis: int) -> NDArray[np.float32]:
    """World coordinate `axis` of every voxel, RAS+ mm."""
    index = np.stack([*np.indices(grid.shape), np.ones(grid.shape)])
    return np.einsum("j,jdhw->dhw", grid.affine[axis], index).astype(np.float32)


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
    fixed = drawn[2:15:5]
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
        image = drawn[5 * number]
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
    for image in drawn[2:15:5]:
        assert image["data"].max() == 1


def test_both_differences_have_one_centred_scale(
    drawn: list[dict[str, Any]], tmp_path: Path
) -> None:
    registration = register()
    draw_figure(tmp_path / "page.png", registration, registration.quality(local=False))
    before, after = drawn[3]["style"], drawn[4]["style"]
    assert before == after
    assert before["vmin"] == -before["vmax"] < 0
    view = View.of(registration.fixed)
    moved = registration.moved_scaled()
    np.testing.assert_array_equal(
        drawn[4]["data"], view.cut(moved - registration.fixed.data, PLANES[0][1])
    )


@pytest.mark.parametrize(
    ("shape", "affine", "labels"),
    [
        (SHAPE, affine_of("PSR", VOXEL_SIZE), "none"),
        (SHAPE, oblique_affine(), "both"),
        ((2, 40, 7), affine_of("RAS", (1.0, 1.0, 9.0)), "carried"),
        ((5, 6, 90), affine_of("ASL", (0.2, 1.0, 4.0)), "both"),
        ((3, 3, 3), affine_of("LPI", (1e-3, 1e-3, 1e-3)), "both"),
    ],
)
def test_any_grid(
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    labels: str,
    drawn: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(1)
    registration = register(affine, shape, random.random(shape, np.float32))
    values = random.integers(0, 4, shape, np.int16)
    carried = registration.fixed.with_data(values) if labels != "none" else None
    own = registration.fixed.with_data(values[::-1]) if labels == "both" else None
    path = tmp_path / "page.png"
    draw_figure(path, registration, registration.quality(local=False), carried, own)
    width, height = size_of(path)
    assert width == WIDTH
    assert 700 < height < 2200
    # Five columns of scans; labels are a scan, colours and, where there are two, lines.
    assert len(drawn) == 3 * {"none": 5, "carried": 7, "both": 8}[labels] + 1
    for image in drawn:
        x, y, w, h = image["box"]
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height


@pytest.mark.parametrize(("count", "warnings"), [(0, 0), (2, 1), (200, 3)])
def test_texts_do_not_overlap(
    count: int, warnings: int, drawn: list[dict[str, Any]], tmp_path: Path
) -> None:
    registration = register(warnings=(WARNING,) * warnings, name="/data/" + "long_name_" * 9)
    carried = own = None
    if count:
        values = np.arange(1, count + 1, dtype=np.int64) << 24
        data = values[np.arange(np.prod(SHAPE)).reshape(SHAPE) % count]
        carried = registration.fixed.with_data(data)
        own = registration.fixed.with_data(data[::-1])
    quality = registration.quality(
        moving_labels=carried, fixed_labels=own, moved_labels=carried, local=False
    )
    path = tmp_path / "page.png"
    draw_figure(path, registration, quality, carried, own)
    assert path.stat().st_size < LARGEST_FILE
    figure = drawn[0]["page"].figure
    boxes = [(text.get_text(), text.get_window_extent()) for text in figure.texts]
    assert sum("Warning" in text for text, _ in boxes) == warnings
    width, height = size_of(path)
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.x1 <= width, text
        assert box.y0 >= 0, text
        assert box.y1 <= height, text
    for (one, box), (other, another) in combinations(boxes, 2):
        apart = (
            box.x1 <= another.x0 or another.x1 <= box.x0
            or box.y1 <= another.y0 or another.y1 <= box.y0
        )  # fmt: skip
        assert apart, f"{one!r} lies over {other!r}"


def test_the_figures_are_on_the_page(drawn: list[dict[str, Any]], tmp_path: Path) -> None:
    registration = register(warnings=("$x^2$ lies\n12 mm away \U0001f9e0",))
    labels = registration.fixed.with_data(parcellation(SHAPE))
    quality = registration.quality(
        moving_labels=labels, fixed_labels=labels, moved_labels=labels, local=False
    )
    worse = Overlap({2: 0.5, 41: 0.25}, 0.375)
    quality = replace(
        quality,
        overlap_after=worse,
        regularity=replace(quality.regularity, folding_voxels=1234, folding_percent=0.5),
    )
    draw_figure(tmp_path / "page.png", registration, quality, labels, labels)
    texts = {text.get_text() for text in drawn[0]["page"].figure.texts}
    start, end = quality.similarity_before, quality.similarity_after
    assert f"{start.ncc:.3f} \u2192 {end.ncc:.3f}" in texts
    assert f"{start.mse:.3g} \u2192 {end.mse:.3g}" in texts
    assert "1.000 \u2192 0.375" in texts
    assert "worse; lowest 0.25 (label 41)" in texts
    assert "0.5 %" in texts
    assert "1234 voxels turned inside out" in texts
    inks = {text.get_text(): text.get_color() for text in drawn[0]["page"].figure.texts}
    assert inks["1234 voxels turned inside out"] == BAD
    assert inks["worse; lowest 0.25 (label 41)"] == BAD
    assert not any(text.get_parse_math() for text in drawn[0]["page"].figure.texts)
    assert "Warning: $x^2$ lies 12 mm away ?" in texts
    assert "sub-1_T1w.nii.gz" in texts
    assert all(len(text) <= LONGEST_NAME for text in texts if "T1w" in text)


def test_no_common_label_is_said(drawn: list[dict[str, Any]], tmp_path: Path) -> None:
    registration = register()
    nothing = Overlap({}, float("nan"))
    quality = replace(
        registration.quality(local=False), overlap_before=nothing, overlap_after=nothing
    )
    empty = registration.fixed.with_data(np.zeros(SHAPE, np.int16))
    draw_figure(tmp_path / "page.png", registration, quality, empty, empty)
    texts = {text.get_text() for text in drawn[0]["page"].figure.texts}
    assert "no label to compare" in texts
    inks = {text.get_text(): text.get_color() for text in drawn[0]["page"].figure.texts}
    assert inks["no voxels turned inside out"] == GOOD
    assert not any("nan" in text for text in texts)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    registration = register()
    labels = registration.fixed.with_data(parcellation(SHAPE))
    quality = registration.quality(local=False)
    for name in ("one.png", "two.png"):
        draw_figure(tmp_path / name, registration, quality, labels, labels)
    content = (tmp_path / "one.png").read_bytes()
    assert content == (tmp_path / "two.png").read_bytes()
    assert b"Software" not in content


def test_pyplot_is_not_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    registration = register()
    draw_figure(tmp_path / "page.png", registration, registration.quality(local=False))
    size_of(tmp_path / "page.png")


def test_labels_that_touch_differ_in_colour() -> None:
    labels = np.array([[1, 1, 8, 8], [1, 15, 15, 8], [-3, -3, 15, 22]])
    colours = _colours([labels, labels[:, ::-1].T])
    assert set(colours) == {1, 8, 15, -3, 22}
    for one, other in ((1, 8), (1, 15), (8, 15), (1, -3), (-3, 15), (15, 22), (8, 22)):
        assert colours[one] != colours[other]
    # One label more than there are colours, beside the label whose colour would be its turn.
    assert len(CYCLE) == 6
    colours = _colours([np.array([[1, 7, 2, 3, 4, 5, 6]])])
    assert set(colours.values()) == set(CYCLE)
    assert colours[1] != colours[7] != colours[2]


def test_without_matplotlib_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    registration = register()
    quality: Quality = registration.quality(local=False)
    with pytest.raises(MissingDependencyError, match=r"voxelmorph-deploy\[figure\]") as caught:
        draw_figure(tmp_path / "page.png", registration, quality)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "page.png").exists()


def test_importing_the_module_does_not_import_matplotlib() -> None:
    code = "import sys, vmruntime.figure; sys.exit('matplotlib' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
