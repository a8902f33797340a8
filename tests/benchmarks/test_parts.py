"""What the parts of the benchmark compute from what they measure."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from synthetic_scans import smooth_displacement
from vmruntime import Displacement, Grid, Transform
from vmruntime.io.transform_files import write_transform

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def test_a_line_and_its_worst_residual(module: Any) -> None:
    fit = module("part_scaling").fit
    exact = fit([1, 2, 4], [5.0, 7.0, 11.0])
    assert exact["slope"] == pytest.approx(2)
    assert exact["intercept"] == pytest.approx(3)
    assert exact["residual"] < 1e-9
    bent = fit([0, 1, 2], [0.0, 3.0, 0.0])
    assert bent["residual"] == pytest.approx(2)
    assert bent["residual_share"] == pytest.approx(2 / 3)


def test_gates(module: Any) -> None:
    gates = module("gates")
    assert gates.ratio_gate("x", 6.0, 2.0, least=3).holds is True
    assert gates.ratio_gate("x", 6.0, 2.0, least=3.1).holds is False
    assert gates.ratio_gate("x", 6.0, 2.0, most=3).holds is True
    assert gates.ratio_gate("x", 6.0, None, least=3).holds is None
    without = gates.ratio_gate("x", 6.0, 2.0, least=3, why="emulated")
    assert (without.value, without.holds, without.why) == (None, None, "emulated")
    assert gates.Gate("nan", float("nan"), least=1).holds is False


def test_engines_that_are_missing_leave_their_gates_open(module: Any) -> None:
    part = module("part_engines")

    def row(name: str, wall: float, **more: Any) -> dict[str, Any]:
        return {"engine": name, "wall": {"median": wall}, "peak_gb": 1.0, "dice": 0.75, **more}

    rows = [
        row("torch channels_last_3d", 4.0),
        row("voxelmorph 0.2", 9.0),
        row("openvino fp32", 2.0),
        {"engine": "openvino bf16", "unavailable": "why"},
    ]
    carrying = {"wall": {"median": 2.1}, "unet": {"median": 2.0}}
    found = {gate.what: gate for gate in part.gates(rows, carrying)}
    assert found["torch channels_last_3d / openvino fp32"].value == 2.0
    assert found["torch channels_last_3d / openvino fp32"].holds
    assert found["voxelmorph 0.2 / openvino fp32"].value == 4.5
    assert found["openvino fp32: all but the U-Net, labels too / U-Net"].value == pytest.approx(
        0.05
    )
    assert all(gate.holds is None for what, gate in found.items() if "bf16" in what)
    closed = {gate.what: gate for gate in part.gates(rows, {"unavailable": "why"})}
    assert closed["openvino fp32: all but the U-Net, labels too / U-Net"].holds is None


def test_the_field_of_ants_in_voxels(module: Any, tmp_path: Path) -> None:
    shape = (9, 12, 10)
    affine = np.array([[0, -1.5, 0, 4], [2, 0, 0, -3], [0, 0, 1.25, 9], [0, 0, 0, 1]], float)
    grid = Grid(shape, affine)
    field = smooth_displacement(shape, 1.0)
    transform = Transform(grid, grid, np.eye(4), Displacement(field, grid))
    write_transform(tmp_path / "warp.nii.gz", transform)  # as ITK has it
    found = module("part_classical").voxel_displacement(tmp_path / "warp.nii.gz")
    assert found.dtype == np.float32
    assert np.abs(field).max() > 0.5
    assert np.abs(found - field).max() < 1e-4


def test_ants_that_cannot_be_had_is_a_row(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = module("part_classical")

    def fails(_: Any) -> Path:
        raise RuntimeError("no network")

    monkeypatch.setattr(part, "ants_python", fails)
    context = module("context").Context(tmp_path, 1, 1)
    facts = part.measure(context)
    assert [row["unavailable"] for row in facts["rows"]] == ["no network"] * 2
    page = module("tables").classical(facts)
    assert "| ANTs SyN (antspyx==0.6.3) | not available: no network |" in page
    assert "*published, other machine and scans:* ANTs SyN, CPU | *9059* |" in page


def test_calibration_pairs_leave_out_the_measured_one(module: Any, tmp_path: Path) -> None:
    int8_model = module("int8_model")
    int8_model.write_pairs(tmp_path / "pairs.csv")
    rows = list(csv.DictReader((tmp_path / "pairs.csv").read_text().splitlines()))
    assert len(rows) == 2
    assert all("subject_n" not in row["moving"] + row["fixed"] for row in rows)
    # An INT8 file that is there already is taken.
    (tmp_path / "model_int8.onnx").write_bytes(b"")
    found = int8_model.calibrate(tmp_path / "model.onnx", tmp_path, 1)
    assert found == tmp_path / "model_int8.onnx"


@pytest.mark.parametrize("part", ["engines", "scaling", "cold", "classical"])
def test_a_part_writes_its_json_page_and_plot(module: Any, tmp_path: Path, part: str) -> None:
    facts = json.loads((RESULTS / f"{part}.json").read_text())
    page = module("bench").write(part, facts, tmp_path)
    assert json.loads((tmp_path / f"{part}.json").read_text()) == facts
    assert (tmp_path / f"{part}.md").read_text() == page
    assert facts["machine"]["cpu"] in page
    assert facts["machine"]["date"] in page
    assert (tmp_path / f"{part}.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = module("bench")
    wrong = CliRunner().invoke(bench.main, ["nothing"])
    assert wrong.exit_code == 2
    assert "'nothing' is not one of" in wrong.output
    monkeypatch.setattr(module("pair"), "CHECKPOINT", tmp_path / "none.pt")
    absent = CliRunner().invoke(bench.main, ["--results", str(tmp_path / "results")])
    assert absent.exit_code == 1
    assert "set VM_ASSETS to the folder of models and scans" in absent.output
    assert not (tmp_path / "results").exists()
