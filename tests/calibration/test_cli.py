"""``vm-calibrate`` as it is typed, on a small model."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner, Result

from command_line import one_error_line, snapshot
from vmcalibration.cli.calibrate import main
from vmexport.graph.manifest_props import with_manifest
from vmexport.precision import PrecisionPlan, apply_plan, find_layers
from vmruntime import Artifact, Registrar
from vmruntime.cli.infer import main as infer


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def done(
    checked_artifact: Path, pair: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """Everything, with a missing scan in the middle and budgets that INT8 meets."""
    folder = tmp_path_factory.mktemp("calibrated")
    listing = folder / "pairs.csv"
    listing.write_text(
        "moving,fixed,moving_seg,fixed_seg\n"
        f"{pair['moving']},{pair['fixed']},{pair['moving_seg']},{pair['fixed_seg']}\n"
        f"missing.nii.gz,{pair['fixed']}\n"
        f"{pair['fixed']},{pair['moving']}\n"
    )
    arguments = ("--pairs", listing, "-o", folder / "out", "--budget-mm", 3, "--budget-dice", 0.2)
    return folder / "out", run(checked_artifact, *arguments)


def test_a_missing_scan_is_named_and_the_rest_goes_on(done: tuple[Path, Result]) -> None:
    _, result = done
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert re.match(r"Warning: missing -> fixed: is left out: .*missing\.nii\.gz", lines[0])
    assert re.match(r"Error: 1 of 3 pairs could not be used .*missing\.nii\.gz", lines[1])
    assert "Use " in result.stdout


def test_what_is_written(done: tuple[Path, Result]) -> None:
    folder, _ = done
    names = {path.name for path in folder.iterdir()}
    models = [name for name in names if name.startswith("model_")]
    assert len(models) == 1
    assert names == {"report.json", "report.html", "plan_fp16.json", "plan_int8.json", *models}
    report = json.loads((folder / "report.json").read_text())
    assert report["recommendation"]["model"] == models[0]
    assert report["pairs"]["used"] == ["moving -> fixed", "fixed -> moving"]
    assert list(report["pairs"]["skipped"]) == ["missing -> fixed"]
    assert report["budget"]["dice_judged"] is True
    candidates = {candidate["name"]: candidate for candidate in report["candidates"]}
    assert {"fp32", "fp16", "int8", "bf16"} <= candidates.keys()
    assert candidates["fp32"]["verdict"]["p99_mm"] == 0
    assert 0 < candidates["fp16"]["verdict"]["p99_mm"] < candidates["int8"]["verdict"]["p99_mm"]
    assert candidates["int8"]["timing"]["engine"].endswith("int8")
    assert candidates["int8"]["timing"]["peak_mb"] > 10
    assert candidates["int8"]["bytes"] < candidates["fp32"]["bytes"]
    layers = report["model"]["layers"]
    assert [row["layer"] for row in report["sensitivity"]["int8"]] == layers
    labelled = [e for e in report["evaluations"] if e["dice"] is not None]
    assert {e["pair"] for e in labelled} == {"moving -> fixed"}
    assert all(len(e["dice_labels"]) == 4 for e in labelled)


def test_the_page_needs_nothing_from_elsewhere(done: tuple[Path, Result]) -> None:
    page = (done[0] / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    report = json.loads((done[0] / "report.json").read_text())
    assert report["recommendation"]["sentence"].split(":")[0] in page
    assert "missing -&gt; fixed is left out" in page


def test_the_recommended_file_is_verified_and_runs(
    done: tuple[Path, Result], pair: dict[str, Path], tmp_path: Path
) -> None:
    (path,) = done[0].glob("model_*.onnx")
    manifest = Artifact.read(path).manifest
    assert path.name == f"model_{manifest.precision}.onnx"
    arguments = [path, "--moving", pair["moving"], "--fixed", pair["fixed"]]
    arguments += ["--moved", tmp_path / "moved.nii.gz"]
    result = CliRunner().invoke(infer, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    if manifest.precision != "fp32":
        assert manifest.verification["against"].startswith("the float32 model")
        assert "precision_plan_sha256" in manifest.source


def test_the_plans_can_be_followed(done: tuple[Path, Result], checked_artifact: Path) -> None:
    model = onnx.load(checked_artifact)
    for lower in ("fp16", "int8"):
        plan = PrecisionPlan.read(done[0] / f"plan_{lower}.json")
        assert plan.lower == lower
        assert plan.p99_voxels == pytest.approx(3 / 2)
        onnx.checker.check_model(apply_plan(model, plan), full_check=True)
    assert {"encoder.0.0", "flow"} <= set(plan.kept)


def test_existing_files_are_kept(done: tuple[Path, Result], checked_artifact: Path) -> None:
    folder, _ = done
    before = snapshot(folder)
    listing = folder.parent / "pairs.csv"
    result = run(checked_artifact, "--pairs", listing, "-o", folder)
    assert "exists already" in one_error_line(result.exit_code, result.stderr)
    assert snapshot(folder) == before


def test_no_labels_and_a_budget_that_nothing_meets(
    checked_artifact: Path, pair: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "x_moving.nii.gz").symlink_to(pair["moving"])
    (folder / "x_fixed.nii.gz").symlink_to(pair["fixed"])
    result = run(
        checked_artifact, "--pairs", folder, "-o", tmp_path / "out", "--precision", "fp16",
        "--budget-mm", 1e-6,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "Use FP32" in result.stdout
    assert "FP16 cannot meet the budget" in result.stdout
    assert Artifact.read(tmp_path / "out" / "model_fp32.onnx").manifest.precision == "fp32"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["budget"]["dice_judged"] is False
    assert all(e["dice"] is None for e in report["evaluations"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "No pair has labels" in page
    with Registrar.load(tmp_path / "out" / "model_fp32.onnx") as registrar:
        assert registrar.manifest.verification["pair"] == "phantom"


def failed(tmp_path: Path, *arguments: object) -> str:
    """The one line of a run that failed and left nothing."""
    before = snapshot(tmp_path)
    result = run(*arguments, "-o", tmp_path / "none")
    message = one_error_line(result.exit_code, result.stderr)
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "none").exists()
    return message


def test_bad_models(checked_artifact: Path, listing: Path, tmp_path: Path) -> None:
    artifact = Artifact.read(checked_artifact)
    model = onnx.load(checked_artifact)
    layers = [layer.name for layer in find_layers(model)]
    formats = {name: "int8" if name == "encoder.1.0" else "fp32" for name in layers}
    quantized = apply_plan(model, PrecisionPlan("int8", formats, {"encoder.1.0": 1.0}))
    files: dict[str, Any] = {
        "int8.onnx": replace(artifact.manifest, precision="int8"),
        "hidden.onnx": artifact.manifest,
        "fp16.onnx": replace(artifact.manifest, precision="fp16"),
    }
    for name, manifest in files.items():
        (tmp_path / name).write_bytes(with_manifest(quantized, manifest))
    (tmp_path / "text.onnx").write_text("no model")
    expected = {
        "int8.onnx": "is int8 already",
        "hidden.onnx": "is quantized already",
        "fp16.onnx": "is fp16 already",
        "text.onnx": "text.onnx",
        "absent.onnx": "no such file",
        "absent.pt": "no such file",
    }
    for name, message in expected.items():
        assert message in failed(tmp_path, tmp_path / name, "--pairs", listing)


def test_bad_lists(checked_artifact: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("moving,fixed\n")
    assert "has no pairs" in failed(tmp_path, checked_artifact, "--pairs", empty)
    assert "cannot be read" in failed(tmp_path, checked_artifact, "--pairs", tmp_path / "no.csv")


def test_no_pair_can_be_used(checked_artifact: Path, tmp_path: Path) -> None:
    listing = tmp_path / "pairs.csv"
    listing.write_text("moving,fixed\na.nii,b.nii\nc.nii,d.nii\n")
    result = run(checked_artifact, "--pairs", listing, "-o", tmp_path / "out")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Warning", "Warning", "Error"]
    assert "none of the pairs can be used" in lines[-1]
    assert not list((tmp_path / "out").glob("*.*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--budget-mm", "0"),
        ("--budget-dice", "-1"),
        ("--method", "guess"),
        ("--precision", "fp8"),
        ("--labels", "a"),
    ],
)
def test_wrong_usage(checked_artifact: Path, listing: Path, tmp_path: Path, arguments: Any) -> None:
    result = run(checked_artifact, "--pairs", listing, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()
