"""Tables, the order of the worst, and progress."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cohort_files import rows_of
from vmruntime.batch.errors import text_of
from vmruntime.batch.pair import Pair
from vmruntime.batch.progress import Progress, duration
from vmruntime.batch.ranking import worst_first
from vmruntime.batch.results import Result, write_results, write_volumes
from vmruntime.errors import ScanError


def result(name: str, **figures: float | None) -> Result:
    warnings = ("doubtful",) if name.startswith("w") else ()
    pair = Pair(name, name, Path("/m.nii"), Path("/f.nii"))
    return Result(pair, "done", figures, {}, "auto", warnings, 2.0, "here/0")


def test_a_row_a_pair(tmp_path: Path) -> None:
    pair = Pair("x", "s", Path("/m\udcff.nii"), Path("/f.nii"))
    results = [
        result("a", ncc_after=0.987654321, dice_after=None),
        Result.failed(pair, "two\tlines\nof text"),
        Result.pending(pair),
    ]
    write_results(tmp_path / "r.tsv", results)
    done, failed, pending = rows_of(tmp_path / "r.tsv")
    assert done["status"] == "done"
    assert done["ncc_after"] == "0.987654"
    assert done["dice_after"] == done["error"] == done["warnings"] == "n/a"
    assert (done["seconds"], done["worker"], done["affine"]) == ("2", "here/0", "auto")
    assert failed["status"] == "failed"
    assert failed["error"] == "two lines of text"
    assert failed["moving"] == "/m\\udcff.nii"
    assert pending["status"] == "pending"


def test_a_column_a_label(tmp_path: Path) -> None:
    rows = [("s1", "fused", {77: 1.5, 2: 1234567.25}), ("s2", "fused", {41: 8.0})]
    write_volumes(tmp_path / "v.tsv", rows)
    assert rows_of(tmp_path / "v.tsv") == [
        {"subject": "s1", "source": "fused", "2": "1234567.2", "41": "0", "77": "1.5"},
        {"subject": "s2", "source": "fused", "2": "0", "41": "8", "77": "0"},
    ]


def test_the_worst_come_first() -> None:
    plain = [result(f"p{n}", ncc_after=0.95 + n * 0.004, folding_percent=0.0) for n in range(5)]
    folded = result("folded", ncc_after=0.96, folding_percent=2.0)
    far = result("far", ncc_after=0.7, folding_percent=0.0)
    warned = result("warned", ncc_after=0.99, folding_percent=0.0)
    failed = Result.failed(plain[0].pair, "no")
    ranked = worst_first([*plain, folded, failed, far, warned])
    assert [one.result.pair.id for one in ranked[:4]] == ["warned", "folded", "far", "p0"]
    assert [one.reason for one in ranked[1:3]] == ["folding_percent", "ncc_after"]
    assert len(ranked) == 8


def test_nobody_is_far_out_where_all_are_alike() -> None:
    ranked = worst_first([result(f"p{n}", ncc_after=0.9 + n * 1e-6) for n in range(9)])
    assert max(one.distance for one in ranked) < 0.01
    assert worst_first([]) == []
    assert worst_first([result("a")])[0].reason == ""


def test_progress_says_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("vmruntime.batch.progress.time.monotonic", lambda: now)
    stream = io.StringIO()
    progress = Progress(12, stream)
    progress.start()
    now = 130.0
    progress.step("a")
    now = 160.0
    progress.step("b", failed=True)
    assert stream.getvalue().splitlines() == [
        "[ 1/12] a  2.0 pairs/min, 5:30 min left",
        "[ 2/12] b failed  2.0 pairs/min, 5:00 min left",
    ]


def test_a_terminal_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    progress = Progress(2, stream)
    progress.step("a")
    progress.say("Failed: a")
    progress.step("b")
    progress.close()
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("\r\033[K")


def test_durations() -> None:
    assert [duration(s) for s in (0.2, 59.4, 61, 3599, 7500)] == [
        "0 s", "59 s", "1:01 min", "59:59 min", "2:05 h",
    ]  # fmt: skip


def test_errors_in_a_line() -> None:
    class KilledWorker(Exception):  # noqa: N818  (Dask's name)
        pass

    assert text_of(ScanError("a: no such file")) == "a: no such file"
    assert text_of(OSError(28, "No space left on device", "/x")) == "/x: No space left on device"
    assert text_of(MemoryError()).startswith("out of memory")
    assert "was killed" in text_of(KilledWorker())
    assert text_of(ZeroDivisionError("x\ny")) == "unexpected ZeroDivisionError: x y; report it"
