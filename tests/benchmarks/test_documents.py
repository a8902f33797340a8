"""Every figure of the documents comes from benchmarks/results."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"

MEASURED = re.compile(r"\d[\d.]* ?(?:s|ms|GB|MB|GFLOP|times)\b")


def test_tables_are_what_the_results_give(module: Any) -> None:
    documents = module("documents")
    for path in documents.documents():
        text = path.read_text()
        assert documents.update(text) == text, (
            f"{path.name} is behind benchmarks/results: run benchmarks/documents.py"
        )


def test_the_page_has_every_table(module: Any) -> None:
    elsewhere = {"real-pairs", "stages", "gpu", "calibration"}
    blocks = module("documents").blocks_of(PAGE.read_text())
    assert sorted(blocks) == sorted(module("tables").BLOCKS.keys() - elsewhere)


def test_no_figure_of_the_page_was_written_by_hand(module: Any) -> None:
    prose = module("documents").MARKED.sub("", PAGE.read_text())
    assert MEASURED.findall(prose) == []


@pytest.mark.parametrize(
    ("document", "block"),
    [
        ("README.md", "real-pairs"),
        ("docs/registration.md", "stages"),
        ("docs/gpu.md", "gpu"),
        ("docs/calibration.md", "calibration"),
    ],
)
def test_tables_elsewhere_are_the_results_too(module: Any, document: str, block: str) -> None:
    text = (ROOT / document).read_text()
    rows = module("documents").render(block).splitlines()
    assert len(rows) > 3
    missing = [row for row in rows[2:] if row not in text]
    assert missing == [], f"{document} does not have what benchmarks/results say"


def test_every_plot_of_the_page_is_there() -> None:
    plots = re.findall(r"\]\(\.\./(benchmarks/results/\w+\.png)\)", PAGE.read_text())
    assert len(plots) >= 4
    assert all((ROOT / plot).read_bytes().startswith(b"\x89PNG") for plot in plots)


def test_results_say_what_they_were_measured_on() -> None:
    for path in RESULTS.glob("*.json"):
        machine = json.loads(path.read_text())["machine"]
        assert {"cpu", "cores", "memory_gib", "date", "python"} <= machine.keys(), path.name


def test_other_results_are_noticed(module: Any, tmp_path: Path) -> None:
    documents = module("documents")
    shutil.copytree(RESULTS, tmp_path / "results")
    changed = tmp_path / "results" / "engines.json"
    facts = json.loads(changed.read_text())
    facts["rows"][0]["wall"]["median"] += 1
    changed.write_text(json.dumps(facts))
    text = PAGE.read_text()
    assert documents.update(text, tmp_path / "results") != text


def test_check_fails_where_a_document_is_behind(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = module("documents")
    page = tmp_path / "page.md"
    page.write_text("one\n<!-- bench:real-pairs -->\nold\n<!-- /bench:real-pairs -->\ntwo\n")
    monkeypatch.setattr(documents, "documents", lambda: [page])
    behind = CliRunner().invoke(documents.main, ["--check"])
    assert (behind.exit_code, behind.output) == (1, "behind the results: page.md\n")
    assert "\nold\n" in page.read_text()
    assert CliRunner().invoke(documents.main, []).exit_code == 0
    text = page.read_text()
    assert text.startswith("one\n<!-- bench:real-pairs -->\n| model |")
    assert text.endswith("|\n<!-- /bench:real-pairs -->\ntwo\n")
    assert CliRunner().invoke(documents.main, ["--check"]).exit_code == 0


def test_rows_that_could_not_run_stay(module: Any) -> None:
    tables = module("tables")
    facts = json.loads((RESULTS / "engines.json").read_text())
    row = {"engine": "openvino int8", "note": "", "unavailable": "no file | here"}
    facts["rows"] = [row]
    assert "| openvino int8 | not available: no file \\| here |" in tables.engines(facts)
