"""The web page about a registration."""

from __future__ import annotations

import base64
import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_backend import FakeBackend
from synthetic_scans import (
    MODEL_SHAPE,
    affine_of,
    model_volume,
    parcellation,
    smooth_displacement,
)
from vmruntime import Grid, Manifest, Quality, Registrar, Registration, Volume
from vmruntime.figure import figure_png
from vmruntime.html_report import write_html
from vmruntime.report import build_report

pytest.importorskip("matplotlib", reason="the figure extra is not installed")

NASTY = """/d/<script>alert("a&b")</script>'\udcff.nii.gz"""
VOID = {"meta", "img", "br", "wbr"}


class Page(HTMLParser):
    """What is on a page; every element must be closed where HTML wants it.

    Parameters
    ----------
    path
        The page.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.worse: list[str] = []
        self.feed(path.read_bytes().decode())
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.tables[self.heading].append([])
        if tag in ("td", "th"):
            self.tables[self.heading][-1].append("")
            if "worse" in (dict(attrs).get("class") or ""):
                self.worse.append(self.tables[self.heading][-1][0])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        tag = self.open[-1] if self.open else ""
        if tag == "h2":
            self.heading = data
            self.tables[data] = []
        elif tag in ("td", "th"):
            self.tables[self.heading][-1][-1] += data
        if data.strip():
            self.texts.append((tag, data))

    def values(self, heading: str) -> dict[str, list[str]]:
        """The rows of a table by their first cell."""
        return {row[0]: row[1:] for row in self.tables[heading]}


Results = tuple[Registration, Quality, dict[str, Any]]


@pytest.fixture(scope="module")
def results(manifest: Manifest) -> Results:
    """An aligned pair with labels and an inverse, as vm-infer reports on it."""
    grid = Grid(MODEL_SHAPE, affine_of())
    labels = Volume(parcellation(MODEL_SHAPE), grid, None, "seg")
    backend = FakeBackend(lambda shape: smooth_displacement(shape, 0.8))
    with Registrar(manifest, backend, threads=2) as registrar:
        found = registrar.register(model_volume(0, NASTY), model_volume(1, "fixed"), inverse=True)
        quality = found.quality(moving_labels=labels, fixed_labels=labels)
        return found, quality, build_report(registrar, found, quality, wall=1.25)


@pytest.fixture(autouse=True)
def small_picture(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for the picture, which takes a second, and keeps what it was asked for."""
    asked: list[dict[str, Any]] = []

    def draw(*arguments: Any, **options: Any) -> bytes:
        asked.append({"arguments": arguments, "options": options})
        return b"\x89PNG picture"

    monkeypatch.setattr("vmruntime.html_report.figure_png", draw)
    return asked


def page_of(path: Path, results: Results, **changes: Any) -> Page:
    registration, quality, report = results
    write_html(path, registration, quality, report | changes)
    return Page(path)


