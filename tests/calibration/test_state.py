"""Going on after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vmcalibration.measuring as measuring
from vmcalibration import CalibrationError, CalibrationOptions, calibrate
from vmcalibration.state import State, key_of


def test_results_are_there_again(tmp_path: Path) -> None:
    state = State(tmp_path / "state", "key")
    assert not state.resumed
    state.put("plain", {"a": [1, None]})
    state.put_arrays("arrays", {"x": np.arange(3)})
    again = State(tmp_path / "state", "key")
    assert again.resumed
    assert again.get("plain") == {"a": [1, None]}
    arrays = again.arrays("arrays")
    assert arrays is not None
    np.testing.assert_array_equal(arrays["x"], np.arange(3))
    assert again.get("other") is None
    assert again.arrays("other") is None


def test_results_of_something_else_are_dropped(tmp_path: Path) -> None:
    State(tmp_path / "state", "key").put("plain", 1)
    other = State(tmp_path / "state", "other key")
    assert not other.resumed
    assert other.get("plain") is None


def test_half_a_file_counts_as_none(tmp_path: Path) -> None:
    state = State(tmp_path / "state", "key")
    (state.folder / "plain.json").write_text('{"a": ')
    (state.folder / "arrays.npz").write_bytes(b"PK")
    assert state.get("plain") is None
    assert state.arrays("arrays") is None


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "thesis.tex").write_text("irreplaceable")
    with pytest.raises(CalibrationError, match="is no state of vm-calibrate"):
        State(tmp_path / "state", "key")
    assert (tmp_path / "state" / "thesis.tex").exists()


def test_keys_tell_parts_apart() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of(b"ab") == key_of("ab")


def test_a_stopped_calibration_goes_on_where_it_was(
    checked_artifact: Path, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CalibrationOptions(precision="fp16", repeats=1, threads=2)
    whole = measuring.evaluate_pair
    calls: list[str] = []

    def stopped(pair: Any, *rest: Any) -> Any:
        calls.append(pair.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(pair, *rest)

    monkeypatch.setattr(measuring, "evaluate_pair", stopped)
    with pytest.raises(KeyboardInterrupt):
        calibrate(checked_artifact, listing, tmp_path / "out", options)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["state"]

    said: list[str] = []
    found = calibrate(checked_artifact, listing, tmp_path / "out", options, progress=said.append)
    assert calls == ["moving -> fixed", "fixed -> moving", "fixed -> moving"]
    assert "going on" in said[0]
    assert not [line for line in said if "ranges of" in line or "alone" in line]
    assert len(found.report["pairs"]["used"]) == 2
    assert {e["pair"] for e in found.report["evaluations"]} == set(found.report["pairs"]["used"])
    assert not (tmp_path / "out" / "state").exists()
