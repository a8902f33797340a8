"""The page to judge a registration by, as a whole."""

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

from drawn_pages import (
    ALIGNMENT,
    SHAPE,
    VOXEL_SIZE,
    png_of,
    register,
    size_of,
    texts_of,
)
from synthetic_scans import affine_of, oblique_affine, parcellation
from vmruntime import (
    MissingDependencyError,
    Quality,
)
from vmruntime.figure import draw_figure, figure_png
from vmruntime.figure.page import BAD, GOOD, LONGEST_NAME
from vmruntime.quality import Consistency, Overlap

pytest.importorskip("matplotlib", reason="the figure extra is not installed")

LARGEST_FILE = 2_000_000


WARNING = (
    "/data/a_rather_long_folder/" * 6 + "scan.nii.gz: the foreground maximum is 255 after the "
    "intensity rule, the model expects about 1; choose another rule with --intensity"
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
    carried = registration.pair.fixed.with_data(values) if labels != "none" else None
    own = registration.pair.fixed.with_data(values[::-1]) if labels == "both" else None
    path = tmp_path / "page.png"
    draw_figure(path, registration, registration.quality(local=False), carried, own)
    width, height = size_of(path)
    assert 1400 < width < 1900
    assert 1300 < height < 2200
    # Ten pictures: four with lines or marks over them; labels are a scan, colours and, where there
    # are two, lines. Below them three colour scales.
    assert len(drawn) == 3 * {"none": 14, "carried": 16, "both": 17}[labels] + 3
    for image in drawn:
        x, y, w, h = image["box"]
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height


@pytest.mark.parametrize(("count", "warnings"), [(0, 0), (2, 1), (200, 3)])
def test_texts_do_not_overlap(
    count: int, warnings: int, drawn: list[dict[str, Any]], tmp_path: Path
) -> None:
    registration = register(
        warnings=(("intensity-range", WARNING),) * warnings,
        name="/data/" + "long_name_" * 9,
        source="auto",
        alignment=ALIGNMENT,
    )
    carried = own = None
    if count:
        values = np.arange(1, count + 1, dtype=np.int64) << 24
        data = values[np.arange(np.prod(SHAPE)).reshape(SHAPE) % count]
        carried = registration.pair.fixed.with_data(data)
        own = registration.pair.fixed.with_data(data[::-1])
    quality = registration.quality(
        moving_labels=carried, fixed_labels=own, moved_labels=carried, local=False
    )
    quality = replace(quality, consistency=Consistency(12.3456, 234.5, 999.9))
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
    registration = register(
        warnings=(("some-code", "$x^2$ lies\n12 mm away \U0001f9e0"),),
        name="/data/sub-1_T1w.nii.gz",
    )
    labels = registration.pair.fixed.with_data(parcellation(SHAPE))
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
    assert f"{start.mse:.2g} \u2192 {end.mse:.2g}" in texts
    assert "1.000 \u2192 0.375" in texts
    assert "worse\nlowest 0.25 (label 41)" in texts
    assert "0.5 %" in texts
    assert "1234 voxels turned inside out" in texts
    inks = {text.get_text(): text.get_color() for text in drawn[0]["page"].figure.texts}
    assert inks["1234 voxels turned inside out"] == BAD
    assert inks["worse\nlowest 0.25 (label 41)"] == BAD
    assert not any(text.get_parse_math() for text in drawn[0]["page"].figure.texts)
    assert "Warning [some-code]: $x^2$ lies 12 mm away ?" in texts
    assert "sub-1_T1w.nii.gz" in texts
    assert all(len(text) <= LONGEST_NAME for text in texts if "T1w" in text)
    assert "No warnings" not in texts


def test_warnings_come_first_and_none_is_said(drawn: list[dict[str, Any]], tmp_path: Path) -> None:
    png_of(register())
    assert texts_of(drawn)["No warnings"] == GOOD
    drawn.clear()
    registration = register(warnings=(("first-code", "one"), ("second-code", "two")))
    content = png_of(registration)
    (tmp_path / "page.png").write_bytes(content)
    tops = {t.get_text(): t.get_position()[1] for t in drawn[0]["page"].figure.texts}
    assert texts_of(drawn)["Warning [first-code]: one"] == BAD
    assert sorted(tops, key=tops.__getitem__)[-2:] == [
        "Warning [second-code]: two", "Warning [first-code]: one",
    ]  # fmt: skip
    drawn.clear()
    bare = figure_png(registration, registration.quality(local=False), warnings=False)
    assert not any("code" in text or "No warnings" in text for text in texts_of(drawn))
    heights = [int.from_bytes(png[20:24], "big") for png in (content, bare)]
    assert heights[1] < heights[0] - 40


@pytest.mark.parametrize(
    ("change", "colour"),
    [({}, GOOD), ({"correlation": 0.95}, BAD), ({"reason": "it scales by .1"}, BAD)],
)
def test_the_affine_is_judged(
    change: dict[str, Any], colour: str, drawn: list[dict[str, Any]]
) -> None:
    found = replace(ALIGNMENT, **change)
    png_of(register(source="auto", alignment=found))
    texts = texts_of(drawn)
    assert f"{found.correlation:.3f}" in texts
    assert texts["overlap 0.96, 12\u00b0 turned\nscaled by 0.87 to 1.12"] == colour


@pytest.mark.parametrize(("p99", "colour"), [(0.9, GOOD), (1.1, BAD)])
def test_the_inverse_is_judged_by_the_smallest_voxel(
    p99: float, colour: str, drawn: list[dict[str, Any]]
) -> None:
    registration = register()
    quality = registration.quality(local=False)
    figure_png(registration, replace(quality, consistency=Consistency(0.125, p99, 4.0)))
    assert texts_of(drawn)[f"on average\n99 % within {p99:.2g} mm"] == colour
    assert "0.12 mm" in texts_of(drawn)
    drawn.clear()
    figure_png(registration, quality)
    assert "Inverse error" not in texts_of(drawn)


def test_a_page_that_is_too_large_gets_fewer_colours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from matplotlib.image import imread

    registration = register()
    (tmp_path / "all.png").write_bytes(png_of(registration))
    monkeypatch.setattr("vmruntime.figure.draw.LARGEST_FILE", 1)
    (tmp_path / "few.png").write_bytes(png_of(registration))
    assert size_of(tmp_path / "few.png") == size_of(tmp_path / "all.png")
    one, other = (imread(tmp_path / f"{name}.png")[..., :3] for name in ("all", "few"))
    assert (tmp_path / "few.png").stat().st_size < (tmp_path / "all.png").stat().st_size
    # A twelfth of the scale; on real pages it is a twentieth.
    assert np.abs(one - other).max() < 1 / 12


def test_no_common_label_is_said(drawn: list[dict[str, Any]], tmp_path: Path) -> None:
    registration = register()
    nothing = Overlap({}, float("nan"))
    quality = replace(
        registration.quality(local=False), overlap_before=nothing, overlap_after=nothing
    )
    empty = registration.pair.fixed.with_data(np.zeros(SHAPE, np.int16))
    draw_figure(tmp_path / "page.png", registration, quality, empty, empty)
    texts = {text.get_text() for text in drawn[0]["page"].figure.texts}
    assert "no label to compare" in texts
    inks = {text.get_text(): text.get_color() for text in drawn[0]["page"].figure.texts}
    assert inks["no voxels turned inside out"] == GOOD
    assert not any("nan" in text for text in texts)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    registration = register()
    labels = registration.pair.fixed.with_data(parcellation(SHAPE))
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