def test_the_page_is_whole_and_needs_nothing_else(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    page = page_of(path, results)
    content = path.read_text()
    assert content.startswith('<!DOCTYPE html>\n<html lang="en">')
    for tag in ("html", "head", "title", "body", "h1", "img", "style"):
        assert page.tags[tag] == 1
    assert ("meta", "charset", "utf-8") in page.attributes
    policy = next(value for _, name, value in page.attributes if "default-src" in value)
    assert policy.startswith("default-src 'none'")
    for tag in ("script", "link", "iframe", "object", "a", "base"):
        assert not page.tags[tag]
    for _, name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in ("href", "srcset")
        assert name != "src" or value.startswith("data:image/png;base64,")
    style = next(text for tag, text in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    assert "@media print" in style


def test_the_picture_is_inside(
    results: Results, small_picture: list[dict[str, Any]], tmp_path: Path
) -> None:
    registration, quality, report = results
    labels = registration.moved.with_data(parcellation(MODEL_SHAPE))
    own = registration.moved.with_data(parcellation(MODEL_SHAPE))
    write_html(tmp_path / "page.html", registration, quality, report, labels, own)
    page = Page(tmp_path / "page.html")
    source = next(value for tag, name, value in page.attributes if (tag, name) == ("img", "src"))
    assert base64.b64decode(source.partition(",")[2], validate=True) == b"\x89PNG picture"
    assert any((tag, name) == ("img", "alt") and value for tag, name, value in page.attributes)
    # The page itself says the warnings.
    assert small_picture == [
        {"arguments": (registration, quality, labels, own), "options": {"warnings": False}}
    ]


def test_the_real_picture_is_inside(
    results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("vmruntime.html_report.figure_png", figure_png)
    page = page_of(tmp_path / "page.html", results)
    source = next(value for tag, name, value in page.attributes if (tag, name) == ("img", "src"))
    content = base64.b64decode(source.partition(",")[2], validate=True)
    registration, quality, _ = results
    assert content == figure_png(registration, quality, warnings=False)


def test_names_cannot_break_the_page(results: Results, tmp_path: Path) -> None:
    warning = {"code": "<b>code</b>", "text": 'a & b <i>"c"</i> &amp; \ud800'}
    page = page_of(tmp_path / "page.html", results, warnings=[warning])
    assert not page.tags["script"]
    assert not page.tags["b"]
    assert not page.tags["i"]
    shown = NASTY.replace("\udcff", "?")
    assert page.values("Inputs")["moving"] == [shown]
    assert ("code", "<b>code</b>") in page.texts
    assert ("li", ': a & b <i>"c"</i> &amp; ?') in page.texts
    titles = [text for tag, text in page.texts if tag in ("title", "h1")]
    assert titles == [f"{Path(shown).name} \u2192 fixed"] * 2


def test_warnings_come_before_the_picture(results: Results, tmp_path: Path) -> None:
    found = [{"code": "one-code", "text": "first"}, {"code": "two-code", "text": "second"}]
    path = tmp_path / "page.html"
    page = page_of(path, results, warnings=found)
    assert [text for tag, text in page.texts if tag == "code"] == ["one-code", "two-code"]
    content = path.read_text()
    assert content.index("one-code") < content.index("two-code") < content.index("<img")
    assert "No warnings" not in content
    page_of(path, results, warnings=[])
    content = path.read_text()
    assert content.index("No warnings") < content.index("<img")


def test_the_figures_are_on_the_page(results: Results, tmp_path: Path) -> None:
    _, quality, report = results
    page = page_of(tmp_path / "page.html", results)
    start, end = quality.similarity_before, quality.similarity_after
    agreement = page.values("Agreement with the fixed scan")
    assert agreement["Correlation (NCC)"] == [f"{start.ncc:.3f}", f"{end.ncc:.3f}"]
    assert agreement["Local correlation"][1] == f"{end.local_ncc:.3f}"
    assert agreement["Dice of the foregrounds"][1] == f"{quality.foreground_after:.3f}"
    before, after = quality.overlap_before, quality.overlap_after
    assert before is not None
    assert after is not None
    assert agreement["Mean Dice of the labels"] == [f"{before.mean:.3f}", f"{after.mean:.3f}"]
    labels = page.values("Labels")
    assert list(labels) == ["Label", "2", "41", "77"]
    assert labels["41"] == [
        f"{before.labels[41]:.3f}",
        f"{after.labels[41]:.3f}",
        f"{quality.volumes_mm3[41]:,.0f} mm\u00b3",
    ]
    deformation = page.values("Deformation")
    assert quality.consistency is not None
    assert deformation["Inverse error, mean"] == [f"{quality.consistency.mean_mm:.4g} mm"]
    folds = quality.regularity
    assert deformation["Folding"] == [
        f"{folds.folding_voxels} voxels ({folds.folding_percent:.3g} %)"
    ]
    timings = page.values("Timings")
    assert set(timings) == {*report["seconds"], "all"}
    assert timings["all"] == ["1.25 s"]
    assert page.values("Engine")["backend"] == ["fake"]
    assert set(page.values("Versions")) == set(report["versions"])
    model = page.values("Model")
    assert model["shape"] == [", ".join(map(str, MODEL_SHAPE))]
    assert model["diffeomorphic"] == [str(report["manifest"]["diffeomorphic"])]


def test_what_got_worse_is_marked(results: Results, tmp_path: Path) -> None:
    similarity = {"before": {"mse": 0.1, "ncc": 0.9, "local_ncc": None},
                  "after": {"mse": 0.2, "ncc": 0.95, "local_ncc": None}}  # fmt: skip
    dice = {"before": {"mean": 0.5, "labels": {"2": 0.4, "41": 0.6}},
            "after": {"mean": 0.5, "labels": {"2": 0.5, "41": 0.55}}}  # fmt: skip
    page = page_of(tmp_path / "page.html", results, similarity=similarity, dice=dice)
    assert set(page.worse) - {"Dice of the foregrounds"} == {"Mean squared error", "41"}
    assert page.values("Agreement with the fixed scan")["Local correlation"] == ["\u2013"] * 2
    # A small error is not shown as none.
    small = {when: {"mse": 0.000123, "ncc": 0.9, "local_ncc": None} for when in similarity}
    page = page_of(tmp_path / "page.html", results, similarity=small)
    errors = page.values("Agreement with the fixed scan")["Mean squared error"]
    assert errors == ["0.000123"] * 2


def test_a_computed_affine_is_told(results: Results, tmp_path: Path) -> None:
    affine = results[2]["affine"] | {
        "source": "auto", "correlation": 0.98123, "foreground_overlap": 0.96,
        "fixed_outside": 0.125, "scale": [1.1, 1.0, 0.9], "rotation_degrees": 0.0,
        "translation_mm": [-1.5, 2.0, 30.25],
    }  # fmt: skip
    page = page_of(tmp_path / "page.html", results, affine=affine)
    rows = page.values("Affine alignment")
    assert rows["Source"] == ["auto"]
    assert rows["Correlation at 8 mm"] == ["0.9812"]
    assert rows["Rotation"] == ["0\u00b0"]  # none is a figure too
    assert rows["Scale"] == ["1.1, 1, 0.9"]
    assert rows["Translation R, A, S"] == ["-1.5, 2, 30.25 mm"]
    assert rows["Fixed foreground outside the moving scan"] == ["12.50%"]
    matrix = np.array([line.split() for line in rows["Fixed to moving, RAS+ mm"][0].split("\n")])
    np.testing.assert_allclose(matrix.astype(float), affine["matrix"], rtol=0, atol=5e-5)


def test_what_does_not_exist_is_left_out(results: Results, tmp_path: Path) -> None:
    page = page_of(
        tmp_path / "page.html", results, dice=None, volumes_mm3={}, inverse_consistency=None
    )
    assert "Labels" not in page.tables
    assert "Mean Dice of the labels" not in page.values("Agreement with the fixed scan")
    assert not any("Inverse" in name for name in page.values("Deformation"))
    assert results[2]["affine"]["source"] == "none"
    assert "Rotation" not in page.values("Affine alignment")
    # Carried labels that could not be compared still have a volume.
    page = page_of(tmp_path / "page.html", results, dice=None, volumes_mm3={"7": 1234.6})
    assert page.values("Labels")["7"] == ["\u2013", "\u2013", "1,235 mm\u00b3"]


def test_the_report_as_read_from_its_file_gives_the_same_page(
    results: Results, tmp_path: Path
) -> None:
    registration, quality, report = results
    write_html(tmp_path / "one.html", registration, quality, report)
    write_html(tmp_path / "two.html", registration, quality, json.loads(json.dumps(report)))
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
