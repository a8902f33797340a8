"""The page of a cohort: what stands on it, in which order, and that it needs nothing else."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest

from synthetic_scans import MODEL_SHAPE, affine_of, textured
from vmruntime import Grid, Volume
from vmruntime.batch.fuse import Fused
from vmruntime.batch.layout import Layout
from vmruntime.batch.page import SHOWN, Cohort, write_page
from vmruntime.batch.pair import Pair
from vmruntime.batch.pictures import distributions, thumbnail
from vmruntime.batch.results import Result

pytest.importorskip("matplotlib", reason="the figure extra is not installed")

GRID = Grid(MODEL_SHAPE, affine_of())


def result(folder: Path, name: str, ncc: float, *warnings: str) -> Result:
    """A pair whose files are there."""
    pair = Pair(name, name, folder / "m.nii.gz", folder / f"{name}.nii.gz")
    Volume(textured(MODEL_SHAPE, 1), GRID).save(pair.fixed)
    moved = Layout(folder).image(pair, "moved")
    moved.parent.mkdir()
    Volume(textured(MODEL_SHAPE, 2), GRID).save(moved)
    figures = {"ncc_after": ncc, "folding_percent": 0.0, "dice_after": None}
    return Result(pair, "done", figures, {}, "auto", warnings, 1.5, "here/0")


def page_of(folder: Path, results: list[Result], **more: object) -> str:
    fused: list[Fused] = list(more.pop("fused", ()))  # type: ignore[call-overload]
    cohort = Cohort(
        folder, "<model>.onnx", results, fused, "majority" if fused else None,
        bool(more.pop("pictures", True)),
    )  # fmt: skip
    write_page(folder / "report.html", cohort)
    return (folder / "report.html").read_text()


def test_the_worst_come_first_with_a_picture(tmp_path: Path) -> None:
    results = [result(tmp_path, f"p{n}", 0.95) for n in range(4)]
    results += [result(tmp_path, "bad", 0.5), result(tmp_path, "odd", 0.96, "low-overlap")]
    page = page_of(tmp_path, results)
    order = re.findall(r"<h3>(.*?)</h3>", page)
    assert order[:2] == ["odd", "bad"]
    assert len(order) == 6
    assert page.count('alt="Carried scan of') == 6
    assert "warnings: low-overlap" in page
    assert re.search(r"correlation \(NCC\) \d+\.\d standard deviations below the median", page)
    assert "No failures" in page
    assert "6 done, 1 with warnings" in page
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>', page)
    assert rows == order


def test_it_needs_nothing_else(tmp_path: Path) -> None:
    page = page_of(tmp_path, [result(tmp_path, "p", 0.9)])
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|https?://|src=\"(?!data:)", page)
    assert "&lt;model&gt;.onnx" in page
    assert "<model>" not in page


def test_failures_stand_on_top(tmp_path: Path) -> None:
    pair = Pair("lost", "lost", Path("/m"), Path("/f"))
    results = [result(tmp_path, "p", 0.9), Result.failed(pair, "/f: no such <file>")]
    fused = [Fused.failed("s1", "not fused, x failed"), Fused("s2", "done", {}, 0.875)]
    page = page_of(tmp_path, results, fused=fused)
    assert "<code>lost</code>: /f: no such &lt;file&gt;" in page
    assert "<code>s1 fused</code>: not fused, x failed" in page
    assert page.index("Failures") < page.index("distributed")
    assert "Fused labels (majority)" in page
    assert ">0.875<" in page


def test_without_carried_scans_or_with_lost_ones(tmp_path: Path) -> None:
    one = result(tmp_path, "p", 0.9)
    assert "the carried scan was not written" in page_of(tmp_path, [one], pictures=False)
    one.pair.fixed.unlink()
    page = page_of(tmp_path, [one])
    assert "No picture: " in page
    assert "p.nii.gz" in page


def test_of_many_only_the_worst_have_pictures(tmp_path: Path) -> None:
    first = result(tmp_path, "p", 0.9)
    results = [
        Result(Pair(f"p{n}", "p", first.pair.moving, first.pair.fixed), "done",
               {"ncc_after": 0.9 + n / 1e4}, {})
        for n in range(SHOWN + 5)
    ]  # fmt: skip
    page = page_of(tmp_path, results, pictures=False)
    assert page.count('<div class="card">') == SHOWN
    assert f"The worst {SHOWN} of {SHOWN + 5}" in page
    assert page.count('<tr><th scope="row">') == SHOWN + 5


def test_nothing_was_done(tmp_path: Path) -> None:
    pair = Pair("x", "x", Path("/m"), Path("/f"))
    page = page_of(tmp_path, [Result.failed(pair, "no"), Result.pending(pair)])
    assert "0 done, 1 failed, 1 pending" in page
    assert "<img" not in page


def size_of(content: bytes) -> tuple[int, int]:
    from PIL import Image

    return Image.open(io.BytesIO(content)).size


def test_a_histogram_for_every_figure(tmp_path: Path) -> None:
    pair = Pair("x", "x", Path("/m"), Path("/f"))
    results = [
        Result(pair, "done", {"ncc_after": value, "folding_percent": 0.0}, {}, seconds=value)
        for value in (0.9, 0.95, 0.96)
    ]
    content, plots = distributions(results)
    assert plots == 3
    assert size_of(content)[0] > 1000
    assert distributions(results)[0] == content
    many = [Result(pair, "done", {"ncc_after": n / 1000}, {}) for n in range(900)]
    assert distributions(many)[1] == 1
    assert distributions([])[1] == 0


def test_a_thumbnail_shows_edges_over_the_carried_scan() -> None:
    from PIL import Image

    fixed = Volume(textured(MODEL_SHAPE, 1), GRID)
    content = thumbnail(Volume(textured(MODEL_SHAPE, 2), GRID), fixed)
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    orange = (pixels[..., 0] > 180) & (pixels[..., 2] < 90) & (pixels[..., 1] > 90)
    assert orange.sum() > 50
    assert len(base64.b64encode(content)) < 200_000
    dark = thumbnail(fixed.with_data(np.zeros(MODEL_SHAPE, np.float32)), fixed)
    assert size_of(dark) == size_of(content)
